"""`describe`: a first description of folders of many kinds, each converted as it is written."""

import json
import os
import re
import runpy
import shutil
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from affine import Affine

from patchpress import convert, describe, open_store
from patchpress.readers.errors import SourceError, SourceMissing, TargetError
from tests.support.documented_forms import make_ben_ge, make_sen1floods11, make_sen12ms_cr
from tests.support.helpers import Array, Ended, by_rasterio, geotiff, stored_values
from tests.support.older_sets import make_sen12ms
from tests.support.packing import entries, members, write

Command = Callable[..., Ended]
DOCUMENT = Path(__file__).parents[3] / "docs" / "your-own-dataset.md"
RANDOM = np.random.default_rng(7)


def image(path: Path, bands: int = 1, size: int = 8, pixel: float = 10, **options: Any) -> Path:
    """Write a GeoTIFF of uint16, drawn by chance, unless `pixels` are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels: Array = options.pop("pixels", RANDOM.integers(0, 5_000, (bands, size, size), np.uint16))
    ground = Affine(pixel, 0, 600_000, 0, -pixel, 5_400_000)
    profile: dict[str, Any] = {"crs": "EPSG:32633", "transform": ground}
    return geotiff(path, pixels, **profile | options)


def floats(bands: int, size: int = 8) -> Array:
    return RANDOM.normal(-12, 3, (bands, size, size)).astype(np.float32)


def described(folder: Path, tmp_path: Path) -> dict[str, Any]:
    """Describe a folder, convert it by that as it is, and compare all pixels with the files.

    Gives the description, with the rows of the store as `rows` and its report as `report`.
    """
    file = tmp_path / "first.toml"
    found = describe(folder, file)
    assert found.problem == "", found.toml
    assert (found.matched.others, found.matched.described) == ([], sum(1 for _ in images(folder)))
    report = convert(file, folder, tmp_path / "first.store", layout="native", workers=0)
    assert report.records == found.modalities
    content = tomllib.loads(file.read_text())
    store = open_store(tmp_path / "first.store")
    read = [band for key in store for band in store.read_bands(key).values()]
    stored = sorted(one.tobytes() for band in read for one in (band if band.ndim > 2 else [band]))
    expected = sorted(band.tobytes() for path in images(folder) for band in by_rasterio(path)[0])
    assert stored == expected
    return content | {"rows": store.table().to_pylist(), "report": report, "toml": found.toml}


def images(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix.lower() in (".tif", ".tiff")]


@pytest.fixture
def ponds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data set that docs/your-own-dataset.md makes."""
    code = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert code is not None
    (tmp_path / "make_ponds.py").write_text(code[1])
    monkeypatch.chdir(tmp_path)
    runpy.run_path("make_ponds.py")
    return tmp_path / "ponds"


def test_the_ponds_need_no_edit(ponds: Path, tmp_path: Path) -> None:
    found = described(ponds, tmp_path)
    optical, radar = found["modalities"]["optical"], found["modalities"]["radar"]
    assert optical["path"] == "{group}/{patch_id}/{patch_id}_{band}.tif"
    assert [band["gsd"] for band in optical["bands"]] == [10, 10, 10, 20]
    assert optical["sidecar"]["columns"] == {"labels": "labels", "season": "season"}
    assert (radar["path"], radar["key"]) == ("r_{patch_id}.tif", "r_{patch_id}")
    assert found["splits"]["lists"] == {"train": "train.txt", "test": "test.txt"}
    assert found["labels"]["labels"]["classes"] == ["Meadow", "Pond", "Reed"]
    row = next(row for row in found["rows"] if row["patch_id"] == "oak_02")
    assert (row["split"], row["cloudy"], row["labels"]) == ("test", True, ["Meadow"])
    assert (row["has_optical"], row["has_radar"]) == (True, True)


