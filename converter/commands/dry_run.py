"""`dry_run`: what a conversion would do, without writing anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.commands.forecast import Forecast, Foreseen
from patchpress.converter.descriptions.labels import label_sources
from patchpress.converter.encoding.encoder import Encoded, Recipe
from patchpress.converter.options import Codec, ConvertOptions, Writer, usable_cpus
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.planning.request import ConversionRequest, prepare_request
from patchpress.converter.planning.sample import EncodedSample, encode_samples
from patchpress.converter.planning.space import RoomNeeded, lack_of_room
from patchpress.converter.planning.survey import Survey, survey_source
from patchpress.converter.storage.disk import RecordSizes, data_bytes, disk_of, room_there
from patchpress.converter.storage.folder import look_at_target
from patchpress.converter.storage.journal import Journal
from patchpress.converter.storage.resume import goes_on
from patchpress.converter.storage.writer_choice import check_same_writer
from patchpress.converter.tables.metadata import Joined, flagged_counts, join, split_counts
from patchpress.readers.format.manifest import JOURNAL
from patchpress.readers.format.modality import record_form
from patchpress.readers.format.table import presence_column

if TYPE_CHECKING:
    import pyarrow as pa

Labels = tuple[str, str, int | None]

WRITING = 5e8  # bytes a second: a plain SSD for a long time; a slow disk is said, not guessed
BESIDE = 80  # bytes a record in metadata.parquet and extents.safetensors, and its key again


def dry_run(
    dataset: str, source: StrPath, store: StrPath, options: ConvertOptions | None = None
) -> Forecast:
    """Say what `convert` would do with the same arguments; nothing is written anywhere.

    Folders are walked and tables are read as `convert` does; of archives the beginning is read, for
    some seconds at most. Sizes and times come from a sample that is encoded.

    Raises:
        DescriptionError, OptionError, SourceError, PatchError, TableError, TargetError: as
            `convert` before it writes. Too little room is none of them: see `Forecast.lack`.
    """
    request = prepare_request(dataset, local_path(source), options or ConvertOptions())
    store = local_path(store)
    before = look_at_target(store, overwrite=request.options.overwrite)
    tables = request.checked_tables()
    request.check_md5()
    found = survey_source(request, tables)
    begun = goes_on(store, before, request.decisive_settings())
    recipes = request.recipes()
    measured = encode_samples(recipes, {name: s.patches() for name, s in found.samples.items()})
    options, description = request.options, request.description
    forecast = Forecast(
        *(str(store), description.dataset.name, str(options.layout), str(options.compression)),
        {name: _foreseen(name, recipes[name], found, measured[name]) for name in recipes},
        goes_on=begun,
        stored=_stored(store, request.options.writer) if begun else 0,
        primary=description.primary.name,
        absent=request.parts.absent,
        ignored=found.chosen.ignored,
        skipped=found.skipped,
        tried=sum(m.tried for m in measured.values()),
        damaged=[sentence for m in measured.values() for sentence in m.damaged],
        there=room_there(store),
        disk=disk_of(store),
        lack=lack_of_room(store, RoomNeeded(request, found.chosen, tables), goes_on=begun),
        workers=options.worker_count,
    )
    known = {name: log for name, log in found.logs.items() if name not in found.estimated}
    joined = None
    if description.primary.name in known or not found.estimated:
        joined = join(description, known, tables, request.parts.files, request.split_options)
        _tell_rows(forecast, request, found, joined)
    elif forecast.primary in forecast.modalities:
        forecast.rows, forecast.rows_about = forecast.modalities[forecast.primary].patches, True
    forecast.labels = _labels(request, found, joined)
    _estimate(forecast, found, measured)
    return forecast


def _stored(store: Path, writer: Writer) -> int:
    """How many records an interrupted conversion has stored.

    Raises:
        TargetError: it was begun with another writer.
    """
    path = store / JOURNAL
    if not path.is_file():
        return 0
    with Journal(path) as journal:
        check_same_writer(writer, journal)
        return sum(isinstance(entry.result, Encoded) for entry in journal.entries())


def _foreseen(name: str, recipe: Recipe, found: Survey, measured: EncodedSample) -> Foreseen:
    lengths = measured.lengths
    usual = record_form(name, recipe.layout, recipe.modality.bands).size
    exact = recipe.codec == Codec.none and not recipe.modality.any_size
    length = usual if exact or not lengths else sum(lengths) / len(lengths)
    by = "the tables" if name in found.from_tables else ""
    if name in found.estimated and found.counts[name] is not None:
        by = "the beginning of the archives"
    bands = recipe.modality.bands
    return Foreseen(bands, found.counts[name], name in found.estimated, by, length, not exact)


def _tell_rows(
    forecast: Forecast, request: ConversionRequest, found: Survey, joined: Joined
) -> None:
    """Rows, partners and splits, by the same join that makes a store's metadata.parquet."""
    description, primary = request.description, forecast.primary
    known = [name for name in found.logs if name not in found.estimated]
    rows = float(len(joined.table))
    for name, share in found.log_shares.items():
        alone = len(joined.without_partner.get(name, {}).get(primary, ()))
        rows += alone / share - alone if share else 0
    forecast.rows, forecast.rows_about = rows, bool(found.log_shares)
    if not request.options.limit:  # then most rows are left out on purpose
        forecast.rows_without_pixels = joined.rows_without_pixels
    forecast.without_row = {name: len(names) for name, names in joined.without_row.items()}
    absent = joined.listed_without_pixels.items()
    forecast.listed_without_pixels = {name: len(names) for name, names in absent}
    splits = split_counts(description, joined.table, known)
    forecast.splits = {split: counts["rows"] for split, counts in splits.items()}
    flagged = flagged_counts(description, joined.table, known).splits
    forecast.flagged = {split: counts["rows"] for split, counts in flagged.items()}
    if primary not in known:
        return
    whole = len(found.logs[primary])
    for other in known:
        if other == primary or description.modalities[other].alone:
            continue
        with_other = whole - len(joined.without_partner.get(primary, {}).get(other, ()))
        share = found.log_shares.get(other, 1)
        count = min(whole, with_other / share) if share else 0
        forecast.partners[other] = count, other in found.log_shares


