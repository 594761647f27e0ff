"""Each smaller data set: keys, tensors and pixels as GDAL, safetensors and other writers have them.

The tests make a tree as published of each of them. If the real samples are next to the repository,
the same tests run on these, too.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from safetensors.numpy import load, save

from patchpress import convert, open_store
from patchpress.converter.commands.verify import verify
from patchpress.converter.descriptions.parse import (
    built_in_descriptions,
    find_description,
    parse_description,
)
from patchpress.converter.options import Layout, OnError
from patchpress.readers.errors import DescriptionError, GridsDiffer, PatchError
from tests.support.published_forms import (
    OTHER_RECORDS,
    S2_OPTICAL,
    TOM_S2,
    TREES,
    PublishedTree,
    Record,
    hyspecnet,
    write_tiff,
)

pytestmark = pytest.mark.slow

Array = npt.NDArray[Any]
SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "others"
CASES = [(name, "made") for name in TREES] + [(n, "sample") for n, t in TREES.items() if t.sampled]
ODD = [name for name, tree in TREES.items() if not all(r.usual for r in tree.records)]


@dataclass
class Converted:
    """A source of one dataset, its records, and a native store made from it."""

    name: str
    source: Path
    records: tuple[Record, ...]
    store: Path
    values: dict[str, bytes]
    """Key -> the bytes stored."""

    def tensors(self, record: Record) -> dict[str, Array]:
        """What GDAL reads from the record's files."""
        tensors: dict[str, Array] = {}
        for file in record.files:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(self.source / file.path) as raster:
                    bands = [raster.read(number) for number in range(1, raster.count + 1)]
            tensors |= zip(file.tensors, bands, strict=True)
        return tensors