def test_folders_of_classes(tmp_path: Path) -> None:
    for label in ("AnnualCrop", "Forest", "SeaLake"):
        for number in (1, 2, 30):
            image(tmp_path / "raw" / label / f"{label}_{number}.tif", bands=13)
    found = described(tmp_path / "raw", tmp_path)
    (modality,) = found["modalities"].values()
    assert modality["path"] == "{label}/{patch_id}.tif"
    assert modality["bands"] == [
        {"name": "B", "count": 13, "gsd": 10, "dtype": "uint16", "shape": [8, 8]}
    ]
    assert found["labels"]["label"]["classes"] == ["AnnualCrop", "Forest", "SeaLake"]
    assert {row["label"] for row in found["rows"]} == {"AnnualCrop", "Forest", "SeaLake"}
    assert "may be Sentinel-2 L1C" in found["toml"]


def test_images_of_one_name_in_several_classes(tmp_path: Path) -> None:
    for label in ("forest", "river"):
        for number in range(3):
            image(tmp_path / "raw" / label / f"{number:03}.tif", bands=3)
    found = described(tmp_path / "raw", tmp_path)
    (modality,) = found["modalities"].values()
    assert (modality["path"], modality["name"]) == ("{label}/{patch}.tif", "{label}_{patch}")
    assert sorted(row["patch_id"] for row in found["rows"])[:2] == ["forest_000", "forest_001"]


