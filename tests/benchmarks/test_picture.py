"""The benchmarks' picture: bars as long as they are fast, multiples beside them."""

from pathlib import Path

import pytest

from benchmarks.picture import PANELS, bar_texts, draw, draw_panel
from benchmarks.report import CaseTable

SOME = [("NumPy memmap (reference)", 40_000.0), ("Patchpress, stacked", 32_000.0)]
SOME += [("Patchpress, native", 16_000.0), ("HDF5", 10_000.0), ("Zarr v3", 1_000.0)]


def test_multiples_are_those_of_the_fastest_of_ours() -> None:
    assert bar_texts(SOME) == [
        "40,000  (0.80x)",
        "32,000",
        "16,000  (2.0x)",
        "10,000  (3.2x)",
        "1,000  (32x)",
    ]
    assert bar_texts(SOME[:1]) == ["40,000"]


def test_bars_begin_at_zero_and_are_as_long_as_they_are_fast(tmp_path: Path) -> None:
    figures = pytest.importorskip("matplotlib.figure", reason="pictures need matplotlib")
    axes = figures.Figure().add_subplot()
    draw_panel(axes, PANELS[0], SOME)
    assert [(bar.get_x(), bar.get_width()) for bar in axes.patches] == [(0, n) for _, n in SOME]
    assert axes.get_xscale() == "linear"
    assert "a second" in axes.get_xlabel()
    raw = tuple({"name": name, "batch": 64, "rates": [rate]} for name, rate in SOME)
    section = CaseTable("read", "Read", (), (), (), raw)
    assert draw([section], tmp_path / "report.png") == "Picture: report.png"
