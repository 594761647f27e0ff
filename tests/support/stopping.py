"""Conversions that are stopped: by a signal, or by an exception right after a commit."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from patchpress.converter.encoding import stream
from patchpress.converter.storage import transactions
from patchpress.converter.storage.journal import Journal
from patchpress.readers.format.manifest import JOURNAL
from tests.support.helpers import Ended, children, runs

RUN = Path(__file__).with_name("small_commits.py")
GUARD = 120.0  # seconds until a test that hangs gives up; no test is decided by it


def lines_of(store: Path) -> int:
    """How many commits the journal of an unfinished store has."""
    try:
        return (store / JOURNAL).read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


class Killing:
    """One conversion, from any source, killed again and again."""

    def __init__(
        self, source: Path, store: Path, workers: int, seed: int, seconds_a_commit: float = 0
    ) -> None:
        self.store = store
        self._pace = {"SECONDS_A_COMMIT": str(seconds_a_commit)} if seconds_a_commit else {}
        words = ["convert", "bigearthnet-v2", str(source), str(store), "--workers", str(workers)]
        self._words = [sys.executable, str(RUN), "1", *words]
        self._random = random.Random(seed)  # noqa: S311
        self.kills = 0
        self.ended = Ended(-1, "", "")

    def start(self) -> bool:
        """Run it, and kill it at a random moment; gives whether it was killed before its end."""
        process = self._started(**self._pace)
        if self._random.random() < 0.3:
            self._wait(process, lambda passed: passed > self._random.random() * 0.5)
        else:
            self._wait_for_lines(process)
        process.kill()
        self._end(process)
        killed = process.returncode == -signal.SIGKILL
        self.kills += killed
        assert killed or (process.returncode, self.ended.err) == (0, "")
        return killed

    def interrupt(self) -> bool:
        """Run it, and interrupt it after a commit; gives whether that was before its end."""
        process = self._started(SECONDS_A_COMMIT="0.005")
        self._wait_for_lines(process)
        workers = children(process.pid)
        with suppress(ProcessLookupError):  # it has ended already
            os.killpg(process.pid, signal.SIGINT)
        self._end(process)
        assert not any(runs(pid) for pid in workers)
        return process.returncode != 0

    def _started(self, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self._words,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _end(self, process: "subprocess.Popen[str]") -> None:
        out, err = process.communicate(timeout=GUARD)
        self.ended = Ended(process.returncode, out, err)

    def _wait_for_lines(self, process: "subprocess.Popen[str]") -> None:
        enough = lines_of(self.store) + self._random.randint(1, 3)
        self._wait(process, lambda _: lines_of(self.store) >= enough)
        time.sleep(self._random.random() * 0.002)

    def _wait(self, process: "subprocess.Popen[str]", until: Callable[[float], bool]) -> None:
        begun = time.monotonic()
        while process.poll() is None and not until(time.monotonic() - begun):
            assert time.monotonic() - begun < GUARD
            time.sleep(0.0005)


def commits_of(nbytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let conversions commit, and note that in the journal, after so many bytes."""
    monkeypatch.setattr(stream, "CHUNK_BYTES", nbytes)
    monkeypatch.setattr(transactions, "COMMIT_BYTES", nbytes)


class Stopped(Exception):
    """Ends a conversion as a kill would."""


def stop_after(monkeypatch: pytest.MonkeyPatch, records: int) -> None:
    """Let conversions end by an exception when so many records are in the journal."""
    noted = Journal.append

    def append(journal: Journal, *arguments: Any) -> None:
        if len(journal) == records:
            raise Stopped
        noted(journal, *arguments)

    monkeypatch.setattr(Journal, "append", append)
