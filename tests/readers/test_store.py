"""The contract of `Store`, over every kind of store: what each call gives, and what it refuses.

What a store holds is checked in test_convert; here reading is checked against `Store.read`.
"""

import os
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import (
    BandMissing,
    BufferUnfit,
    KeyMissing,
    OptionError,
    SelectionEmpty,
    Store,
    StoreDamaged,
    StoreUnreadable,
    open_store,
)
from patchpress.readers.records import Records
from tests.support.synthetic import Row, is_flagged

S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
ORDERS = [
    ["B04", "B03", "B02"],
    ["B02", "B03", "B04"],
    ["B12"],
    ["B01", "B09", "B01"],
    ["B8A", "B08", "B09", "B11", "B12", "B01"],
    list(reversed(S2_BANDS)),
]
Make = Callable[[Any], Any]


@pytest.fixture
def optical(rows: list[Row]) -> list[str]:
    return [row["patch_id"] for row in rows]


@pytest.fixture
def radar(rows: list[Row]) -> list[str]:
    return [row["s1_name"] for row in rows]


def test_length_keys_and_iteration_agree(
    store: Store, optical: list[str], radar: list[str]
) -> None:
    maps = [f"{name}_reference_map" for name in optical]
    assert store.keys("s2") == optical
    assert store.keys("s1") == radar
    assert store.keys("map") == maps
    assert store.keys() == list(store) == [*optical, *radar, *maps]
    assert len(store) == 45


def test_containment(store: Store, optical: list[str]) -> None:
    assert optical[0] in store
    assert f"{optical[0]}_reference_map" in store
    for stranger in (optical[0][:-1], f"{optical[0]} ", "", "x" * 600, None, 7, b"bytes"):
        assert stranger not in store


@pytest.mark.parametrize("split", ["train", "validation", "test", "val"])
def test_keys_of_a_split_are_those_of_its_rows(store: Store, rows: list[Row], split: str) -> None:
    name = "validation" if split == "val" else split
    whole = [row for row in rows if row["split"] == name]
    assert store.keys("s1", split=split, flagged="include") == [row["s1_name"] for row in whole]
    clear = [row["s1_name"] for row in whole if not is_flagged(row)]
    assert store.keys("s1", split=split) == clear
    assert len(store.keys(split=split)) == 3 * len(store.keys("s2", split))


@pytest.mark.parametrize("bands", ORDERS, ids="-".join)
def test_bands_are_read_by_name_in_any_order(
    store: Store, optical: list[str], bands: list[str]
) -> None:
    whole = store.read(optical[0])
    picked = store.read(optical[0], bands)
    np.testing.assert_array_equal(picked, whole[[S2_BANDS.index(name) for name in bands]])
    batch = store.read_batch(optical[:3], tuple(bands))
    np.testing.assert_array_equal(batch[0], picked)


def test_what_is_read_is_ones_own(store: Store, optical: list[str]) -> None:
    first = store.read(optical[0])
    assert first.flags.c_contiguous
    assert first.flags.writeable
    before = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(store.read(optical[0]), before)
    second = store.read(optical[1])
    store.read(optical[2])
    np.testing.assert_array_equal(store.read(optical[1]), second)


def test_a_batch_is_its_records_in_the_order_of_the_keys(
    store: Store, optical: list[str], radar: list[str]
) -> None:
    for keys in (optical, radar, optical[::-1], [optical[4], optical[0], optical[4], optical[4]]):
        batch = store.read_batch(keys)
        assert batch.shape == (len(keys), *store.read(keys[0]).shape)
        for key, array in zip(keys, batch, strict=True):
            assert array.tobytes() == store.read(key).tobytes()


def test_keys_may_be_any_sequence_of_names(store: Store, optical: list[str]) -> None:
    expected = store.read_batch(optical[:4])
    np.testing.assert_array_equal(store.read_batch(tuple(optical[:4])), expected)
    np.testing.assert_array_equal(store.read_batch(np.array(optical[:4])), expected)  # type: ignore[arg-type]