def test_splits_above_classes(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for label in ("Forest", "River", "Sea"):
            image(tmp_path / "raw" / split / label / f"{label}_{split}_7.tif", bands=4)
    found = described(tmp_path / "raw", tmp_path)
    (modality,) = found["modalities"].values()
    assert modality["path"] == "{split}/{label}/{patch_id}.tif"
    splits = {row["patch_id"]: (row["split"], row["label"]) for row in found["rows"]}
    assert splits["Forest_val_7"] == ("validation", "Forest")


def test_images_and_masks_of_the_same_names(tmp_path: Path) -> None:
    for number in range(4):
        image(tmp_path / "raw" / "images" / f"scene_{number}.tif", bands=4)
        codes = RANDOM.integers(0, 5, (1, 8, 8), np.uint8)
        image(tmp_path / "raw" / "masks" / f"scene_{number}.tif", pixels=codes)
    found = described(tmp_path / "raw", tmp_path)
    first, masks = found["modalities"].values()
    assert (first["kind"], first["key"]) == ("image", "{patch_id}")
    assert (masks["kind"], masks["key"]) == ("classes", "{patch_id}_masks")
    assert masks["title"] == "Codes of classes; seen: 0, 1, 2, 3, 4"
    assert len(found["rows"]) == 4


def test_images_and_masks_in_one_folder(tmp_path: Path) -> None:
    for name in ("a", "bb_2", "c-3"):
        image(tmp_path / "raw" / f"{name}.tif", bands=3)
        codes = RANDOM.integers(0, 3, (1, 8, 8), np.uint8)
        image(tmp_path / "raw" / f"{name}_mask.tif", pixels=codes)
    found = described(tmp_path / "raw", tmp_path)
    assert {m["path"] for m in found["modalities"].values()} == {
        "{patch_id}.tif",
        "{patch_id}_mask.tif",
    }
    assert len(found["rows"]) == 3


def test_bands_of_several_patches_in_one_folder(tmp_path: Path) -> None:
    for name in ("x_17", "x_18", "y_3"):
        for band, size in (("B04", 8), ("B08", 8), ("B8A", 4)):
            image(tmp_path / "raw" / f"{name}_{band}.tif", size=size, pixel=80 / size)
    found = described(tmp_path / "raw", tmp_path)
    assert len(found["rows"]) == 3
    assert found["report"].records == {"optical": 3}
    (modality,) = found["modalities"].values()
    assert (modality["path"], modality["fields"]["band"]) == (
        "{patch_id}_{band}.tif",
        "B04|B08|B8A",
    )


def test_bands_and_masks_of_several_patches_in_one_folder(tmp_path: Path) -> None:
    for name in ("x_17", "x_18", "y_3"):
        for band in ("B04", "B08"):
            image(tmp_path / "raw" / f"{name}_{band}.tif")
        codes = RANDOM.integers(0, 3, (1, 8, 8), np.uint8)
        image(tmp_path / "raw" / f"{name}_mask.tif", pixels=codes)
    found = described(tmp_path / "raw", tmp_path)
    assert len(found["rows"]) == 3
    assert sorted(found["report"].records.values()) == [3, 3]


def test_another_dtype_in_the_folder_of_a_patch(tmp_path: Path) -> None:
    for tile in ("33UUP", "33UUQ"):
        for number in (10, 11):
            name = f"{tile}_{number}"
            folder = tmp_path / "raw" / tile / name
            for band, size in (("B02", 8), ("B03", 8), ("B11", 4)):
                image(folder / f"{name}_{band}.tif", size=size, pixel=80 / size)
            codes = RANDOM.integers(0, 4, (1, 8, 8), np.uint8)
            image(folder / f"{name}_labels.tif", pixels=codes)
    found = described(tmp_path / "raw", tmp_path)
    first, labels = found["modalities"].values()
    assert first["fields"]["band"] == "B02|B03|B11"
    assert (labels["kind"], labels["path"]) == (
        "classes",
        "{group}/{patch_id}/{patch_id}_labels.tif",
    )


def test_the_same_parts_in_several_folders(tmp_path: Path) -> None:
    for country in ("austria", "brazil"):
        for number in range(3):
            for window in ("window_a", "window_b"):
                image(
                    tmp_path / "raw" / country / "s2_images" / window / f"g_{number}.tif", bands=4
                )
            codes = RANDOM.integers(0, 2, (1, 8, 8), np.uint8)
            path = tmp_path / "raw" / country / "label_masks" / f"g_{number}.tif"
            image(path, pixels=codes)
    found = described(tmp_path / "raw", tmp_path)
    assert sorted(found["modalities"]) == ["label_masks", "window_a", "window_b"]
    assert len(found["rows"]) == 6
    assert found["rows"][0]["patch_id"] == "austria_g_0"


def test_layers_that_begin_names(tmp_path: Path) -> None:
    for number in range(3):
        image(tmp_path / "raw" / f"img_{number:03}.tif", bands=4)
        codes = RANDOM.integers(0, 3, (1, 8, 8), np.uint8)
        image(tmp_path / "raw" / f"mask_{number:03}.tif", pixels=codes)
    found = described(tmp_path / "raw", tmp_path)
    paths = {m["path"]: (m["kind"], m["key"]) for m in found["modalities"].values()}
    assert paths == {
        "img_{patch_id}.tif": ("image", "{patch_id}"),
        "mask_{patch_id}.tif": ("classes", "mask_{patch_id}"),
    }
    assert len(found["rows"]) == 3


def test_folders_of_bands_are_modalities(tmp_path: Path) -> None:
    for band in ("B02", "B03", "B04"):
        for number in range(3):
            image(tmp_path / "raw" / band / f"scene_{number:03}.tif")
    found = described(tmp_path / "raw", tmp_path)
    assert list(found["modalities"]) == ["b02", "b03", "b04"]
    assert len(found["rows"]) == 3


def test_numbered_places_with_the_same_dates(tmp_path: Path) -> None:
    for number in range(3):
        for date in ("20200101", "20200202"):
            image(tmp_path / "raw" / f"place_{number}" / f"{date}.tif", bands=4)
    found = described(tmp_path / "raw", tmp_path)
    (modality,) = found["modalities"].values()
    assert (modality["path"], modality["name"]) == ("{place}/{date}.tif", "{place}")
    assert modality["time"] == {"steps": 2, "date": "{date}", "format": "%Y%m%d"}
    assert "labels" not in found
    assert len(found["rows"]) == 3


@pytest.mark.parametrize("ending", [".csv", ".json", ".geojson"])
def test_labels_in_a_table_of_any_form(tmp_path: Path, ending: str) -> None:
    rows = []
    for number in range(5):
        image(tmp_path / "raw" / "images" / f"train_{number}.tif", bands=3)
        split = "train" if number < 3 else "test"
        name = f"train_{number}.tif"
        rows.append({"filename": name, "label": "ab"[number % 2], "split": split})
    text = json.dumps(rows)
    if ending == ".csv":
        text = "\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)])
    elif ending == ".geojson":
        features = [{"type": "Feature", "properties": row, "geometry": None} for row in rows]
        text = json.dumps({"type": "FeatureCollection", "features": features})
    (tmp_path / "raw" / f"train{ending}").write_text(text)
    found = described(tmp_path / "raw", tmp_path)
    assert found["tables"]["train"] == {"file": f"train{ending}", "key": "filename"}
    assert [row["label"] for row in found["rows"]] == ["a", "b", "a", "b", "a"]
    assert [row["split"] for row in found["rows"]] == ["train"] * 3 + ["test"] * 2


def test_shares_of_classes_in_one_json(tmp_path: Path) -> None:
    shares = {}
    for number in range(4):
        image(tmp_path / "raw" / f"tree_{number}.tif", bands=3)
        shares[f"tree_{number}.tif"] = [["Abies", 0.25], ["Fagus", 0.75]]
    (tmp_path / "raw" / "labels.json").write_text(json.dumps(shares))
    found = described(tmp_path / "raw", tmp_path)
    assert found["labels"]["fractions"] == {"kind": "shares", "classes": ["Abies", "Fagus"]}
    assert found["rows"][0]["fractions"] == [0.25, 0.75]


def test_a_table_gives_labels_splits_and_partners(tmp_path: Path) -> None:
    rows = []
    for number in range(6):
        optical, radar = f"o_{100 + number}", f"orbit{number * 7:04}"
        image(tmp_path / "raw" / "optical" / f"{optical}.tif", bands=4)
        image(tmp_path / "raw" / "radar" / f"{radar}.tif", pixels=floats(2))
        split = ("train", "val", "test")[number % 3]
        row = {"patch_id": optical, "radar_name": radar, "split": split, "label": "ab"[number % 2]}
        rows.append(row)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "raw" / "all.parquet")
    found = described(tmp_path / "raw", tmp_path)
    assert found["tables"] == {"all": {"file": "all.parquet"}}
    assert found["modalities"]["radar"]["key"] == "{radar_name}"
    assert [(r["patch_id"], r["radar_name"], r["has_radar"]) for r in found["rows"]] == [
        (row["patch_id"], row["radar_name"], True) for row in rows
    ]
    assert found["labels"]["label"]["classes"] == ["a", "b"]
    assert {row["split"] for row in found["rows"]} == {"train", "validation", "test"}


