"""Disks that fail or give less than was asked for: no wrong pixel, one sentence, and a way on."""

import errno
import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from patchpress import index
from patchpress.readers.format.manifest import DATA, EXTENTS, JOURNAL, MANIFEST, METADATA
from tests.support.faulty import faulty
from tests.support.helpers import Ended, command, made, python
from tests.support.packing import packed as packed_tree
from tests.support.synthetic import Row

pytestmark = pytest.mark.slow

FILES = (DATA, METADATA, MANIFEST, EXTENTS)
Tree = tuple[Path, list[Row]]


@pytest.fixture(scope="module")
def whole(made_tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the made tree when nothing fails."""
    store = tmp_path_factory.mktemp("whole") / "store"
    made(made_tree[0], store)
    return store


@pytest.fixture(scope="module")
def packed(made_tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made tree in archives."""
    root = tmp_path_factory.mktemp("packed")
    packed_tree(made_tree[0], root)
    return root


def converted(source: Path, store: Path, env: dict[str, str] | None = None) -> Ended:
    return command("convert", "bigearthnet-v2", source, store, "--workers", 1, env=env)


def same(store: Path, whole: Path) -> None:
    """Both stores have the same bytes in all files."""
    for name in FILES:
        assert (store / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.parametrize(("calls", "part"), [("read", "_B8A.tif"), ("write", DATA)])
def test_short_reads_and_writes_change_nothing(
    made_tree: Tree, whole: Path, tmp_path: Path, calls: str, part: str
) -> None:
    ended = converted(made_tree[0], tmp_path / "store", faulty(calls, part))
    assert ended.code == 0, ended.err
    same(tmp_path / "store", whole)


def test_short_reads_of_archives_change_nothing(packed: Path, whole: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    ended = converted(packed, store, faulty("read", ".tar"))
    assert ended.code == 0, ended.err
    same(store, whole)


@pytest.mark.parametrize("part", [".tif", ".tar", "metadata.parquet"])
def test_a_source_that_cannot_be_read_is_named_and_the_conversion_goes_on_later(
    made_tree: Tree, packed: Path, whole: Path, tmp_path: Path, part: str
) -> None:
    source, store = packed if part == ".tar" else made_tree[0], tmp_path / "store"
    ended = converted(source, store, faulty("read", part, error=errno.EIO, skip=3))
    assert ended.code == 1, ended.err
    assert part in ended.sentence
    assert "Input/output error" in ended.sentence
    assert not (store / MANIFEST).exists()
    assert converted(source, store).code == 0
    same(store, whole)


@pytest.mark.parametrize("calls", ["write", "sync"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("part", [DATA, METADATA, "journal"])
def test_a_target_that_cannot_be_written_is_no_store_and_the_conversion_goes_on_later(
    made_tree: Tree, whole: Path, tmp_path: Path, calls: str, error: int, part: str
) -> None:
    store = tmp_path / "store"
    ended = converted(made_tree[0], store, faulty(calls, f"store/{part}", error=error))
    if ended.code:  # not everything is flushed, or written by such a call
        assert str(store) in ended.sentence
        assert not (store / MANIFEST).exists()
        assert converted(made_tree[0], store).code == 0
    same(store, whole)


def test_what_cannot_be_flushed_is_never_called_a_store(made_tree: Tree, tmp_path: Path) -> None:
    ended = converted(made_tree[0], tmp_path / "store", faulty("sync", "store/", error=errno.EIO))
    assert ended.code in (1, 2)
    assert "Input/output error" in ended.sentence
    assert not (tmp_path / "store" / MANIFEST).exists()


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_no_obstacle(
    made_tree: Tree, whole: Path, tmp_path: Path, error: int
) -> None:
    store = tmp_path / "store"
    ended = converted(made_tree[0], store, faulty("lock", "store", error=error))
    assert ended.code == 0, ended.err
    same(store, whole)


def test_a_clock_that_jumps_changes_nothing(made_tree: Tree, whole: Path, tmp_path: Path) -> None:
    ended = converted(made_tree[0], tmp_path / "store", faulty("time"))
    assert ended.code == 0, ended.err
    same(tmp_path / "store", whole)


READ = """
import sys
import numpy as np
from patchpress import open_store
from patchpress.readers.errors import PatchpressError
try:
    store = open_store(sys.argv[1], mode=sys.argv[2])
    keys = store.keys("s2")
    batch = store.read_batch(keys)
except PatchpressError as error:
    sys.exit(f"patchpress: {error}")
print(batch.sum(dtype=np.int64), *(store.read(key).sum(dtype=np.int64) for key in keys[:3]))
"""


def test_short_reads_of_a_store_give_the_same_pixels(whole: Path) -> None:
    right = python("-c", READ, whole, "direct")
    assert right.code == 0, right.err
    assert python("-c", READ, whole, "direct", env=faulty("read", DATA)) == right


@pytest.mark.parametrize("part", [DATA, METADATA, MANIFEST])
def test_a_store_that_cannot_be_read_is_named(whole: Path, part: str) -> None:
    ended = python("-c", READ, whole, "direct", env=faulty("read", part, error=errno.EIO))
    assert ended.code == 1
    last = ended.err.splitlines()[-1]  # before, a warning may say that extents are of no use
    assert last.startswith("patchpress: ")
    assert part in last
    assert "Input/output error" in last


@pytest.mark.parametrize("skip", [0, 1, 3])
def test_extents_that_cannot_be_read_are_told_and_left_out(whole: Path, skip: int) -> None:
    """Under a map such a disk ends the process (SIGBUS)."""
    right = python("-c", READ, whole, "auto")
    assert right.code == 0, right.err
    env = faulty("read", EXTENTS, error=errno.EIO, skip=skip)
    ended = python("-c", READ, whole, "auto", env=env)
    assert (ended.code, ended.out) == (0, right.out)
    assert f"{whole / EXTENTS} cannot be read (Input/output error)" in ended.err
    assert f"run `patchpress index {whole}`" in ended.err
    assert python("-c", READ, whole, "auto", env=faulty("read", EXTENTS)) == right  # short reads


@pytest.mark.parametrize("mode", ["map", "direct", "auto"])
def test_extents_whose_disk_fails_later_are_named(whole: Path, mode: str) -> None:
    opening = 6  # reads, of the header and of five arrays
    env = faulty("read", EXTENTS, error=errno.EIO, skip=opening)
    ended = python("-c", READ, whole, mode, env=env)
    assert ended.code == 1
    assert ended.err == (
        f"patchpress: {whole / EXTENTS} cannot be read (Input/output error): check its disk, and "
        "open the store again\n"
    )


@pytest.mark.parametrize("skip", [0, 10, 20, 40])
def test_a_store_that_is_indexed_from_a_failing_disk_is_named(
    whole: Path, tmp_path: Path, skip: int
) -> None:
    store = tmp_path / "store"
    shutil.copytree(whole, store)
    ended = command("index", store, env=faulty("read", DATA, error=errno.EIO, skip=skip))
    assert ended.code == 1, ended.err
    assert f"{store / DATA} cannot be read (Input/output error)" in ended.sentence
    same(store, whole)
    assert command("index", store, env=faulty("read", DATA)).code == 0  # short reads
    same(store, whole)


def test_no_page_of_the_data_file_is_mapped_to_index_it(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that cannot be read under a map ends the process (SIGBUS)."""
    shutil.copytree(whole, tmp_path / "store")
    data, real = (tmp_path / "store" / DATA).stat().st_ino, mmap.mmap

    def mapped(descriptor: int, *options: Any, **more: Any) -> mmap.mmap:
        assert os.fstat(descriptor).st_ino != data
        return real(descriptor, *options, **more)

    monkeypatch.setattr(mmap, "mmap", mapped)
    index(tmp_path / "store")
    same(tmp_path / "store", whole)


def test_a_file_that_goes_while_others_are_read_is_named(
    made_tree: Tree, whole: Path, tmp_path: Path
) -> None:
    source, store = tmp_path / "source", tmp_path / "store"
    shutil.copytree(made_tree[0], source)
    victim, aside = sorted(source.rglob("*_reference_map.tif"))[-1], tmp_path / "aside"
    words = [sys.executable, "-m", "patchpress", "convert", "bigearthnet-v2", source, store]
    env = faulty("read", ".tif", wait=5000)
    with subprocess.Popen(
        [*map(str, words), "--workers", "1"], env=env, stderr=subprocess.PIPE, text=True
    ) as running:
        while not (store / JOURNAL).exists():  # the source is listed by then
            assert running.poll() is None
        victim.rename(aside)
        _, text = running.communicate()
    ended = Ended(running.returncode, "", text)
    assert ended.code == 1
    assert str(victim) in ended.sentence
    aside.rename(victim)
    assert converted(source, store).code == 0
    same(store, whole)


def test_a_conversion_that_is_stopped_for_a_while_changes_nothing(
    made_tree: Tree, whole: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    words = [sys.executable, "-m", "patchpress", "convert", "bigearthnet-v2", made_tree[0], store]
    with subprocess.Popen(
        [*map(str, words), "--workers", "2"],
        env=faulty("read", ".tif", wait=2000),
        start_new_session=True,
    ) as running:
        while running.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGSTOP)
                time.sleep(0.05)
                os.killpg(running.pid, signal.SIGCONT)
            time.sleep(0.05)
    assert running.returncode == 0
    same(store, whole)


def test_a_file_that_is_cut_is_named(made_tree: Tree, whole: Path, tmp_path: Path) -> None:
    source, store = tmp_path / "source", tmp_path / "store"
    shutil.copytree(made_tree[0], source)
    victim = sorted(source.rglob("*_B8A.tif"))[-1]
    data = victim.read_bytes()
    victim.write_bytes(data[: len(data) // 2])
    ended = converted(source, store)
    assert ended.code == 1
    assert str(victim) in ended.sentence
    victim.write_bytes(data)
    assert converted(source, store).code == 0
    same(store, whole)
