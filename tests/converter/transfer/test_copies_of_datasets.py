"""Copies of every data set, made and real: parts of it, joined again; shards; some bands."""

import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pyarrow.compute as pc
import pytest

from patchpress import (
    Layout,
    SelectionEmpty,
    convert,
    copy_store,
    merge_stores,
    open_store,
    split_store,
    verify,
)
from patchpress.converter.commands.index import index
from patchpress.readers.format.manifest import METADATA
from patchpress.readers.format.table import key_column
from tests.converter.commands.test_adopt import records_of, written
from tests.support.helpers import DATASET, first_band, folder_bytes, made, python
from tests.support.published_forms import TREES
from tests.support.synthetic import FLAGGED_TABLE, TABLE

pytestmark = pytest.mark.slow


def require_equal(ours: Path, theirs: Path, files: tuple[str, ...]) -> None:
    one, two = folder_bytes(ours), folder_bytes(theirs)
    assert [name for name in files if one[name] != two[name]] == []


def taken_apart_and_joined(store: Path, root: Path) -> None:
    """Copy two halves of a store, and a copy in shards; join them, and compare with the store."""
    column = key_column(next(iter(open_store(store).manifest.modalities.values())))
    names = open_store(store).table()[column].to_pylist()
    random.Random(3).shuffle(names)  # noqa: S311
    half = len(names) // 2
    copied = copy_store(store, root / "one", keys=names[:half], shards=2)
    assert copied.absent == ()
    copy_store(store, root / "two", keys=names[half:])
    merge_stores([root / "two", root / "one"], root / "joined")
    verdict = verify(root / "joined")
    assert verdict.good, verdict.text()
    split_store(store, root / "shards", shards=3)
    assert verify(root / "shards").good
    split_store(root / "shards", root / "canonical", shards=0)
    # The store itself was perhaps written out of order, or with files in its tree in another way.
    require_equal(root / "joined", root / "canonical", ("data.mdb", METADATA))
    assert (root / "canonical" / METADATA).read_bytes() == (store / METADATA).read_bytes()
    source, joined = open_store(store), open_store(root / "joined", checksums=True)
    for modality in source.manifest.modalities:
        keys = source.keys(modality)
        assert joined.keys(modality) == keys
        for key in keys:
            ours, theirs = joined.read_bands(key), source.read_bands(key)
            assert list(ours) == list(theirs)
            assert all(np.array_equal(ours[n], theirs[n], equal_nan=True) for n in ours)


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("compression", ["none", pytest.param("zstd", marks=pytest.mark.slow)])
def test_a_native_store_of_each_data_set(name: str, compression: Any, tmp_path: Path) -> None:
    source = TREES[name].write(tmp_path / "source")
    store = tmp_path / "store"
    options: dict[str, Any] = {"layout": "native", "compression": compression, "workers": 0}
    convert(name, source, store, on_error="skip", **options)
    taken_apart_and_joined(store, tmp_path)
    for modality in open_store(store).manifest.modalities.values():
        kept = [modality.band_names[-1], modality.band_names[0]][: len(modality.bands)]
        out = tmp_path / f"bands of {modality.name}"
        copied = copy_store(store, out, modalities=modality.name, bands={modality.name: kept})
        assert verify(out).good, verify(out).text()
        part, whole = open_store(out, checksums=True), open_store(store)
        for key in part.keys(modality.name):
            ours, theirs = part.read_bands(key), whole.read_bands(key, kept)
            assert all(np.array_equal(ours[n], theirs[n], equal_nan=True) for n in theirs)
        assert copied.manifest.modalities[modality.name].any_size == modality.any_size


@pytest.mark.parametrize("layout", list(Layout))
def test_the_real_samples(shared_data: Path, tmp_path: Path, layout: Layout) -> None:
    made(shared_data / "bigearthnet-v2" / "sample", tmp_path / "store", layout=layout)
    taken_apart_and_joined(tmp_path / "store", tmp_path)
    copy_store(tmp_path / "store", tmp_path / "rgb", modalities="s2", bands="rgb", split="train")
    assert verify(tmp_path / "rgb").good
    part, whole = open_store(tmp_path / "rgb"), open_store(tmp_path / "store")
    for key in part:
        assert np.array_equal(part[key], whole.read(key, "rgb"))
        (file,) = (shared_data / "bigearthnet-v2" / "sample").glob(f"*/*/{key}/*_B04.tif")
        assert np.array_equal(part[key][0], first_band(file))


def test_shards_are_those_that_a_conversion_makes(tree: Path, tmp_path: Path) -> None:
    for layout, compression in (("stacked", "none"), ("native", "zstd")):
        root = tmp_path / layout
        made(tree, root / "whole", layout=layout, compression=compression)
        made(tree, root / "converted", layout=layout, compression=compression, shards=3)
        split_store(root / "whole", root / "split", shards=3)
        assert folder_bytes(root / "split") == folder_bytes(root / "converted")


