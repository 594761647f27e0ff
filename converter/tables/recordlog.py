"""What is known of the stored records of one modality: a compact log that becomes table columns."""

import struct
from collections.abc import Iterable
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zstandard

from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.sources.patch import Patch
from patchpress.converter.tables.one_type import of_one_type

if TYPE_CHECKING:
    import pyarrow as pa

_GROUND = np.dtype([("epsg", np.int32), ("bounds", np.float64, 4)])
_PACK = struct.Struct("=i4d").pack  # the same 36 bytes
_CHECKSUM = struct.Struct("=Q").pack
_NO_BOUNDS = (np.nan,) * 4
_AT_ONCE = 1024  # names that are packed together
_CHUNK = 1 << 20
"""Bytes of names or grounds after which they are compressed: to a fifth, or much less."""


class RecordLog:
    """The records of one modality in the order in which they were stored.

    Of each record it keeps the published name, the row that it belongs to, its checksum, its ground
    and its values for the table. A large data set has more than a million, so what can be is kept
    compressed, about 20 bytes a record; values of columns that are equal share one object.
    """

    def __init__(self, columns: list[str], identity: str) -> None:
        self.columns = columns
        """The table columns that the records fill."""
        self._identity_at = columns.index(identity) if identity in columns else None
        self._names, self._identities = _PackedStrings(), _PackedStrings()
        self._checksums = bytearray()
        """Eight bytes a record."""
        self._grounds = _PackedBytes()
        """One `_GROUND` a record."""
        self._values: list[list[object]] = [[] for _ in columns]
        self._seen: dict[object, object] = {}

    def __len__(self) -> int:
        return len(self._names)

    def add(self, patch: Patch, record: Encoded) -> None:
        """Append one stored record."""
        identity = patch.identity
        if self._identity_at is not None and not identity:
            identity = str(record.values[self._identity_at] or "")
        self._names.add(patch.name)
        self._identities.add(identity)
        ground = record.ground
        epsg, bounds = ((ground.epsg or 0), ground[1:]) if ground else (0, _NO_BOUNDS)
        self._checksums += _CHECKSUM(record.checksum)
        self._grounds.add(_PACK(epsg, *bounds))
        for values, value in zip(self._values, record.values, strict=True):
            values.append(self._shared(value))

    def _shared(self, value: object) -> object:
        """A value equal to this one that is there already, if it is text or a tuple of text."""
        first = value[0] if type(value) is tuple and value else value
        # To a dict 1, 1.0 and True are one.
        if type(first) is str or type(first) is float:
            return self._seen.setdefault(value, value)
        return value

    def remove_rows(self, identities: set[str]) -> None:
        """Remove all records that belong to these rows."""
        rows = self.identities().to_pylist()
        self._keep([at for at, identity in enumerate(rows) if identity not in identities])

    def remove_repeated(self) -> None:
        """Remove all but the first of several records of one name."""
        import pyarrow.compute as pc

        names = self.names()
        if pc.count_distinct(names).as_py() < len(names):
            first: dict[str, int] = {}
            for position, name in enumerate(names.to_pylist()):
                first.setdefault(name, position)
            self._keep(list(first.values()))

    def at(self, positions: list[int]) -> "RecordLog":
        """A log of the records at some positions, in that order."""
        other = copy(self)
        other._keep(positions)
        return other

    def _keep(self, positions: list[int]) -> None:
        self._names, self._identities = self._names.at(positions), self._identities.at(positions)
        self._checksums = bytearray(np.frombuffer(self._checksums, np.uint64)[positions].tobytes())
        self._grounds = _PackedBytes(self.grounds()[positions].tobytes())
        self._values = [[values[at] for at in positions] for values in self._values]

    def names(self) -> "pa.Array":
        """Published names, as strings."""
        return self._names.array()

    def identities(self) -> "pa.Array":
        """The rows that the records belong to, as strings; empty if only a table knows the row."""
        return self._identities.array()

    def values(self, column: str) -> "pa.Array":
        """The values of one column, all of one type as `of_one_type` makes it."""
        return of_one_type(self._values[self.columns.index(column)])[0]

    def mixed_types(self, column: str) -> str:
        """How the types of a column's values differ, for people; empty if they do not."""
        return of_one_type(self._values[self.columns.index(column)])[1]

    def checksums(self) -> "pa.Array":
        """XXH3-64 of each record as 16 hexadecimal digits."""
        # Text, because pandas turns a nullable uint64 into a rounded float.
        digits = np.frombuffer(self._checksums, np.uint64).astype(">u8").tobytes().hex().encode()
        return _strings(np.full(len(self), 16, np.uint32), digits)

    def grounds(self) -> npt.NDArray[Any]:
        """The ground of each record: (records,) with the fields ``epsg`` and ``bounds``.

        Codes are int32, 0 if unknown; bounds are left, bottom, right, top in units of the CRS,
        float64 (records, 4), NaN if unknown.
        """
        return np.frombuffer(self._grounds.joined(), _GROUND)


class _PackedBytes:
    """Bytes that grow; what is full is compressed."""

    def __init__(self, data: bytes = b"") -> None:
        self._full: list[bytes] = []
        self._nbytes = 0
        """Bytes of what is compressed."""
        self._open = bytearray()
        self.add(data)

    def add(self, data: bytes) -> None:
        """Append some."""
        self._open += data
        if len(self._open) >= _CHUNK:
            self._full.append(zstandard.ZstdCompressor(level=1).compress(self._open))
            self._nbytes += len(self._open)
            self._open.clear()

    def joined(self) -> bytearray:
        """All of them; they are never there twice."""
        found, end = bytearray(self._nbytes + len(self._open)), 0
        for packed in self._full:
            part = zstandard.ZstdDecompressor().decompress(packed)
            found[end : end + len(part)] = part
            end += len(part)
        found[end:] = self._open
        return found


class _PackedStrings:
    """Many strings that grow, as compressed text and lengths."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._text, self._lengths = _PackedBytes(), _PackedBytes()
        self._count = 0
        self._last: list[str] = []  # not packed yet: many at once take less time
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return self._count + len(self._last)

    def add(self, text: str) -> None:
        self._last.append(text)
        if len(self._last) == _AT_ONCE:
            self._pack()

    def _pack(self) -> None:
        texts = [text.encode() for text in self._last]
        self._text.add(b"".join(texts))
        self._lengths.add(np.array([len(text) for text in texts], np.uint32).tobytes())
        self._count += len(texts)
        self._last.clear()

    def at(self, positions: list[int]) -> "_PackedStrings":
        """The strings at some positions, in that order."""
        texts = self.array().to_pylist()
        return _PackedStrings(texts[position] for position in positions)

    def array(self) -> "pa.Array":
        """All of them, as an array of strings."""
        self._pack()
        return _strings(np.frombuffer(self._lengths.joined(), np.uint32), self._text.joined())


def _strings(lengths: npt.NDArray[np.uint32], text: bytes | bytearray) -> "pa.Array":
    """An array of strings; `text` has them one after the other."""
    import pyarrow as pa

    ends = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=ends[1:])
    if len(text) < 1 << 31:
        short = pa.py_buffer(ends.astype(np.int32))
        return pa.StringArray.from_buffers(len(lengths), short, pa.py_buffer(text))
    large = pa.LargeStringArray.from_buffers(len(lengths), pa.py_buffer(ends), pa.py_buffer(text))
    return large.cast(pa.string())
