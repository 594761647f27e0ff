"""What a conversion says of the store that it has written: its manifest and its report."""

from collections.abc import Mapping
from pathlib import Path

from patchpress.converter.planning.limited_patches import are_spread
from patchpress.converter.planning.request import ConversionRequest
from patchpress.converter.planning.selection import Selection
from patchpress.converter.storage.new_manifest import new_manifest, stored_modality
from patchpress.converter.storage.report import FittedPatches, Report, report_of
from patchpress.converter.storage.shard_file import SourceFindings
from patchpress.converter.tables.metadata import Joined
from patchpress.readers.format.manifest import Manifest, Shard
from patchpress.readers.format.modality import Compression


def findings(chosen: Selection, skipped: list[str]) -> SourceFindings:
    """What a pass over a source found besides the records, after its end."""
    return SourceFindings(
        skipped=skipped,
        defects=chosen.defects.met(),
        leftovers=chosen.leftovers,
        passed_over=chosen.passed_over,
        passed_over_in_archives=chosen.passed_over_in_archives,
    )


def converted_manifest(
    request: ConversionRequest,
    store: Path,
    joined: Joined,
    records: Mapping[str, int],
    shards: tuple[Shard, ...],
) -> Manifest:
    """The manifest of a store whose other files are written.

    `records` are how many each modality has.
    """
    options = request.options
    compression = Compression(str(options.compression), options.compression_level)
    modalities = {
        name: stored_modality(
            request.description,
            name,
            layout=str(options.layout),
            resampling=str(options.resampling),
            size=request.size_rule(name),
            compression=compression,
            records=count,
        )
        for name, count in records.items()
    }
    return new_manifest(
        store,
        request.description,
        joined,
        modalities=modalities,
        shards=shards,
        options=request.settings(),
    )


def converted_report(
    request: ConversionRequest,
    store: Path,
    joined: Joined,
    manifest: Manifest,
    found: SourceFindings,
    other_size: Mapping[str, list[str]],
) -> Report:
    """The report of a conversion.

    `other_size` are for each modality its patches that were not of the usual size.
    """
    parts = request.parts
    report = report_of(store, request.description, joined, manifest, parts.files, parts.absent)
    if request.options.limit:  # then most rows are left out on purpose
        report.rows_without_pixels = 0
        report.limit, report.is_spread = request.options.limit, are_spread(parts)
        report.published = {}
    report.defects = found.defects
    report.skipped, report.passed_over = found.skipped, dict(found.passed_over)
    report.passed_over_in_archives = dict(found.passed_over_in_archives)
    report.notes = [*parts.notes, *found.leftovers]
    report.other_size = {
        name: FittedPatches(request.size_rule(name), names) for name, names in other_size.items()
    }
    report.shards = request.options.shards
    return report


def is_as_asked(manifest: Manifest, request: ConversionRequest) -> bool:
    """Whether a finished store in shards is one as this request makes it."""
    if len(manifest.shards) != request.options.shards:
        return False
    settings = request.settings()
    del settings["on_error"]  # of one shard it may be another
    return all(manifest.options.get(name) == value for name, value in settings.items())
