"""The files of a patch are read in the same way from a folder, from memory and from cells."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpress.converter.memory import CellPool
from patchpress.converter.sources.files import ArchivedFiles, PatchFiles, open_files
from patchpress.readers.errors import PatchError

FILES = {"a.tif": bytes(range(200)), "b.tif": b"", "c.json": b"{}" * 1000}


def filled(contents: ArchivedFiles, files: dict[str, bytes]) -> ArchivedFiles:
    for name, data in files.items():
        contents.add(name, len(data))[:] = data
    return contents


def on_disk(path: Path) -> PatchFiles:
    path.mkdir()
    for name, data in FILES.items():
        (path / name).write_bytes(data)
    return open_files(str(path), None)


def in_memory(path: Path) -> PatchFiles:
    return open_files(str(path), filled(ArchivedFiles(), FILES))


def in_cells(path: Path) -> PatchFiles:
    cells = CellPool(1000, 2)  # the longest file finds no room
    return open_files(str(path), filled(ArchivedFiles(cells.take()), FILES), cells.memory)


KINDS = [on_disk, in_memory, in_cells]


@pytest.fixture(params=KINDS, ids=lambda kind: str(kind.__name__))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> PatchFiles:
    kind: Callable[[Path], PatchFiles] = request.param
    return kind(tmp_path / "patch")


def test_all_of_a_file_is_read(folder: PatchFiles) -> None:
    assert sorted(folder.names()) == sorted(FILES)
    assert {name: folder.read(name) for name in FILES} == FILES
    folder.close()


@pytest.mark.parametrize("sizes", [(200,), (8, 192), (8, 100, 500), (3,), (0, 200), (250, 5)])
def test_buffers_are_filled_one_after_the_other(folder: PatchFiles, sizes: tuple[int, ...]) -> None:
    buffers = [bytearray(size) for size in sizes]
    got = folder.readv("a.tif", buffers)
    assert got == min(200, sum(sizes))
    assert b"".join(buffers)[:got] == FILES["a.tif"][:got]
    assert not any(b"".join(buffers)[got:])
    folder.close()


def test_a_file_that_is_not_there_is_named(folder: PatchFiles) -> None:
    with pytest.raises(PatchError, match="d.tif "):
        folder.read("d.tif")
    with pytest.raises(PatchError, match="d.tif "):
        folder.readv("d.tif", [bytearray(1)])
    folder.close()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PatchError, match=f"{tmp_path}/none cannot be opened"):
        open_files(str(tmp_path / "none"), None)


def test_what_is_no_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "folder.tif").mkdir()
    folder = open_files(str(tmp_path), None)
    for read in (
        lambda: folder.read("folder.tif"),
        lambda: folder.readv("folder.tif", [bytearray(1)]),
    ):
        with pytest.raises(PatchError, match=r"folder.tif (cannot be read|is no file)"):
            read()
    folder.close()


def test_a_folder_closes_what_it_opened(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    folder = on_disk(tmp_path / "patch")
    folder.read("a.tif")
    folder.readv("c.json", [bytearray(5)])
    with pytest.raises(PatchError):
        folder.read("none")
    folder.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_fault_is_what_reading_gives() -> None:
    contents = filled(ArchivedFiles(), FILES)
    contents.fault = "x has far more bytes than usual"
    with pytest.raises(PatchError, match=r"^x has far more bytes than usual$"):
        open_files("x", contents)


@given(st.lists(st.integers(0, 300), max_size=12), st.integers(0, 1500))
def test_files_in_cells_do_not_overlap(sizes: list[int], room: int) -> None:
    cells = CellPool(room, 2)
    first, second = (ArchivedFiles(cells.take()) for _ in range(2))
    for number, size in enumerate(sizes):
        first.add(f"{number}", size)[:] = bytes([number + 1]) * size
        second.add(f"{number}", size)[:] = bytes([number + 101]) * size
    for contents, more in ((first, 1), (second, 101)):
        folder = contents.open("x", cells.memory)
        for number, size in enumerate(sizes):
            assert f"{number}" in contents
            assert folder.read(f"{number}") == bytes([number + more]) * size
    assert "x" not in first


def test_a_cell_is_free_when_nobody_holds_it() -> None:
    cells = CellPool(64, 2)
    one, other = cells.take(), cells.take()
    assert cells.take() is None
    assert one is not None
    assert other is not None
    assert {one.start, other.start} == {0, 64}
    start = other.start
    contents = ArchivedFiles(other)
    del other
    assert cells.take() is None  # the files hold it
    del contents
    again = cells.take()
    assert again is not None
    assert again.start == start


def test_cells_of_no_size_are_none() -> None:
    for cells in (CellPool(0, 3), CellPool(64, 0)):
        assert cells.take() is None
        assert len(cells.memory) == 0


def test_pickled_contents_hold_no_pixels_of_cells() -> None:
    """A worker to which they are sent sees the same memory."""
    cells = CellPool(4096, 1)
    contents = filled(ArchivedFiles(cells.take()), {"a.tif": bytes(3000), "b.tif": b"b" * 2000})
    contents.fault = ""
    sent = pickle.dumps(contents)
    assert len(sent) < 2500  # the file that found no room, and names
    came: ArchivedFiles = pickle.loads(sent)  # noqa: S301
    folder = came.open("x", cells.memory)
    assert folder.read("a.tif") == bytes(3000)
    assert folder.read("b.tif") == b"b" * 2000
    del came, folder
    assert cells.take() is None  # the files here still hold it


def test_a_fault_travels_too() -> None:
    contents = ArchivedFiles()
    contents.fault = "damaged"
    came: ArchivedFiles = pickle.loads(pickle.dumps(contents))  # noqa: S301
    assert came.fault == "damaged"


def test_cells_are_shared_with_forked_processes() -> None:
    cells = CellPool(64, 1)
    contents = filled(ArchivedFiles(cells.take()), {"a": b"before"})
    child = os.fork()
    if not child:
        ok = contents.open("x", cells.memory).read("a") == b"before"
        cells.memory[:6] = b"after!"
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert contents.open("x", cells.memory).read("a") == b"after!"
