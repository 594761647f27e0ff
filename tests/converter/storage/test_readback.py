"""The net under the page writer: LMDB reads what it wrote, and writes it again if it cannot."""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import lmdb
import pytest

from patchpress.converter.encoding.frame import SMALLEST
from patchpress.converter.storage import pages, transactions
from patchpress.converter.storage.copying import copy_by_lmdb
from patchpress.converter.storage.folder import claim
from patchpress.converter.storage.journal import Journal
from patchpress.converter.storage.ownership import ASIDE
from patchpress.converter.storage.readback import BETWEEN, ReadBackSample, refusal
from patchpress.converter.storage.resume import clear_or_go_on
from patchpress.converter.storage.writer import ShardWriter
from patchpress.readers.access.scan import build
from patchpress.readers.errors import TargetError
from patchpress.readers.format import metapages
from patchpress.readers.format.manifest import JOURNAL
from tests.support.helpers import encoded, put, stored_values

ASKED = {"patchpress": "1", "dataset": "a"}
WRONG_FLAG = 0x40  # of a page; no page of LMDB has it alone
MANY = 130  # records whose keys take more than one leaf, so that the tree has a branch


def record(number: int) -> memoryview:
    return memoryview(random.Random(number).randbytes(SMALLEST + 37 * number))  # noqa: S311


def key(number: int) -> str:
    return f"{number:0>60}"


@contextmanager
def writing_to(folder: Path, *, paged: bool = True) -> Iterator[ShardWriter]:
    """A writer that goes on where the last one stopped; what it wrote is kept as unfinished."""
    with (
        suppress(InterruptedError),
        claim(folder, overwrite=False) as target,
        clear_or_go_on(target, ASKED) as journal,
        ShardWriter(folder, journal, paged=paged) as shard,
    ):
        yield shard
        raise InterruptedError


def fill(shard: ShardWriter, numbers: list[int]) -> None:
    done = {entry.key for entry in shard.journal.entries()}
    for number in numbers:
        if key(number) not in done:
            put(shard, key(number), record(number))


def written(folder: Path, count: int) -> tuple[Path, ReadBackSample]:
    with writing_to(folder) as shard:
        fill(shard, list(range(count)))
        shard.finish()
    return folder / "data.mdb", sample_of(list(range(count)))


def sample_of(numbers: list[int]) -> ReadBackSample:
    sample = ReadBackSample()
    for number in numbers:
        sample.add(key(number).encode(), encoded(record(number)))
    return sample


@pytest.mark.parametrize("count", [0, 1, 2, 3, 9, 17, 18, 40, 1000, 1001])
def test_a_sample_has_the_first_the_last_and_some_between(count: int) -> None:
    sample = ReadBackSample()
    for number in range(count):
        sample.add(b"%d" % number, encoded(memoryview(b"%d" % number)))
    found = [int(name) for name, _ in sample]
    assert sample.count == count
    assert found == sorted(set(found))
    assert found[:1] + found[-1:] == [0, count - 1] if count else not found
    assert min(count, BETWEEN) <= len(found) <= 2 * BETWEEN + 2
    steps = [after - before for before, after in pairwise(found[:-1])]
    assert len(set(steps)) <= 1  # evenly spread
    assert all(of == encoded(memoryview(name)) for name, of in sample)


@pytest.mark.parametrize("count", [1, 2, 30, MANY])
def test_a_file_as_it_was_written_is_not_refused(tmp_path: Path, count: int) -> None:
    assert refusal(*written(tmp_path / "a", count)) == ""


def test_other_keys_than_were_written_are_refused(tmp_path: Path) -> None:
    path, _ = written(tmp_path / "a", 3)
    assert refusal(path, sample_of([0, 1, 2])) == ""
    assert refusal(path, sample_of([0, 1, 1, 2])) == "LMDB counts 3 records in it, not 4"
    assert refusal(path, sample_of([1, 2])) == "LMDB counts 3 records in it, not 2"
    assert refusal(path, sample_of([0, 1, 3])) == f"its tree does not lead to record {key(3)}"
    assert refusal(path, sample_of([1, 0, 2])) == "LMDB gives another first or last key"
    assert refusal(path, sample_of([0, 2, 1])) == "LMDB gives another first or last key"


def test_other_bytes_of_a_record_are_refused(tmp_path: Path) -> None:
    path, sample = written(tmp_path / "a", 3)
    data = bytearray(path.read_bytes())
    data[data.index(bytes(record(1))) + 5] ^= 1
    path.write_bytes(data)
    assert refusal(path, sample) == f"LMDB gives other bytes for record {key(1)}"


def test_a_file_that_lmdb_does_not_open_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sample = written(tmp_path / "a", 3)
    data = path.read_bytes()
    path.write_bytes(data[:4096] + bytes(4096) + data[8192:])
    with pytest.raises(lmdb.Error), lmdb.open(str(path), subdir=False, readonly=True, lock=False):
        pass
    assert refusal(path, sample) != ""
    path.write_bytes(bytes(8192) + data[8192:])
    assert refusal(path, sample) == "its tree is damaged"
    assert refusal(tmp_path / "nothing", sample) == "its tree is damaged"


def test_a_file_that_only_our_own_reader_takes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sample = written(tmp_path / "a", 3)
    data = bytearray(path.read_bytes())
    for at in (20, 4096 + 20):  # the format's version, after the page header and the magic number
        data[at : at + 4] = (9).to_bytes(4, "little")
    path.write_bytes(data)
    monkeypatch.setattr(metapages, "VERSION", 9)
    assert sample.count == 3
    assert refusal(path, sample) not in ("", "its tree is damaged")


