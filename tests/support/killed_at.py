"""Commands that are killed at their K-th call that changes the disk, for each K: nothing is lost.

    python killed_at.py PLAN.json

The plan is a JSON file: ``store``, the folder that the commands write; ``template``, a folder that
it is a copy of at first, or null; ``run``, the words of the command that is killed; ``again``, the
words of the commands that are run after that, one after the other, to their end. It prints a
JSON line for each K: the exit code of each, and the digest of all files of the store at the end.

Each command runs in a fork of a process that has no other thread, so that it begins at once.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

KILLED = 137
# What changes names on the disk, or waits for it; in each gap between two such calls a process that
# is killed leaves the same.
CALLS = ("replace", "rename", "unlink", "rmdir", "mkdir", "fsync", "ftruncate", "pwrite", "open")


def kill_at(number: int) -> None:
    """Let this process end at its call of that number, from 0 on."""
    left = number

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def work(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            is_reading = call is opened and not args[1] & (os.O_CREAT | os.O_TRUNC)
            if not is_reading:
                if left == 0:
                    os._exit(KILLED)
                left -= 1
            return call(*args, **kwargs)

        return work

    opened = os.open
    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))


def in_fork(words: list[str], killed_at: int | None = None) -> int:
    """Run `patchpress` with these words in a fork; gives its exit code."""
    child = os.fork()
    if child == 0:
        from patchpress.converter.cli import main

        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        if killed_at is not None:
            kill_at(killed_at)
        sys.argv = ["patchpress", *words]
        try:
            main()
        except SystemExit as end:
            os._exit(end.code if isinstance(end.code, int) else 1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def digest(store: Path) -> str:
    """Names and bytes of all files under a folder, as one number."""
    found = hashlib.sha256()
    for path in sorted(store.rglob("*")):
        if path.is_file():
            found.update(f"{path.relative_to(store)}\n".encode() + path.read_bytes())
    return found.hexdigest()


def run(plan: dict[str, Any]) -> None:
    """Kill at every call, until the command ends before."""
    store = Path(plan["store"])
    for number in range(plan.get("first", 0), 10_000, plan.get("step", 1)):
        shutil.rmtree(store, ignore_errors=True)
        store.with_name(f"{store.name}.report.json").unlink(missing_ok=True)
        if plan["template"]:
            shutil.copytree(plan["template"], store)
        code = in_fork(plan["run"], number)
        codes = [in_fork(words) for words in plan["again"]] if code == KILLED else []
        print(json.dumps({"at": number, "codes": [code, *codes], "digest": digest(store)}))
        if code != KILLED:
            return


if __name__ == "__main__":
    run(json.loads(Path(sys.argv[1]).read_text()))
