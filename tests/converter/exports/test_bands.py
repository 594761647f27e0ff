"""Bands that are chosen: each format has them, in their order, on the finest grid among them."""

import importlib.util
import inspect
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from patchpress import Store, copy_store, export_store, open_store
from patchpress.converter.exports.again import command_again
from patchpress.converter.exports.formats import ExportOptions
from patchpress.converter.options import ExportCodec, ExportFormat
from patchpress.converter.transfer.row_choice import RowChoice
from tests.converter.exports import test_mds, test_webdataset
from tests.support.helpers import Ended

Command = Callable[..., Ended]
Pixels = dict[str, Any]
BANDS = ["B8A", "B05"]  # of 20 m, of a modality whose finest bands have 10 m
LIBRARIES = {"zarr": "zarr", "litdata": "litdata", "arrayrecord": "array_record"}


def from_geotiff(out: Path) -> Pixels:
    import rasterio

    table = pq.read_table(out / "metadata.parquet")
    found = {}
    for name, path in zip(table["patch_id"].to_pylist(), table["s2_path"].to_pylist(), strict=True):
        with rasterio.open(out / path) as file:
            assert list(file.descriptions) == BANDS
            found[name] = file.read()
    return found


def from_webdataset(out: Path) -> Pixels:
    return {name: one["s2.npy"] for name, one in test_webdataset.all_samples(out).items()}


def from_zarr(out: Path) -> Pixels:
    import zarr

    group = zarr.open_group(str(out), mode="r")
    assert group["s2_band"][:].tolist() == BANDS
    return dict(zip(group["patch"][:].tolist(), group["s2"][:], strict=True))


def from_hf(out: Path) -> Pixels:
    found = {}
    for path in (out / "data").glob("*.parquet"):
        table = pq.read_table(path)
        for name, pixels in zip(table["key"].to_pylist(), table["s2"].to_pylist(), strict=True):
            found[name] = np.array(pixels, np.uint16)
    return found


def from_mds(out: Path) -> Pixels:
    found = {}
    for path in out.glob("*/*.mds"):
        for sample in test_mds.samples_in(path.read_bytes()):
            found[sample["key"].decode()] = np.frombuffer(sample["s2"], np.uint16)
    return found


def from_litdata(out: Path) -> Pixels:
    import litdata

    found = {}
    for folder in (path.parent for path in out.glob("*/index.json")):
        for sample in litdata.StreamingDataset(str(folder)):
            found[sample["key"]] = sample["s2"]
    return found


def from_arrayrecord(out: Path) -> Pixels:
    from array_record.python import array_record_module
    from safetensors.numpy import load

    names = pq.read_table(out / "metadata.parquet")["patch_id"].to_pylist()
    found = {}
    for path in out.glob("*.array_record"):
        reader = array_record_module.ArrayRecordReader(str(path))
        for arrays in map(load, reader.read_all()):
            found[names[int(arrays["row"])]] = arrays["s2"]
        reader.close()
    return found


READERS: dict[str, Callable[[Path], Pixels]] = {
    "geotiff": from_geotiff,
    "webdataset": from_webdataset,
    "zarr": from_zarr,
    "hf": from_hf,
    "mds": from_mds,
    "litdata": from_litdata,
    "arrayrecord": from_arrayrecord,
}


def skip_without(kind: str) -> None:
    library = LIBRARIES.get(kind)
    if library is not None and importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")


@pytest.mark.filterwarnings("ignore")  # of the readers
@pytest.mark.parametrize("kind", ["stacked", "native"])
@pytest.mark.parametrize("format", [str(one) for one in ExportFormat])
def test_chosen_bands_are_those_of_a_copy(
    stores: dict[tuple[str, str], Path],
    patchpress: Command,
    tmp_path: Path,
    format: str,  # noqa: A002 -- what it is called
    kind: str,
) -> None:
    skip_without(format)
    words = ("--modality", "s2", "--bands", f"s2={','.join(BANDS)}", "--split", "test")
    store = stores[kind, "zstd"]
    ended = patchpress("export", format, store, tmp_path / "out", *words)
    assert ended.code == 0, ended
    assert "s2 has no set of bands rgb any more: not all of them are exported" in ended.out
    copy_store(store, tmp_path / "copy", modalities="s2", bands={"s2": BANDS}, split="test")
    copy: Store = open_store(tmp_path / "copy")
    found = READERS[format](tmp_path / "out")
    assert sorted(found) == sorted(copy.keys("s2"))
    for name, pixels in found.items():
        wanted = copy.read(name)
        assert wanted.shape[0] == 2
        assert np.asarray(pixels).dtype == wanted.dtype
        np.testing.assert_array_equal(np.asarray(pixels).reshape(wanted.shape), wanted)


