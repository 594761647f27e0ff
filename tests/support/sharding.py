"""Sharded stores made from single ones, without any converter: values copied by the rule."""

import shutil
from dataclasses import replace
from pathlib import Path

import lmdb
import xxhash

from patchpress.readers.access.extents_file import write_extents
from patchpress.readers.access.scan import build
from patchpress.readers.format.manifest import (
    EXTENTS,
    METADATA,
    STATISTICS,
    ContentDigest,
    Shard,
    read_manifest,
    write_manifest,
)
from patchpress.readers.format.shard_rule import shard_of, shard_path


def sharded(store: Path, out: Path, shards: int, *, extents: bool = True, wrong: int = 0) -> Path:
    """Make a store of so many shards with the records of a single one; gives `out`.

    Statistics are left out: they name the digests of the data files. The first `wrong` records of
    the second shard lie in the first one, against the rule.
    """
    with lmdb.open(str(store), readonly=True, lock=False) as env, env.begin() as txn:
        values = [(bytes(key), bytes(value)) for key, value in txn.cursor()]
    left_out = shutil.ignore_patterns("*.mdb", EXTENTS, STATISTICS, "manifest.json")
    shutil.copytree(store, out, ignore=left_out)
    numbers = {key: shard_of(key.decode(), shards) for key, _ in values}
    for key in [key for key, _ in values if numbers[key] == 1][:wrong]:
        numbers[key] = 0
    entries = []
    for number in range(shards):
        path = out / shard_path(number)
        own = [(k, v) for k, v in values if numbers[k] == number]
        write_environment(path.parent, own)
        digest = ContentDigest()
        for key, value in own:
            digest.add(key.decode(), xxhash.xxh3_64_intdigest(value))
        entries.append(Shard(shard_path(number), len(own), path.stat().st_size, digest.text()))
    if extents:
        write_extents(out, build(out, [entry.path for entry in entries]))
    assert (out / METADATA).is_file()
    write_manifest(out, replace(read_manifest(store), shards=tuple(entries)))
    return out


def write_environment(folder: Path, values: list[tuple[bytes, bytes]]) -> None:
    """Let LMDB write values, given in the order of their keys, into a new environment."""
    folder.mkdir(parents=True, exist_ok=True)
    room = sum(len(value) + 8192 for _, value in values) + (1 << 20)
    with lmdb.open(str(folder), map_size=2 * room, lock=False) as env, env.begin(write=True) as txn:
        for key, value in values:
            txn.put(key, value, append=True)
