"""How many patches there are at most, and that no more processes start than they make tasks."""

import multiprocessing
from pathlib import Path

import pytest

from patchpress import convert, verify
from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.encoding import stream
from patchpress.converter.encoding.frame import PAGE_BYTES
from patchpress.converter.planning.work import count_patches
from patchpress.converter.progress import NoProgress
from patchpress.converter.sources.locate import locate
from tests.support.helpers import DATASET, packed, tiny_dataset
from tests.support.older_sets import make_sen12ms


def counted(name: str, source: Path, modality: str, most: int, limit: int | None = None) -> int:
    description = find_description(name)
    parts = locate(description, source, {}, None)
    return count_patches(description, parts, modality, most, limit)


def test_folders_that_are_patches_are_counted_as_far_as_is_asked(raw: Path) -> None:
    assert [counted(DATASET, raw, "s2", most) for most in (0, 1, 3, 5, 100)] == [0, 1, 3, 5, 5]
    assert counted(DATASET, raw, "s2", 100, limit=2) == 2
    assert counted(DATASET, raw, "map", 100) == 5


def test_files_that_are_patches_are_counted(tmp_path: Path) -> None:
    make_sen12ms(tmp_path / "raw")
    assert counted("sen12ms", tmp_path / "raw", "s2", 100) >= 3
    assert counted("sen12ms", tmp_path / "raw", "s2", 2) == 2


def test_an_archive_may_have_as_many_as_are_looked_for(raw: Path) -> None:
    packed(raw, "gz")
    assert counted(DATASET, raw, "s2", 7) == 7
    assert counted(DATASET, raw, "s2", 7, limit=5) == 5


def test_a_folder_that_cannot_be_listed_has_none(raw: Path) -> None:
    description = find_description(DATASET)
    parts = locate(description, raw, {}, None)
    folder = parts.modalities["s2"].folder
    assert folder is not None
    folder.rename(folder.with_name("elsewhere"))
    assert count_patches(description, parts, "s2", 5) == 0


class Processes(NoProgress):
    """Notes how many processes there are at most."""

    most = 0

    def advance(self, count: int, nbytes: int, /, share: float | None = None) -> None:
        self.most = max(self.most, len(multiprocessing.active_children()))


@pytest.mark.slow
def test_no_more_processes_start_than_there_are_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    description = str(tiny_dataset(tmp_path, {"g": [f"p{number}" for number in range(10, 22)]}))
    source, progress = tmp_path / "raw", Processes()
    convert(description, source, tmp_path / "a", workers=1000, limit=5, progress=progress)
    assert progress.most == 1
    verify(tmp_path / "a", source, dataset=description, workers=1000, progress=(one := Processes()))
    assert one.most == 1
    # Twelve patches of a page each: three tasks.
    monkeypatch.setattr(stream, "CHUNK_BYTES", 4 * PAGE_BYTES)
    convert(description, source, tmp_path / "b", workers=1000, progress=(all_ := Processes()))
    assert all_.most == 3
    convert(description, source, tmp_path / "c", workers=2, progress=(two := Processes()))
    assert two.most == 2
    convert(description, source, tmp_path / "d", workers=0, progress=(none := Processes()))
    assert none.most == 0
