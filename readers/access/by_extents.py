"""`ByExtents`: how a record is found in the extents; what all fetchers that go by them share."""

from collections.abc import Sequence

from patchpress.readers.access.extents import UNKNOWN, Extents
from patchpress.readers.access.fetcher import Handle


class ByExtents:
    """Handles are positions in the extents."""

    extents: Extents

    def find(self, keys: Sequence[str]) -> list[Handle | None]:
        """Positions in the extents."""
        found = self.extents.positions(keys)
        if -1 in found:
            return [None if position < 0 else position for position in found]
        return found  # type: ignore[return-value]

    def key(self, handle: Handle) -> str:
        """The key at a position."""
        return self.extents.key(int(handle))

    def near(self, key: str, count: int) -> list[str]:
        """Keys next to one that is not there: `count` before it and `count` after it."""
        return self.extents.near(key, count)

    def header(self, handle: Handle) -> bytes | None:
        """The header noted in the extents."""
        number = int(self.extents.header_number[int(handle)])
        return None if number == UNKNOWN else self.extents.headers[number]
