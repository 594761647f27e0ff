"""`TreeFetcher`: records by key, found in the trees of the data files. Needs no extents."""

from collections.abc import Sequence
from typing import cast

import numpy as np

from patchpress.readers.access.fetcher import Array, Handle, Handles, ReadOne, rows_of_bytes
from patchpress.readers.access.files import DataFile
from patchpress.readers.access.plan import Plan
from patchpress.readers.access.watch import Watch
from patchpress.readers.format.btree import Tree, Value

KEY_LIMIT = 511  # bytes, of LMDB as it is built


class TreeFetcher:
    """Records by key, copied from the mapped data files: a handle is the key.

    A key is searched once, in 10 us; from then on one look into a dictionary finds it.
    """

    def __init__(self, files: Sequence[DataFile], watch: Watch) -> None:
        """Take data files of which each has a record of a key, or none has.

        Raises:
            FormatUnknown, StoreDamaged: as `Tree`.
        """
        self._watch = watch
        self._trees = [(file, Tree(file.pages, file.path)) for file in files]
        for _, tree in self._trees:
            tree.require_whole()
        self._found: dict[str, tuple[DataFile, Value]] = {}

    def find(self, keys: Sequence[str]) -> list[Handle | None]:
        """The keys themselves; None for one that no file has.

        Raises:
            StoreDamaged: a tree is damaged, or a file was overwritten.
        """
        self._watch.check()
        return [None if self._place(key) is None else key for key in keys]

    def key(self, handle: Handle) -> str:
        """The key."""
        return str(handle)

    def near(self, key: str, count: int) -> list[str]:
        """Keys next to one that is not there: `count` before it and `count` after it."""
        name = key.encode(errors="replace")[:KEY_LIMIT]
        return [
            found.decode(errors="replace")
            for _, tree in self._trees
            for found in tree.near(name, count)
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
        file, value = place
        return file, value.offset, value.length

    def value(self, handle: Handle) -> memoryview:
        """The bytes on the mapped file.

        Raises:
            KeyError: no such record.
        """
        self._watch.check()
        file, offset, length = self.locate(handle)
        return file.bytes[offset : offset + length]

    def batch(self, plan: Plan, handles: Handles, out: Array, read_one: ReadOne) -> None:
        """Copy from the mapped files, one record after the other."""
        self._watch.check()
        header, size, copies = plan.header, plan.size, plan.copies
        length = len(header)
        rows = zip(cast("Sequence[str]", handles), rows_of_bytes(out), strict=True)
        for index, (key, row) in enumerate(rows):
            place = self._place(key)
            if place is None or place[1].length != size:
                read_one(plan, key, out[index])
                continue
            file, value = place
            found = file.bytes[value.offset : value.offset + size]
            if found[:length].tobytes() != header:
                read_one(plan, key, out[index])
                continue
            pixels = np.frombuffer(found, np.uint8)
            for start, end, target, target_end in copies:
                row[target:target_end] = pixels[start:end]
            if plan.coarse:
                plan.repeat(found, out[index])

    def announce(self, plan: Plan, handles: Handles) -> None:
        """Do nothing: records are copied from the map, page by page."""

    def _place(self, key: object) -> tuple[DataFile, Value] | None:
        """Where a record is, None if no file has it. A key of another process is searched here."""
        if not isinstance(key, str):
            return None
        place = self._found.get(key)
        return place if place is not None else self._searched(key)

    def _searched(self, key: str) -> tuple[DataFile, Value] | None:
        try:
            name = key.encode()
        except UnicodeEncodeError:  # none that could be stored
            return None
        for file, tree in self._trees:
            value = tree.find(name) if name else None
            if value is not None:
                self._found[key] = file, value
                return self._found[key]
        return None
