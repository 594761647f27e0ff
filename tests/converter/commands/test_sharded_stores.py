"""The commands on a store of shards: each does what it does on a single one, and tells damage."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pytest

from patchpress import Store, StoreDamaged, index, inspect, open_store, stats, verify
from patchpress.converter.commands.index import Indexed
from patchpress.readers.format.manifest import EXTENTS, MANIFEST, METADATA
from patchpress.readers.format.shard_rule import shard_folder, shard_path
from tests.support.helpers import Ended
from tests.support.sharding import sharded, write_environment

SHARDS = 4


@pytest.fixture
def copy(sharded_stores: dict[tuple[str, str, str], Path], tmp_path: Path) -> Path:
    """A store of 4 shards, to be damaged."""
    source = sharded_stores["native", "none", "shards"]
    return Path(shutil.copytree(source, tmp_path / "store"))


def values_of(folder: Path) -> list[tuple[bytes, bytes]]:
    with lmdb.open(str(folder), readonly=True, lock=False) as env, env.begin() as txn:
        return [(bytes(key), bytes(value)) for key, value in txn.cursor()]


def rewritten(store: Path, number: int, values: list[tuple[bytes, bytes]]) -> None:
    """Let LMDB write other values into a shard."""
    shutil.rmtree(store / shard_folder(number))
    write_environment(store / shard_folder(number), values)


@pytest.mark.parametrize("shards", [1, 4, 60])
def test_a_sharded_store_is_good(tree: Path, native: Path, tmp_path: Path, shards: int) -> None:
    store = sharded(native, tmp_path / "store", shards)
    verdict = verify(store, tree, workers=0)
    assert verdict.problems == []
    assert (verdict.records, verdict.compared) == (45, 45)


def swapped(store: Path) -> None:
    one, other = store / shard_path(1), store / shard_path(2)
    one.rename(store / "aside")
    other.rename(one)
    (store / "aside").rename(other)


def moved(store: Path) -> None:
    """A record lies in another shard than its key says."""
    first, second = values_of(store / shard_folder(0)), values_of(store / shard_folder(1))
    rewritten(store, 0, first[1:])
    rewritten(store, 1, sorted([*second, first[0]]))


def added(store: Path) -> None:
    shutil.copytree(store / shard_folder(0), store / shard_folder(SHARDS))


def beside(store: Path) -> None:
    shutil.copy(store / shard_path(0), store / "data.mdb")


def lost(store: Path) -> None:
    (store / shard_path(1)).unlink()
    os.truncate(store / shard_path(3), 4096)


def flipped(store: Path) -> None:
    """One bit of a pixel."""
    data = bytearray((store / shard_path(2)).read_bytes())
    _, value = values_of(store / shard_folder(2))[0]
    data[data.index(value) + len(value) - 100] ^= 1
    (store / shard_path(2)).write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "swapped": (swapped, ["shards/00001/data.mdb", "shards/00002/data.mdb"]),
    "added": (added, ["shards/00004 of .*store: the manifest lists no such shard.* remove it"]),
    "beside": (beside, ["data.mdb of .*store: the manifest lists no such shard"]),
    "lost": (
        lost,
        [
            "shards/00001/data.mdb is absent though the manifest lists it: copy the store again",
            "shards/00003/data.mdb has 4096 bytes where the manifest promises",
        ],
    ),
    "flipped": (
        flipped,
        [
            "keys and checksums of shards/00002/data.mdb differ from the digest",
            "differs from its checksum in metadata.parquet",
        ],
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_shard_is_told(copy: Path, what: str) -> None:
    damage, sentences = DAMAGE[what]
    damage(copy)
    problems = verify(copy, workers=0).problems
    assert len(problems) <= 6
    for sentence in sentences:
        assert any(_matches(sentence, problem) for problem in problems), problems


def _matches(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None and "\n" not in text


def test_a_lost_folder_is_told(copy: Path, patchpress: Callable[..., Ended]) -> None:
    shutil.rmtree(copy / shard_folder(2))
    for command in ("verify", "index", "inspect", "stats", "plot", "bench"):
        words = ["--out", copy / "x.png"] if command == "plot" else []
        ended = patchpress(command, copy, *words)
        assert ended.code == 1, command
        assert "shards/00002 is absent though the manifest lists it: copy" in ended.sentence


def test_records_in_a_wrong_shard_are_told(native: Path, tmp_path: Path) -> None:
    store = sharded(native, tmp_path / "store", SHARDS, wrong=2)
    assert open_store(store).has_extents
    problems = verify(store, workers=0).problems
    assert [_matches("has 2 records of other shards, by their keys", p) for p in problems] == [True]


def test_index_makes_the_extents_anew(copy: Path, patchpress: Callable[..., Ended]) -> None:
    before = (copy / EXTENTS).read_bytes()
    (copy / EXTENTS).unlink()
    assert patchpress("index", copy).code == 0
    assert (copy / EXTENTS).read_bytes() == before
    (copy / EXTENTS).write_bytes(before[:-1] + b"x")
    index(copy)
    assert (copy / EXTENTS).read_bytes() == before


def test_index_notes_that_a_shard_was_compacted(copy: Path) -> None:
    expected = {key: open_store(copy).read(key).tobytes() for key in open_store(copy).keys("s2")}
    values = values_of(copy / shard_folder(1))
    rewritten(copy, 1, values[:1])
    with lmdb.open(str(copy / shard_folder(1)), map_size=1 << 26, lock=False) as env:
        for key, value in values[1:]:
            with env.begin(write=True) as txn:
                txn.put(key, value)
    done = index(copy)
    assert isinstance(done, Indexed)
    assert done.resized
    assert verify(copy, workers=0).problems == []
    store = open_store(copy)
    assert {key: store.read(key).tobytes() for key in store.keys("s2")} == expected


def test_index_refuses_other_records_in_a_shard(copy: Path) -> None:
    before = (copy / MANIFEST).read_bytes(), (copy / METADATA).read_bytes()
    rewritten(copy, 1, values_of(copy / shard_folder(1))[1:])
    with pytest.raises(StoreDamaged, match="shards/00001/data.mdb has other records than the"):
        index(copy)
    assert before == ((copy / MANIFEST).read_bytes(), (copy / METADATA).read_bytes())


def test_inspect_says_how_many_shards_there_are(copy: Path, native: Path) -> None:
    counts = [shard.records for shard in open_store(copy).manifest.shards]
    line = f"  4 shards of {min(counts)} to {max(counts)} records, "
    assert line in inspect(copy).text()
    assert "shard" not in inspect(native).text()
    key = open_store(native).keys("s2")[0]
    assert inspect(copy, key) == inspect(native, key)


def test_statistics_are_those_of_a_single_store(copy: Path, native: Path, tmp_path: Path) -> None:
    single = Path(shutil.copytree(native, tmp_path / "single"))
    stats(single, "train", workers=0)
    stats(copy, "train", workers=0)
    one, other = open_store(single), open_store(copy)
    for modality in ("s1", "s2"):
        assert one.statistics(modality, "train") == other.statistics(modality, "train")
    assert verify(copy, workers=0).problems == []


@pytest.mark.slow
def test_bench_and_plot_run_on_shards(
    copy: Path, tmp_path: Path, patchpress: Callable[..., Ended]
) -> None:
    ended = patchpress("bench", copy, "--seconds", "0.05")
    assert ended.code == 0, ended.err
    pytest.importorskip("matplotlib")
    assert patchpress("plot", copy, "--out", tmp_path / "x.png").code == 0


def loaded(store: Store, **options: Any) -> list[bytes]:
    from patchpress import PatchLoader

    loader = PatchLoader(store, "train", batch_size=3, output="numpy", seed=1, **options)
    return [image.tobytes() for image, *_ in loader]


def test_a_loader_gives_the_same(copy: Path, native: Path) -> None:
    for options in ({"shuffle": True}, {"modalities": ("s1", "s2")}):
        assert loaded(open_store(copy), **options) == loaded(open_store(native), **options)
