"""A sharded store reads as the single one that it was made from."""

from pathlib import Path

import numpy as np
import pytest

from patchpress import open_store
from patchpress.readers.format.manifest import EXTENTS
from tests.conftest import KINDS
from tests.support.sharding import sharded


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
@pytest.mark.parametrize("shards", [1, 3, 40])
@pytest.mark.parametrize("extents", [True, False])
def test_a_sharded_store_reads_as_a_single_one(
    stores: dict[tuple[str, str], Path],
    tmp_path: Path,
    kind: tuple[str, str],
    shards: int,
    extents: bool,
) -> None:
    single = open_store(stores[kind])
    store = open_store(sharded(stores[kind], tmp_path / "store", shards, extents=extents))
    assert (store.path / EXTENTS).exists() == extents == store.has_extents
    for modality in single.manifest.modalities:
        keys = single.keys(modality)
        assert store.keys(modality) == keys
        assert np.array_equal(store.read_batch(keys), single.read_batch(keys), equal_nan=True)
