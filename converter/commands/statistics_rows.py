"""Which rows of a store statistics are of, from what a user asks for."""

from collections.abc import Sequence
from dataclasses import dataclass

from patchpress.converter.paths import StrPath
from patchpress.readers.choice import Where
from patchpress.readers.errors import OptionError
from patchpress.readers.format.arrow_kinds import plain_type
from patchpress.readers.format.table import HasRowNumbers, Split, split_names
from patchpress.readers.hints import hint
from patchpress.readers.rows import named_selection, rows_of
from patchpress.readers.statistics_file import ALL, entry_name
from patchpress.readers.store import Store, open_store


@dataclass(frozen=True)
class StatisticsRows:
    """Which rows the statistics are of, and what these are called in the file."""

    entry: str
    """Their name in the file: that of a split, or of what was selected."""
    split: Split
    """A split, several, or samples; None for all records."""
    flagged: str | None
    """Whether rows that their publisher does not recommend are among them."""


def select_rows(store: Store, split: Split, flagged: str | None, where: Where) -> StatisticsRows:
    """The rows that the arguments of `compute` ask for.

    Raises:
        SelectionEmpty, OptionError: as `compute`.
    """
    if where is not None:
        split, flagged = rows_of(store.path, store.manifest, split, where, flagged), None
    if isinstance(split, HasRowNumbers):
        # Rows that are a whole split are kept under its name.
        split, flagged = named_selection(store.path, store.manifest, split)
    elif split is not None:
        asked = [split] if isinstance(split, str) else list(split)
        whole = asked == [ALL] and ALL not in store.manifest.splits
        names = [] if whole else split_names(store.manifest, asked)
        split = names if len(names) > 1 else names[0] if names else None
    return StatisticsRows(entry_name(store.manifest, split, flagged), split, flagged)


def parse_where(store: StrPath, entries: Sequence[str]) -> dict[str, list[object]] | None:
    """Options COLUMN=VALUE as a filter, each value in the type of its column; None for none.

    Raises:
        OptionError: an entry without ``=``, a column that the table does not have, or a value
            that its type does not have.
        StoreError: there is no finished store, or it is damaged.
    """
    if not entries:
        return None
    import pyarrow as pa

    opened = open_store(store, stage=False)
    try:  # of a large table, only these columns
        columns = dict.fromkeys(entry.partition("=")[0] for entry in entries)
        schema = opened.table(columns=list(columns)).schema
    except OptionError:  # one is not there: the sentence below names those that are
        schema = opened.table().schema
    found: dict[str, list[object]] = {}
    for entry in entries:
        column, equals, text = entry.partition("=")
        if not equals:
            raise OptionError(f"--where {entry} must be COLUMN=VALUE, as in country=Portugal")
        if column not in schema.names:
            raise OptionError(
                f"--where {entry}: the table has no column {column!r}; {hint(column, schema.names)}"
            )
        kind = plain_type(schema.field(column).type)
        if pa.types.is_list(kind) or pa.types.is_large_list(kind):
            kind = kind.value_type
        try:
            value = pa.scalar(text).cast(kind).as_py()
        except pa.ArrowException:
            raise OptionError(f"--where {entry}: {text!r} is no {kind}") from None
        found.setdefault(column, []).append(value)
    return found
