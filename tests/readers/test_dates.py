"""Reading records with a time axis: stores, views, loaders and data sets, with masks and dates."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from patchpress import PatchLoader, Samples, convert, normalize, open_store, stats
from patchpress.readers.errors import BandMissing, BufferUnfit, OptionError, SamplesLeftOut
from patchpress.readers.format.time_axis import UNDATED
from patchpress.readers.store import Store
from tests.support.dated import DATES, described, stacked, write_optical, write_radar
from tests.support.helpers import Array

PLACES = {"elm1": DATES, "elm2": DATES[:2], "oak1": DATES[1:4], "oak2": DATES[:3]}
SEEN = {"elm1": DATES[:3], "oak1": DATES[:1], "oak2": DATES[:2]}
Pixels = dict[str, dict[str, Array]]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pixels, dict[str, Array]]:
    root = tmp_path_factory.mktemp("dated") / "tree"
    return root, write_optical(root, PLACES), write_radar(root, SEEN)


@pytest.fixture(
    scope="module",
    params=["stacked none", "native none", "native blosc2", "stacked zstd", "native shards"],
)
def store(
    request: pytest.FixtureRequest,
    tree: tuple[Path, Pixels, dict[str, Array]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Store:
    layout, how = request.param.split()
    options = {"shards": 2} if how == "shards" else {"compression": how}
    path = tmp_path_factory.mktemp("store") / "store"
    convert(described(tree[0]), tree[0], path, layout=layout, workers=0, **options)
    return open_store(path)


@pytest.fixture
def optical(tree: tuple[Path, Pixels, dict[str, Array]]) -> Array:
    """(places, 4, 3, 16, 16), zeros for dates that are not there."""
    whole = np.zeros((len(PLACES), 4, 3, 16, 16), np.uint16)
    for number, bands in enumerate(tree[1].values()):
        found = stacked(bands)
        whole[number, : len(found)] = found
    return whole


def test_batches_have_a_dimension_more(store: Store, optical: Array) -> None:
    keys = store.keys("optical")
    np.testing.assert_array_equal(store.read_batch(keys), optical)
    out = np.empty((2, 4, 1, 16, 16), np.uint16)
    store.read_batch(keys[2:], bands=["B1"], out=out)
    np.testing.assert_array_equal(out, optical[2:, :, :1])
    order = ["B3", "B1"]
    np.testing.assert_array_equal(store.read_batch(keys, bands=order), optical[:, :, [2, 0]])
    np.testing.assert_array_equal(store.read(keys[1], bands="rgb"), optical[1][:, [2, 1, 0]])
    np.testing.assert_array_equal(store.read(keys[1], bands="30m"), optical[1][:, [1, 2]])
    with pytest.raises(BufferUnfit, match=r"need uint16 \(4, 4, 3, 16, 16\)"):
        store.read_batch(keys, out=np.empty((4, 3, 16, 16), np.uint16))
    with pytest.raises(BandMissing, match="B9"):
        store.read(keys[0], bands=["B9"])


@pytest.mark.parametrize("mode", ["map", "direct", "auto"])
def test_every_way_of_reading_gives_the_same(store: Store, optical: Array, mode: str) -> None:
    keys = store.keys("optical")
    opened = open_store(store.path, mode=mode, checksums=mode == "auto")
    for bands, chosen in ((None, [0, 1, 2]), (["B1"], [0]), (["B2"], [1]), (["B1", "B3"], [0, 2])):
        records = pickle.loads(pickle.dumps(opened.records(keys, bands)))  # noqa: S301
        assert records.shape == (4, len(chosen), 16, 16)
        np.testing.assert_array_equal(records.read([3, 0, 2]), optical[[3, 0, 2]][:, :, chosen])


def test_bands_by_name_have_the_dates_first(store: Store, optical: Array) -> None:
    found = store.read_bands("o_oak1")
    native = store.manifest.modalities["optical"].layout == "native"
    assert found["B1"].shape == ((4, 8, 8) if native else (4, 16, 16))
    step = 2 if native else 1
    np.testing.assert_array_equal(found["B1"], optical[2, :, 0, ::step, ::step])
    np.testing.assert_array_equal(found["B3"], optical[2, :, 2])
    if store.manifest.modalities["optical"].compression.codec == "none":
        np.testing.assert_array_equal(store.view("o_oak1", "B3"), optical[2, :, 2])
        if not native:
            np.testing.assert_array_equal(store.view("o_oak1"), optical[2])


def test_loaders_give_masks_and_dates_under_their_names(store: Store, optical: Array) -> None:
    loader = PatchLoader(store, batch_size=3, target=None, output="numpy", sample_format="dict")
    first = next(iter(loader))
    np.testing.assert_array_equal(first["image"], optical[:3])
    present = [[True] * 4, [True, True, False, False], [True, True, True, False]]
    assert first["optical_present"].tolist() == present
    assert first["optical_dates"].shape == (3, 4)
    dates = first["optical_dates"].view("datetime64[s]").astype("datetime64[D]").astype(str)
    assert dates[1].tolist() == ["2020-01-05", "2020-04-03", "NaT", "NaT"]
    assert (first["optical_dates"] == UNDATED).tolist() == (~first["optical_present"]).tolist()


def test_tuples_have_them_if_they_are_asked_for(store: Store, optical: Array) -> None:
    samples = Samples(
        store, columns=("optical_present", "optical_steps", "site"), target=None, with_key=True
    )
    image, key, columns = samples[1]
    np.testing.assert_array_equal(image, optical[1])
    assert (key, columns["optical_steps"], columns["site"]) == ("o_elm2", 2, "elm")
    assert columns["optical_present"].tolist() == [True, True, False, False]
    assert "4 dates; 3 of 4 samples have fewer: optical_present tells" in repr(samples)
    assert "4 dates; 1 of 2 samples have fewer" in repr(samples.subset([0, 1]))
    assert "have fewer" not in repr(samples.subset([0]))
    assert Samples(store, target=None)[1].shape == (4, 3, 16, 16)
    with pytest.raises(OptionError, match="optical_presence"):
        Samples(store, columns="optical_presence", target=None)


def test_modalities_of_other_numbers_of_dates_are_apart(
    store: Store, tree: tuple[Path, Pixels, dict[str, Array]], optical: Array
) -> None:
    with pytest.raises(OptionError, match=r"numbers of dates \(optical 4, radar 3\).*joined=False"):
        Samples(store, modalities=("optical", "radar"), target=None)
    with pytest.warns(SamplesLeftOut, match="1 without radar"):
        samples = Samples(store, modalities=("radar", "optical"), joined=False, target=None,
                          sample_format="dict")  # fmt: skip
    assert len(samples) == 3  # places that both have seen
    batch = samples[:]
    np.testing.assert_array_equal(batch["image_optical"], optical[[0, 2, 3]])
    np.testing.assert_array_equal(batch["image_radar"][1, :1], tree[2]["oak1"])
    assert batch["radar_present"].tolist() == [
        [True] * 3,
        [True, False, False],
        [True, True, False],
    ]


def test_statistics_normalise_each_date(store: Store, optical: Array, tmp_path: Path) -> None:
    (statistics,) = stats(store.path, modalities="optical", workers=0, out=tmp_path / "s.json")
    batch = store.read_batch(store.keys("optical"))
    mean = np.array([band.mean for band in statistics.bands], np.float32)[:, None, None]
    std = np.array([band.std for band in statistics.bands], np.float32)[:, None, None]
    expected = (optical.astype(np.float32) - mean) / std
    np.testing.assert_allclose(normalize(batch, statistics), expected, rtol=1e-5, atol=1e-5)
    samples = Samples(store, target=None).normalized(statistics)
    np.testing.assert_array_equal(samples[:], normalize(batch, statistics))
    one = Samples(store, target=None, bands=["B2"]).normalized(statistics)
    np.testing.assert_array_equal(one[:], normalize(batch, statistics)[:, :, 1:2])
    with pytest.raises(BufferUnfit, match=r"\(N, 3, H, W\)"):
        normalize(batch[:, :, :2], statistics)


def test_torch_data_sets_have_the_same(store: Store, optical: Array) -> None:
    torch = pytest.importorskip("torch")
    from patchpress import PatchDataset

    data = PatchDataset(store, target=None, sample_format="dict")
    sample = data[1]
    assert sample["image"].shape == (4, 3, 16, 16)
    assert sample["optical_present"].tolist() == [True, True, False, False]
    batch = data.collate(data.__getitems__([0, 2]))
    assert batch["image"].dtype == torch.float32
    np.testing.assert_array_equal(batch["image"].numpy(), optical[[0, 2]])
    assert batch["optical_dates"].dtype == torch.int64


def test_other_readers_need_three_lines(store: Store, optical: Array) -> None:
    import lmdb
    from safetensors.numpy import load

    modality = store.manifest.modalities["optical"]
    if modality.compression.codec != "none" or len(store.manifest.shards) > 1:
        pytest.skip("FORMAT.md says how these are unpacked and found")
    with lmdb.open(str(store.path), readonly=True, lock=False) as data, data.begin() as reading:
        arrays = load(reading.get(b"o_oak1") or b"")
    if modality.layout == "stacked":
        np.testing.assert_array_equal(arrays["optical"], optical[2])
    else:
        np.testing.assert_array_equal(arrays["B2"], optical[2, :, 1])


def test_a_place_without_a_modality_may_be_zeros_with_no_date(
    store: Store, tree: tuple[Path, Pixels, dict[str, Array]]
) -> None:
    samples = Samples(store, modalities=("optical", "radar"), joined=False, target=None,
                      sample_format="dict", missing="zeros")  # fmt: skip
    batch = samples[:]
    assert batch["present"][:, 1].tolist() == [True, False, True, True]
    assert not batch["image_radar"][1].any()
    assert batch["radar_present"].tolist()[1] == [False] * 3
    assert (batch["radar_dates"][1] == UNDATED).all()
    np.testing.assert_array_equal(batch["image_radar"][0], tree[2]["elm1"])


def test_batches_on_a_device_are_normalised_by_date(
    store: Store, optical: Array, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    from patchpress import Normalize, PatchDataset, to_device

    (statistics,) = stats(store.path, modalities="optical", workers=0, out=tmp_path / "s.json")
    expected = normalize(optical, statistics)
    loader = PatchLoader(store, batch_size=4, target=None, sample_format="dict",
                         columns="optical_steps")  # fmt: skip
    (batch,) = to_device(loader, "cpu", statistics)
    np.testing.assert_allclose(batch["image"].numpy(), expected, rtol=1e-5, atol=1e-6)
    assert batch["optical_steps"].tolist() == [4, 2, 3, 3]
    assert batch["optical_present"].dtype == torch.bool
    data = PatchDataset(store, target=None)
    images = data.collate(data.__getitems__(range(4)))
    found = Normalize(statistics)(images)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)
