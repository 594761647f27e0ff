"""Modalities without a common row, paired by a column: SSL4EO-S12's places, Major TOM's cells."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from patchpress import PatchLoader, Samples, convert, open_store
from patchpress.readers.errors import OptionError, SamplesLeftOut, SelectionEmpty
from patchpress.readers.store import Store
from tests.support.dated import DATES, FOLDERS, described, write_optical, write_radar

OPTICAL = {"elm1": DATES[:2], "elm2": DATES[:1], "oak1": DATES[1:4], "oak2": DATES[:1]}
RADAR = {"elm1": DATES[:1], "oak1": DATES[:2], "oak3": DATES[:1]}
# A row a product, as `ssl4eo-s12` has it.
PRODUCTS = (
    FOLDERS.replace('name = "{place}"\nrgb', 'name = "{place}_{scene}"\nrgb')
    .replace('columns = { site = "{site}", scenes = "{scene}" }', 'columns = { place = "{place}" }')
    .replace('time = { steps = 4, date = "{date}", format = "%Y%m%d" }\n', "")
    .replace('name = "{place}"\nbands', 'name = "{place}_{date}"\nalone = true\nbands')
    .replace(
        'time = { steps = 3, date = "{date}", format = "%Y%m%d" }',
        'columns = { place = "{place}" }',
    )
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    root: Path = tmp_path_factory.mktemp("pairs")
    write_optical(root / "tree", OPTICAL)
    write_radar(root / "tree", RADAR)
    convert(described(root / "tree", PRODUCTS), root / "tree", root / "store", workers=0)
    return open_store(root / "store")


def paired(store: Store, **choice: object) -> Samples:
    with pytest.warns(SamplesLeftOut) as told:
        found = Samples(store, modalities=("optical", "radar"), target=None, pair_by="place",
                        joined=False, **choice)  # type: ignore[arg-type] # fmt: skip
    first = "of several with one place the first is taken, and not: 3 of optical, 1 of radar"
    assert str(told[0].message) == first
    return found


def test_a_place_is_a_sample_of_the_first_product_of_each(store: Store) -> None:
    samples = paired(store, columns="place")
    assert len(samples) == 2
    assert samples.left_out == {"without optical": 1, "without radar": 2}
    assert "paired by place" in samples.summary()
    image, columns = samples[:]
    assert columns["place"] == ["elm1", "oak1"]
    first = {place: min(key for key in store.keys("optical") if place in key)
             for place in ("elm1", "oak1")}  # fmt: skip
    np.testing.assert_array_equal(image["optical"], store.read_batch(list(first.values())))
    np.testing.assert_array_equal(image["radar"][1], store.read("r_oak1_20200105"))
    assert samples.keys() == list(first.values())
    again = pickle.loads(pickle.dumps(samples))  # noqa: S301
    np.testing.assert_array_equal(again[1][0]["radar"], image["radar"][1])
    np.testing.assert_array_equal(samples.subset([1])[0][0]["radar"], image["radar"][1])


def test_what_a_place_lacks_may_be_zeros(store: Store) -> None:
    samples = paired(store, missing="zeros", sample_format="dict", columns="place")
    batch = samples[:]
    assert batch["place"] == ["elm1", "elm2", "oak1", "oak2", "oak3"]
    assert batch["present"].T.tolist() == [[True] * 4 + [False], [True, False, True, False, True]]
    assert not batch["image_radar"][1].any()
    np.testing.assert_array_equal(batch["image_radar"][4], store.read("r_oak3_20200105"))


def test_loaders_take_it(store: Store) -> None:
    with pytest.warns(SamplesLeftOut):
        loader = PatchLoader(store, modalities=("radar", "optical"), target=None, pair_by="place",
                             output="numpy", batch_size=2)  # fmt: skip
    (batch,) = list(loader)
    assert batch.shape == (2, 5, 16, 16)
    np.testing.assert_array_equal(batch[0, :2], store.read("r_elm1_20200105"))


def test_rows_that_do_not_pair_are_one_sentence_with_the_way_out(store: Store) -> None:
    both = {"modalities": ("optical", "radar"), "target": None}
    with pytest.raises(
        SelectionEmpty, match=r"has optical and radar; .* joined by pair_by='place'$"
    ):
        Samples(store, **both)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"pair_by='plac': .* no such column; nearest is 'place'"):
        Samples(store, **both, pair_by="plac")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="and optical is alone: name more in modalities"):
        Samples(store, modalities="optical", target=None, pair_by="place")
    with pytest.raises(SelectionEmpty, match=r"rows selected has optical and radar"):
        Samples(store, **both, pair_by="patch_id")  # type: ignore[arg-type]
