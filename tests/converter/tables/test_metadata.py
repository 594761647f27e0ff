"""metadata.parquet: official columns unchanged, ours after them; all that lacks is reported."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import rasterio
import xxhash

from patchpress import Store, open_store
from tests.support.helpers import band_files, first_band, geotiff, made, patches, stored_values
from tests.support.synthetic import FLAGGED_TABLE, TABLE, Row, tiff

OFFICIAL = list(Row.__annotations__)


def official(source: Path) -> dict[str, Row]:
    rows = [
        row for name in (TABLE, FLAGGED_TABLE) for row in pq.read_table(source / name).to_pylist()
    ]
    return {row["patch_id"]: row for row in rows}


def test_official_columns_come_first_and_unchanged(tree: Path, store: Store) -> None:
    table = store.table()
    assert table.column_names[: len(OFFICIAL)] == OFFICIAL
    for name, kind in zip(OFFICIAL, pq.read_schema(tree / TABLE).types, strict=True):
        assert table.schema.field(name).type == kind
    rows = table.select(OFFICIAL).to_pylist()
    assert rows == sorted(official(tree).values(), key=lambda row: row["patch_id"])


def test_our_columns_follow_in_order(store: Store) -> None:
    ours = store.table().column_names[len(OFFICIAL) :]
    assert ours == [
        *("s2_date", "s1_date"),
        *("has_s2", "has_s1", "has_map", "epsg", "left", "bottom", "right", "top"),
        *("s2_checksum", "s1_checksum", "map_checksum"),
    ]


def test_checksums_are_those_of_the_stored_bytes(store: Store) -> None:
    columns = {"s2": "{patch_id}", "s1": "{s1_name}", "map": "{patch_id}_reference_map"}
    values = stored_values(store.path)
    for row in store.table().to_pylist():
        for modality, key in columns.items():
            checksum = xxhash.xxh3_64_hexdigest(values[key.format_map(row)])
            assert row[f"{modality}_checksum"] == checksum


def test_the_ground_is_that_of_the_files(tree: Path, stacked: Path) -> None:
    for row in open_store(stacked).table().to_pylist():
        with rasterio.open(band_files(tree, "s2", row["patch_id"])["B02"]) as file:
            assert row["epsg"] == file.crs.to_epsg()
            bounds = tuple(row[side] for side in ("left", "bottom", "right", "top"))
            assert bounds == tuple(file.bounds)


def test_the_table_is_sorted_and_compressed(stacked: Path) -> None:
    names = open_store(stacked).table()["patch_id"].to_pylist()
    assert names == sorted(names)
    with pq.ParquetFile(stacked / "metadata.parquet") as file:
        assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_rows_without_pixels_are_counted(raw: Path, tmp_path: Path) -> None:
    for name in patches(raw, "s2")[:2]:
        row = official(raw)[name]
        for modality, key in (("s2", name), ("s1", row["s1_name"]), ("map", name)):
            shutil.rmtree(next(iter(band_files(raw, modality, key).values())).parent)
    report = made(raw, tmp_path / "store")
    assert (report.rows, report.rows_without_pixels) == (3, 2)
    assert "rows without pixels, left out: 2" in report.text()
    assert report.exit_code == 0


def test_a_patch_without_its_partner_is_reported(raw: Path, tmp_path: Path) -> None:
    first, second, *_ = official(raw).values()
    shutil.rmtree(band_files(raw, "s1", first["s1_name"])["VV"].parent)
    shutil.rmtree(band_files(raw, "s2", second["patch_id"])["B01"].parent)
    report = made(raw, tmp_path / "store")
    assert report.exit_code == 0
    assert report.without_partner["s2"] == {"s1": [first["patch_id"]]}
    assert report.without_partner["s1"] == {"s2": [second["s1_name"]]}
    assert first["patch_id"] in report.text()
    assert second["s1_name"] in report.text()
    rows = {row["patch_id"]: row for row in open_store(tmp_path / "store").table().to_pylist()}
    assert (rows[first["patch_id"]]["has_s2"], rows[first["patch_id"]]["has_s1"]) == (True, False)
    assert rows[first["patch_id"]]["s1_checksum"] is None
    assert (rows[second["patch_id"]]["has_s2"], rows[second["patch_id"]]["has_s1"]) == (False, True)
    assert rows[second["patch_id"]]["epsg"] is not None


def test_patches_without_a_row_are_reported_and_kept(raw: Path, tmp_path: Path) -> None:
    gone = patches(raw, "s2")[1]
    radar = official(raw)[gone]["s1_name"]
    for name in (TABLE, FLAGGED_TABLE):
        table = pq.read_table(raw / name)
        pq.write_table(table.filter(pc.not_equal(table["patch_id"], gone)), raw / name)
    report = made(raw, tmp_path / "store")
    assert report.without_row == {"s2": [gone], "s1": [radar], "map": [gone]}
    store = open_store(tmp_path / "store")
    assert store.read(gone).shape == (12, 120, 120)
    assert gone in store.keys("s2")
    (row,) = [row for row in store.table().to_pylist() if row["patch_id"] == gone]
    assert (row["labels"], row["split"], row["has_s2"], row["has_map"]) == (None, None, True, True)
    assert len(store.keys("s1")) == 5
    assert radar in store.keys("s1")


def test_without_tables_there_are_no_labels_and_the_report_says_so(
    raw: Path, tmp_path: Path
) -> None:
    for name in (TABLE, FLAGGED_TABLE):
        (raw / name).unlink()
    # If the maps were converted, labels would follow from them.
    report = made(raw, tmp_path / "store", modalities=("s2", "s1"))
    assert report.exit_code == 0
    assert not report.labelled
    assert "labels             none" in report.text()
    assert report.absent == ("metadata", "flagged")
    assert report.without_row == {}
    store = open_store(tmp_path / "store")
    assert "labels" not in store.table().column_names
    assert store.manifest.classes == {}
    assert store.manifest.splits == {}
    assert store.keys("s2") == patches(raw, "s2")
    assert store.keys("s1") == patches(raw, "s1")


def test_modalities_over_other_ground_are_reported(raw: Path, tmp_path: Path) -> None:
    row = next(iter(official(raw).values()))
    for path in band_files(raw, "s1", row["s1_name"]).values():
        with rasterio.open(path) as file:
            pixels, corner, system = file.read(1), file.transform, file.crs.to_epsg()
        data = tiff(pixels, system, int(corner.c) + 1200, int(corner.f), optical=False)
        path.write_bytes(data)
    report = made(raw, tmp_path / "store")
    assert report.other_ground == [row["patch_id"]]
    assert row["patch_id"] in report.text()


def test_splits_are_counted_by_modality(rows: list[Row], store: Store) -> None:
    splits = [row["split"] for row in rows]
    assert {name: dict(counts) for name, counts in store.manifest.splits.items()} == {
        split: dict.fromkeys(("rows", "s2", "s1", "map"), splits.count(split))
        for split in ("train", "validation", "test")
    }
    assert store.manifest.rows == len(rows)


def test_a_patch_without_georeference_has_no_ground(raw: Path, tmp_path: Path) -> None:
    name = patches(raw, "s2")[0]
    radar = official(raw)[name]["s1_name"]
    for modality, key in (("s2", name), ("s1", radar), ("map", name)):
        for path in band_files(raw, modality, key).values():
            pixels = first_band(path)
            path.unlink()
            geotiff(path, pixels[None])
    report = made(raw, tmp_path / "store")
    assert report.other_ground == []
    rows = {row["patch_id"]: row for row in open_store(tmp_path / "store").table().to_pylist()}
    assert [rows[name][column] for column in ("epsg", "left", "top")] == [None] * 3
    assert all(rows[other]["epsg"] for other in rows if other != name)


@pytest.mark.parametrize("columns", [["split"], ["patch_id", "country"]])
def test_values_survive_whatever_columns_are_asked(
    rows: list[Row], stacked: Path, columns: list[str]
) -> None:
    table = open_store(stacked).table(columns=columns)
    assert table.to_pylist() == [{name: dict(row)[name] for name in columns} for row in rows]
    assert not np.any([table[name].null_count for name in columns])
