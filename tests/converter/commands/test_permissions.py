"""Files that may not be read or written: one sentence each, and nothing is half done.

Root may read everything, so if the tests run as root, the command is run without its powers.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from patchpress import open_store
from tests.support.helpers import DATASET, Ended, band_files, patches

pytestmark = pytest.mark.slow

Command = Callable[..., Ended]


UNREADABLE: dict[str, Callable[[Path], Path]] = {
    "the source": lambda raw: raw,
    "a modality": lambda raw: raw / "BigEarthNet-S1",
    "a product": lambda raw: next((raw / "BigEarthNet-S2").iterdir()),
    "a patch": lambda raw: band_files(raw, "s2", patches(raw, "s2")[1])["B01"].parent,
    "a band": lambda raw: band_files(raw, "s2", patches(raw, "s2")[1])["B05"],
    "a table": lambda raw: raw / "metadata.parquet",
}


@pytest.mark.parametrize("part", UNREADABLE)
def test_a_source_that_may_not_be_read_is_one_sentence(
    raw: Path,
    tmp_path: Path,
    powerless: Command,
    closed: Callable[[Path, int], Path],
    part: str,
) -> None:
    path = closed(UNREADABLE[part](raw), 0)
    ended = powerless("convert", DATASET, raw, tmp_path / "store", "--workers", 0)
    assert (ended.code, ended.out) == (2 if part == "the source" else 1, "")
    assert path.name in ended.sentence
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_a_target_that_may_not_be_written_is_one_sentence(
    raw: Path, tmp_path: Path, powerless: Command, closed: Callable[[Path, int], Path]
) -> None:
    (tmp_path / "place").mkdir()
    closed(tmp_path / "place", 0o555)
    ended = powerless("convert", DATASET, raw, tmp_path / "place" / "store", "--workers", 0)
    assert (ended.code, ended.out) == (2, "")
    assert "cannot be written" in ended.sentence
    assert not (tmp_path / "place" / "store").exists()


def test_a_report_that_may_not_be_written_is_named(
    raw: Path, tmp_path: Path, powerless: Command, closed: Callable[[Path, int], Path]
) -> None:
    (tmp_path / "place" / "store").mkdir(parents=True)
    shutil.rmtree(band_files(raw, "s1", patches(raw, "s1")[1])["VV"].parent)
    closed(tmp_path / "place", 0o555)
    ended = powerless("convert", DATASET, raw, tmp_path / "place" / "store", "--workers", 0)
    assert ended.code != 0
    assert "store.report.json" in ended.sentence
    assert len(open_store(tmp_path / "place" / "store")) == 14


@pytest.mark.parametrize("name", ["manifest.json", "data.mdb", "metadata.parquet"])
def test_a_store_that_may_not_be_read_is_one_sentence(
    stacked: Path,
    tmp_path: Path,
    powerless: Command,
    closed: Callable[[Path, int], Path],
    name: str,
) -> None:
    shutil.copytree(stacked, tmp_path / "store")
    closed(tmp_path / "store" / name, 0)
    ended = powerless("verify", tmp_path / "store")
    assert ended.code == 1
    if name == "metadata.parquet":  # what else there is can be verified
        assert f"{name} cannot be read (Permission denied)" in ended.out
    else:
        assert ended.out == ""
        assert name in ended.sentence
