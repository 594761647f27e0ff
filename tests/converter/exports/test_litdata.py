"""Chunks of litData: what a store has, as its StreamingDataset reads it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import OptionError, convert, export_store, open_store
from tests.support.helpers import Ended, tiny_dataset
from tests.support.loading import hot, refused
from tests.support.other_readers import Samples, samples_read

Command = Callable[..., Ended]
KEYS = {"s2": "{patch_id}", "s1": "{s1_name}", "map": "{patch_id}_reference_map"}
SPLITS = ("train", "validation", "test")

# It exports and reads in a process of its own: litData leaves threads and settings behind.
READER = """
from pathlib import Path
from litdata import StreamingDataset
from patchpress import export_store

def samples(folder):
    store, out, split = folder.split("|")
    for target in (out, out + " again"):
        if not Path(target).exists():
            export_store("litdata", store, target, shard_size="1MB")
    data = StreamingDataset(out + "/" + split, shuffle=False)
    return [data[number] for number in range(len(data))]
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store whose records may differ in size; exports are written into it."""
    root = tmp_path_factory.mktemp("litdata")
    description = tiny_dataset(root, {"g": ["p1", "p2"]})
    text = description.read_text().replace('kind = "image"', 'kind = "image"\nany_size = true')
    description.write_text(text)
    convert(description, root / "raw", root / "store", layout="native", workers=0)
    return root


@pytest.fixture(scope="module")
def read(stores: dict[tuple[str, str], Path], root: Path) -> dict[str, Samples]:
    """What litData reads: split -> samples."""
    native = stores["native", "none"]
    folders = {split: Path(f"{native}|{root / 'out'}|{split}") for split in SPLITS}
    folders["any"] = Path(f"{root / 'store'}|{root / 'any'}|train")
    return samples_read(
        READER, folders, root / "read", dict.fromkeys(("litdata", "torch"), "litdata")
    )


@pytest.mark.slow
def test_litdata_reads_what_the_store_has(
    read: dict[str, Samples], root: Path, native: Path
) -> None:
    store = open_store(native)
    names = store.manifest.classes["labels"]
    total = 0
    for split in SPLITS:
        rows = store.table(split=split, flagged="exclude").to_pylist()
        assert [sample["key"] for sample in read[split]] == [row["patch_id"] for row in rows]
        for sample, row in zip(read[split], rows, strict=True):
            own = json.loads(sample["row"])
            assert {name: own[name] for name in ("labels", "split", "left")} == {
                name: row[name] for name in ("labels", "split", "left")
            }
            np.testing.assert_array_equal(sample["labels"], hot(row["labels"], names))
            for name, key in KEYS.items():
                modality = store.manifest.modalities[name]
                assert sample[name].dtype == modality.dtype
                absent = np.nan if modality.dtype.kind == "f" else 0
                wanted = (
                    store.read(key.format(**row))
                    if row[f"has_{name}"]
                    else np.full(modality.shape, absent)
                )
                np.testing.assert_array_equal(sample[name], wanted)
        total += len(rows)
    shards = json.loads((root / "out" / "export.json").read_bytes())["shards"]
    assert sum(shards.values()) == total
    assert len(shards) > len(SPLITS)


@pytest.mark.slow
@pytest.mark.usefixtures("read")
def test_chunks_are_written_alike_each_time(root: Path) -> None:
    for path in (root / "out").rglob("*"):
        if path.is_file():
            other = root / "out again" / path.relative_to(root / "out")
            assert other.read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_records_of_any_size_have_a_shape_each(read: dict[str, Samples], root: Path) -> None:
    store = open_store(root / "store")
    assert [sample["key"] for sample in read["any"]] == store.keys("a")
    for sample in read["any"]:
        for band, pixels in store.read_bands(sample["key"]).items():
            np.testing.assert_array_equal(sample[f"a.{band}"], pixels)


def test_without_litdata_the_way_out_is_told(
    stacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("litdata", "litdata.streaming", "litdata.streaming.writer"):
        monkeypatch.setitem(sys.modules, name, None)
    sentence = refused(OptionError, lambda: export_store("litdata", stacked, tmp_path / "out"))
    assert sentence == (
        "this export needs litdata and torch, and litdata is not installed: pip install litdata"
    )
    assert not (tmp_path / "out").exists()


def test_wrong_options_are_one_sentence(patchpress: Command, stacked: Path, tmp_path: Path) -> None:
    words: tuple[Any, ...] = ("export", "litdata", stacked, tmp_path / "out")
    assert "not for litdata: leave it out" in patchpress(*words, "--codec", "zstd").sentence
    assert "a shard of litData has less than 4 GiB, not 5GB" in (
        patchpress(*words, "--shard-size", "5GB").sentence
    )
