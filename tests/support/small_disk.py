"""Conversions to a small disk: one in memory, in a mount namespace that ends with the command."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.helpers import Ended

RUN = Path(__file__).with_name("small_commits.py")
COMMIT = 100_000  # bytes: so small that something is committed before the disk is full


def on_small_disk(
    disk: Path, size: int, *words: object, more: str = "true", before: Sequence[object] = ()
) -> tuple[Ended, list[str]]:
    """Run `patchpress` with a disk of so many bytes; gives the names of the files on it at the end.

    `more` is what the shell does when the command has ended, with the disk still there: ``"$@"``
    runs the command again. `before` is a program that runs the command, which it gets as arguments.
    """
    script = f"""
        mount -t tmpfs -o size="$1" none "$2" && shift && disk="$1" && shift && "$@"; code=$?
        find "$disk" -type f -printf '%f\\n' > "$disk.txt"; {more}; exit $code
    """
    run = map(str, (*before, sys.executable, RUN, COMMIT, *words))
    mounted = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    done = subprocess.run(
        [*mounted, str(size), str(disk), *run], capture_output=True, text=True, timeout=300
    )
    names = disk.with_name(f"{disk.name}.txt").read_text().split()
    return Ended(done.returncode, done.stdout, done.stderr), sorted(names)
