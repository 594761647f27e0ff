"""Conversions that are stopped: by Ctrl-C, killed processes, full disks.

If a test needs a conversion that is at work, the process that is about to open one of its files
waits at a pipe until the test closes the other end, however fast the machine is.
"""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from patchpress import open_store
from tests.support.helpers import (
    DATASET,
    Ended,
    band_files,
    children,
    command,
    folder_bytes,
    patches,
    processes_gone,
    python,
)
from tests.support.packing import entries, members, write
from tests.support.small_disk import COMMIT, RUN, on_small_disk

pytestmark = pytest.mark.slow

GUARD = 60.0  # seconds until a test gives up; none is decided by it
WHOLE = 4 << 20  # bytes of a commit, as in the command itself


def band_in_the_middle(raw: Path) -> Path:
    """A file of a patch that is neither among the first nor among the last."""
    return band_files(raw, "s2", patches(raw, "s2")[2])["B05"]


class Waiting:
    """A conversion that waits before one of its files, in the middle, at a pipe."""

    def __init__(self, raw: Path, store: Path, workers: int) -> None:
        self.path = store.with_name("pipe")
        os.mkfifo(self.path)
        words = ["convert", "bigearthnet-v2", str(raw), str(store), "--workers", str(workers)]
        self.process = subprocess.Popen(
            [sys.executable, RUN, str(WHOLE), *words],
            env={**os.environ, "WAIT_AT": f"{band_in_the_middle(raw).name}:{self.path}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._pipe = self._opened()
        self.workers = children(self.process.pid)

    def _opened(self) -> int:
        """Open the other end of the pipe, as soon as the conversion has opened its own."""
        end = time.monotonic() + GUARD
        while time.monotonic() < end:
            try:
                return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                assert self.process.poll() is None, self.process.communicate()
                time.sleep(0.01)
        raise TimeoutError("the conversion never came to its pipe")

    def let_go(self) -> None:
        """Close the pipe, so that the conversion goes on."""
        if self._pipe >= 0:
            self.path.unlink()
            os.close(self._pipe)
            self._pipe = -1

    def ended(self) -> Ended:
        self.let_go()
        out, err = self.process.communicate(timeout=GUARD)
        return Ended(self.process.returncode, out, err)

    def close(self) -> None:
        self.let_go()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def waiting(raw: Path, tmp_path: Path) -> Iterator[Callable[[int], Waiting]]:
    """Start a conversion of `raw` to ``tmp_path / "store"`` that waits."""
    started: list[Waiting] = []

    def start(workers: int) -> Waiting:
        started.append(Waiting(raw, tmp_path / "store", workers))
        return started[-1]

    yield start
    for each in started:
        each.close()


def assert_unfinished_and_goes_on(raw: Path, store: Path) -> None:
    assert not (store / "manifest.json").exists()
    ended = command("convert", "bigearthnet-v2", raw, store, "--workers", 0)
    assert (ended.code, ended.err) == (0, "")
    assert len(open_store(store)) == 15
    assert not [name for name in os.listdir(store) if name.startswith("unfinished")]


@pytest.mark.parametrize("archives", [(), ("BigEarthNet-S1", "Reference_Maps")])
def test_ctrl_c_does_not_wait_for_a_worker_that_is_stuck(
    waiting: Callable[[int], Waiting], raw: Path, tmp_path: Path, archives: tuple[str, ...]
) -> None:
    for name in archives:
        write(raw / f"{name}.tar.zst", entries(raw, members(raw, name)))
        shutil.rmtree(raw / name)
    conversion = waiting(2)
    os.killpg(conversion.process.pid, signal.SIGINT)
    # The pipe stays open: if the command waited for its worker, it would wait for ever.
    assert conversion.process.wait(GUARD) == 130
    assert processes_gone(conversion.workers)
    conversion.let_go()
    assert_unfinished_and_goes_on(raw, tmp_path / "store")


def test_a_killed_conversion_goes_on_before_its_workers_are_gone(
    waiting: Callable[[int], Waiting], raw: Path, tmp_path: Path
) -> None:
    conversion = waiting(2)
    conversion.process.kill()
    conversion.process.wait(GUARD)
    conversion.let_go()
    assert_unfinished_and_goes_on(raw, tmp_path / "store")


@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_is_one_sentence_and_exit_code_130(
    waiting: Callable[[int], Waiting], raw: Path, tmp_path: Path, workers: int
) -> None:
    conversion = waiting(workers)
    assert len(conversion.workers) == min(workers, 1)  # five patches are the work of one
    os.killpg(conversion.process.pid, signal.SIGINT)
    ended = conversion.ended()
    assert ended.code == 130
    assert ended.sentence.startswith("interrupted")
    assert "go on" in ended.sentence
    assert processes_gone(conversion.workers)
    assert_unfinished_and_goes_on(raw, tmp_path / "store")


def test_killed_workers_are_one_sentence(
    waiting: Callable[[int], Waiting], raw: Path, tmp_path: Path
) -> None:
    conversion = waiting(2)
    for worker in conversion.workers:  # one of them waits at the pipe, the others may be idle
        # When the first is killed, the conversion may end the second before this test does.
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    ended = conversion.ended()
    assert ended.code != 0
    assert "decoding process died" in ended.sentence
    assert processes_gone(conversion.workers)
    assert_unfinished_and_goes_on(raw, tmp_path / "store")


def test_a_killed_conversion_leaves_no_processes(
    waiting: Callable[[int], Waiting], raw: Path, tmp_path: Path
) -> None:
    conversion = waiting(2)
    conversion.process.kill()
    assert processes_gone(conversion.workers)
    conversion.ended()
    assert_unfinished_and_goes_on(raw, tmp_path / "store")


def test_a_terminated_conversion_leaves_no_processes_and_no_manifest(
    waiting: Callable[[int], Waiting], raw: Path, tmp_path: Path
) -> None:
    conversion = waiting(2)
    conversion.process.terminate()
    assert conversion.ended().code != 0
    assert processes_gone(conversion.workers)
    assert_unfinished_and_goes_on(raw, tmp_path / "store")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_conversion_at_once_is_refused(
    waiting: Callable[[int], Waiting], raw: Path, tmp_path: Path, overwrite: bool
) -> None:
    conversion = waiting(1)
    options = ["--overwrite"] * overwrite
    ended = command("convert", "bigearthnet-v2", raw, tmp_path / "store", *options)
    assert ended.code == 2
    assert "another process is writing" in ended.sentence
    assert conversion.process.poll() is None
    first = conversion.ended()
    assert (first.code, first.err) == (0, "")
    assert len(open_store(tmp_path / "store")) == 15


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_may_not_grow_is_one_sentence(raw: Path, tmp_path: Path, workers: int) -> None:
    arguments = ("convert", "bigearthnet-v2", raw, tmp_path / "store", "--workers", workers)
    ended = command(*arguments, preexec_fn=limited)
    assert ended.code == 2
    assert "data.mdb" in ended.sentence
    assert_unfinished_and_goes_on(raw, tmp_path / "store")


# The size of compressed records is not known before, so no conversion is refused for room.
PRESSED = ("--compression", "zstd")


def converted(raw: Path, store: Path, *options: object) -> None:
    ended = python(RUN, COMMIT, "convert", DATASET, raw, store, "--workers", 0, *options)
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.35, 0.6, 0.9, 1.0, 1.002])
def test_a_conversion_goes_on_when_there_is_room_again(
    raw: Path, tmp_path: Path, disk: Path, share: float
) -> None:
    converted(raw, tmp_path / "whole", *PRESSED)
    size = int((tmp_path / "whole" / "data.mdb").stat().st_size * share)
    kept = tmp_path / "kept"
    room = f'mount -o remount,size=64m "$disk" && "$@" && cp -r "$disk/store" {kept}'
    words = ("convert", DATASET, raw, disk / "store", "--workers", 0, *PRESSED)
    ended, names = on_small_disk(disk, size, *words, more=room)
    assert ended.code == 2
    assert "is full" in ended.sentence
    assert {"unfinished.json", "unfinished.records"} <= set(names)
    assert "manifest.json" not in names
    assert folder_bytes(kept) == folder_bytes(tmp_path / "whole")


