"""Every command from Python: paths of any kind, options by keyword, one kind of progress."""

import inspect as python_inspect
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import patchpress
from patchpress import (
    BenchReport,
    OptionError,
    StoreMissing,
    bench,
    datasets,
    index,
    inspect,
    open_store,
    plot,
    split_table,
    stats,
    verify,
)
from patchpress.converter.cli import app
from tests.support.helpers import DATASET
from tests.support.synthetic import FLAGGED_TABLE, TABLE


class Steps:
    """A progress that notes what it is told."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.units: list[str] = []
        self.totals: list[int | None] = []
        self.done = 0

    def start(self, stage: str, total: int | None, unit: str = "records") -> None:
        self.stages.append(stage)
        self.units.append(unit)
        self.totals.append(total)

    def advance(self, count: int, nbytes: int, /, share: float | None = None) -> None:
        self.done += count


class Place(os.PathLike[str]):
    """A path that is neither a string nor a `Path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> str:
        return str(self._path)


@pytest.fixture
def copied(stacked: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stacked, tmp_path / "ben.store"))


# A bare `copy` or `merge` says too little in a program.
LONGER = {
    "copy": "copy_store",
    "export": "export_store",
    "split": "split_store",
    "merge": "merge_stores",
    "missing": "missing_shards",
}


def test_each_command_is_a_function_of_the_package() -> None:
    for info in app.registered_commands:
        assert info.callback is not None
        name = info.callback.__name__
        function: Any = getattr(patchpress, LONGER.get(name, name))
        assert python_inspect.getdoc(function)
        parameters = python_inspect.signature(function).parameters
        if "progress" in parameters:
            assert parameters["progress"].kind is python_inspect.Parameter.KEYWORD_ONLY
            assert "Progress" in str(parameters["progress"].annotation)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [str, Path, Place])
def test_paths_are_of_any_kind(
    copied: Path, tree: Path, tmp_path: Path, kind: Callable[[Path], Any]
) -> None:
    store = kind(copied)
    assert verify(store, kind(tree), workers=0).good
    assert inspect(store) == inspect(copied)
    index(store)
    (found,) = stats(store, "train", modalities="s1", workers=0, out=kind(tmp_path / "s.json"))
    assert found.band_names == ("VV", "VH")
    assert datasets(guess=kind(tree)).startswith(DATASET)
    counts = split_table(kind(tree / TABLE), kind(tmp_path / "t.parquet"), split="geographic")
    assert sum(counts.values()) == len(pq.read_table(tmp_path / "t.parquet"))
    report = bench(store, seconds=0.001, batch=2)
    report.save(kind(tmp_path / "b.json"))
    assert len(json.loads((tmp_path / "b.json").read_text())) == len(report.measurements)


@pytest.mark.slow
def test_every_progress_is_told_of_all(copied: Path, tree: Path) -> None:
    steps = Steps()
    verify(copied, tree, workers=0, progress=steps)
    assert steps.stages == ["comparing", "reading back"]
    assert steps.units == ["records", "records"]
    assert steps.totals == [steps.done // 2] * 2
    for call, stage, unit in (
        (lambda told: verify(copied, progress=told), "reading back", "records"),
        (lambda told: index(copied, progress=told), "indexing", "records"),
        (lambda told: stats(copied, workers=0, progress=told), "counting", "records"),
        (lambda told: bench(copied, seconds=0.001, progress=told), "measuring", "measurements"),
    ):
        steps = Steps()
        call(steps)
        assert (steps.stages, steps.units) == ([stage], [unit])
        assert steps.totals == [steps.done]


def test_statistics_are_computed_and_kept(copied: Path) -> None:
    found = stats(copied, "train", workers=0)
    store = open_store(copied)
    assert [store.statistics(one.modality, "train") for one in found] == found
    stats(copied, "test", modalities=["s2"], workers=0)
    assert store.statistics("s1", "train") == found[1]  # what was there stays


@pytest.mark.slow
def test_a_picture_is_drawn(copied: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plot needs matplotlib")
    key = open_store(copied).keys("s2")[0]
    for keys in (None, key, [key]):
        picture = plot(copied, keys, out=str(tmp_path / "p.png"))
        assert picture == tmp_path / "p.png"
        assert picture.read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(OptionError, match=r"p\.xyz cannot be written"):
        plot(copied, out=tmp_path / "p.xyz")


def test_a_record_is_shown_by_its_own_bands(native: Path) -> None:
    key = open_store(native).keys("s2")[0]
    lines = {
        line.split()[0]: line.split() for line in str(inspect(native, key)).splitlines() if line
    }
    assert lines["B01"][3:6] == ["20", "x", "20"]
    assert lines["B02"][3:6] == ["120", "x", "120"]
    assert "resampling" not in inspect(native).text()


def test_what_can_be_converted() -> None:
    assert DATASET in datasets()
    assert f'name = "{DATASET}"' in datasets(show=DATASET)


def test_wrong_arguments_are_one_sentence(copied: Path, tree: Path, tmp_path: Path) -> None:
    for call in (
        lambda: inspect(tmp_path / "none"),
        lambda: verify(tmp_path / "none"),
        lambda: stats(tmp_path / "none"),
        lambda: bench(tmp_path / "none"),
    ):
        with pytest.raises(StoreMissing, match="no store"):
            call()
    with pytest.raises(OptionError, match="split 'geographical' is unknown, nearest is"):
        split_table(tree / FLAGGED_TABLE, tmp_path / "t", split="geographical")
    for function in (verify, stats):
        with pytest.raises(OptionError, match="workers must be 0 or more, not '2'"):
            function(copied, workers="2")  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_report_of_measurements_is_a_table(stacked: Path) -> None:
    report = bench(stacked, seconds=0.001, batch=4, modality="s1")
    assert isinstance(report, BenchReport)
    head, columns, *rows, bound = report.text().splitlines()
    assert head.startswith("s1, one process, on ")
    assert "a step that takes longer than" in bound
    assert columns.split()[:3] == ["mode", "cache", "patches/s"]
    assert len(rows) == len(report.measurements)
