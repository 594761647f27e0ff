"""Decompression in a child process gives the same bytes and errors as in a thread."""

import gzip
import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zstandard

from patchpress.converter.memory import HeldChunk, SharedMemory
from patchpress.converter.processes import forking
from patchpress.converter.sources.readahead import ArchiveReader, ThreadReader
from patchpress.converter.sources.unpacker import (
    CHUNKS_AHEAD,
    UNPACKED_AT_ONCE,
    Unpacker,
    chunk_bytes,
    start_unpackers,
)
from patchpress.readers.errors import PatchpressError, SourceError, SourceMissing
from tests.support.helpers import children, processes_gone

DATA = np.random.default_rng(5).bytes(3 * UNPACKED_AT_ONCE + 12_345)


@pytest.fixture
def unpacker() -> Iterator[Unpacker]:
    (started,) = start_unpackers(1, SharedMemory(chunk_bytes(1)))
    yield started
    started.kill()


def archive(folder: Path, data: bytes = DATA, name: str = "a.tar.zst") -> Path:
    """A compressed file; these tests do not look into the archive in it."""
    packed = gzip.compress(data, 1) if name.endswith("gz") else zstandard.compress(data, 1)
    (folder / name).write_bytes(packed)
    return folder / name


def read(reading: ArchiveReader) -> bytes:
    taken = bytearray()
    while len(given := reading.next()):
        taken += given
    assert not len(reading.next())
    return bytes(taken)


@pytest.mark.parametrize("name", ["a.tar.zst", "a.tar.gz"])
def test_one_archive_after_the_other(tmp_path: Path, unpacker: Unpacker, name: str) -> None:
    for length in (0, 1, UNPACKED_AT_ONCE, len(DATA)):
        path = archive(tmp_path, DATA[:length], name)
        reading = unpacker.read([path], md5=True)
        assert read(reading) == DATA[:length]
        assert reading.consumed == path.stat().st_size
        digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        assert reading.digests() == {path: digest}
        reading.close()


def test_one_that_is_left_before_its_end_does_not_show_in_the_next(
    tmp_path: Path, unpacker: Unpacker
) -> None:
    long = archive(tmp_path, DATA * (CHUNKS_AHEAD + 2), "long.tar.zst")
    short = archive(tmp_path)
    for chunks in (0, 1, 5, 2 * CHUNKS_AHEAD):
        reading = unpacker.read([long], md5=False)
        for _ in range(chunks):
            assert len(reading.next())
        reading.close()
        reading = unpacker.read([short], md5=False)
        assert read(reading) == DATA
        reading.close()


@pytest.mark.parametrize("name", ["a.tar.zst", "a.tar.gz"])
def test_damage_is_what_it_is_to_the_thread(tmp_path: Path, unpacker: Unpacker, name: str) -> None:
    path = archive(tmp_path, name=name)
    path.write_bytes(path.read_bytes()[: 2 * UNPACKED_AT_ONCE] + b"\xff" * (1 << 20))
    told = []
    readers: list[ArchiveReader] = [
        unpacker.read([path], md5=False),
        ThreadReader([path], md5=False),
    ]
    for reading in readers:
        taken = bytearray()
        with pytest.raises(SourceError, match=f"{path} cannot be decompressed to its end") as error:
            while len(given := reading.next()):
                taken += given
        told.append((bytes(taken), str(error.value)))
        reading.close()
    assert told[0] == told[1]
    assert len(told[0][0]) > UNPACKED_AT_ONCE
    assert told[0][0][:UNPACKED_AT_ONCE] == DATA[:UNPACKED_AT_ONCE]


def test_what_cannot_be_opened_is_told_at_once(tmp_path: Path, unpacker: Unpacker) -> None:
    with pytest.raises(SourceMissing, match="no file"):
        unpacker.read([tmp_path / "absent.tar"], md5=False)
    (tmp_path / "empty.tar").write_bytes(b"")
    with pytest.raises(SourceError, match="empty"):
        unpacker.read([tmp_path / "empty.tar"], md5=False)
    reading = unpacker.read([archive(tmp_path)], md5=False)
    assert read(reading) == DATA
    reading.close()


