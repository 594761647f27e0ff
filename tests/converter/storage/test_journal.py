"""The journal of a conversion: what it gives back, which lines count, and removed records."""

import json
import resource
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.encoding.tiff import Ground
from patchpress.converter.storage import transactions
from patchpress.converter.storage.folder import claim
from patchpress.converter.storage.journal import Journal, has_records, sorted_records
from patchpress.converter.storage.resume import clear_or_go_on
from patchpress.converter.storage.transactions import Mark
from patchpress.converter.storage.writer import ShardWriter
from patchpress.readers.errors import PatchError, TargetError
from patchpress.readers.format.manifest import JOURNAL
from tests.support.helpers import patch_named, put, stored_values

ASKED = {"patchpress": "1", "layout": "stacked"}
GROUND = Ground(32633, 331_200.1, 5_330_400.0, 332_400.3, 5_331_600.7)
RESULTS = [
    Encoded(1, 0, None),
    Encoded(345_728, (1 << 64) - 1, GROUND),
    Encoded(7, 1 << 63, GROUND._replace(epsg=None), ("text", ("Pastures", "Wälder"), ())),
    Encoded(7, 5, None, ((0.1, 1 / 3, 1e-300), "")),
]


def results(path: Path) -> list[object]:
    with Journal(path) as journal:
        return [entry.result for entry in journal.entries()]


def test_what_was_noted_comes_back(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        for number, result in enumerate(RESULTS):
            journal.note(patch_named(f"p{number}"), result, number)
        journal.note_failed(patch_named("q"), PatchError("q is damaged (\udcff)"))
        journal.append(Mark(4096, 3, 1 << 20), [b"header", b"\xff\0", b"", b"x"])
        journal.note(patch_named("r"), RESULTS[0], 65_535)
        journal.append(Mark(8192, 4, 1 << 21, ("p1",)))
    with Journal(tmp_path / "j") as journal:
        first, second = journal.lines()
        assert journal.last == second
    assert first.mark == Mark(written=4096, transaction=3, map_size=1 << 20, removed=())
    assert (first.paged, second.paged) == (False, False)
    assert first.headers == (b"header", b"\xff\0", b"", b"x")
    assert [entry.result for entry in first.entries[:-1]] == RESULTS
    assert [type(entry.result) for entry in first.entries[:-1]] == [Encoded] * len(RESULTS)
    assert type(first.entries[1].result.ground) is Ground  # type: ignore[union-attr]
    assert [entry.header_number for entry in first.entries[:-1]] == [0, 1, 2, 3]
    assert [(entry.modality, entry.key) for entry in first.entries][-1] == ("a", "q")
    assert isinstance(first.entries[-1].result, PatchError)
    assert str(first.entries[-1].result) == "q is damaged (\\udcff)"
    assert second.mark.removed == ("p1",)
    assert second.entries[0].header_number == 65_535


def three_lines(path: Path) -> bytes:
    with Journal(path) as journal:
        for number, result in enumerate(RESULTS[:3]):
            journal.note(patch_named(f"p{number}"), result, 0)
            journal.append(Mark(map_size=number), [] if number else [b"header"])
    return path.read_bytes()


@given(st.data())
def test_lines_count_up_to_the_first_that_is_changed_or_torn(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    whole = three_lines(path)
    offset = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        path.write_bytes(whole[:offset])
    else:
        changed = bytearray(whole)
        changed[offset] ^= data.draw(st.integers(1, 255))
        path.write_bytes(changed)
    with Journal(path) as journal:
        assert len(journal) == whole[:offset].count(b"\n")
        assert [line.mark.map_size for line in journal.lines()] == list(range(len(journal)))


def test_new_lines_come_after_those_that_were_kept(tmp_path: Path) -> None:
    whole = three_lines(tmp_path / "j")
    (tmp_path / "j").write_bytes(whole + b"torn")
    with Journal(tmp_path / "j") as journal:
        journal.keep(2)
        journal.note(patch_named("new"), RESULTS[3], 0)
        journal.append(Mark(map_size=9))
    with Journal(tmp_path / "j") as journal:
        assert [line.mark.map_size for line in journal.lines()] == [0, 1, 9]


def test_a_full_disk_leaves_no_part_of_a_line(tmp_path: Path) -> None:
    whole = three_lines(tmp_path / "j")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(tmp_path / "j") as journal:
        journal.note(patch_named("new"), RESULTS[3], 0)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 30, limits[1]))
        try:
            with pytest.raises(TargetError, match="cannot be written"):
                journal.append(Mark(map_size=9))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert (tmp_path / "j").read_bytes() == whole
        journal.append(Mark(map_size=9))  # nothing that was noted is lost
    assert results(tmp_path / "j")[-1] == RESULTS[3]


