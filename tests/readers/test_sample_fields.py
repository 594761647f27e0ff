"""Samples have what was asked for: rows without a label are none, columns and dtypes come along."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from patchpress import Store, convert, open_store
from patchpress.converter.descriptions.parse import find_description
from patchpress.readers.columns import read_columns
from patchpress.readers.errors import OptionError, SamplesLeftOut, SelectionEmpty
from patchpress.readers.loader import PatchLoader
from patchpress.readers.samples import Samples
from tests.support.helpers import made
from tests.support.loading import hot, refused, rows_in, same
from tests.support.older_sets import make_v1
from tests.support.synthetic import TABLE, Row


@pytest.fixture
def opened(stacked: Path) -> Store:
    return open_store(stacked)


@pytest.fixture(scope="module")
def half_labelled(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose table has rows for 12 of the 15 patches: the flagged ones have no label."""
    root = tmp_path_factory.mktemp("half")
    table = root / "table.parquet"
    pq.write_table(pq.read_table(tree / TABLE), table)
    paths = {"metadata": table, "flagged": without_rows(root, tree)}
    made(tree, root / "store", modalities=("s2", "map"), paths=paths)
    return root / "store"


def without_rows(root: Path, tree: Path) -> Path:
    empty = root / "empty.parquet"
    pq.write_table(pq.read_table(tree / TABLE).slice(0, 0), empty)
    return empty


def test_a_patch_without_labels_is_no_sample(half_labelled: Path) -> None:
    store = open_store(half_labelled)
    rows = rows_in(store)
    labelled = [row for row in rows if row["labels"] is not None]
    assert (len(rows), len(labelled)) == (15, 12)
    with pytest.warns(SamplesLeftOut) as warned:
        samples = Samples(store)
    assert [str(one.message) for one in warned] == [
        "3 of 15 rows are left out (3 without labels): 12 samples remain"
    ]
    assert warned[0].filename == __file__  # the line that asked, whatever is between
    assert samples.left_out == {"without labels": 3}
    assert samples.keys() == [row["patch_id"] for row in labelled]
    same(samples.labels, np.stack([hot(row["labels"], samples.classes) for row in labelled]))
    assert samples.labels.any(axis=1).all()  # not one of them is all zeros
    assert "12 samples of bigearthnet-v2, all splits; left out: 3 without labels" in repr(samples)
    with pytest.warns(SamplesLeftOut) as warned:
        PatchLoader(store, output="numpy")
    assert warned[0].filename == __file__
    # Without labels asked for, and within a split, nothing is missing.
    assert Samples(store, target=None).left_out == {}
    assert Samples(store, "train").left_out == {}


def test_no_label_at_all_is_an_error(half_labelled: Path) -> None:
    store = open_store(half_labelled)
    gone = pc.is_null(pc.field("labels"))
    said = refused(SelectionEmpty, lambda: Samples(store, where=gone))
    assert said == (
        "none of the 3 rows selected has labels in column 'labels': convert with the table that "
        "has them, name another target, or give target=None"
    )
    assert len(Samples(store, where=gone, target="map")) == 3


def test_few_that_are_left_out_are_counted_without_a_warning(opened: Store) -> None:
    samples = Samples(opened, "train", target=["labels", "map"], modalities=["s2", "s1"])
    assert samples.left_out == {"flagged": 2}  # not asked for: no reason to warn


def test_the_report_says_how_many_rows_have_labels(half_labelled: Path, tree: Path) -> None:
    names = {"metadata": "table", "flagged": "empty"}
    paths = {name: half_labelled.with_name(f"{file}.parquet") for name, file in names.items()}
    again = half_labelled.with_name("again")
    report = made(tree, again, modalities=("s2", "map"), paths=paths)
    assert "  labels             labels: from the tables, 12 of 15 rows\n" in report.text()