def test_a_process_that_dies_is_one_sentence(tmp_path: Path, unpacker: Unpacker) -> None:
    reading = unpacker.read([archive(tmp_path, DATA * (CHUNKS_AHEAD + 2))], md5=False)
    assert len(reading.next())
    os.kill(unpacker._process.pid or 0, signal.SIGKILL)
    with pytest.raises(PatchpressError, match="decompresses died"):
        while True:
            reading.next()
    reading.close()


def distinct(count: int) -> bytes:
    """So many chunks, each of which tells its number."""
    return b"".join(bytes([number + 1]) * UNPACKED_AT_ONCE for number in range(count))


@pytest.fixture
def with_spare() -> Iterator[Unpacker]:
    """One with three chunks that may be held."""
    chunks = CHUNKS_AHEAD + 3
    memory = SharedMemory(4096 + chunk_bytes(1, chunks))
    (started,) = start_unpackers(1, memory, 4096, chunks)
    yield started
    started.kill()


def test_chunks_that_are_held_stay_as_they_are(tmp_path: Path, with_spare: Unpacker) -> None:
    """As many as there are spare ones; what cannot be held is told, and nothing stands still."""
    count = 3 * CHUNKS_AHEAD
    reading = with_spare.read([archive(tmp_path, distinct(count))])
    held: dict[int, HeldChunk] = {}
    for number in range(1, count + 1):
        chunk = reading.next()
        assert chunk[0] == chunk[-1] == number
        kept = reading.hold()
        assert (kept is None) == (len(held) == 3)
        if kept is not None:
            held[number] = kept
        if number == CHUNKS_AHEAD:
            del held[2]
    assert list(held) == [1, 3, CHUNKS_AHEAD + 1]
    assert not len(reading.next())
    reading.close()
    # The next archive leaves them alone, too.
    again = with_spare.read([archive(tmp_path, bytes(count * UNPACKED_AT_ONCE), "b.tar.zst")])
    assert not any(read(again))
    again.close()
    view = with_spare.shared.view
    for number, kept in held.items():
        assert set(view[kept.start : kept.start + UNPACKED_AT_ONCE]) == {number}
    assert not any(view[:4096])


def test_chunks_are_held_by_archives_that_are_closed_early(
    tmp_path: Path, with_spare: Unpacker
) -> None:
    path = archive(tmp_path, distinct(3 * CHUNKS_AHEAD))
    held: list[HeldChunk] = []
    for _ in range(9):
        reading = with_spare.read([path])
        for number in (1, 2):
            assert reading.next()[0] == number
            kept = reading.hold()
            if kept is not None:
                held.append(kept)
        reading.close()
        del reading, kept
        del held[:-1]  # what came last is held until that of the next archive is
        assert with_spare.shared.view[held[0].start] == 2
    everything = with_spare.read([path])
    assert read(everything) == distinct(3 * CHUNKS_AHEAD)
    everything.close()
    held.clear()
    assert len(with_spare.spare) + len(with_spare.to_fill) == CHUNKS_AHEAD + 3


@pytest.mark.slow
def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    with forking():
        parent = os.fork()
    if parent == 0:
        start_unpackers(2, SharedMemory(chunk_bytes(2)))
        signal.pause()
    end = time.monotonic() + 60
    while len(started := children(parent)) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert len(started) == 2
    time.sleep(0.2)  # until they have asked the system to end with their parent
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert processes_gone(started)


def test_nothing_is_left_when_it_is_killed(tmp_path: Path) -> None:
    before = children(os.getpid())
    (unpacker,) = start_unpackers(1, SharedMemory(chunk_bytes(1)))
    assert len(children(os.getpid())) == len(before) + 1
    reading = unpacker.read([archive(tmp_path)], md5=False)
    chunk = reading.next()
    assert any(chunk)
    unpacker.kill()
    assert children(os.getpid()) == before
    assert not any(chunk)
    with pytest.raises(PatchpressError, match="decompresses died"):
        reading.next()
        reading.next()
