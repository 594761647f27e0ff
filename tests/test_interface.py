"""The public interface as the documentation promises it, used as its examples use it."""

import importlib
import inspect
import os
from pathlib import Path

import numpy as np
import pytest
from helpers import DATASET, command, first_band, python

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


def test_a_public_name_is_not_the_module_of_that_name() -> None:
    code = """
import converter.index, converter.verify
from converter import index, verify
import converter
print(callable(index), callable(verify), converter.verify is verify)
"""
    assert python("-c", code).out.split() == ["True"] * 3


@pytest.mark.parametrize("package", ["converter", "readers"])
def test_a_name_that_a_package_has_not_is_an_error(package: str) -> None:
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # noqa: B018


def loaded(*words: object) -> set[str]:
    """Top-level modules that are there when a command of `patchpress` has ended."""
    ended = command(*words, env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"})
    assert ended.code == 0, ended.err
    lines = (line for line in ended.err.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_help_loads_nothing_that_it_does_not_need() -> None:
    for words in (["--help"], ["convert", "--help"]):
        assert not loaded(*words) & {"numpy", "lmdb", "zstandard", "rich", "pyarrow", "rasterio"}


def test_a_conversion_loads_nothing_that_it_does_not_need(raw: Path, tmp_path: Path) -> None:
    """Its start is a part of its time, and most of it for a small data set."""
    words = ("--workers", 0, "--modality", "s2")
    found = loaded("convert", DATASET, raw, tmp_path / "ben.store", *words)
    assert "numpy" in found
    assert not found & {"rasterio", "imagecodecs", "rich", "markdown_it", "torch", "safetensors"}


@pytest.mark.parametrize("package", ["converter", "readers"])
def test_every_public_function_and_class_says_what_it_does(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        assert inspect.getdoc(getattr(module, name)), name
