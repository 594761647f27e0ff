"""Samples: what a model sees, row by row, is what `Store.read` and the table say."""

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpress import Store, convert, open_store
from patchpress.readers.errors import (
    GridsDiffer,
    OptionError,
    SamplesLeftOut,
    SelectionEmpty,
)
from patchpress.readers.samples import Samples
from tests.support.helpers import made
from tests.support.loading import classes_of, hot, refused, rows_in, same
from tests.support.older_sets import make_sen12ms
from tests.support.published_forms import TREES

RGB = ["B04", "B03", "B02"]


@pytest.fixture
def opened(stacked: Path) -> Store:
    return open_store(stacked)


@pytest.fixture(scope="module")
def smaller(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give the store of a smaller data set, made on first use. Never write into it."""
    root = tmp_path_factory.mktemp("smaller")

    def store(name: str, **options: Any) -> Store:
        if not (root / name).is_dir():
            if name == "sen12ms":
                make_sen12ms(root / "raw" / name)
            else:
                TREES[name].write(root / "raw" / name)
            options = {"workers": 0} | options
            convert(name, root / "raw" / name, root / name, **options)
        return open_store(root / name)

    return store


def joined(store: Store, row: dict[str, Any]) -> Any:
    """Sentinel-2 over Sentinel-1 of a row, (14, height, width) float32."""
    parts = [store.read(row["patch_id"]).astype(np.float32), store.read(row["s1_name"])]
    return np.concatenate(parts)


def test_samples_of_every_kind_of_store_are_what_store_read_gives(store: Store) -> None:
    samples = Samples(store, "train", with_key=True, flagged="include")
    rows = rows_in(store, "train", "include")
    order = [3, 0, 8, 8, -1]
    found = samples.read(order)
    same(found["image"], np.stack([store.read(rows[k]["patch_id"]) for k in order]))
    same(found["label"], np.stack([hot(rows[k]["labels"], samples.classes) for k in order]))
    assert samples.keys(range(len(samples))) == [row["patch_id"] for row in rows]


def test_bands_come_in_the_order_asked_for(store: Store) -> None:
    samples = Samples(store, bands=["B12", "B02", "B01"], target=None)
    wanted = [store.read(samples.key(k), ["B12", "B02", "B01"]) for k in range(15)]
    same(samples.read(range(15))["image"], np.stack(wanted))
    assert samples.image_bands["image"] == {"s2": ("B12", "B02", "B01")}


def test_two_modalities_become_one_array_bit_for_bit(store: Store) -> None:
    samples = Samples(store, modalities=["s2", "s1"])
    wanted = np.stack([joined(store, row) for row in rows_in(store)])
    assert wanted.dtype == np.float32
    same(samples.read(range(15))["image"], wanted)
    assert [len(bands) for bands in samples.image_bands["image"].values()] == [12, 2]


def test_two_modalities_apart_keep_their_dtypes(opened: Store) -> None:
    samples = Samples(opened, modalities=["s1", "s2"], joined=False, bands="10m", target=None)
    found = samples.read([4, 2])
    rows = rows_in(opened)
    assert list(found) == ["image_s1", "image_s2"]
    same(found["image_s1"], np.stack([opened.read(rows[k]["s1_name"]) for k in (4, 2)]))
    ten = ["B02", "B03", "B04", "B08"]
    same(found["image_s2"], np.stack([opened.read(rows[k]["patch_id"], ten) for k in (4, 2)]))
    assert samples.key(4) == rows[4]["patch_id"]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint16", np.float32, "<f4"])
def test_a_cast_holds_every_value(opened: Store, dtype: Any) -> None:
    samples = Samples(opened, dtype=dtype, bands=RGB, target=None)
    keys = samples.keys(range(11))
    wanted = np.stack([opened.read(key, RGB).astype(dtype) for key in keys])
    same(samples.read(range(11))["image"], wanted)  # more than one chunk, and a part of one


def test_labels_maps_and_keys_together(opened: Store) -> None:
    samples = Samples(opened, "val", target=["labels", "map"], ignore_index=-1)
    rows = rows_in(opened, "validation")
    found = samples.read(range(len(rows)))
    assert list(found) == ["image", "label", "mask"]
    maps = [classes_of(opened, f"{row['patch_id']}_reference_map", ignored=-1) for row in rows]
    same(found["mask"], np.stack(maps))
    same(found["label"], np.stack([hot(row["labels"], samples.classes) for row in rows]))


@pytest.mark.parametrize("order", ["official", "alphabetical"])
def test_the_order_of_classes_is_stated_and_kept(opened: Store, order: str) -> None:
    samples = Samples(opened, class_order=order)
    names = opened.manifest.classes["labels"]
    assert samples.classes == (names if order == "official" else tuple(sorted(names)))
    wanted = [hot(row["labels"], samples.classes) for row in rows_in(opened)]
    same(samples.read(range(15))["label"], np.stack(wanted))


FORMS: list[tuple[dict[str, Any], Any]] = [
    ({}, ("image", "label")),
    ({"target": None}, "image"),
    ({"target": "map"}, ("image", "mask")),
    ({"target": ["map", "labels"]}, ("image", "label", "mask")),
    ({"with_key": True}, ("image", "label", "key")),
    ({"target": None, "with_key": True}, ("image", "key")),
    ({"sample_format": "dict"}, {"image": "image", "label": "label"}),
    ({"sample_format": "dict", "target": None, "with_key": True}, {"image": "image", "key": "key"}),
    (
        {"modalities": ["s2", "s1"], "joined": False},
        ({"s2": "image_s2", "s1": "image_s1"}, "label"),
    ),
    (
        {"modalities": ["s2", "s1"], "joined": False, "sample_format": "dict", "target": "map"},
        {"image_s2": "image_s2", "image_s1": "image_s1", "mask": "mask"},
    ),
]


@pytest.mark.parametrize(("choice", "wanted"), FORMS, ids=lambda value: str(value)[:60])
def test_a_sample_has_the_form_asked_for(opened: Store, choice: Any, wanted: Any) -> None:
    samples = Samples(opened, **choice)
    names = {field.name: field.name for field in samples.fields}
    assert samples.assemble(names, {"key": "key"} if samples.with_key else {}) == wanted


@given(st.integers(1, 9), st.integers(0, 2**32))
def test_the_arrays_that_are_given_are_filled_and_nothing_beside_them(
    stores: dict[tuple[str, str], Path], count: int, seed: int
) -> None:
    columns = ["epsg", "bounds"]
    samples = Samples(stores["stacked", "none"], target=["labels", "map"], columns=columns)
    indices = np.random.default_rng(seed).integers(0, 15, count)
    whole = {f.name: np.full((count + 2, *f.shape), 7, f.dtype) for f in samples.fields}
    inside = {name: array[1:-1] for name, array in whole.items()}
    found = samples.read(indices, inside)
    same(inside, samples.read(indices))
    for name, array in whole.items():
        assert found[name] is inside[name]
        assert (array[[0, -1]] == 7).all()


def test_rows_without_a_partner_are_left_out_and_counted(raw: Path, tmp_path: Path) -> None:
    gone = sorted((raw / "BigEarthNet-S1").glob("*/*"))[0]
    shutil.rmtree(gone)
    made(raw, tmp_path / "store")
    store = open_store(tmp_path / "store")
    with pytest.warns(SamplesLeftOut, match="1 of 5 rows are left out .1 without s1.: 4 samples"):
        samples = Samples(store, modalities=["s2", "s1"])
    paired = [row for row in rows_in(store) if row["has_s1"] and row["has_s2"]]
    assert (len(samples), samples.left_out) == (4, {"without s1": 1})
    same(samples.read(range(4))["image"], np.stack([joined(store, row) for row in paired]))
    same(
        samples.read(range(4))["label"],
        np.stack([hot(r["labels"], samples.classes) for r in paired]),
    )
    assert Samples(store, modalities="s2").left_out == {}
    (lonely,) = (row["patch_id"] for row in rows_in(store) if not row["has_s1"])
    said = refused(
        SelectionEmpty, lambda: Samples(store, modalities=["s2", "s1"], where={"patch_id": lonely})
    )
    assert said == "none of the 1 rows selected has s2 and s1"


def test_negative_indices_count_from_the_end_for_all_fields(opened: Store) -> None:
    samples = Samples(opened, target=["labels", "map"])
    back, ahead = samples.read([-1, -15, -2]), samples.read([14, 0, 13])
    same(back, ahead)


@pytest.mark.parametrize("indices", [[15], [0, -16], [2**40], np.array([3, 99], np.uint8)])
def test_samples_that_are_not_there_are_an_index_error(opened: Store, indices: Any) -> None:
    samples = Samples(opened)
    with pytest.raises(IndexError, match=r"there is no sample -?\d+: there are 15"):
        samples.read(indices)


@pytest.mark.parametrize("indices", [[0.5], ["a"], [True] * 15, [None]])
def test_indices_are_whole_numbers(opened: Store, indices: Any) -> None:
    with pytest.raises(IndexError, match="indices are whole numbers"):
        Samples(opened).read(indices)


def test_a_subset_has_its_samples_in_its_order(store: Store) -> None:
    samples = Samples(store, target=["labels", "map"], modalities=["s2", "s1"])
    some = samples.subset([7, 2, -1, 2])
    same(some.read(range(4)), samples.read([7, 2, 14, 2]))
    same(some.subset([3, 0]).read([0, 1]), samples.read([2, 7]))
    mask = np.arange(15) % 4 == 1
    same(samples.subset(mask).read(range(4)), samples.read([1, 5, 9, 13]))
    assert (len(some), len(samples)) == (4, 15)
    assert some.digest != samples.digest
    assert samples.subset(range(15)).digest == samples.digest
    for wrong in ([], [False] * 15):
        assert "at least one" in refused(SelectionEmpty, lambda wrong=wrong: samples.subset(wrong))
    beyonds: list[Any] = [[15], [True, False], [1.5]]
    for beyond in beyonds:
        with pytest.raises(IndexError):
            samples.subset(beyond)


def test_digests_tell_selections_apart(opened: Store) -> None:
    train, test = Samples(opened, "train"), Samples(opened, "test")
    assert len({samples.digest for samples in (train, test, Samples(opened))}) == 3
    assert train.digest == Samples(opened, "train", bands="rgb").digest
    assert train.digest != Samples(opened, "train", modalities="s1").digest


def test_samples_pickle_and_serve_many_threads(store: Store) -> None:
    samples = Samples(store, modalities=["s2", "s1"], target=["labels", "map"])
    wanted = samples.read(range(15))
    again = pickle.loads(pickle.dumps(samples))  # noqa: S301
    same(again.read(range(15)), wanted)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(again.read, [range(15)] * 8):
            same(found, wanted)


def test_one_label_a_patch_is_an_index(smaller: Any) -> None:
    store = smaller("eurosat")
    for order in ("official", "alphabetical"):
        samples = Samples(store, class_order=order)
        found = samples.read(range(3))["label"]
        rows = rows_in(store)
        same(found, np.array([samples.classes.index(row["label"]) for row in rows]))
        assert samples.read([1, 0])["label"].shape == (2,)


def test_a_mask_without_a_label_names_its_classes(opened: Store) -> None:
    names = opened.manifest.classes["labels"]
    assert Samples(opened, target="map").classes == names
    assert Samples(opened, target="map", class_order="alphabetical").classes == tuple(sorted(names))
    assert Samples(opened, target=None).classes == ()


def test_a_store_without_labels_gives_images_alone(smaller: Any) -> None:
    store = smaller("hydro")
    samples = Samples(store)
    assert (samples.classes, [field.name for field in samples.fields]) == ((), ["image"])
    same(samples.read([1])["image"], store.read(samples.key(1))[None])
    said = refused(OptionError, lambda: Samples(store, target="labels"))
    assert said == "there is no target 'labels'; label columns there: none; maps: none"
    said = refused(SelectionEmpty, lambda: Samples(store, "train"))
    assert said.endswith("none: it was converted without splits")


def test_land_cover_has_classes_of_several_kinds(smaller: Any) -> None:
    store = smaller("sen12ms")
    rows = rows_in(store)
    columns = store.manifest.classes
    assert set(columns) >= {"labels", "label", "fractions", "labels_simplified"}
    for order in ("official", "alphabetical"):
        for column in columns:
            samples = Samples(store, target=column, class_order=order)
            found = samples.read(range(len(rows)))["label"]
            for row, values in zip(rows, found, strict=True):
                want: Any
                if column.startswith("fractions"):
                    parts = dict(zip(columns[column], row[column], strict=True))
                    want = np.array([parts[name] for name in samples.classes], np.float32)
                elif column.startswith("labels"):
                    want = hot(row[column], samples.classes)
                else:
                    want = np.int64(samples.classes.index(row[column]) if row[column] else -100)
                assert np.array_equal(values, want)


@pytest.mark.parametrize("column", [None, "labels_simplified", "labels"])
def test_a_map_of_several_bands_gives_the_classes_of_its_first(smaller: Any, column: Any) -> None:
    store = smaller("sen12ms")
    samples = Samples(store, target="lc", mask_labels=column)
    names = samples.keys(range(len(samples)))
    # Without a word the classes are those of the manifest's target.
    known = column or "labels_simplified"
    assert known == (column or store.manifest.target)
    wanted = [classes_of(store, name.replace("_s2_", "_lc_"), known) for name in names]
    same(samples.read(range(len(names)))["mask"], np.stack(wanted))
    said = refused(OptionError, lambda: Samples(store, target="lc", mask_labels="country"))
    assert "the codes of 'lc' are no classes of 'country'; they are of labels" in said


def test_patches_of_several_sizes_are_refused(smaller: Any) -> None:
    store = smaller("uc-merced", layout="native")
    assert "of one modality and one size" in refused(
        GridsDiffer, lambda: Samples(store).read(range(4))
    )
    one = Samples(store, where={"patch_id": "airplane00"})
    same(one.read([0])["image"], store.read("airplane00")[None])


def test_modalities_of_two_grids_stay_apart(smaller: Any) -> None:
    store = smaller("sen12ms")
    found = Samples(store, modalities=["s1", "s2"], joined=False).read([0])
    assert found["image_s1"].shape[2:] == found["image_s2"].shape[2:] == (256, 256)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (
            {"sample_format": "list"},
            "there is no sample format 'list'; choose tuple, dict or torchgeo",
        ),
        (
            {"class_order": "random"},
            "there is no class order 'random'; choose official or alphabetical",
        ),
        (
            {"class_order": "random", "target": None},
            "there is no class order 'random'; choose official or alphabetical",
        ),
        (
            {"target": "label"},
            "there is no target 'label'; label columns there: labels; maps: map",
        ),
        (
            {"mask_labels": "labels"},
            "mask_labels 'labels' says what a map's codes become: name a map in target, or leave "
            "it out",
        ),
        ({"modalities": []}, "modalities must name at least one"),
        (
            {"target": "map", "ignore_index": None},
            "the ignore index must be a whole number (an int64), not None",
        ),
        (
            {"dtype": "uint8"},
            "uint8 does not hold every value of uint16; choose uint16, uint32, int32, uint64, "
            "int64, float32, float64",
        ),
        (
            {"dtype": "float16", "modalities": "s1"},
            "there is no dtype 'float16' for images; choose float32, float64",
        ),
        (
            {"dtype": "uint16", "modalities": ["s1", "s2"]},
            "uint16 does not hold every value of float32 and uint16; choose float32, float64",
        ),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(opened: Store, choice: Any, said: str) -> None:
    assert refused(OptionError, lambda: Samples(opened, **choice)) == said


@pytest.mark.parametrize(
    "dtype", ["float", "object", "U5", "m8", ">f4", "bool", "complex64", "xyz", 3]
)
def test_no_dtype_ends_in_a_traceback(opened: Store, dtype: Any) -> None:
    if dtype == "float":
        assert Samples(opened, dtype=dtype).fields[0].dtype == np.float64
    else:
        assert f"{dtype!r}" in refused(OptionError, lambda: Samples(opened, dtype=dtype))


def test_keys_are_the_patches_in_whatever_order_modalities_are_asked_for(opened: Store) -> None:
    for names in (["s2", "s1"], ["s1", "s2"]):
        for joined in (True, False):
            samples = Samples(opened, modalities=names, joined=joined, target=None, with_key=True)
            rows = opened.table(modality="s1").to_pylist()
            assert samples[0][-1] == samples.key(0) == rows[0]["patch_id"]
            assert samples.subset([3, 1]).keys() == [rows[3]["patch_id"], rows[1]["patch_id"]]
    alone = Samples(opened, modalities=["s1"], target=None, with_key=True)
    assert alone.key(0) == rows[0]["s1_name"]
