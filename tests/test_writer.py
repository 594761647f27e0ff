"""Records to LMDB: order, commits and growth of the map, and what is refused."""

from pathlib import Path

import pytest
from helpers import stored_values

from converter import writer
from converter.writer import ShardWriter
from readers.errors import PatchError


def record(size: int, seed: int = 0) -> memoryview:
    """So many bytes, others for each seed."""
    return memoryview(bytes((seed + place) % 251 for place in range(1000)) * (size // 1000 + 1))[
        :size
    ]


def test_records_come_back_in_order(tmp_path: Path) -> None:
    records = {f"p{number:03}": bytes(record(5000 + number, number)) for number in range(40)}
    with ShardWriter(tmp_path) as shard:
        for key, value in records.items():
            shard.put(key, memoryview(value))
        shard.finish()
    assert shard.records == 40
    assert stored_values(tmp_path) == records


def test_many_commits_and_a_growing_map_keep_every_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "COMMIT_BYTES", 64 << 10)
    monkeypatch.setattr(writer, "FIRST_MAP", 1 << 20)
    records = {f"p{number:04}": bytes(record(20_000, number)) for number in range(500)}
    with ShardWriter(tmp_path) as shard:
        for key, value in records.items():
            shard.put(key, memoryview(value))
        shard.finish()
    assert (tmp_path / "data.mdb").stat().st_size > 8 << 20
    assert stored_values(tmp_path) == records


@pytest.mark.parametrize("before", [0, 20 << 20])
def test_a_record_larger_than_the_map_so_far_is_stored(tmp_path: Path, before: int) -> None:
    with ShardWriter(tmp_path) as shard:
        for number in range(before >> 20):
            shard.put(f"a{number:03}", record(1 << 20))
        shard.put("b", record(70 << 20))
        shard.finish()
    assert len(stored_values(tmp_path)["b"]) == 70 << 20


def test_a_key_twice_is_refused_and_the_first_stays(tmp_path: Path) -> None:
    with ShardWriter(tmp_path) as shard:
        shard.put("p1", memoryview(b"one"))
        with pytest.raises(PatchError, match="p1 is there twice"):
            shard.put("p1", memoryview(b"two"))
        shard.put("p2", memoryview(b"three"))
        shard.finish()
    assert shard.records == 2
    assert stored_values(tmp_path) == {"p1": b"one", "p2": b"three"}


def test_the_same_records_give_the_same_file(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        with ShardWriter(tmp_path / name) as shard:
            for number in range(300):
                shard.put(f"p{number:03}", record(30_000 + 7 * number, number))
            shard.finish()
    assert (tmp_path / "a/data.mdb").read_bytes() == (tmp_path / "b/data.mdb").read_bytes()


def test_an_error_of_the_caller_is_not_covered_up(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"), ShardWriter(tmp_path) as shard:
        shard.put("p1", memoryview(b"one"))
        raise KeyError("mine")
    with ShardWriter(tmp_path) as shard:
        shard.finish()
    assert stored_values(tmp_path) == {}
