"""The public interface as the documentation promises it, used as its examples use it."""

import inspect
import os
import re
from pathlib import Path

import numpy as np
import pytest

import patchpress
from patchpress import convert, open_store, verify
from tests.support.helpers import DATASET, command, first_band, python

ROOT = Path(__file__).parents[2]
EXTRAS = {
    "Normalize": "torch",
    "PatchDataModule": "lightning",
    "PatchDataset": "torch",
    "to_device": "torch",
}


def public(name: str) -> object:
    """A public name of the package; the test is skipped if the extra that it needs is absent."""
    if name in EXTRAS:
        pytest.importorskip(EXTRAS[name], reason=f"{name} needs {EXTRAS[name]}")
    return getattr(patchpress, name)


@pytest.mark.parametrize("name", patchpress.__all__)
def test_a_public_name_is_there_and_says_what_it_is(name: str) -> None:
    value = public(name)
    assert not inspect.ismodule(value)
    assert isinstance(value, str) if name == "__version__" else inspect.getdoc(value)


def test_public_names_are_listed_once_and_shown() -> None:
    assert len(set(patchpress.__all__)) == len(patchpress.__all__)
    assert set(patchpress.__all__) <= set(dir(patchpress))


def test_every_error_is_public() -> None:
    from patchpress.readers import errors

    raised = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert raised <= set(patchpress.__all__)


def test_a_name_that_the_package_has_not_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        patchpress.nothing  # noqa: B018


def test_the_package_is_typed() -> None:
    assert (Path(str(patchpress.__file__)).parent / "py.typed").exists()


def test_the_format_page_lies_beside_the_readers() -> None:
    page = (ROOT / "readers" / "FORMAT.md").read_text()
    for name in ("manifest.json", "metadata.parquet", "data.mdb", "__metadata__", "zstd"):
        assert name in page


def test_from_a_source_to_a_batch(raw: Path, tmp_path: Path) -> None:
    report = convert(DATASET, raw, tmp_path / "ben.store", workers=0)
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
    """A data set is one TOML file; what it needs of the code is there for any data set."""
    names = {path.stem for path in (ROOT / "converter/descriptions/datasets").glob("*.toml")}
    assert len(names) >= 10
    # "uc_merced" is also written uc-merced and UC Merced; BigEarthNet is named without "_v2", too.
    parts = {re.sub(r"_(v?\d+k?|core|s12)$", "", name).replace("_", "[-_ ]?") for name in names}
    pattern = re.compile("|".join(sorted(parts)), re.IGNORECASE)
    assert pattern.search("BigEarthNet")
    assert pattern.search("the pixels of UC Merced")
    paths = [p for room in ("converter", "readers") for p in (ROOT / room).rglob("*.py")]
    assert len(paths) > 90
    for path in paths:
        found = pattern.search(path.read_text())
        assert found is None, f"{path} names a data set: {found}"


def loaded(ended_err: str) -> set[str]:
    """Top-level modules that a process loaded, as its `-X importtime` lists them."""
    lines = (line for line in ended_err.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def loaded_by(*words: object) -> set[str]:
    """Top-level modules that are there when a command of `patchpress` has ended."""
    ended = command(*words, env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"})
    assert ended.code == 0, ended.err
    return loaded(ended.err)


def test_importing_the_package_loads_nothing_that_is_slow() -> None:
    ended = python("-X", "importtime", "-c", "import patchpress; patchpress.open_store")
    assert ended.code == 0, ended.err
    assert "numpy" in loaded(ended.err)
    ended = python("-X", "importtime", "-c", "import patchpress")
    heavy = {"numpy", "lmdb", "zstandard", "pyarrow", "torch", "typer", "rasterio", "rich"}
    assert not loaded(ended.err) & heavy


def test_help_loads_nothing_that_it_does_not_need() -> None:
    for words in (["--help"], ["convert", "--help"]):
        assert not loaded_by(*words) & {
            "numpy",
            "lmdb",
            "zstandard",
            "rich",
            "pyarrow",
            "rasterio",
            "pydantic",
        }


def test_a_conversion_loads_nothing_that_it_does_not_need(raw: Path, tmp_path: Path) -> None:
    """Its start is a part of its time, and most of it for a small data set."""
    words = ("--workers", 0, "--modality", "s2")
    found = loaded_by("convert", DATASET, raw, tmp_path / "ben.store", *words)
    assert "numpy" in found
    assert not found & {"rasterio", "imagecodecs", "rich", "markdown_it", "torch", "safetensors"}
    assert not found & {"pydantic", "distributed", "obstore", "matplotlib"}


def test_a_conversion_loads_none_of_the_rooms_that_it_does_not_need(
    raw: Path, tmp_path: Path
) -> None:
    """Shards, schedulers and URLs have modules of their own."""
    words = ("convert", DATASET, raw, tmp_path / "ben.store", "--workers", 0)
    ended = command(*words, env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"})
    assert ended.code == 0, ended.err
    modules = set(re.findall(r"patchpress\.[\w.]+", ended.err))
    assert "patchpress.converter.commands.convert" in modules
    for room in ("converter.cluster", "converter.transfer", "readers.staging"):
        assert not [name for name in modules if name.startswith(f"patchpress.{room}")]
    for name in ("convert_shards", "convert_cluster", "convert_to_url", "shard_maker"):
        assert f"patchpress.converter.commands.{name}" not in modules
    assert "patchpress.readers.remote.client" not in modules