def test_a_name_that_differs_in_one_word(tmp_path: Path) -> None:
    make_sen12ms(tmp_path / "raw", scenes=(1, 63), patches=2)
    found = described(tmp_path / "raw", tmp_path)
    assert len(found["modalities"]) == 3
    assert len(found["rows"]) == 4
    assert all(row[f"has_{name}"] for row in found["rows"] for name in found["modalities"])


@pytest.mark.slow
def test_forms_of_published_data_sets(tmp_path: Path) -> None:
    make_ben_ge(tmp_path / "ben")
    (tmp_path / "one").mkdir()
    found = described(tmp_path / "ben", tmp_path / "one")
    assert len(found["modalities"]) == 4
    assert len(found["rows"]) == 3
    make_sen1floods11(tmp_path / "floods", {"Spain_1": "train", "Ghana_22": "test"})
    (tmp_path / "two").mkdir()
    found = described(tmp_path / "floods", tmp_path / "two")
    assert [row["split"] for row in found["rows"]] == ["test", "train"]
    make_sen12ms_cr(tmp_path / "cr", {"ROIs1158_spring": (1, 31), "ROIs2017_winter": (22,)})
    assert describe(tmp_path / "cr").matched.others == []


SAMPLES = {
    "EuroSAT_MS": 1, "HySpecNet-11k": 5, "Hydro": 1, "SSL4EO-S12": 3, "UCMerced_LandUse": 1,
    "sen1floods11": 3,
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_published_samples_convert_as_they_are_described(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    found = described(shared_data / "others" / name, tmp_path)
    assert len(found["modalities"]) == SAMPLES[name]


@pytest.mark.slow
def test_samples_of_larger_data_sets(shared_data: Path, tmp_path: Path) -> None:
    for version, partners in (("v2", 16), ("v1", 42)):
        (tmp_path / version).mkdir()
        found = described(shared_data / f"bigearthnet-{version}" / "sample", tmp_path / version)
        s2, s1 = list(found["modalities"])[:2]
        assert sum(row[f"has_{s2}"] and row[f"has_{s1}"] for row in found["rows"]) == partners
        assert "Pastures" in found["labels"]["labels"]["classes"]


@pytest.mark.parametrize("codec", ["tar", "tar.gz", "tar.zst", "zip"])
def test_archives_are_looked_into(ponds: Path, tmp_path: Path, codec: str) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    for folder in ("optical", "radar"):
        if codec == "zip":
            shutil.make_archive(str(packed / folder), "zip", ponds, folder)
        else:
            write(packed / f"{folder}.{codec}", entries(ponds, members(ponds, folder)))
    for name in ("train.txt", "test.txt", "cloudy.txt"):
        shutil.copy(ponds / name, packed)
    found = describe(packed, tmp_path / "packed.toml")
    assert found.looked == "the first 48 files of 2 archives"
    assert (found.problem, found.modalities) == ("", {"optical": 8, "radar": 8})
    convert(tmp_path / "packed.toml", packed, tmp_path / "one", workers=0)
    describe(ponds, tmp_path / "folder.toml")
    convert(tmp_path / "folder.toml", ponds, tmp_path / "two", workers=0)
    assert stored_values(tmp_path / "one") == stored_values(tmp_path / "two")


def test_archives_of_other_names_than_their_folders(tmp_path: Path) -> None:
    for number in range(10):
        image(tmp_path / "raw" / "s2" / f"p_{number:03}.tif", bands=4)
    names = members(tmp_path / "raw", "s2")
    packed = tmp_path / "packed"
    for number in range(10):
        archive = packed / f"chunk_{number:03}.tar"
        write(archive, entries(tmp_path / "raw", names[number : number + 1]))
    found = describe(packed, tmp_path / "packed.toml")
    assert 'archives = ["chunk_00*"]' in found.toml
    report = convert(tmp_path / "packed.toml", packed, tmp_path / "store", workers=0)
    assert report.records == {"s2": 10}


FORMATS = {".png": ("png", "uint8", 3), ".jpg": ("jpeg", "uint8", 3), ".npy": ("npy", "float32", 5)}


@pytest.mark.parametrize("ending", FORMATS)
def test_other_formats_than_tiff(tmp_path: Path, ending: str) -> None:
    name, dtype, bands = FORMATS[ending]
    (tmp_path / "raw" / "river").mkdir(parents=True)
    for number in range(3):
        pixels = RANDOM.integers(0, 255, (bands, 16, 16)).astype(dtype)
        path = tmp_path / "raw" / "river" / f"river_{number}{ending}"
        if ending == ".npy":
            np.save(path, pixels)
        else:
            geotiff(path, pixels, driver=name.upper())
    found = describe(tmp_path / "raw", tmp_path / "first.toml")
    assert found.problem == ""
    (modality,) = tomllib.loads(found.toml)["modalities"].values()
    assert (modality["format"], modality["path"]) == (name, f"{{label}}/{{patch_id}}{ending}")
    assert modality.get("axes", "") == ("chw" if ending == ".npy" else "")
    convert(tmp_path / "first.toml", tmp_path / "raw", tmp_path / "store", workers=0)
    stored = open_store(tmp_path / "store").read("river_1")
    path = tmp_path / "raw" / "river" / f"river_1{ending}"
    if ending == ".jpg":  # decoders do not agree on colours that are stored more coarsely
        expected = np.moveaxis(imagecodecs.jpeg_decode(path.read_bytes()), -1, 0)
    else:
        expected = np.load(path) if ending == ".npy" else by_rasterio(path)[0]
    np.testing.assert_array_equal(stored, expected)


def test_arrays_with_the_bands_last(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for number in range(2):
        np.save(tmp_path / "raw" / f"a_{number}.npy", np.zeros((16, 20, 3), np.uint16))
    found = describe(tmp_path / "raw")
    (modality,) = tomllib.loads(found.toml)["modalities"].values()
    assert (modality["axes"], modality["bands"][0]["shape"]) == ("hwc", [16, 20])
    assert "arrays do not tell which axis is which" in found.toml


def test_what_no_file_tells_is_asked(tmp_path: Path) -> None:
    image(tmp_path / "raw" / "a_100.tif", bands=2, crs=None, transform=None)
    image(tmp_path / "raw" / "a_101.tif", bands=2, size=9, crs=None, transform=None)
    found = describe(tmp_path / "raw")
    for text in ("licence may it be used", "gsd is a guess", "sizes differ", "name its bands"):
        assert text in found.toml
    assert found.decisions == found.toml.count("DECIDE: ") - 1
    content = tomllib.loads(found.toml)["modalities"]
    assert next(iter(content.values()))["any_size"]


def test_degrees_are_metres_and_told(tmp_path: Path) -> None:
    ground = Affine(8.983152841195e-05, 0, 10, 0, -8.983152841195e-05, 50)
    for number in (1, 2):
        image(tmp_path / "raw" / f"chip_{number}.tif", crs="EPSG:4326", transform=ground)
    found = describe(tmp_path / "raw")
    assert "gsd is 8.98315e-05 degrees from north to south, in metres" in found.toml
    (modality,) = tomllib.loads(found.toml)["modalities"].values()
    assert modality["bands"][0]["gsd"] == pytest.approx(10, abs=0.001)


def test_names_of_bands_that_a_file_gives(tmp_path: Path) -> None:
    import rasterio

    for number in (1, 2):
        path = image(tmp_path / "raw" / f"chip_{number}.tif", bands=2)
        with rasterio.open(path, "r+") as file:
            file.descriptions = ("VV", "VH")
    (modality,) = tomllib.loads(describe(tmp_path / "raw").toml)["modalities"].values()
    assert [band["name"] for band in modality["bands"]] == ["VV", "VH"]


def test_of_a_large_folder_a_part_is_looked_at(tmp_path: Path) -> None:
    one = image(tmp_path / "one.tif", bands=3)
    (tmp_path / "raw").mkdir()
    for number in range(2_100):
        os.link(one, tmp_path / "raw" / f"patch_{number}.tif")
    found = describe(tmp_path / "raw")
    assert "a part of it, 2,000 files in 1 folder" in found.text()
    assert found.trial == ""
    assert list(found.modalities.values()) == [2_000]


def test_what_is_not_described_is_told(tmp_path: Path) -> None:
    for number in range(4):
        image(tmp_path / "raw" / f"scene_{number:03}.tif", bands=3)
    (tmp_path / "raw" / "broken_005.tif").write_bytes(b"no image")
    (tmp_path / "raw" / "more.zip").write_bytes(b"PK")
    (tmp_path / "raw" / "other.csv").write_text("name,value\nnobody,1\n")
    found = describe(tmp_path / "raw")
    text = found.text()
    assert "1 images could not be read" in text or "broken_005.tif" in text
    assert "more.zip" in text
    assert "other.csv has no names of patches" in text
    for sentence in found.remarks:
        assert f"# {sentence}" in found.toml


def test_a_file_nested_thousands_deep_is_told(tmp_path: Path) -> None:
    for number in range(3):
        image(tmp_path / "raw" / f"scene_{number:03}.tif", bands=3)
    (tmp_path / "raw" / "deep.json").write_text("[" * 200_000)
    assert (
        "deep.json is nested thousands deep: no table or list is."
        in describe(tmp_path / "raw").remarks
    )


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_STORED])
def test_a_damaged_file_in_a_zip_is_told(tmp_path: Path, method: int) -> None:
    file = image(tmp_path / "s2" / "p_001.tif", bands=4, size=64)
    packed = tmp_path / "raw"
    packed.mkdir()
    with zipfile.ZipFile(packed / "s2.zip", "w", method) as archive:
        archive.write(file, "s2/p_001.tif")
        archive.writestr("s2/p_002.tif", file.read_bytes())
    data = bytearray((packed / "s2.zip").read_bytes())
    data[60:90] = bytes(30)  # of the first file's own bytes
    (packed / "s2.zip").write_bytes(data)
    with pytest.raises(
        SourceError, match=r"s2\.zip could not be read to the end: .*p_001\.tif is damaged"
    ):
        describe(packed)


def test_odd_names_are_fields_or_quoted(tmp_path: Path) -> None:
    for number in range(3):
        image(tmp_path / "raw" / "a {b} 'c' \"d\"" / f"x'y_{number:03}.tif", bands=3)
    described(tmp_path / "raw", tmp_path)


def test_names_without_any_form(tmp_path: Path) -> None:
    for name in ("a", "77b", "Ünter-gang", "x.y z", "__"):
        image(tmp_path / "raw" / f"{name}.tif", bands=3)
    found = described(tmp_path / "raw", tmp_path)
    assert len(found["rows"]) == 5


def test_a_json_file_of_other_things_is_no_sidecar(tmp_path: Path) -> None:
    for number in range(3):
        folder = tmp_path / "raw" / f"p_{number:03}"
        for band in ("B02", "B03"):
            image(folder / f"{band}.tif")
        (folder / "meta.json").write_text(json.dumps({"nested": {"a": 1}, "list": [[1]]}))
    found = described(tmp_path / "raw", tmp_path)
    assert "sidecar" not in next(iter(found["modalities"].values()))


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda path: None, SourceMissing, "does not exist"),
        (lambda path: path.mkdir(), SourceError, "it holds nothing"),
        (lambda path: path.write_bytes(b"II*\0"), SourceError, "is a TIFF: give a folder"),
        (lambda path: path.write_bytes(b"\x01\x02"), SourceError, "is a file: give a folder"),
        (lambda path: (path.mkdir(), (path / "a.txt").touch()), SourceError, r"1 file \(\.txt\)"),
        (
            lambda path: (path.mkdir(), (path / "a.zip").touch()),
            SourceError,
            r"has no images, and none came of its archives: a\.zip could not be read",
        ),
        (
            lambda path: (path.mkdir(), (path / "a.tar.gz").write_bytes(b"\x1f\x8b\x08 no")),
            SourceError,
            r"none came of its archives: a\.tar\.gz could not be read",
        ),
        (
            lambda path: (path.mkdir(), (path / "a.rar").write_bytes(b"Rar!\x1a\x07\x00")),
            SourceError,
            r"a\.rar is no archive that is read",
        ),
        (
            lambda path: (path.mkdir(), (path / "a.tif").write_text("<html>")),
            SourceError,
            "a.tif is a web page",
        ),
    ],
)
def test_bad_folders_end_in_one_sentence(
    tmp_path: Path, make: Callable[[Path], object], error: type[Exception], said: str
) -> None:
    make(tmp_path / "it")
    with pytest.raises(error, match=said):
        describe(tmp_path / "it", tmp_path / "out.toml")
    assert not (tmp_path / "out.toml").exists()


