"""docs/dates.md: its description converts, and its code gives what it says."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.dated import georeferenced
from tests.support.helpers import command, geotiff, python
from tests.support.machines import ROOT

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "dates.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_page_about_dates_shows_what_comes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(3):
        for date, letter in (("20200910", "b"), ("20200604", "a")):
            folder = tmp_path / "ponds" / "visits" / f"elm_{number:02}" / f"V_{date}_{letter}"
            folder.mkdir(parents=True)
            for band, size in (("B03", 32), ("B11", 16)):
                pixels = random.integers(1, 5_000, (1, size, size), np.uint16)
                geotiff(folder / f"{band}.tif", pixels, **georeferenced(size, number))
    (tmp_path / "visits.toml").write_text(blocks("toml")[0])
    ended = command("convert", "visits.toml", "ponds", "visits.store", cwd=tmp_path)
    assert ended.code == 0, ended.err
    (shown,) = re.findall(r"^\$ patchpress inspect.*?(?=^```)", PAGE, re.DOTALL | re.MULTILINE)
    ended = command(*shown.splitlines()[0].split()[2:], cwd=tmp_path)
    for line in shown.splitlines()[1:]:
        assert "…" in line or line in ended.out.splitlines(), (line, ended.out)
    said = re.compile(r"^( *)(\w.*?)  # (\(.*?\)).*$", re.MULTILINE)
    code = said.sub(r"\1shape = \2\n\1assert tuple(getattr(shape, 'shape', shape)) == \3, shape",
                    blocks("python")[0].replace("64", "3"))  # fmt: skip
    assert code.count("assert") == 4
    pytest.importorskip("torch", reason="torch is not installed")  # of PatchLoader's tensors
    ended = python("-c", code, cwd=tmp_path)
    assert ended.code == 0, ended.err
