"""SeasoNet, Fields of the World and EuroSAT RGB: made trees, and those of TorchGeo's generators.

Every pixel is compared with what rasterio reads, every label and split with the tables themselves.
"""

import csv
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from patchpress import Report, Samples, convert, open_store, verify
from patchpress.converter.descriptions.classes import load_class_list
from patchpress.converter.options import Layout
from patchpress.readers.errors import PatchError, SourceError
from tests.support.helpers import Array, by_rasterio, geotiff

SEASONET = {
    "10m_RGB": (["B04", "B03", "B02"], 120),
    "10m_IR": (["B08"], 120),
    "20m": (["B05", "B06", "B07", "B8A", "B11", "B12"], 60),
    "60m": (["B01", "B09"], 20),
}
ROWS = [("spring", 1, "2,3,12"), ("spring", 2, "33"), ("snow", 1, "1,2"), ("fall", 2, "5")]


def run(name: str, source: Path, store: Path, **options: Any) -> Report:
    return convert(name, source, store, **{"workers": 0} | options)


def make_seasonet(root: Path) -> Path:
    random = np.random.default_rng(4)
    header = "Index,Season,Grid,Latitude,Longitude,Clouds,Snow,Classes,Path"
    lines = [header]
    for number, (season, grid, classes) in enumerate(ROWS):
        name = f"32UME_2018041{number}T104021_53_92842{number}_7_503876"
        folder = root / season / f"grid{grid}" / name
        folder.mkdir(parents=True)
        for file, (bands, size) in SEASONET.items():
            pixels = random.integers(0, 10_000, (len(bands), size, size), np.uint16)
            place = Affine(1200 / size, 0, 600_000 + 1200 * number, 0, -1200 / size, 5_400_000)
            geotiff(folder / f"{name}_{file}.tif", pixels, crs="EPSG:32632", transform=place)
        codes = random.integers(1, 34, (1, 120, 120), np.uint8)
        geotiff(folder / f"{name}_labels.tif", codes, crs="EPSG:32632", transform=place)
        path = f"{season}/grid{grid}/{name}"
        lines.append(f'{number},{season.title()},{grid},53.9,7.5,0.0,0.0,"{classes}",{path}')
    (root / "meta.csv").write_text("\n".join(lines) + "\n")
    (root / "splits").mkdir()
    for split, rows in {"train": "0\n3\n", "val": "1\n", "test": "2\n"}.items():
        (root / "splits" / f"{split}.csv").write_text(rows)
    return root


def assert_seasonet(source: Path, store: Path, layout: Layout) -> None:
    opened = open_store(store)
    names = load_class_list("seasonet").names
    with (source / "meta.csv").open() as file:
        rows = {row["Path"]: row for row in csv.DictReader(file)}
    assert sorted(opened.keys("s2")) == sorted(rows)
    for row in opened.table().to_pylist():
        path = row["patch_id"]
        codes = [int(code) for code in rows[path]["Classes"].split(",")]
        assert sorted(row["labels"]) == sorted(names[code - 1] for code in codes)
        folder = source / path
        found = opened.read_bands(path)
        for of_file, (bands, size) in SEASONET.items():
            array, _ = by_rasterio(folder / f"{folder.name}_{of_file}.tif")
            for band, pixels in zip(bands, array, strict=True):
                times = 1 if layout == Layout.native else 120 // size
                np.testing.assert_array_equal(found[band], pixels.repeat(times, 0).repeat(times, 1))
        expected = by_rasterio(folder / f"{folder.name}_labels.tif")[0]
        np.testing.assert_array_equal(opened.read(f"{path}_labels"), expected)


@pytest.mark.parametrize("layout", Layout)
def test_seasonet(tmp_path: Path, layout: Layout) -> None:
    source = make_seasonet(tmp_path / "source")
    report = run("seasonet", source, tmp_path / "store", layout=layout)
    assert "not tried with the published ones" in report.text()
    assert_seasonet(source, tmp_path / "store", layout)
    rows = {row["patch_id"]: row for row in open_store(tmp_path / "store").table().to_pylist()}
    splits = [row["split"] for _, row in sorted(rows.items())]
    assert splits == ["train", "test", "train", "validation"]
    assert verify(tmp_path / "store", source, workers=0).good


@pytest.mark.parametrize("layout", Layout)
def test_seasonet_of_torchgeo(shared_data: Path, tmp_path: Path, layout: Layout) -> None:
    source = shared_data / "peers/torchgeo/seasonet"
    if not source.is_dir():
        pytest.skip("TorchGeo's tree is not beside the repository")
    run("seasonet", source, tmp_path / "store", layout=layout)
    assert_seasonet(source, tmp_path / "store", layout)
    # Maps of that tree have classes that Classes does not name: they are not compared.
    assert verify(tmp_path / "store", source, workers=0).good


