"""Records that the table or the extents name, and the data file lacks or has otherwise."""

import json
import re
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest

from patchpress import KeyMissing, Store, StoreDamaged, open_store
from patchpress.converter.storage.transactions import LMDB_09
from patchpress.readers.access.extents_file import read_extents, write_extents
from patchpress.readers.access.fetcher import Mode
from patchpress.readers.access.keys import KeysInMemory
from patchpress.readers.errors import ExtentsUnusable, ViewImpossible
from patchpress.readers.format.manifest import EXTENTS
from patchpress.readers.format.record import encode
from patchpress.readers.format.shard_rule import shard_path
from tests.support.helpers import write_sealed
from tests.support.loading import refused

Change = Callable[[bytes], bytes | None]
WAYS: list[Callable[[Store, str], Any]] = [
    lambda store, key: store.read(key),
    lambda store, key: store.read_batch([key]),
    lambda store, key: store.read_batch([*store.keys("s2")[:2], key]),
    lambda store, key: store.read_bands(key),
    lambda store, key: store.view(key, "B02"),
]


@pytest.fixture
def copy(native: Path, tmp_path: Path) -> Path:
    """A store to be damaged."""
    return Path(shutil.copytree(native, tmp_path / "store"))


@pytest.fixture
def bare(copy: Path) -> Path:
    (copy / EXTENTS).unlink()
    return copy


def changed(store: Path, key: str, change: Change) -> None:
    """Let lmdb change the value of a key, or remove it for None; the manifest knows the size."""
    with (
        lmdb.open(str(store), map_size=1 << 26, **LMDB_09) as environment,
        environment.begin(write=True) as transaction,
    ):
        value = change(transaction.get(key.encode(), b""))
        if value is None:
            transaction.delete(key.encode())
        else:
            transaction.put(key.encode(), value)
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["shards"][0]["bytes"] = (store / "data.mdb").stat().st_size
    write_sealed(store / "manifest.json", manifest)


def test_a_record_that_only_the_table_has_is_told_as_such(bare: Path, native: Path) -> None:
    keys = open_store(native).keys("s2")
    changed(bare, keys[3], lambda value: None)
    store = open_store(bare)
    assert keys[3] in store.keys("s2")
    assert keys[3] not in store
    for read in WAYS:
        assert refused(KeyMissing, lambda read=read: read(store, keys[3])) == (
            f"the store has no record {keys[3]!r}, though its table has: run `patchpress verify "
            f"{bare}`"
        )
    others = [key for key in keys if key != keys[3]]
    np.testing.assert_array_equal(store.read_batch(others), open_store(native).read_batch(others))


@pytest.mark.parametrize("mode", list(Mode))
def test_a_record_that_only_stale_extents_have_is_missing(
    sharded_stores: dict[tuple[str, str, str], Path], native: Path, tmp_path: Path, mode: Mode
) -> None:
    copy = Path(shutil.copytree(sharded_stores["native", "none", "shards"], tmp_path / "store"))
    extents, _ = read_extents(copy, [shard_path(number) for number in range(4)])
    assert extents is not None
    keys = open_store(native).keys("s2")
    names = extents.keys.astype(f"S{extents.keys.itemsize + 1}")
    (at,) = extents.positions([keys[3]])
    names[at] += b"x"
    files = tuple({**file, "identity": "0" * 64} for file in extents.files)
    write_extents(copy, replace(extents, names=KeysInMemory(names), files=files))
    store = open_store(copy, mode=mode)
    with pytest.warns(ExtentsUnusable, match="made from another shards/"):
        found = store.read_batch(keys[:3])
    np.testing.assert_array_equal(found, open_store(native).read_batch(keys[:3]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtentsUnusable)  # if the keys before lie in other shards
        for read in WAYS:
            said = refused(KeyMissing, lambda read=read: read(store, f"{keys[3]}x"))
            assert said.startswith(f"the store has no record '{keys[3]}x'; nearest ")


CHANGES: dict[str, tuple[Change, str]] = {
    "no header": (lambda value: b"\xff" * len(value), "has a header that the manifest does not"),
    "few bytes": (lambda value: value[:4], "has a header that the manifest does not"),
    "another header": (
        lambda value: encode({"B02": np.zeros((5, 5), np.uint16)}),
        "has a header that the manifest does not",
    ),
    "a byte more": (lambda value: value + b"\0", r"has \d+ bytes, not \d+: run"),
    "a byte less": (lambda value: value[:-1], r"has \d+ bytes, not \d+: run"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_record_that_is_none_is_named_without_extents(bare: Path, change: str) -> None:
    key = open_store(bare).keys("s2")[3]
    do, sentence = CHANGES[change]
    changed(bare, key, do)
    store = open_store(bare)
    for read in WAYS:
        with pytest.raises(StoreDamaged, match=f"record '{re.escape(key)}' {sentence}"):
            read(store, key)


@pytest.mark.parametrize("with_extents", [True, False], ids=["extents", "bare"])
def test_a_compressed_record_that_is_no_frame_is_named(
    stores: dict[tuple[str, str], Path], tmp_path: Path, with_extents: bool
) -> None:
    copy = Path(shutil.copytree(stores["native", "zstd"], tmp_path / "store"))
    key = open_store(copy).keys("s2")[3]
    with lmdb.open(str(copy), readonly=True, lock=False) as env, env.begin() as transaction:
        value = transaction.get(key.encode(), b"")
    data = bytearray((copy / "data.mdb").read_bytes())
    data[data.index(value) + len(value) // 2] ^= 1
    (copy / "data.mdb").write_bytes(data)
    if not with_extents:
        (copy / EXTENTS).unlink()
    store = open_store(copy)
    for read in WAYS[:-1]:
        with pytest.raises(StoreDamaged, match=f"record '{key}': a record is no whole zstd frame"):
            read(store, key)
    assert "is compressed" in refused(ViewImpossible, lambda: store.view(key, "B02"))
