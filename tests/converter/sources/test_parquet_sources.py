"""Patches that are rows of Parquet files, with the bytes of their files in columns."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from patchpress import Report, convert, open_store
from patchpress.readers.errors import DescriptionError
from tests.support.helpers import UTM, WORKERS, Ended, folder_bytes, geotiff

pytestmark = pytest.mark.slow

Command = Callable[..., Ended]
TOML = """
[dataset]
name = "squares"
version = "1"
title = "Squares"
licence = "none"
citation = "none"
url = "https://example.org"

[modalities.s2]
title = "Two bands"
kind = "image"
folder = "S2"
path = "{row}/{cell}/{product}/{band}.tif"
key = "{patch_id}"
name = "{cell}_{product}"
bands = [
    { name = "B02", gsd = 10, dtype = "uint16", shape = [8, 8] },
    { name = "B05", gsd = 20, dtype = "uint16", shape = [4, 4] },
]
columns = { cell = "{cell}" }

[modalities.s2.parquet]
files = "Core-S2/images/*.parquet"
fields = { cell = "grid_cell", product = "product_id" }

[modalities.s2.fields]
row = '\\d+U'
cell = '(?P<row>\\d+U)_\\d+R'
product = 'S2_\\w+'
band = 'B\\d\\d'
"""
COUNT = 7
Rows = list[dict[str, Any]]


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    (tmp_path / "squares.toml").write_text(TOML)
    return tmp_path / "squares.toml"


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """The rows of the patches, which lie in the folder `unpacked`, too."""
    draw = np.random.default_rng(5)
    found = []
    for number in range(COUNT):
        cell, product = f"{number}U_{number}R", f"S2_{number:02}"
        folder = tmp_path / "unpacked" / "S2" / f"{number}U" / cell / product
        folder.mkdir(parents=True)
        row: dict[str, Any] = {"grid_cell": cell, "product_id": product, "thumbnail": b"png"}
        for band, size in (("B02", 8), ("B05", 4)):
            pixels = draw.integers(0, 9999, (1, size, size), np.uint16)
            ground = UTM | {"transform": (80 / size, 0, 331_200, 0, -80 / size, 5_331_600)}
            row[band] = geotiff(folder / f"{band}.tif", pixels, **ground).read_bytes()
        found.append(row)
    return found


def written(folder: Path, rows: Rows, group: int = 1, **options: Any) -> Path:
    """Write rows as a hub has them, into two files; gives the source."""
    images = folder / "Core-S2" / "images"
    images.mkdir(parents=True, exist_ok=True)
    for number, some in enumerate((rows[:4], rows[4:])):
        table = pa.Table.from_pylist(some or rows[:1])
        path = images / f"part_{number:05}.parquet"
        parquet.write_table(table.slice(0, len(some)), path, row_group_size=group, **options)
    return folder


def made(toml: Path, source: Path, store: Path, **options: Any) -> Report:
    return convert(toml, source, store, **{"workers": 0, **options})


@pytest.mark.parametrize("group", [1, 3, 100])
@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("options", [{}, {"shards": 2}, {"limit": 3}], ids=str)
def test_rows_give_the_store_of_folders(
    toml: Path, rows: Rows, tmp_path: Path, group: int, workers: int, options: dict[str, Any]
) -> None:
    # The patches of a limit are taken from their order, which is another one if rows lie otherwise.
    ordered = rows if "limit" in options else rows[::-1]
    hub = written(tmp_path / "hub", ordered, group, compression="zstd")
    made(toml, tmp_path / "unpacked", tmp_path / "a", **options)
    made(toml, hub, tmp_path / "b", workers=workers, **options)
    assert len(open_store(tmp_path / "b")) == options.get("limit", COUNT)
    assert folder_bytes(tmp_path / "a") == folder_bytes(tmp_path / "b")


def test_they_are_verified_rehearsed_and_found_elsewhere(
    toml: Path, rows: Rows, tmp_path: Path, patchpress: Command
) -> None:
    hub = written(tmp_path / "hub", rows)
    store = tmp_path / "store"
    ended = patchpress("convert", toml, hub, store, "--dry-run")
    assert ended.code == 0, ended.err
    (tmp_path / "some").mkdir()
    for path in (hub / "Core-S2", hub / "Core-S2" / "images"):
        given = f"--path=s2={path}"
        assert patchpress("convert", toml, tmp_path / "some", store, given, "--overwrite").code == 0
    ended = patchpress("verify", store, "--against", hub, "--dataset", toml)
    assert (ended.code, ended.err) == (0, "")
    assert f"compared with the source  {COUNT}" in ended.out
    made(toml, tmp_path / "unpacked", tmp_path / "whole")
    assert folder_bytes(store) == folder_bytes(tmp_path / "whole")


def test_a_folder_beside_them_is_read(toml: Path, rows: Rows, tmp_path: Path) -> None:
    source = written(tmp_path / "unpacked", rows[:2])
    report = made(toml, source, tmp_path / "store")
    assert len(open_store(tmp_path / "store")) == COUNT
    assert "is read, not Core-S2/images/part_00000.parquet beside it" in report.text()


def _without(rows: Rows) -> Rows:
    return [{name: row[name] for name in row if name != "B05"} for row in rows]


def _changed(number: int, **values: Any) -> Callable[[Rows], Rows]:
    return lambda rows: [{**row, **values} if at == number else row for at, row in enumerate(rows)]


BAD: dict[str, tuple[Callable[[Rows], Rows], str]] = {
    "no column": (_without, "part_00000.parquet has no column B05: it has grid_cell, product_id"),
    "texts": (
        lambda rows: [{**row, "B05": "text"} for row in rows],
        "part_00000.parquet: column B05 has no bytes of files, but string",
    ),
    "null": (_changed(2, B05=None), "part_00000.parquet/row 2/B05.tif is missing"),
    "no TIFF": (_changed(2, B05=b"<html>"), "part_00000.parquet/row 2/B05.tif is no TIFF"),
    "no name": (_changed(2, product_id=None), "row 2: product_id is null, which is no product"),
    "another name": (
        _changed(5, product_id="L8"),
        "row 1: product_id is 'L8', which is no product",
    ),
    "twice": (
        lambda rows: [*rows[:-1], rows[0]],
        "part_00000.parquet/row 0 and in",
    ),
    "large": (_changed(2, B05=bytes(90_000)), "bytes of B05 in row group 2, far more than"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_is_told_with_file_and_row(
    toml: Path, rows: Rows, tmp_path: Path, patchpress: Command, kind: str
) -> None:
    change, said = BAD[kind]
    hub = written(tmp_path / "hub", change(rows))
    ended = patchpress("convert", toml, hub, tmp_path / "store", "--workers", 0)
    assert ended.code == 1
    assert said in ended.sentence
    assert not (tmp_path / "store" / "manifest.json").exists()


@pytest.mark.parametrize("left", [0, 3, 200, -20])
def test_a_file_that_is_cut_is_told(
    toml: Path, rows: Rows, tmp_path: Path, patchpress: Command, left: int
) -> None:
    hub = written(tmp_path / "hub", rows)
    path = hub / "Core-S2" / "images" / "part_00001.parquet"
    path.write_bytes(path.read_bytes()[:left])
    ended = patchpress("convert", toml, hub, tmp_path / "store", "--workers", 0)
    assert ended.code == 1
    assert ended.sentence.startswith(f"{path} is no whole Parquet file")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('cell = "grid_cell", ', ""), "parquet.fields' must have cell"),
        (('files = "Core-S2/images/*.parquet"', 'files = "../*.parquet"'), "parquet"),
        (('fields = { cell = "grid_cell", product = "product_id" }', ""), "fields"),
    ],
)
def test_a_description_that_does_not_fit_is_told(
    toml: Path, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    assert change[0] in TOML
    toml.write_text(TOML.replace(*change))
    with pytest.raises(DescriptionError, match=said):
        made(toml, tmp_path, tmp_path / "store")


TABLE = """
[tables.metadata]
file = "*/metadata.parquet"
key = "{grid_cell}_{product_id}"
rename = { cell = "grid_cell", product = "product_id" }
"""


def _with_metadata(source: Path, folder: str, rows: Rows, **more: Any) -> None:
    """A table beside the images, in another order, with one row more than there are patches."""
    found = [
        {
            "grid_cell": row["grid_cell"],
            "product_id": row["product_id"],
            "timestamp": f"2020-02-{at + 1:02} 03:27:39",
            "cloud_cover": at / 4,
            "geometry": bytes([at]) * 20,
            **more,
        }
        for at, row in enumerate([*rows, {"grid_cell": "99U_1R", "product_id": "S2_99"}])
    ]
    (source / folder).mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(found[::-1]), source / folder / "metadata.parquet")


@pytest.mark.parametrize("limit", [None, 3])
def test_a_table_whose_key_is_several_columns(
    toml: Path, rows: Rows, tmp_path: Path, limit: int | None
) -> None:
    toml.write_text(TOML + TABLE)
    hub = written(tmp_path / "hub", rows)
    _with_metadata(hub, "Core-S2", rows)
    _with_metadata(tmp_path / "unpacked", "S2", rows)
    report = made(toml, hub, tmp_path / "store", limit=limit)
    made(toml, tmp_path / "unpacked", tmp_path / "other", limit=limit)
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "other")
    table = open_store(tmp_path / "store").table()
    count = limit or COUNT
    assert report.rows_without_pixels == (0 if limit else 1)
    assert len(table) == count
    for row in table.to_pylist():
        at = int(row["product"].removeprefix("S2_"))
        assert row["patch_id"] == f"{at}U_{at}R_S2_{at:02}"
        assert (row["cell"], row["cloud_cover"]) == (f"{at}U_{at}R", at / 4)
        assert row["timestamp"] == f"2020-02-{at + 1:02} 03:27:39"
        assert row["source_geometry"] == bytes([at]) * 20


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"product_id": None}, r"metadata.parquet has 8 rows without patch_id"),
        (
            {"product_id": "S2_00", "grid_cell": "0U_0R"},
            r"patch 0U_0R_S2_00 is in the tables twice",
        ),
        (
            {"product_id": "other"},
            r"no patch of the source is in .*metadata.parquet: a name there ",
        ),
    ],
)
def test_a_key_of_several_columns_that_names_no_patch(
    toml: Path,
    rows: Rows,
    tmp_path: Path,
    patchpress: Command,
    more: dict[str, Any],
    sentence: str,
) -> None:
    toml.write_text(TOML + TABLE)
    hub = written(tmp_path / "hub", rows)
    _with_metadata(hub, "Core-S2", rows, **more)
    ended = patchpress("convert", toml, hub, tmp_path / "store")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert re.search(sentence, ended.err)
