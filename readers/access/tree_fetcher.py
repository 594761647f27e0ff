"""`TreeFetcher`: records by key, found in the trees of the data files. Needs no extents."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np

from patchpress.readers.access.fetcher import Handle, Handles, ReadOne
from patchpress.readers.access.files import DataFile
from patchpress.readers.access.filling import Filling
from patchpress.readers.access.plan import Plan
from patchpress.readers.access.shards import Shards
from patchpress.readers.format.shard_rule import shard_of

KEY_LIMIT = 511  # bytes, of LMDB as it is built
SHARDS_COMPARED = 16  # that are searched for names like one that is missing


class Place(NamedTuple):
    """Where a record lies."""

    shard: int
    offset: int
    length: int


class TreeFetcher:
    """Records by key, copied from the mapped data files: a handle is the key.

    A key is searched once, in 10 us, in the shard that it must be in; from then on one look into a
    dictionary finds it.
    """

    def __init__(self, shards: Shards) -> None:
        """Take the data files, of which the only one is opened at once.

        Raises:
            FormatUnknown, StoreDamaged: as `Shards.open` and `OpenShard.tree`.
        """
        self._shards = shards
        if len(shards) == 1:
            shards.open(0).tree.require_whole()
        self._found: dict[str, Place] = {}

    def find(self, keys: Sequence[str]) -> list[Handle | None]:
        """The keys themselves; None for one that no file has.

        Raises:
            StoreDamaged: a tree is damaged, or a file was overwritten.
        """
        if len(self._shards) == 1:
            self._shards.open(0)
        unknown = [key for key in keys if isinstance(key, str) and key not in self._found]
        # Shard after shard: each is opened once, if there are more than may be open.
        for key in sorted(unknown, key=self._shard) if len(self._shards) > 1 else unknown:
            self._searched(key)
        return [None if self._place(key) is None else key for key in keys]

    def key(self, handle: Handle) -> str:
        """The key."""
        return str(handle)

    def near(self, key: str, count: int) -> list[str]:
        """Keys next to one that is not there: `count` before it and `count` after it."""
        name = key.encode(errors="replace")[:KEY_LIMIT]
        return [
            found.decode(errors="replace")
            for number in range(min(len(self._shards), SHARDS_COMPARED))
            for found in self._shards.open(number).tree.near(name, count)
        ]

    def header(self, handle: Handle) -> bytes | None:
        """Not known before the record is read."""
        return None

    def locate(self, handle: Handle) -> tuple[DataFile, int, int]:
        """(data file, offset, length) of a record.

        Raises:
            KeyError: no such record.
        """
        place = self._place(handle)
        if place is None:
            raise KeyError(handle)
        return self._shards.open(place.shard).file, place.offset, place.length

    def value(self, handle: Handle) -> memoryview:
        """The bytes on the mapped file.

        Raises:
            KeyError: no such record.
        """
        file, offset, length = self.locate(handle)
        return file.bytes[offset : offset + length]

    def batch(self, filling: Filling, handles: Handles, read_one: ReadOne) -> None:
        """Copy from the mapped files, one record after the other, shard by shard."""
        plan = filling.plan
        header, size, copies = plan.header, plan.size, plan.copies
        length = len(header)
        keys, rows = cast("Sequence[str]", handles), filling.rows
        current = -1
        for number, index in self._in_order(keys):
            key, place = keys[index], self._place(keys[index])
            if place is None or place.length != size:
                read_one(filling, key, index)
                continue
            if number != current:
                file = self._shards.mapped(number).file
                current = number
            found = file.bytes[place.offset : place.offset + size]
            if found[:length].tobytes() != header:
                read_one(filling, key, index)
                continue
            row, pixels = rows[index], np.frombuffer(found, np.uint8)
            for start, end, target, target_end in copies:
                row[target:target_end] = pixels[start:end]
            if plan.coarse:
                filling.gather(pixels, index)

    def announce(self, plan: Plan, handles: Handles) -> None:
        """Do nothing: records are copied from the map, page by page."""

    def _in_order(self, keys: Sequence[str]) -> list[tuple[int, int]]:
        """(shard, row of the batch) of each key, shard by shard."""
        if len(self._shards) == 1:
            return [(0, index) for index in range(len(keys))]
        return sorted((self._shard(key), index) for index, key in enumerate(keys))

    def _place(self, key: object) -> Place | None:
        """Where a record is, None if no file has it. A key of another process is searched here."""
        if not isinstance(key, str):
            return None
        place = self._found.get(key)
        return place if place is not None else self._searched(key)

    def _shard(self, key: str) -> int:
        """The shard that a record of that name is in, if there is one."""
        place = self._found.get(key)
        if place is not None:
            return place.shard
        try:
            return shard_of(key, len(self._shards)) if len(self._shards) > 1 else 0
        except UnicodeEncodeError:  # none that could be stored
            return 0

    def _searched(self, key: str) -> Place | None:
        try:
            name = key.encode()
        except UnicodeEncodeError:  # none that could be stored
            return None
        if not name:
            return None
        number = self._shard(key)
        value = self._shards.open(number).tree.find(name)
        if value is None:
            return None
        self._found[key] = place = Place(number, value.offset, value.length)
        return place
