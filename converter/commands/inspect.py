"""`inspect`: what is in a store, or in one of its records, as text."""

import numpy as np

from patchpress.converter.paths import StrPath, shown_place
from patchpress.converter.text import as_text, several, size
from patchpress.readers.format.manifest import DATA, Manifest
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import key_column
from patchpress.readers.showing import columns_of
from patchpress.readers.store import Store, open_store


def inspect(store: StrPath, key: str | None = None) -> str:
    """Say what is in a store, or in the record of a key.

    A store: its dataset, modalities with their bands, splits and classes. A record: its bands with
    minimum, mean and maximum, and its row of the table.

    Raises:
        StoreError: there is no finished store.
        KeyMissing: there is no such record.
    """
    opened = open_store(store, stage=False)
    return _store_text(opened, shown_place(store)) if key is None else _record_text(opened, key)


def _store_text(store: Store, path: str) -> str:
    manifest = store.manifest
    dataset, flagged = manifest.dataset, manifest.flagged
    nbytes = sum(shard.bytes for shard in manifest.shards)
    lines = [
        f"{path}: {dataset.title}, version {dataset.version}",
        f"  licence {dataset.licence}, {dataset.url}",
        f"  {len(store):,} records, {size(nbytes)}, {manifest.rows:,} rows",
        *_shard_lines(manifest),
    ]
    if flagged.columns:
        lines.append(
            f"  {flagged.rows:,} rows are flagged ({', '.join(flagged.columns)}): not recommended "
            "by the publisher"
        )
    for modality in manifest.modalities.values():
        lines += ["", *_modality_lines(modality)]
    if manifest.splits:
        lines += ["", *_split_lines(manifest)]
    for column, classes in manifest.classes.items():
        lines += ["", f"  column {column}: {len(classes)} classes"]
    return as_text(lines)


def _shard_lines(manifest: Manifest) -> list[str]:
    """How many shards there are, and how even; nothing for a store of one file."""
    shards = manifest.shards
    if shards[0].path == DATA:
        return []
    counts, sizes = [s.records for s in shards], [s.bytes for s in shards]
    return [
        f"  {several(len(shards), 'shard')} of {min(counts):,} to {max(counts):,} records, "
        f"{size(min(sizes))} to {size(max(sizes))}"
    ]


def _split_lines(manifest: Manifest) -> list[str]:
    """Each split: how many rows it has, and records of each modality; those flagged apart."""
    names = list(next(iter(manifest.splits.values())))
    rows = [["split", *names]]
    for split in manifest.splits:
        rows.append([split, *(f"{manifest.count(split, name):,}" for name in names)])
        if split in manifest.flagged.splits:
            counts = [f"{manifest.count(split, name, 'only'):,}" for name in names]
            rows.append([f"{split}, flagged", *counts])
    return columns_of(rows)


_SIZED = {"crop": "cropped", "pad": "padded", "resize": "resized"}


def _modality_lines(modality: Modality) -> list[str]:
    """A modality: how its records are stored, then its bands."""
    compression = modality.compression.codec
    if compression != "none":
        compression += f" level {modality.compression.level}"
    layout = modality.layout
    if layout == "stacked":
        layout += f", resampling {modality.resampling}"
    if modality.size != "keep":
        layout += f", patches of another size {_SIZED[modality.size]}"
    bands, height, width = modality.shape
    head = [
        f"  {modality.name}: {modality.title}",
        f"  {modality.records:,} records of {bands} x {height} x {width} {modality.dtype.name}, "
        f"layout {layout}, compression {compression}",
    ]
    rows = [
        [band.name, f"{band.gsd:g} m", band.dtype, f"{band.shape[0]} x {band.shape[1]}"]
        for band in modality.bands
    ]
    return [*head, *columns_of(rows, "    ")]


def _record_text(store: Store, key: str) -> str:
    arrays = store.read_bands(key)
    modality = store.modality_of(key)
    lines = [f"{key}: {modality.name}, {modality.dtype.name}"]
    rows: list[list[object]] = [["band", "gsd", "pixels", "min", "mean", "max"]]
    for band in modality.bands:
        pixels = arrays[band.name]
        shape = f"{pixels.shape[0]} x {pixels.shape[1]}"
        with np.errstate(invalid="ignore", over="ignore"):  # of infinite pixels
            mean = f"{pixels.mean(dtype=float):.2f}"
        rows.append([band.name, f"{band.gsd:g} m", shape, pixels.min(), mean, pixels.max()])
    lines += columns_of(rows)
    row = _table_row(store, key, modality)
    if row:
        lines += ["", *columns_of(list(row.items()))]
    return as_text(lines)


def _table_row(store: Store, key: str, modality: Modality) -> dict[str, object]:
    """The row of metadata.parquet that a record belongs to; empty if there is none."""
    import pyarrow.compute as pc

    table = store.table()
    column = key_column(modality)
    prefix, suffix = modality.key.split(f"{{{column}}}")
    name = key.removeprefix(prefix).removesuffix(suffix)
    found = table.filter(pc.equal(table[column], name)).to_pylist()
    return found[0] if found else {}
