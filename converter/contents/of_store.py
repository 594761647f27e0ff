"""Facts of a store as plain objects: what its manifest says, and what its table counts."""

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import cannot_read
from patchpress.readers.format.manifest import DATA, Manifest
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import flag_mask, presence_column, split_mask
from patchpress.readers.store import Store
from patchpress.readers.targets import has_parts, label_array, number_array

if TYPE_CHECKING:
    import pyarrow as pa

Facts = dict[str, Any]
"""Names and values that JSON can say."""
Mask = npt.NDArray[np.bool_]


def store_facts(store: Store, place: str) -> Facts:
    """Count what is in a store: its table is read, no record is.

    Args:
        store: the store.
        place: what it is called.

    Returns:
        Facts under fixed names, as docs/converting.md lists them. Sizes are in bytes, ground
        sampling distances in metres, shapes are (height, width).

    Raises:
        StoreError: the table cannot be read, or a data file cannot be looked at.
    """
    manifest = store.manifest
    absent, changed = (None, None) if store.url else _wrong_files(store)
    stored = sum(shard.bytes for shard in manifest.shards)
    pixels = sum(_pixel_bytes(modality) for modality in manifest.modalities.values())
    dataset = manifest.dataset
    columns = [presence_column(name) for name in manifest.modalities]
    columns += [*manifest.targets, *manifest.flagged.columns]
    columns += [manifest.split_column] if manifest.splits else []
    table = store.table(columns=list(dict.fromkeys(columns)))
    splits = _recommended(manifest, table)
    return {
        "store": place,
        "dataset": {
            "name": dataset.name,
            "title": dataset.title,
            "version": dataset.version,
            "licence": dataset.licence,
            "url": dataset.url,
        },
        "format_version": manifest.format_version,
        "rows": manifest.rows,
        "records": manifest.records,
        "bytes": stored,
        "pixel_bytes": pixels,
        "archives": _archives(store),
        "shards": _shards(manifest),
        "absent_shards": absent,
        "changed_shards": changed,
        "modalities": {
            name: _modality(modality, manifest.rows)
            for name, modality in manifest.modalities.items()
        },
        "complete_rows": _complete(table, manifest),
        "splits": _splits(manifest),
        "flagged": {
            "rows": manifest.flagged.rows,
            "columns": {name: _true(table[name]) for name in manifest.flagged.columns},
        },
        "target": manifest.target,
        "classes": {
            column: _classes(manifest, table, column, splits) for column in manifest.classes
        },
        "numbers": {column: _numbers(table, column, splits) for column in manifest.numbers},
        "parts": [column for column in manifest.classes if has_parts(table[column])],
    }


def _wrong_files(store: Store) -> tuple[list[str], list[str]]:
    """The paths of data files that are not there, and of those of another size than promised."""
    absent, changed = [], []
    for shard in store.manifest.shards:
        try:
            size = (store.path / shard.path).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            absent.append(shard.path)
        except OSError as error:
            raise cannot_read(store.path / shard.path, error) from None
        else:
            if size != shard.bytes:
                changed.append(shard.path)
    return absent, changed


def _archives(store: Store) -> list[Facts] | None:
    """The archives that the pixels stay in; None if they are in data files of the store."""
    if not store.manifest.in_archives:
        return None
    return [{"path": str(path), "bytes": path.stat().st_size} for path in store.data_files()]


def _shards(manifest: Manifest) -> Facts | None:
    """How many data files there are, and how even; None for a store of one file."""
    shards = manifest.shards
    if shards[0].path == DATA or manifest.in_archives:
        return None
    return {
        "count": len(shards),
        "records": [min(s.records for s in shards), max(s.records for s in shards)],
        "bytes": [min(s.bytes for s in shards), max(s.bytes for s in shards)],
    }


