"""Groups of Zarr: what a store has, as zarr and xarray read them."""

import json
import sys
import tomllib
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from patchpress import OptionError, Store, convert, export_store, open_store
from patchpress.converter.exports.zarr import OLDEST, require_zarr
from tests.conftest import KINDS
from tests.support import dated
from tests.support.helpers import Ended, folder_bytes, radar_with_nan, tiny_dataset
from tests.support.loading import hot, refused, with_table

Command = Callable[..., Ended]


@pytest.fixture
def zarr() -> Any:
    """The library."""
    return pytest.importorskip("zarr", "3.1.2", reason="zarr is not installed: pip install zarr")


@pytest.fixture
def xarray(zarr: Any) -> Any:
    """The library, which reads groups of zarr by it."""
    return pytest.importorskip("xarray", reason="xarray is not installed: pip install xarray")


def require_equal(store: Store, group: Any, rows: list[dict[str, Any]]) -> None:
    """Each pixel, label, split and name of the group is that of the store's rows."""
    assert group["patch"][:].tolist() == [row["patch_id"] for row in rows]
    keys = {"s2": "{patch_id}", "s1": "{s1_name}", "map": "{patch_id}_reference_map"}
    names = store.manifest.classes["labels"]
    columns = ("has_s1", "has_s2", "has_map", "labels", "split", "country", "epsg", "left")
    found = {name: group[name][:] for name in columns}
    for name, key in keys.items():
        array = group[name]
        pixels = array[:]
        modality = store.manifest.modalities[name]
        assert array.dtype == modality.dtype
        assert array.attrs["bands"] == list(modality.band_names)
        assert array.attrs["gsd"] == [band.gsd for band in modality.bands]
        assert group[f"{name}_band"][:].tolist() == list(modality.band_names)
        for number, row in enumerate(rows):
            has = row[f"has_{name}"]
            assert found[f"has_{name}"][number] == has
            if has:
                np.testing.assert_array_equal(pixels[number], store.read(key.format(**row)))
            else:
                absent = np.nan if modality.dtype.kind == "f" else 0
                np.testing.assert_array_equal(pixels[number], np.full(modality.shape, absent))
    for number, row in enumerate(rows):
        wanted = hot(row["labels"], names) if row["labels"] is not None else -100
        np.testing.assert_array_equal(found["labels"][number], wanted)
        assert found["split"][number] == (row["split"] or "")
        assert found["country"][number] == (row["country"] or "")
        assert found["epsg"][number] == row["epsg"]
        assert found["left"][number] == row["left"]
    assert group["labels_class"][:].tolist() == list(names)


@pytest.mark.parametrize(
    "kind",
    [kind if kind[1] == "none" else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS],
    ids="-".join,
)
def test_arrays_are_the_records(
    zarr: Any, stores: dict[tuple[str, str], Path], tmp_path: Path, kind: tuple[str, str]
) -> None:
    store = open_store(stores[kind])
    exported = export_store("zarr", stores[kind], tmp_path / "out", chunk=3, shard_size="2MB")
    rows = store.table(flagged="exclude").to_pylist()
    group = zarr.open_group(tmp_path / "out", mode="r")
    require_equal(store, group, rows)
    assert group["s2"].chunks == (3, 12, 120, 120)
    assert group["s2"].shards == (3, 12, 120, 120)
    assert exported.rows == len(rows)
    files = [path for name in ("s1", "s2", "map") for path in (tmp_path / "out" / name).rglob("0")]
    assert exported.files == len([path for path in files if path.is_file()])
    flagged = store.manifest.flagged.rows
    assert any(f"of which the store has {flagged}: --flagged" in note for note in exported.notes)
    assert group.attrs["licence"] == store.manifest.dataset.licence
    assert group.attrs["citation"] == store.manifest.dataset.citation
    assert group["s2"].attrs["wavelengths"][1] == 492.7


def test_a_part_of_a_store_is_written_alike_each_time(
    zarr: Any, stacked: Path, tmp_path: Path
) -> None:
    words: dict[str, Any] = {"modalities": "s2", "split": ["train", "test"], "codec": "zstd"}
    export_store("zarr", stacked, tmp_path / "out", **words)
    store = open_store(stacked)
    group = zarr.open_group(tmp_path / "out", mode="r")
    keys = store.keys("s2", split=["train", "test"])
    np.testing.assert_array_equal(group["s2"][:], store.read_batch(keys))
    assert "s1" not in group
    export_store("zarr", stacked, tmp_path / "again", **words)
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "again")


