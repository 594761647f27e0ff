"""How often the directories of zip archives are read and gone through."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from patchpress.converter.sources import zip_opened, zip_walk
from patchpress.converter.sources.archive_names import Archive
from patchpress.converter.sources.zip_directory import ZipDirectory, ZipFolder
from patchpress.converter.sources.zip_opened import ZipDirectories, zip_directory
from tests.support.helpers import folder_bytes, made
from tests.support.packing import members
from tests.support.zipping import scattered, zip_of, zipped


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done, in turn: ``read`` or ``pass``, and the name of the archive."""
    done: list[str] = []
    read, folders = ZipDirectory.__init__, ZipDirectory.folders

    def noted_read(self: ZipDirectory, files: Any) -> None:
        read(self, files)
        done.append(f"read {self.path.name}")

    def noted_pass(self: ZipDirectory) -> Iterator[ZipFolder]:
        for number, folder in enumerate(folders(self)):
            if number == 1:  # to look for a first patch is no pass
                done.append(f"pass {self.path.name}")
            yield folder

    monkeypatch.setattr(ZipDirectory, "__init__", noted_read)
    monkeypatch.setattr(ZipDirectory, "folders", noted_pass)
    return done


@pytest.mark.parametrize("most", [10_000, 2])
def test_a_directory_is_read_once_and_gone_through_once(
    raw: Path, tmp_path: Path, work: list[str], monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Twice if there are more patches than are kept; tables are looked for in it, too."""
    for table in raw.glob("*.parquet"):
        table.unlink()
    source = zipped(raw, tmp_path / "zipped", order=scattered)
    monkeypatch.setattr(zip_walk, "MOST_KEPT", most)
    made(source, tmp_path / "store", workers=0)
    archives = sorted(path.name for path in source.glob("*.zip"))
    assert sorted(work) == sorted(
        [f"read {name}" for name in archives]
        + [f"pass {name}" for name in archives] * (1 if most > 2 else 2)
    )
    made(raw, tmp_path / "other", workers=0)
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "other")


def test_a_long_directory_is_not_kept_but_shared(
    raw: Path, tmp_path: Path, work: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = zipped(raw, tmp_path / "zipped")
    monkeypatch.setattr(zip_opened, "MOST_KEPT", 3)
    path = source / "Reference_Maps.zip"
    directories = ZipDirectories()
    first = directories.of(Archive((path,)))
    assert zip_directory([str(path)]) is first
    del first, directories
    zip_directory([str(path)])
    assert work == ["read Reference_Maps.zip"] * 2


def test_an_archive_that_has_changed_is_read_again(tmp_path: Path, work: list[str]) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(zip_of({"one": b"1"}))
    first = zip_directory([str(path)])
    assert zip_directory([str(path)]) is first
    path.write_bytes(zip_of({"one": b"1", "two": b"2"}))
    assert len(zip_directory([str(path)])) == 2
    assert work == ["read a.zip"] * 2


def test_names_of_all_kinds_are_cut_into_folders(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    names = ["c", "a/b/x..y", "a/b/z", "a/ü/x", "a/ü/y", "d/n\nm", "d/o", "e./f", "ef:/g"]
    path.write_bytes(zip_of(dict.fromkeys(names, b"1")))
    found = [
        f"{folder.path}/{name}".lstrip("/")
        for folder in ZipDirectory([str(path)]).folders()
        for name in folder.names
    ]
    assert sorted(found) == sorted(names)


def test_a_table_in_a_folder_of_any_name_is_still_found(raw: Path, tmp_path: Path) -> None:
    """The text of a name is looked for before all names are."""
    (tmp_path / "zipped").mkdir()
    for folder in ("BigEarthNet-S1", "BigEarthNet-S2", "Reference_Maps"):
        files = {name: (raw / name).read_bytes() for name in members(raw, folder)}
        if folder == "Reference_Maps":
            files |= {f"x/{t.name}": t.read_bytes() for t in raw.glob("*.parquet")}
        (tmp_path / "zipped" / f"{folder}.zip").write_bytes(zip_of(files))
    made(raw, tmp_path / "a")
    made(tmp_path / "zipped", tmp_path / "b")
    assert folder_bytes(tmp_path / "a") == folder_bytes(tmp_path / "b")
