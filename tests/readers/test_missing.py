"""Missing modalities, filled in: zeros and `present` in samples and batches of every kind."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import PatchLoader, Store, open_store
from patchpress.readers.errors import OptionError, SamplesLeftOut, SelectionEmpty
from patchpress.readers.samples import Samples
from tests.support.helpers import made
from tests.support.loading import classes_of, hot, made_up_statistics, refused, rows_in, same
from tests.support.synthetic import make_tree

# One of ten rows has no image at all, which is more than a warning takes.
pytestmark = pytest.mark.filterwarnings("ignore::patchpress.readers.errors.SamplesLeftOut")
BOTH: dict[str, Any] = {"modalities": ["s1", "s2"], "missing": "zeros"}


@pytest.fixture(scope="module", params=["stacked", "native"])
def gaps(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 10 patches: two without Sentinel-1, two without a map, two without Sentinel-2.

    One of them has Sentinel-1 and no more, one has the map and no more. Never write into it.
    """
    root = tmp_path_factory.mktemp("gaps")
    rows = sorted(make_tree(root / "raw", n=10, flagged=0), key=lambda row: row["patch_id"])
    gone = {
        "BigEarthNet-S1": [rows[1]["s1_name"], rows[4]["s1_name"], rows[8]["s1_name"]],
        "BigEarthNet-S2": [rows[7]["patch_id"], rows[8]["patch_id"]],
        "Reference_Maps": [rows[k]["patch_id"] for k in (2, 4, 7)],
    }
    for folder, names in gone.items():
        for name in names:
            (found,) = (root / "raw" / folder).glob(f"*/{name}")
            shutil.rmtree(found) if found.is_dir() else found.unlink()
    made(root / "raw", root / "store", layout=request.param)
    return root / "store"


@pytest.fixture
def opened(gaps: Path) -> Store:
    return open_store(gaps)


def image_of(store: Store, row: dict[str, Any], bands: Any = None) -> Any:
    """Sentinel-1 over Sentinel-2 of a row, float32, zeros for what it lacks."""
    image = np.zeros((14, 120, 120), np.float32)
    if row["has_s1"]:
        image[:2] = store.read(row["s1_name"])
    if row["has_s2"]:
        image[2:] = store.read(row["patch_id"])
    return image


def mask_of(store: Store, row: dict[str, Any], ignored: int) -> Any:
    if row["has_map"]:
        return classes_of(store, row["patch_id"] + "_reference_map", ignored=ignored)
    return np.full((120, 120), ignored, np.int64)


def kept(store: Store) -> list[dict[str, Any]]:
    return [row for row in rows_in(store) if row["has_s1"] or row["has_s2"]]


def test_what_a_sample_lacks_is_zeros_and_is_told(opened: Store) -> None:
    samples = Samples(opened, **BOTH, target=("labels", "map"), ignore_index=255, with_key=True)
    rows = kept(opened)
    assert (len(samples), len(rows_in(opened))) == (9, 10)
    assert samples.left_out == {"without s1 or s2": 1}
    assert samples.lacking == {"s1": 2, "s2": 1, "map": 3}
    assert samples.summary().endswith(
        "left out: 1 without s1 or s2; filled in: s1 of 2 with 0, s2 of 1 with 0, map of 3 with 255"
    )
    assert samples.modalities == ("s1", "s2", "map")
    here = np.array([[row["has_s1"], row["has_s2"], row["has_map"]] for row in rows])
    same(samples.present, here)
    order = [8, 0, 4, 7, 1, 2, 3, 6, 5, 4]
    image, label, mask, present, keys = samples[order]
    chosen = [rows[k] for k in order]
    same(image, np.stack([image_of(opened, row) for row in chosen]))
    same(label, np.stack([hot(row["labels"], samples.classes) for row in chosen]))
    same(mask, np.stack([mask_of(opened, row, 255) for row in chosen]))
    same(present, here[order])
    assert keys == [row["patch_id"] if row["has_s2"] else row["s1_name"] for row in chosen]
    for number in (1, 4, 7):
        same(samples[number], tuple(part[order.index(number)] for part in samples[order]))


def test_a_modality_is_read_in_parts_of_any_pattern(opened: Store) -> None:
    """Whatever stands first and last, and if a batch has none at all."""
    samples = Samples(opened, **BOTH, joined=False, target=None)
    rows = kept(opened)
    lacks = [k for k, row in enumerate(rows) if not row["has_s1"]]
    has = [k for k, row in enumerate(rows) if row["has_s1"]]
    for order in (lacks, has, [*lacks, *has], [*has, *lacks], [has[0], lacks[0], has[1], lacks[1]]):
        images, present = samples[order]
        wanted = np.stack([image_of(opened, rows[k])[:2] for k in order])
        same(images["s1"], wanted)
        same(present[:, 0], np.array([rows[k]["has_s1"] for k in order]))


