"""The ways to a store's bytes: every one gives the same arrays, and asks for no more than it needs.

What is right is what LMDB gives; the ways by extents are compared with it.
"""

import os
import resource
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lmdb
import numpy as np
import pytest
from safetensors.numpy import save

from patchpress import (
    GridsDiffer,
    OptionError,
    Store,
    StoreDamaged,
    convert,
    open_store,
)
from patchpress.converter.storage.transactions import LMDB_09
from patchpress.readers.access.extents import UNKNOWN
from patchpress.readers.access.extents_fetcher import FROM_CACHE, ExtentsFetcher
from patchpress.readers.access.fetcher import Mode
from patchpress.readers.access.scan import build
from patchpress.readers.access.tree_fetcher import TreeFetcher
from patchpress.readers.errors import ExtentsUnusable
from patchpress.readers.format.manifest import EXTENTS
from tests.support.helpers import geotiff, stored_values, tiny_dataset
from tests.support.preads import Requests

pytestmark = pytest.mark.slow

S2 = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
CHOICES: dict[str, list[list[str] | None]] = {
    "s2": [
        None,
        ["B04", "B03", "B02"],
        ["B02", "B03", "B04"],
        ["B01"],
        ["B12"],
        ["B01", "B09", "B01", "B02", "B02"],
        ["B8A", "B08", "B05", "B01"],
        list(reversed(S2)),
        list(S2) * 3,
    ],
    "s1": [None, ["VH"], ["VV"], ["VH", "VV"], ["VV", "VV"]],
    "map": [None, ["Data"], ["Data"] * 3],
}
Kinds = dict[tuple[str, str], Path]


def fetcher_of(store: Store) -> ExtentsFetcher:
    fetcher = store._reader._fetcher
    assert isinstance(fetcher, ExtentsFetcher)
    return fetcher


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["stacked", "native"])
@pytest.mark.parametrize("compression", ["none", "zstd", "blosc2"])
@pytest.mark.parametrize("mode", list(Mode))
def test_every_way_gives_what_lmdb_gives(
    stores: Kinds, bare_stores: Kinds, layout: str, compression: str, mode: Mode
) -> None:
    bare = open_store(bare_stores[layout, compression])
    assert isinstance(bare._reader._fetcher, TreeFetcher)
    store = open_store(stores[layout, compression], mode=mode)
    assert fetcher_of(store).mode is mode
    for modality, choices in CHOICES.items():
        keys = bare.keys(modality)
        for bands in choices:
            for some in (keys, keys[:1], keys[::-2], [keys[2]] * 3 + keys[:4]):
                expected = bare.read_batch(some, bands)
                np.testing.assert_array_equal(store.read_batch(some, bands), expected)
            np.testing.assert_array_equal(store.read(keys[0], bands), bare.read(keys[0], bands))
        everything = bare.read_bands(keys[1])
        for band, array in store.read_bands(keys[1]).items():
            np.testing.assert_array_equal(array, everything[band])
    assert store.modality_of(keys[0]) == bare.modality_of(keys[0])


def test_nothing_is_written_outside_of_out(store: Store) -> None:
    keys = store.keys("s1")
    ring = np.full((9, 2, 120, 120), 7, np.float32)
    store.read_batch(keys[:4], out=ring[2:6])
    assert (ring[[0, 1, 6, 7, 8]] == 7).all()
    np.testing.assert_array_equal(ring[2:6], store.read_batch(keys[:4]))


def test_more_bands_than_one_request_may_have(tmp_path: Path) -> None:
    """preadv takes 1,024 buffers; every band of a backward order is one."""
    bands = [f"b{number:04}" for number in range(1, 1201)]
    text = tiny_dataset(tmp_path, {"g": ["p1"]}).read_text()
    start, end = text.index("bands = ["), text.index("[modalities.a.fields]")
    entry = 'bands = [{ name = "b", gsd = 10, dtype = "uint8", shape = [2, 2], count = 1200 }]\n'
    text = text[:start] + entry + text[end:]
    text = text.replace("{group}/{name}/{name}_{band}.tif", "{name}.tif")
    text = text.replace("group = '\\w+'\n", "")
    (tmp_path / "many.toml").write_text(text)
    pixels = np.random.default_rng(1).integers(0, 256, (len(bands), 2, 2), np.uint8)
    (tmp_path / "many" / "A").mkdir(parents=True)
    geotiff(tmp_path / "many" / "A" / "p1.tif", pixels, crs="EPSG:32633")
    convert(str(tmp_path / "many.toml"), tmp_path / "many", tmp_path / "store", workers=0)
    for mode in Mode:
        store = open_store(tmp_path / "store", mode=mode)
        names = list(store.manifest.modalities["a"].band_names)
        np.testing.assert_array_equal(store.read("p1"), pixels)
        np.testing.assert_array_equal(store.read("p1", names[::-1]), pixels[::-1])
        np.testing.assert_array_equal(store.read("p1", names[1:] * 2), np.vstack([pixels[1:]] * 2))


