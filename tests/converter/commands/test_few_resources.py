"""Few files, little memory: a conversion ends well, or in one sentence, and then goes on."""

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from patchpress import PatchpressError, open_store
from patchpress.converter.shortage import shortage
from patchpress.converter.sources.files import DiskFiles
from patchpress.converter.tables.tablefiles import reading
from tests.support.helpers import DATASET, command, folder_bytes, made, packed

pytestmark = pytest.mark.slow

TWO = pytest.param(2, marks=pytest.mark.slow)


def limited(kind: int, most: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (most, most))


def assert_ends_and_goes_on(
    source: Path, tmp_path: Path, kind: int, most: int, workers: int
) -> None:
    store = tmp_path / "store"
    words = ("convert", DATASET, source, store, "--workers", workers, "--on-error", "skip")
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    ended = command(*words, preexec_fn=limited(kind, most), env=environment)
    assert "Traceback" not in ended.err
    if ended.code:  # never 0 with patches left out: none of them is damaged
        assert ended.err.splitlines()[-1].startswith("patchpress: ")
        assert "left out because of errors" not in ended.out
        assert not (store / "manifest.json").exists()
        assert command(*words).code == 0
    assert len(open_store(store)) == 15
    made(source, tmp_path / "whole", on_error="skip")
    assert folder_bytes(store) == folder_bytes(tmp_path / "whole")


@pytest.mark.parametrize("archives", [False, True])
@pytest.mark.parametrize("workers", [0, TWO])
@pytest.mark.parametrize("most", [12, 16, 24, pytest.param(64, marks=pytest.mark.slow)])
def test_few_descriptors(
    raw: Path, tmp_path: Path, most: int, workers: int, archives: bool
) -> None:
    source = packed(raw, "gz") if archives else raw
    assert_ends_and_goes_on(source, tmp_path, resource.RLIMIT_NOFILE, most, workers)


@pytest.mark.slow
@pytest.mark.parametrize("archives", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("megabytes", [150, 300, 400, 580, 600, 740, 900, 1300])
def test_little_memory(
    raw: Path, tmp_path: Path, megabytes: int, workers: int, archives: bool
) -> None:
    source = packed(raw, "gz") if archives else raw
    assert_ends_and_goes_on(source, tmp_path, resource.RLIMIT_AS, megabytes << 20, workers)


@pytest.mark.parametrize(
    ("megabytes", "workers", "said"),
    [
        (500, 0, "may have 500 MiB of address space, and needs "),
        (700, 2, "may have 700 MiB of address space, and needs "),  # beside what workers share
        (900, 0, ""),
    ],
)
def test_too_little_address_space_is_told_before_work_begins(
    raw: Path, tmp_path: Path, megabytes: int, workers: int, said: str
) -> None:
    """Else a thread of a library may need what is not there, and C++ ends the process."""
    words = ("convert", DATASET, packed(raw, "gz"), tmp_path / "store", "--workers", workers)
    ended = command(*words, preexec_fn=limited(resource.RLIMIT_AS, megabytes << 20))
    assert ended.code == (2 if said else 0)
    if said:
        assert said in ended.sentence
        assert "ulimit -v" in ended.sentence
    else:
        assert not ended.err


def test_help_needs_no_memory() -> None:
    ended = command("convert", "--help", preexec_fn=limited(resource.RLIMIT_AS, 400 << 20))
    assert ended.code == 0


@pytest.mark.parametrize(
    "error",
    [
        pa.ArrowMemoryError("malloc of size 64 failed"),
        pa.ArrowException("Unknown error: Failed to launch worker thread"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_a_table_that_memory_does_not_hold_is_not_damaged(tmp_path: Path, error: Exception) -> None:
    refused = pytest.raises(PatchpressError, match="not enough memory")
    with refused as raised, reading(tmp_path / "table.parquet"):
        raise error
    assert type(raised.value) is PatchpressError


def test_a_patch_that_cannot_be_opened_for_want_of_descriptors_is_not_damaged(raw: Path) -> None:
    """Else `--on-error skip` would leave it out."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    files, taken = DiskFiles(str(raw)), list[int]()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
        while True:
            try:
                taken.append(os.open(raw, os.O_RDONLY))
            except OSError:
                break
        for call in (lambda: files.read("metadata.parquet"), lambda: DiskFiles(str(raw))):
            with pytest.raises(PatchpressError, match="no file descriptors left") as raised:
                call()
            assert type(raised.value) is PatchpressError
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in taken:
            os.close(descriptor)
        files.close()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "no file descriptors"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory"),
        (RuntimeError("can't start new thread"), "not enough memory"),
        (ImportError("libarrow.so: failed to map segment from shared object"), "not enough memory"),
        (MemoryError(), "not enough memory"),
        (OSError(errno.EIO, "Input/output error"), ""),
        (RuntimeError("something else"), ""),
    ],
)
def test_what_is_short_is_named(error: BaseException, said: str) -> None:
    assert said in shortage(error)
    assert bool(said) == bool(shortage(error))
