"""All tests in two processes at once: `make test SLOW=1`, which takes long in one.

    python -m tests.support.at_once [OPTIONS OF PYTEST ...]

Each half is a run of pytest as any other, with the same options. The first one's lines are shown as
they come, those of the other after its end. Tests that are split over the processes one by one, as
pytest-xdist does, would run beside its threads, and then conversions do not fork.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

TESTS = Path(__file__).parents[1]
FIRST = ("converter/commands", "converter/cluster", "readers")
"""Folders of one half; all others are of the other. Both take about as long."""


def halves() -> tuple[list[str], list[str]]:
    """The folders and modules of each half: together all that have tests, none of them twice."""
    first = [TESTS / name for name in FIRST]
    parents = {parent for path in first for parent in path.parents if parent != TESTS}
    others: list[Path] = []
    todo = [TESTS]
    while todo:
        for path in sorted(todo.pop().iterdir()):
            if path in first:
                continue
            if path in parents:
                todo.append(path)
            elif path.name.startswith("test_") or (path.is_dir() and any(path.rglob("test_*.py"))):
                others.append(path)
    root = TESTS.parent
    return tuple([str(p.relative_to(root)) for p in half] for half in (first, others))  # type: ignore[return-value]


def main(options: Sequence[str]) -> int:
    """Run both halves; gives the exit code of the first one that failed, else 0."""
    first, others = ([sys.executable, "-m", "pytest", *half, *options] for half in halves())
    with tempfile.TemporaryFile() as lines:
        beside = subprocess.Popen(others, cwd=TESTS.parent, stdout=lines, stderr=subprocess.STDOUT)
        try:
            code = subprocess.call(first, cwd=TESTS.parent)
            print("the other half of the tests:", flush=True)
            other_code = beside.wait()
        finally:
            beside.kill()
            lines.seek(0)
            sys.stdout.buffer.write(lines.read())
            sys.stdout.flush()
    return code or other_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
