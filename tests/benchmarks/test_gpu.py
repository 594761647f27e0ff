"""The script for a machine with a GPU runs, and compares first; here on the CPU."""

from pathlib import Path

import pytest

from benchmarks.report import read_json
from tests.support.helpers import python

pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_script_runs_on_a_cpu(tmp_path: Path) -> None:
    words = ["--device", "cpu", "--patches", "24", "--batch", "2", "--workers", "1"]
    words += ["--rounds", "1", "--seconds", "0.01", "--out", str(tmp_path)]
    ended = python("-m", "benchmarks.gpu", *words, cwd=ROOT)
    assert ended.code == 0, ended.err
    assert "24 patches equal those of Store.read" in ended.out
    assert "states after 1, 2, 6, 11 of 12 batches go on exactly" in ended.out
    feeding, training = read_json(tmp_path / "gpu.json")
    assert all(raw["rates"] for raw in feeding.raw)
    assert [raw["name"] for raw in training.raw][:2] == [
        "batch on the device",
        "to_device(PatchLoader)",
    ]
