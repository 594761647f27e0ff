"""Which rows of a store are copied: by split, filter, share, classes, names and modalities."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.tables.lists import read_list
from patchpress.converter.tables.tablefiles import STRINGS, check_column, read_groups, read_schema
from patchpress.converter.transfer.source_store import SourceStore
from patchpress.readers import subsets
from patchpress.readers.choice import Where
from patchpress.readers.errors import OptionError, SelectionEmpty, SourceMissing
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.table import Split, key_column, keys_in, presence_column
from patchpress.readers.rows import Rows, rows_of
from patchpress.readers.targets import class_names, label_array

if TYPE_CHECKING:
    import pyarrow as pa

_PARQUET = b"PAR1"  # the first bytes of such a file


@dataclass(frozen=True, kw_only=True)
class RowChoice:
    """What is asked of the rows; without any wish all are taken."""

    split: Split = None
    where: Where = None
    flagged: str | None = None
    keys: Path | Sequence[str] | None = None
    """Names of rows or records, or the path of a file with them."""
    fraction: float | None = None
    per_class: int | None = None
    target: str | None = None
    """The label column of `fraction` and `per_class`; by default the manifest's target."""
    seed: int = 0

    @property
    def asks_nothing(self) -> bool:
        """Whether all rows are wanted."""
        wishes = (self.split, self.where, self.flagged, self.keys, self.fraction, self.per_class)
        return all(wish is None for wish in wishes)

    def check(self) -> None:
        """Refuse wishes that no store can fulfil.

        Raises:
            OptionError: a value that it cannot have, or wishes that exclude each other.
        """
        share, count = self.fraction, self.per_class
        if share is not None and count is not None:
            raise OptionError("give fraction or per_class, not both: each says how many are taken")
        if share is not None and (
            isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1
        ):
            raise OptionError(f"a fraction must be above 0 and at most 1, not {share!r}")
        if count is not None and (
            isinstance(count, bool) or not isinstance(count, int) or count < 1
        ):
            raise OptionError(f"patches a class must be 1 or more, not {count!r}")
        subsets.check_seed(self.seed)
        if share is None and count is None and (self.seed or self.target is not None):
            what = f"seed {self.seed}" if self.seed else f"target {self.target!r}"
            raise OptionError(f"{what} has no effect without fraction or per_class")


@dataclass(frozen=True)
class ChosenRows:
    """Rows of a table, in its order."""

    numbers: npt.NDArray[np.int64]
    """Their positions in the table, ascending."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Reason -> rows that the choice means, and that are left out all the same."""
    absent: tuple[str, ...] = ()
    """Names that were asked for, and that the store does not have."""
    passed_by: int = 0
    """How many rows were named that the rest of the choice leaves out."""


