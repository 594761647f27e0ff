"""metadata.parquet is GeoParquet, wherever it is written; and readers see what they saw before."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rasterio.warp import transform

from patchpress import convert, copy_store, index, merge_stores, open_store, verify
from patchpress.converter.tables.geoparquet import ROWS_TOGETHER
from patchpress.converter.tables.metadata_file import metadata_bytes
from tests.converter.tables.test_footprints import CLOSE, parsed
from tests.support.helpers import command

METADATA = "metadata.parquet"


def said(path: Path) -> dict[str, Any]:
    """What a file says of its geometry."""
    found = pq.read_metadata(path).metadata[b"geo"]
    content: dict[str, Any] = json.loads(found)
    assert content["version"] == "1.1.0"
    assert content["primary_column"] == "geometry"
    column: dict[str, Any] = content["columns"]["geometry"]
    return column


def require_footprints(path: Path) -> pa.Table:
    """The table, each footprint the corners of its row's bounds, as GDAL places them."""
    table, column = pq.read_table(path), said(path)
    assert table.column_names[-2:] == ["geometry", "bbox"]
    assert column["encoding"] == "WKB"
    assert "crs" not in column  # which is OGC:CRS84
    assert column["covering"]["bbox"]["xmax"] == ["bbox", "xmax"]
    boxes = []
    for row in table.to_pylist():
        if row["epsg"] is None:
            assert (row["geometry"], row["bbox"]) == (None, None)
            continue
        (ring,) = parsed(row["geometry"])
        xs = [row["left"], row["right"], row["right"], row["left"]]
        ys = [row["bottom"], row["bottom"], row["top"], row["top"]]
        corners = np.transpose(transform(f"EPSG:{row['epsg']}", "EPSG:4326", xs, ys))
        np.testing.assert_allclose(ring[:4], corners, atol=CLOSE)
        box = row["bbox"]
        assert (np.array([box["xmin"], box["ymin"]]) <= ring.min(axis=0)).all()
        assert (np.array([box["xmax"], box["ymax"]]) >= ring.max(axis=0)).all()
        boxes.append([*ring.min(axis=0), *ring.max(axis=0)])
    low, high = np.min(boxes, axis=0)[:2], np.max(boxes, axis=0)[2:]
    np.testing.assert_array_equal(column["bbox"], [*low, *high])
    return table


