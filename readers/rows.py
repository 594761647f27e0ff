"""Which rows of the table are samples: by split, by a filter, by what they have.

Everything here works on the whole table in memory, before any pixel is read.
"""

from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.choice import Where
from patchpress.readers.errors import OptionError, SelectionEmpty
from patchpress.readers.format.arrow_kinds import plain_table
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.split_names import known_split
from patchpress.readers.format.table import (
    HasRowNumbers,
    Split,
    flag_mask,
    flagged_choice,
    has_any,
    key_column,
    numbers_in,
    presence_column,
    read_table,
    split_mask,
    split_names,
)
from patchpress.readers.hints import hint, nearest
from patchpress.readers.targets import without_labels

if TYPE_CHECKING:
    import pyarrow as pa

NAMES_COMPARED, NEIGHBOURS = 50_000, 300
"""With so many names, only the neighbours of an unknown one in their order are compared with it."""
VALUES_LISTED = 20  # values of a column that a message lists
FLAGGED = "flagged"  # why rows are left out that their publisher does not recommend
_NUMBER = "number of the row"  # a column that is there only while rows are filtered


@dataclass(frozen=True)
class Rows:
    """Some rows of the table, all columns."""

    table: "pa.Table"
    numbers: npt.NDArray[np.int64]
    """Position of each row in metadata.parquet."""
    table_digest: str = ""
    """Of the whole table, as the manifest has it."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows that were selected and yet left out for it."""

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def row_numbers(self) -> npt.NDArray[np.int64]:
        """As `numbers`: with it, rows may be given for a split."""
        return self.numbers

    def keep(self, condition: Any) -> "Rows":
        """The rows for which a mask (one bool a row) or a pyarrow expression is true."""
        extra = _NUMBER
        while extra in self.table.column_names:
            extra += "_"
        numbered = self.table.append_column(extra, [self.numbers]).filter(condition)
        numbers = numbered[extra].to_numpy()
        return replace(self, table=numbered.drop_columns([extra]), numbers=numbers)

    def leave_out(self, reason: str, mask: Any) -> "Rows":
        """The rows for which a mask is false; the others are counted."""
        import pyarrow.compute as pc

        kept = self.keep(pc.invert(mask))
        lost = len(self) - len(kept)
        return replace(kept, left_out={**self.left_out, reason: lost}) if lost else kept


def rows_of(
    store: Path,
    manifest: Manifest,
    split: Split = None,
    where: Where = None,
    flagged: str | None = None,
    columns: Sequence[str] | None = None,
) -> Rows:
    """Rows of a split that `where` keeps and that `flagged` asks for.

    Args:
        store: folder of the store.
        manifest: the store's.
        split: one split, several, or rows that were chosen before, in their order; None for all.
        where: column -> value, or values of which a row must have one; or a pyarrow expression.
        flagged: `exclude`, `include` or `only`, as `Store.table` has it. Rows that `exclude` leaves
            out are counted in `left_out`.
        columns: those that the rows must have, so that not all are read; all for None.

    Raises:
        SelectionEmpty: there is none; the message lists what there is.
        OptionError: a column that is not there, a value of another type, or no such choice.
    """
    choice = flagged_choice(flagged, split)
    # Filters know plain text only, and no categories.
    read = None if columns is None else _columns_read(manifest, columns, where)
    table = plain_table(read_table(store, manifest, None, read))
    names = _names_asked(manifest, table, where)
    rows = Rows(table, np.arange(len(table)), manifest.metadata_digest)
    if isinstance(split, HasRowNumbers):
        numbers = numbers_in(manifest, split)
        rows = replace(rows, table=table.take(numbers), numbers=numbers)
    elif split is not None:
        rows = rows.keep(split_mask(manifest, rows.table, split_names(manifest, split)))
    for column, asked in names.items():
        _check_names_in_split(rows.table, column, asked, split)
    rows = _where(manifest, rows, where, split)
    for column, asked in names.items():
        rows = _in_order_of(rows, column, asked)
    if choice == "include":
        return rows
    columns = manifest.flagged.columns
    mask = flag_mask(columns, rows.table)
    return _only_flagged(rows, mask) if choice == "only" else _without_flagged(rows, mask, columns)


def _columns_read(manifest: Manifest, columns: Sequence[str], where: Where) -> list[str] | None:
    """The columns that `rows_of` needs; None for all, of which an expression may use any."""
    if where is not None and not isinstance(where, Mapping):
        return None
    splits = [manifest.split_column] if manifest.splits else []
    return list(dict.fromkeys([*columns, *splits, *manifest.flagged.columns, *(where or ())]))


