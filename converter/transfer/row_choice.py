"""Which rows of a store are copied: by split, filter, share, classes, names and modalities."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.tables.listed_rows import listed_rows
from patchpress.converter.transfer.source_store import SourceStore
from patchpress.readers import subsets
from patchpress.readers.choice import Where
from patchpress.readers.errors import OptionError, SelectionEmpty
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.table import Split, has_any, presence_column
from patchpress.readers.rows import Rows, rows_of
from patchpress.readers.targets import class_names, label_array


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
            raise OptionError(
                "give a fraction or a number of patches of each class, not both: each says how "
                "many are taken"
            )
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
            raise OptionError(
                f"{what} has no effect without a fraction, or a number of patches of each class"
            )


def names_or_file(keys: StrPath | Sequence[str] | None) -> Path | Sequence[str] | None:
    """What a user gave as `keys`: names as they are, and text or a path as the path of a file."""
    return local_path(keys) if isinstance(keys, (str, os.PathLike)) else keys


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
    # All columns of a large data set take hundreds of megabytes.
    columns = [presence_column(name) for name in modalities]
    target = _target(manifest, choice)
    if target is not None and target in manifest.targets:
        columns.append(target)
    rows = rows_of(source.path, manifest, choice.split, choice.where, choice.flagged, columns)
    rows = _in_order(rows)
    absent: tuple[str, ...] = ()
    passed_by = 0
    if choice.keys is not None:
        found = listed_rows(manifest, source.table, choice.keys)
        kept = rows.keep(pa.array(found.mask[rows.numbers]))
        absent, passed_by = found.absent, int(found.mask.sum()) - len(kept)
        if not len(kept):
            raise SelectionEmpty(
                f"none of the {int(found.mask.sum()):,} patches that {found.what} names is among "
                f"the {len(rows):,} that are chosen otherwise"
            )
        rows = kept
    selected = len(rows)
    lacks_all = pc.invert(has_any(rows.table, list(modalities)))
    rows = rows.leave_out(f"without {' or '.join(modalities)}", lacks_all)
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


def _target(manifest: Manifest, choice: RowChoice) -> str | None:
    """The label column that shares and numbers a class look at; None if there is none."""
    return choice.target if choice.target is not None else manifest.target


def _drawn(manifest: Manifest, rows: Rows, choice: RowChoice) -> npt.NDArray[np.int64]:
    """The positions of the rows that are drawn by share or class; all if neither is asked for."""
    everything = np.arange(len(rows))
    share, count = choice.fraction, choice.per_class
    column = _target(manifest, choice)
    if column is None and count is not None:
        raise OptionError("the store has no column of labels, so nothing can be taken a class")
    if share is None and count is None:
        return everything
    if column in manifest.numbers:
        if count is not None:
            raise OptionError(
                f"{column!r} is a number, so nothing can be taken a class: name a column of "
                "classes with --target, or leave --per-class out"
            )
        column = None
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