def choose_rows(source: SourceStore, choice: RowChoice, modalities: Collection[str]) -> ChosenRows:
    """The rows that are chosen and that have a record of at least one of some modalities.

    Raises:
        SelectionEmpty: there is none; the message says at which wish.
        OptionError, SourceMissing, TableError: a wish that the store cannot fulfil.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    manifest = source.manifest
    choice.check()
    if choice.asks_nothing and set(modalities) == set(manifest.modalities):
        return ChosenRows(np.arange(manifest.rows))
    rows = rows_of(source.path, manifest, choice.split, choice.where, choice.flagged)
    rows = _in_order(rows)
    absent: tuple[str, ...] = ()
    passed_by = 0
    if choice.keys is not None:
        found = _listed(source, choice.keys)
        kept = rows.keep(pa.array(found.mask[rows.numbers]))
        absent, passed_by = found.absent, int(found.mask.sum()) - len(kept)
        if not len(kept):
            raise SelectionEmpty(
                f"none of the {int(found.mask.sum()):,} patches that {found.what} names is among "
                f"the {len(rows):,} that are chosen otherwise"
            )
        rows = kept
    present = pa.array(np.zeros(len(rows), bool))
    for name in modalities:
        present = pc.or_(present, rows.table[presence_column(name)])
    selected = len(rows)
    rows = rows.leave_out(f"without {' or '.join(modalities)}", pc.invert(present))
    if not len(rows):
        raise SelectionEmpty(
            f"none of the {selected:,} rows chosen has a record of {' or '.join(modalities)}"
        )
    numbers = rows.numbers[_drawn(manifest, rows, choice)]
    left_out = {reason: count for reason, count in rows.left_out.items() if count}
    return ChosenRows(numbers, left_out, absent, passed_by)


def _in_order(rows: Rows) -> Rows:
    """The rows in the order of the table, whatever the order of names in a filter."""
    if (np.diff(rows.numbers) > 0).all():
        return rows
    order = np.argsort(rows.numbers, kind="stable")
    return Rows(rows.table.take(order), rows.numbers[order], rows.table_digest, rows.left_out)


def _drawn(manifest: Manifest, rows: Rows, choice: RowChoice) -> npt.NDArray[np.int64]:
    """The positions of the rows that are drawn by share or class; all if neither is asked for."""
    everything = np.arange(len(rows))
    share, count = choice.fraction, choice.per_class
    column = choice.target if choice.target is not None else manifest.target
    if column is None and count is not None:
        raise OptionError("the store has no column of labels, so nothing can be taken a class")
    if share is None and count is None:
        return everything
    hot = subsets.multi_hot(None, len(rows), 0)
    if column is not None:
        names = class_names(manifest, column, "official")
        labels = label_array(rows.table[column], names, names)
        hot = subsets.multi_hot(labels, len(rows), len(names))
    if count is not None:
        drawn = subsets.of_each_class(hot, count, choice.seed)
        if not len(drawn):
            raise SelectionEmpty(f"none of the {len(rows):,} rows chosen has labels in {column!r}")
        return drawn
    if share is None or share == 1:
        return everything
    if share * len(rows) < 0.5:
        raise SelectionEmpty(f"{share} of {len(rows):,} rows is less than one row")
    parts = subsets.stratified_parts(hot, (share, 1 - share), choice.seed)
    return np.flatnonzero(parts == 0)


@dataclass(frozen=True)
class _NamedRows:
    """Which rows a list names."""

    mask: npt.NDArray[np.bool_]
    absent: tuple[str, ...]
    what: str


def _listed(source: SourceStore, keys: Path | Sequence[str]) -> _NamedRows:
    """The rows that some names mean: those of rows, or of records of any modality.

    Raises:
        SelectionEmpty: the store has none of them.
        OptionError, SourceMissing, TableError: the list cannot be read, or has no names.
    """
    import pyarrow as pa

    known = _names(source)
    is_file = isinstance(keys, Path)
    everything = pa.concat_arrays([pa.array(names, pa.string()) for names in known.values()])
    asked = _read_names(source, keys, everything) if isinstance(keys, Path) else list(keys)
    what = str(keys) if is_file else "the list of keys"
    wrong = next((name for name in asked if not isinstance(name, str)), None)
    if wrong is not None or not asked:
        raise OptionError(f"keys must be names, not {wrong!r}" if asked else f"{what} is empty")
    wanted = set(asked)
    mask, met = np.zeros(source.manifest.rows, bool), set[str]()
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
    return _NamedRows(mask, absent, what)


def _names(source: SourceStore) -> dict[str, list[str]]:
    """What each row may be called: by the columns of keys, and by the keys of its records."""
    found: dict[str, list[str]] = {}
    for modality in source.manifest.modalities.values():
        column = key_column(modality)
        values = source.table[column]
        found[column] = [str(name or "") for name in values.to_pylist()]
        if modality.key != f"{{{column}}}":
            found[f"{modality.name} {column}"] = keys_in(modality, values)
    return found


def _read_names(source: SourceStore, path: Path, known: "pa.Array") -> list[Any]:
    """The names in a list, one a line, or in a column of a table."""
    columns = list(dict.fromkeys(key_column(m) for m in source.manifest.modalities.values()))
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
