"""What it costs to start: CPU time of all processes of the shortest commands."""

import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.process import timed
from benchmarks.report import CaseTable
from benchmarks.tree import synthetic_tree, warm

PATCHES = 18
HELP, SMALL = "patchpress convert --help", f"converting {PATCHES} patches, all modalities"
NOTES = (
    "User and system time of the command and of all processes that it starts; medians. Modules"
    " are compiled, as `pip install` leaves them: without that (PYTHONDONTWRITEBYTECODE) a"
    " conversion takes 0.1 s more.",
)  # fmt: skip


@dataclass(frozen=True)
class StartTrial:
    """The runs of one command."""

    name: str
    cpu: tuple[float, ...]
    """Seconds of CPU time."""
    seconds: tuple[float, ...]


def run(out: Path, workers: int, rounds: int, seed: int) -> CaseTable:
    """Time the commands, each once before it counts, so that its modules are compiled."""
    tree = synthetic_tree(out / "small", PATCHES, seed)
    store = out / "small-store"
    warm(tree)
    command = [sys.executable, "-m", "patchpress"]
    convert = ["convert", "bigearthnet-v2", str(tree), str(store), "--overwrite"]
    commands = {
        HELP: [*command, "convert", "--help"],
        SMALL: [*command, *convert, "--workers", str(workers)],
    }
    trials = [_trial(name, command, store, rounds) for name, command in commands.items()]
    head = ("command", "CPU s, median", "best - worst", "s until on disk")
    rows = tuple(_row(trial) for trial in trials)
    title = f"Starting, {workers} workers"
    return CaseTable("start", title, NOTES, head, rows, tuple(asdict(trial) for trial in trials))


def _trial(name: str, command: Sequence[str], store: Path, rounds: int) -> StartTrial:
    timed(command, store)
    cpu, seconds = [], []
    for _ in range(rounds):
        before = _cpu()
        seconds.append(timed(command, store))
        cpu.append(_cpu() - before)
    return StartTrial(name, tuple(cpu), tuple(seconds))


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _row(trial: StartTrial) -> tuple[str, ...]:
    cpu = trial.cpu
    return (
        trial.name,
        f"{median(cpu):.3f}",
        f"{min(cpu):.3f} - {max(cpu):.3f}",
        f"{median(trial.seconds):.2f}",
    )