def test_by_default_such_rows_are_left_out(opened: Store) -> None:
    with pytest.warns(SamplesLeftOut):
        samples = Samples(opened, modalities=["s1", "s2"])
    assert samples.left_out == {"without s1": 3, "without s2": 1}
    assert samples.lacking == {}
    assert samples.present.all()
    assert samples.present.shape == (6, 2)
    assert [field.name for field in samples.fields] == ["image", "label"]


def test_without_gaps_only_present_is_new(stacked: Path) -> None:
    plain, filled = Samples(stacked, modalities=["s1", "s2"]), Samples(stacked, **BOTH)
    assert filled.lacking == {}
    assert filled.digest == plain.digest
    image, label, present = filled[:]
    same((image, label), plain[:])
    same(present, np.ones((15, 2), bool))


def test_subsets_pickles_and_formats(opened: Store) -> None:
    samples = Samples(opened, **BOTH, sample_format="dict", columns=["country"], with_key=True)
    again = pickle.loads(pickle.dumps(samples.subset([7, 1, 0])))  # noqa: S301
    assert again.lacking == {"s1": 1, "s2": 1}
    assert list(again[0]) == ["image", "label", "present", "key", "country"]
    same({**again[:]}, {**samples[[7, 1, 0]]})
    none = samples.subset([7])  # has no Sentinel-2 at all
    same(none[0]["image"][2:], np.zeros((12, 120, 120), np.float32))
    with pytest.raises(OptionError, match="columns"):
        Samples(opened, **BOTH, columns=["present"])


def test_normalised_samples_are_zeros_too(opened: Store) -> None:
    statistics = {name: made_up_statistics(opened, name) for name in ("s1", "s2")}
    samples = Samples(opened, **BOTH)
    image, _, present = samples.normalized(statistics)[:]
    for number, channels in enumerate((slice(0, 2), slice(2, 14))):
        assert not image[~present[:, number], channels].any()
    both = present.all(axis=1)
    where = Samples(opened, modalities=["s1", "s2"]).normalized(statistics)
    same(image[both], where[:][0])


@pytest.mark.parametrize("output", ["numpy", "torch"])
def test_loaders_give_present_with_each_batch(gaps: Path, output: str) -> None:
    if output == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    loader = PatchLoader(
        gaps, batch_size=4, shuffle=True, seed=3, output=output, with_key=True, **BOTH
    )
    samples, seen = loader.samples, []
    for image, label, present, keys in loader:
        order = [samples.keys().index(key) for key in keys]
        same((image, label, present, keys), samples[order])
        seen += keys
    assert sorted(seen) == sorted(samples.keys())
    assert "present" in repr(loader)


def test_a_modality_that_no_sample_has_is_warned_of(opened: Store) -> None:
    where: dict[str, Any] = {"has_s1": False}
    with pytest.warns(SamplesLeftOut, match="none of the 2 samples has s1: all its pixels are"):
        samples = Samples(opened, where=where, **BOTH)
    assert not samples[:][0][:, :2].any()
    same(samples[:][0][:, 2:], Samples(opened, where=where, dtype="float32")[:][0])


def test_a_map_as_an_image_needs_a_code(opened: Store) -> None:
    ask: dict[str, Any] = {
        "modalities": ["s2", "map"],
        "missing": "zeros",
        "joined": False,
        "target": None,
    }
    sentence = refused(OptionError, lambda: Samples(opened, **ask))
    assert sentence.startswith("0 may be a class of 'map': say what each pixel")
    images, present = Samples(opened, **ask, missing_code=65535)[:]
    assert (images["map"][~present[:, 1]] == 65535).all()
    assert images["map"].dtype == np.uint16
    for code in (65536, -1, 2.5, "999", True):
        sentence = refused(OptionError, lambda c=code: Samples(opened, **ask, missing_code=c))
        assert "must be a whole number that uint16 holds" in sentence


def test_what_has_no_meaning_is_refused(opened: Store) -> None:
    for missing in ("zero", None, 0, ["zeros"]):
        sentence = refused(OptionError, lambda m=missing: Samples(opened, missing=m))
        assert sentence == f"missing must be 'leave-out' or 'zeros', not {missing!r}"
    sentence = refused(OptionError, lambda: Samples(opened, missing_code=3))
    assert sentence.startswith("missing_code 3 is for maps that are read as images")
    sentence = refused(SelectionEmpty, lambda: Samples(opened, where={"has_map": True}, **BOTH,
                                                       flagged="only"))  # fmt: skip
    assert "is flagged" in sentence
    only_a_map = [row["patch_id"] for row in rows_in(opened) if row["has_map"] > row["has_s2"]]
    sentence = refused(
        SelectionEmpty, lambda: Samples(opened, where={"patch_id": only_a_map}, **BOTH)
    )
    assert sentence == "none of the 1 rows selected has s1 or s2"
