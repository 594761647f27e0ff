"""``python -m tests.fuzz [TARGET …]``: drive the targets with atheris for a while each.

    --seconds 60    for each target
    --runs N        as many inputs for each target, from one seed (CI), instead of a time
    --jobs 2        targets at a time
    --out .fuzz     inputs that were found, the log of each target, and what it failed on
    --keep          put the fewest inputs that reach as much into tests/fuzz/corpus

Ends with exit code 1 if an input raised what no documentation promises, crashed, took more than
20 seconds or two gigabytes; the input is named then.
"""

import argparse
import base64
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.fuzz.corpus import keep
from tests.fuzz.target import WHERE, folder_in_memory
from tests.fuzz.targets import TARGETS

SLOWEST = 20  # seconds of one input
LOG = "log.txt"
LINES_TOLD = 40  # of the log of a fault
CHARACTERS_TOLD = 8000  # of the longest input that is printed
MEMORY = 2048  # MiB of the whole process, of which libFuzzer takes 30 kB an input for itself


class Ended(NamedTuple):
    """How the fuzzing of one target ended."""

    name: str
    executions: int
    branches: int
    """Edges of the bytecode that were reached, as libFuzzer counts them (`cov`)."""
    inputs: int
    fault: Path | None


def main() -> int:
    """Fuzz, print a table, and give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(".fuzz"))
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    unknown = sorted(set(options.targets) - TARGETS.keys())
    if unknown:
        parser.error(f"there is no target {unknown[0]}: {', '.join(TARGETS)}")

    def one(name: str) -> Ended:
        until: tuple[str, ...] = (f"-max_total_time={options.seconds}",)
        if options.runs is not None:
            until = (f"-runs={options.runs}", "-seed=1", "-reload=0")
        ended = _fuzz(name, options.out / name, until)
        if options.keep:
            _keep(name, options.out / name)
        return ended

    print(f"{'target':<12} {'executions':>12} {'branches':>9} {'inputs':>7}  fault")
    failed = total = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for ended in pool.map(one, options.targets or TARGETS):
            failed += ended.fault is not None
            total += ended.executions
            fault = ended.fault or "-"
            print(
                f"{ended.name:<12} {ended.executions:>12,} {ended.branches:>9,} "
                f"{ended.inputs:>7,}  {fault}",
                flush=True,
            )
            if ended.fault is not None:
                print(_told(ended.fault, options.out / ended.name / LOG), flush=True)
    print(f"{'all':<12} {total:>12,}")
    return 1 if failed else 0


def _told(fault: Path, log: Path) -> str:
    """The end of a log, and the input if it is short: where it failed may be another machine."""
    lines = log.read_text(errors="replace").splitlines()
    told = [line for line in lines if not line.startswith(("#", "INFO: ", "WARNING: "))]
    text = "\n".join(told[-LINES_TOLD:])
    if fault == log:
        return text
    packed = base64.b85encode(zlib.compress(fault.read_bytes(), 9)).decode()
    if len(packed) > CHARACTERS_TOLD:
        return text
    return f"{text}\n{fault.name}, as zlib.decompress(base64.b85decode(...)) gives it:\n{packed}"


def _fuzz(name: str, folder: Path, until: tuple[str, ...]) -> Ended:
    corpus, faults = folder / "corpus", folder / "faults"
    faults.mkdir(parents=True, exist_ok=True)
    before = set(faults.iterdir())
    log = folder / LOG
    code = _drive(
        log,
        name,
        corpus,
        *until,
        f"-timeout={SLOWEST}",
        f"-rss_limit_mb={MEMORY}",
        f"-artifact_prefix={faults}/",
        "-print_final_stats=1",
    )
    text = log.read_text(errors="replace")
    new = sorted(set(faults.iterdir()) - before)
    fault = new[0] if new else log if code else None
    done = re.findall(r"number_of_executed_units: (\d+)", text) or re.findall(
        r"^#(\d+)", text, re.M
    )
    reached = re.findall(r"\bcov: (\d+)", text)
    return Ended(
        name=name,
        executions=int(done[-1]) if done else 0,
        branches=int(reached[-1]) if reached else 0,
        inputs=len(list(corpus.glob("*"))),
        fault=fault,
    )


def _keep(name: str, folder: Path) -> None:
    """The smallest set of the inputs that reaches as much as all."""
    with tempfile.TemporaryDirectory() as fewest:
        log = folder / "merge.txt"
        if _drive(log, name, Path(fewest), "-merge=1", str(folder / "corpus")):
            raise SystemExit(f"the inputs of {name} could not be merged: see {log}")
        keep(name, (path.read_bytes() for path in Path(fewest).iterdir()))


@cache
def _same_addresses() -> list[str]:
    """What starts a program with the same addresses each time, since libFuzzer hashes some.

    Nothing where the system has no such command, or does not allow it: then a few inputs differ.
    """
    program = shutil.which("setarch")
    if program is None:
        return []
    command = [program, "-R"]
    tried = subprocess.run([*command, "true"], capture_output=True, check=False)
    return [] if tried.returncode else command


def _drive(log: Path, *words: object) -> int:
    command = [*_same_addresses(), sys.executable, "-m", "tests.fuzz.drive", *map(str, words)]
    with log.open("wb") as file, folder_in_memory() as folder:
        variables = os.environ | {
            "PYTHONHASHSEED": "0",  # the same inputs in the same order
            WHERE: str(folder),  # libFuzzer ends the process without a chance to remove its own
        }
        done = subprocess.run(command, stdout=file, stderr=file, check=False, env=variables)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
