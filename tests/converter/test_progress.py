"""Progress: a bar if stderr is a terminal, else plain lines."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from patchpress import convert
from patchpress.converter import progress
from patchpress.converter.progress import (
    NoProgress,
    ProgressBar,
    ProgressLines,
    progress_for_terminal,
)
from tests.support.helpers import DATASET, made
from tests.support.synthetic import Row


class Told:
    """A progress that adds up what it is told."""

    def __init__(self) -> None:
        self.total = self.patches = self.bytes = 0

    def start(self, total: int | None, unit: str = "patches") -> None:
        assert total is not None
        self.total = total

    def advance(self, patches: int, nbytes: int, share: float | None = None) -> None:
        self.patches += patches
        self.bytes += nbytes


def test_a_conversion_tells_of_every_patch(tree: Path, rows: list[Row], tmp_path: Path) -> None:
    told = Told()
    convert(DATASET, tree, tmp_path / "store", workers=0, progress=told)
    assert told.total == told.patches == 3 * len(rows)
    assert told.bytes > len(rows) * (345_600 + 115_200 + 28_800)


def test_a_line_says_how_far_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with ProgressLines() as plain:
        plain.start(2000)
        plain.advance(500, 10_000_000)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("500 of 2,000 patches, ")
    assert "patches/s" in err
    assert "MB/s" in err
    assert err.endswith(" s left\n")


def test_a_second_start_counts_anew(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with ProgressLines() as plain:
        plain.start(None)
        plain.advance(500, 10_000_000, 0.5)
        plain.start(2000)
        plain.advance(3, 10)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("500 patches, ")
    assert first.endswith(" s left")
    assert second.startswith("3 of 2,000 patches, ")


def test_a_bar_starts_again_with_another_total(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar() as bar:
        bar.start(None)
        bar.advance(500, 10_000_000, 0.5)
        (task,) = bar._rich.tasks
        assert (task.completed, task.total) == (500, 1000)
        bar.start(2000)
        bar.advance(3, 10, 0.9)
        (task,) = bar._rich.tasks
        assert (task.completed, task.total) == (3, 2000)
    assert capsys.readouterr().out == ""


def test_short_work_without_a_terminal_prints_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress_for_terminal() as shown:
        assert isinstance(shown, ProgressLines)
        shown.start(10)
        shown.advance(10, 10)
    assert capsys.readouterr() == ("", "")


def test_no_progress_says_nothing(
    raw: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made(raw, tmp_path / "store")
    NoProgress().start(1)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_and_the_report_goes_to_stdout(raw: Path, tmp_path: Path) -> None:
    terminal, other = pty.openpty()
    words = ["-m", "patchpress", "convert", DATASET, str(raw), str(tmp_path / "store")]
    process = subprocess.Popen(
        [sys.executable, *words, "--workers", "1"], stdout=subprocess.PIPE, stderr=other
    )
    os.close(other)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65_536)
        except OSError:  # Linux says so that nobody has the other end open any more
            break
        if not piece:
            break
        shown += piece
    out, _ = process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == 0
    assert b"5 s2, 5 s1, 5 map" in out
    assert b"15/15" in shown
    assert b"patches/s" in shown
    assert b"Traceback" not in shown
