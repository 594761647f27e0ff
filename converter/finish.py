"""What ends a conversion and an adoption alike: the manifest, and the report of what was found."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from converter.description import Description
from converter.labels import codes_in
from converter.metadata import Joined, split_counts
from converter.report import Report, is_report, report_path
from converter.target import writing
from readers.manifest import METADATA, Compression, Manifest, Modality, Shard, file_digest

Settings = Mapping[str, str | int | float | None]


def stored_modality(
    description: Description,
    name: str,
    layout: str,
    resampling: str,
    compression: Compression,
    records: int,
) -> Modality:
    """A modality of the description as a manifest says it: with how its records are stored."""
    modality = description.modalities[name]
    return Modality(
        name=name,
        title=modality.title,
        kind=modality.kind,
        key=modality.key,
        layout=layout,
        resampling=resampling if modality.interpolated else "nearest",
        compression=compression,
        bands=modality.bands,
        records=records,
        rgb=modality.rgb,
        any_size=modality.any_size,
        codes=codes_in(description, name),
    )


def manifest_of(
    store: Path,
    description: Description,
    joined: Joined,
    modalities: Mapping[str, Modality],
    shard: Shard,
    options: Settings,
) -> Manifest:
    """The manifest of a store whose metadata.parquet is written."""
    names = joined.table.column_names
    return Manifest(
        dataset=description.dataset,
        modalities=modalities,
        classes={c: names_ for c, names_ in description.classes.items() if c in names},
        rows=len(joined.table),
        splits=split_counts(description, joined.table, modalities),
        split_column=description.split_column or "split",
        metadata_digest=file_digest(store / METADATA),
        shards=(shard,),
        options=options,
        software={
            package: version(package)
            for package in ("patchpress", "lmdb", "numpy", "pyarrow", "zstandard")
        },
    )


def report_of(
    store: Path,
    description: Description,
    joined: Joined,
    manifest: Manifest,
    files: Mapping[str, Path],
    absent: tuple[str, ...],
) -> Report:
    """What the join found, as far as it is the same for whatever made the store."""
    modalities = manifest.modalities.values()
    return Report(
        store=str(store),
        dataset=manifest.dataset.name,
        layout=", ".join(dict.fromkeys(m.layout for m in modalities)),
        compression=", ".join(dict.fromkeys(m.compression.codec for m in modalities)),
        records={modality.name: modality.records for modality in modalities},
        bytes=sum(shard.bytes for shard in manifest.shards),
        rows=manifest.rows,
        splits={name: dict(counts) for name, counts in manifest.splits.items()},
        absent=absent,
        labelled=any(column in joined.table.column_names for column in manifest.classes),
        labels_from=_labels_from(description, joined, manifest, files),
        listed_without_pixels=joined.listed_without_pixels,
        rows_without_pixels=joined.rows_without_pixels,
        without_partner=joined.without_partner,
        without_row=joined.without_row,
        other_ground=joined.other_ground,
    )


def _labels_from(
    description: Description, joined: Joined, manifest: Manifest, files: Mapping[str, Path]
) -> str:
    """The modality whose codes gave labels, if one did."""
    if any(name in files for name in description.tables):
        return ""
    columns = joined.table.column_names
    rules = description.labels.values()
    sources = [r.source for r in rules if r.source in manifest.modalities and r.column in columns]
    return sources[0] if sources else ""


def save_report(report: Report, store: Path) -> None:
    """Write the report beside the store where only the file lists all, and take an old one away.

    Raises:
        TargetError: it cannot be written there.
    """
    beside = report_path(store)
    with writing(beside):
        if report.remarkable():
            report.write(beside)
        elif is_report(beside):
            beside.unlink()
