"""Disks that answer late: many files are under way at once, and nothing else changes.

Calls are counted by the preloaded library that makes them wait; no time decides.
"""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from patchpress.readers.format.manifest import DATA, EXTENTS, MANIFEST, METADATA
from tests.support.faulty import faulty
from tests.support.helpers import Ended, children, command, made, processes_gone, python
from tests.support.slow import SlowDisk
from tests.support.synthetic import Row

pytestmark = pytest.mark.slow

AT_ONCE = 8
"""Far more than the processes of these tests; far fewer than the files that are under way."""
FILES = (DATA, METADATA, MANIFEST, EXTENTS)
TILES = [one + other for one in "ABC" for other in "ABCDEFGHIJ"]
"""Ends of names of products."""


@pytest.fixture(scope="module")
def whole(made_tree: tuple[Path, list[Row]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the made tree, from a disk that is fast."""
    store = tmp_path_factory.mktemp("whole") / "store"
    made(made_tree[0], store)
    return store


@pytest.fixture
def disk(tree: Path, tmp_path: Path) -> SlowDisk:
    """The made tree lies on it."""
    return SlowDisk(tree, tmp_path / "counts", wait=5000)


def converted(source: Path, store: Path, *words: object, workers: int = 1, **more: object) -> Ended:
    asked = ("convert", "bigearthnet-v2", source, store, "--workers", workers, *words)
    return command(*asked, **more)


def same(store: Path, whole: Path) -> None:
    for name in FILES:
        assert (store / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_many_files_are_under_way_at_once(
    tree: Path, whole: Path, disk: SlowDisk, tmp_path: Path, workers: int
) -> None:
    ended = converted(tree, tmp_path / "store", workers=workers, env=disk.environment())
    assert (ended.code, ended.err) == (0, "")
    assert disk.most.opens >= AT_ONCE
    same(tmp_path / "store", whole)


@pytest.mark.parametrize("workers", [0, 1])
def test_many_files_are_compared_at_once(
    tree: Path, whole: Path, disk: SlowDisk, workers: int
) -> None:
    words = ("verify", whole, "--against", tree, "--workers", workers)
    ended = command(*words, env=disk.environment())
    assert ended == command(*words)
    assert ended.code == 0, ended.err
    assert disk.most.opens >= AT_ONCE


LIST = """
import sys
from pathlib import Path
from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.processes import reason_not_to_fork
from patchpress.converter.sources.folders import Walk
from patchpress.readers.errors import PatchpressError
modality = find_description(sys.argv[1]).modalities[sys.argv[2]]
walk = Walk(modality, Path(sys.argv[3]), lambda error: print(error))
try:
    for patch in walk:
        print(patch.folder, patch.key)
    print(walk.ascending, walk.first_ignored, walk.passed_over)
except PatchpressError as error:
    print(type(error), error)
print(reason_not_to_fork())
"""


def many_folders(root: Path) -> Path:
    """Folders of places with files of dates, and among them what is no such folder."""
    for number in range(60):
        folder = root / f"place-{number}"
        folder.mkdir(parents=True)
        for name in ("1.tif", "2.tif", "no patch.txt"):
            (folder / name).touch()
    for number in range(20):
        (root / f"place-{number}.txt").touch()
        (root / f"no place {number}").mkdir()
        (root / f"no place {number}.zip").touch()
    (root / "place-9000").symlink_to("place-2")
    (root / "place-9001").symlink_to("nowhere")
    (root / "place-9002").symlink_to("place-9002")
    os.mkfifo(root / "place-9003")
    (root / ".hidden").mkdir()
    return root


def test_many_folders_are_listed_at_once(tmp_path: Path) -> None:
    root = many_folders(tmp_path / "raw")
    disk = SlowDisk(root, tmp_path / "counts", wait=5000)
    words = ("-c", LIST, "spectralearth", "enmap", root)
    plain = python(*words)
    assert (plain.code, plain.err) == (0, "")
    assert plain.out.count("place-2_") == plain.out.count("place-9000_") == 2
    assert python(*words, env=disk.environment()) == plain
    assert disk.most.opens >= AT_ONCE
    assert disk.most.looks >= AT_ONCE


def test_a_folder_that_may_not_be_listed_is_named_in_its_turn(
    powerless: Callable[..., Ended],
    closed: Callable[[Path, int], Path],
    tree: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = Path(shutil.copytree(tree, tmp_path / "source"))
    product = min((source / "BigEarthNet-S2").iterdir())
    others = [product.with_name(f"{product.name[:-2]}{name}") for name in TILES]
    for number, other in enumerate(others):
        other.mkdir(exist_ok=True)
        if number in (20, 25):
            closed(other, 0o000)
    words = ("convert", "bigearthnet-v2", source, tmp_path / "store", "--modality", "s2")
    plain = powerless(*words)
    assert plain.code == 1
    assert str(others[20]) in plain.sentence
    disk = SlowDisk(source, tmp_path / "counts", wait=5000)
    for name, value in disk.environment({}).items():
        monkeypatch.setenv(name, value)
    assert powerless(*words) == plain
    assert disk.most.opens >= AT_ONCE


def gone(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def larger(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(33 << 20))


def another_band(path: Path) -> None:
    """A header like no other file's, and the pixels of another band."""
    path.write_bytes(path.with_name(path.name.replace("_B8A", "_B02")).read_bytes())


DAMAGES = (gone, cut, pipe, endless, folder, larger, another_band)


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("rule", ["stop", "skip"])
def test_damaged_files_are_told_as_from_a_fast_disk(
    tree: Path, tmp_path: Path, damage: Callable[[Path], None], rule: str
) -> None:
    source = Path(shutil.copytree(tree, tmp_path / "source"))
    bands = sorted(source.rglob("*_B8A.tif"))
    for band in bands[5:12:3]:
        damage(band)
    plain = converted(source, tmp_path / "plain", "--on-error", rule)
    assert plain.code == 1
    disk = SlowDisk(source, tmp_path / "counts", wait=5000)
    store = tmp_path / "slow "  # as long as the other one
    ended = converted(source, store, "--on-error", rule, env=disk.environment())
    assert disk.most.opens >= AT_ONCE
    assert ended.code == plain.code
    assert ended.err.replace(str(store), str(tmp_path / "plain")) == plain.err
    if rule == "skip":
        same(store, tmp_path / "plain")
        reports = [Path(f"{path}.report.json") for path in (tmp_path / "plain", store)]
        left_out = [json.loads(path.read_text())["skipped"] for path in reports]
        assert left_out[0] == left_out[1]
        assert len(left_out[0]) == 3


def test_a_file_that_cannot_be_read_is_told_as_from_a_fast_disk(
    tree: Path, whole: Path, disk: SlowDisk, tmp_path: Path
) -> None:
    store, victim = tmp_path / "store", sorted(tree.rglob("*_B8A.tif"))[8]
    failing = faulty("read", victim.name, error=errno.EIO)
    plain = converted(tree, store, env=failing)
    assert plain.code == 1
    assert "Input/output error" in plain.sentence
    shutil.rmtree(store)
    assert converted(tree, store, env=disk.environment(failing)) == plain
    assert disk.most.opens >= AT_ONCE
    assert converted(tree, store).code == 0
    same(store, whole)


@pytest.mark.parametrize("files", [32, 64])
@pytest.mark.parametrize("workers", [0, 2])
def test_few_descriptors_are_enough(
    tree: Path, whole: Path, disk: SlowDisk, tmp_path: Path, files: int, workers: int
) -> None:
    """A thread that lacks one is no damaged file, and no reason to stop."""
    store = tmp_path / "store"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    ended = converted(tree, store, workers=workers, env=disk.environment(), preexec_fn=limit)
    assert (ended.code, ended.err) == (0, "")
    same(store, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_conversion_that_is_ended_ends_at_once_and_goes_on_later(
    tree: Path, whole: Path, tmp_path: Path, number: int, workers: int
) -> None:
    store = tmp_path / "store"
    disk = SlowDisk(tree, tmp_path / "counts", wait=10_000)
    words = ["convert", "bigearthnet-v2", tree, store, "--workers", workers]
    with subprocess.Popen(
        [sys.executable, "-m", "patchpress", *map(str, words)],
        env=disk.environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        while disk.most.opens < AT_ONCE:
            assert running.poll() is None
            time.sleep(0.01)
        workers_of = children(running.pid)
        running.send_signal(number)
        _, err = running.communicate(timeout=60)
    assert running.returncode == (130 if number == signal.SIGINT else -number), err
    assert "Traceback" not in err
    assert processes_gone(workers_of)
    assert not (store / MANIFEST).exists()
    assert converted(tree, store).code == 0
    same(store, whole)


def test_a_worker_that_is_killed_is_told(tree: Path, whole: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    disk = SlowDisk(tree, tmp_path / "counts", wait=10_000)
    words = ["convert", "bigearthnet-v2", tree, store, "--workers", 1]
    with subprocess.Popen(
        [sys.executable, "-m", "patchpress", *map(str, words)],
        env=disk.environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        while disk.most.opens < AT_ONCE:
            assert running.poll() is None
            time.sleep(0.01)
        (worker,) = children(running.pid)
        os.kill(worker, signal.SIGKILL)
        _, err = running.communicate(timeout=60)
    ended = Ended(running.returncode, "", err)
    assert ended.code in (1, 2)
    assert "a decoding process died" in ended.sentence
    assert converted(tree, store).code == 0
    same(store, whole)