@pytest.mark.parametrize("kind", ["stacked", "native"])
def test_sets_of_bands_with_several_sizes_are_on_their_finest_grid(
    stores: dict[tuple[str, str], Path], tmp_path: Path, kind: str
) -> None:
    words: dict[str, Any] = {"modalities": "s2", "bands": ["B01", "B05"], "split": "test"}
    export_store("webdataset", stores[kind, "none"], tmp_path / "out", **words)
    copy_store(stores[kind, "none"], tmp_path / "copy", **words)
    copy = open_store(tmp_path / "copy")
    found = from_webdataset(tmp_path / "out")
    assert sorted(found) == sorted(copy.keys("s2"))
    for name, pixels in found.items():
        np.testing.assert_array_equal(pixels, copy.read(name))


def test_a_band_that_is_not_there_is_one_sentence(
    patchpress: Command, stacked: Path, tmp_path: Path
) -> None:
    words = ("export", "mds", stacked, tmp_path / "out", "--bands")
    for wrong, told in (
        ("s2=B99", "B99"),
        ("s9=B04", "s9"),
        ("7m", "7m"),
        ("", "--bands"),
    ):
        ended = patchpress(*words, wrong)
        assert ended.code in (1, 2)
        assert told in ended.sentence
    assert "names s2 twice" in patchpress(*words, "s2=B04", "--bands", "s2=B03").sentence
    assert not (tmp_path / "out").exists()


def test_the_card_has_the_command_that_makes_it_again(
    patchpress: Command, stacked: Path, tmp_path: Path
) -> None:
    words: dict[str, Any] = {"modalities": "s2", "bands": {"s2": ["B04", "B03", "B02"]}}
    words |= {"split": ["train", "test"], "fraction": 0.5, "seed": 3, "flagged": "include"}
    export_store("hf", stacked, tmp_path / "out", shard_size="2MB", **words)
    card = (tmp_path / "out" / "README.md").read_text()
    (line,) = [one for one in card.splitlines() if one.startswith("patchpress export hf")]
    _, *again = shlex.split(line)
    assert again[2:4] == [stacked.name, "out"]
    again[2:4] = [str(stacked), str(tmp_path / "again")]
    assert patchpress(*again).code == 0
    for name in ("croissant.json", "export.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_the_command_has_each_option() -> None:
    parameters = set(inspect.signature(export_store).parameters)
    of_call = {"format", "store", "out", "overwrite", "progress"}
    choice: dict[str, Any] = {
        "split": "test",
        "where": {"a": 1},
        "flagged": "include",
        "keys": Path("k.txt"),
    }
    choice |= {"fraction": 0.5, "per_class": 2, "target": "labels", "seed": 1}
    options: dict[str, Any] = {
        "deflate": True,
        "shard_size": "1GB",
        "chunk": 2,
        "codec": ExportCodec.zstd,
    }
    assert parameters - of_call == {*choice, *options, "modalities", "bands"}
    command = command_again(
        "zarr", "s", "o", RowChoice(**choice), ["s2"], "rgb", ExportOptions(**options)
    )
    given = set(shlex.split(command))
    renamed = {"modalities": "modality"}
    for name in parameters - of_call:
        assert f"--{renamed.get(name, name).replace('_', '-')}" in given
    words = "patchpress export zarr s o"
    assert command_again("zarr", "s", "o", RowChoice(), None, None, ExportOptions()) == words