def test_out_is_filled_and_returned_again_and_again(store: Store, optical: list[str]) -> None:
    out = np.full((2, 3, 120, 120), 77, np.uint16)
    bands = ["B8A", "B01", "B04"]
    for keys in (optical[:2], optical[2:4], optical[:2]):
        assert store.read_batch(keys, bands, out=out) is out
        np.testing.assert_array_equal(out, store.read_batch(keys, bands))
    single = np.empty((12, 120, 120), np.uint16)
    assert store.read(optical[1], out=single) is single
    np.testing.assert_array_equal(single, store.read(optical[1]))


def test_out_may_be_part_of_a_larger_buffer(store: Store, optical: list[str]) -> None:
    ring = np.zeros((5, 2, 12, 120, 120), np.uint16)
    store.read_batch(optical[:2], out=ring[3])
    np.testing.assert_array_equal(ring[3], store.read_batch(optical[:2]))
    assert not ring[[0, 1, 2, 4]].any()


UNFIT: dict[str, Make] = {
    "fewer rows": lambda fit: fit[:1],
    "fewer bands": lambda fit: fit[:, :2].copy(),
    "another size": lambda fit: np.full((2, 3, 60, 240), 9, fit.dtype),
    "no batch": lambda fit: fit[0],
    "one dimension": lambda fit: fit.reshape(-1),
    "another dtype": lambda fit: fit.astype(np.int16),
    "a wider dtype": lambda fit: fit.astype(np.uint32),
    "big-endian": lambda fit: fit.astype(">u2"),
    "Fortran order": np.asfortranarray,
    "strided": lambda fit: np.repeat(fit, 2, axis=0)[::2],
    "no array": lambda fit: fit.tolist(),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_an_unfit_out_is_refused_before_it_is_written(
    store: Store, optical: list[str], unfit: str
) -> None:
    out = UNFIT[unfit](np.full((2, 3, 120, 120), 9, np.uint16))
    before = np.array(out)
    with pytest.raises(BufferUnfit):
        store.read_batch(optical[:2], ["B01", "B02", "B03"], out=out)
    np.testing.assert_array_equal(np.array(out), before)


def test_a_read_only_out_is_refused(store: Store, optical: list[str]) -> None:
    out = np.zeros((12, 120, 120), np.uint16)
    out.flags.writeable = False
    with pytest.raises(BufferUnfit, match="writeable"):
        store.read(optical[0], out=out)
    assert not out.any()


def test_an_empty_batch_is_refused(store: Store) -> None:
    with pytest.raises(BufferUnfit, match="at least one"):
        store.read_batch([])


@pytest.mark.parametrize("batch", [False, True])
def test_a_missing_key_names_the_nearest(store: Store, optical: list[str], batch: bool) -> None:
    wrong = f"{optical[3][:-1]}x"
    with pytest.raises(KeyMissing) as missing:
        store.read_batch([optical[0], wrong]) if batch else store.read(wrong)
    assert wrong in str(missing.value)
    assert optical[3] in str(missing.value)
    assert not str(missing.value).startswith(("'", '"'))


@pytest.mark.parametrize("key", ["", "nothing like it", "x" * 600, "é" * 300])
def test_any_text_that_is_no_key_is_missing(store: Store, key: str) -> None:
    with pytest.raises(KeyMissing):
        store.read(key)
    with pytest.raises(KeyMissing):
        store.read_batch([key])
    with pytest.raises(KeyMissing):
        store.modality_of(key)


def test_a_missing_band_lists_those_there_are(
    store: Store, optical: list[str], radar: list[str]
) -> None:
    with pytest.raises(BandMissing, match="'B10'.*B01, B02.*B12"):
        store.read(optical[0], ["B04", "B10"])
    with pytest.raises(BandMissing, match="'B04'.*VV, VH"):
        store.read_batch(radar[:2], ["B04"])
    with pytest.raises(BandMissing):
        store.read(optical[0], [])


def test_nothing_is_written_where_a_band_is_missing(store: Store, optical: list[str]) -> None:
    out = np.full((2, 12, 120, 120), 9, np.uint16)
    with pytest.raises(BandMissing):
        store.read_batch(optical[:2], ["B04", "none"], out=out)
    assert (out == 9).all()


def test_modalities_do_not_mix_in_a_batch(
    store: Store, optical: list[str], radar: list[str]
) -> None:
    for keys in ([optical[0], radar[0]], [radar[0], optical[0]]):
        with pytest.raises(ValueError, match="one modality"):
            store.read_batch(keys)
    with pytest.raises(ValueError, match="one modality"):
        store.read_batch([f"{optical[0]}_reference_map", optical[0]])


def test_a_record_knows_its_modality(store: Store, optical: list[str], radar: list[str]) -> None:
    assert store.modality_of(optical[0]).name == "s2"
    assert store.modality_of(radar[0]).name == "s1"
    assert store.modality_of(f"{optical[0]}_reference_map").name == "map"


@pytest.mark.parametrize(("asked", "split"), [("val", "validation"), ("train", "train")])
def test_tables_of_a_split(store: Store, rows: list[Row], asked: str, split: str) -> None:
    table = store.table(split=asked, columns=["patch_id", "split", "labels"])
    assert table.column_names == ["patch_id", "split", "labels"]
    expected = [row for row in rows if row["split"] == split and not is_flagged(row)]
    assert table["patch_id"].to_pylist() == [row["patch_id"] for row in expected]
    assert table["labels"].to_pylist() == [row["labels"] for row in expected]
    assert set(table["split"].to_pylist()) == {split}
    assert store.table(split=asked, columns=["labels"]).column_names == ["labels"]


def test_selections_of_nothing_list_what_there_is(store: Store) -> None:
    with pytest.raises(SelectionEmpty, match="'holdout'.*train, validation, test"):
        store.table(split="holdout")
    with pytest.raises(SelectionEmpty, match="'holdout'"):
        store.keys(split="holdout")
    with pytest.raises(SelectionEmpty, match="'s3'.*s2, s1, map"):
        store.keys("s3")
    with pytest.raises(OptionError, match="'label'.*labels"):
        store.table(columns=["label"])


def test_the_name_of_a_store_says_what_it_holds(store: Store) -> None:
    assert str(store.path) in repr(store)
    assert "15 s2, 15 s1, 15 map" in repr(store)


def test_a_store_opens_by_text_and_by_path(store: Store) -> None:
    assert open_store(str(store.path)).keys() == open_store(Path(store.path)).keys()


def test_a_damaged_record_is_refused_by_its_name(
    stores: dict[tuple[str, str], Path], optical: list[str], tmp_path: Path
) -> None:
    data = bytearray((stores["stacked", "none"] / "data.mdb").read_bytes())
    start = data.index(b'{"__metadata__":{"bands":"B01')
    data[start + 3] ^= 1
    for name in ("manifest.json", "metadata.parquet"):
        (tmp_path / name).write_bytes((stores["stacked", "none"] / name).read_bytes())
    (tmp_path / "data.mdb").write_bytes(data)
    store = open_store(tmp_path)
    damaged = []
    for key in optical:
        try:
            store.read(key)
        except StoreDamaged as error:
            assert key in str(error)
            damaged.append(key)
    assert len(damaged) == 1


def test_a_batch_with_a_name_that_is_no_text_is_missing(store: Store, optical: list[str]) -> None:
    with pytest.raises(KeyMissing):
        store.read_batch([optical[0], "\udc80"])


def test_a_large_store_compares_a_missing_key_with_its_neighbours(
    store: Store, optical: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patchpress.readers.access.reader.NAMES_COMPARED", 0)
    monkeypatch.setattr("patchpress.readers.access.reader.NEIGHBOURS", 2)
    wrong = optical[3][:-1] + "x"
    with pytest.raises(KeyMissing, match=optical[3][:-3]):
        store.read(wrong)
    for far in ("zzz", "A", "x" * 600, "\udc80"):
        with pytest.raises(KeyMissing, match="no record"):
            store.read(far)


SETS = {
    "rgb": ["B04", "B03", "B02"],
    "10m": ["B02", "B03", "B04", "B08"],
    "60m": ["B01", "B09"],
    "all": list(S2_BANDS),
    "B8A": ["B8A"],
}


@pytest.mark.parametrize("name", SETS)
def test_sets_of_bands_are_read_by_their_names(store: Store, optical: list[str], name: str) -> None:
    bands = SETS[name]
    expected = store.read_batch(optical[:2], bands)
    np.testing.assert_array_equal(store.read(optical[0], name), expected[0])
    np.testing.assert_array_equal(store.read_batch(optical[:2], name), expected)
    assert list(store.read_bands(optical[0], name)) == bands
    records = store.records(optical[:2], name)
    assert records.bands == (None if name == "all" else tuple(bands))
    np.testing.assert_array_equal(records.read([0, 1]), expected)


def test_a_set_that_is_none_is_refused_everywhere(
    store: Store, optical: list[str], radar: list[str]
) -> None:
    reads: list[Callable[[str], object]] = [
        lambda bands: store.read(optical[0], bands),
        lambda bands: store.read_batch(optical[:2], bands),
        lambda bands: store.read_bands(optical[0], bands),
        lambda bands: store.records(optical[:2], bands),
    ]
    for read in reads:
        for wrong in ("rbg", "15m", "", "B10"):
            with pytest.raises(BandMissing, match="B01, B02.*B12"):
                read(wrong)
    with pytest.raises(BandMissing, match="VV, VH"):
        store.read(radar[0], "rgb")


def test_a_record_is_got_by_its_key(store: Store, optical: list[str]) -> None:
    np.testing.assert_array_equal(store[optical[0]], store.read(optical[0]))
    with pytest.raises(KeyMissing, match="nearest"):
        store[optical[0][:-1] + "x"]
    with pytest.raises(KeyMissing, match="no record 0"):
        store[0]  # type: ignore[index]


def test_several_splits_at_once(store: Store, rows: list[Row]) -> None:
    """In the order of the table, whatever the order asked for."""
    named = [row for row in rows if row["split"] in ("train", "test")]
    whole = [row["patch_id"] for row in named]
    assert store.keys("s2", ["train", "test"], flagged="include") == whole
    expected = [row["patch_id"] for row in named if not is_flagged(row)]
    for splits in (["test", "train"], ("train", "test", "train"), {"train", "test"}):
        assert store.keys("s2", splits) == expected  # type: ignore[arg-type]
        table = store.table(splits, columns="patch_id")  # type: ignore[arg-type]
        assert table["patch_id"].to_pylist() == expected
        assert table.column_names == ["patch_id"]
    both = store.keys("s1", ["validation"])
    assert store.keys("s1", ["val"]) == both == store.keys("s1", ["val", "validation"])
    with pytest.raises(SelectionEmpty, match="'holdout'.*train, validation, test"):
        store.keys("s2", ["train", "holdout"])
    with pytest.raises(SelectionEmpty, match="split is an empty list"):
        store.table([])


def test_a_closed_store_says_so(stores: dict[tuple[str, str], Path], optical: list[str]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with open_store(stores["native", "none"]) as store:
        view, expected = store.view(optical[0], "B02"), store.read(optical[0])
        records = store.records(optical)
        read = records.read([0])
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the view holds its map
    np.testing.assert_array_equal(view, expected[1])
    np.testing.assert_array_equal(read[0], expected)
    reads: list[Callable[[], object]] = [
        lambda: store.read(optical[0]),
        lambda: store.read_batch(optical),
        lambda: store.view(optical[0], "B02"),
        lambda: optical[0] in store,
        lambda: records.read([0]),
        lambda: store.modality_of(optical[0]),
    ]
    for call in reads:
        with pytest.raises(StoreUnreadable, match="was closed: open it again"):
            call()
    assert store.keys("s2") == optical
    store.close()
    thawed: Store = pickle.loads(pickle.dumps(store))  # noqa: S301
    np.testing.assert_array_equal(thawed.read(optical[0]), expected)


def test_a_store_opened_by_a_relative_path_stays_the_same_store(
    stores: dict[tuple[str, str], Path],
    optical: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = open_store(stores["stacked", "none"]).read_batch(optical)
    for kind in ("none", "zstd"):
        path = stores["stacked", kind]
        monkeypatch.chdir(path.parent)
        store = open_store(path.name)
        records = store.records(optical)
        assert repr(store).startswith(f"Store({path.name!r}:")
        assert store.path == path
        monkeypatch.chdir(tmp_path)
        np.testing.assert_array_equal(store.read_batch(optical), expected)
        assert store.keys("s2") == optical
        thawed: Store = pickle.loads(pickle.dumps(store))  # noqa: S301
        np.testing.assert_array_equal(thawed.read_batch(optical), expected)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            done = pool.submit(_reads_elsewhere, store, records, str(tmp_path), optical)
            assert done.result() == expected.tobytes()


def _reads_elsewhere(store: Store, records: Records, folder: str, keys: list[str]) -> bytes:
    os.chdir(folder)
    pixels = store.read_batch(keys)
    np.testing.assert_array_equal(records.read(range(len(keys))), pixels)
    return pixels.tobytes()


def test_a_path_may_be_any_path_like_object_or_begin_at_home(
    stores: dict[tuple[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Folder(os.PathLike[str]):
        def __fspath__(self) -> str:
            return str(stores["native", "none"])

    assert open_store(Folder()).path == stores["native", "none"]
    monkeypatch.setenv("HOME", str(stores["native", "none"].parent))
    assert open_store(f"~/{stores['native', 'none'].name}").path == stores["native", "none"]


SPLITS = ("train", "validation", "test")


def split_text(rows: list[Row], split: str) -> str:
    inside = [row for row in rows if row["split"] == split]
    flagged = sum(map(is_flagged, inside))
    more = f", and {flagged} flagged" if flagged else ""
    return f"{len(inside) - flagged} rows{more}"


def test_the_repr_says_what_how_many_shapes_dtypes_and_splits(
    store: Store, rows: list[Row]
) -> None:
    layout = store.manifest.modalities["s2"].layout
    compression = f"compression {store.manifest.modalities['s2'].compression.codec}"
    assert repr(store).splitlines()[1:] == [
        f"  modality  s2          15 records of (12, 120, 120) uint16, {layout}, {compression}",
        f"  modality  s1          15 records of (2, 120, 120) float32, {layout}, {compression}",
        f"  modality  map         15 records of (1, 120, 120) uint16, {layout}, {compression}",
        *(f"  split     {name:10}  {split_text(rows, name)}" for name in SPLITS),
        "  labels    labels      19 classes, the default target",
    ]
    html = store._repr_html_()
    for text in ("s2", "(12, 120, 120) uint16", split_text(rows, "train"), "19 classes"):
        assert text in html


def test_one_key_in_place_of_a_list_is_refused(store: Store, optical: list[str]) -> None:
    with pytest.raises(OptionError, match=f"list of keys, not '{optical[0]}': use read"):
        store.read_batch(optical[0])
    with pytest.raises(OptionError, match=f"list of keys, not '{optical[0]}': put it into a list"):
        store.records(optical[0])