def run(name: str, source: Path, store: Path, **options: Any) -> Path:
    convert(name, source, store, workers=0, **options)
    return store


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def native(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    name, kind = request.param
    tree, root = TREES[name], tmp_path_factory.mktemp(name)
    source, records = SAMPLES / tree.folder, tree.sampled
    if kind == "made":
        source, records = tree.write(root / "source"), tree.records
    elif not source.is_dir():
        pytest.skip(f"the real samples of {name} are not beside the repository")
    store = run(name, source, root / "store", layout=Layout.native)
    with lmdb.open(str(store), readonly=True, lock=False) as file, file.begin() as transaction:
        values = {key.decode(): value for key, value in transaction.cursor()}
    return Converted(name, source, records, store, values)


def test_the_keys_are_the_published_ones(native: Converted) -> None:
    assert sorted(native.values) == sorted(record.key for record in native.records)


def test_every_tensor_is_the_band_that_gdal_reads(native: Converted) -> None:
    for record in native.records:
        tensors = load(native.values[record.key])
        expected = native.tensors(record)
        assert set(tensors) == set(expected)
        for name, file in record.tensors.items():
            assert tensors[name].shape == file.shape
            assert tensors[name].dtype == np.dtype(file.dtype)
            np.testing.assert_array_equal(tensors[name], expected[name])


def test_a_value_is_what_safetensors_writes(native: Converted) -> None:
    for record in native.records:
        assert native.values[record.key] == save(native.tensors(record))


def test_the_reader_gives_bands_and_stacks(native: Converted) -> None:
    store = open_store(native.store)
    for record in native.records:
        expected = native.tensors(record)
        bands = store.read_bands(record.key)
        assert list(bands) == list(expected)
        assert all(bands[name].tobytes() == expected[name].tobytes() for name in expected)
        assert store.modality_of(record.key).name == record.modality
        last = list(expected)[-1]
        assert store.read_bands(record.key, [last])[last].tobytes() == expected[last].tobytes()
        stack = stacked(expected)
        if stack is None:
            with pytest.raises(GridsDiffer, match="read_bands"):
                store.read(record.key)
        else:
            np.testing.assert_array_equal(store.read(record.key), stack)


def stacked(bands: dict[str, Array]) -> Array | None:
    """All bands repeated onto the finest grid; None if they do not fit on it."""
    height, width = max(band.shape for band in bands.values())
    if any(height % band.shape[0] or width % band.shape[1] for band in bands.values()):
        return None
    return np.stack(
        [
            band.repeat(height // band.shape[0], 0).repeat(width // band.shape[1], 1)
            for band in bands.values()
        ]
    )


def test_a_row_says_what_the_names_say(native: Converted) -> None:
    rows = {row["patch_id"]: row for row in open_store(native.store).table().to_pylist()}
    assert set(rows) == {record.row["patch_id"] for record in native.records}
    for record in native.records:
        row = rows[record.row["patch_id"]]
        assert record.row.items() <= row.items()
        assert row[f"has_{record.modality}"]


def test_verify_finds_it_good(native: Converted) -> None:
    verdict = verify(native.store, against=native.source, workers=0)
    assert verdict.problems == []
    assert verdict.records == verdict.compared == len(native.records)


def test_usual_patches_stack(native: Converted, tmp_path: Path) -> None:
    options = {"on_error": OnError.skip, "size": "keep"}
    store = open_store(run(native.name, native.source, tmp_path / "store", **options))
    usual = [record for record in native.records if record.usual]
    assert sorted(store) == sorted(record.key for record in usual)
    for record in usual:
        expected = stacked(native.tensors(record))
        assert expected is not None
        np.testing.assert_array_equal(store.read(record.key), expected)


@pytest.mark.parametrize("name", ODD)
def test_an_odd_size_does_not_stack_if_sizes_are_kept(name: str, tmp_path: Path) -> None:
    odd = [record for record in TREES[name].records if not record.usual]
    source = TREES[name].write(tmp_path / "source", odd)
    parts = tuple({record.modality for record in odd})
    with pytest.raises(PatchError, match=r"not .*: --size crop, pad or resize .*--layout native"):
        run(name, source, tmp_path / "store", modalities=parts, size="keep")


def test_every_description_has_its_tree() -> None:
    larger = {"bigearthnet-v1", "bigearthnet-v2", "sen12ms"}
    # Of others the trees are made in the tests of each: see the modules beside this one.
    own = {"ben-ge", "copernicus-pretrain", "sen12ms-cr", "sen1floods11"}
    own |= {"eurosat-rgb", "fields-of-the-world", "olmoearth", "seasonet"}
    own |= {"treesatai", "treesatai-200m"}
    again = {other for others in OTHER_RECORDS.values() for other in others}
    assert set(built_in_descriptions()) == set(TREES) | larger | own | again


@pytest.mark.parametrize("name", TREES)
def test_names_classes_and_sources_are_given(name: str) -> None:
    description = find_description(name)
    assert description.dataset.name == name
    assert all([description.dataset.licence, description.dataset.url, description.dataset.citation])
    for record in TREES[name].records:
        modality = description.modalities[record.modality]
        assert [band.name for band in modality.bands] == list(record.tensors)


def test_the_classes_are_those_published() -> None:
    assert len(find_description("eurosat").classes["label"]) == 10
    assert len(find_description("uc-merced").classes["label"]) == 21


def write_alone(name: str, root: Path, which: int = 0) -> tuple[PublishedTree, Record]:
    tree = TREES[name]
    tree.write(root, [tree.records[which]])
    return tree, tree.records[which]


def test_an_unknown_class_is_named_with_the_nearest(tmp_path: Path) -> None:
    write_alone("eurosat", tmp_path / "source")
    folder = (tmp_path / "source" / "AnnualCrop").rename(tmp_path / "source" / "AnualCrop")
    (folder / "AnnualCrop_1.tif").rename(folder / "AnualCrop_1.tif")
    with pytest.raises(PatchError, match="'AnualCrop' is unknown; nearest is 'AnnualCrop'"):
        run("eurosat", tmp_path / "source", tmp_path / "store")


def test_a_file_in_another_class_folder_is_an_error(tmp_path: Path) -> None:
    write_alone("eurosat", tmp_path / "source")
    write_alone("eurosat", tmp_path / "source", 1)
    (tmp_path / "source" / "AnnualCrop").rename(tmp_path / "source" / "Forest")
    with pytest.raises(PatchError, match="wrong folder: its name says AnnualCrop"):
        run("eurosat", tmp_path / "source", tmp_path / "store")


def test_a_cloud_mask_is_no_band_but_another_band_is(tmp_path: Path) -> None:
    write_alone("major-tom-core", tmp_path / "source")
    folder = tmp_path / "source" / "S2L2A" / "199U" / "199U_1099R" / TOM_S2
    assert (folder / "cloud_mask.tif").exists()
    (folder / "B10.tif").write_bytes(b"")
    with pytest.raises(PatchError, match=r"B10\.tif is a band that the description does not have"):
        run("major-tom-core", tmp_path / "source", tmp_path / "store", modalities=("s2",))


def test_a_missing_band_is_named(tmp_path: Path) -> None:
    write_alone("ssl4eo-s12", tmp_path / "source")
    (tmp_path / "source" / "s2c" / "0000200" / S2_OPTICAL / "B10.tif").unlink()
    with pytest.raises(PatchError, match=r"B10\.tif is missing"):
        run("ssl4eo-s12", tmp_path / "source", tmp_path / "store", modalities=("s2c",))


@pytest.mark.parametrize(("pixels", "fits"), [(5.0, True), (7.0, False)])
def test_bands_may_start_within_a_coarse_pixel(tmp_path: Path, pixels: float, fits: bool) -> None:
    """A pixel of 60 m is as wide as six of 10 m; the other bands are compared with B1."""
    tree, record = write_alone("ssl4eo-s12", tmp_path / "source")
    for file in record.files:
        if file.shape == (264, 264):
            moved = type(file)(**{**vars(file), "shift": 2.5 * file.pixel - pixels * file.pixel})
            array = np.zeros((1, *file.shape), file.dtype)
            write_tiff(tmp_path / "source" / file.path, array, moved, tree.profile)
    options = {"modalities": ("s2c",)}
    if fits:
        run("ssl4eo-s12", tmp_path / "source", tmp_path / "store", **options)
    else:
        with pytest.raises(PatchError, match=r"B2\.tif covers EPSG:4326"):
            run("ssl4eo-s12", tmp_path / "source", tmp_path / "store", **options)


def test_a_tile_that_is_not_the_patchs_is_an_error(tmp_path: Path) -> None:
    other = "ENMAP01-____L2A-DT0000004951_20221103T162438Z_001_V010110_20221118T145147Z"
    tree = TREES["hyspecnet-11k"]
    tree.write(tmp_path / "source", [hyspecnet("Y01460273_X04390566", above=f"{other}/")])
    with pytest.raises(PatchError, match="wrong folder"):
        run("hyspecnet-11k", tmp_path / "source", tmp_path / "store")


def test_bands_that_are_alike_are_counted_not_listed() -> None:
    text = built_in_descriptions()["hyspecnet-11k"].read_text()
    bands = parse_description(text, "h.toml").modalities["enmap"].bands
    assert [band.name for band in bands] == [f"B{n}" for n in range(1, 225)]
    for wrong in ("-1", "true", '"3"'):
        with pytest.raises(DescriptionError, match=r"bands\[0\]\.count"):
            parse_description(text.replace("count = 224", f"count = {wrong}"), "h.toml")
