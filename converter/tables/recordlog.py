"""What is known of the stored records of one modality: a compact log that becomes table columns."""

import struct
from array import array
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.sources.patch import Patch
from patchpress.converter.tables.one_type import of_one_type

if TYPE_CHECKING:
    import pyarrow as pa

_FACTS = np.dtype([("checksum", np.uint64), ("epsg", np.int32), ("bounds", np.float64, 4)])
_PACK = struct.Struct("=Qi4d").pack  # the same 44 bytes
_NO_BOUNDS = (np.nan,) * 4


class RecordLog:
    """The records of one modality in the order in which they were stored.

    Of each record it keeps the published name, the row that it belongs to, its checksum, its ground
    and its values for the table. That is about 110 bytes a record, because a large data set has
    more than a million; values of columns that are equal share one object.
    """

    def __init__(self, columns: list[str], identity: str) -> None:
        self.columns = columns
        """The table columns that the records fill."""
        self._identity_at = columns.index(identity) if identity in columns else None
        self._names, self._identities = _PackedStrings(), _PackedStrings()
        self._facts = bytearray()
        """One `_FACTS` a record."""
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
        self._facts += _PACK(record.checksum, epsg, *bounds)
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
        self._facts = bytearray(self._array()[positions].tobytes())
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
        import pyarrow as pa

        # Text, because pandas turns a nullable uint64 into a rounded float.
        digits = self._array()["checksum"].astype(">u8").tobytes().hex().encode()
        ends = np.arange(0, 16 * len(self) + 1, 16, dtype=np.int64)
        return pa.LargeStringArray.from_buffers(
            len(self), pa.py_buffer(ends), pa.py_buffer(digits)
        ).cast(pa.string())

    def grounds(
        self, positions: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """(EPSG codes, bounds) of the records at some positions.

        Codes are int32 (records,), 0 if unknown; bounds are left, bottom, right, top in units of
        the CRS, float64 (records, 4), NaN if unknown.
        """
        facts = np.frombuffer(self._facts, _FACTS)[positions]  # a copy of these only
        return facts["epsg"], facts["bounds"]

    def _array(self) -> npt.NDArray[Any]:
        """A copy of the facts: a bytearray that an array looks into cannot grow."""
        return np.frombuffer(self._facts, _FACTS).copy()


class _PackedStrings:
    """Many strings in one buffer, as an Arrow array of strings has them."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._ends = array("q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def add(self, text: str) -> None:
        self._text += text.encode()
        self._ends.append(len(self._text))

    def at(self, positions: list[int]) -> "_PackedStrings":
        """The strings at some positions, in that order."""
        found, texts = _PackedStrings(), self.array().to_pylist()
        for position in positions:
            found.add(texts[position])
        return found

    def array(self) -> "pa.Array":
        """All of them, as an array of strings."""
        import pyarrow as pa

        # Both are copies, because a buffer that pyarrow looks into cannot grow.
        ends, text = pa.py_buffer(self._ends.tobytes()), pa.py_buffer(bytes(self._text))
        return pa.LargeStringArray.from_buffers(len(self), ends, text).cast(pa.string())
