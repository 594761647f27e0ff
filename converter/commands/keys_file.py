"""The option `--keys FILE` of commands that read a store: its rows as a filter."""

import warnings
from pathlib import Path

from patchpress.converter.paths import StrPath
from patchpress.converter.tables.listed_rows import listed_rows
from patchpress.converter.text import first_few
from patchpress.readers.choice import Where
from patchpress.readers.errors import OptionError
from patchpress.readers.format.table import key_column
from patchpress.readers.store import open_store


def where_of(store: StrPath, where: dict[str, list[object]] | None, keys: Path | None) -> Where:
    """A filter with the rows that a file names, if one is given, in the order of the table.

    Warns of names that the store does not have.

    Raises:
        SelectionEmpty: the store has none of the names.
        OptionError, SourceMissing, TableError: the file cannot be read, or has no names; or the
            filter names rows, too.
    """
    if keys is None:
        return where
    opened = open_store(store, stage=False)
    modalities = opened.manifest.modalities.values()
    columns = list(dict.fromkeys(key_column(modality) for modality in modalities))
    if where and columns[0] in where:
        raise OptionError(f"--where {columns[0]}=… and --keys both name rows: give one of them")
    table = opened.table(columns=columns)
    found = listed_rows(opened.manifest, table, keys)
    if found.absent:
        warnings.warn(
            f"the store has no patch for {len(found.absent):,} names of {found.what}: "
            f"{first_few(found.absent)}",
            stacklevel=2,
        )
    names = [name for name in table[columns[0]].filter(found.mask).to_pylist() if name is not None]
    if not names:
        raise OptionError(f"the patches that {found.what} names have no {columns[0]}")
    return {**(where or {}), columns[0]: names}
