"""Progress: a bar if stderr is a terminal, else plain lines."""

import os
import pty
import re
import subprocess
import sys
import termios
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
from patchpress.converter.text import clock
from tests.support.helpers import DATASET, made
from tests.support.synthetic import Row


class Told:
    """A progress that adds up what it is told."""

    def __init__(self) -> None:
        self.total = self.patches = self.bytes = 0

    def start(self, stage: str, total: int | None, unit: str = "records") -> None:
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
        plain.start("converting", 2000)
        plain.advance(500, 10_000_000)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(
        r"converting: 500 of 2,000 records, [\d,]+ records/s, [\d,.]+ [kMGT]B/s, "
        r"0:00 elapsed, 0:00 left\n",
        err,
    )


def test_a_second_stage_counts_anew(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with ProgressLines() as plain:
        plain.start("comparing", None)
        plain.advance(5, 10)
        plain.advance(495, 10_000_000, 0.5)
        plain.start("measuring", 2000, "measurements")
        plain.advance(3, 0)
    begin, first, second = capsys.readouterr().err.splitlines()
    assert begin.endswith("0:00 elapsed, time left unknown")
    assert first.startswith("comparing: 500 records, ")
    assert first.endswith(" left")
    assert second.startswith("measuring: 3 of 2,000 measurements, ")
    assert "B/s" not in second


def test_a_bar_starts_again_with_another_total(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar() as bar:
        bar.start("converting", None)
        bar.advance(500, 10_000_000, 0.5)
        (task,) = bar._rich.tasks
        assert (task.description, task.completed, task.total) == ("converting", 500, 1000)
        bar.start("reading back", 2000)
        bar.advance(3, 10, 0.9)
        (task,) = bar._rich.tasks
        assert (task.description, task.completed, task.total) == ("reading back", 3, 2000)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (38.4, "0:38"), (59.6, "1:00"), (3599, "59:59"), (3758, "1:02:38"), (-1, "0:00")],
)
def test_times_are_those_of_clocks(seconds: float, text: str) -> None:
    assert clock(seconds) == text


BAR = """
import sys, time
from patchpress.converter.progress import progress_for_terminal
with progress_for_terminal() as bar:
    bar.start("converting", 1_648_464)
    for _ in range(40):
        bar.advance(17_000, 17_000 * 172_800)
        time.sleep(0.03)
"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 120])
def test_a_bar_is_one_line_of_a_terminal(width: int) -> None:
    """Drawn for all records of the largest data set, by a process on a real terminal."""
    ended, shown = on_terminal(["-c", BAR], width)
    assert ended == 0
    drawn = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text) for text in re.split(r"[\r\n]", shown)]
    drawn = [text for text in drawn if "left" in text]
    assert drawn
    assert all(len(text) <= width for text in drawn)
    if width == 80:
        form = (
            r"converting [━╸╺]+ +\d+% of 1,648,464 records +[\d,]+/s +"
            r"\d:\d\d elapsed \S+ left *"
        )
    else:
        form = (
            r"converting .* [\d,]+ of 1,648,464 records +[\d,]+ records/s [\d,.]+ GB/s +"
            r"\d:\d\d elapsed \S+ left *"
        )
    assert re.fullmatch(form, drawn[-1]), drawn[-1]


def test_short_work_without_a_terminal_prints_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress_for_terminal() as shown:
        assert isinstance(shown, ProgressLines)
        shown.start("indexing", 10)
        shown.advance(10, 10)
    assert capsys.readouterr() == ("", "")


def test_no_progress_says_nothing(
    raw: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made(raw, tmp_path / "store")
    NoProgress().start("indexing", 1)
    assert capfd.readouterr() == ("", "")


def on_terminal(words: list[str], width: int = 80) -> tuple[int, str]:
    """Run Python with stderr on a terminal of so many characters; gives its code and what it drew.

    What it prints on stdout comes first.
    """
    terminal, other = pty.openpty()
    termios.tcsetwinsize(other, (24, width))
    environment = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=other, env=environment
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
    return process.returncode, out.decode() + shown.decode()


def test_a_terminal_gets_a_bar_and_the_report_goes_to_stdout(raw: Path, tmp_path: Path) -> None:
    words = ["-m", "patchpress", "convert", DATASET, str(raw), str(tmp_path / "store")]
    ended, shown = on_terminal([*words, "--workers", "1"])
    assert ended == 0
    assert "5 s2, 5 s1, 5 map" in shown
    assert "converting" in shown
    assert "100% of 15 records" in shown
    assert "elapsed" in shown
    assert "Traceback" not in shown
