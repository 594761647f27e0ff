"""Which rows of a store a list of names means: one a line of a file, a column of a table, texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.tables.lists import read_list
from patchpress.converter.tables.tablefiles import STRINGS, check_column, read_groups, read_schema
from patchpress.readers.errors import OptionError, SelectionEmpty, SourceMissing
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.table import key_column, keys_in

if TYPE_CHECKING:
    import pyarrow as pa

_PARQUET = b"PAR1"  # the first bytes of such a file


@dataclass(frozen=True)
class ListedRows:
    """Which rows a list names."""

    mask: npt.NDArray[np.bool_]
    absent: tuple[str, ...]
    """Names that the store does not have."""
    what: str
    """What the list is called."""


def listed_rows(manifest: Manifest, table: "pa.Table", keys: Path | Sequence[str]) -> ListedRows:
    """The rows that some names mean: those of rows, or of records of any modality.

    Raises:
        SelectionEmpty: the store has none of them.
        OptionError, SourceMissing, TableError: the list cannot be read, or has no names.
    """
    import pyarrow as pa

    known = _names(manifest, table)
    is_file = isinstance(keys, Path)
    everything = pa.concat_arrays([pa.array(names, pa.string()) for names in known.values()])
    asked = _read_names(manifest, keys, everything) if isinstance(keys, Path) else list(keys)
    what = str(keys) if is_file else "the list of keys"
    wrong = next((name for name in asked if not isinstance(name, str)), None)
    if wrong is not None or not asked:
        raise OptionError(f"keys must be names, not {wrong!r}" if asked else f"{what} is empty")
    wanted = set(asked)
    mask, met = np.zeros(manifest.rows, bool), set[str]()
    for names in known.values():
        hits = np.fromiter((name in wanted for name in names), bool, len(names))
        mask |= hits
        met.update(names[at] for at in np.flatnonzero(hits))
    absent = tuple(name for name in dict.fromkeys(asked) if name not in met)
    if not met:
        raise SelectionEmpty(
            f"the store has none of the {len(wanted):,} names in {what}: it has "
            f"{next(iter(known.values()))[0]!r}, there is {asked[0]!r}"
        )
    return ListedRows(mask, absent, what)


def _names(manifest: Manifest, table: "pa.Table") -> dict[str, list[str]]:
    """What each row may be called: by the columns of keys, and by the keys of its records."""
    found: dict[str, list[str]] = {}
    for modality in manifest.modalities.values():
        column = key_column(modality)
        values = table[column]
        found[column] = [str(name or "") for name in values.to_pylist()]
        if modality.key != f"{{{column}}}":
            found[f"{modality.name} {column}"] = keys_in(modality, values)
    return found


def _read_names(manifest: Manifest, path: Path, known: "pa.Array") -> list[Any]:
    """The names in a list, one a line, or in a column of a table."""
    columns = list(dict.fromkeys(key_column(m) for m in manifest.modalities.values()))
    try:
        with path.open("rb") as file:
            is_parquet = file.read(len(_PARQUET)) == _PARQUET
    except FileNotFoundError:
        raise SourceMissing(f"there is no file {path} of keys") from None
    except OSError as error:
        raise OptionError(f"{path} cannot be read as a list of keys ({error.strerror})") from None
    if not is_parquet:
        return read_list(path, columns[0], known)
    names = read_schema(path).names
    column = next((name for name in columns if name in names), None)
    column = column or (names[0] if len(names) == 1 else columns[0])
    check_column(path, read_schema(path), column, STRINGS)
    groups = read_groups(path, [column])
    return [name for group in groups for name in group[column].to_pylist() if name is not None]