def test_pixels_of_seasonet_are_classes(tmp_path: Path) -> None:
    source = make_seasonet(tmp_path / "source")
    run("seasonet", source, tmp_path / "store")
    opened = open_store(tmp_path / "store")
    codes = opened.manifest.modalities["map"].codes
    assert codes == {"labels": {"0": None} | {str(code): code - 1 for code in range(1, 34)}}
    samples = Samples(opened, modalities=("s2",), target="map", with_key=True)
    assert samples.classes == load_class_list("seasonet").names
    _, mask, key = samples[0]
    folder = source / key
    expected = by_rasterio(folder / f"{folder.name}_labels.tif")[0]
    np.testing.assert_array_equal(mask, expected[0].astype(np.int64) - 1)


CHIPS = {"austria": ["g_0", "g_1", "g_2"], "south_africa": ["b7"]}
MASKS = {"semantic_2class": np.uint8, "semantic_3class": np.uint8, "instance": np.uint32}


def make_fields(root: Path, masks: dict[str, Any] = MASKS) -> Path:
    random = np.random.default_rng(6)
    for country, chips in CHIPS.items():
        for number, chip in enumerate(chips):
            place = Affine(5.4e-5, 0, 10 + number, 0, -5.4e-5, 45)
            images = {f"s2_images/window_{w}": np.uint16 for w in "ab"}
            for part, dtype in {
                **images,
                **{f"label_masks/{m}": d for m, d in masks.items()},
            }.items():
                if (chip, part) == ("g_2", "s2_images/window_b"):
                    continue
                (root / country / part).mkdir(parents=True, exist_ok=True)
                count, high = (4, 9_000) if dtype is np.uint16 else (1, 3)
                high = 70_000 if dtype is np.uint32 else high
                pixels = random.integers(0, high, (count, 256, 256)).astype(dtype)
                path = root / country / part / f"{chip}.tif"
                geotiff(path, pixels, crs="EPSG:4326", transform=place)
        splits = ["train", "val", "test"][: len(chips)]
        table = pa.table({"aoi_id": chips, "split": splits})
        pq.write_table(table, root / country / f"chips_{country}.parquet")
    return root


def assert_fields(source: Path, store: Path) -> None:
    opened, compared = open_store(store), 0
    for row in opened.table(columns=["patch_id", "country"]).to_pylist():
        chip = row["patch_id"].removeprefix(f"{row['country']}_")
        for name in opened.manifest.modalities:
            part = f"s2_images/{name}" if name.startswith("window") else f"label_masks/{name}"
            file = source / row["country"] / part / f"{chip}.tif"
            key = f"{row['patch_id']}_{name}"
            assert file.exists() == (key in opened)
            if file.exists():
                expected: NDArray[Any] = by_rasterio(file)[0]
                found: dict[str, Array] = opened.read_bands(key)
                np.testing.assert_array_equal(np.stack(list(found.values())), expected)
                compared += 1
    assert compared


def test_fields_of_the_world(tmp_path: Path) -> None:
    source = make_fields(tmp_path / "source")
    report = run("ftw", source, tmp_path / "store")
    assert "window_a without window_b: 1" in report.text()
    assert_fields(source, tmp_path / "store")
    rows = open_store(tmp_path / "store").table().to_pylist()
    splits = {row["patch_id"]: row["split"] for row in rows}
    assert splits == {
        "austria_g_0": "train",
        "austria_g_1": "validation",
        "austria_g_2": "test",
        "south_africa_b7": "train",
    }
    assert open_store(tmp_path / "store").read("austria_g_0_instance").dtype == np.uint32
    assert verify(tmp_path / "store", source, workers=0).good


def test_a_kind_of_mask_that_lies_nowhere_is_not_in_the_source(tmp_path: Path) -> None:
    source = make_fields(tmp_path / "source", {"semantic_2class": np.uint8})
    report = run("ftw", source, tmp_path / "store")
    assert report.absent == ("semantic_3class", "instance")
    with pytest.raises(SourceError, match="has no patch of fields-of-the-world"):
        run("ftw", source, tmp_path / "other", modalities=("instance",))


def test_numbers_of_fields_may_be_written_in_fewer_bits(tmp_path: Path) -> None:
    source = make_fields(tmp_path / "source")
    file = source / "austria" / "label_masks" / "instance" / "g_1.tif"
    codes = np.arange(256, dtype=np.uint8)[None, None].repeat(256, 1)
    options: dict[str, Any] = {
        "crs": "EPSG:4326",
        "transform": Affine(5.4e-5, 0, 11, 0, -5.4e-5, 45),
    }
    geotiff(file, codes, **options)
    run("ftw", source, tmp_path / "store", layout=Layout.native)
    found = open_store(tmp_path / "store").read("austria_g_1_instance")
    assert found.dtype == np.uint32
    np.testing.assert_array_equal(found, codes)
    assert verify(tmp_path / "store", source, workers=0).good
    geotiff(file, codes.astype(np.float32), **options)
    with pytest.raises(PatchError, match=r"g_1.tif is float32, whose values do not all fit uint32"):
        run("ftw", source, tmp_path / "other")