def _names_asked(manifest: Manifest, table: "pa.Table", where: Where) -> dict[str, list[str]]:
    """The lists of names of records in a filter: key column -> names, each of them there.

    Raises:
        OptionError: a name that is not in the column (the message has the nearest), or is twice in
            the list.
    """
    columns = {key_column(modality) for modality in manifest.modalities.values()}
    lists = where if isinstance(where, Mapping) else {}
    found = {}
    for column in lists.keys() & columns:
        asked = lists[column]
        if isinstance(asked, str) or not isinstance(asked, Iterable):
            asked = [asked]
        asked = [name for name in asked if isinstance(name, str)]
        known = set(table[column].to_pylist())
        unknown = [name for name in asked if name not in known]
        if unknown:
            raise OptionError(_unknown_name(unknown, column, known))
        if len(set(asked)) < len(asked):
            twice = next(name for name, count in Counter(asked).items() if count > 1)
            raise OptionError(f"{column} {twice!r} is asked for twice: a sample is there once")
        found[column] = asked
    return found


def _unknown_name(unknown: Sequence[str], column: str, known: set[Any]) -> str:
    name = unknown[0]
    names = sorted(value for value in known if isinstance(value, str))
    if len(names) > NAMES_COMPARED:  # all of them would take minutes: those around its own place
        at = bisect(names, name)
        names = names[max(at - NEIGHBOURS // 2, 0) : at + NEIGHBOURS // 2]
    near = nearest(name, names, cutoff=0.8)
    more = f" ({len(unknown):,} such names)" if len(unknown) > 1 else ""
    return f"no patch has {name!r} in column {column!r}{more}{f'; {near}' if near else ''}"


def _check_names_in_split(
    inside: "pa.Table", column: str, asked: Sequence[str], split: Split
) -> None:
    there = set(inside[column].to_pylist())
    outside = [name for name in asked if name not in there]
    if outside:
        what = f"split {split!r}" if isinstance(split, (str, list, tuple)) else "those rows"
        raise OptionError(
            f"{column} {outside[0]!r} is not in {what}"
            + (f", nor are {len(outside) - 1:,} others" if len(outside) > 1 else "")
            + ": name its split, or none"
        )


def _in_order_of(rows: Rows, column: str, asked: Sequence[str]) -> Rows:
    """The rows in the order of a list of names."""
    rank = {name: number for number, name in enumerate(asked)}
    order = np.argsort([rank[name] for name in rows.table[column].to_pylist()], kind="stable")
    return replace(rows, table=rows.table.take(order), numbers=rows.numbers[order])


def named_selection(
    store: Path, manifest: Manifest, rows: HasRowNumbers
) -> tuple[Split, str | None]:
    """(split, flagged) if the rows are a whole split, or all there are; else (the rows, None)."""
    numbers = np.sort(numbers_in(manifest, rows))
    columns = [manifest.split_column] if manifest.splits else []
    table = read_table(store, manifest, None, [*columns, *manifest.flagged.columns])
    flagged = np.asarray(flag_mask(manifest.flagged.columns, table), bool)
    candidates: list[tuple[Split, str | None, npt.NDArray[Any]]] = [
        (None, None, np.ones(manifest.rows, bool))
    ]
    for name in manifest.splits:
        inside = np.asarray(split_mask(manifest, table, [name]), bool)
        candidates += [(name, None, inside & ~flagged), (name, "include", inside)]
    for split, choice, mask in candidates:
        if np.array_equal(np.flatnonzero(mask), numbers):
            return split, choice
    return rows, None


def _without_flagged(rows: Rows, mask: Any, columns: Sequence[str]) -> Rows:
    kept = rows.leave_out(FLAGGED, mask)
    if not len(kept):
        raise SelectionEmpty(
            f"all {len(rows):,} rows selected are flagged ({', '.join(columns)}), so their "
            "publisher does not recommend them: give flagged='include' to have them"
        )
    return kept


def _only_flagged(rows: Rows, mask: Any) -> Rows:
    kept = rows.keep(mask)
    if not len(kept):
        raise SelectionEmpty(f"none of the {len(rows):,} rows selected is flagged")
    return kept


def rows_labelled(rows: Rows, column: str) -> Rows:
    """Rows that have a label in a column; those without one are counted in `left_out`.

    Raises:
        SelectionEmpty: there is none.
    """
    there = rows.leave_out(f"without {column}", without_labels(rows.table[column]))
    if not len(there):
        raise SelectionEmpty(
            f"none of the {len(rows):,} rows selected has labels in column {column!r}: convert "
            "with the table that has them, name another target, or give target=None"
        )
    return there


def rows_with(rows: Rows, modalities: Sequence[Modality]) -> Rows:
    """Rows that have a record of every modality; those without one are counted in `left_out`.

    Raises:
        SelectionEmpty: there is none.
    """
    import pyarrow.compute as pc

    there = rows
    for modality in modalities:
        present = there.table[presence_column(modality.name)]
        there = there.leave_out(f"without {modality.name}", pc.invert(present))
    if not len(there):
        names = " and ".join(modality.name for modality in modalities)
        raise SelectionEmpty(f"none of the {len(rows):,} rows selected has {names}")
    return there


def rows_with_any(rows: Rows, modalities: Sequence[Modality]) -> Rows:
    """Rows that have a record of one modality or more; the others are counted in `left_out`.

    Raises:
        SelectionEmpty: there is none.
    """
    import pyarrow.compute as pc

    names = [modality.name for modality in modalities]
    lacks_all = pc.invert(has_any(rows.table, names))
    there = rows.leave_out(f"without {' or '.join(names)}", lacks_all)
    if not len(there):
        raise SelectionEmpty(f"none of the {len(rows):,} rows selected has {' or '.join(names)}")
    return there


def _where(manifest: Manifest, rows: Rows, where: Where, split: Split) -> Rows:
    if where is None:
        return rows
    if not isinstance(where, Mapping):
        return _by_expression(rows, where)
    for column, value in where.items():
        names = rows.table.column_names
        if column not in names:
            raise OptionError(f"the table has no column {column!r}; it has {', '.join(names)}")
        kept = rows.keep(_mask(manifest, column, rows.table[column], value))
        if not len(kept):
            raise SelectionEmpty(_nothing(column, rows.table[column], value, split))
        rows = kept
    return rows


def _by_expression(rows: Rows, where: Where) -> Rows:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not isinstance(where, pc.Expression):
        raise OptionError(
            f"where must be a mapping of columns to values, or a pyarrow expression, not {where!r}"
        )
    try:
        kept = rows.keep(where)
    except MemoryError:
        raise
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        columns = ", ".join(rows.table.column_names)
        raise OptionError(f"{where} cannot be applied ({reason}); columns: {columns}") from None
    if not len(kept):
        raise SelectionEmpty(f"no row of {len(rows):,} fulfils {where}")
    return kept


def _mask(manifest: Manifest, column: str, values: Any, wanted: Any) -> Any:
    """Which rows have the value, or one of the values; a list has it if one of its items is it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    several = isinstance(wanted, Iterable) and not isinstance(wanted, (str, bytes, Mapping))
    among = list(wanted) if several else [wanted]
    if column == manifest.split_column:
        among = [_split_meant(manifest, name) for name in among]
    if column in manifest.classes:
        for name in among:
            _check_class(manifest.classes[column], column, name)
    kind = values.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    try:
        options = _values(among, kind.value_type if lists else kind)
    except (pa.ArrowException, OverflowError):
        raise OptionError(f"column {column!r} has {kind}, so {wanted!r} is never in it") from None
    if not lists:
        return pc.is_in(values, value_set=options)
    rows = pc.list_parent_indices(values).filter(
        pc.is_in(pc.list_flatten(values), value_set=options)
    )
    return pc.is_in(pa.array(range(len(values)), rows.type), value_set=rows)


def _split_meant(manifest: Manifest, name: object) -> object:
    """The store's own name of a split, as for `split`; what is none stays as it is."""
    found = known_split(name, manifest.splits) if isinstance(name, str) else None
    return name if found is None else found


def _values(among: Sequence[Any], kind: Any) -> "pa.Array":
    """Values that a column is compared with; a day or a time may be given as text."""
    import pyarrow as pa

    if pa.types.is_temporal(kind) and all(isinstance(value, str) for value in among):
        return pa.array(among, pa.string()).cast(kind)
    return pa.array(among, kind)


def _check_class(names: Sequence[str], column: str, name: object) -> None:
    if isinstance(name, str) and name not in names:
        raise OptionError(f"{name!r} is no class of column {column!r}; {hint(name, names, most=3)}")


def _nothing(column: str, values: Any, wanted: Any, split: Split) -> str:
    """The sentence about a value that no row has: it lists those there are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = pc.list_flatten(values) if hasattr(values.type, "value_type") else values
    there = pc.unique(flat).to_pylist() if not pa.types.is_floating(flat.type) else []
    shown = ", ".join(str(value) for value in there[:VALUES_LISTED]) + (
        ", …" if len(there) > VALUES_LISTED else ""
    )
    inside = f" of split {split!r}" if isinstance(split, str) else ""
    if pa.types.is_temporal(flat.type):
        several = isinstance(wanted, Iterable) and not isinstance(wanted, str)
        wanted = ", ".join(map(str, wanted)) if several else str(wanted)
    return f"no patch{inside} has {wanted!r} in column {column!r}; there are {shown or 'others'}"
