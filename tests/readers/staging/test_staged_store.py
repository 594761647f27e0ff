"""Stores that are opened with a stage: read where they are, then from the copies."""

import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import (
    OptionError,
    PatchLoader,
    Samples,
    StageUnusable,
    Store,
    StoreError,
    TargetError,
    open_store,
)
from patchpress.readers.access import locks
from patchpress.readers.access.locks import Lock
from patchpress.readers.format.byte_counts import bytes_of
from patchpress.readers.format.manifest import read_manifest
from patchpress.readers.staging import options, room
from patchpress.readers.staging.folder import LOCK
from tests.support.counting_source import copies_in
from tests.support.sharding import sharded

SHARDS = 5
PATIENCE = 30.0  # seconds


@pytest.fixture(scope="module")
def parts(stores: dict[tuple[str, str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of some shards."""
    return sharded(stores["stacked", "none"], tmp_path_factory.mktemp("parts") / "store", SHARDS)


def staged_names(stage: Path) -> list[str]:
    return sorted(path.name for path in stage.glob("*/*.mdb"))


def wait_for(store: Store, stage: Path, *, count: int | None = None) -> None:
    """Read until all is read from the stage."""
    end = time.monotonic() + PATIENCE
    count = len(store.manifest.shards) if count is None else count
    while sum(stage in path.parents for path in store.data_files()) < count:
        assert time.monotonic() < end, store.reads_from
        time.sleep(0.01)


def pixels(store: Store) -> bytes:
    return store.read_batch(store.keys("s2")).tobytes()


@pytest.mark.parametrize("extents", [True, False])
@pytest.mark.parametrize("shards", [1, SHARDS])
def test_a_store_is_read_directly_and_then_from_the_copies(
    stores: dict[tuple[str, str], Path], tmp_path: Path, shards: int, extents: bool
) -> None:
    path = sharded(stores["stacked", "none"], tmp_path / "store", shards, extents=extents)
    expected = pixels(open_store(path))
    store = open_store(path, stage=tmp_path / "stage")
    view = store.view(store.keys("s2")[0])
    first = view.copy()
    assert pixels(store) == expected
    wait_for(store, tmp_path / "stage")
    assert pixels(store) == expected
    assert np.array_equal(view, first)
    assert len(staged_names(tmp_path / "stage")) == shards
    assert store.reads_from == f"staged in {tmp_path / 'stage'}"
    assert f"staged in {tmp_path / 'stage'}" in repr(store)
    # The copies are what is read now: they are all there is.
    for file in path.rglob("data.mdb"):
        os.truncate(file, 0)
    assert pixels(store) == expected


def test_shards_are_staged_when_they_are_first_wanted(parts: Path, tmp_path: Path) -> None:
    store = open_store(parts, stage=tmp_path)
    assert staged_names(tmp_path) == []
    assert store.reads_from == f"0 of {SHARDS} shards so far staged in {tmp_path}"
    store.read(store.keys("s2")[0])
    end = time.monotonic() + PATIENCE
    while len(staged_names(tmp_path)) < 1:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert len(staged_names(tmp_path)) == 1


def test_a_file_alone_is_staged_when_its_store_is_opened(stacked: Path, tmp_path: Path) -> None:
    store = open_store(stacked, stage=tmp_path)
    end = time.monotonic() + PATIENCE
    while not staged_names(tmp_path):
        assert time.monotonic() < end
        time.sleep(0.01)
    store.close()


def test_all_is_staged_before_anything_is_read(parts: Path, tmp_path: Path) -> None:
    told: list[int] = []
    with open_store(parts, stage=tmp_path) as store:
        store.stage(told.append)
        assert all(tmp_path in path.parents for path in store.data_files())
    assert sum(told) == sum(shard.bytes for shard in read_manifest(parts).shards)
    again: list[int] = []
    with open_store(parts, stage=tmp_path) as store:
        store.stage(again.append)
        assert store.reads_from == f"staged in {tmp_path}"
    assert sum(again) == sum(told)


def test_a_second_job_finds_the_copies_and_copies_nothing(parts: Path, tmp_path: Path) -> None:
    with open_store(parts, stage=tmp_path) as store:
        store.stage()
    before = {path: path.stat().st_ino for path in tmp_path.glob("*/*.mdb")}
    with open_store(parts, stage=tmp_path) as store:
        assert all(tmp_path in path.parents for path in store.data_files())
        pixels(store)
    assert {path: path.stat().st_ino for path in tmp_path.glob("*/*.mdb")} == before


def test_the_environment_says_where_and_how_much(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv(options.STAGE, "$SCRATCH/${USERLESS}stage")
    with pytest.raises(OptionError, match="variable USERLESS, which is not set"):
        open_store(parts)
    monkeypatch.setenv(options.STAGE, "${SCRATCH}/stage")
    with open_store(parts) as store:
        store.stage()
    assert len(staged_names(tmp_path / "scratch/stage")) == SHARDS
    assert open_store(parts, stage=False).reads_from == f"read from {parts}"
    assert Samples(parts, stage=False).store.reads_from == f"read from {parts}"
    monkeypatch.setenv(options.STAGE_SIZE, "many")
    with pytest.raises(OptionError, match="'many' of a stage is no number of bytes: write 200GB"):
        open_store(parts)
    monkeypatch.setenv(options.STAGE, "")
    assert open_store(parts).reads_from == f"read from {parts}"


@pytest.mark.parametrize(
    ("size", "nbytes"),
    [(7, 7), ("7", 7), ("200GB", 200 * 10**9), ("1.5 TiB", 3 << 39), ("3M", 3_000_000)],
)
def test_sizes_are_numbers_or_text(size: int | str, nbytes: int) -> None:
    assert bytes_of(size, "of a stage") == nbytes


@pytest.mark.parametrize("size", [-1, 1.5, "", "GB", "-1GB", "1e9", True, "1 XB"])
def test_what_is_no_size_is_refused(parts: Path, tmp_path: Path, size: object) -> None:
    with pytest.raises(OptionError, match="is no number of bytes"):
        open_store(parts, stage=tmp_path, stage_size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", ["", True, 3])
def test_what_is_no_folder_is_refused(parts: Path, stage: object) -> None:
    with pytest.raises(OptionError, match="must be a folder"):
        open_store(parts, stage=stage)  # type: ignore[arg-type]


def test_a_size_without_a_folder_is_refused(parts: Path) -> None:
    with pytest.raises(OptionError, match="stage_size 5 needs a folder"):
        open_store(parts, stage_size=5)


def test_a_stage_goes_with_a_path(parts: Path, tmp_path: Path) -> None:
    store = open_store(parts)
    for made in (Samples, partial(PatchLoader, output="numpy")):
        with pytest.raises(OptionError, match="is open already: give it to open_store"):
            made(store, stage=tmp_path)
    with pytest.raises(OptionError, match="is open already"):
        PatchLoader(Samples(store), output="numpy", stage=tmp_path)
    with pytest.raises(OptionError, match="was opened without a stage"):
        store.stage()


def test_loaders_hand_the_folder_on(parts: Path, tmp_path: Path) -> None:
    expected = [batch[0].tobytes() for batch in PatchLoader(parts, batch_size=2, output="numpy")]
    loader = PatchLoader(parts, batch_size=2, output="numpy", stage=tmp_path)
    for _ in range(2):
        assert [batch[0].tobytes() for batch in loader] == expected
        wait_for(loader.samples.store, tmp_path)


def test_data_sets_and_modules_of_torch_hand_the_folder_on(parts: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PatchDataset needs torch")
    from patchpress import PatchDataset

    data = PatchDataset(parts, stage=tmp_path / "one")
    assert str(tmp_path / "one") in data.samples.store.reads_from
    pytest.importorskip("lightning", reason="PatchDataModule needs lightning")
    from patchpress import PatchDataModule

    module = PatchDataModule(parts, stage=tmp_path / "two")
    assert str(tmp_path / "two") in module.store.reads_from


def test_without_room_the_rest_is_read_directly_and_told_once(parts: Path, tmp_path: Path) -> None:
    sizes = [shard.bytes for shard in read_manifest(parts).shards]
    limit = sizes[0] + sizes[1] + 1
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        store = open_store(parts, stage=tmp_path, stage_size=limit)
        expected = pixels(open_store(parts))
        assert pixels(store) == expected
        end = time.monotonic() + PATIENCE
        while store._stage is not None and store._stage._work._wanted:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert pixels(store) == expected
    (warning,) = raised
    assert warning.category is StageUnusable
    assert f"the size of the stage allows {limit:,} bytes" in str(warning.message)
    assert f"it is read from {parts}" in str(warning.message)
    assert 1 <= len(staged_names(tmp_path)) < SHARDS
    with pytest.raises(TargetError, match="there is no room in"):
        open_store(parts, stage=tmp_path, stage_size=limit).stage()


def test_a_folder_that_cannot_be_written_is_told_once(parts: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.warns(StageUnusable, match=r"read directly: .* cannot be made \(Not a directory\)"):
        store = open_store(parts, stage=tmp_path / "file/stage")
    assert pixels(store) == pixels(open_store(parts))
    assert store.reads_from.startswith(f"read from {parts}: {tmp_path}/file/stage/")
    with pytest.raises(TargetError, match="Not a directory"):
        store.stage()


def test_a_folder_of_a_stranger_is_told_and_not_used(parts: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"patchpress-staged-{os.geteuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.warns(StageUnusable, match="is a link"):
        store = open_store(parts, stage=tmp_path)
    assert pixels(store) == pixels(open_store(parts))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_disk_that_fills_up_is_told(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "RESERVE", 0)

    def full(*arguments: object) -> int:
        raise OSError(28, "No space left on device")

    store = open_store(parts, stage=tmp_path)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(TargetError, match="its disk is full"):
        store.stage()
    monkeypatch.undo()
    assert list(tmp_path.glob("*/*.partial")) == []
    assert pixels(store) == pixels(open_store(parts))


def test_a_copy_that_goes_while_it_is_read_stays_readable(parts: Path, tmp_path: Path) -> None:
    store = open_store(parts, stage=tmp_path)
    store.stage()
    expected = pixels(store)
    for path in tmp_path.glob("*/*.mdb"):
        path.unlink()
    assert pixels(store) == expected


def test_a_pickle_finds_the_same_copies(parts: Path, tmp_path: Path) -> None:
    store = open_store(parts, stage=tmp_path, stage_size="1GB")
    store.stage()
    frozen = pickle.dumps(store)
    assert len(frozen) < 1000
    thawed = pickle.loads(frozen)  # noqa: S301
    assert thawed.data_files() == store.data_files()
    assert all(tmp_path in path.parents for path in thawed.data_files())
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(Store.data_files, store).result() == store.data_files()


def in_fork(work: Callable[[], bool]) -> None:
    """Run something in a forked child; it must say that it is right."""
    child = os.fork()
    if not child:
        right = False
        try:
            signal.alarm(int(PATIENCE))
            right = work()
        finally:
            os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_forked_child_stages_what_its_parent_has_not(parts: Path, tmp_path: Path) -> None:
    store = open_store(parts, stage=tmp_path)
    expected = pixels(open_store(parts))

    def work() -> bool:
        right = pixels(store) == expected
        wait_for(store, tmp_path)
        return right and pixels(store) == expected

    in_fork(work)
    assert len(staged_names(tmp_path)) == SHARDS


def test_a_forked_child_goes_on_when_its_parent_was_at_work(parts: Path, tmp_path: Path) -> None:
    store = open_store(parts, stage=tmp_path)
    expected = pixels(store)  # all are wanted, and the thread has begun

    def work() -> bool:
        wait_for(store, tmp_path)
        return pixels(store) == expected

    in_fork(work)
    wait_for(store, tmp_path)
    assert len(staged_names(tmp_path)) == SHARDS


RANK = """
import sys
from pathlib import Path
from patchpress import PatchLoader, open_store
from patchpress.readers.staging import options
from patchpress.readers.staging.stage import Stage
from tests.support.counting_source import CountingSource
store, stage, log = map(Path, sys.argv[1:])
options.StageOptions.of = lambda self, path, shards: Stage(
    self.path, self.size, shards, CountingSource(path, log, seconds=0.05))
opened = open_store(store, stage=stage)
loader = PatchLoader(opened, batch_size=2, shuffle=True, seed=1, output="numpy")
epochs = 0
while not all(stage in path.parents for path in opened.data_files()):
    for batch in loader:
        pass
    epochs += 1
print(epochs, opened.reads_from)
"""


def rank(store: Path, stage: Path, log: Path) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", RANK, *map(str, (store, stage, log))]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_no_process_copies_what_another_of_its_machine_has(parts: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    ranks = [rank(parts, tmp_path / "stage", log) for _ in range(4)]
    for process in ranks:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert f"staged in {tmp_path / 'stage'}" in out
    assert copies_in(log) == sorted(shard.path for shard in read_manifest(parts).shards)


@pytest.mark.slow
def test_others_take_over_from_a_process_that_is_killed(parts: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = rank(parts, tmp_path / "stage", log)
    end = time.monotonic() + PATIENCE
    while not (log.exists() and "begun" in log.read_text()):
        assert time.monotonic() < end
        time.sleep(0.002)
    first.kill()
    first.communicate()
    second = rank(parts, tmp_path / "stage", log)
    _, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    assert len(staged_names(tmp_path / "stage")) == SHARDS
    assert list(tmp_path.glob("stage/*/*.partial")) == []


ORPHAN = """
import os, signal, sys, time
from pathlib import Path
from patchpress import open_store
from patchpress.readers.staging import options
from patchpress.readers.staging.stage import Stage
from tests.support.counting_source import CountingSource
store, stage, log = map(Path, sys.argv[1:])
options.StageOptions.of = lambda self, path, shards: Stage(
    self.path, self.size, shards, CountingSource(path, log, seconds=0.5))
opened = open_store(store, stage=stage)
opened.read_batch(opened.keys("s2"))
while not log.exists():
    time.sleep(0.01)
if os.fork():
    os.kill(os.getpid(), signal.SIGKILL)
while not all(stage in path.parents for path in opened.data_files()):
    opened.read_batch(opened.keys("s2"))
print(opened.reads_from)
"""


@pytest.mark.slow
def test_a_child_goes_on_if_its_parent_is_killed_while_it_copies(
    parts: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", ORPHAN, *map(str, (parts, tmp_path / "stage", tmp_path / "log"))]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout == f"staged in {tmp_path / 'stage'}\n", ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_torch_read_the_copies(parts: Path, tmp_path: Path, method: str) -> None:
    pytest.importorskip("torch", reason="PatchDataset needs torch")
    from torch.utils.data import DataLoader

    from patchpress import PatchDataset

    data = PatchDataset(parts, stage=tmp_path)
    expected = [batch[0].numpy().tobytes() for batch in DataLoader(PatchDataset(parts), 2)]
    loader = DataLoader(
        data, 2, num_workers=2, multiprocessing_context=method, persistent_workers=True
    )
    end = time.monotonic() + PATIENCE
    while len(staged_names(tmp_path)) < SHARDS:
        assert [batch[0].numpy().tobytes() for batch in loader] == expected
        assert time.monotonic() < end
    assert [batch[0].numpy().tobytes() for batch in loader] == expected
    del loader


def test_a_store_that_was_made_anew_is_staged_anew(
    stores: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    path = shutil.copytree(stores["stacked", "none"], tmp_path / "store")
    with open_store(path, stage=tmp_path / "stage") as store:
        store.stage()
    shutil.rmtree(path)
    shutil.copytree(stores["native", "none"], path)
    with open_store(path, stage=tmp_path / "stage") as store:
        store.stage()
        assert pixels(store) == pixels(open_store(path))
    assert len(staged_names(tmp_path / "stage")) == 2


def test_a_folder_in_the_store_itself_is_refused(parts: Path) -> None:
    for folder in (parts, parts / "shards", parts / "new"):
        with pytest.raises(OptionError, match="lies in the store .* itself, which is only read"):
            open_store(parts, stage=folder)
    assert not (parts / "new").exists()


def test_a_disk_that_fails_is_told_once_and_the_store_is_read(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warnings that are errors do not end the thread that copies with a traceback."""

    def fails(*arguments: object) -> int:
        raise OSError(5, "Input/output error")

    store = open_store(parts, stage=tmp_path)
    monkeypatch.setattr(os, "pwrite", fails)
    expected = pixels(open_store(parts))
    end = time.monotonic() + PATIENCE
    while not store.reads_from.startswith("read from"):
        assert pixels(store) == expected
        assert time.monotonic() < end, store.reads_from
        time.sleep(0.01)
    (folder,) = tmp_path.iterdir()
    told = f"read from {parts}: {folder} cannot be written (Input/output error)"
    assert store.reads_from == told
    with pytest.raises(TargetError, match="nothing can be staged: .* cannot be written"):
        store.stage()
    other = open_store(parts, stage=tmp_path)
    with pytest.raises(
        TargetError, match=r"staged: .* \(Input/output error\); name another folder"
    ):
        other.stage()
    assert pixels(other) == expected


def test_a_folder_that_became_a_file_is_told_and_the_store_is_read(
    parts: Path, tmp_path: Path
) -> None:
    store = open_store(parts, stage=tmp_path)
    store.stage()
    expected = pixels(store)
    (folder,) = tmp_path.iterdir()
    shutil.rmtree(folder)
    folder.touch()
    with pytest.warns(StageUnusable, match=f"nothing is staged, and {parts} is read directly"):
        store = open_store(parts, stage=tmp_path)
    assert pixels(store) == expected


def test_a_shard_that_lacks_is_told_while_it_is_staged(
    parts: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = shutil.copytree(parts, tmp_path / "store")
    store = open_store(copy, stage=tmp_path / "stage")
    (lost,) = [path for path in copy.glob("shards/*/data.mdb") if "00002" in str(path)]
    lost.unlink()
    with pytest.raises(StoreError, match="00002"):
        store.stage()
    with pytest.raises(StoreError, match="00002"):
        pixels(store)
    end = time.monotonic() + PATIENCE
    while "shards/00002/data.mdb cannot be staged: " not in caplog.text:
        assert time.monotonic() < end
        store.read(store.keys("s2")[0])
        with suppress(StoreError):
            pixels(store)
        time.sleep(0.01)


def test_a_folder_that_another_process_keeps_locked_is_told(
    parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pixels(open_store(parts))
    open_store(parts, stage=tmp_path).close()
    (folder,) = tmp_path.iterdir()
    held = Lock(os.open(folder / LOCK, os.O_RDWR))
    monkeypatch.setattr(locks.for_a_moment.__wrapped__, "__defaults__", (0.01,))  # type: ignore[attr-defined]
    with pytest.warns(StageUnusable, match=f"another process keeps {tmp_path} locked"):
        store = open_store(parts, stage=tmp_path)
    held.close()
    assert pixels(store) == expected


def test_a_closed_store_stays_closed_in_a_child(parts: Path, tmp_path: Path) -> None:
    store = open_store(parts, stage=tmp_path)
    store.stage()
    store.close()
    said = in_a_child(store)
    assert said.startswith("StoreUnreadable")
    assert "was closed" in said


def in_a_child(store: Store) -> str:
    """What reading says in a child that is forked."""
    context = multiprocessing.get_context("fork")
    reading, writing = context.Pipe(duplex=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: other threads
        child = context.Process(target=_say, args=(store, writing))
        child.start()
    assert reading.poll(60)
    said: str = reading.recv()
    child.join()
    return said


def _say(store: Store, pipe: Any) -> None:
    try:
        pipe.send(f"{len(pixels(store))} bytes")
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
