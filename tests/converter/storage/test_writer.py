"""Records to a data file: their order, commits, the size of the map, and what is refused."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.encoding.frame import SMALLEST
from patchpress.converter.storage import transactions
from patchpress.converter.storage.journal import Journal
from patchpress.converter.storage.writer import ShardWriter
from patchpress.readers.access.scan import build
from patchpress.readers.errors import PatchError
from patchpress.readers.format.manifest import ContentDigest
from patchpress.readers.format.record import form_of
from tests.support.helpers import encoded, patch_named, put, stored_values


def record(size: int, seed: int = 0) -> memoryview:
    """So many bytes, which differ for each seed."""
    return memoryview(bytes((seed + index) % 251 for index in range(1000)) * (size // 1000 + 1))[
        :size
    ]


@contextmanager
def writing_to(folder: Path, *, paged: bool = False) -> Iterator[ShardWriter]:
    folder.mkdir(exist_ok=True)
    with Journal(folder / "journal") as journal, ShardWriter(folder, journal, paged=paged) as shard:
        yield shard


@pytest.mark.parametrize("paged", [False, True])
def test_records_come_back_in_order(tmp_path: Path, paged: bool) -> None:
    records = {f"p{number:03}": bytes(record(5000 + number, number)) for number in range(40)}
    with writing_to(tmp_path, paged=paged) as shard:
        for key, value in records.items():
            put(shard, key, memoryview(value))
        shard.finish()
    assert shard.records == 40
    assert stored_values(tmp_path) == records


def test_many_commits_and_a_growing_map_keep_every_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "COMMIT_BYTES", 64 << 10)
    monkeypatch.setattr(transactions, "FIRST_MAP", 1 << 20)
    records = {f"p{number:04}": bytes(record(20_000, number)) for number in range(500)}
    with writing_to(tmp_path) as shard:
        for key, value in records.items():
            put(shard, key, memoryview(value))
        shard.finish()
    assert (tmp_path / "data.mdb").stat().st_size > 8 << 20
    assert stored_values(tmp_path) == records


@pytest.mark.parametrize("before", [0, 20 << 20])
def test_a_record_larger_than_the_map_so_far_is_stored(tmp_path: Path, before: int) -> None:
    with writing_to(tmp_path) as shard:
        for number in range(before >> 20):
            put(shard, f"a{number:03}", record(1 << 20))
        put(shard, "b", record(70 << 20))
        shard.finish()
    assert len(stored_values(tmp_path)["b"]) == 70 << 20


def test_a_key_twice_is_refused_and_the_first_stays(tmp_path: Path) -> None:
    with writing_to(tmp_path) as shard:
        assert isinstance(put(shard, "p1", memoryview(b"one")), Encoded)
        again = put(shard, "p1", memoryview(b"two"))
        assert isinstance(again, PatchError)
        assert "p1 is there twice" in str(again)
        put(shard, "p2", memoryview(b"three"))
        shard.finish()
    assert shard.records == 2
    assert stored_values(tmp_path) == {"p1": b"one", "p2": b"three"}


@pytest.mark.parametrize("paged", [False, True])
def test_the_same_records_give_the_same_file(tmp_path: Path, paged: bool) -> None:
    for name in "ab":
        with writing_to(tmp_path / name, paged=paged) as shard:
            for number in range(300):
                put(shard, f"p{number:03}", record(30_000 + 7 * number, number))
            shard.finish()
    assert (tmp_path / "a/data.mdb").read_bytes() == (tmp_path / "b/data.mdb").read_bytes()


def test_an_error_of_the_caller_is_not_covered_up(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"), writing_to(tmp_path) as shard:
        put(shard, "p1", memoryview(b"one"))
        raise KeyError("mine")
    with writing_to(tmp_path) as shard:
        shard.finish()
    assert stored_values(tmp_path) == {}


@pytest.mark.parametrize("paged", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_keys_in_any_order_give_what_keys_in_order_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: int, paged: bool
) -> None:
    monkeypatch.setattr(transactions, "COMMIT_BYTES", 64 << 10)
    smallest = SMALLEST if paged else 20
    keys = [f"p{number:03}" for number in range(200)]
    shuffled = random.Random(order).sample(keys, len(keys))  # noqa: S311
    for name, names in (("a", keys), ("b", shuffled)):
        with writing_to(tmp_path / name, paged=paged) as shard:
            for key in names:
                put(shard, key, record(smallest + int(key[1:]) * 97 % 9000, int(key[1:])))
            # Two keys again: the last one, and one before it.
            for key in (keys[-1], keys[50]):
                assert isinstance(put(shard, key, record(10)), PatchError)
            shard.finish()
            assert shard.records == 200
        found = build(tmp_path / name, ["data.mdb"], shard.headers)
        if name == "a":
            digest, numbers = shard.digest, found.header_number
    assert stored_values(tmp_path / "a") == stored_values(tmp_path / "b")
    assert shard.digest == digest
    assert (found.header_number == numbers).all()


def test_only_the_first_key_out_of_order_turns_to_lmdb(tmp_path: Path) -> None:
    """The journal has lines of pages before that key, and lines of commits from it on."""
    with writing_to(tmp_path, paged=True) as shard:
        for key in ("p1", "p2", "p2", "p5", "p3", "p6", "p4"):
            put(shard, key, record(5000))
        shard.finish()
        lines = [(line.paged, [e.key for e in line.entries]) for line in shard.journal.lines()]
    assert lines[:3] == [(True, ["p1"]), (True, ["p2"]), (True, ["p2"])]
    assert lines[3:] == [(True, ["p5"]), (False, ["p3", "p6", "p4"])]
    assert list(stored_values(tmp_path)) == [f"p{number}" for number in range(1, 7)]


def stored_form(number: int) -> memoryview:
    """A record of one of three forms, or of none."""
    if number % 4 == 3:
        return record(300, number)
    form = form_of([("x", "uint8", (number % 4 + 1, 500))])
    return memoryview(form.header + bytes(form.size - len(form.header)))


def test_forms_and_digest_follow_the_keys_and_not_the_order_of_patches(tmp_path: Path) -> None:
    keys = [f"p{number:03}" for number in range(60)]
    with writing_to(tmp_path) as shard:
        for key in reversed(keys):
            put(shard, key, stored_form(int(key[1:])))
        shard.finish()
    extents = build(tmp_path, ["data.mdb"], shard.headers)
    asked = build(tmp_path, ["data.mdb"])
    known = [*extents.headers, b""]
    other = [*asked.headers, b""]
    assert [known[min(number, 3)] for number in extents.header_number] == [
        other[min(number, 3)] for number in asked.header_number
    ]
    expected = ContentDigest()
    for key in keys:
        expected.add(key, encoded(stored_form(int(key[1:]))).checksum)
    assert shard.digest == expected.text()


def test_records_that_are_removed_count_no_longer(tmp_path: Path) -> None:
    keys = [f"p{number:03}" for number in range(40)]
    gone = [*keys[3:9], keys[-1]]
    with writing_to(tmp_path) as shard:
        for number, key in enumerate(keys):
            put(shard, key, stored_form(number))
        shard.remove([*gone, "never there"])
        shard.remove(gone)
        shard.finish()
    left = [key for key in keys if key not in gone]
    assert list(stored_values(tmp_path)) == left
    assert shard.records == len(left)
    assert [shard.journal.path.name, len(shard.journal)] == ["journal", 2]
    expected = ContentDigest()
    for key in left:
        expected.add(key, encoded(stored_form(int(key[1:]))).checksum)
    assert shard.digest == expected.text()
    assert len(build(tmp_path, ["data.mdb"], shard.headers)) == len(left)


def test_a_patch_without_a_record_gives_its_error_back(tmp_path: Path) -> None:
    error = PatchError("p1 is damaged")
    with writing_to(tmp_path) as shard:
        assert shard.put(patch_named("p1"), error, memoryview(b"")) is error
        put(shard, "p2", memoryview(b"two"))
        shard.finish()
        results = [(e.key, str(e.result)) for e in shard.journal.entries() if e.key == "p1"]
    assert results == [("p1", "p1 is damaged")]
    assert stored_values(tmp_path) == {"p2": b"two"}
