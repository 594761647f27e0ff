"""Copies of data files in a folder: made once, looked at, made anew, removed for others."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from patchpress.readers.access import locks
from patchpress.readers.access.locks import Busy, Lock
from patchpress.readers.errors import StoreDamaged, StoreError
from patchpress.readers.format.manifest import read_manifest
from patchpress.readers.staging import folder, room
from patchpress.readers.staging.copies import Copies
from patchpress.readers.staging.folder import PARTIAL, WHOLE, CopyFolder, FolderUnusable
from patchpress.readers.staging.room import NoRoom
from patchpress.readers.staging.source import LocalSource
from tests.support.counting_source import CountingSource, copies_in
from tests.support.sharding import sharded

SHARDS = 3


@pytest.fixture(scope="module")
def parts(stores: dict[tuple[str, str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of three shards."""
    return sharded(stores["stacked", "none"], tmp_path_factory.mktemp("parts") / "store", SHARDS)


def copies_of(
    store: Path, stage: Path, limit: int | None = None, *, log: Path | None = None
) -> Copies:
    source = CountingSource(store, log) if log else LocalSource(store)
    return Copies(source, read_manifest(store).shards, CopyFolder(stage), limit)


def folder_in(stage: Path) -> Path:
    (folder,) = stage.iterdir()
    return folder


def names(stage: Path, ending: str = WHOLE) -> list[str]:
    return sorted(path.name for path in folder_in(stage).glob(f"*{ending}"))


def put_instead(stage: Path, how: Callable[[Path], object]) -> Path:
    """Put something in the place of the only copy; gives that place."""
    (name,) = names(stage)
    path = folder_in(stage) / name
    how(path)
    return path


def test_a_copy_has_the_bytes_of_the_shard(parts: Path, tmp_path: Path) -> None:
    copies = copies_of(parts, tmp_path)
    for number, shard in enumerate(read_manifest(parts).shards):
        assert copies.find(number) is None
        told: list[int] = []
        copies.make(number, told.append)
        found = copies.find(number)
        assert found is not None
        assert found.bytes == (parts / shard.path).read_bytes()
        assert sum(told) == shard.bytes
        assert found.path.parent == folder_in(tmp_path)
    assert len(names(tmp_path)) == SHARDS
    assert names(tmp_path, PARTIAL) == []
    assert folder_in(tmp_path).stat().st_mode & 0o777 == 0o700


