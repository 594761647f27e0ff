"""What a new store is to have, before any of it is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchpress.converter.storage.ownership import CHANGED
from patchpress.converter.tables.metadata import counts_of_splits, flagged_rows
from patchpress.converter.transfer.records import StoredRecords, records_of
from patchpress.converter.transfer.reframe import BandPicker, band_picker, with_bands
from patchpress.converter.transfer.row_choice import ChosenRows
from patchpress.converter.transfer.source_store import SourceStore
from patchpress.readers.choice import Bands, bands_by_modality
from patchpress.readers.errors import OptionError
from patchpress.readers.format.manifest import OTHER_VALUES, Manifest
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.shard_rule import MOST_SHARDS, SHARDS
from patchpress.readers.format.table import checksum_column, presence_column
from patchpress.readers.format.time_axis import time_columns

if TYPE_CHECKING:
    import pyarrow as pa

Options = Mapping[str, str | int | float | None]
ADOPTED = "adopted"
COPIED = "copied"
"""The option of a manifest that says what of its store was copied."""
OF_ANOTHER_PROGRAM = (ADOPTED, CHANGED)


@dataclass(kw_only=True)
class CopyPlan:
    """A new store: records, rows, and what its manifest says of them."""

    sources: Sequence[SourceStore]
    modalities: Mapping[str, Modality]
    pickers: Mapping[int, BandPicker]
    """Modality, as `StoredRecords.modality` counts it -> what makes its records, if they change."""
    records: StoredRecords
    make_table: Callable[[], "pa.Table"]
    """Gives its rows; the checksums of records that change are still those of their source."""
    manifest: Manifest
    """Its manifest, but for what only the written files tell."""
    shards: int
    """How many shards; 0 for one data file."""
    unchanged: bool = False
    """Whether it has all that its one source has, so that table and statistics are the same."""
    notes: list[str] = field(default_factory=list)
    """A sentence for each thing that is left out or assumed."""

    @property
    def names(self) -> list[str]:
        """The modalities, as `StoredRecords.modality` counts them."""
        return list(self.modalities)

    def give_up_records(self) -> None:
        """Give up the memory of the records: all of them are written."""
        self.records = self.records.at(np.empty(0, np.int64))


def check_shards(shards: int | None) -> None:
    """Refuse a number of shards that no store can have.

    Raises:
        OptionError: it is none.
    """
    whole = isinstance(shards, int) and not isinstance(shards, bool)
    if shards is not None and not (whole and 0 <= shards <= MOST_SHARDS):
        raise OptionError(
            f"shards must be 1 to {MOST_SHARDS:,}, or 0 for one data file, not {shards!r}"
        )


def shards_of(manifest: Manifest) -> int:
    """How many shards a store has; 0 if it has one data file."""
    return len(manifest.shards) if manifest.shards[0].path.startswith(SHARDS) else 0


def modalities_asked(
    manifest: Manifest, names: Sequence[str] | None, bands: Bands
) -> dict[str, Modality]:
    """The modalities of a part of a store, with the bands that are asked for.

    Bands are those of images; a map stays whole, unless the mapping of `bands` names it.

    Raises:
        SelectionEmpty: no such modality.
        BandMissing, OptionError: as `bands_by_modality`; bands that cannot be without others.
    """
    if names is not None and not names:
        raise OptionError("modalities must name at least one")
    asked = (
        set(manifest.modalities) if names is None else {manifest.modality(n).name for n in names}
    )
    chosen = {name: one for name, one in manifest.modalities.items() if name in asked}
    if bands is None:
        return chosen
    named = set(bands) if isinstance(bands, Mapping) else set()
    images = [one for one in chosen.values() if one.kind == "image" or one.name in named]
    for name, found in bands_by_modality(images, bands).items():
        if found is not None:
            chosen[name] = with_bands(chosen[name], found)
    return chosen


def plan_part(
    source: SourceStore,
    modalities: Mapping[str, Modality],
    rows: ChosenRows,
    shards: int | None,
    choice: str,
) -> CopyPlan:
    """What a part of a store is to have, or all of it.

    Args:
        source: the store.
        modalities: those of the part, with their bands.
        rows: of its table.
        shards: how many; as the source has them for None, 0 for one data file.
        choice: how the part was asked for, in words; empty for all.

    Raises:
        StoreDamaged: the source is.
    """
    manifest = source.manifest
    everything = len(rows.numbers) == manifest.rows

    def chosen(names: Sequence[str] | None) -> "pa.Table":
        return source.columns(names) if everything else _some_rows(source, rows.numbers, names)

    def make_table() -> "pa.Table":
        # Read again, since all columns take more memory than the records.
        left = [one for name, one in manifest.modalities.items() if name not in modalities]
        return without_modalities(chosen(None), left)

    kept = list(modalities.values())
    whole = [manifest.modalities[name] for name in modalities]
    records = records_of(source, 0, chosen, np.arange(len(rows.numbers)), whole)
    source.give_up_tables()
    table = chosen(columns_of_counts(manifest, whole))
    pickers = _pickers(whole, kept)
    unchanged = everything and len(kept) == len(manifest.modalities) and not pickers
    options = _options(manifest, "" if unchanged else choice)
    return CopyPlan(
        sources=[source],
        modalities=counted(kept, records.modality),
        pickers=pickers,
        records=records,
        make_table=make_table,
        manifest=described(manifest, table, kept, manifest.splits, options),
        shards=shards_of(manifest) if shards is None else shards,
        unchanged=unchanged,
        notes=_notes(source, modalities),
    )


def described(
    manifest: Manifest,
    table: "pa.Table",
    modalities: Sequence[Modality],
    splits: Sequence[str] | Mapping[str, object],
    options: Options,
) -> Manifest:
    """A manifest with the counts of other rows, and without what only written files tell."""
    names = [modality.name for modality in modalities]
    column, flags = manifest.split_column, manifest.flagged.columns
    # Of these columns alone: a filter copies all that there are.
    needed = {column, *flags, *map(presence_column, names)}
    some = table.select([name for name in table.column_names if name in needed])
    return replace(
        manifest,
        rows=len(table),
        splits=counts_of_splits(column, splits, some, names),
        flagged=flagged_rows(flags, column, splits, some, names),
        options=options,
    )


def counted(modalities: Sequence[Modality], numbers: npt.NDArray[np.uint16]) -> dict[str, Modality]:
    """Modalities by name, with the number of their records; `numbers` has one a record."""
    counts = np.bincount(numbers, minlength=len(modalities)).tolist()
    return {m.name: replace(m, records=n) for m, n in zip(modalities, counts, strict=True)}


def without_modalities(table: "pa.Table", modalities: Sequence[Modality]) -> "pa.Table":
    """A table without the columns that tell of the records of some modalities."""
    names = [one.name for one in modalities]
    columns = [c for name in names for c in (presence_column(name), checksum_column(name))]
    dated = time_columns(one.name for one in modalities if one.steps)
    columns += [column for column in dated if column in table.column_names]
    return table.drop_columns(columns) if columns else table


def _some_rows(
    source: SourceStore, numbers: npt.NDArray[np.int64], names: Sequence[str] | None
) -> "pa.Table":
    """Some rows of a store's table, all columns for None; one is read at a time."""
    import pyarrow as pa

    fields: list[pa.Field] = []
    columns: list[pa.ChunkedArray] = []
    schema = source.schema
    for name in dict.fromkeys(schema.names if names is None else names):
        one = source.columns([name])
        fields.append(one.schema.field(0))
        columns.append(one.column(0).take(numbers))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=schema.metadata))


