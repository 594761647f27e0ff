"""How `verify` reads a store: few large requests, in the order of the disk, whoever wrote it."""

import errno
import random
import shutil
from pathlib import Path

import lmdb
import numpy as np
import pytest

from patchpress import index, open_store
from patchpress.converter.commands.verify import verify
from patchpress.converter.storage.transactions import LMDB_09
from patchpress.readers.access.disk_order import REQUEST_BYTES
from patchpress.readers.access.scan import scan
from tests.support.faulty import faulty
from tests.support.helpers import WORKERS, command, stored_values
from tests.support.requests import counted_reads


@pytest.fixture
def copy(stacked: Path, tmp_path: Path) -> Path:
    """A store to be damaged."""
    return Path(shutil.copytree(stacked, tmp_path / "store"))


@pytest.fixture
def shuffled(stacked: Path, tmp_path: Path) -> Path:
    """The same records, written by LMDB in another order than that of their keys."""
    store = tmp_path / "shuffled"
    shutil.copytree(stacked, store)
    values = list(stored_values(stacked).items())
    random.Random(0).shuffle(values)  # noqa: S311
    (store / "data.mdb").unlink()
    (store / "lock.mdb").unlink(missing_ok=True)
    for key, value in values:
        with (
            lmdb.open(str(store), map_size=1 << 28, lock=False, **LMDB_09) as environment,
            environment.begin(write=True) as transaction,
        ):
            transaction.put(key.encode(), value)
    index(store)
    return store


def flip(store: Path, offset: int) -> None:
    with (store / "data.mdb").open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


def test_records_are_read_by_few_requests(stacked: Path) -> None:
    """Before, each took two, one of them of 16 bytes: a page each of a cold disk."""
    with counted_reads() as counted:
        records = verify(stacked, workers=0).records
    size = (stacked / "data.mdb").stat().st_size
    assert records == 45
    assert size // REQUEST_BYTES == 7
    # Some more for the pages of the tree, which are read when the store is opened, too.
    assert len(set(counted.offsets)) < 30


@pytest.mark.parametrize("workers", WORKERS)
def test_a_store_in_any_order_is_good_and_its_damage_told_in_that_of_the_keys(
    shuffled: Path, workers: int
) -> None:
    found = scan(shuffled / "data.mdb")
    assert (np.diff(found.offset.astype(np.int64)) < 0).any()
    assert verify(shuffled, workers=workers).good
    for position in (3, 20, 41):
        flip(shuffled, int(found.offset[position]) + 2)
    verdict = verify(shuffled, workers=workers)
    keys = [found.keys[position].decode() for position in (3, 20, 41)]
    assert [problem.split(":")[0] for problem in verdict.problems[:3]] == [
        f"record {key}" for key in keys
    ]
    assert verdict.records == 45


@pytest.mark.parametrize("workers", WORKERS)
def test_a_value_whose_pages_begin_otherwise_is_damage(copy: Path, workers: int) -> None:
    """LMDB would not find its way then; what was read before is counted."""
    found = scan(copy / "data.mdb")
    flip(copy, int(found.offset[30]) - 16)
    verdict = verify(copy, workers=workers)
    page = int(found.offset[30]) // 4096
    (problem,) = verdict.problems
    assert f"its page {page} is not what it should be" in problem
    assert verdict.records == 30


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_disk_that_fails_in_the_middle_is_a_sentence(copy: Path, workers: int) -> None:
    env = faulty("read", "data.mdb", error=errno.EIO, skip=12)
    ended = command("verify", copy, "--workers", workers, env=env)
    assert ended.code == 1
    assert ended.err.count("Traceback") == 0
    assert "Input/output error" in ended.out + ended.err


@pytest.mark.slow
def test_short_reads_change_nothing(copy: Path) -> None:
    ended = command("verify", copy, "--workers", 0, env=faulty("read", "data.mdb"))
    assert (ended.code, ended.err) == (0, "")
    assert "good" in ended.out


def test_each_stage_is_named(stacked: Path, tree: Path) -> None:
    class ToldParts:
        def __init__(self) -> None:
            self.stages: list[list[int]] = []
            self.names: list[str] = []

        def start(self, stage: str, total: int | None, unit: str = "records") -> None:
            self.names.append(stage)
            self.stages.append([total or 0, 0])

        def advance(self, count: int, nbytes: int, share: float | None = None) -> None:
            self.stages[-1][1] += count

    told = ToldParts()
    assert verify(stacked, tree, workers=0, progress=told).good
    assert told.names == ["comparing", "reading back"]
    assert told.stages == [[45, 45], [45, 45]]


def test_announced_records_are_those_that_are_there(
    stacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neighbours are announced together, whatever else is asked for."""
    store = open_store(stacked)
    keys = sorted(store.keys())
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(
        "patchpress.readers.access.files.DataFile.announce",
        lambda _, offset, length: told.append((offset, length)),
    )
    store.announce(["none", *keys[:10], "neither"])
    assert len(told) == 1
    assert told[0][1] > sum(len(stored_values(stacked)[key]) for key in keys[:10])
    store.announce([])
    assert len(told) == 1