def test_files_stay_few_and_have_the_size_that_was_asked_for(
    zarr: Any, stacked: Path, tmp_path: Path
) -> None:
    words: dict[str, Any] = {"modalities": "s2", "codec": "none", "flagged": "include"}
    exported = export_store("zarr", stacked, tmp_path / "out", shard_size="1.4MB", **words)
    files = sorted(path for path in (tmp_path / "out" / "s2" / "c").rglob("*") if path.is_file())
    assert len(files) == exported.files == -(-exported.rows // 4)
    assert all(path.stat().st_size < 1_400_000 for path in files)


@pytest.mark.slow
def test_xarray_reads_them(xarray: Any, stacked: Path, tmp_path: Path) -> None:
    export_store("zarr", stacked, tmp_path / "out", split="train")
    store = open_store(stacked)
    with xarray.open_zarr(tmp_path / "out", chunks=None) as data:
        assert set(data.data_vars) == {"s1", "s2", "map"}
        assert data["s2"].dims == ("patch", "s2_band", "s2_y", "s2_x")
        (key,) = store.keys("s2", split="train")[:1]
        found = data["s2"].sel(patch=key, s2_band=["B04", "B03"]).values
        np.testing.assert_array_equal(found, store.read(key, bands=["B04", "B03"]))
        assert set(data["split"].values) == {"train"}
        assert data["labels"].dims == ("patch", "labels_class")
        assert data["labels"].dtype == np.int8


def test_dates_of_a_record_are_an_axis(xarray: Any, tmp_path: Path) -> None:
    places = {"lake1": dated.DATES, "lake2": dated.DATES[1:3]}
    dated.write_optical(tmp_path / "raw", places)
    dated.write_radar(tmp_path / "raw", {"lake1": dated.DATES[:3], "lake2": dated.DATES[:1]})
    convert(dated.described(tmp_path), tmp_path / "raw", tmp_path / "store", workers=0)
    export_store("zarr", tmp_path / "store", tmp_path / "out")
    store = open_store(tmp_path / "store")
    with xarray.open_zarr(tmp_path / "out", chunks=None) as data:
        assert data["optical"].dims[:3] == ("patch", "optical_step", "optical_band")
        for name, prefix in (("optical", "o_"), ("radar", "r_")):
            for number, key in enumerate(data["patch"].values):
                np.testing.assert_array_equal(data[name].values[number], store.read(prefix + key))
        found = np.sort(data["optical_dates"].values.astype("datetime64[D]"), axis=None)
        wanted = sorted(
            np.datetime64(f"{d[:4]}-{d[4:6]}-{d[6:]}") for p in places.values() for d in p
        )
        assert found[: len(wanted)].tolist() == np.array(wanted).tolist()
        assert np.isnat(found[len(wanted) :]).all()
        assert sorted(data["optical_steps"].values.tolist()) == [2, 4]


def test_every_kind_of_column_is_kept_or_told(xarray: Any, tmp_path: Path) -> None:
    store = open_store(radar_with_nan(tmp_path))
    table = store.table()
    moment = datetime(2020, 1, 2, 3, 4, 5, 678_901)
    columns: dict[str, Any] = {
        "whole": pa.array([1, None, 3], pa.int16()),
        "large": pa.array([2**62 + 1, None, 3], pa.int64()),
        "truth": pa.array([True, None, False]),
        "decibel": pa.array([1.5, None, np.inf], pa.float32()),
        "a": pa.array(["like the modality", None, "x"]),
        "patch": pa.array(["like the dimension", "y", "z"]),
        "zarr.json": pa.array([1, 2, 3]),
        "one/two": pa.array([1, 2, 3]),
        "": pa.array([1, 2, 3]),
        "day": pa.array([date(2020, 1, 2), None, date(1969, 12, 31)]),
        "moment": pa.array([moment, None, moment], pa.timestamp("us")),
        "outline": pa.array([b"\x01\xff", b"", None]),
        "box": pa.array([{"west": 1.0}, None, {"west": float("nan")}]),
        "scenes": pa.array([["S1", "S2"], [], None]),
    }
    for name, values in columns.items():
        table = table.append_column(name, values)
    with_table(store.path, table)
    store = open_store(store.path)
    exported = export_store("zarr", store.path, tmp_path / "out")
    notes = "\n".join(exported.notes)
    for told in (
        "rows without whole, which are NaN: 1",
        "column large (int64) is written as JSON",
        "'one/two' is called one%2Ftwo",
        "'zarr.json' is called zarr.json_",
        "column box (struct<west: double>) is written as JSON",
        "column outline (bytes) is written in hexadecimal",
    ):
        assert told in notes
    with xarray.open_zarr(tmp_path / "out", chunks=None) as data:
        np.testing.assert_array_equal(data["whole"], [1, np.nan, 3])
        np.testing.assert_array_equal(data["truth"], [1, np.nan, 0])
        np.testing.assert_array_equal(data["decibel"], [1.5, np.nan, np.inf])
        assert data["large"].values.tolist() == [str(2**62 + 1), "", "3"]
        assert data["a_"].values.tolist() == ["like the modality", "", "x"]
        assert data["patch_"].values.tolist() == ["like the dimension", "y", "z"]
        assert data["patch"].values.tolist() == store.keys("a")
        for name in ("zarr.json_", "one%2Ftwo", "column"):
            assert data[name].values.tolist() == [1, 2, 3]
        days = data["day"].values.astype("datetime64[D]")
        assert [str(day) for day in days] == ["2020-01-02", "NaT", "1969-12-31"]
        assert str(data["moment"].values[0]) == "2020-01-02T03:04:05.678901000"
        assert data["outline"].values.tolist() == ["01ff", "", ""]
        assert [json.loads(one or "0") for one in data["box"].values] == [
            {"west": 1.0},
            0,
            {"west": None},
        ]
        assert data["scenes"].values.tolist() == ['["S1", "S2"]', "[]", ""]
        for number, key in enumerate(store.keys("a")):
            np.testing.assert_array_equal(data["a"].values[number], store.read(key))


def test_wrong_options_are_one_sentence(
    zarr: Any, patchpress: Command, stacked: Path, tmp_path: Path
) -> None:
    words = ("export", "zarr", stacked, tmp_path / "out")
    sentence = patchpress(*words, "--chunk", "9", "--shard-size", "1MB").sentence
    assert sentence.startswith("a chunk of 9 patches has 4.4 MB of pixels, and a shard 1.0 MB")
    assert patchpress(*words, "--chunk", "0").sentence == (
        "a chunk must have 1 patch or more, not 0"
    )
    assert "'lz4' is unknown" in patchpress(*words, "--codec", "lz4").err
    assert "deflate is for geotiff, not for zarr" in patchpress(*words, "--deflate").sentence
    other = ("export", "webdataset", stacked, tmp_path / "out")
    assert patchpress(*other, "--chunk", "2").sentence == (
        "chunk 2 is for zarr, not for webdataset: leave it out"
    )
    assert "is for zarr" in patchpress(*other, "--codec", "zstd").sentence
    assert not (tmp_path / "out").exists()


def test_records_of_any_size_are_refused(zarr: Any, tmp_path: Path) -> None:
    description = tiny_dataset(tmp_path, {"g": ["p1"]})
    text = description.read_text().replace('kind = "image"', 'kind = "image"\nany_size = true')
    description.write_text(text)
    convert(description, tmp_path / "raw", tmp_path / "store", layout="native", workers=0)
    sentence = refused(
        OptionError, lambda: export_store("zarr", tmp_path / "store", tmp_path / "out")
    )
    assert sentence.startswith("patches of a may differ in size, and an array of Zarr has one")
    assert not (tmp_path / "out").exists()


def test_without_zarr_the_way_out_is_told(
    stacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    sentence = refused(OptionError, lambda: export_store("zarr", stacked, tmp_path / "out"))
    assert sentence.endswith("which is not installed: pip install 'zarr>=3.1.2'")


def test_the_oldest_library_is_that_of_the_extra() -> None:
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    assert tomllib.loads(text)["project"]["optional-dependencies"]["zarr"] == [f"zarr>={OLDEST}"]


@pytest.mark.parametrize("version", ["2.18.4", "3.0.10", "3.1.1", "3.1.1.post1"])
def test_an_older_library_is_told(version: str, zarr: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zarr, "__version__", version)
    with pytest.raises(OptionError, match=f"needs zarr 3.1.2, and {version} is here: pip install"):
        require_zarr()
