"""The benchmarks run, compare first, and refuse contestants that read other values."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.adapters import PEERS
from benchmarks.adapters.protocol import Arrays, Pixels, Reader, Sources
from benchmarks.report import CaseTable, markdown, read_json
from benchmarks.targets import GOALS, Medians
from benchmarks.timing import answer
from tests.support.helpers import python

ROOT = Path(__file__).parents[2]
KEYS = ("a", "b", "c", "d")


@pytest.mark.slow
def test_all_cases_run_on_a_small_tree(tmp_path: Path) -> None:
    cases = ["convert", "copy", "read", "shards", "cold", "layouts", "memory", "start"]
    cases += ["verify"]
    if shutil.which("tar") and shutil.which("zstd"):
        cases += ["archive", "packed", "costs", "in-place"]
    words = ["--n", "16", "--memory-n", "4", "--s2", "--batch", "4", "--rounds", "1"]
    words += ["--seconds", "0.01", "--cold-patches", "8", "--out", str(tmp_path)]
    ended = python("-m", "benchmarks", *cases, *words, cwd=ROOT)
    assert ended.code == 0, ended.err
    sections = {section.case: section for section in read_json(tmp_path / "report.json")}
    assert list(sections) == cases
    assert all(markdown(section) in ended.out for section in sections.values())
    measured = {raw["name"] for raw in sections["read"].raw if raw["rates"]}
    assert {"NumPy memmap", "Patchpress, stacked", "Patchpress, native"} <= measured
    again = python("-m", "benchmarks", "report", "--out", tmp_path, cwd=ROOT)
    assert again.code == 0, again.err
    assert "## targets" in again.out


@pytest.mark.slow
def test_loaders_run_on_a_small_tree(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    words = ["--n", "16", "--batch", "4", "--rounds", "1", "--loader-seconds", "0.01"]
    words += ["--out", str(tmp_path)]
    ended = python("-m", "benchmarks", "loader", *words, cwd=ROOT)
    assert ended.code == 0, ended.err
    (loader,) = read_json(tmp_path / "report.json")
    measured = {raw["name"] for raw in loader.raw if raw["rates"]}
    assert {peer.name for peer in PEERS["loader"] if "Patchpress" in peer.name} <= measured


def test_a_case_that_is_not_there_is_named(tmp_path: Path) -> None:
    ended = python("-m", "benchmarks", "raed", "--out", tmp_path, cwd=ROOT)
    assert ended.code == 2
    assert "no case raed: choose from convert" in ended.err


@pytest.mark.parametrize("case", PEERS)
def test_contestants_of_a_case_have_names_of_their_own(case: str) -> None:
    names = [peer.name for peer in PEERS[case]]
    assert len(set(names)) == len(names)


def every(case: str, **more: object) -> CaseTable:
    """A section in which each contestant of a case was measured, at the same speed."""
    setting = {"batch": 64, "workers": 0, "rates": [2.0, 4.0, 3.0], "amplification": [1.0]}
    raw = [setting | {"name": peer.name} | more for peer in PEERS[case]]
    return CaseTable(case, "", (), (), (), tuple(raw))


def test_every_goal_of_reading_finds_its_contestants() -> None:
    sections = [every(case) for case in ("read", "rgb", "shards", "cold")]
    found = [row for goal in GOALS if (row := goal.row(Medians(sections)))]
    assert len(found) >= 10
    assert {float(value) for _, _, value, _ in found} == {1.0}
    for name, wanted, _, result in found:
        bound = float(wanted.split()[1])
        met = bound >= 1 if wanted.startswith("<=") else bound <= 1
        assert result == ("met" if met else "NOT met"), name


def test_a_goal_whose_contestant_was_not_measured_says_so() -> None:
    (first, *_) = (goal for goal in GOALS if goal.text.startswith("warm"))
    section = every("read", rates=[])
    assert first.row(Medians([section]))[2:] == ("-", "not measured (read: Patchpress, stacked)")
    assert first.row(Medians([])) == ()


class Wrong(Reader):
    """Reads one pixel of one patch wrong."""

    name, note = "wrong", ""

    def source(self, sources: Sources) -> Path:
        return sources.flat

    def read(self, keys: Sequence[str], out: Pixels) -> Arrays:
        np.take(np.load(self.path), [self.row[key] for key in keys], axis=0, out=out)
        if "c" in keys:
            out[keys.index("c"), 3, 2, 1] += 1
        return out


class Failing(Wrong):
    """Cannot read."""

    def read(self, keys: Sequence[str], out: Pixels) -> Arrays:
        raise OSError("the disk is gone\nfor good")


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    random = np.random.default_rng(1)
    flat = random.integers(0, 1000, (len(KEYS), 12, 120, 120), np.uint16)
    np.save(tmp_path / "flat.npy", flat)
    return Sources(tmp_path, tmp_path, tmp_path, tmp_path / "flat.npy", tmp_path, KEYS)


def test_other_values_are_found_before_anything_is_timed(sources: Sources) -> None:
    reader = Wrong()
    reader.prepare(sources)
    assert answer(reader, sources, {"do": "check", "batch": 4}) == "c, uint16 (12, 120, 120)"


def test_a_contestant_that_cannot_read_is_a_line_of_the_table(
    sources: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    reader = Failing()
    reader.prepare(sources)
    found = answer(reader, sources, {"do": "check", "batch": 4})
    assert found == {"fails": "fails with batch 4: OSError: the disk is gone"}
    assert "Traceback" in capsys.readouterr().err


def test_a_report_comes_back_as_it_was_written(tmp_path: Path) -> None:
    from benchmarks.report import write_json

    section = every("read")
    write_json(tmp_path / "report.json", {"machine": {"cores": "2"}}, [section])
    assert json.loads((tmp_path / "report.json").read_text())["machine"] == {"cores": "2"}
    assert read_json(tmp_path / "report.json") == [section]
    assert read_json(tmp_path / "nothing.json") == []
