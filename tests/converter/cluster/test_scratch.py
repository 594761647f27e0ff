"""Folders for tasks: made while others look for those of tasks that died, and removed."""

import multiprocessing
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from patchpress.converter.cluster.scratch import scratch_folder


def test_it_is_empty_and_removed_with_what_is_in_it(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        assert list(folder.iterdir()) == []
        (folder / "data.mdb").write_bytes(b"pages")
    assert list(tmp_path.iterdir()) == []


def test_threads_that_begin_together_leave_each_other_s_folders(tmp_path: Path) -> None:
    def task(number: int) -> str:
        with scratch_folder(tmp_path) as folder:
            (folder / "number").write_text(str(number))
            with scratch_folder(tmp_path):
                return (folder / "number").read_text()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(task, range(400))) == [str(number) for number in range(400)]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_safe_before_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another task begins between the folder and its lock: the window that a race needs."""
    opened = os.open
    seen: list[Any] = []

    def slow_open(path: Any, flags: int, *args: Any, **options: Any) -> int:
        descriptor = opened(path, flags, *args, **options)
        if flags & os.O_CREAT and not seen:
            seen.append(path)
            with scratch_folder(tmp_path):
                pass
        return descriptor

    monkeypatch.setattr(os, "open", slow_open)
    with scratch_folder(tmp_path) as folder:
        assert folder.is_dir()
    assert seen
    assert list(tmp_path.iterdir()) == []


def _hold(place: Path, ready: Any) -> None:
    with scratch_folder(place):
        ready.set()
        signal.pause()


def test_the_folder_of_a_killed_process_is_removed_by_the_next(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(tmp_path, ready))
    process.start()
    assert ready.wait(60)
    with scratch_folder(tmp_path):
        assert len(list(tmp_path.iterdir())) == 2
    process.kill()
    process.join()
    assert len(list(tmp_path.iterdir())) == 1
    with scratch_folder(tmp_path):
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []
