"""A selection as files that other commands and loaders take."""

import io
import shlex

from patchpress.converter.viewer.asked import Asked
from patchpress.converter.viewer.catalogue import Catalogue, RowsSeen
from patchpress.readers.errors import OptionError

KINDS = {"keys": "text/plain", "where": "text/plain", "parquet": "application/octet-stream"}
"""Kind of file -> its media type."""


def exported(catalogue: Catalogue, asked: Asked, selection: RowsSeen, kind: str) -> bytes:
    """A selection as a file.

    Args:
        catalogue: the rows.
        asked: what was asked for.
        selection: the rows that fit.
        kind: ``keys`` for the name of each row, one a line (`copy --keys`); ``parquet`` for a table
            of the columns that name records; ``where`` for the filter as options of commands and as
            Python.

    Raises:
        OptionError: no such kind, no row that fits, or a filter that `where` cannot say.
    """
    if kind not in KINDS:
        raise OptionError(f"{kind!r} is no kind of export; there are {', '.join(KINDS)}")
    if not len(selection.rows):
        raise OptionError("no row fits, so that there is nothing to export")
    if kind == "where":
        return _where(asked).encode()
    table = catalogue.names(selection.rows)
    if kind == "keys":
        parts = (part.drop_null() for part in table[catalogue.identity].chunks)
        lines = ("".join(f"{name}\n" for name in part.to_pylist()) for part in parts)
        return "".join(lines).encode()
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def _where(asked: Asked) -> str:
    if not asked.is_where:
        raise OptionError(
            "a part of a name, a box, or several labels at once cannot be said by where: export "
            "keys or Parquet"
        )
    options = [
        f"--where {shlex.quote(f'{column}={value}')}"
        for column, values in asked.values
        for value in values
    ]
    python = {column: list(values) for column, values in asked.values}
    return " ".join(options) + f"\nwhere={python!r}\n"
