"""What is known of the records of one modality, kept small while pixels stream by."""

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.sources.patch import Patch

if TYPE_CHECKING:
    import pyarrow as pa


class RecordLog:
    """Names, checksums, grounds and values of records in the order they were stored.

    About 110 bytes a record; values of columns, where a modality has such, are shared when equal.
    """

    def __init__(self, columns: list[str], identity: str) -> None:
        self.columns = columns
        self._identity_at = columns.index(identity) if identity in columns else None
        self._names, self._identities = _Names(), _Names()
        self._checksums = array("Q")
        self._epsg = array("i")
        self._bounds = array("d")
        self._values: list[list[object]] = [[] for _ in columns]
        self._seen: dict[object, object] = {}

    def __len__(self) -> int:
        return len(self._checksums)

    def add(self, patch: Patch, record: Encoded) -> None:
        """Note one stored record."""
        self._names.add(patch.name)
        identity = patch.identity
        if self._identity_at is not None and not identity:
            identity = str(record.values[self._identity_at])
        self._identities.add(identity)
        self._checksums.append(record.checksum)
        ground = record.ground
        self._epsg.append((ground.epsg or 0) if ground else 0)
        self._bounds.extend(ground[1:] if ground else (np.nan,) * 4)
        for values, value in zip(self._values, record.values, strict=True):
            values.append(self._seen.setdefault(value, value))

    def remove_rows(self, identities: set[str]) -> None:
        """Forget the records of some rows."""
        keep = [at for at, row in enumerate(self.identities().to_pylist()) if row not in identities]
        self._names, self._identities = self._names.of(keep), self._identities.of(keep)
        self._checksums = array("Q", [self._checksums[at] for at in keep])
        self._epsg = array("i", [self._epsg[at] for at in keep])
        self._bounds = array("d", self.bounds()[keep].ravel())
        self._values = [[values[at] for at in keep] for values in self._values]

    def names(self) -> "pa.Array":
        """Published names, as strings."""
        return self._names.array()

    def identities(self) -> "pa.Array":
        """The rows they belong to, as strings; empty where only a table knows."""
        return self._identities.array()

    def values(self, column: str) -> "pa.Array":
        """The values of one column: strings, lists of strings, or lists of numbers."""
        import pyarrow as pa

        return pa.array(self._values[self.columns.index(column)])

    def checksums(self) -> "pa.Array":
        """XXH3-64 of each record as 16 hexadecimal digits."""
        import pyarrow as pa

        # Text, as a nullable uint64 becomes a rounded float in pandas.
        digits = np.frombuffer(self._checksums, np.uint64).astype(">u8").tobytes().hex().encode()
        ends = np.arange(0, 16 * len(self) + 1, 16, dtype=np.int64)
        return pa.LargeStringArray.from_buffers(
            len(self), pa.py_buffer(ends), pa.py_buffer(digits)
        ).cast(pa.string())

    def epsg(self) -> np.ndarray[Any, np.dtype[np.int32]]:
        """EPSG code of each record, int32; 0 where unknown."""
        return np.frombuffer(self._epsg, np.int32)

    def bounds(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """(records, 4): left, bottom, right, top in units of the CRS; NaN where unknown."""
        return np.frombuffer(self._bounds, np.float64).reshape(-1, 4)


class _Names:
    """Many strings, one behind the other."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._ends = array("q", [0])

    def add(self, name: str) -> None:
        self._text += name.encode()
        self._ends.append(len(self._text))

    def of(self, places: list[int]) -> "_Names":
        """Some of them, in the order of their places."""
        some, all_names = _Names(), self.array().to_pylist()
        for at in places:
            some.add(all_names[at])
        return some

    def array(self) -> "pa.Array":
        import pyarrow as pa

        ends, text = pa.py_buffer(self._ends), pa.py_buffer(bytes(self._text))
        return pa.LargeStringArray.from_buffers(len(self._ends) - 1, ends, text).cast(pa.string())