def columns_of_counts(manifest: Manifest, modalities: Sequence[Modality]) -> list[str]:
    """The columns of which the counts of a manifest are made."""
    columns = [manifest.split_column] if manifest.splits else []
    return [*columns, *manifest.flagged.columns, *(presence_column(m.name) for m in modalities)]


def _pickers(whole: Sequence[Modality], kept: Sequence[Modality]) -> dict[int, BandPicker]:
    made = {at: band_picker(*pair) for at, pair in enumerate(zip(whole, kept, strict=True))}
    return {at: picker for at, picker in made.items() if picker is not None}


def _options(manifest: Manifest, choice: str) -> Options:
    """The options of a part: those of the whole, and how it was chosen.

    A copy is written by this package, whoever wrote the records first, so that it may be replaced
    as any store.
    """
    kept = {
        k: v for k, v in manifest.options.items() if k not in (*OF_ANOTHER_PROGRAM, OTHER_VALUES)
    }
    foreign = "records of another program" if len(kept) < len(manifest.options) else ""
    before = str(kept.pop(COPIED, ""))
    told = "; ".join(part for part in (before, foreign, choice) if part)
    return {**kept, **({COPIED: told} if told else {})}


def _notes(source: SourceStore, modalities: Mapping[str, Modality]) -> list[str]:
    """What of a store is not in a part of it."""
    notes = []
    if source.other_values:
        notes.append(
            f"{source.other_values:,} values of {source.name} that are no records are not copied"
        )
    return [*notes, *lost_with_bands(source.manifest, modalities, "copied")]


def lost_with_bands(manifest: Manifest, modalities: Mapping[str, Modality], done: str) -> list[str]:
    """A sentence for each thing that modalities lose with the bands that they are without.

    Args:
        manifest: of the store.
        modalities: with the bands that are chosen.
        done: what is done with these bands, such as ``copied``.
    """
    notes = []
    for name, modality in modalities.items():
        before = manifest.modalities[name]
        if before.rgb and not modality.rgb:
            notes.append(f"{name} has no set of bands rgb any more: not all of them are {done}")
        if before.codes and not modality.codes:
            notes.append(f"the codes of {name} are told by {before.bands[0].name}, not {done}")
    return notes
