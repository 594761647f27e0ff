"""Reads an exported folder for the Hugging Face Hub with others' readers, and compares it.

Each in a process of its own: these libraries change what pandas and pyarrow do for all others.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from patchpress import Store, open_store
from patchpress.readers.format.table import key_column, keys_in, presence_column


def read_apart(reader: str, store: Path, out: Path, cache: Path) -> str:
    """Let a function of this module compare a folder with its store; gives what it printed."""
    words = [sys.executable, "-m", "tests.support.hub_readers", reader, store, out, cache]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _records(store: Store, rows: Any) -> dict[str, list[Any]]:
    """Modality -> the pixels of each row, read by the store; None if there are none."""
    found = {}
    for name, modality in store.manifest.modalities.items():
        has = rows[presence_column(name)].to_pylist()
        keys = keys_in(modality, rows[key_column(modality)])
        pairs = zip(keys, has, strict=True)
        found[name] = [store.read(key) if there else None for key, there in pairs]
    return found


def by_datasets(store: Store, out: Path, cache: Path) -> None:
    """Compare every pixel and label as `datasets` gives them."""
    from datasets import load_dataset

    read = load_dataset(str(out), cache_dir=str(cache))
    assert list(read) == list(store.manifest.splits)
    names = list(store.manifest.classes["labels"])
    for split, dataset in read.items():
        rows = store.table(split=split)
        assert dataset["key"][:] == rows["patch_id"].to_pylist()
        label = dataset.features["labels"].feature
        assert label.names == names
        told = [None if one is None else label.int2str(one) for one in dataset["labels"]]
        assert told == rows["labels"].to_pylist()
        for name, wanted in _records(store, rows).items():
            dtype = store.manifest.modalities[name].dtype.name
            arrays = dataset.with_format("numpy", columns=[name], dtype=dtype)
            assert str(dataset.features[name].dtype) == dtype
            for number, pixels in enumerate(wanted):
                found = arrays[number][name]
                if pixels is None:
                    assert dataset[number][name] is None
                    continue
                np.testing.assert_array_equal(found, pixels)
                assert found.dtype == pixels.dtype
        assert dataset[0]["image"].size == (120, 120)
        assert dataset[0]["image"].mode == "RGB"
    print(sum(len(one) for one in read.values()))


def by_mlcroissant(store: Store, out: Path, _cache: Path) -> None:
    """Compare the records that croissant.json describes, one file's rows after another's."""
    import logging

    import mlcroissant

    logging.disable()
    described = mlcroissant.Dataset(jsonld=str(out / "croissant.json"))
    issues = described.metadata.ctx.issues
    assert not issues.errors, issues.report()
    table = store.table()
    rows = {row["patch_id"]: row for row in table.to_pylist()}
    name = next(iter(described.metadata.record_sets[0].fields)).id
    assert name == "patches/key"
    classes = [one["labels-classes/name"] for one in described.records("labels-classes")]
    names = [name.decode() if isinstance(name, bytes) else name for name in classes]
    assert names == list(store.manifest.classes["labels"])
    count = 0
    for record in described.records("patches"):
        row = rows[record["patches/key"].decode()]
        assert [names[number] for number in record["patches/labels"]] == row["labels"]
        assert record["patches/left"] == row["left"]
        assert record["patches/image"].size == (120, 120)
        found = np.array(record["patches/map"])
        np.testing.assert_array_equal(found, store.read(f"{row['patch_id']}_reference_map"))
        count += 1
    print(count)


if __name__ == "__main__":
    readers = {"datasets": by_datasets, "mlcroissant": by_mlcroissant}
    reader, store, out, cache = sys.argv[1:]
    readers[reader](open_store(store), Path(out), Path(cache))
