"""Which rows of a store a picture shows: by split, filter, label or name, or drawn by a seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.choice import Where
from patchpress.readers.errors import OptionError, SelectionEmpty
from patchpress.readers.format.table import (
    HasRowNumbers,
    Split,
    key_column,
    keys_in,
    presence_column,
)
from patchpress.readers.rows import FLAGGED, Rows, rows_of
from patchpress.readers.store import Store

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class RowsAsked:
    """The rows that a user asks for; all of them by default."""

    split: Split = None
    where: Where = None
    labels: tuple[str, ...] = ()
    """A row must have one of these in the label column."""
    target: str | None = None
    """The label column; None for the one that is learned by default."""
    flagged: str | None = None
    """As `Store.table` has it. By default they are left out, unless there are no others."""

    @property
    def is_all(self) -> bool:
        """Whether nothing was asked for."""
        return self == RowsAsked(target=self.target)


@dataclass(frozen=True)
class RowsFound:
    """Rows of a store, some columns, and how they were chosen."""

    table: "pa.Table"
    numbers: npt.NDArray[np.int64]
    """Position of each row in the whole table."""
    left_out: int
    """Flagged rows that were left out."""
    words: str
    """How they were chosen, as in ``split train, label Pastures``; empty if nothing was asked."""
    has_flagged: bool = False
    """Whether flagged rows may be among them."""

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, positions: npt.NDArray[np.intp]) -> "RowsFound":
        """Some of the rows, in that order."""
        table, numbers = self.table.take(positions), self.numbers[positions]
        return replace(self, table=table, numbers=numbers)

    def drawn(self, count: int, seed: int) -> "RowsFound":
        """So many rows, drawn without putting back, in the order of the table; all if fewer."""
        order = np.random.default_rng(seed).permutation(len(self))[: max(count, 0)]
        return self.take(np.sort(order))

    def left_out_text(self) -> str:
        """What became of flagged patches, for people; empty if there are none."""
        if self.has_flagged:
            return "; flagged patches are among them"
        if not self.left_out:
            return ""
        number = f"{self.left_out:,} flagged {'patch is' if self.left_out == 1 else 'patches are'}"
        return f"; {number} left out (--flagged include)"


def target_of(store: Store, asked: str | None) -> str | None:
    """The label column that is asked for, or the store's own; None if it has no labels.

    Raises:
        OptionError: no such label column.
    """
    targets = store.manifest.targets
    if asked is not None and asked not in targets:
        there = ", ".join(targets) or "none"
        raise OptionError(f"{asked!r} is no label column of the store; there are: {there}")
    return asked or store.manifest.target


def find_rows(store: Store, asked: RowsAsked, columns: Sequence[str]) -> RowsFound:
    """The rows that a user asks for, with some columns; no other column is read.

    Raises:
        SelectionEmpty: there is none; the message lists what there is.
        OptionError: a column, a value or a label that is not there.
    """
    where = _with_labels(store, asked)
    rows, flagged = _rows(store, asked, where, columns)
    names = list(dict.fromkeys(columns))
    has_flagged = bool(store.manifest.flagged.columns) and asked.flagged == "include"
    return RowsFound(rows.table.select(names), rows.numbers, flagged, _words(asked), has_flagged)


def _rows(store: Store, asked: RowsAsked, where: Where, columns: Sequence[str]) -> tuple[Rows, int]:
    """The rows, and how many flagged ones were left out."""
    manifest = store.manifest
    choice = asked.flagged or ("exclude" if manifest.flagged.columns else "include")
    try:
        rows = rows_of(store.path, manifest, asked.split, where, choice, columns)
    except SelectionEmpty:
        if asked.flagged is not None or choice == "include":
            raise
        # All are flagged, or there are none at all: the second try tells.
        rows = rows_of(store.path, manifest, asked.split, where, "include", columns)
    return rows, rows.left_out.get(FLAGGED, 0)


def _with_labels(store: Store, asked: RowsAsked) -> Where:
    if not asked.labels:
        return asked.where
    column = target_of(store, asked.target)
    if column is None:
        raise OptionError(f"label {asked.labels[0]!r} was asked for, and the store has no labels")
    if asked.where is None:
        return {column: list(asked.labels)}
    if not isinstance(asked.where, Mapping):
        raise OptionError("label and an expression for where go not together: put it into one")
    if column in asked.where:
        raise OptionError(f"labels were asked for twice: by label and by where {column}")
    return {**asked.where, column: list(asked.labels)}


def _words(asked: RowsAsked) -> str:
    words = []
    if asked.split is not None:
        splits = [asked.split] if isinstance(asked.split, str) else asked.split
        if isinstance(splits, HasRowNumbers):
            words.append("chosen samples")
        else:
            words.append(f"split {' or '.join(splits)}")
    if isinstance(asked.where, Mapping):
        words += [f"{column} {_value_text(value)}" for column, value in asked.where.items()]
    elif asked.where is not None:
        words.append(str(asked.where))
    if asked.labels:
        words.append(f"label {' or '.join(asked.labels)}")
    if asked.flagged == "only":
        words.append("flagged alone")
    return ", ".join(words)


def _value_text(value: Any) -> str:
    several = isinstance(value, (list, tuple, set))
    return " or ".join(map(str, value)) if several else str(value)


def complete_rows(rows: RowsFound, modalities: Sequence[str], least: int) -> RowsFound:
    """The rows that have a record of each modality, if there are at least so many.

    Else those with a record of any, or all rows if there is none.
    """
    there = [rows.table[presence_column(name)].to_numpy() for name in modalities]
    for mask in (np.all(there, axis=0), np.any(there, axis=0)):
        if np.count_nonzero(mask) >= min(least, len(rows)):
            return rows.take(np.flatnonzero(mask))
    return rows


def rows_of_keys(store: Store, keys: Sequence[str], columns: Sequence[str]) -> RowsFound:
    """The patches of some records, each once, in the order of the keys.

    Raises:
        KeyMissing: no such record.
    """
    manifest = store.manifest
    by_modality: dict[str, list[str]] = {}
    for key in keys:
        by_modality.setdefault(store.modality_of(key).name, []).append(key)
    found: dict[str, int] = {}
    for name, wanted in by_modality.items():
        modality = manifest.modality(name)
        column = key_column(modality)
        names = store.table(columns=[column, presence_column(name)])
        at = np.flatnonzero(names[presence_column(name)].to_numpy())
        there = keys_in(modality, names[column].take(at))
        asked = set(wanted)
        found |= {key: int(at[n]) for n, key in enumerate(there) if key in asked}
    numbers = np.array(list(dict.fromkeys(found[key] for key in keys)), np.int64)
    table = store.table(columns=list(dict.fromkeys(columns))).take(numbers)
    return RowsFound(table, numbers, 0, "")
