"""Records for Grain: what a store has, as array_record and grain read them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load

from patchpress import OptionError, convert, export_store, open_store
from tests.support.dated import DATES, described, write_optical, write_radar
from tests.support.helpers import Ended, folder_bytes
from tests.support.loading import hot, refused

Command = Callable[..., Ended]
KEYS = {"s2": "{patch_id}", "s1": "{s1_name}", "map": "{patch_id}_reference_map"}
WAY = "array_record is not installed: make neighbours"


@pytest.fixture
def reader() -> Any:
    """The library's class that reads a file."""
    module = pytest.importorskip("array_record.python.array_record_module", reason=WAY)
    return module.ArrayRecordReader


def records_of(reader: Any, paths: list[Path]) -> list[bytes]:
    found: list[bytes] = []
    for path in paths:
        opened = reader(str(path))
        found += opened.read_all()
        opened.close()
    return found


@pytest.mark.parametrize("codec", ["zstd", "none"])
def test_records_are_the_rows(reader: Any, native: Path, tmp_path: Path, codec: str) -> None:
    store, out = open_store(native), tmp_path / "out"
    exported = export_store("arrayrecord", native, out, shard_size="400kB", codec=codec)
    names = list(store.manifest.classes["labels"])
    table = pq.read_table(out / "metadata.parquet").to_pylist()
    assert [row["patch_id"] for row in table] == [
        row["patch_id"] for row in store.table(flagged="exclude").to_pylist()
    ]
    total = 0
    for split in store.manifest.splits:
        rows = store.table(split=split).to_pylist()
        paths = sorted(out.glob(f"{split}-*.array_record"))
        assert len(paths) > 1
        assert paths[-1].name.endswith(f"-of-{len(paths):05}.array_record")
        records = records_of(reader, paths)
        for row, record in zip(rows, records, strict=True):
            found = load(record)
            assert set(found) == {"row", "labels", *KEYS}
            assert table[int(found["row"])]["patch_id"] == row["patch_id"]
            np.testing.assert_array_equal(found["labels"], hot(row["labels"], names))
            for name, key in KEYS.items():
                wanted = store.read(key.format(**row))
                np.testing.assert_array_equal(found[name], wanted)
                assert found[name].dtype == wanted.dtype
        total += len(rows)
    assert exported.rows == total
    facts = json.loads((out / "export.json").read_bytes())
    assert sum(facts["shards"].values()) == total


@pytest.mark.usefixtures("reader")
def test_the_same_again_is_the_same(stacked: Path, tmp_path: Path) -> None:
    words: dict[str, Any] = {"modalities": "map", "split": "test"}
    export_store("arrayrecord", stacked, tmp_path / "out", **words)
    export_store("arrayrecord", stacked, tmp_path / "again", **words)
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "again")


@pytest.mark.slow
def test_dates_and_records_that_are_absent(reader: Any, tmp_path: Path) -> None:
    write_optical(tmp_path / "raw", {"a1": DATES, "a2": DATES[:2]})
    write_radar(tmp_path / "raw", {"a1": DATES[:3]})
    convert(described(tmp_path), tmp_path / "raw", tmp_path / "store", workers=0)
    exported = export_store("arrayrecord", tmp_path / "store", tmp_path / "out")
    found = [load(one) for one in records_of(reader, list((tmp_path / "out").glob("train-*")))]
    store = open_store(tmp_path / "store")
    np.testing.assert_array_equal(found[1]["optical"], store.read("o_a2"))
    assert found[0]["optical"].shape == (4, 3, 16, 16)
    assert [set(one) for one in found] == [{"row", "optical", "radar"}, {"row", "optical"}]
    told = "records without radar, which readers cannot put into a batch with others: 1"
    assert told in exported.notes


@pytest.mark.slow
@pytest.mark.usefixtures("reader")
@pytest.mark.filterwarnings("ignore")  # of what grain imports
def test_grain_reads_batches(stacked: Path, tmp_path: Path) -> None:
    grain = pytest.importorskip("grain", reason="grain of array_record is not installed")
    export_store("arrayrecord", stacked, tmp_path / "out", split="train")
    paths = [str(path) for path in sorted((tmp_path / "out").glob("train-*.array_record"))]
    source = grain.sources.ArrayRecordDataSource(paths)
    batches = list(grain.MapDataset.source(source).map(load).batch(2))
    store = open_store(stacked)
    rows = store.table(split="train").to_pylist()
    found = np.concatenate([one["s2"] for one in batches])
    np.testing.assert_array_equal(found, [store.read(row["patch_id"]) for row in rows])
    assert np.concatenate([one["row"] for one in batches]).tolist() == list(range(len(rows)))


@pytest.mark.usefixtures("reader")
def test_wrong_options_are_one_sentence(patchpress: Command, stacked: Path, tmp_path: Path) -> None:
    words = ("export", "arrayrecord", stacked, tmp_path / "out")
    assert (
        "has no codec blosc; it has zstd, none" in patchpress(*words, "--codec", "blosc").sentence
    )
    assert "chunk 2 is for zarr" in patchpress(*words, "--chunk", "2").sentence
    assert "must have 1 byte or more" in patchpress(*words, "--shard-size", "0").sentence
    other = ("export", "webdataset", stacked, tmp_path / "out")
    assert "codec 'zstd' is for zarr" in patchpress(*other, "--codec", "zstd").sentence
    assert not (tmp_path / "out").exists()


def test_without_the_library_the_way_out_is_told(
    stacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "array_record.python", None)
    sentence = refused(OptionError, lambda: export_store("arrayrecord", stacked, tmp_path / "out"))
    assert sentence.endswith("which is not installed: pip install array_record")
