"""Reads Thrift's compact protocol, as far as Parquet's footers and headers of pages need it."""

from typing import Any

_DEEP = 8  # structs and lists in one another: footers have six
_LONGEST = 1_000_000  # items of a list, as for pyarrow itself (thrift_container_size_limit)


class NotThrift(Exception):
    """It does not parse."""


def whole(value: object) -> int:
    """A number that must be there, and not negative.

    Raises:
        NotThrift: it is something else.
    """
    if not isinstance(value, int) or value < 0:
        raise NotThrift
    return value


class CompactReader:
    """Reads one struct; texts and bytes are passed over."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def struct(self, depth: int = 0) -> tuple[dict[int, Any], int]:
        """The fields of a struct by number, and where it ends.

        Raises:
            IndexError: the data is cut.
            NotThrift: it is no struct.
        """
        found: dict[int, Any] = {}
        field = 0
        while byte := self._byte():
            step, kind = byte >> 4, byte & 15
            field = field + step if step else self._signed()
            found[field] = self._value(kind, depth)
        return found, self._at

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 7:
            return self._skip(8)
        if kind == 8:
            return self._skip(self._unsigned())
        if kind == 9 and depth < _DEEP:
            return self._list(depth + 1)
        if kind == 12 and depth < _DEEP:
            return self.struct(depth + 1)[0]
        raise NotThrift

    def _list(self, depth: int) -> list[Any]:
        byte = self._byte()
        count, kind = byte >> 4, byte & 15
        if count == 15:
            count = self._unsigned()
        if count > _LONGEST:
            raise NotThrift
        if kind in (1, 2):  # a byte each here
            self._skip(count)
            return []
        return [self._value(kind, depth) for _ in range(count)]

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _skip(self, count: int) -> None:
        self._at += count
        if self._at > len(self._data):
            raise IndexError(self._at)

    def _unsigned(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise NotThrift
        return value | byte << shift

    def _signed(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)
