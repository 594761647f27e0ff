"""The command does without pandas, also where it is installed; a program with it keeps it."""

from pathlib import Path

import pytest

from tests.support.helpers import python


def test_a_conversion_imports_no_pandas(raw: Path, tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    words = ["patchpress", "convert", "bigearthnet-v2", str(raw), "a.store", "--workers", "0"]
    program = f"""
import sys
sys.argv = {words!r}
from patchpress.converter.cli import main
try:
    main()
finally:
    assert "pandas" not in sys.modules
    import pandas
"""
    ended = python("-c", program, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert (tmp_path / "a.store" / "manifest.json").exists()


def test_a_program_has_the_pandas_that_it_imported(raw: Path, tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    program = f"""
import pandas, sys
import patchpress
patchpress.convert("bigearthnet-v2", {str(raw)!r}, "a.store", workers=0)
assert len(patchpress.open_store("a.store").table().to_pandas()) == 5
assert isinstance(patchpress.open_store("a.store").table().to_pandas(), pandas.DataFrame)
"""
    ended = python("-c", program, cwd=tmp_path)
    assert ended.code == 0, ended.err
