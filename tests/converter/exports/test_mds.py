"""Shards of MDS: what a store has, as MosaicML Streaming reads it, and as it would write it."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash

from patchpress import Store, convert, export_store, open_store
from tests.support import dated
from tests.support.helpers import Ended, folder_bytes, radar_with_nan, tiny_dataset
from tests.support.loading import hot
from tests.support.other_readers import Samples, samples_read

Command = Callable[..., Ended]
KEYS = {"s2": "{patch_id}", "s1": "{s1_name}", "map": "{patch_id}_reference_map"}

READER = """
from types import ModuleType

def put(name, **values):  # for what the library imports, and what no shard of arrays needs
    module = sys.modules[name] = ModuleType(name)
    vars(module).update(values)

for name in ("transformers", "transformers.models", "transformers.models.auto", "torchvision"):
    put(name)
put("transformers.models.auto.tokenization_auto", AutoTokenizer=None)
put("transformers.feature_extraction_utils", BatchFeature=dict)
put("transformers.tokenization_utils_base", BatchEncoding=dict)
put("torchvision.datasets", VisionDataset=object)
put("torchvision.transforms")
put("torchvision.transforms.functional", to_tensor=None)
import streaming as library

def samples(folder):
    options = {"batch_size": 1, "shuffle": False, "validate_hash": "xxh3_64"}
    data = library.StreamingDataset(local=folder, **options)
    found = [data[number] for number in range(len(data))]
    entry = json.load(open(folder + "/index.json"))["shards"][0]
    columns = dict(zip(entry["column_names"], entry["column_encodings"]))
    words = {"hashes": entry["hashes"], "size_limit": entry["size_limit"]}
    own = folder + " written by the library"
    with library.MDSWriter(out=own, columns=columns, **words) as writer:
        for sample in found:
            writer.write(sample)
    return found
"""
OWN = " written by the library"
SPLITS = [("any", "train"), *itertools.product(("none", "zstd"), ("train", "validation", "test"))]


@pytest.fixture(scope="module")
def exports(
    stores: dict[tuple[str, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Exports of a native store, and of one whose records may differ in size."""
    root = tmp_path_factory.mktemp("mds")
    description = tiny_dataset(root, {"g": ["p1", "p2"]})
    text = description.read_text().replace('kind = "image"', 'kind = "image"\nany_size = true')
    description.write_text(text)
    convert(description, root / "raw", root / "store", layout="native", workers=0)
    native = stores["native", "none"]
    for codec in ("none", "zstd"):
        export_store("mds", native, root / codec, codec=codec, shard_size="1MB")
    export_store("mds", root / "store", root / "any")
    return {name: root / name for name in ("none", "zstd", "any", "store")}


@pytest.fixture(scope="module")
def read(exports: dict[str, Path]) -> dict[str, Samples]:
    """What MosaicML Streaming reads of them: codec/split -> samples."""
    folders = {f"{codec}/{split}": exports[codec] / split for codec, split in SPLITS}
    needs = dict.fromkeys(("streaming", "torch"), "mosaicml-streaming")
    return samples_read(READER, folders, exports["none"].parent / "read", needs)


def require_equal(store: Store, samples: Samples, rows: list[dict[str, Any]]) -> None:
    names = store.manifest.classes["labels"]
    assert [sample["key"] for sample in samples] == [row["patch_id"] for row in rows]
    for sample, row in zip(samples, rows, strict=True):
        assert sample["row"]["split"] == row["split"]
        assert sample["row"]["labels"] == row["labels"]
        assert sample["row"]["left"] == row["left"]
        wanted = hot(row["labels"], names) if row["labels"] is not None else [-100] * len(names)
        np.testing.assert_array_equal(sample["labels"], wanted)
        for name, key in KEYS.items():
            modality = store.manifest.modalities[name]
            assert sample["row"][f"has_{name}"] == row[f"has_{name}"]
            assert sample[name].dtype == modality.dtype
            absent = np.nan if modality.dtype.kind == "f" else 0
            pixels = (
                store.read(key.format(**row))
                if row[f"has_{name}"]
                else np.full(modality.shape, absent)
            )
            np.testing.assert_array_equal(sample[name], pixels)


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_the_library_reads_what_the_store_has(
    read: dict[str, Samples], exports: dict[str, Path], native: Path, codec: str
) -> None:
    store = open_store(native)
    total = 0
    for split in store.manifest.splits:
        rows = store.table(split=split, flagged="exclude").to_pylist()
        require_equal(store, read[f"{codec}/{split}"], rows)
        total += len(rows)
    shards = json.loads((exports[codec] / "export.json").read_bytes())["shards"]
    assert sum(shards.values()) == total
    assert len(shards) > len(store.manifest.splits)


