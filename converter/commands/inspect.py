"""`inspect` and `datasets`: what is in a store or a record, and what can be converted, as text."""

from patchpress.converter.paths import StrPath
from patchpress.converter.text import columns
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import key_column
from patchpress.readers.store import open_store


def store_text(path: StrPath) -> str:
    """What a store holds: dataset, modalities with their bands, splits, classes, files.

    Raises:
        StoreError: there is no finished store.
    """
    store = open_store(path)
    manifest = store.manifest
    dataset = manifest.dataset
    size = sum(shard.bytes for shard in manifest.shards)
    lines = [
        f"{path}: {dataset.title}, version {dataset.version}",
        f"  licence {dataset.licence}, {dataset.url}",
        f"  {len(store):,} records, {size / 1e6:,.1f} MB, {manifest.rows:,} rows",
    ]
    flagged = manifest.flagged
    if flagged.columns:
        lines.append(
            f"  {flagged.rows:,} rows are flagged ({', '.join(flagged.columns)}): not recommended "
            "by the publisher"
        )
    for modality in manifest.modalities.values():
        lines += ["", *_modality_lines(modality)]
    if manifest.splits:
        names = list(next(iter(manifest.splits.values())))
        rows: list[list[object]] = []
        for split in manifest.splits:
            rows.append([split, *(f"{manifest.count(split, name):,}" for name in names)])
            if split in manifest.flagged.splits:
                counts = [f"{manifest.count(split, name, 'only'):,}" for name in names]
                rows.append([f"{split}, flagged", *counts])
        lines += ["", *columns([["split", *names], *rows])]
    for column, classes in manifest.classes.items():
        lines += ["", f"  column {column}: {len(classes)} classes"]
    return "\n".join(lines)


def _modality_lines(modality: Modality) -> list[str]:
    codec = modality.compression.codec
    if codec != "none":
        codec += f" level {modality.compression.level}"
    bands, height, width = modality.shape
    head = (
        f"  {modality.name}: {modality.title}\n"
        f"  {modality.records:,} records of {bands} x {height} x {width} {modality.dtype.name}, "
        f"layout {modality.layout}, resampling {modality.resampling}, compression {codec}"
    )
    rows = [
        [band.name, f"{band.gsd:g} m", band.dtype, f"{band.shape[0]} x {band.shape[1]}"]
        for band in modality.bands
    ]
    return [head, *columns(rows, "    ")]


def record_text(path: StrPath, key: str) -> str:
    """One record: its row of the table, and each band with minimum, mean and maximum.

    Raises:
        KeyMissing: there is no such record.
        StoreError: there is no finished store.
    """
    store = open_store(path)
    array = store.read(key)
    modality = store.modality_of(key)
    lines = [f"{key}: {modality.name}, {modality.dtype.name} {array.shape}"]
    rows: list[list[object]] = [["band", "gsd", "min", "mean", "max"]]
    for band, pixels in zip(modality.bands, array, strict=True):
        mean = f"{pixels.mean(dtype=float):.2f}"
        rows.append([band.name, f"{band.gsd:g} m", pixels.min(), mean, pixels.max()])
    lines += columns(rows)
    row = _row(path, key, modality)
    if row:
        lines += ["", *columns(list(row.items()))]
    return "\n".join(lines)


def _row(path: StrPath, key: str, modality: Modality) -> dict[str, object]:
    import pyarrow.compute as pc

    table = open_store(path).table()
    column = key_column(modality)
    prefix, suffix = modality.key.split(f"{{{column}}}")
    name = key.removeprefix(prefix).removesuffix(suffix)
    found = table.filter(pc.equal(table[column], name)).to_pylist()
    return found[0] if found else {}
