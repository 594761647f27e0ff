"""The made tree has the published form: rasterio, pyarrow and the file sizes are the judges."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio

from tests.support.synthetic import CLASS_OF, PRODUCTS, SIZES, Row, make_tree

BYTES = {120: 29_196, 60: 7_572, 20: 1_172}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    root = tmp_path_factory.mktemp("tree")
    return root, make_tree(root, n=8, flagged=2, seed=0)


def test_every_file_opens_where_its_name_says(made: tuple[Path, list[Row]]) -> None:
    root, rows = made
    for row in rows:
        product = next(p for p in PRODUCTS if row["patch_id"].startswith(p.name))
        column, line = map(int, row["patch_id"].split("_")[-2:])
        files = [f for key in ("patch_id", "s1_name") for f in root.glob(f"*/*/{row[key]}/*.tif")]
        assert len(files) == 15
        for file in files:
            with rasterio.open(file) as source:
                assert source.crs.to_epsg() == product.epsg
                corner = source.transform.c, source.transform.f
                assert corner == (product.west + 1200 * column, product.north - 1200 * line)
                assert source.transform.a == -source.transform.e == 1200 / source.width
                assert source.nodata == (None if "S1" in file.name else 0)


def test_sizes_and_ranges_are_the_published_ones(made: tuple[Path, list[Row]]) -> None:
    root, _ = made
    for file in root.glob("BigEarthNet-S2/*/*/*.tif"):
        size = SIZES[file.stem[-3:]]
        assert file.stat().st_size == BYTES[size]
        with rasterio.open(file) as source:
            pixels = source.read(1)
        assert pixels.dtype == np.uint16
        assert pixels.shape == (size, size)
        assert pixels.min() >= 1
        assert pixels.max() <= 14_000
    for file in root.glob("BigEarthNet-S1/*/*/*.tif"):
        assert file.stat().st_size == 58_024
        with rasterio.open(file) as source:
            pixels = source.read(1)
        assert pixels.dtype == np.float32
        assert pixels.min() >= -53
        assert pixels.max() <= 23
        assert np.mean(pixels == np.round(pixels, 2)) < 0.01


def test_labels_are_the_classes_of_the_map(made: tuple[Path, list[Row]]) -> None:
    root, rows = made
    for row in rows:
        (file,) = root.glob(f"Reference_Maps/*/{row['patch_id']}/*_reference_map.tif")
        with rasterio.open(file) as source:
            codes = source.read(1)
        assert row["labels"] == sorted({CLASS_OF[c] for c in codes.flat if c in CLASS_OF})


def test_tables_have_the_official_columns(made: tuple[Path, list[Row]]) -> None:
    root, rows = made
    clear = pq.read_table(root / "metadata.parquet")
    hazy = pq.read_table(root / "metadata_for_patches_with_snow_cloud_or_shadow.parquet")
    assert clear.to_pylist() + hazy.to_pylist() == rows
    assert [str(field.type) for field in clear.schema] == [
        "string", "list<element: string>", *["string"] * 4, "bool", "bool",
    ]  # fmt: skip
    assert clear.column_names == list(Row.__annotations__)
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
    assert any(row["s1_name"].split("_")[-2:] == ["3", "8"] for row in rows)


def test_the_seed_decides_the_bytes(tmp_path: Path) -> None:
    rows = [make_tree(tmp_path / name, n=2, flagged=1, seed=5) for name in "ab"]
    assert rows[0] == rows[1]
    for file in (tmp_path / "a").rglob("*.*"):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()