def test_the_order_of_keys_is_that_of_their_bytes(tmp_path: Path) -> None:
    keys = ["p2", "p10", "é", "Z", "p1", "gone"]
    with Journal(tmp_path / "j") as journal:
        for number, key in enumerate(keys):
            journal.note(patch_named(key), Encoded(number, 10 * number, None), number)
        journal.note_failed(patch_named("bad"), PatchError("bad"))
        journal.append(Mark(), [b"%d" % number for number in range(6)])
        journal.append(Mark(removed=("gone",)))
        ordered = sorted_records(journal)
    assert [key.decode() for key in ordered.keys] == ["Z", "p1", "p10", "p2", "é"]
    assert ordered.lengths.tolist() == [3, 4, 1, 0, 2]
    assert ordered.checksums.tolist() == [30, 40, 10, 0, 20]
    assert ordered.header_numbers.tolist() == [3, 4, 1, 0, 2]


KEYS = [f"p{number:02}" for number in (5, 3, 9, 1, 7, 2, 8)]
GONE = ["p09", "p05", "p02"]


@contextmanager
def shard_of(store: Path, *, paged: bool) -> Iterator[ShardWriter]:
    """A writer that goes on where the last one stopped; what it wrote is kept as unfinished."""
    with (
        pytest.raises(InterruptedError),
        claim(store, overwrite=False) as target,
        clear_or_go_on(target, ASKED) as journal,
        ShardWriter(store, journal, paged=paged) as shard,
    ):
        yield shard
        raise InterruptedError


def fill(shard: ShardWriter, keys: list[str]) -> None:
    """Store what is not stored yet."""
    done = {entry.key for entry in shard.journal.entries()}
    for number, key in enumerate(KEYS):
        if key in keys and key not in done:
            put(shard, key, memoryview(key.encode() * 3000 * (number + 1)))


def complete(store: Path, *, finish: bool, paged: bool) -> tuple[str, int]:
    """What a conversion does that has to take some records out again."""
    with shard_of(store, paged=paged) as shard:
        fill(shard, KEYS)
        shard.remove(GONE)
        if finish:
            shard.finish()
        return shard.digest, shard.records


@pytest.mark.parametrize("paged", [False, True])
@pytest.mark.parametrize("ascending", [False, True])
def test_records_removed_by_a_run_that_was_killed_are_removed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paged: bool, ascending: bool
) -> None:
    """Killed before the journal tells of it, between that and the commit, and after both."""
    monkeypatch.setattr(transactions, "COMMIT_BYTES", 1)
    if ascending:
        monkeypatch.setitem(globals(), "KEYS", sorted(KEYS))
    whole = complete(tmp_path / "whole", finish=True, paged=paged)
    assert whole[1] == 4
    with shard_of(tmp_path / "before", paged=paged) as shard:
        fill(shard, KEYS)
    shutil.copytree(tmp_path / "before", tmp_path / "between")
    complete(tmp_path / "after", finish=False, paged=paged)
    shutil.copyfile(tmp_path / "after" / JOURNAL, tmp_path / "between" / JOURNAL)
    for name in ("before", "between", "after", "whole"):
        assert complete(tmp_path / name, finish=True, paged=paged) == whole
        assert (tmp_path / name / "data.mdb").read_bytes() == (
            tmp_path / "whole" / "data.mdb"
        ).read_bytes()
        assert set(stored_values(tmp_path / name)) == set(KEYS) - set(GONE)