def _pixel_bytes(modality: Modality) -> int:
    """Bytes of the pixels in the bands' own resolution, of all records of the usual size.

    Of a time axis all steps count, also those that are not present.
    """
    sizes = (prod(band.shape) * np.dtype(band.dtype).itemsize for band in modality.bands)
    return sum(sizes) * modality.records * (modality.steps or 1)


def _modality(modality: Modality, rows: int) -> Facts:
    compression = modality.compression
    return {
        "title": modality.title,
        "kind": modality.kind,
        "records": modality.records,
        "missing": rows - modality.records,
        "shape": list(modality.array_shape),
        "dtype": modality.dtype.name,
        "layout": modality.layout,
        "resampling": modality.resampling if modality.layout == "stacked" else None,
        "size": modality.size,
        "any_size": modality.any_size,
        "compression": compression.codec,
        "level": compression.level if compression.codec != "none" else None,
        "pixel_bytes": _pixel_bytes(modality),
        "bands": [
            {"name": band.name, "gsd": band.gsd, "dtype": band.dtype, "shape": list(band.shape)}
            for band in modality.bands
        ],
    }


def _complete(table: "pa.Table", manifest: Manifest) -> int:
    """Rows that have a record of every modality."""
    import pyarrow.compute as pc

    masks = [table[presence_column(name)] for name in manifest.modalities]
    together = masks[0]
    for mask in masks[1:]:
        together = pc.and_(together, mask)
    return _true(together)


def _true(mask: Any) -> int:
    """How many values are true."""
    import pyarrow.compute as pc

    return int(pc.sum(mask).as_py() or 0)


def _splits(manifest: Manifest) -> Facts:
    """Split -> rows and records of each modality; flagged ones apart."""
    found: Facts = {}
    for split, counts in manifest.splits.items():
        found[split] = {what: manifest.count(split, what) for what in counts}
        found[split]["flagged"] = (
            {what: manifest.count(split, what, "only") for what in counts}
            if split in manifest.flagged.splits
            else None
        )
    return found


def _classes(
    manifest: Manifest, table: "pa.Table", column: str, splits: Mapping[str, Mask]
) -> list[Facts]:
    """Each class in the official order: all its rows, and those of each split but flagged ones."""
    names = manifest.classes[column]
    labels = label_array(table[column], names, names)
    # One index a row, or a number for each class: 1, or the part of the patch that it covers.
    has = labels[:, np.newaxis] == np.arange(len(names)) if labels.ndim == 1 else labels > 0
    rows = has.sum(axis=0).tolist()
    inside = {split: has[mask].sum(axis=0).tolist() for split, mask in splits.items()}
    return [
        {
            "name": name,
            "rows": rows[number],
            "splits": {split: counts[number] for split, counts in inside.items()},
        }
        for number, name in enumerate(names)
    ]


def _numbers(table: "pa.Table", column: str, splits: Mapping[str, Mask]) -> Facts:
    """Of all rows, and of those of each split but flagged ones: how many know the number, and what.

    Values are of the stored float32, the mean is computed in float64.
    """
    values = number_array(table[column])
    parts = {"all rows": np.ones(len(values), bool), **splits}
    return {name: number_facts(values[mask]) for name, mask in parts.items()}


def number_facts(values: npt.NDArray[Any]) -> Facts:
    """Of some values of a column of numbers, NaN for none: how many are known, and their range."""
    known = values[~np.isnan(values)].astype(np.float64)
    return {
        "rows": len(known),
        "absent": len(values) - len(known),
        "min": float(known.min()) if len(known) else None,
        "mean": float(known.mean()) if len(known) else None,
        "max": float(known.max()) if len(known) else None,
    }


def _recommended(manifest: Manifest, table: "pa.Table") -> dict[str, Mask]:
    """Split -> which rows of the table are in it and not flagged; of splits that have some."""
    kept = ~np.asarray(flag_mask(manifest.flagged.columns, table), bool)
    return {
        split: kept & np.asarray(split_mask(manifest, table, [split]), bool)
        for split in manifest.splits
        if manifest.count(split)
    }
