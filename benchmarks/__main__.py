"""Run the benchmarks: python -m benchmarks [CASE ...] --help."""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks import (
    archive,
    cold,
    convert,
    copies,
    costs,
    folders,
    forms,
    further,
    in_place,
    layouts,
    loader,
    packed,
    read,
    remote,
    start,
    targets,
    venvs,
    verifying,
)
from benchmarks.machine import machine, versions
from benchmarks.picture import draw
from benchmarks.report import CaseTable, markdown, read_json, write_json
from benchmarks.tree import find_patches, synthetic_tree

CASES = (
    "convert",
    "archive",
    "packed",
    "folders",
    "further",
    "costs",
    "copy",
    "read",
    "rgb",
    "shards",
    "cold",
    "in-place",
    "layouts",
    "loader",
    "memory",
    "remote",
    "start",
    "verify",
)
DEFAULT = ("convert", "read")
OTHERS = ("environments", "report")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        epilog="environments makes the peers' environments below --out, and nothing else; report "
        "shows again what --out has, with the targets and the picture.",
    )
    add = parser.add_argument
    add("cases", nargs="*", metavar="case",
        help=f"of {', '.join(CASES)} (default: {' '.join(DEFAULT)}), all; or one of "
        f"{', '.join(OTHERS)}")  # fmt: skip
    add("--tree", type=Path, help="a BigEarthNet v2 tree (default: a made one)")
    add("--n", type=int, default=1000, help="patches of the made tree")
    add("--memory-n", type=int, nargs="+", default=[500, 20_000], metavar="N",
        help="sizes of the made trees of the case memory")  # fmt: skip
    add("--s2", action="store_true", help="of the case convert: Sentinel-2 alone")
    add("--workers", type=int, default=2, help="processes of a conversion")
    add("--batch", type=int, nargs="+", default=[64, 256], help="patches of a batch")
    add("--rounds", type=int, default=5, help="timed repetitions")
    add("--seconds", type=float, default=0.5, help="of reading, in each round")
    add("--loader-seconds", type=float, default=2.0, help="of whole epochs, in each round")
    add("--cold-patches", type=int, default=1024, help="read from a cold disk, in each round")
    add("--seed", type=int, default=0)
    add("--python", default=sys.executable, help="that the environments are made of")
    add("--out", type=Path, default=Path("bench"), help="stores, environments and report.json")
    add("--picture", type=Path, help="where the picture goes (default: report.png in --out)")
    args = parser.parse_args()
    if args.cases == ["all"]:
        args.cases = list(CASES)
    unknown = set(args.cases) - {*CASES, *OTHERS}
    if unknown:
        known = ", ".join((*CASES, "all", *OTHERS))
        parser.error(f"no case {', '.join(sorted(unknown))}: choose from {known}")
    if set(args.cases) & set(OTHERS) and len(args.cases) > 1:
        parser.error(f"{' and '.join(OTHERS)} stand alone")
    return args