def test_a_store_is_no_folder_of_patches(stacked: Path) -> None:
    with pytest.raises(SourceError, match="is a store"):
        describe(stacked)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    image(tmp_path / "raw" / "a_1.tif")
    (tmp_path / "first.toml").write_text("mine")
    with pytest.raises(TargetError, match="is there already"):
        describe(tmp_path / "raw", tmp_path / "first.toml")
    assert (tmp_path / "first.toml").read_text() == "mine"
    with pytest.raises(TargetError):
        describe(tmp_path / "raw", tmp_path / "nowhere" / "first.toml")


def test_the_command_gives_the_text_or_the_file(ponds: Path, patchpress: Command) -> None:
    ended = patchpress("describe", ponds)
    assert ended.code == 0
    assert tomllib.loads(ended.out)["dataset"]["name"] == "ponds"
    assert "optical            8 patches" in ended.err
    file = ponds.parent / "ponds.toml"
    ended = patchpress("describe", ponds, "--out", file)
    assert (ended.code, ended.err) == (0, "")
    assert f"patchpress convert {file} {ponds} STORE --dry-run" in ended.out
    assert tomllib.loads(file.read_text())["dataset"]["name"] == "ponds"
    ended = patchpress("describe", ponds / "nowhere")
    assert ended.code != 0
    assert "does not exist" in ended.sentence