@pytest.fixture
def wrong_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees of more than one leaf come out wrong."""
    monkeypatch.setattr(pages, "BRANCH", WRONG_FLAG)
    monkeypatch.setattr(transactions, "COMMIT_BYTES", 40_000)


@pytest.mark.usefixtures("wrong_branches")
def test_a_file_that_lmdb_does_not_read_is_written_again_by_lmdb(tmp_path: Path) -> None:
    """To the same bytes as if LMDB had written it from the first."""
    with writing_to(tmp_path / "lmdb", paged=False) as by_lmdb:
        fill(by_lmdb, list(range(MANY)))
        by_lmdb.finish()
    with writing_to(tmp_path / "store") as shard:
        fill(shard, list(range(MANY)))
        with pytest.warns(UserWarning, match="in pages .its tree is damaged.*again, by LMDB"):
            shard.finish()
    assert (shard.records, shard.digest) == (MANY, by_lmdb.digest)
    expected = {key(number): bytes(record(number)) for number in range(MANY)}
    assert stored_values(tmp_path / "store") == expected
    assert not (tmp_path / "store" / ASIDE).exists()
    data = [(tmp_path / name / "data.mdb").read_bytes() for name in ("store", "lmdb")]
    assert data[0] == data[1]
    found = [build(tmp_path / name, ["data.mdb"], w.headers)
             for name, w in (("store", shard), ("lmdb", by_lmdb))]  # fmt: skip
    assert (found[0].offset == found[1].offset).all()


@pytest.mark.usefixtures("wrong_branches")
def test_lmdb_goes_on_with_its_copy_at_a_key_out_of_order(tmp_path: Path) -> None:
    order = [*range(10, MANY), 3, MANY, 5, 4]
    with writing_to(tmp_path / "store") as shard:
        with pytest.warns(UserWarning, match="again, by LMDB"):
            fill(shard, order)
        shard.remove([key(5), key(20)])
        shard.finish()
    expected = {key(n): bytes(record(n)) for n in sorted(order) if n not in (5, 20)}
    assert stored_values(tmp_path / "store") == expected
    assert shard.records == len(expected)


class Killed(Exception):
    """In place of a kill."""


@pytest.mark.usefixtures("wrong_branches")
@pytest.mark.parametrize("step", ["copy", "unsynced copy", "line", "unlink", "after"])
@pytest.mark.parametrize("out_of_order", [False, True])
def test_a_kill_at_any_step_of_the_copy_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, out_of_order: bool
) -> None:
    order = [*range(10, MANY), *([3, 200, 5] if out_of_order else [])]

    def complete(store: Path) -> bytes:
        with writing_to(store) as shard:
            fill(shard, order)
            shard.finish()
        return (store / "data.mdb").read_bytes()

    with pytest.warns(UserWarning, match="again, by LMDB"):
        whole = complete(tmp_path / "whole")

    def kill(*arguments: object, **named: object) -> None:
        raise Killed

    target = {
        "copy": "writer.copy_by_lmdb",
        "unsynced copy": "copying.Transactions.sync",
        "line": "writer.ShardWriter._append",
        "unlink": "writer.Path.unlink",
    }
    unlink = Path.unlink

    def kill_unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name == ASIDE and path.exists():
            raise Killed
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        if step in target:
            patch.setattr(
                f"patchpress.converter.storage.{target[step]}",
                kill_unlink if step == "unlink" else kill,
            )
        with pytest.warns(UserWarning, match="again, by LMDB"), suppress(Killed):
            complete(tmp_path / "a")
        assert (tmp_path / "a" / ASIDE).exists() == (step != "after")
    if step == "after":  # then nothing is read back or copied again
        assert complete(tmp_path / "a") == whole
        return
    with pytest.warns(UserWarning, match="again, by LMDB"):
        assert complete(tmp_path / "a") == whole
    assert not (tmp_path / "a" / ASIDE).exists()


def test_a_closed_file_is_read_back_by_whoever_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the end of the tree and LMDB's look at it."""
    monkeypatch.setattr(pages, "BRANCH", WRONG_FLAG)
    with writing_to(tmp_path / "store") as shard:
        fill(shard, list(range(MANY)))
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr("patchpress.converter.storage.writer.refusal", _kill)
            shard.finish()
    with pytest.warns(UserWarning, match="again, by LMDB"):
        written(tmp_path / "store", MANY)
    assert len(stored_values(tmp_path / "store")) == MANY


def _kill(*arguments: object) -> str:
    raise Killed


def test_a_record_that_does_not_come_back_ends_in_a_sentence(tmp_path: Path) -> None:
    path, _ = written(tmp_path / "a", 5)
    shutil.copyfile(tmp_path / "a" / JOURNAL, tmp_path / "journal")
    data = bytearray(path.read_bytes())
    data[data.index(bytes(record(2))) + 5] ^= 1
    path.write_bytes(data)
    with (
        Journal(tmp_path / "journal") as journal,
        pytest.raises(TargetError, match=f"record {key(2)}.*--overwrite --writer lmdb"),
    ):
        copy_by_lmdb(path, journal, tmp_path)


def test_a_journal_that_has_fewer_records_than_a_closed_file_begins_anew(tmp_path: Path) -> None:
    """Else the others would be stored twice."""
    path, _ = written(tmp_path / "a", 5)
    lines = (path.parent / JOURNAL).read_bytes().splitlines(keepends=True)
    (path.parent / JOURNAL).write_bytes(b"".join(lines[:3]) + b"x" + b"".join(lines[3:]))
    with pytest.warns(UserWarning, match="damaged, so what .* is not known: .* begins anew"):
        written(tmp_path / "a", 5)
    assert len(stored_values(tmp_path / "a")) == 5
