"""What the tests of data sets and loaders share: the right samples, made by `Store.read` alone."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import Store
from patchpress.readers.errors import PatchpressError
from patchpress.readers.format.manifest import (
    MANIFEST,
    METADATA,
    file_digest,
    read_manifest,
    to_bytes,
)
from patchpress.readers.statistics import PERCENTILES, BandStatistics, Statistics

Array = npt.NDArray[Any]
THREADS = "patchpress"  # what the names of a loader's threads begin with


def rows_in(
    store: Store, split: str | None = None, flagged: str | None = None
) -> list[dict[str, Any]]:
    """The rows of the table, one dict each."""
    found: list[dict[str, Any]] = store.table(split, flagged=flagged).to_pylist()
    return found


def hot(labels: Sequence[str] | None, names: Sequence[str]) -> Array:
    """Zeros and ones for some labels, float32."""
    return np.array([name in (labels or ()) for name in names], np.float32)


def classes_of(store: Store, key: str, column: str = "labels", ignored: int = -100) -> Array:
    """A reference map as class indices, pixel by pixel from the manifest's codes."""
    modality = store.modality_of(key)
    codes = modality.codes[column]
    classes = {int(code): ignored if k is None else k for code, k in codes.items()}
    pixels = store.read(key)[0]
    return np.array([classes[int(code)] for code in pixels.flat], np.int64).reshape(pixels.shape)


def made_up_statistics(store: Store, modality: str) -> Statistics:
    """Statistics of another mean and deviation for each band."""
    names = store.manifest.modality(modality).band_names
    percentiles = tuple(float(percentile) for percentile in PERCENTILES)
    bands = tuple(
        BandStatistics(name, 1, 0, 100.0 + number, 7.0 + number, 0.0, 1e4, percentiles)
        for number, name in enumerate(names)
    )
    return Statistics(modality, "train", 1, bands)


def with_table(store: Path, table: pa.Table) -> None:
    """Let a store have another table, as if it had been made with it."""
    pq.write_table(table, store / METADATA)
    changed = replace(read_manifest(store), metadata_digest=file_digest(store / METADATA))
    (store / MANIFEST).write_bytes(to_bytes(changed))


def refused(kind: type[PatchpressError], ask: Any) -> str:
    """The one sentence of the error that asking for something raises."""
    with pytest.raises(kind) as error:
        ask()
    assert "\n" not in str(error.value)
    return str(error.value)


def plain(array: Any) -> Array:
    """A tensor or an array as a NumPy array."""
    return np.asarray(array.numpy() if hasattr(array, "numpy") else array)


def same(found: Any, wanted: Any) -> None:
    """Assert equal bits, dtypes and shapes, in dicts, tuples and lists of any depth."""
    if isinstance(wanted, Mapping):
        assert list(found) == list(wanted)
        for name in wanted:
            same(found[name], wanted[name])
    elif isinstance(wanted, (tuple, list)):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same(one, other)
    elif isinstance(wanted, str):
        assert found == wanted
    else:
        array = plain(found)
        assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape)
        assert array.tobytes() == wanted.tobytes()


def stacked_like(samples: Iterable[Any]) -> Any:
    """Samples of one structure, as one batch of that structure."""
    listed = list(samples)
    first = listed[0]
    if isinstance(first, Mapping):
        return {name: stacked_like(sample[name] for sample in listed) for name in first}
    if isinstance(first, tuple):
        return tuple(stacked_like(parts) for parts in zip(*listed, strict=True))
    return listed if isinstance(first, str) else np.stack(listed)


def flat(lists: Iterable[Iterable[Any]]) -> list[Any]:
    """The items of some lists, in one list."""
    return [thing for some in lists for thing in some]


def filling() -> list[str]:
    """Names of the threads of loaders that run now."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(THREADS)]
