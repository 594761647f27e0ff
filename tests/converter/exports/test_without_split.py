"""Rows without a split: one name for them in all formats that have files for each split."""

import importlib.util
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import export_store
from patchpress.converter.options import ExportFormat
from tests.support.helpers import made, radar_with_nan

LIBRARIES = {"litdata": "litdata", "arrayrecord": "array_record"}


@pytest.mark.parametrize("kind", ["webdataset", "hf", "mds", "litdata", "arrayrecord"])
def test_rows_of_a_store_without_splits_are_train(tmp_path: Path, kind: str) -> None:
    assert kind in list(ExportFormat)
    library = LIBRARIES.get(kind)
    if library is not None and importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    exported = export_store(kind, radar_with_nan(tmp_path), tmp_path / "out")
    places = [
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")
    ]
    assert any(place.startswith(("train", "data/train")) for place in places)
    assert "the store has no splits: rows are in 'train'" in exported.notes


@pytest.mark.parametrize("kind", ["webdataset", "mds"])
def test_rows_without_one_of_the_splits_are_no_split(raw: Path, tmp_path: Path, kind: str) -> None:
    (path,) = raw.glob("metadata.parquet")
    table = pq.read_table(path)
    splits = [None, *table["split"].to_pylist()[1:]]
    at = table.column_names.index("split")
    pq.write_table(table.set_column(at, "split", pa.array(splits, pa.string())), path)
    made(raw, tmp_path / "store")
    exported = export_store(kind, tmp_path / "store", tmp_path / "out", flagged="include")
    assert any(one.name.startswith("no_split") for one in (tmp_path / "out").iterdir())
    assert "rows without a split are in 'no_split'" in exported.notes
