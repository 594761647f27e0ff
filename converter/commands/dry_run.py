"""`dry_run`: what a conversion would do, without writing anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from patchpress.converter.commands.forecast import Forecast, ModalityForecast
from patchpress.converter.descriptions.labels import label_sources
from patchpress.converter.descriptions.published import compared
from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.options import (
    Codec,
    ConvertKeywords,
    Writer,
    convert_options,
    usable_cpus,
)
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.planning.limited_patches import are_spread
from patchpress.converter.planning.parallel import parallel_parts
from patchpress.converter.planning.request import ConversionRequest, prepare_request
from patchpress.converter.planning.sample import encode_samples
from patchpress.converter.planning.space import RoomNeeded, lack_of_room
from patchpress.converter.planning.survey import survey_source
from patchpress.converter.storage.disk import RecordSizes, data_bytes, disk_of, room_there
from patchpress.converter.storage.folder import look_at_target
from patchpress.converter.storage.journal import Journal
from patchpress.converter.storage.ownership import SHARD_JOURNAL, shard_folders
from patchpress.converter.storage.resume import goes_on
from patchpress.converter.storage.writer_choice import check_same_writer
from patchpress.converter.tables.filling import mixed_types_of_sample
from patchpress.converter.tables.metadata import (
    Joined,
    flagged_counts,
    join,
    rows_with_all,
    split_counts,
)
from patchpress.converter.tables.split_column import SplitOptions
from patchpress.readers.format.manifest import JOURNAL
from patchpress.readers.format.modality import record_form
from patchpress.readers.format.table import has_any

if TYPE_CHECKING:
    import pyarrow as pa

# Bytes a second that a plain SSD takes for a long time. How slow this disk is cannot be known: the
# forecast says for which speed its time holds.
WRITING = 5e8
# Bytes of a record in metadata.parquet and extents.safetensors, without its key.
BESIDE = 80


def dry_run(
    dataset: StrPath, source: StrPath, store: StrPath, **options: Unpack[ConvertKeywords]
) -> Forecast:
    """Say what `convert` would do with the same arguments; nothing is written anywhere.

    Folders are walked and tables are read as `convert` does. Of archives the beginning is read, for
    some seconds at most. Sizes and times come from a sample that is encoded.

    Raises:
        DescriptionError, OptionError, SourceError, PatchError, TableError, TargetError: as
            `convert` before it writes. Too little room is none of them: see `Forecast.lack`.
    """
    folder = local_path(store)
    request = prepare_request(dataset, local_path(source), folder, convert_options(options))
    return _DryRun(request, folder).forecast()


class _DryRun:
    """One dry run: what it was asked, and what it found out about the source and the store."""

    def __init__(self, request: ConversionRequest, store: Path) -> None:
        self._request, self._store = request, store
        self._description, self._options = request.description, request.options
        before = look_at_target(store, overwrite=self._options.overwrite)
        self._tables = request.checked_tables()
        request.check_md5()
        self._found = survey_source(request, self._tables)
        self._goes_on = goes_on(store, before, request.decisive_settings())
        self._recipes = request.recipes()
        samples = {name: sample.patches() for name, sample in self._found.samples.items()}
        self._encoded = encode_samples(self._recipes, samples)
        self._counted = {
            name: log for name, log in self._found.logs.items() if name not in self._found.estimated
        }

    def forecast(self) -> Forecast:
        """All that can be said."""
        forecast = self._of_modalities()
        joined = None
        if forecast.primary in self._counted or not self._found.estimated:
            joined = self._join()
            self._add_rows(forecast, joined)
            self._add_partners(forecast, joined)
        elif forecast.primary in forecast.modalities:
            forecast.rows = forecast.modalities[forecast.primary].patches
            forecast.rows_about = True
        self._add_published(forecast, joined)
        forecast.labels = self._labels(joined)
        self._add_sizes(forecast)
        return forecast

    def _of_modalities(self) -> Forecast:
        """What needs no table: modalities, disk, and what an earlier conversion left."""
        encoded = self._encoded.values()
        need = RoomNeeded(self._request, self._found.chosen, self._tables)
        return Forecast(
            store=str(self._store),
            dataset=self._description.dataset.name,
            layout=str(self._options.layout),
            limit=self._options.limit,
            is_spread=are_spread(self._request.parts),
            compression=str(self._options.compression),
            modalities={name: self._modality(name) for name in self._recipes},
            goes_on=self._goes_on,
            stored=_stored(self._store, self._options.writer) if self._goes_on else 0,
            primary=self._description.primary.name,
            absent=self._request.parts.absent,
            untried=self._description.untried,
            passed_over=self._found.chosen.passed_over,
            passed_over_in_archives=self._found.chosen.passed_over_in_archives,
            notes=[*self._request.parts.notes, *self._found.chosen.leftovers],
            skipped=self._found.skipped,
            defects=self._found.defects,
            other_size=sum(sample.other_size for sample in encoded),
            tried=sum(sample.tried for sample in encoded),
            damaged=[sentence for sample in encoded for sentence in sample.damaged],
            there=room_there(self._store),
            disk=disk_of(self._store),
            lack=lack_of_room(self._store, need, goes_on=self._goes_on),
            workers=self._options.worker_count,
            shards=self._options.shards,
            parallel=parallel_parts(self._request),
        )

    def _modality(self, name: str) -> ModalityForecast:
        recipe, found = self._recipes[name], self._found
        lengths = self._encoded[name].lengths
        is_exact = recipe.codec == Codec.none and not recipe.keeps_sizes
        if is_exact or not lengths:
            length: float = record_form(
                name, recipe.layout, recipe.modality.bands, recipe.modality.steps
            ).size
        else:
            length = sum(lengths) / len(lengths)
        counted_by = ""
        if name in found.estimated and found.counts[name] is not None:
            counted_by = "the beginning of the archives"
        elif name in found.from_tables:
            counted_by = "the tables"
        return ModalityForecast(
            bands=recipe.modality.bands,
            patches=found.counts[name],
            about=name in found.estimated,
            by=counted_by,
            record=length,
            record_about=not is_exact,
        )

    def _join(self) -> Joined:
        """The rows, by the same join that makes a store's metadata.parquet."""
        request = self._request
        options = request.split_options
        return join(
            self._description,
            self._counted,
            self._tables,
            request.parts.files,
            options if options.blocks is None else SplitOptions("none"),
            is_part=bool(self._options.limit or self._found.estimated or self._found.log_shares),
        )

    def _add_rows(self, forecast: Forecast, joined: Joined) -> None:
        """Rows and splits; if logs have only a share of the patches, the rest is estimated."""
        rows = float(len(joined.table))
        for name, share in self._found.log_shares.items():
            alone = len(joined.without_partner.get(name, {}).get(forecast.primary, ()))
            rows += alone / share - alone if share else 0
        forecast.rows, forecast.rows_about = rows, bool(self._found.log_shares)
        if not self._options.limit:  # with a limit most rows are left out on purpose
            forecast.rows_without_pixels = joined.rows_without_pixels
        forecast.without_row = {name: len(names) for name, names in joined.without_row.items()}
        tried = [
            note
            for name, sample in self._encoded.items()
            for note in mixed_types_of_sample(name, self._found.logs[name].columns, sample.values)
        ]
        forecast.reading = tuple(dict.fromkeys((*joined.notes, *tried)))
        absent = joined.listed_without_pixels.items()
        forecast.listed_without_pixels = {name: len(names) for name, names in absent}
        counted = list(self._counted)
        splits = split_counts(self._description, joined.table, counted)
        forecast.splits = {split: counts["rows"] for split, counts in splits.items()}
        flagged = flagged_counts(self._description, joined.table, counted).splits
        forecast.splits_follow = self._request.options.block_rule is not None
        forecast.flagged = {split: counts["rows"] for split, counts in flagged.items()}

    def _add_partners(self, forecast: Forecast, joined: Joined) -> None:
        """How many patches of the primary modality have each of the others."""
        primary, found = forecast.primary, self._found
        if primary not in self._counted:
            return
        patches = len(found.logs[primary])
        without = joined.without_partner.get(primary, {})
        for name in self._counted:
            if name == primary or self._description.modalities[name].alone:
                continue
            share = found.log_shares.get(name, 1)
            with_partner = patches - len(without.get(name, ()))
            count = min(patches, with_partner / share) if share else 0
            forecast.partners[name] = count, name in found.log_shares

    def _add_published(self, forecast: Forecast, joined: Joined | None) -> None:
        """How many of the published patches there are, unless only the first few are wanted."""
        found = {
            name: round(modality.patches)
            for name, modality in forecast.modalities.items()
            if modality.patches is not None
        }
        if self._options.limit or len(found) < len(forecast.modalities):
            return
        forecast.published_about = bool(self._found.estimated)
        exact = joined is not None and not self._found.estimated and not self._found.log_shares
        together = rows_with_all(joined.table, found) if joined is not None and exact else None
        forecast.published = compared(self._description.published, found, together)

    def _labels(self, joined: Joined | None) -> list[tuple[str, str, int | None]]:
        """Columns of labels, what gives them, and for how many rows; None if that is unknown."""
        has_tables = bool(self._request.parts.files_named(self._description.tables))
        sources = label_sources(
            self._description, self._request.parts.modalities, has_tables=has_tables
        )
        unknown = {*self._found.estimated, *self._found.log_shares}
        columns: dict[str, list[str]] = {}
        counts: dict[str, int | None] = {}
        for column, source in sources.items():
            columns.setdefault(source.title, []).append(column)
            if joined is None or unknown & {*source.modalities}:
                counts[source.title] = None
            elif source.modalities:
                counts[source.title] = _with_any(joined.table, source.modalities)
            else:
                counts[source.title] = len(joined.table) - joined.table[column].null_count
        return [(", ".join(names), title, counts[title]) for title, names in columns.items()]

    def _add_sizes(self, forecast: Forecast) -> None:
        """Bytes and seconds, if the number of patches is known."""
        records: list[RecordSizes] = []
        key_bytes = decoding = 0.0
        for name, modality in forecast.modalities.items():
            count, sample = modality.patches, self._found.samples[name].patches()
            if count is None:
                return
            lengths = self._encoded[name].lengths if modality.record_about else []
            key = sum(len(patch.key.encode()) for patch in sample) / max(1, len(sample))
            records.append(RecordSizes(count, lengths or [round(modality.record)], key))
            key_bytes += count * key
            decoding += count * self._encoded[name].seconds_per_patch
        number = sum(each.number for each in records)
        forecast.data = data_bytes(records)
        forecast.bytes = round(forecast.data + number * BESIDE + key_bytes)
        if not decoding:
            return
        left = max(0.0, 1 - forecast.stored / number)
        writing = left * forecast.data / WRITING + self._found.archive_seconds
        forecast.seconds = _together(left * decoding, writing, forecast.workers)


def _stored(store: Path, writer: Writer) -> int:
    """How many records an interrupted conversion has stored.

    Raises:
        TargetError: it was begun with another writer.
    """
    folders = (store, *(store / name for name in shard_folders(store)))
    count = 0
    for path in (folder / name for folder in folders for name in (JOURNAL, SHARD_JOURNAL)):
        if path.is_file():
            with Journal(path) as journal:
                check_same_writer(writer, journal)
                count += sum(isinstance(entry.result, Encoded) for entry in journal.entries())
    return count


def _with_any(rows: "pa.Table", modalities: Sequence[str]) -> int:
    """How many rows have a record of one of these modalities."""
    import pyarrow.compute as pc

    return int(pc.sum(has_any(rows, modalities)).as_py() or 0)


def _together(decoding: float, writing: float, workers: int) -> float:
    """Seconds of a conversion whose decoding takes so many in one process, and its writing."""
    if not workers:
        return decoding + writing
    cpus = usable_cpus()
    return max(decoding / min(workers, cpus), writing, (decoding + writing) / cpus)