@pytest.mark.slow
def test_a_conversion_writes_footprints_that_readers_do_not_load(raw: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    report = convert("bigearthnet-v2", raw, store, workers=0)
    table = require_footprints(store / METADATA)
    assert table["geometry"].null_count == 0
    assert said(store / METADATA)["geometry_types"] == ["Polygon"]
    assert report.footprints == report.rows
    assert "footprints" not in report.text()
    opened = open_store(store)
    assert opened.table().equals(table.drop_columns(["geometry", "bbox"]))
    assert b"geo" not in (opened.table().schema.metadata or {})
    some = opened.table(columns=["geometry", "patch_id"])
    assert some.column_names == ["geometry", "patch_id"]
    assert some["geometry"].equals(table["geometry"])
    key = table["patch_id"][0].as_py()
    shown = command("inspect", store, key)
    assert shown.code == 0
    assert "geometry" not in shown.out
    assert "bbox" not in shown.out
    assert verify(store).good


@pytest.mark.slow
def test_other_stores_made_of_a_store_have_footprints(raw: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    convert("bigearthnet-v2", raw, store, workers=0)
    names = open_store(store).table(columns="patch_id")["patch_id"].to_pylist()
    for part, keys in (("a", names[:3]), ("b", names[3:])):
        copy_store(store, tmp_path / part, where={"patch_id": keys})
        assert require_footprints(tmp_path / part / METADATA)["patch_id"].to_pylist() == keys
    merge_stores([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    both = require_footprints(tmp_path / "both" / METADATA)
    assert both.equals(pq.read_table(store / METADATA))
    done = command("index", store, "--split", "geographic", "--block", "1km")
    assert done.code == 0, done.err
    require_footprints(store / METADATA)
    index(store)
    require_footprints(store / METADATA)


def test_a_table_without_places_is_no_geoparquet(tmp_path: Path) -> None:
    rows = table_of([0, 0, 9_999_999])
    path = tmp_path / METADATA
    path.write_bytes(metadata_bytes(path, rows))
    assert pq.read_table(path).equals(rows)
    assert b"geo" not in (pq.read_metadata(path).metadata or {})


def test_rows_without_a_place_have_nulls(tmp_path: Path) -> None:
    path = tmp_path / METADATA
    path.write_bytes(metadata_bytes(path, table_of([0, 32633, 0])))
    found = require_footprints(path)
    assert found["geometry"].is_valid().to_pylist() == [False, True, False]
    assert found["bbox"].is_valid().to_pylist() == [False, True, False]


def test_each_row_group_says_where_its_rows_lie(tmp_path: Path) -> None:
    path = tmp_path / METADATA
    count = 5 * ROWS_TOGETHER
    path.write_bytes(metadata_bytes(path, table_of([32633] * count, step=1200)))
    file = pq.ParquetFile(path)
    assert file.num_row_groups == 5
    for number in range(5):
        group = file.metadata.row_group(number)
        (low,) = (
            group.column(at).statistics.min
            for at in range(group.num_columns)
            if group.column(at).path_in_schema == "bbox.xmin"
        )
        assert (
            low
            == file.read_row_group(number, ["bbox"])["bbox"].combine_chunks().field(0)[0].as_py()
        )


def test_a_source_with_a_column_of_that_name_keeps_it(raw: Path, tmp_path: Path) -> None:
    path = raw / METADATA
    table = pq.read_table(path)
    pq.write_table(table.append_column("geometry", pa.array(["POINT (1 2)"] * len(table))), path)
    convert("bigearthnet-v2", raw, tmp_path / "store", workers=0)
    found = require_footprints(tmp_path / "store" / METADATA)
    assert set(found["source_geometry"].to_pylist()) <= {"POINT (1 2)", None}


def table_of(codes: list[int], step: float = 0) -> pa.Table:
    """Rows with these EPSG codes, one after the other towards the east; 0 for a row without."""
    count = len(codes)
    left = 300_000 + step * np.arange(count) / 200
    bottom = np.full(count, 5e6)
    sides = {"left": left, "bottom": bottom, "right": left + 1200, "top": bottom + 1200}
    none = np.array(codes) == 0
    columns = {"patch_id": pa.array([f"p{n:06}" for n in range(count)])}
    columns["epsg"] = pa.array(np.array(codes, np.int32), mask=none)
    for side, values in sides.items():
        columns[side] = pa.array(values, mask=none)
    return pa.table(columns)


def test_real_patches_lie_where_gdal_says(shared_data: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    convert("bigearthnet-v2", shared_data / "bigearthnet-v2/sample", store, workers=0)
    table = require_footprints(store / METADATA)
    assert table["geometry"].null_count == 0


def test_geopandas_reads_it(raw: Path, tmp_path: Path) -> None:
    geopandas = pytest.importorskip("geopandas", reason="geopandas is not installed")
    convert("bigearthnet-v2", raw, tmp_path / "store", workers=0)
    path = tmp_path / "store" / METADATA
    found = geopandas.read_parquet(path)
    assert found.crs == "OGC:CRS84"
    assert found.is_valid.all()
    np.testing.assert_array_equal(found.total_bounds, said(path)["bbox"])
    west, south, east, north = found.total_bounds
    assert len(geopandas.read_parquet(path, bbox=(west, south, east, north))) == len(found)
    assert not len(geopandas.read_parquet(path, bbox=(west - 2, south, west - 1, north)))