def test_the_default_target_is_what_the_field_trains_on(
    made_tree: tuple[Path, list[Row]], tmp_path: Path
) -> None:
    """On v1 the 19 classes, though the table has the 43 first."""
    tree, rows = made_tree
    source = make_v1(tmp_path / "v1", tree, rows)
    convert("bigearthnet-v1", source, tmp_path / "store", workers=0)
    store = open_store(tmp_path / "store")
    assert (list(store.manifest.classes), store.manifest.target) == (
        ["labels_43", "labels"],
        "labels",
    )
    assert len(Samples(store).classes) == 19
    assert len(Samples(store, target="labels_43").classes) == 43
    for name, target in {"bigearthnet-v2": "labels", "sen12ms": "labels_simplified",
                         "eurosat": "label", "hydro": None}.items():  # fmt: skip
        assert find_description(name).target == target


def test_names_that_are_not_there_are_an_error(opened: Store) -> None:
    names = [row["patch_id"] for row in rows_in(opened)]
    typo = names[3][:-1] + "x"
    said = refused(OptionError, lambda: Samples(opened, where={"patch_id": [names[0], typo]}))
    assert said == f"no patch has {typo!r} in column 'patch_id'; nearest is {names[3]!r}"
    said = refused(OptionError, lambda: Samples(opened, where={"patch_id": ["a", "b", names[0]]}))
    assert said == "no patch has 'a' in column 'patch_id' (2 such names)"
    said = refused(OptionError, lambda: Samples(opened, where={"s1_name": "typo"}))
    assert "'typo' in column 's1_name'" in said
    twice = [names[1], names[0], names[1]]
    said = refused(OptionError, lambda: Samples(opened, where={"patch_id": twice}))
    assert said == f"patch_id {names[1]!r} is asked for twice: a sample is there once"


def test_a_name_of_another_split_is_an_error(opened: Store) -> None:
    test = rows_in(opened, "test")[0]["patch_id"]
    train = rows_in(opened, "train")[0]["patch_id"]
    where = {"patch_id": [train, test]}
    said = refused(OptionError, lambda: Samples(opened, "train", where=where))
    assert said == f"patch_id {test!r} is not in split 'train': name its split, or none"
    assert Samples(opened, ["train", "test"], where=where).keys() == [train, test]


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_a_list_of_names_is_kept(store: Store, seed: int) -> None:
    rows = rows_in(store)
    order = np.random.default_rng(seed).permutation(len(rows))[:9]
    wanted = [rows[k]["patch_id"] for k in order]
    samples = Samples(store, where={"patch_id": wanted}, target=["labels", "map"])
    assert samples.keys() == wanted
    np.testing.assert_array_equal(samples.row_numbers, order)
    found = samples.read(range(9))
    same(found["image"], np.stack([store.read(key) for key in wanted]))
    same(found["label"], np.stack([hot(rows[k]["labels"], samples.classes) for k in order]))
    radar = [rows[k]["s1_name"] for k in order]
    assert Samples(store, where={"s1_name": radar}, modalities="s1").keys() == radar
    kept = [name for name, k in zip(wanted, order, strict=True) if rows[k]["country"] == "Serbia"]
    both = {"patch_id": np.array(wanted), "country": "Serbia"}
    if kept:
        assert Samples(store, where=both).keys() == kept


