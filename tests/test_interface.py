"""The public interface as the documentation promises it, used as its examples use it."""

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest
from helpers import DATASET, first_band

import converter
import readers
from converter import ConvertOptions, convert, verify
from readers import open_store


def test_what_the_packages_export_is_there_and_sorted() -> None:
    for package in (converter, readers):
        assert package.__all__ == sorted(package.__all__)
        for name in package.__all__:
            assert not inspect.ismodule(getattr(package, name)), name


def test_packages_are_typed() -> None:
    for package in ("converter", "readers"):
        folder = Path(str(importlib.import_module(package).__file__)).parent
        assert (folder / "py.typed").exists()


def test_the_format_page_lies_beside_the_readers() -> None:
    page = Path(str(readers.__file__)).with_name("FORMAT.md").read_text()
    for name in ("manifest.json", "metadata.parquet", "data.mdb", "__metadata__", "zstd"):
        assert name in page


def test_from_a_source_to_a_batch(raw: Path, tmp_path: Path) -> None:
    report = convert(DATASET, raw, tmp_path / "ben.store", ConvertOptions(workers=0))
    assert report.exit_code == 0
    assert verify(tmp_path / "ben.store", against=raw, workers=0).good
    store = open_store(tmp_path / "ben.store")
    keys = store.keys("s2")
    assert store.manifest.modalities["s2"].bands[0].name == "B01"
    assert store.read(keys[0]).shape == (12, 120, 120)
    buffer = np.empty((len(keys), 3, 120, 120), np.uint16)
    batch = store.read_batch(keys, bands=["B04", "B03", "B02"], out=buffer)
    assert batch is buffer
    (path,) = raw.glob(f"BigEarthNet-S2/*/{keys[1]}/*_B03.tif")
    np.testing.assert_array_equal(batch[1, 1], first_band(path))
    train = store.table(split="train", columns=["patch_id", "labels"])
    assert set(train["patch_id"].to_pylist()) == set(store.keys("s2", split="train"))


def test_no_data_set_is_named_in_the_code() -> None:
    for package in (converter, readers):
        for path in Path(str(package.__file__)).parent.glob("*.py"):
            text = path.read_text().lower()
            assert "bigearthnet" not in text, path.name
            assert "sen12ms" not in text, path.name


@pytest.mark.parametrize("package", ["converter", "readers"])
def test_every_public_function_and_class_says_what_it_does(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        assert inspect.getdoc(getattr(module, name)), name