@pytest.mark.parametrize("mode", list(Mode))
def test_records_of_differing_size_are_read_one_by_one(
    tmp_path: Path, mode: Mode, patchpress: Callable[..., Any]
) -> None:
    names = ["agricultural00", "beach41", "river07", "river08"]
    arrays = {key: np.full((256, 256 - (n == 1)), n, np.uint8) for n, key in enumerate(names)}
    with (
        lmdb.open(str(tmp_path / "store"), map_size=1 << 26, **LMDB_09) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, array in arrays.items():
            record = save({band: array + at for at, band in enumerate(("Red", "Green", "Blue"))})
            transaction.put(key.encode(), record)
    assert patchpress("index", tmp_path / "store", "--dataset", "uc-merced").code == 0
    store = open_store(tmp_path / "store", mode=mode)
    for n, key in enumerate(names):
        assert store.read(key, ["Blue"]).tolist() == (arrays[key] + 2)[None].tolist()
        assert store.read(key).shape == (3, *arrays[key].shape), n
    alike = [names[3], names[0], names[2]]
    assert store.read_batch(alike)[:, 0, 0, 0].tolist() == [3, 0, 2]
    for keys in (names, [names[1], names[0]]):
        with pytest.raises(GridsDiffer, match="one modality and one size"):
            store.read_batch(keys)


@pytest.mark.parametrize("mode", [Mode.MAP, Mode.DIRECT])
def test_a_record_of_unknown_form_is_read_by_itself(
    stores: Kinds, bare_stores: Kinds, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a store with more sizes of patches than the extents note."""
    monkeypatch.setattr("patchpress.readers.access.scan.HEADERS_KEPT", 1)
    for layout in ("stacked", "native"):
        store = open_store(stores[layout, "none"], mode=mode)
        fetcher = fetcher_of(store)
        fetcher.extents = build(store.path, ["data.mdb"])
        assert (fetcher.extents.header_number == UNKNOWN).sum() == 30
        bare = open_store(bare_stores[layout, "none"])
        for modality in ("s2", "s1", "map"):
            keys = bare.keys(modality)
            np.testing.assert_array_equal(store.read_batch(keys), bare.read_batch(keys))


BYTES: list[tuple[str, str, list[str] | None, int, int]] = [
    # layout, modality, bands, bytes of pixels that must be read, requests a record
    ("stacked", "s2", None, 12 * 28_800, 1),
    ("stacked", "s2", ["B04", "B03", "B02"], 3 * 28_800, 1),
    ("stacked", "s2", ["B12"], 28_800, 1),
    ("stacked", "s2", ["B02", "B12"], 2 * 28_800, 2),
    ("native", "s2", None, 160_000, 1),
    ("native", "s2", ["B04", "B03", "B02"], 3 * 28_800, 1),
    ("native", "s2", ["B09"], 800, 1),
    ("native", "s1", ["VH"], 57_600, 1),
    ("native", "map", None, 28_800, 1),
]


@pytest.mark.parametrize(("layout", "modality", "bands", "pixels", "requests"), BYTES)
def test_direct_reads_no_more_than_was_asked_for(
    stores: Kinds,
    monkeypatch: pytest.MonkeyPatch,
    layout: str,
    modality: str,
    bands: list[str] | None,
    pixels: int,
    requests: int,
) -> None:
    store = open_store(stores[layout, "none"], mode="direct")
    keys = store.keys(modality)[::-1]
    expected = store.read_batch(keys, bands)
    seen = Requests(monkeypatch)
    np.testing.assert_array_equal(store.read_batch(keys, bands), expected)
    header = 1024  # of a record, which comes along with its first pixel
    assert len(keys) * pixels <= seen.nbytes <= len(keys) * (pixels + header)
    assert len(seen.made) == requests * len(keys)
    # All of it was announced before, request by request, in the order of the file.
    assert seen.announced == seen.made
    assert [offset for _, offset in seen.made] == sorted(offset for _, offset in seen.made)


@pytest.mark.parametrize("limit", [1, 7, 1000, 28_800, 100_000])
def test_requests_that_stop_short_are_gone_on_with(
    stores: Kinds, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    for layout in ("stacked", "native"):
        store = open_store(stores[layout, "none"], mode="direct")
        key = store.keys("map")[0] if limit < 100 else store.keys("s2")[0]
        bands = None if limit < 100 else ["B01", "B12", "B02"]
        expected = store.read(key, bands)
        with monkeypatch.context() as context:
            seen = Requests(context, limit)
            np.testing.assert_array_equal(store.read(key, bands), expected)
            assert max(nbytes for nbytes, _ in seen.made) <= limit


def test_map_reads_nothing_by_request(stores: Kinds, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(stores["native", "none"], mode="map")
    seen = Requests(monkeypatch)
    store.read_batch(store.keys("s2"))
    store.records(store.keys("s2")).announce([0, 1])
    assert seen.made == seen.announced == []


def test_announcing_says_what_reading_will_ask_for(
    stores: Kinds, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(stores["native", "none"], mode="direct")
    records = store.records(store.keys("s2"), ["B02", "B12"])
    seen = Requests(monkeypatch)
    records.announce(np.array([3, 1]))
    announced = sorted(seen.announced)
    assert seen.made == []
    records.read([3, 1])
    assert sorted(seen.made) == announced


class Counters:
    """The kernel's counters of this thread, as a test sets them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.faults = self.blocks = 0
        self.each = (0, 0)
        monkeypatch.setattr(resource, "getrusage", self._get)

    def _get(self, who: int) -> Any:
        assert who == resource.RUSAGE_THREAD
        self.faults, self.blocks = self.faults + self.each[0], self.blocks + self.each[1]
        return SimpleNamespace(ru_majflt=self.faults, ru_inblock=self.blocks)


def test_auto_goes_by_what_the_disk_had_to_give(
    stores: Kinds, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(stores["stacked", "none"])
    counters, seen = Counters(monkeypatch), Requests(monkeypatch)
    keys = store.keys("s2")

    def reads_directly() -> bool:
        before = len(seen.made)
        store.read_batch(keys)
        return len(seen.made) > before

    calm = -(-FROM_CACHE // len(keys))  # batches until the page cache is trusted
    assert all(reads_directly() for _ in range(calm))
    assert not any(reads_directly() for _ in range(5))
    counters.each = (1, 0)  # a page fault that needed the disk: found while it copies
    assert not reads_directly()
    counters.each = (0, 0)
    assert all(reads_directly() for _ in range(calm - 1))
    counters.each = (0, 8)  # blocks from the disk begin the count anew
    assert reads_directly()
    counters.each = (0, 0)
    assert all(reads_directly() for _ in range(calm))
    assert not reads_directly()


@pytest.mark.parametrize("mode", ["map", "direct"])
def test_a_mode_that_was_chosen_stays(
    stores: Kinds, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    store = open_store(stores["native", "none"], mode=mode)
    Counters(monkeypatch).each = (1, 1)
    seen = Requests(monkeypatch)
    for _ in range(80):
        before = len(seen.made)
        store.read_batch(store.keys("map"))
        assert (len(seen.made) > before) == (mode == "direct")


def test_threads_share_what_auto_has_seen(stores: Kinds) -> None:
    store = open_store(stores["native", "none"])
    keys = store.keys("s2")
    expected = store.read_batch(keys)
    with ThreadPoolExecutor(8) as pool:
        for batch in pool.map(store.read_batch, [keys] * 90):
            np.testing.assert_array_equal(batch, expected)


@pytest.mark.parametrize("kind", [("stacked", "none"), ("native", "none"), ("stacked", "zstd")])
def test_a_file_that_is_cut_after_opening_is_damaged(
    stores: Kinds, tmp_path: Path, kind: tuple[str, str]
) -> None:
    copy = Path(shutil.copytree(stores[kind], tmp_path / "store"))
    store = open_store(copy, mode="direct")
    keys = store.keys("s2")
    batch = store.read_batch(keys)
    size = (copy / "data.mdb").stat().st_size
    os.truncate(copy / "data.mdb", size // 2)
    with pytest.raises(StoreDamaged, match="data.mdb ended at .* was cut since it was opened"):
        store.read_batch(keys)
    damaged = 0
    for key, before in zip(keys, batch, strict=True):
        try:
            np.testing.assert_array_equal(store.read(key), before)
        except StoreDamaged:
            damaged += 1
    assert damaged > 0


def test_a_record_whose_header_changed_is_named_in_every_way(stores: Kinds, tmp_path: Path) -> None:
    """The extents hold for the file; a byte of a record is damage that they do not see."""
    for kind in (("stacked", "none"), ("native", "none")):
        copy = Path(shutil.copytree(stores[kind], tmp_path / "-".join(kind)))
        key = open_store(copy).keys("s2")[3]
        data = bytearray((copy / "data.mdb").read_bytes())
        start = data.index(stored_values(copy)[key])
        data[start + 20] ^= 1
        (copy / "data.mdb").write_bytes(data)
        for mode in Mode:
            store = open_store(copy, mode=mode)
            keys = store.keys("s2")
            with pytest.raises(StoreDamaged, match=key):
                store.read_batch(keys)
            with pytest.raises(StoreDamaged, match=key):
                store.read(key)
            others = [other for other in keys if other != key]
            assert len(store.read_batch(others)) == len(others)


def test_options_of_opening(stores: Kinds, bare_stores: Kinds, tmp_path: Path) -> None:
    for mode in ("", "lmdb", "Direct", "mmap"):
        with pytest.raises(OptionError, match=r"no read mode .*; choose auto, map, direct"):
            open_store(stores["native", "none"], mode=mode)
    bare = bare_stores["native", "none"]
    for mode in ("map", "direct"):
        with pytest.raises(OptionError, match=f"mode '?{mode}'? needs extents.*patchpress index"):
            open_store(bare, mode=mode)
    for mode in Mode:
        ahead = open_store(stores["native", "none"], mode=mode, readahead=True)
        plain = open_store(stores["native", "none"])
        keys = plain.keys("s2")
        np.testing.assert_array_equal(ahead.read_batch(keys), plain.read_batch(keys))
    copy = Path(shutil.copytree(stores["native", "none"], tmp_path / "store"))
    (copy / EXTENTS).write_bytes(b"damaged")
    with pytest.warns(ExtentsUnusable):
        assert not open_store(copy, mode="direct").has_extents


def test_checksums_are_compared_record_by_record(
    stores: Kinds, bare_stores: Kinds, tmp_path: Path
) -> None:
    for number, path in enumerate([*stores.values(), *bare_stores.values()]):
        copy = Path(shutil.copytree(path, tmp_path / str(number)))
        keys = open_store(copy).keys("s2")
        data = bytearray((copy / "data.mdb").read_bytes())
        value = stored_values(copy)[keys[3]]
        data[data.index(value) + len(value) - 1] ^= 1  # the last pixel, or the end of a frame
        (copy / "data.mdb").write_bytes(data)
        modes = list(Mode) if (copy / EXTENTS).exists() else [Mode.AUTO]
        for mode in modes:
            store = open_store(copy, mode=mode, checksums=True)
            for read in (store.read, store.read_bands, store.view, store.modality_of):
                with pytest.raises(StoreDamaged, match=keys[3]):
                    read(keys[3])
            for some in (keys, [keys[3]], keys[3:]):
                with pytest.raises(StoreDamaged, match=f"{keys[3]}.*checksum"):
                    store.read_batch(some)
                with pytest.raises(StoreDamaged, match=f"{keys[3]}.*checksum"):
                    store.records(some).read(range(len(some)))
            good = [key for key in keys if key != keys[3]]
            expected = open_store(path).read_batch(good)
            np.testing.assert_array_equal(store.read_batch(good), expected)
            for modality in ("s1", "map"):
                assert len(store.read_batch(store.keys(modality))) == 15


def test_checksums_need_their_package(stores: Kinds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xxhash", None)
    with pytest.raises(OptionError, match="pip install xxhash"):
        open_store(stores["native", "none"], checksums=True)


def test_the_log_says_which_way_records_are_read_and_why(
    stores: Kinds, bare_stores: Kinds, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "patchpress")
    for mode in Mode:
        open_store(stores["native", "none"], mode=mode)
        assert caplog.messages[-1].endswith(f"records are read by extents, mode {mode}")
    open_store(bare_stores["native", "none"])
    assert caplog.messages[-1].endswith("by the tree of the data file, since it has no extents")
    copy = Path(shutil.copytree(stores["native", "none"], tmp_path / "store"))
    (copy / EXTENTS).write_bytes(b"damaged")
    with pytest.warns(ExtentsUnusable):
        open_store(copy)
    assert "by the tree of the data file, since" in caplog.messages[-1]
    assert "cannot be used" in caplog.messages[-1]
    assert {record.levelname for record in caplog.records} == {"INFO"}
    before = len(caplog.records)
    store = open_store(stores["native", "none"])
    for _ in range(200):
        store.read_batch(store.keys("map"))
    assert len(caplog.records) == before + 1  # nothing for each batch