def test_columns_of_the_table_come_along(store: Store) -> None:
    asked = ["country", "bounds", "epsg", "contains_seasonal_snow", "labels"]
    samples = Samples(store, columns=asked, sample_format="dict", with_key=True)
    rows = rows_in(store)
    order = [3, 0, 14, 3]
    batch = samples[order]
    assert list(batch) == ["image", "label", "bounds", "epsg", "contains_seasonal_snow",
                           "key", "country", "labels"]  # fmt: skip
    sides = ("left", "bottom", "right", "top")
    same(batch["bounds"], np.array([[rows[k][side] for side in sides] for k in order]))
    same(batch["epsg"], np.array([rows[k]["epsg"] for k in order], np.int64))
    same(batch["contains_seasonal_snow"], np.array([rows[k][asked[3]] for k in order]))
    for name in ("country", "labels"):
        assert batch[name] == [rows[k][name] for k in order]
    assert batch["key"] == [rows[k]["patch_id"] for k in order]
    one = samples[-1]
    assert (one["country"], one["epsg"]) == (rows[-1]["country"], rows[-1]["epsg"])
    some = pickle.loads(pickle.dumps(samples.subset([5, 2])))  # noqa: S301
    assert some[:2]["country"] == [rows[5]["country"], rows[2]["country"]]
    same(some[:2]["bounds"], samples[[5, 2]]["bounds"])


def test_columns_of_a_tuple_are_a_dict_at_its_end(opened: Store) -> None:
    image, label, key, columns = Samples(opened, with_key=True, columns=("country", "epsg"))[4]
    row = rows_in(opened)[4]
    assert (image.shape, label.shape, key) == ((12, 120, 120), (19,), row["patch_id"])
    assert columns == {"epsg": row["epsg"], "country": row["country"]}
    (batch,) = PatchLoader(opened, output="numpy", columns="country", target=None)
    assert batch[1] == {"country": [row["country"] for row in rows_in(opened)]}


def test_columns_that_cannot_be(opened: Store) -> None:
    said = refused(OptionError, lambda: Samples(opened, columns="county"))
    assert said == "the table has no column 'county'; nearest is 'country'"
    said = refused(OptionError, lambda: Samples(opened, columns=["label"]))
    assert said.startswith("column 'label' cannot be in a sample")


def test_text_with_nulls_stays_so_in_samples(half_labelled: Path) -> None:
    store = open_store(half_labelled)
    samples = Samples(store, target=None, columns=["contains_seasonal_snow", "country"])
    # No publisher flagged the patches that no table has.
    snow = [bool(row["contains_seasonal_snow"]) for row in rows_in(store)]
    same(samples[:][1]["contains_seasonal_snow"], np.array(snow))
    assert None in samples[:][1]["country"]
    assert samples[:][1]["country"] == [row["country"] for row in rows_in(store)]


def test_numbers_with_nulls_become_floats() -> None:
    table = pa.table({"flag": [True, None, False], "count": [3, None, 5]})
    flag, count = read_columns(table, ["flag", "count"], ())[0]
    same(flag.values, np.array([1, np.nan, 0]))
    same(count.values, np.array([3, np.nan, 5]))


@pytest.mark.parametrize("dtype", ["int64", np.int64, "float64", "uint8", bool, np.dtype("i4")])
def test_labels_have_the_dtype_asked_for(opened: Store, dtype: Any) -> None:
    samples = Samples(opened, label_dtype=dtype)
    wanted = np.stack([hot(row["labels"], samples.classes) for row in rows_in(opened)])
    same(samples.labels, wanted.astype(dtype))
    same(samples.read([3, 1])["label"], wanted[[3, 1]].astype(dtype))


@pytest.mark.parametrize("dtype", ["str", "object", "datetime64[s]", "xyz", 3, "complex64"])
def test_a_dtype_that_holds_no_labels_is_refused(opened: Store, dtype: Any) -> None:
    said = refused(OptionError, lambda: Samples(opened, label_dtype=dtype))
    assert said == f"label_dtype {dtype!r} does not hold these labels: leave it out"


def test_dtypes_of_torch_are_understood(opened: Store) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    samples = Samples(opened, dtype=torch.float32, label_dtype=torch.int64)
    assert [str(field.dtype) for field in samples.fields] == ["float32", "int64"]
    (batch,) = PatchLoader(opened, batch_size=15, dtype=torch.float64, label_dtype=torch.bool)
    assert [tensor.dtype for tensor in batch] == [torch.float64, torch.bool]
    said = refused(OptionError, lambda: Samples(opened, dtype=torch.uint8))
    assert said.startswith("torch.uint8 does not hold every value of uint16; choose uint16")
    said = refused(OptionError, lambda: Samples(opened, dtype=torch.bfloat16))
    assert said.startswith("there is no dtype torch.bfloat16 for images; choose")


