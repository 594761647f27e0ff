"""`Catalogue`: all rows of a store in memory, to be filtered, counted, sorted and named."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.viewer.asked import Asked
from patchpress.converter.viewer.facets import KINDS, Facet, Mask, facet_of
from patchpress.converter.viewer.places import COLUMNS as PLACE
from patchpress.converter.viewer.places import places_of
from patchpress.readers.errors import OptionError
from patchpress.readers.format.table import (
    checksum_column,
    flag_mask,
    key_column,
    presence_column,
    table_columns,
)
from patchpress.readers.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

KEPT = 16
"""Selections that are remembered, since a wall asks for each of them many times."""
PART = 50_000
"""Rows whose names are made at once."""
SHUFFLED = "shuffled"
"""The order by chance, always the same one."""


@dataclass(frozen=True, eq=False)
class RowsSeen:
    """The rows that fit what was asked, in its order."""

    rows: npt.NDArray[np.int32]
    counts: dict[str, list[int]]
    """Facet -> rows with each value, if that facet alone were not asked for."""


class Catalogue:
    """The rows of a store: facets as small numbers, names as Arrow text, places as degrees."""

    def __init__(self, store: Store) -> None:
        """Read the table column by column, and keep of each what the page needs.

        Raises:
            StoreError: it cannot be read.
        """
        manifest = store.manifest
        modalities = manifest.modalities
        self.count = manifest.rows
        self.identity = key_column(next(iter(modalities.values())))
        columns = table_columns(store.path, manifest)
        self.places = places_of(store.table(columns=[c for c in PLACE if c in columns]))
        self.not_flagged = _not_flagged(store)
        self._keys = {name: modality.key for name, modality in modalities.items()}
        self._key_columns = {name: key_column(one) for name, one in modalities.items()}
        self._present: dict[str, Mask] = {}
        self._names: dict[str, pa.ChunkedArray] = {}
        self._sorted: dict[str, pa.ChunkedArray] = {}
        facets = []
        presence = {presence_column(name): name for name in modalities}
        unused = {checksum_column(name) for name in modalities} | set(PLACE)
        for column in columns:
            if column in unused:
                continue
            values = store.table(columns=column)[column]
            if column in self._key_columns.values():
                self._names[column] = values
                continue
            if column in presence:
                self._present[presence[column]] = np.asarray(values, bool)
            facet = facet_of(manifest, column, values)
            if facet is not None:
                facets.append(facet)
            elif _is_number(values.type):
                self._sorted[column] = values
        facets.sort(key=lambda facet: KINDS.index(facet.kind))
        self.facets = {facet.column: facet for facet in facets}
        self._last: OrderedDict[Asked, RowsSeen] = OrderedDict()
        self._lock = Lock()

    @property
    def orders(self) -> list[str]:
        """What rows can be sorted by; the order of the table is an empty text."""
        single = [facet.column for facet in self.facets.values() if facet.kind != "labels"]
        return ["", *self._names, *single, *self._sorted, SHUFFLED]

    def select(self, asked: Asked) -> RowsSeen:
        """The rows that fit, and how many have each value of each facet.

        Raises:
            OptionError: a column, value or order that is not there.
        """
        with self._lock:
            if asked in self._last:
                self._last.move_to_end(asked)
                return self._last[asked]
        found = self._select(asked)
        with self._lock:
            self._last[asked] = found
            while len(self._last) > KEPT:
                self._last.popitem(last=False)
        return found

    def _select(self, asked: Asked) -> RowsSeen:
        base = self._by_text(asked.text) & self._by_box(asked.box)
        masks: dict[str, Mask] = {}
        for column, values in asked.values:
            facet = self._facet(column)
            numbers = [self._number(facet, value) for value in values]
            masks[column] = facet.mask(numbers, self.count, every=column in asked.every)
        counts = {}
        for column, facet in self.facets.items():
            others = [
                mask for name, mask in masks.items() if name != column or column in asked.every
            ]
            counts[column] = facet.counts(np.logical_and.reduce([base, *others]))
        rows = np.flatnonzero(np.logical_and.reduce([base, *masks.values()])).astype(np.int32)
        return RowsSeen(self._in_order(rows, asked), counts)

    def _facet(self, column: str) -> Facet:
        if column not in self.facets:
            raise OptionError(
                f"rows cannot be filtered by {column!r}; they can by {', '.join(self.facets)}"
            )
        return self.facets[column]

    def _number(self, facet: Facet, value: str | bool) -> int:
        if value not in facet.values:
            raise OptionError(f"no row can have {value!r} in column {facet.column!r}")
        return facet.values.index(value)

    def _by_text(self, text: str) -> Mask:
        """The rows one of whose names has a text in it, whatever its case."""
        import pyarrow.compute as pc

        if not text:
            return np.ones(self.count, bool)
        found = np.zeros(self.count, bool)
        for names in self._names.values():
            hits = pc.match_substring(names, text, ignore_case=True)
            found |= np.asarray(pc.fill_null(hits, False), bool)
        return found

    def _by_box(self, box: tuple[float, float, float, float] | None) -> Mask:
        """The rows whose centre lies in west, south, east, north."""
        if box is None:
            return np.ones(self.count, bool)
        if self.places is None:
            raise OptionError("the table has no places, so that a box has no meaning")
        west, south, east, north = box
        across, up = self.places.T
        inside: Mask = (across >= west) & (across <= east) & (up >= south) & (up <= north)
        return inside

    def _in_order(self, rows: npt.NDArray[np.int32], asked: Asked) -> npt.NDArray[np.int32]:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not asked.order:
            return rows[::-1] if asked.descending else rows
        if asked.order == SHUFFLED:
            ranks = np.random.default_rng(0).permutation(self.count)
            return rows[np.argsort(ranks[rows])]
        if asked.order in self.facets:
            codes = self.facets[asked.order].first_codes(self.count)[rows].astype(int)
            return rows[np.argsort(-codes if asked.descending else codes, kind="stable")]
        column = self._names.get(asked.order, self._sorted.get(asked.order))
        if column is None:
            raise OptionError(f"rows cannot be sorted by {asked.order!r}")
        order = "descending" if asked.descending else "ascending"
        some = pa.table({"by": column.take(pa.array(rows))})
        ordered = np.asarray(pc.sort_indices(some, sort_keys=[("by", order)]))
        found: npt.NDArray[np.int32] = rows[ordered]
        return found

    def split_codes(self) -> npt.NDArray[np.int16]:
        """The number of each row's split, -1 without one."""
        for facet in self.facets.values():
            if facet.kind == "split":
                return facet.first_codes(self.count)
        return np.full(self.count, -1, np.int16)

    def has(self, modality: str, row: int) -> bool:
        """Whether a row has a record of a modality."""
        return bool(self._present[modality][row])

    def with_record(self, modality: str) -> npt.NDArray[np.int64]:
        """The rows that have a record of a modality."""
        return np.flatnonzero(self._present[modality])

    def key(self, modality: str, row: int) -> str:
        """The key of a row's record of a modality."""
        column = self._key_columns[modality]
        return self._keys[modality].replace(f"{{{column}}}", self._names[column][row].as_py())

    def name(self, row: int) -> str:
        """The name of a row: that of its first modality, or of another if it has none."""
        names = (self._names[column][row].as_py() for column in self._names)
        return next((str(name) for name in names if name is not None), "")

    def names(self, rows: npt.NDArray[np.int32]) -> "pa.Table":
        """The columns that name records, of some rows."""
        import pyarrow as pa

        parts = [pa.array(rows[at : at + PART]) for at in range(0, len(rows), PART)]
        return pa.concat_tables(
            pa.table({column: names.take(part) for column, names in self._names.items()})
            for part in parts
        )


def _not_flagged(store: Store) -> Mask:
    """Which rows their publisher recommends."""
    columns = store.manifest.flagged.columns
    if not columns:
        return np.ones(store.manifest.rows, bool)
    return ~np.asarray(flag_mask(columns, store.table(columns=columns)), bool)


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
