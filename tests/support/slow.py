"""A disk far away: each open, look at a file and listing waits, by a library that is preloaded."""

import os
import struct
from pathlib import Path
from typing import NamedTuple

from tests.support.preloaded import built

_COUNTS = struct.Struct("=9i")


class Kinds(NamedTuple):
    """A number for each kind of call."""

    opens: int
    """Of files and folders."""
    looks: int
    """What something is, or whether it is there."""
    listings: int
    """Names of a folder that come from the disk together."""


class SlowDisk:
    """Files whose paths hold a text are on a slow disk; counts the calls of all processes."""

    def __init__(self, path: Path, counts: Path, *, wait: int = 2000) -> None:
        """Take the text in the paths, a new file for the counts, and microseconds for each call."""
        self._path, self._counts, self._wait = path, counts, wait
        counts.write_bytes(bytes(_COUNTS.size))

    def environment(self, other: dict[str, str] | None = None) -> dict[str, str]:
        """An environment for a process that has such a disk; `other` may preload more."""
        before = dict(os.environ) if other is None else other
        return before | {
            "LD_PRELOAD": " ".join(
                [before.get("LD_PRELOAD", ""), str(built("slow", "a slow disk is made"))]
            ).strip(),
            "SLOW_PATH": str(self._path),
            "SLOW_WAIT": str(self._wait),
            "SLOW_COUNTS": str(self._counts),
        }

    @property
    def most(self) -> Kinds:
        """How many calls of each kind were under way at once, at most."""
        return Kinds(*_COUNTS.unpack(self._counts.read_bytes())[3:6])

    @property
    def all(self) -> Kinds:
        """How many calls of each kind there were."""
        return Kinds(*_COUNTS.unpack(self._counts.read_bytes())[6:])
