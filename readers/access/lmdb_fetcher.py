"""`LmdbFetcher`: records by key, through LMDB."""

from collections.abc import Sequence
from typing import cast

import numpy as np

from patchpress.readers.access.environment import Environment
from patchpress.readers.access.fetcher import Array, Handle, Handles, ReadOne, rows_of_bytes
from patchpress.readers.access.plan import Plan


class LmdbFetcher:
    """Records by key, through LMDB: a handle is the key."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def find(self, keys: Sequence[str]) -> list[Handle | None]:
        """The keys themselves: LMDB looks for them when it reads them."""
        return list(keys)

    def is_there(self, handle: Handle) -> bool:
        """Whether LMDB has the key."""
        return self._environment.has(str(handle))

    def key(self, handle: Handle) -> str:
        """The key."""
        return str(handle)

    def near(self, key: str, count: int) -> list[str]:
        """Keys next to one that is not there: `count` before it and `count` after it."""
        return self._environment.near(key, count)

    def header(self, handle: Handle) -> bytes | None:
        """Not known before the record is read."""
        return None

    def value(self, handle: Handle) -> memoryview:
        """The bytes on LMDB's map.

        Raises:
            KeyError: no such record.
        """
        found = self._environment.value(cast("str", handle))
        if found is None:
            raise KeyError(handle)
        return found

    def batch(self, plan: Plan, handles: Handles, out: Array, read_one: ReadOne) -> None:
        """Copy from LMDB's map, one record after the other."""
        header, size, value = plan.header, plan.size, self._environment.value
        length = len(header)
        copies = plan.copies
        rows = zip(cast("Sequence[str]", handles), rows_of_bytes(out), strict=True)
        for index, (key, row) in enumerate(rows):
            found = value(key)
            if found is None or len(found) != size or found[:length].tobytes() != header:
                read_one(plan, key, out[index])
                continue
            pixels = np.frombuffer(found, np.uint8)
            for start, end, target, target_end in copies:
                row[target:target_end] = pixels[start:end]
            if plan.coarse:
                plan.repeat(found, out[index])

    def announce(self, plan: Plan, handles: Handles) -> None:
        """Do nothing: LMDB says where a value lies only when it is read."""
