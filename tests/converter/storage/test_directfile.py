"""A file that a thread writes: which bytes it has, and what becomes of errors."""

import errno
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from mmap import mmap
from pathlib import Path

import pytest

from patchpress.converter.storage import directfile
from patchpress.converter.storage.directfile import AHEAD, DirectFile

PAGE = 4096
FAR = 1 << 30
"""A limit on the size of files is that of the whole process, whose output may go to a file."""


def page(fill: int, count: int = 1) -> memoryview:
    memory = memoryview(mmap(-1, PAGE * count))
    memory[:] = bytes([fill]) * (PAGE * count)
    return memory


@pytest.fixture(params=[True, False], ids=["direct", "cached"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file to write: past the page cache, if the file system allows it, or through it."""
    if not request.param:
        monkeypatch.setattr(directfile, "_DIRECT", 0)
    return tmp_path / "file"


def noting(told: list[str], what: str) -> Callable[[], object]:
    return lambda: told.append(what)


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("patchpress-writer")]


def test_pieces_are_written_where_they_were_put(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directfile, "AT_ONCE", 3 * PAGE)
    monkeypatch.setattr(directfile, "PARTS", 4)
    told: list[str] = []
    file = DirectFile(path, 0)
    at = 2 * PAGE
    for number in range(1, 30):
        parts = [page(number, 1 + number % 3) for _ in range(number % 7)]
        file.put(at, parts, noting(told, f"then {number}"),
                 noting(told, f"release {number}"))  # fmt: skip
        at += sum(map(len, parts))
    file.finish(at, b"end", b"begin")
    file.close()
    expected = b"begin".ljust(2 * PAGE, b"\0")
    for number in range(1, 30):
        expected += bytes([number]) * (PAGE * (1 + number % 3) * (number % 7))
    assert path.read_bytes() == expected + b"end"
    assert told == [f"{what} {n}" for n in range(1, 30) for what in ("then", "release")]
    assert not threads()


def test_memory_that_cannot_be_written_directly_goes_through_the_cache(path: Path) -> None:
    file = DirectFile(path, 0)
    odd = memoryview(bytearray(b"x" * 3 * PAGE))[7 : 7 + PAGE]
    file.put(0, [odd])
    file.put(PAGE, [page(2)])
    file.wait()
    file.close()
    assert path.read_bytes() == b"x" * PAGE + b"\2" * PAGE


def test_what_is_after_the_end_is_cut_off(path: Path) -> None:
    path.write_bytes(b"a" * 5 * PAGE)
    DirectFile(path, 2 * PAGE).close()
    assert path.read_bytes() == b"a" * 2 * PAGE


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files end 8 pages after `FAR`, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FAR + 8 * PAGE, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.usefixtures("small_files")
def test_an_error_comes_back_and_every_piece_is_released(path: Path) -> None:
    """Else somebody would wait for ever for memory that is to be used again."""
    file = DirectFile(path, 0)
    told: list[str] = []
    released: list[str] = []
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        for number in range(100):
            file.put(FAR + number * 3 * PAGE, [page(1, 3)], noting(told, str(number)),
                     noting(released, str(number)))  # fmt: skip
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        file.wait()
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        file.finish(0, b"", b"")
    file.close()
    assert told == ["0", "1"]
    assert released == [str(number) for number in range(len(released))]
    assert 3 <= len(released) <= 4 + AHEAD
    assert not threads()


def test_an_error_after_a_piece_comes_back(path: Path) -> None:
    def then() -> None:
        raise KeyError("mine")

    file = DirectFile(path, 0)
    file.put(0, [page(1)], then)
    with pytest.raises(KeyError, match="mine"):
        file.wait()
    file.close()


def test_closing_early_leaves_nothing_waiting(path: Path) -> None:
    go, released = threading.Event(), list[str]()
    file = DirectFile(path, 0)
    file.put(0, [page(1)], lambda: bool(go.wait(60)), noting(released, "0"))
    for number in range(1, AHEAD + 1):
        file.put(number * PAGE, [page(1)], lambda: pytest.fail("too late"),
                 noting(released, str(number)))  # fmt: skip
    threading.Timer(0.05, go.set).start()
    file.close()
    assert released == [str(number) for number in range(AHEAD + 1)]
    assert not threads()
