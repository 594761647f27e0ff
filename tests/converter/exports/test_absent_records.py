"""Rows that lack a modality are told, whatever a format does with them."""

import importlib.util
import shutil
from pathlib import Path

import pytest

from patchpress import export_store, open_store
from patchpress.converter.options import ExportFormat
from tests.support.helpers import made, patches

LIBRARIES = {"zarr": "zarr", "litdata": "litdata", "arrayrecord": "array_record"}


@pytest.fixture
def store(raw: Path, tmp_path: Path) -> Path:
    """Of 4 patches, of which one has no Sentinel-1 and another no map."""
    for modality, folder, at in (("s1", "BigEarthNet-S1", 0), ("map", "Reference_Maps", 3)):
        (place,) = (raw / folder).glob(f"*/{patches(raw, modality)[at]}")
        shutil.rmtree(place)
    made(raw, tmp_path / "store")
    return tmp_path / "store"


@pytest.mark.parametrize("kind", [str(one) for one in ExportFormat])
def test_rows_without_a_modality_are_told(store: Path, tmp_path: Path, kind: str) -> None:
    library = LIBRARIES.get(kind)
    if library is not None and importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    rows = open_store(store).table(flagged="exclude").to_pylist()
    exported = export_store(kind, store, tmp_path / "out", flagged="exclude")
    for name in ("s2", "s1", "map"):
        lacking = sum(not row[f"has_{name}"] for row in rows)
        told = [note for note in exported.notes if f" without {name}," in note]
        assert [note.rpartition(": ")[2] for note in told] == [f"{lacking:,}"] * bool(lacking)
    assert {"s1", "map"} <= {name[4:] for row in rows for name, is_there in row.items()
                             if name.startswith("has_") and not is_there}  # fmt: skip


@pytest.mark.parametrize("kind", ["mds", "webdataset"])
def test_only_modalities_that_are_exported_are_told(store: Path, tmp_path: Path, kind: str) -> None:
    exported = export_store(kind, store, tmp_path / "out", modalities="s2")
    assert exported.records == {"s2": 4}
    assert not any(" without s" in note for note in exported.notes)