def _labels(request: ConversionRequest, found: Survey, joined: Joined | None) -> list[Labels]:
    """What gives the label columns, and for how many rows."""
    has_tables = bool(request.parts.files_named(request.description.tables))
    sources = label_sources(request.description, request.parts.modalities, has_tables=has_tables)
    columns: dict[str, list[str]] = {}
    counts: dict[str, int | None] = {}
    for column, source in sources.items():
        columns.setdefault(source.title, []).append(column)
        if joined is None or {*source.modalities} & {*found.estimated, *found.log_shares}:
            counts[source.title] = None
        elif source.modalities:
            counts[source.title] = _with_any(joined.table, source.modalities)
        else:
            counts[source.title] = len(joined.table) - joined.table[column].null_count
    return [(", ".join(names), title, counts[title]) for title, names in columns.items()]


def _with_any(rows: "pa.Table", modalities: Sequence[str]) -> int:
    """How many rows have a record of one of these."""
    import pyarrow.compute as pc

    there = rows[presence_column(modalities[0])]
    for name in modalities[1:]:
        there = pc.or_(there, rows[presence_column(name)])
    return int(pc.sum(there).as_py() or 0)


def _estimate(forecast: Forecast, found: Survey, measured: dict[str, EncodedSample]) -> None:
    """Sizes and time, where the number of patches is known."""
    kinds, keys, decoding = [], 0.0, 0.0
    for name, foreseen in forecast.modalities.items():
        count, sample = foreseen.patches, found.samples[name].patches()
        if count is None:
            return
        lengths = measured[name].lengths if foreseen.record_about else []
        key = sum(len(patch.key.encode()) for patch in sample) / max(1, len(sample))
        kinds.append(RecordSizes(count, lengths or [round(foreseen.record)], key))
        keys += count * key
        decoding += count * measured[name].seconds_per_patch
    number = sum(kind.number for kind in kinds)
    forecast.data = data_bytes(kinds)
    forecast.bytes = round(forecast.data + number * BESIDE + keys)
    if not decoding:
        return
    left = max(0.0, 1 - forecast.stored / number)
    writing = left * forecast.data / WRITING + found.archive_seconds
    forecast.seconds = _together(left * decoding, writing, forecast.workers)


def _together(decoding: float, writing: float, workers: int) -> float:
    """Seconds of a conversion, of what its workers and what its one writer have to do."""
    if not workers:
        return decoding + writing
    cpus = usable_cpus()
    return max(decoding / min(workers, cpus), writing, (decoding + writing) / cpus)
