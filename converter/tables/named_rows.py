"""Which rows of the official tables have pixels: those that name a stored record.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.patterns import name_pattern
from patchpress.converter.tables.arrow import release_memory
from patchpress.converter.tables.filling import Logs
from patchpress.converter.tables.name_index import NameIndex
from patchpress.converter.tables.naming import LOOKED_AT, any_of_form
from patchpress.converter.tables.official import Tables
from patchpress.readers.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa


def names_by_column(
    description: Description, logs: Logs, tables: Tables | None
) -> dict[str, NameIndex]:
    """Key column -> the names of the stored records that it names, each once.

    If no table has a column, the rows that the records belong to are named instead.
    """
    import pyarrow as pa

    found: dict[str, list[pa.Array]] = {}
    for name, log in logs.items():
        if len(log):
            column, names = description.modalities[name].key_column, log.names()
            if tables is not None and not tables.has(column):
                column, names = description.identity, log.identities()
            found.setdefault(column, []).append(names)
    known: dict[str, NameIndex] = {}
    for column in list(found):
        arrays = found.pop(column)
        known[column] = NameIndex(_distinct(arrays))
        del arrays
        release_memory()
    return known


def _distinct(arrays: "list[pa.Array]") -> "pa.Array":
    """The names of several arrays, each once; those of a single one as they are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    others = [array for array in arrays[1:] if not array.equals(arrays[0])]
    if not others:  # a log has each name once
        return arrays[0]
    return pc.unique(pa.chunked_array([arrays[0], *others]))


def have_pixels(tables: Tables, known: Mapping[str, NameIndex]) -> npt.NDArray[np.bool_]:
    """For each official row whether it names a stored record; `known` are these by column."""
    there, begin = np.zeros(tables.rows, bool), 0
    for group in tables.groups(list(known)):
        for column, stored in known.items():
            there[begin : begin + len(group)] |= stored.has(group[column])
        begin += len(group)
    release_memory()
    return there


def check_part(
    description: Description,
    tables: Tables,
    known: Mapping[str, NameIndex],
    *,
    is_part: bool,
) -> None:
    """Refuse tables that have no patch of the source, unless its patches are only some.

    Raises:
        TableError: with a name of each side.
    """
    for column, names in known.items():
        given = tables.names(column).drop_null()
        if not len(given):
            continue
        form = name_pattern(
            next(m for m in description.modalities.values() if m.key_column == column)
        )
        if not is_part or not any_of_form(given.slice(0, LOOKED_AT).to_pylist(), form):
            part = next(iter(tables.paths)).partition("/")[0]
            raise TableError(
                f"no patch of the source is in {', '.join(map(str, tables.paths.values()))}: a "
                f"name there is {given[0].as_py()!r}, and in the source "
                f"{names.names[0].as_py()!r}; give the right table with --path {part}=FILE, or "
                "move it away"
            )
        return
