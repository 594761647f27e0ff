"""What is fuzzed: a parser with inputs to begin from."""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.mutate import Mutation, of_bytes

_MEMORY = Path("/dev/shm")  # noqa: S108 -- a parser that takes a path gets its bytes from memory
WHERE = "PATCHPRESS_FUZZ_FOLDER"
"""The variable of the environment that names the folder for a parser's files."""

Check = Callable[[bytes], bool]
"""Gives bytes to a parser, and says whether it took them.

Documented errors are the parser's right; whatever else is raised is what fuzzing looks for.
"""


@dataclass(frozen=True, slots=True)
class Target:
    """One parser."""

    name: str
    modules: tuple[str, ...]
    """Those that parse: their coverage counts."""
    seeds: Callable[[], Sequence[bytes]]
    """Whole inputs that the parser takes."""
    check: Callable[[], Check]
    """Makes the check; what it needs besides the bytes is made once."""
    longest: int = 4096
    """Bytes of the longest input that is tried."""
    mutation: Mutation = of_bytes
    """Changes an input so that more than its first bytes is still read."""


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """A new folder, in memory if the system has such a file system, or where `WHERE` says."""
    where = os.environ.get(WHERE) or (_MEMORY if _MEMORY.is_dir() else None)
    with tempfile.TemporaryDirectory(prefix="patchpress-fuzz-", dir=where) as folder:
        yield Path(folder)


def lasting_folder() -> Path:
    """A folder that is removed when the process ends in order."""
    import atexit

    context = folder_in_memory()
    folder = context.__enter__()
    atexit.register(context.__exit__, None, None, None)
    return folder