def test_a_copy_that_is_there_is_not_made_again(parts: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    first, second = (copies_of(parts, tmp_path / "stage", log=log) for _ in range(2))
    first.make(0)
    second.make(0)
    first.make(0)
    assert copies_in(log) == ["shards/00000/data.mdb"]


def test_the_same_store_elsewhere_has_copies_of_its_own(parts: Path, tmp_path: Path) -> None:
    """What a manifest says does not make it the same: it may come from a stranger."""
    shutil.copytree(parts, tmp_path / "other")
    copies_of(parts, tmp_path / "stage").make(0)
    assert copies_of(tmp_path / "other", tmp_path / "stage").find(0) is None


def test_a_link_to_a_store_is_the_same_store(parts: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(parts)
    copies_of(parts, tmp_path / "stage").make(0)
    assert copies_of(tmp_path / "link", tmp_path / "stage").find(0) is not None


def outside(path: Path) -> Path:
    """A place beside the folder of the stage."""
    return path.parents[2] / "elsewhere"


def linked(path: Path) -> None:
    path.rename(outside(path))
    path.symlink_to(outside(path))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


BROKEN: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: os.truncate(path, 4096),
    "longer": lambda path: os.truncate(path, path.stat().st_size + 1),
    "another file": lambda path: path.write_bytes(b"\1" * path.stat().st_size),
    "writeable": lambda path: path.chmod(0o666),
    "second name": lambda path: os.link(path, outside(path)),
    "link": linked,
    "pipe": pipe,
}


@pytest.mark.parametrize("how", BROKEN.values(), ids=BROKEN)
def test_what_is_no_copy_is_not_read_and_made_again(
    parts: Path, tmp_path: Path, how: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log"
    copies = copies_of(parts, tmp_path / "stage", log=log)
    copies.make(0)
    path = put_instead(tmp_path / "stage", how)
    assert copies.find(0) is None
    assert f"{path} " in caplog.text
    assert "it is not used, and made again" in caplog.text
    copies.make(0)
    found = copies.find(0)
    assert found is not None
    assert found.bytes == (parts / "shards/00000/data.mdb").read_bytes()
    assert len(copies_in(log)) == 2


def test_a_folder_in_the_place_of_a_copy_stays(parts: Path, tmp_path: Path) -> None:
    copies = copies_of(parts, tmp_path)
    copies.make(0)
    path = put_instead(tmp_path, Path.unlink)
    path.mkdir()
    (path / "of the user").touch()
    with pytest.raises(FolderUnusable, match="cannot be removed"):
        copies.find(0)
    assert (path / "of the user").exists()


@pytest.mark.parametrize("what", ["link", "file", "writeable"])
def test_a_folder_that_others_may_write_is_refused(parts: Path, tmp_path: Path, what: str) -> None:
    place = tmp_path / "stage" / f"patchpress-staged-{os.geteuid()}"
    place.parent.mkdir()
    if what == "link":
        (tmp_path / "elsewhere").mkdir()
        place.symlink_to(tmp_path / "elsewhere")
    elif what == "file":
        place.touch()
    else:
        place.mkdir()
        place.chmod(0o777)
    with pytest.raises(FolderUnusable, match="is a link|is no folder|may be written by other"):
        copies_of(parts, tmp_path / "stage")
    assert not (tmp_path / "elsewhere").exists() or not any((tmp_path / "elsewhere").iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_refused(parts: Path, tmp_path: Path) -> None:
    place = tmp_path / f"patchpress-staged-{os.geteuid()}"
    place.mkdir()
    os.chown(place, 12345, 12345)
    with pytest.raises(FolderUnusable, match="belongs to another user"):
        copies_of(parts, tmp_path)


def test_what_lies_in_the_place_of_a_partial_copy_is_not_written_through(
    parts: Path, tmp_path: Path
) -> None:
    copies = copies_of(parts, tmp_path / "stage")
    copies.make(0)
    (name,) = names(tmp_path / "stage")
    place = folder_in(tmp_path / "stage")
    (place / name).unlink()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (place / name).with_suffix(PARTIAL).symlink_to(victim)
    copies.make(0)
    assert copies.find(0) is not None
    assert victim.read_text() == "mine"


def test_another_process_goes_on_if_one_dies_while_it_copies(parts: Path, tmp_path: Path) -> None:
    log, stage = tmp_path / "log", tmp_path / "stage"
    code = (
        "import sys; from pathlib import Path\n"
        "from patchpress.readers.format.manifest import read_manifest\n"
        "from patchpress.readers.staging.copies import Copies\n"
        "from patchpress.readers.staging.folder import CopyFolder\n"
        "from tests.support.counting_source import CountingSource\n"
        "store, stage, log = map(Path, sys.argv[1:])\n"
        "source, shards = CountingSource(store, log), read_manifest(store).shards\n"
        "def halfway(nbytes):\n    print(nbytes, flush=True)\n    sys.stdin.read()\n"
        "Copies(source, shards, CopyFolder(stage), None).make(0, halfway)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, parts, stage, log],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        copies = copies_of(parts, stage, log=log)
        assert len(names(stage, PARTIAL)) == 1
        with pytest.raises(Busy):
            copies.make(0)
        process.send_signal(signal.SIGKILL)
    copies.make(0)
    assert copies.find(0) is not None
    assert names(stage, PARTIAL) == []
    assert copies_in(log) == ["shards/00000/data.mdb"]


def test_a_child_does_not_keep_the_lock_of_a_parent_that_ended(tmp_path: Path) -> None:
    lock = Lock(os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT))
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(writing)
        os.read(reading, 1)  # until the parent closes its end
        os._exit(0)
    os.close(reading)
    try:
        with pytest.raises(Busy):
            Lock(os.open(tmp_path / "lock", os.O_RDWR))
        lock.close()
        Lock(os.open(tmp_path / "lock", os.O_RDWR)).close()
    finally:
        os.close(writing)
        os.waitpid(child, 0)


def test_what_a_dead_process_left_behind_is_removed(parts: Path, tmp_path: Path) -> None:
    copies = copies_of(parts, tmp_path)
    (folder_in(tmp_path) / f"{'0' * 40}{PARTIAL}").write_bytes(b"half")
    copies.make(0)
    assert names(tmp_path, PARTIAL) == []


def test_copies_that_nobody_uses_go_first_the_oldest(
    stores: dict[tuple[str, str], Path],
    parts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(folder, "OFTEN", 0)
    stage = tmp_path / "stage"
    sizes = [shard.bytes for shard in read_manifest(parts).shards]
    first = copies_of(parts, stage)
    for number in range(SHARDS):
        first.make(number)
    for number in (1, 0, 2):  # the order in which they are used
        first.find(number)
    single = stores["stacked", "none"]
    (shard,) = read_manifest(single).shards
    limit = sum(sizes) + shard.bytes - sizes[1]
    other = copies_of(single, stage, limit)
    with pytest.raises(
        NoRoom, match=r"of the stage allows [\d,]+ bytes, of which [\d,]+ are taken"
    ):
        other.make(0)
    assert [first.find(number) is not None for number in range(SHARDS)] == [True] * SHARDS
    for number in (1, 0, 2):
        first.find(number)
    first.close()
    other.make(0)
    assert other.find(0) is not None
    again = copies_of(parts, stage, limit)
    assert [again.find(number) is not None for number in range(SHARDS)] == [True, False, True]
    assert sum(path.stat().st_size for path in folder_in(stage).glob("*.mdb")) <= limit


def test_nothing_goes_if_that_does_not_make_room_enough(parts: Path, tmp_path: Path) -> None:
    first = copies_of(parts, tmp_path)
    first.make(0)
    first.close()
    sizes = [shard.bytes for shard in read_manifest(parts).shards]
    second = copies_of(parts, tmp_path, sizes[1] - 1)
    with pytest.raises(NoRoom):
        second.make(1)
    assert len(names(tmp_path)) == 1
    assert names(tmp_path, PARTIAL) == []


def test_a_part_of_the_disk_is_left_to_others(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "RESERVE", 1 << 60)
    disk = os.statvfs(tmp_path)
    if disk.f_bavail * 20 > disk.f_blocks:  # as full as it must be for the sentence
        monkeypatch.setattr(
            os,
            "statvfs",
            lambda path: os.statvfs_result((disk[0], disk[1], disk[2], 0, 0, *disk[5:10])),
        )
    with pytest.raises(NoRoom, match=r"its disk has [\d,]+ bytes free, of which [\d,]+ are left"):
        copies_of(parts, tmp_path).make(0)


def test_a_lock_that_stays_locked_is_not_waited_for_forever(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = Lock(os.open(path, os.O_RDWR | os.O_CREAT))
    with pytest.raises(Busy), locks.for_a_moment(str(path), patience=0.01):
        pass
    held.close()
    with locks.for_a_moment(str(path)):
        pass


def test_a_store_that_changes_while_it_is_copied_is_told(parts: Path, tmp_path: Path) -> None:
    store = shutil.copytree(parts, tmp_path / "store")
    copies = copies_of(store, tmp_path / "stage")

    def touch(nbytes: int) -> None:
        os.utime(store / "shards/00000/data.mdb", (1, 1))

    with pytest.raises(ValueError, match="was overwritten since it was opened"):
        copies.make(0, touch)
    assert copies.find(0) is None
    assert names(tmp_path / "stage", PARTIAL) == []


def test_a_folder_that_became_a_file_is_told(parts: Path, tmp_path: Path) -> None:
    copies = copies_of(parts, tmp_path)
    copies.make(0)
    place = folder_in(tmp_path)
    shutil.rmtree(place)
    place.touch()
    with pytest.raises(FolderUnusable, match=r"cannot be removed \(Not a directory\)"):
        copies.find(0)
    with pytest.raises(FolderUnusable, match=r"cannot be used \(Not a directory\)"):
        copies.make(0)


def test_a_disk_that_fails_while_a_copy_is_written_is_told(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    copies = copies_of(parts, tmp_path)
    monkeypatch.setattr(os, "pwrite", fails)
    with pytest.raises(FolderUnusable, match=r"cannot be written \(Input/output error\)"):
        copies.make(0)
    monkeypatch.undo()
    assert names(tmp_path) == names(tmp_path, PARTIAL) == []
    copies.make(0)
    assert copies.find(0) is not None


def test_a_copy_that_differs_from_the_shard_is_not_kept(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a disk makes it that says nothing of its faults."""
    copies, pwrite = copies_of(parts, tmp_path), os.pwrite

    def flips(descriptor: int, data: memoryview, offset: int) -> int:
        return pwrite(
            descriptor, bytes(byte ^ 1 for byte in data[:100]) + bytes(data[100:]), offset
        )

    monkeypatch.setattr(os, "pwrite", flips)
    with pytest.raises(StoreDamaged, match="the copy of shards/00000/data.mdb of .* differs"):
        copies.make(0)
    assert names(tmp_path) == names(tmp_path, PARTIAL) == []


def test_a_file_system_without_locks_is_told(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    copies = copies_of(parts, tmp_path / "one")
    monkeypatch.setattr("fcntl.flock", refuses)
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(FolderUnusable, match=r"cannot be used \(No locks available\)"):
            copies.make(0)
    assert len(os.listdir("/proc/self/fd")) < descriptors + 20
    with pytest.raises(FolderUnusable, match=r"cannot be used \(No locks available\)"):
        copies_of(parts, tmp_path / "two")
    monkeypatch.undo()
    monkeypatch.setattr(locks, "possible", False)  # Windows
    with pytest.raises(FolderUnusable, match="this system has no locks of files"):
        copies_of(parts, tmp_path / "three")


def test_what_is_no_file_does_not_count_and_is_not_removed(parts: Path, tmp_path: Path) -> None:
    copies_of(parts, tmp_path).make(0)
    strange = folder_in(tmp_path) / f"of the user{WHOLE}"
    strange.mkdir()
    sizes = [shard.bytes for shard in read_manifest(parts).shards]
    copies_of(parts, tmp_path, sizes[0] + sizes[1]).make(1)
    assert strange.is_dir()
    assert len(names(tmp_path)) == 3


def test_the_lesser_of_two_rooms_counts(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full is told as such, though `stage_size` would allow more."""
    disk = os.statvfs(tmp_path)
    full = os.statvfs_result((*disk[:3], 0, 0, *disk[5:10]))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with pytest.raises(NoRoom, match="its disk has 0 bytes free"):
        copies_of(parts, tmp_path, 1 << 40).make(0)


@pytest.mark.parametrize("change", [Path.unlink, lambda path: os.truncate(path, 4096)])
def test_a_shard_that_is_not_what_it_was_is_not_copied(
    parts: Path, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    store = shutil.copytree(parts, tmp_path / "store")
    source, data = LocalSource(store), store / "shards/00000/data.mdb"
    size = data.stat().st_size
    change(data)
    target = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    with pytest.raises(StoreError, match="No such file|was overwritten since it was opened"):
        source.copy_to("shards/00000/data.mdb", size, target)
    os.close(target)
    assert (tmp_path / "target").stat().st_size == 0