def test_the_torchgeo_format_is_what_torchgeo_gives(opened: Store) -> None:
    """Names, shapes and dtypes of torchgeo 0.8.1: `BigEarthNetV2`, and batches for its tasks."""
    samples = Samples(opened, target=["labels", "map"], sample_format="torchgeo")
    one, batch = samples[3], samples[[3, 4]]
    assert {name: (a.dtype.name, a.shape) for name, a in one.items()} == {
        "image": ("float32", (12, 120, 120)),
        "label": ("int64", (19,)),
        "mask": ("int64", (1, 120, 120)),
    }
    assert {name: a.shape for name, a in batch.items()} == {
        "image": (2, 12, 120, 120), "label": (2, 19), "mask": (2, 120, 120),
    }  # fmt: skip
    plain = Samples(opened, target=["labels", "map"])[3]
    same(one["image"], plain[0].astype(np.float32))
    same(one["label"], plain[1].astype(np.int64))
    same(one["mask"], plain[2][None])
    apart = Samples(opened, modalities=["s1", "s2"], joined=False, sample_format="torchgeo")
    assert list(apart[0]) == ["image_s1", "image_s2", "label"]
    kept = Samples(opened, sample_format="torchgeo", label_dtype="float32", dtype="uint16")[0]
    assert [array.dtype.name for array in kept.values()] == ["uint16", "float32"]


@pytest.mark.parametrize("asking", ["Samples", "PatchLoader", "PatchDataset"])
def test_an_unknown_keyword_names_the_class_and_the_nearest(opened: Store, asking: str) -> None:
    if asking == "PatchDataset":
        pytest.importorskip("torch", reason="torch is not installed")
    import patchpress

    kind = getattr(patchpress, asking)
    options = {"output": "numpy"} if asking == "PatchLoader" else {}  # which needs no torch
    said = refused(OptionError, lambda: kind(opened, bandz="rgb", **options))
    assert said == f"unknown keyword 'bandz' for {asking}; nearest is 'bands'"
    own = {"PatchLoader": ("shufle", "shuffle"), "PatchDataset": ("transfrom", "transform")}
    typo, right = own.get(asking, ("flaged", "flagged"))
    said = refused(OptionError, lambda: kind(opened, **{typo: True}, **options))
    assert said == f"unknown keyword {typo!r} for {asking}; nearest is {right!r}"
    # Old names are not kept.
    assert "unknown keyword 'form'" in refused(
        OptionError, lambda: kind(opened, form="dict", **options)
    )


def test_samples_are_indexed_as_a_sequence(opened: Store) -> None:
    samples = Samples(opened)
    same(samples[3], tuple(array[0] for array in samples.read([3]).values()))
    same(samples[np.int64(-1)], samples[14])
    same(samples[[3, 1, 2]], tuple(samples.read([3, 1, 2]).values()))
    same(samples[2:9:3], samples[[2, 5, 8]])
    with pytest.raises(IndexError, match="there is no sample 15: there are 15"):
        samples[15]
    assert len(list(samples)) == 15


def test_labels_are_there_without_a_pixel(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = Samples(opened)
    monkeypatch.setattr(Samples, "read", None)
    assert samples.labels.shape == (15, 19)
    with pytest.raises(ValueError, match="read-only"):
        samples.labels[0] = 1
    said = refused(OptionError, lambda: Samples(opened, target="map").labels)
    assert said == (
        "these samples have no label, so there are no labels: name a label column in target "
        "(there: labels)"
    )


def test_a_path_may_be_anything_that_is_one(stacked: Path) -> None:
    assert len(Samples(stacked)) == len(Samples(str(stacked))) == 15