class Cases:
    """The cases, on one tree. It is made, and put into every form, when a case first needs it."""

    def __init__(self, args: argparse.Namespace, out: Path) -> None:
        self.args, self.out = args, out
        self.tree = cache(self._tree)
        self.sources = cache(lambda: forms.prepare(self.tree(), out, args.workers))

    def _tree(self) -> Path:
        given: Path | None = self.args.tree
        return given.resolve() if given else synthetic_tree(self.out, self.args.n, self.args.seed)

    def run(self, case: str) -> CaseTable:
        """Run one case."""
        a = self.args
        runs: dict[str, Callable[[], CaseTable]] = {
            "convert": lambda: convert.run(self.tree(), self.out, a.workers, a.rounds, alone=a.s2),
            "archive": lambda: archive.run(self.tree(), self.out, a.workers, a.rounds),
            "packed": lambda: packed.run(self.tree(), self.out, a.workers, a.rounds),
            "folders": lambda: folders.run(self.tree(), self.out, a.workers, a.rounds),
            "further": lambda: further.run(self.tree(), self.out, a.workers, a.rounds),
            "costs": lambda: costs.run(self.tree(), self.out, a.workers),
            "copy": lambda: copies.run(self.tree(), self.out, a.workers, a.rounds),
            "in-place": lambda: in_place.run(self.tree(), self.out, a.rounds),
            "remote": lambda: remote.run(self.tree(), self.out, a.workers, a.rounds),
            "verify": lambda: verifying.run(self.tree(), self.out, a.workers, a.rounds),
            "start": lambda: start.run(self.out, a.workers, a.rounds, a.seed),
            "memory": lambda: convert.run_memory(self.out, tuple(a.memory_n), a.workers, a.seed),
            "read": lambda: read.run(self.sources(), a.batch, a.rounds, a.seconds),
            "rgb": lambda: read.run_rgb(self.sources(), a.batch, a.rounds, a.seconds),
            "shards": lambda: read.run_shards(self.sources(), a.batch, a.rounds, a.seconds),
            "layouts": lambda: layouts.run(self.tree(), self.out, a.workers, a.rounds, a.seconds),
            "cold": lambda: cold.run(self.sources(), a.batch[0], a.cold_patches, a.rounds),
            "loader": lambda: loader.run(self.sources(), a.batch, a.rounds, a.loader_seconds),
        }
        return runs[case]()


def facts_of(args: argparse.Namespace, out: Path) -> dict[str, dict[str, str]]:
    """Give what the numbers depend on: machine, versions, data, arguments."""
    tree = f"{len(find_patches(args.tree, 's2'))} patches given" if args.tree else f"{args.n} made"
    return {
        "machine": machine(out),
        "versions": versions(),
        "data": {"tree": tree, "seed": str(args.seed)},
        "arguments": {name: str(value) for name, value in vars(args).items()},
    }


def comparable(section: CaseTable, facts: dict[str, Any]) -> bool:
    """Whether an earlier section is of the same machine and the same data."""
    then, now = section.facts, facts
    same = {
        "data": ("tree", "seed"),
        "machine": ("cpu", "cores", "memory", "filesystem"),
        "arguments": ("tree",),
    }
    return all(
        then.get(part, {}).get(name) == now[part][name]
        for part, names in same.items()
        for name in names
    )


def conclude(out: Path, picture: Path | None, sections: list[CaseTable]) -> None:
    """Print the table of targets and draw the picture, of all cases that were measured."""
    wanted = targets.run(sections)
    if wanted.rows:
        print(markdown(wanted), flush=True)
    if any(one.case not in targets.OF_CONVERTING for one in sections):
        print(draw(sections, picture or out / "report.png"), flush=True)


def main() -> None:
    """Run the cases; tables to stdout, everything to report.json."""
    # Some containers set it: each command would compile its whole package anew, and of contestants
    # those would lose by it that pip did not install.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    args = parse()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    report = out / "report.json"
    if args.cases == ["environments"]:
        raise SystemExit(0 if venvs.make_all(out, args.python) else 1)
    if args.cases == ["report"]:
        sections = read_json(report)
        print(*map(markdown, sections), sep="\n", flush=True)
        conclude(out, args.picture, sections)
        return
    facts = facts_of(args, out)
    for name, known in facts.items():
        print(f"{name}:", ", ".join(f"{key} {value}" for key, value in known.items()))
    print(flush=True)
    sections = [one for one in read_json(report) if comparable(one, facts)]
    if kept := [one.case for one in sections if one.case not in args.cases]:
        print(f"kept in report.json from earlier runs: {', '.join(kept)}\n", flush=True)
    cases = Cases(args, out)
    for case in args.cases or DEFAULT:
        section = replace(cases.run(case), facts={**facts, "machine": machine(out)})
        print(markdown(section), flush=True)
        sections = [one for one in sections if one.case != case] + [section]
        write_json(report, facts, sections)
    conclude(out, args.picture, sections)


if __name__ == "__main__":
    main()
