"""`describe`: folders whose places were seen several times."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affine import Affine

from patchpress import convert, describe, open_store
from tests.support.helpers import by_rasterio, geotiff

RANDOM = np.random.default_rng(11)
DATES = ("20200604", "20200910", "20201201")
ISO = ("2020-06-04", "2020-09-10", "2020-12-01")


def image(path: Path, bands: int = 1, place: int = 0, *, ground: bool = True) -> None:
    """Write a GeoTIFF of 8 x 8; `place` says where it lies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RANDOM.integers(1, 5_000, (bands, 8, 8), np.uint16)
    here = Affine(10, 0, 600_000 + 1_000 * place, 0, -10, 5_400_000)
    profile: dict[str, Any] = {"crs": "EPSG:32633", "transform": here} if ground else {}
    geotiff(path, pixels, **profile)


class Tried:
    """A folder that was described, and converted by that as it is."""

    def __init__(self, folder: Path, tmp_path: Path) -> None:
        found = describe(folder, tmp_path / "first.toml")
        assert found.problem == "", found.toml
        assert found.matched.others == []
        self.toml, self.remarks = found.toml, found.remarks
        report = convert(
            tmp_path / "first.toml", folder, tmp_path / "store", layout="native", workers=0
        )
        assert report.records == found.modalities
        self.records = report.records
        store = open_store(tmp_path / "store")
        self.rows: list[dict[str, Any]] = store.table().to_pylist()
        read = [band for key in store for band in store.read_bands(key).values()]
        stored = [date for band in read for date in (band if band.ndim == 3 else [band])]
        # Dates that a place lacks are zeros, which no pixel of these files is.
        self.stored = sorted(date.tobytes() for date in stored if date.any())
        self.written = sorted(
            band.tobytes() for path in folder.rglob("*.tif") for band in by_rasterio(path)[0]
        )

    def dates(self, modality: str = "image") -> dict[str, list[str]]:
        """Place -> its dates."""
        return {
            row["patch_id"]: [d.date().isoformat() for d in row[f"{modality}_dates"] if d]
            for row in self.rows
        }


def name_of_file(root: Path) -> None:
    for place in range(3):
        for date in DATES[: 2 + place % 2]:
            image(root / f"elm_{place}_{date}.tif", 4, place)


def date_first(root: Path) -> None:
    for place in range(3):
        for date in DATES[: 2 + place % 2]:
            image(root / f"{date}_101031_elm_{place}.tif", 3, place)


def bands_in_one_folder(root: Path) -> None:
    for place in range(3):
        for date in ISO[: 2 + place % 2]:
            for band in ("B02", "B03", "B04"):
                image(root / f"elm_{place}_{date}_{band}.tif", 1, place)


def folder_a_date(root: Path) -> None:
    for place in range(3):
        for date in ISO[: 2 + place % 2]:
            for band in ("B02", "B03"):
                image(root / f"elm_{place}" / date / f"{band}.tif", 1, place)


def date_above_place(root: Path) -> None:
    for place in range(3):
        for date in DATES[: 2 + place % 2]:
            image(root / date / f"elm_{place}.tif", 4, place)


def date_and_band_in_a_place(root: Path) -> None:
    for place in range(3):
        for date in DATES[: 2 + place % 2]:
            for band in ("B02", "B03"):
                image(root / f"elm_{place}" / f"{date}_{band}.tif", 1, place)


def whole_name_in_a_place(root: Path) -> None:
    for place in range(3):
        for date in DATES[: 2 + place % 2]:
            for band in ("B02", "B03"):
                image(root / f"elm_{place}" / f"elm_{place}_{date}T101031_{band}.tif", 1, place)


def products_of_a_place(root: Path) -> None:
    for place in range(3):
        for date in DATES[: 2 + place % 2]:
            for band in ("B02", "B03"):
                product = f"{date}T101031_{date}T110000_T33U{'ABC'[int(date[5]) % 3]}P"
                image(root / f"elm_{place}" / product / f"{band}.tif", 1, place)


def seasons_above_dates(root: Path) -> None:
    for place in range(3):
        seasons = ("spring", "fall", "winter")
        for season, date in list(zip(seasons, DATES, strict=True))[: 2 + place % 2]:
            image(root / season / f"elm_{place}_{date}.tif", 4, place)