def test_a_disk_that_somebody_else_fills_is_one_sentence_and_room_helps(
    raw: Path, tmp_path: Path, disk: Path
) -> None:
    """There is enough room at the beginning; while a pipe stops the conversion, it is filled."""
    converted(raw, tmp_path / "whole")
    pipe, kept = tmp_path / "pipe", tmp_path / "kept"
    script = tmp_path / "fill.sh"
    script.write_text(f"""
        export WAIT_AT={band_in_the_middle(raw).name}:{pipe}
        mkfifo {pipe}
        "$@" & exec 3> {pipe}
        cat /dev/zero > {disk}/other 2> /dev/null
        rm {pipe}; exec 3>&-
        wait $!; code=$?
        ls {disk}/store > {tmp_path}/left
        rm {disk}/other; "$@" && cp -r {disk}/store {kept}
        exit $code
    """)
    words = ("convert", DATASET, raw, disk / "store", "--workers", 0)
    ended, _ = on_small_disk(disk, 64 << 20, *words, before=("sh", script))
    assert ended.code == 2
    assert "is full" in ended.sentence
    assert {"unfinished.json", "unfinished.records"} <= set((tmp_path / "left").read_text().split())
    assert folder_bytes(kept) == folder_bytes(tmp_path / "whole")


def test_a_full_disk_is_one_sentence(raw: Path, disk: Path) -> None:
    ended, names = on_small_disk(
        disk, 1 << 20, "convert", DATASET, raw, disk / "store", "--workers", 0, *PRESSED
    )
    assert ended.code == 2
    assert "is full" in ended.sentence
    assert "manifest.json" not in names


@pytest.mark.parametrize("spare", range(0, 48 << 10, 8 << 10))
def test_a_disk_that_fills_at_the_end_is_one_sentence(
    raw: Path, tmp_path: Path, disk: Path, spare: int
) -> None:
    """The disk has room for the records alone, or for more, up to everything but the report."""
    converted(raw, tmp_path / "whole", *PRESSED)
    size = (tmp_path / "whole" / "data.mdb").stat().st_size + spare
    ended, names = on_small_disk(
        disk, size, "convert", DATASET, raw, disk / "store", "--workers", 0, *PRESSED
    )
    if ended.code == 0:
        assert "manifest.json" in names
    else:
        assert ended.code == 2
        assert "is full" in ended.sentence
        assert "manifest.json" not in names