@pytest.mark.parametrize("paged", [False, True])
def test_any_order_of_keys_goes_on_after_any_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paged: bool
) -> None:
    """In pages as long as keys ascend, and by LMDB from the first key that is lower."""
    monkeypatch.setattr(transactions, "COMMIT_BYTES", 1)
    whole = complete(tmp_path / "whole", finish=True, paged=paged)
    for stop in range(len(KEYS) + 1):
        store = tmp_path / str(stop)
        with shard_of(store, paged=paged) as shard:
            fill(shard, KEYS[:stop])
        assert complete(store, finish=True, paged=paged) == whole
        assert (store / "data.mdb").read_bytes() == (tmp_path / "whole/data.mdb").read_bytes()


def test_each_line_of_a_journal_is_a_checksum_and_json(tmp_path: Path) -> None:
    lines = three_lines(tmp_path / "j").splitlines()
    assert [json.loads(line[9:])["map"] for line in lines] == [0, 1, 2]


FORGED: list[tuple[str, Any, str]] = [
    ("written", -1, "written is -1"),
    ("transaction", "3", "transaction is '3'"),
    ("map", 1 << 70, "map is 1180591620717411303424"),
    ("boot", None, "boot is None"),
    ("headers", [7], "headers is 7"),
    ("headers", ["\u0100"], "latin-1"),
    ("removed", [1], "removed is 1"),
    ("entries", [["s2"]], "missing"),
    ("entries", [["s2", "p", -1]], "length is -1"),
    ("entries", [["s2", "p", 1e3]], "length is 1000.0"),
    ("entries", [["s2", "p", True]], "length is True"),
    ("entries", [["s2", 7, 8]], "key is 7"),
    ("entries", [["s2", "\udcff", 8]], "surrogates"),
    ("entries", [["s2", "p", 8, 1 << 64]], "checksum is 18446744073709551616"),
    ("entries", [["s2", "p", 8, 1, 2]], "a record has a header that no line has"),
    ("entries", [["s2", "p", 8, 1, 0, [32633, "left", 0, 1, 2]]], "ground is"),
    ("entries", [["s2", "p", 8, 1, 0, [-5, 0, 0, 1, 2]]], "epsg is -5"),
    ("entries", {"a": 1}, "missing"),
    ("entries", None, "NoneType"),
]


@pytest.mark.parametrize(("field", "value", "why"), FORGED)
def test_a_forged_line_with_the_right_checksum_is_refused(
    tmp_path: Path, field: str, value: object, why: str
) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.append(Mark(4096, 3, 1 << 20), [b"header"])
    content = json.loads(path.read_bytes()[9:]) | {field: value}
    text = json.dumps(content).encode()
    path.write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
    with Journal(path) as journal, pytest.raises(TargetError) as caught:
        list(journal.lines())
    assert f"line 1 of {path} says what no conversion writes" in str(caught.value)
    assert why in str(caught.value)
    assert "--overwrite" in str(caught.value)


def test_whether_a_journal_tells_of_a_record(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.note_failed(patch_named("q"), PatchError("q is damaged"))
        journal.append_rest()  # before any record
    assert not has_records(path)
    assert [type(result) for result in results(path)] == [PatchError]
    only_failed = path.read_bytes()
    with Journal(path) as journal:
        assert journal.last is not None
        journal.note(patch_named("p"), RESULTS[0], 0)
        journal.append(Mark(4096, 3, 1 << 20))
    assert has_records(path)
    path.write_bytes(only_failed + b"0123")  # a line that was cut
    assert not has_records(path)
    text = b'{"boot": 1}'
    path.write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
    assert has_records(path)  # it is not known what it tells of
