"""Run the benchmarks: python -m benchmarks [convert] [read] [memory] --help."""

import argparse
from pathlib import Path

from benchmarks import convert, read
from benchmarks.machine import machine, versions
from benchmarks.report import Section, markdown, write_json
from benchmarks.tree import synthetic_tree

CASES = ("convert", "read", "memory")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("cases", nargs="*", metavar="case",
                        help=f"of {', '.join(CASES)} (default: convert read)")  # fmt: skip
    parser.add_argument("--tree", type=Path, help="a BigEarthNet v2 tree (default: a made one)")
    parser.add_argument("--n", type=int, default=1000, help="patches of the made tree")
    parser.add_argument("--memory-n", type=int, nargs="+", default=[500, 5000], metavar="N",
                        help="sizes of the made trees of the case memory")  # fmt: skip
    parser.add_argument("--workers", type=int, default=2, help="processes of a conversion")
    parser.add_argument("--rounds", type=int, default=5, help="timed repetitions")
    parser.add_argument("--seconds", type=float, default=0.5, help="of reading, in each round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("bench"), help="stores and report.json")
    args = parser.parse_args()
    unknown = set(args.cases) - set(CASES)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}: choose from {', '.join(CASES)}")
    return args


def run(case: str, args: argparse.Namespace, out: Path) -> Section:
    """Run one case."""
    if case == "memory":
        return convert.run_memory(out, tuple(args.memory_n), args.workers, args.seed)
    tree = args.tree.resolve() if args.tree else synthetic_tree(out, args.n, args.seed)
    if case == "convert":
        return convert.run(tree, out, args.workers, args.rounds)
    return read.run(tree, out, args.workers, args.rounds, args.seconds)


def main() -> None:
    """Run the cases; tables to stdout, everything to report.json."""
    args = parse()
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    facts = {
        "machine": machine(out),
        "versions": versions(),
        "cache": {"page cache": "warm"},
        "arguments": {name: str(value) for name, value in vars(args).items()},
    }
    for name, known in facts.items():
        print(f"{name}:", ", ".join(f"{key} {value}" for key, value in known.items()))
    print(flush=True)
    sections = []
    for case in args.cases or ["convert", "read"]:
        sections.append(run(case, args, out))
        print(markdown(sections[-1]), flush=True)
        write_json(out / "report.json", facts, sections)


if __name__ == "__main__":
    main()