def test_a_folder_without_any_chip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source" / "austria").mkdir(parents=True)
    with pytest.raises(SourceError, match="has no patch"):
        run("ftw", tmp_path / "source", tmp_path / "store")


def test_fields_of_torchgeo(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "peers/torchgeo/ftw"
    if not source.is_dir():
        pytest.skip("TorchGeo's tree is not beside the repository")
    source = shutil.copytree(source / "austria", tmp_path / "source" / "austria").parent
    run("ftw", source, tmp_path / "store", layout=Layout.native)
    assert_fields(source, tmp_path / "store")
    chips = pq.read_table(source / "austria/chips_austria.parquet").to_pylist()
    expected = {
        f"austria_{c['aoi_id']}": {"val": "validation"}.get(c["split"], c["split"]) for c in chips
    }
    rows = open_store(tmp_path / "store").table().to_pylist()
    assert {row["patch_id"]: row["split"] for row in rows} == expected
    assert verify(tmp_path / "store", source, workers=0).good


def test_eurosat_rgb(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    random, source = np.random.default_rng(8), tmp_path / "source"
    for label in ("Forest", "River"):
        (source / label).mkdir(parents=True)
        for number in (1, 2):
            pixels = random.integers(0, 256, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            image.fromarray(pixels).save(source / label / f"{label}_{number}.jpg", quality=90)
    run("eurosat-rgb", source, tmp_path / "store")
    store = open_store(tmp_path / "store")
    for row in store.table().to_pylist():
        file = source / row["label"] / f"{row['patch_id']}.jpg"
        expected = np.asarray(image.open(file)).transpose(2, 0, 1)
        np.testing.assert_array_equal(store.read(row["patch_id"]), expected)
    assert len(store.keys("rgb")) == 4
    assert verify(tmp_path / "store", source, workers=0).good


def zipped(folder: Path, out: Path, above: Path) -> None:
    """A zip of a folder; the names in it begin below `above`."""
    with zipfile.ZipFile(out, "w") as archive:
        for file in sorted(path for path in folder.rglob("*.tif")):
            archive.write(file, str(file.relative_to(above)))


def test_a_zip_of_seasonet_gives_the_bytes_of_its_folders(tmp_path: Path) -> None:
    source, packed = make_seasonet(tmp_path / "source"), tmp_path / "packed"
    packed.mkdir()
    shutil.copytree(source / "splits", packed / "splits")
    shutil.copyfile(source / "meta.csv", packed / "meta.csv")
    for season in ("spring", "fall", "snow"):
        zipped(source / season, packed / f"{season}.zip", source)
    run("seasonet", source, tmp_path / "store")
    run("seasonet", packed, tmp_path / "other")
    for name in ("data.mdb", "metadata.parquet"):
        assert (tmp_path / "store" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_a_zip_stands_for_the_folder_of_its_name(tmp_path: Path) -> None:
    source, packed = make_fields(tmp_path / "source"), tmp_path / "packed"
    for country in CHIPS:
        (packed / country).mkdir(parents=True)
        zipped(source / country, packed / f"{country}.zip", source / country)
        table = f"chips_{country}.parquet"
        shutil.copyfile(source / country / table, packed / country / table)
    run("ftw", source, tmp_path / "store")
    run("ftw", packed, tmp_path / "other")
    for name in ("data.mdb", "metadata.parquet"):
        assert (tmp_path / "store" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    assert verify(tmp_path / "other", packed, workers=0).good


def test_a_tar_stands_for_the_folder_of_its_name(tmp_path: Path) -> None:
    source, packed = make_fields(tmp_path / "source"), tmp_path / "packed"
    for country in CHIPS:
        (packed / country).mkdir(parents=True)
        with tarfile.open(packed / f"{country}.tar", "w") as archive:
            for file in sorted((source / country).rglob("*.tif")):
                archive.add(file, str(file.relative_to(source / country)))
    run("ftw", packed, tmp_path / "store")
    assert_fields(source, tmp_path / "store")


def test_fields_of_torchgeo_in_a_zip(shared_data: Path, tmp_path: Path) -> None:
    """Of masks with the numbers of fields the folder has none, and the zip some in uint8."""
    source = shared_data / "peers/torchgeo/ftw"
    if not source.is_dir():
        pytest.skip("TorchGeo's tree is not beside the repository")
    run("ftw", source, tmp_path / "store", layout=Layout.native)
    store = open_store(tmp_path / "store")
    with zipfile.ZipFile(source / "austria.zip") as archive:
        names = [name for name in archive.namelist() if "/instance/" in name]
        for name in names:
            with rasterio.MemoryFile(archive.read(name)) as memory, memory.open() as file:
                expected = file.read()
            found = store.read_bands(f"austria_{Path(name).stem}_instance")["Data"]
            np.testing.assert_array_equal(found, expected[0])
    assert len(store.keys("instance")) == len(names) > 0
    assert verify(tmp_path / "store", source, workers=0).good