KINDS = [
    name_of_file, date_first, bands_in_one_folder, folder_a_date, date_above_place,
    date_and_band_in_a_place, whole_name_in_a_place, products_of_a_place, seasons_above_dates,
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_places_of_several_dates_convert_as_they_are_described(kind: Any, tmp_path: Path) -> None:
    kind(tmp_path / "raw")
    found = Tried(tmp_path / "raw", tmp_path)
    assert found.stored == found.written
    (name,) = found.records
    expected = {f"elm_{place}": list(ISO[: 2 + place % 2]) for place in range(3)}
    assert found.dates(name) == expected


def test_splits_above_places(tmp_path: Path) -> None:
    for split, places in {"train": (0, 1), "test": (2,)}.items():
        for place in places:
            for date in DATES:
                image(tmp_path / "raw" / split / f"pond_{place}" / f"{date}.tif", 3, place)
    found = Tried(tmp_path / "raw", tmp_path)
    assert found.stored == found.written
    assert sorted(row["split"] for row in found.rows) == ["test", "train", "train"]
    assert {row["image_steps"] for row in found.rows} == {3}


def test_partners_of_a_place(tmp_path: Path) -> None:
    for place in range(3):
        for date in DATES:
            image(tmp_path / "raw" / "s2" / date / f"elm_{place:03}.tif", 4, place)
        image(tmp_path / "raw" / "masks" / f"elm_{place:03}.tif", 2, place)
        for date in ("20200605", "20200911"):
            image(tmp_path / "raw" / "s1" / f"elm_{place:03}_{date}.tif", 2, place)
    found = Tried(tmp_path / "raw", tmp_path)
    assert found.stored == found.written
    assert found.records == {"s2": 3, "s1": 3, "masks": 3}
    assert len(found.rows) == 3
    assert all(row[f"has_{name}"] for row in found.rows for name in found.records)
    assert [row["s1_steps"] for row in found.rows] == [2, 2, 2]


def one_date_each(root: Path) -> None:
    for number in range(4):
        image(root / f"S2_2017061{number}_elm_{number:02}.tif", 4, number)


def one_number_in_several_tiles(root: Path) -> None:
    """As BigEarthNet names patches: by their place in a tile, which the name does not tell."""
    for tile, date in enumerate(DATES):
        for number in range(4):
            image(root / f"S2A_MSIL2A_{date}T101031_{number}_7.tif", 4, number + 100 * tile)


def dates_alone(root: Path) -> None:
    for date in DATES:
        image(root / f"{date}.tif", 3)


def numbers_that_are_no_dates(root: Path) -> None:
    for place in range(3):
        for number in ("20209904", "20209910"):
            image(root / f"elm_{place}_{number}.tif", 3, place)


def few_places_seen_twice(root: Path) -> None:
    for place in range(5):
        for date in DATES[: 2 if place == 0 else 1]:
            image(root / f"elm_{place}_{date}.tif", 3, place)


def labels_of_each_date(root: Path) -> None:
    for place in range(3):
        for date in DATES:
            image(root / f"elm_{place}_{date}.tif", 3, place)
            (root / f"elm_{place}_{date}.json").write_text('{"labels": ["Pond"]}')


def bands_before_dates(root: Path) -> None:
    for place in range(3):
        for date in DATES:
            for band in ("B02", "B03"):
                image(root / f"elm_{place}" / f"{band}_{date}.tif", 1, place)


def one_date_elsewhere(root: Path) -> None:
    for place in range(3):
        for number, date in enumerate(DATES):
            image(root / f"elm_{place}_{date}.tif", 3, place + 50 * (number == 2))


TOLD = {
    few_places_seen_twice: "only 1 of 5 places have several dates: each date has a row",
    labels_of_each_date: "several dates of a place, but a JSON file lies beside each",
}


@pytest.mark.parametrize(
    "kind",
    [bands_before_dates, one_date_elsewhere, one_date_each, one_number_in_several_tiles,
     dates_alone, numbers_that_are_no_dates, few_places_seen_twice, labels_of_each_date],
)  # fmt: skip
def test_patches_of_one_date_have_rows_of_their_own(kind: Any, tmp_path: Path) -> None:
    kind(tmp_path / "raw")
    found = Tried(tmp_path / "raw", tmp_path)
    assert ".time]" not in found.toml
    assert found.stored == found.written
    assert len(found.rows) == sum(1 for _ in (tmp_path / "raw").rglob("*.tif"))
    told = TOLD.get(kind)
    assert told is None or any(told in remark for remark in found.remarks)


def test_one_date_of_each_patch_is_a_column(tmp_path: Path) -> None:
    for place, date in enumerate(DATES):
        image(tmp_path / "raw" / f"S2A_{date}T101031_V010110_20210101_elm_{place}.tif", 4, place)
    tried = Tried(tmp_path / "raw", tmp_path)
    assert "date = { name = " in tried.toml
    assert ".time]" not in tried.toml
    found = sorted(row["image_date"].isoformat() for row in tried.rows)
    assert found == [f"{date}T10:10:31" for date in ISO]


@pytest.mark.parametrize(
    "names",
    [
        ["elm_20200604", "oak_20200604", "ash_20200604"],  # alike in all: perhaps a version
        ["elm_20201350", "oak_20200604", "ash_20200605"],
        ["elm_202006", "oak_202007", "ash_202008"],  # may be anything
        ["elm_1", "oak_2", "ash_3"],
    ],
)
def test_numbers_that_may_be_no_dates_make_no_column(names: list[str], tmp_path: Path) -> None:
    for place, name in enumerate(names):
        image(tmp_path / "raw" / f"{name}.tif", 4, place)
    tried = Tried(tmp_path / "raw", tmp_path)
    assert "date = {" not in tried.toml
    assert "image_date" not in tried.rows[0]


def test_json_files_of_other_names_are_of_no_date(tmp_path: Path) -> None:
    for place in range(2):
        for date in DATES[:2]:
            image(tmp_path / "raw" / f"elm_{place}_{date}.tif", 3, place)
        (tmp_path / "raw" / f"about_{place}.json").write_text('{"licence": "none"}')
    found = Tried(tmp_path / "raw", tmp_path)
    assert [row["image_steps"] for row in found.rows] == [2, 2]


def test_seasons_without_dates_are_told(tmp_path: Path) -> None:
    for season in ("spring", "summer", "fall"):
        for place in range(3):
            image(tmp_path / "raw" / season / f"elm_{place}.tif", 4, place)
    found = Tried(tmp_path / "raw", tmp_path)
    assert len(found.rows) == 9
    assert {row["season"] for row in found.rows} == {"spring", "summer", "fall"}
    assert any("seasons, which are no dates" in remark for remark in found.remarks)


def test_months_stacked_in_a_file(tmp_path: Path) -> None:
    for place, months in enumerate((12, 11, 10)):
        image(tmp_path / "raw" / f"elm_{place}.tif", 4 * months, place)
    found = Tried(tmp_path / "raw", tmp_path)
    assert found.stored == found.written
    assert [row["image_steps"] for row in found.rows] == [12, 11, 10]
    assert "steps = 12  # DECIDE: files have up to 48 bands" in found.toml


def test_bands_that_may_be_months_are_asked(tmp_path: Path) -> None:
    for place in range(3):
        image(tmp_path / "raw" / f"elm_{place}.tif", 48, place)
    found = Tried(tmp_path / "raw", tmp_path)
    assert "# DECIDE: whether 48 bands are 12 months of 4" in found.toml
    # The two edits that it asks for:
    text = found.toml.replace("count = 48", "count = 4").replace(
        "[modalities.image.fields]",
        '[modalities.image.time]\nsteps = 12\norder = "time-major"\n\n[modalities.image.fields]',
    )
    (tmp_path / "edited.toml").write_text(text)
    convert(tmp_path / "edited.toml", tmp_path / "raw", tmp_path / "edited", workers=0)
    assert open_store(tmp_path / "edited").read("elm_1").shape == (12, 4, 8, 8)


def test_a_table_of_single_dates_is_told(tmp_path: Path) -> None:
    name_of_file(tmp_path / "raw")
    names = sorted(path.name for path in (tmp_path / "raw").iterdir())
    with (tmp_path / "raw" / "cover.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label"), *((name, "Pond") for name in names)])
    found = Tried(tmp_path / "raw", tmp_path)
    assert any("cover.csv names single dates of image" in remark for remark in found.remarks)


def test_dates_without_a_georeference(tmp_path: Path) -> None:
    for place in range(3):
        for date in DATES:
            image(tmp_path / "raw" / f"{place:03}_{date}.tif", 3, ground=False)
    found = Tried(tmp_path / "raw", tmp_path)
    assert found.dates() == {f"{place:03}": list(ISO) for place in range(3)}


def test_seasons_of_a_published_form(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "peers" / "torchgeo" / "ssl4eo" / "s12"
    found = describe(source, tmp_path / "first.toml")
    assert (found.problem, found.modalities) == ("", {"s2c": 2, "s2a": 2, "s1": 2})
    convert(tmp_path / "first.toml", source, tmp_path / "store", workers=0)
    store = open_store(tmp_path / "store")
    assert store.table()["s2c_steps"].to_pylist() == [4, 4]
    assert store.read("0000000").shape[0] == 4