def test_records_that_were_not_written_in_order(tree: Path, tmp_path: Path) -> None:
    """A copy of what LMDB wrote in another order is what pages would have been."""
    made(tree, tmp_path / "store", writer="lmdb")
    made(tree, tmp_path / "pages")
    copy_store(tmp_path / "store", tmp_path / "out")
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "pages")


@pytest.fixture
def adopted(tree: Path, tmp_path: Path) -> Path:
    """The LMDB of another program, with two values that are no records."""
    folder = written(tmp_path / "adopted", {**records_of(tree), "__len__": b"45", "pad": b"x" * 9})
    paths = {"metadata": tree / TABLE, "flagged": tree / FLAGGED_TABLE}
    index(folder, DATASET, paths=paths)
    assert open_store(folder).manifest.options["other_values"] == 2
    return folder


def test_an_adopted_store(adopted: Path, tree: Path, tmp_path: Path) -> None:
    copied = copy_store(adopted, tmp_path / "out")
    assert copied.notes == (f"2 values of {adopted} that are no records are not copied",)
    options = open_store(tmp_path / "out").manifest.options
    assert "adopted" not in options
    assert "other_values" not in options
    assert options["copied"] == "records of another program"
    assert verify(tmp_path / "out").good
    made(tree, tmp_path / "native", layout="native")
    ours, theirs = (tmp_path / n / "data.mdb" for n in ("out", "native"))
    assert ours.read_bytes() == theirs.read_bytes()
    copy_store(adopted, tmp_path / "out", split="test", overwrite=True)  # it is ours now
    assert verify(tmp_path / "out").good
    with lmdb.open(str(adopted), readonly=True, lock=False) as environment:
        assert environment.stat()["entries"] == 47


def test_adopted_stores_are_joined(adopted: Path, tree: Path, tmp_path: Path) -> None:
    made(tree, tmp_path / "native", layout="native", modalities=["s2", "map"])
    copy_store(adopted, tmp_path / "s1", modalities="s1")
    merged = merge_stores([tmp_path / "native", tmp_path / "s1"], tmp_path / "out")
    assert verify(tmp_path / "out").good
    store = open_store(tmp_path / "out")
    # The bounds of rows are of the conversion, since an adopted store has none.
    assert store.table()["epsg"].null_count == 0
    assert merged.manifest.records == 45


def test_empty_shards(tree: Path, tmp_path: Path) -> None:
    made(tree, tmp_path / "store", modalities="map", limit=2)
    split_store(tmp_path / "store", tmp_path / "many", shards=50)
    store = open_store(tmp_path / "many")
    assert sorted({shard.records for shard in store.manifest.shards}) == [0, 1]
    assert verify(tmp_path / "many").good
    copy_store(tmp_path / "many", tmp_path / "back", shards=0)
    assert folder_bytes(tmp_path / "back") == folder_bytes(tmp_path / "store")


@pytest.mark.slow
def test_many_shards_and_few_descriptors(stacked: Path, tmp_path: Path) -> None:
    split_store(stacked, tmp_path / "many", shards=150)
    script = (
        "import resource, sys; from patchpress import copy_store;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100));"
        "copy_store(sys.argv[1], sys.argv[2], shards=120)"
    )
    ended = python("-c", script, tmp_path / "many", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert verify(tmp_path / "out").good


def test_rows_by_an_expression(stacked: Path, tmp_path: Path) -> None:
    country = open_store(stacked).table()["country"][0].as_py()
    copied = copy_store(stacked, tmp_path / "out", where=pc.field("country") != country)
    assert set(open_store(tmp_path / "out").table()["country"].to_pylist()) - {country}
    assert "country" in str(copied.manifest.options["copied"])
    with pytest.raises(SelectionEmpty):
        copy_store(stacked, tmp_path / "no", where=pc.field("country") == "Moon")


@pytest.mark.slow
def test_a_disk_that_fills_up_can_be_gone_on_with(
    stacked: Path, disk: Path, tmp_path: Path
) -> None:
    """The same command goes on after room was made."""
    nbytes = (stacked / "data.mdb").stat().st_size
    script = f"""
mount -t tmpfs -o size={nbytes // 4096 // 2 * 4}k none {disk} || exit 9
"$@" && exit 8
mount -o remount,size={nbytes // 1024 * 2}k {disk} || exit 9
"$@" && cp -r {disk}/out {tmp_path}/out
"""
    words = [sys.executable, "-c", _WITHOUT_A_LOOK, str(stacked), f"{disk}/out"]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", *words],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert f"the disk of {disk}/out" in done.stderr
    assert "is full: make room and run the same command again" in done.stderr
    shutil.rmtree(tmp_path / "expected", ignore_errors=True)
    copy_store(stacked, tmp_path / "expected")
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "expected")


# What looks for room beforehand is left out: so a disk is full in the middle.
_WITHOUT_A_LOOK = """
import sys
from patchpress import TargetError, copy_store
from patchpress.converter.transfer import target_store
target_store.require_room = lambda *_, **__: None
try:
    copy_store(sys.argv[1], sys.argv[2])
except TargetError as error:
    sys.exit(str(error))
"""
