"""Makes the manifest of a store that a conversion or an adoption has written."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.labels_from_codes import class_index_of_codes
from patchpress.converter.tables.metadata import Joined, flagged_counts, split_counts
from patchpress.readers.format.manifest import METADATA, Manifest, Shard, file_digest
from patchpress.readers.format.modality import Compression, Modality

Settings = Mapping[str, str | int | float | None]


_NONE = Compression()


def stored_modality(
    description: Description,
    name: str,
    *,
    layout: str,
    resampling: str = "nearest",
    size: str = "keep",
    compression: Compression = _NONE,
    records: int = 0,
) -> Modality:
    """The entry of a modality in a manifest: its description, and how its records are stored.

    Without more than a layout they are stored as programs do that change no pixel.
    """
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
        any_size=modality.any_size and layout == "native" and size == "keep",
        size=size,
        codes=class_index_of_codes(description, name),
        steps=modality.steps,
    )


def new_manifest(
    store: Path,
    description: Description,
    joined: Joined,
    *,
    modalities: Mapping[str, Modality],
    shards: tuple[Shard, ...],
    options: Settings,
) -> Manifest:
    """The manifest of a store whose data files and metadata.parquet are written."""
    columns = joined.table.column_names
    classes = {name: of for name, of in description.classes.items() if name in columns}
    numbers = tuple(name for name in description.numbers if name in columns)
    known = [name for name in description.labels if name in classes or name in numbers]
    return Manifest(
        dataset=description.dataset,
        modalities=modalities,
        classes=classes,
        numbers=numbers,
        target=description.target if description.target in known else next(iter(known), None),
        rows=len(joined.table),
        splits=split_counts(description, joined.table, modalities),
        split_column=description.split_column or "split",
        flagged=flagged_counts(description, joined.table, modalities),
        metadata_digest=file_digest(store / METADATA),
        shards=shards,
        options=options,
        software=software(),
    )


def software() -> dict[str, str]:
    """The versions of the packages that decide the bytes of a store."""
    return {
        package: version(package)
        for package in ("patchpress", "lmdb", "numpy", "pyarrow", "zstandard")
    }