@pytest.mark.slow
@pytest.mark.usefixtures("read")
def test_the_library_writes_the_same_bytes(exports: dict[str, Path]) -> None:
    for codec, split in SPLITS:
        if codec != "zstd":  # its zstd is another version
            ours = exports[codec] / split
            assert folder_bytes(ours) == folder_bytes(ours.with_name(f"{split}{OWN}"))


@pytest.mark.slow
def test_records_of_any_size_have_a_shape_each(
    read: dict[str, Samples], exports: dict[str, Path]
) -> None:
    store = open_store(exports["store"])
    assert [sample["key"] for sample in read["any/train"]] == store.keys("a")
    for sample in read["any/train"]:
        for band, pixels in store.read_bands(sample["key"]).items():
            np.testing.assert_array_equal(sample[f"a.{band}"], pixels)


def samples_in(shard: bytes) -> list[dict[str, bytes]]:
    """Each column's bytes of each sample, by the description of the format alone."""
    (count,) = np.frombuffer(shard[:4], "<u4")
    ends = np.frombuffer(shard[4 : 4 + 4 * (count + 1)], "<u4")
    config = json.loads(shard[4 + 4 * (count + 1) : ends[0]])
    found = []
    for begin, end in itertools.pairwise(ends):
        at, sizes = int(begin), []
        for size in config["column_sizes"]:
            if size is None:
                size = int(np.frombuffer(shard[at : at + 4], "<u4")[0])
                at += 4
            sizes.append(size)
        values = {}
        for name, size in zip(config["column_names"], sizes, strict=True):
            values[name] = shard[at : at + size]
            at += size
        assert at == end
        found.append(values)
    return found


def test_shards_are_as_the_format_says(stacked: Path, tmp_path: Path) -> None:
    words: dict[str, Any] = {"modalities": "s2", "split": ["train", "test"]}
    export_store("mds", stacked, tmp_path / "out", shard_size="1MB", **words)
    store = open_store(stacked)
    for split in ("train", "test"):
        folder = tmp_path / "out" / split
        index = json.loads((folder / "index.json").read_bytes())
        keys: list[str] = []
        for entry in index["shards"]:
            content = (folder / entry["raw_data"]["basename"]).read_bytes()
            assert len(content) == entry["raw_data"]["bytes"] <= 1_000_000
            hashes = entry["raw_data"]["hashes"]
            assert hashes == {"xxh3_64": xxhash.xxh3_64(content).hexdigest()}
            samples = samples_in(content)
            assert len(samples) == entry["samples"]
            for sample in samples:
                keys.append(sample["key"].decode())
                assert sample["s2"] == store.read(keys[-1]).tobytes()
        assert keys == store.keys("s2", split=split)
    export_store("mds", stacked, tmp_path / "again", shard_size="1MB", **words)
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "again")


def test_nan_stays_and_rows_of_a_store_without_splits_are_in_train(tmp_path: Path) -> None:
    store = open_store(radar_with_nan(tmp_path))
    export_store("mds", store.path, tmp_path / "out")
    samples = samples_in((tmp_path / "out" / "train" / "shard.00000.mds").read_bytes())
    assert [sample["key"].decode() for sample in samples] == store.keys("a")
    for sample in samples:
        assert sample["a"] == store.read(sample["key"].decode()).tobytes()


def test_dates_of_a_record_are_an_axis(tmp_path: Path) -> None:
    dated.write_optical(tmp_path / "raw", {"lake1": dated.DATES, "lake2": dated.DATES[1:3]})
    dated.write_radar(tmp_path / "raw", {"lake1": dated.DATES[:3]})
    convert(dated.described(tmp_path), tmp_path / "raw", tmp_path / "store", workers=0)
    export_store("mds", tmp_path / "store", tmp_path / "out")
    store = open_store(tmp_path / "store")
    samples = samples_in((tmp_path / "out" / "train" / "shard.00000.mds").read_bytes())
    for sample in samples:
        assert sample["optical"] == store.read(f"o_{sample['key'].decode()}").tobytes()
    (absent,) = [sample for sample in samples if sample["key"] == b"lake2"]
    radar = np.frombuffer(absent["radar"], np.float32)
    assert radar.size == 3 * 2 * 16 * 16
    assert np.isnan(radar).all()
    assert len(json.loads(absent["row"])["optical_dates"]) >= 2


def test_wrong_options_are_one_sentence(patchpress: Command, stacked: Path, tmp_path: Path) -> None:
    words = ("export", "mds", stacked, tmp_path / "out")
    assert patchpress(*words, "--shard-size", "5GB").sentence == (
        "a shard of MDS has less than 4 GiB, not 5GB: write 1GB"
    )
    assert patchpress(*words, "--codec", "blosc").sentence == (
        "mds has no codec blosc; it has none, zstd"
    )
    assert "chunk 2 is for zarr, not for mds" in patchpress(*words, "--chunk", "2").sentence
    assert not (tmp_path / "out").exists()
