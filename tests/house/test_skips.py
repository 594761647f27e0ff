"""In CI a test that was skipped for want of torch is a failure."""

from pathlib import Path

import pytest

from tests.support.helpers import Ended, python

ROOT = Path(__file__).parents[2]
MODULE = """
import pytest
def test_one(): pass
def test_two(): pytest.skip("torch is not installed")
"""
WHOLE = """
import pytest
nothing = pytest.importorskip("no_such_package", reason="torch is not installed")
def test_three(): pass
"""


def run(folder: Path, *words: str) -> Ended:
    options = ("-p", "tests.support.skips", "-p", "no:cacheprovider", "--rootdir", folder)
    return python("-m", "pytest", *options, *words, folder, cwd=folder,
                  env={"PYTHONPATH": str(ROOT), "PATH": ""})  # fmt: skip


@pytest.mark.parametrize("text", [MODULE, WHOLE], ids=["a test", "a module"])
def test_a_skipped_test_fails_the_run_that_forbids_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "test_it.py").write_text(MODULE + text.replace("test_two", "test_four"))
    assert run(tmp_path).code in (0, 5)
    assert run(tmp_path, "--fail-skipped", "no samples").code in (0, 5)
    ended = run(tmp_path, "--fail-skipped", "torch")
    assert ended.code == 1
    assert "torch is not installed" in ended.out
