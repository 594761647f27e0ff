"""`Store.view`: arrays on the mapped file itself, which nobody can write and which outlive it."""

import gc
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import BandMissing, KeyMissing, Store, StoreDamaged, open_store
from patchpress.readers.access.files import open_file
from patchpress.readers.errors import ViewImpossible

Kinds = dict[tuple[str, str], Path]
PLAIN = [("stacked", "auto"), ("stacked", "lmdb"), ("native", "auto"), ("native", "lmdb")]


@pytest.fixture(params=PLAIN, ids="-".join)
def plain(request: pytest.FixtureRequest, stores: Kinds, bare_stores: Kinds) -> Store:
    """Stores without compression, with and without extents."""
    layout, way = request.param
    return open_store((bare_stores if way == "lmdb" else stores)[layout, "none"])


def views_of(store: Store, key: str) -> list[Any]:
    bands = store.read_bands(key)
    views = [store.view(key, band) for band in bands]
    if store.modality_of(key).layout == "stacked" or len(bands) == 1:
        views.append(store.view(key))
    return views


def test_a_view_is_what_is_stored(plain: Store) -> None:
    for modality in ("s2", "s1", "map"):
        for key in plain.keys(modality)[:4]:
            for band, array in plain.read_bands(key).items():
                view = plain.view(key, band)
                assert (view.shape, view.dtype) == (array.shape, array.dtype)
                np.testing.assert_array_equal(view, array)
            if plain.manifest.modalities[modality].layout == "stacked" or modality == "map":
                np.testing.assert_array_equal(plain.view(key), plain.read(key))


def test_nothing_is_copied(plain: Store) -> None:
    file = open_file(plain.path / "data.mdb")  # the process's handle, as long as it is held
    mapped = file.map
    for modality in ("s2", "s1", "map"):
        for view in views_of(plain, plain.keys(modality)[1]):
            assert np.shares_memory(view, mapped)
            assert not view.flags.owndata


def test_nobody_can_write_to_it(plain: Store) -> None:
    before = (plain.path / "data.mdb").read_bytes()
    for view in views_of(plain, plain.keys("map")[0]):
        base = view
        while isinstance(base, np.ndarray):
            assert not base.flags.writeable
            with pytest.raises(ValueError, match="WRITEABLE"):
                base.flags.writeable = True
            base = base.base
        with pytest.raises(ValueError, match="read-only"):
            view[...] = 0
        with pytest.raises(ValueError, match="read-only"):
            np.add(view, 1, out=view)
    assert (plain.path / "data.mdb").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["stacked", "native"])
@pytest.mark.parametrize("way", ["auto", "lmdb"])
def test_it_outlives_the_store_and_the_file(
    stores: Kinds, bare_stores: Kinds, tmp_path: Path, layout: str, way: str
) -> None:
    source = (bare_stores if way == "lmdb" else stores)[layout, "none"]
    copy = Path(shutil.copytree(source, tmp_path / "store"))
    store = open_store(copy)
    keys = store.keys("s1")
    expected = [store.read_bands(key)["VH"] for key in keys]
    views = [store.view(key, "VH") for key in keys]
    del store
    shutil.rmtree(copy)
    gc.collect()
    descriptors = len(os.listdir("/proc/self/fd"))
    for view, array in zip(views, expected, strict=True):
        np.testing.assert_array_equal(view, array)
    part = views[3][5:9]
    del views, view
    gc.collect()
    np.testing.assert_array_equal(part, expected[3][5:9])
    assert len(os.listdir("/proc/self/fd")) <= descriptors


def test_many_views_take_no_descriptors(native: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        store = open_store(native)
        store.view(store.keys("map")[0])
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before + 4


def test_a_native_record_is_seen_band_by_band(native: Path) -> None:
    store = open_store(native)
    key = store.keys("s2")[0]
    assert store.view(key, "B01").shape == (20, 20)
    assert store.view(key, "B05").shape == (60, 60)
    assert store.view(store.keys("map")[0]).shape == (1, 120, 120)
    with pytest.raises(ViewImpossible, match="lie apart: name one"):
        store.view(key)


def test_a_compressed_record_is_refused(stores: Kinds, bare_stores: Kinds) -> None:
    for kinds in (stores, bare_stores):
        for layout in ("stacked", "native"):
            store = open_store(kinds[layout, "zstd"])
            for band in (None, "B02"):
                with pytest.raises(ViewImpossible, match="compressed.*use read"):
                    store.view(store.keys("s2")[0], band)


def test_what_is_not_there_is_missing(plain: Store) -> None:
    key = plain.keys("s2")[0]
    with pytest.raises(BandMissing, match="'B10'"):
        plain.view(key, "B10")
    with pytest.raises(BandMissing):
        plain.view(key, "")
    for stranger in (key[:-1], "", "x" * 600):
        with pytest.raises(KeyMissing):
            plain.view(stranger)


def test_a_damaged_record_is_refused(plain: Store, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(plain.path, tmp_path / "store"))
    key = plain.keys("map")[0]
    data = bytearray((copy / "data.mdb").read_bytes())
    header = plain.manifest.modalities["map"].form.header
    record = header + plain.read(key).tobytes()
    data[data.index(record) + 12] ^= 1
    (copy / "data.mdb").write_bytes(data)
    with pytest.raises(StoreDamaged, match=key):
        open_store(copy).view(key)


def test_views_share_one_map(plain: Store) -> None:
    """A process may have 65,530 maps, and a store has more records."""

    def maps() -> int:
        return Path("/proc/self/maps").read_text().count(str(plain.path / "data.mdb"))

    keys = plain.keys("map")
    first = plain.view(keys[0])
    before = maps()
    views = [plain.view(key) for key in keys]
    assert maps() == before
    assert len(views) == 15
    np.testing.assert_array_equal(first, views[0])
