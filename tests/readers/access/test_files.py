"""A data file that is cut or fails while it is read: each way of reading ends in a sentence."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress.readers.access.files import DataFile, open_file
from patchpress.readers.access.scan import scan
from patchpress.readers.errors import StoreDamaged, StoreUnreadable
from tests.support.loading import refused

CONTENT = np.random.default_rng(4).integers(0, 256, 100_000, np.uint8).tobytes()


@pytest.fixture
def file(tmp_path: Path) -> DataFile:
    path = tmp_path / "data.mdb"
    path.write_bytes(CONTENT)
    return open_file(path)


def into_buffers(file: DataFile) -> bytes:
    buffers = [bytearray(40_000), bytearray(20_000)]
    file.read_into(buffers, 30_000, 60_000)
    return b"".join(buffers)


def a_slice(file: DataFile) -> bytes:
    return bytes(file.pages[30_000:90_000])


@pytest.mark.parametrize("has_preadv", [True, False])
@pytest.mark.parametrize("read", [into_buffers, a_slice])
def test_a_file_that_is_cut_says_where_it_ends(
    file: DataFile, monkeypatch: pytest.MonkeyPatch, read: Callable[..., bytes], has_preadv: bool
) -> None:
    if not has_preadv:
        monkeypatch.delattr(os, "preadv")
    assert read(file) == CONTENT[30_000:90_000]
    for end in (80_000, 50_000, 30_001, 0):
        os.truncate(file.path, end)
        said = refused(StoreDamaged, lambda: read(file))
        # Nothing is left at 30,000 bytes if the file ends before.
        places = {f"{file.path} ended at {place:,} of 100,000 bytes" for place in (end, 30_000)}
        assert said.partition(":")[0] in places
        assert said.endswith("it was cut since it was opened, so copy the store again")


@pytest.mark.parametrize("read", [into_buffers, a_slice])
def test_a_disk_that_fails_in_the_middle_of_a_request_is_told(
    file: DataFile, monkeypatch: pytest.MonkeyPatch, read: Callable[..., bytes]
) -> None:
    preadv, pread, asked = os.preadv, os.pread, []

    def fails_later(offset: int) -> None:
        asked.append(offset)
        if len(asked) > 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def part_into(descriptor: int, buffers: list[Any], offset: int) -> int:
        fails_later(offset)
        return preadv(descriptor, [memoryview(buffers[0]).cast("B")[:50]], offset)

    def part(descriptor: int, count: int, offset: int) -> bytes:
        fails_later(offset)
        return pread(descriptor, min(count, 50), offset)

    monkeypatch.setattr(os, "preadv", part_into)
    monkeypatch.setattr(os, "pread", part)
    assert refused(StoreDamaged, lambda: read(file)) == (
        f"{file.path} cannot be read (Input/output error): check its disk, or copy the store again"
    )
    assert asked == [30_000, 30_050]


def test_a_map_that_the_system_refuses_is_told(
    file: DataFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as context:
        context.setattr("mmap.mmap", refuse)
        said = refused(StoreUnreadable, lambda: file.map)
    assert "no file descriptors left" in said
    assert file.map.tobytes() == CONTENT  # a moment later


def test_an_empty_file_is_no_data_file(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"")
    assert refused(StoreDamaged, lambda: scan(tmp_path / "data.mdb")) == (
        f"{tmp_path / 'data.mdb'} is empty: copy or convert it again"
    )
