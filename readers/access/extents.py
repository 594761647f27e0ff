"""`Extents`: where each record lies; key -> (shard, byte offset, length), kept beside the store.

With them a reader goes to a record's bytes without a search: it can announce a batch to the kernel
before it reads, read a band alone, and touch no page twice. No store needs them: `access.scan`
makes them from the data files, they name the files that they were made from, and a reader that
finds other files reads without them. `extents_file` writes and reads them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.keys import Keys

UNKNOWN = 0xFFFF
"""The header number of a record that must be read itself to know its header."""

Files = tuple[Mapping[str, Any], ...]
"""Of each data file the path in the store, its bytes and its identity."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Extents:
    """Keys in ascending order, and where their records lie, as arrays (records,).

    A record's position is its index in these arrays, and that of its key.
    """

    names: Keys
    shard: npt.NDArray[np.uint16]
    """Which of `files` a record is in."""
    offset: npt.NDArray[np.uint64]
    """The record's first byte in that file."""
    length: npt.NDArray[np.uint64]
    """Its bytes as stored."""
    header_number: npt.NDArray[np.uint16]
    """Which of `headers` it begins with, or `UNKNOWN`."""
    headers: tuple[bytes, ...]
    files: Files
    _seen: dict[str, int] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def keys(self) -> npt.NDArray[np.bytes_]:
        """All keys, read anew each time if they are in a file.

        Raises:
            StoreDamaged: the file of the extents cannot be read any more.
        """
        return self.names.part(0, len(self))

    @cached_property
    def identity(self) -> str:
        """What they were made from, as text: equal for equal data files."""
        files = json.dumps([dict(entry) for entry in self.files], sort_keys=True)
        return hashlib.sha256(files.encode()).hexdigest()

    def key(self, position: int) -> str:
        """The key at a position, to be told, or to be compared with something else."""
        return self.names.one(position).decode(errors="backslashreplace")

    def stored_key(self, position: int) -> bytes:
        """The key at a position, as it is stored.

        Raises:
            StoreDamaged: the file of the extents cannot be read any more, or was overwritten.
        """
        return bytes(self.names.part(position, position + 1)[0])

    def positions(self, keys: Sequence[str]) -> list[int]:
        """The position of each key, -1 if there is no such record.

        A key is searched once; from then on one look into a dictionary finds it.
        """
        try:
            found = [self._seen.get(key) for key in keys]
        except TypeError:  # a name that cannot be hashed is no text
            return [self.positions([key])[0] if isinstance(key, str) else -1 for key in keys]
        if None in found:
            positions: list[int] = self._searched(_encoded(keys)).tolist()
            pairs = zip(keys, positions, strict=True)
            self._seen.update((key, position) for key, position in pairs if position >= 0)
            return positions
        return found  # type: ignore[return-value]

    def near(self, key: str, count: int) -> list[str]:
        """The keys next to one that is not there, in order: `count` before it, `count` after it."""
        position = self.names.place(key.encode(errors="replace")[: self.names.width])
        first, end = max(position - count, 0), min(position + count, len(self))
        near = self.names.part(first, end).tolist()
        return [name.decode(errors="backslashreplace") for name in near]

    def _searched(self, names: npt.NDArray[np.bytes_]) -> npt.NDArray[np.int64]:
        """The position of each key, given as UTF-8, -1 if there is no such record."""
        width = self.names.width
        # A longer name is none of them; with one, NumPy would search a widened copy of all keys.
        longer = np.char.str_len(names) > width
        positions = self.names.search(names.astype(f"S{width}"))
        positions[longer] = -1
        return positions


def _encoded(keys: Sequence[str]) -> npt.NDArray[np.bytes_]:
    """Keys as UTF-8; an object that cannot be a key becomes a name that no record has."""
    encoded = []
    for key in keys:
        try:
            name = key.encode() if isinstance(key, str) else b""
        except UnicodeEncodeError:
            name = b""
        # NumPy pads with zero bytes, so a name that ends in one would equal another.
        encoded.append(b"" if name.endswith(b"\0") else name)
    return np.array(encoded, "S")
