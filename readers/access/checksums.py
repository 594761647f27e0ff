"""`Checksums`: records are compared with the checksums in the table, if a user asks for that."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from patchpress.readers.errors import OptionError, StoreDamaged
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.table import checksum_column, read_table, record_keys


class Checksums:
    """The checksums of all records by key; the table is read when the first one is asked for."""

    def __init__(self, store: Path, manifest: Manifest) -> None:
        try:
            import xxhash
        except ModuleNotFoundError:
            raise OptionError("checksums need the package xxhash: pip install xxhash") from None
        self._digest = xxhash.xxh3_64_intdigest
        self._store, self._manifest = store, manifest

    @cached_property
    def _given(self) -> Mapping[str, str]:
        given: dict[str, str] = {}
        for name in self._manifest.modalities:
            keys = record_keys(self._store, self._manifest, name)
            column = checksum_column(name)
            table = read_table(self._store, self._manifest, None, [column], name)
            given.update(zip(keys, table[column].to_pylist(), strict=True))
        return given

    def check(self, key: str, value: memoryview) -> None:
        """Compare a record, as stored, with its checksum.

        Raises:
            StoreDamaged: they differ, or the table has none.
        """
        found = f"{self._digest(value):016x}"
        given = self._given.get(key)
        if found != given:
            raise StoreDamaged(
                f"record {key!r} has the checksum {found}, where the table has {given}: copy or "
                "convert the store again"
            )
