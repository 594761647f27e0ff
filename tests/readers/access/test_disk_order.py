"""All records of a file by few large requests, in the order of their bytes."""

import os
import random
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from patchpress.readers.access.disk_order import (
    GAP,
    PORTION_BYTES,
    PORTION_RECORDS,
    REQUEST_BYTES,
    Announced,
    PortionReader,
    announce,
    portions,
    records_in_disk_order,
)
from patchpress.readers.access.files import DataFile, open_file
from patchpress.readers.errors import StoreDamaged
from tests.support.requests import counted_reads

HEAD = 16
Places = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def written(path: Path, lengths: list[int], gap: int = 0) -> tuple[DataFile, Places, list[bytes]]:
    """A file of records, each with 16 bytes before it; its records in a shuffled order."""
    draw = random.Random(0)  # noqa: S311
    records, offsets, at = [], [], 0
    with path.open("wb") as file:
        for length in lengths:
            head, record = draw.randbytes(HEAD), draw.randbytes(length)
            file.write(head + record + bytes(gap))
            offsets.append(at + HEAD)
            records.append(record)
            at += HEAD + length + gap
    order = draw.sample(range(len(lengths)), len(lengths))
    offset = np.array([offsets[i] for i in order], np.int64)
    nbytes = np.array([lengths[i] for i in order], np.int64)
    return open_file(path, readahead=True), (offset, nbytes), [records[i] for i in order]


def read_all(file: DataFile, places: Places) -> dict[int, bytes]:
    """Each record by its position."""
    reader = PortionReader()
    found: dict[int, bytes] = {}
    for portion in portions(*places):
        values = [bytes(value) for _, value in reader.read(file, portion)]
        found.update(zip(portion.positions.tolist(), values, strict=True))
    return found


@pytest.mark.parametrize("gap", [0, 100, GAP + 1])
def test_each_record_is_read_whole_whatever_the_order_of_keys(tmp_path: Path, gap: int) -> None:
    lengths = [1, 5_000, 0, 70_000, REQUEST_BYTES + 5, 12, 300_000, 3]
    file, places, records = written(tmp_path / "data", lengths, gap)
    assert read_all(file, places) == dict(enumerate(records))


def test_heads_are_the_bytes_before(tmp_path: Path) -> None:
    file, places, _ = written(tmp_path / "data", [10, 20])
    data = (tmp_path / "data").read_bytes()
    (portion,) = portions(*places)
    heads = [bytes(head) for head, _ in PortionReader().read(file, portion)]
    assert heads == [data[offset - HEAD : offset] for offset in sorted(places[0].tolist())]


def test_neighbours_are_read_together(tmp_path: Path) -> None:
    file, places, records = written(tmp_path / "data", [20_000] * 200)
    with counted_reads() as counted:
        found = read_all(file, places)
    assert len(found) == len(records)
    assert len(counted) <= 200 * 20_016 // REQUEST_BYTES + 3


def test_records_far_apart_are_read_alone(tmp_path: Path) -> None:
    """What lies between them is not asked for."""
    file, places, _ = written(tmp_path / "data", [1_000] * 5, gap=GAP + 1)
    with counted_reads() as counted:
        read_all(file, places)
    assert len(counted) == 5


def test_portions_are_no_larger_than_they_may_be() -> None:
    count = 3 * PORTION_RECORDS
    small = list(portions(np.arange(count) * 10 + 16, np.full(count, 10)))
    assert [len(portion.positions) for portion in small] == [PORTION_RECORDS] * 3
    large = list(portions(np.arange(10) * PORTION_BYTES + 16, np.full(10, PORTION_BYTES // 2 + 1)))
    assert [len(portion.positions) for portion in large] == [1] * 10
    assert list(portions([], [])) == []


def test_a_file_that_became_shorter_is_damage(tmp_path: Path) -> None:
    file, places, _ = written(tmp_path / "data", [5_000] * 20)
    os.truncate(tmp_path / "data", 40_000)
    with pytest.raises(StoreDamaged, match="cut since it was opened"):
        read_all(file, places)


@pytest.mark.parametrize("at_once", [128 << 10, 1 << 30])
def test_all_of_a_portion_is_announced_in_steps_that_the_kernel_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Linux fetches only so much for one call, on a network disk less than a record."""
    file, places, _ = written(tmp_path / "data", [345_600] * 10)
    file.__dict__["announced_at_once"] = at_once
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(
        os, "posix_fadvise", lambda _, offset, length, __: told.append((offset, length))
    )
    for portion in portions(*places):
        announce(file, portion)
    assert max(length for _, length in told) <= at_once
    ends = [0, *(offset + length for offset, length in told)]
    assert [offset for offset, _ in told] == ends[:-1]  # no gap, nothing twice
    assert ends[-1] == file.size


def test_what_the_kernel_takes_at_once_is_what_the_system_says(tmp_path: Path) -> None:
    file, _, _ = written(tmp_path / "data", [10])
    assert file.announced_at_once >= 128 << 10


def test_records_come_with_their_positions_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    lengths = [9_000_000, 1, 5_000, 70_000, 9_000_000, 12, 300_000]
    file, places, records = written(tmp_path / "data", lengths)
    found = [(at, bytes(value)) for at, value in records_in_disk_order(file, *places)]
    assert dict(found) == dict(enumerate(records))
    offsets = [int(places[0][at]) for at, _ in found]
    assert offsets == sorted(offsets)
    assert not list(records_in_disk_order(file, [], []))


def test_a_file_that_ends_early_is_told_record_by_record(tmp_path: Path) -> None:
    file, places, _ = written(tmp_path / "data", [5_000, 70_000])
    with (tmp_path / "data").open("r+b") as cut:
        cut.truncate(60_000)
    with pytest.raises(StoreDamaged):
        list(records_in_disk_order(file, *places))


def test_what_is_read_next_is_announced_once_and_a_portion_ahead(tmp_path: Path) -> None:
    class Noting(DataFile):
        told: ClassVar[list[tuple[int, int]]] = []

        def announce(self, offset: int, length: int) -> None:
            self.told.append((offset, length))
            super().announce(offset, length)

    size = 5 * PORTION_BYTES + 100
    with (tmp_path / "data").open("wb") as made:
        made.truncate(size)
    file = Noting(tmp_path / "data", os.open(tmp_path / "data", os.O_RDONLY), readahead=True)
    ahead = Announced(file)
    for position in range(0, size, 1 << 20):
        ahead.reach(position)
        told = sum(length for _, length in file.told)
        assert min(position + PORTION_BYTES, size) <= told < position + 2 * PORTION_BYTES + 1
    assert file.told == [(at * PORTION_BYTES, PORTION_BYTES) for at in range(6)]
