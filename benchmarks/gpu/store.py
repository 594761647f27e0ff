"""A store of random pixels, and statistics for it, made without anything that reads GeoTIFFs."""

import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from benchmarks.tree import REPOSITORY, S2_BANDS
from patchpress import Statistics, index
from patchpress.converter.descriptions.parse import find_description
from patchpress.readers.format.record import encode
from patchpress.readers.statistics import PERCENTILES, BandStatistics

SHAPE = (12, 120, 120)
CLASSES = 19


def make_store(folder: Path, patches: int) -> Path:
    """Write random patches to an LMDB and let `patchpress index` make a store of it."""
    import lmdb
    import pyarrow as pa
    import pyarrow.parquet as pq

    _add_version(folder)
    store = folder / "random.store"
    store.mkdir()
    random = np.random.default_rng(0)
    keys = [
        f"S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_{k // 100:02d}_{k % 100:02d}"
        for k in range(patches)
    ]
    environment = lmdb.open(str(store), map_size=patches * 400_000 + (64 << 20), sync=False)
    for first in range(0, patches, 256):
        with environment.begin(write=True) as transaction:
            for key in keys[first : first + 256]:
                pixels = random.integers(0, 10_000, SHAPE, np.uint16)
                value = encode({"s2": pixels}, {"bands": ",".join(S2_BANDS)})
                transaction.put(key.encode(), value)
    environment.sync(True)
    environment.close()
    names = find_description("bigearthnet-v2").classes["labels"]
    labels = [[names[k % CLASSES], names[(7 * k + 3) % CLASSES]] for k in range(patches)]
    table = pa.table(
        {
            "patch_id": keys,
            "labels": [sorted(set(some)) for some in labels],
            "split": ["train"] * patches,
            "country": ["Austria"] * patches,
            "s1_name": [f"S1A_IW_GRDH_1SDV_20170613T165043_33UUP_{key[-5:]}" for key in keys],
            "s2v1_name": [f"S2A_MSIL2A_20170613T101031_{key[-5:]}" for key in keys],
            "contains_seasonal_snow": [False] * patches,
            "contains_cloud_or_shadow": [False] * patches,
        }
    )
    pq.write_table(table, folder / "metadata.parquet")
    index(store, dataset="bigearthnet-v2", paths={"metadata": folder / "metadata.parquet"})
    return store


def _add_version(folder: Path) -> None:
    """Give a checkout that is not installed a version, which a manifest needs."""
    try:
        version("patchpress")
    except PackageNotFoundError:
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        info = folder / "patchpress.dist-info"
        info.mkdir()
        lines = "Metadata-Version: 2.1", "Name: patchpress", f"Version: {project['version']}", ""
        (info / "METADATA").write_text("\n".join(lines))
        sys.path.append(str(folder))


def made_up_statistics() -> Statistics:
    """Statistics that differ from band to band."""
    ranks = tuple(float(percentile) for percentile in PERCENTILES)
    bands = tuple(
        BandStatistics(name, 1, 0, 5000.0 + 10 * k, 2900.0 + k, 0.0, 10_000.0, ranks)
        for k, name in enumerate(S2_BANDS)
    )
    return Statistics("s2", "train", 1, bands)
