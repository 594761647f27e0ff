"""What matches nothing is counted and told with an example; hidden files are nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from patchpress import convert, verify
from patchpress.converter.sources.passed_over import LISTED, PassedOver, is_hidden
from patchpress.readers.errors import SourceError
from tests.support.helpers import Ended, made, packed, stored_values
from tests.support.older_sets import SCENE, make_sen12ms
from tests.support.published_forms import TREES

pytestmark = pytest.mark.slow

Command = Callable[..., Ended]

LOST: dict[str, list[tuple[str, str]]] = {
    "eurosat": [
        ("Pasture/Pasture_300.TIF", "wrong case of the ending"),
        ("pasture2/Pasture_301.tif", "another class folder"),
        ("Pasture_302.tif", "no folder"),
        ("Pasture/x/Pasture_303.tif", "a folder too deep"),
    ],
    "hydro": [("Patch_10.tif", "wrong case"), ("patch_11.tiff", "wrong ending")],
    "hyspecnet-11k": [("enmap01/x-SPECTRAL_IMAGE.TIF", "wrong case of the folder")],
    "uc-merced": [("Images/beach/Beach01.tif", "wrong case"), ("Images/Beach2/x.tif", "a folder")],
    "ssl4eo-s12": [("s2c/abc/1/B1.tif", "another place")],
}


def lose(name: str, root: Path) -> tuple[Path, list[str]]:
    """A tree with files that match nothing; and the names that tell of them."""
    source = TREES[name].write(root / "source")
    modality_folder = "s2c/" if name == "ssl4eo-s12" else ""
    found = []
    for path, _ in LOST[name]:
        file = source / path
        new = next(parent for parent in (*file.parents[::-1], file) if not parent.exists())
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
        found.append(str(new.relative_to(source)) + "/" * new.is_dir())
    return source, sorted(name.removeprefix(modality_folder) for name in found)


@pytest.mark.parametrize("name", LOST)
def test_files_that_match_nothing_are_told(tmp_path: Path, patchpress: Command, name: str) -> None:
    source, lost = lose(name, tmp_path)
    store = tmp_path / "store"
    words = ("convert", name, source, store, "--layout", "native", "--workers", 0)
    foretold = patchpress(*words, "--dry-run")
    ended = patchpress(*words)
    verified = patchpress("verify", store, "--against", source, "--workers", 0)
    for shown in (foretold, ended, verified):
        assert shown.code == 0
        (line,) = [line for line in shown.out.splitlines() if "that are no patches" in line]
        assert f"that are no patches: {len(lost)} (" in line
        assert any(name in line for name in lost)
    assert "good" in verified.out
    report = json.loads((tmp_path / "store.report.json").read_text())
    (found,) = report["passed_over"].values()
    assert sorted(found["names"]) == lost


def test_what_belongs_to_another_modality_or_table_is_no_loss(tmp_path: Path) -> None:
    """Three modalities, lists and archives lie in one folder; each file has one owner."""
    make_sen12ms(tmp_path / "raw")
    (tmp_path / "raw" / "train_list.txt").write_text(f"{SCENE}_s2_1_p30.tif\n")
    assert convert("sen12ms", tmp_path / "raw", tmp_path / "a", workers=0).passed_over == {}
    report = convert("sen12ms", tmp_path / "raw", tmp_path / "b", workers=0, modalities="s1")
    assert report.passed_over == {}
    for odd in (f"{SCENE}/s2_1/a.tif", f"{SCENE}/s3_1/b.tif", "ROIs1158_autumn/s1_1/c.tif"):
        (tmp_path / "raw" / odd).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / odd).write_bytes(b"x")
    (tmp_path / "raw" / f"{SCENE}.txt").write_bytes(b"x")
    report = convert("sen12ms", tmp_path / "raw", tmp_path / "c", workers=0)
    names = {f"{SCENE}/s2_1/a.tif", f"{SCENE}/s3_1/", "ROIs1158_autumn/", f"{SCENE}.txt"}
    (found,) = [PassedOver(**vars(found)) for found in report.passed_over.values()]
    assert (found.unmatched, set(found.names)) == (4, names)
    report = convert("sen12ms", tmp_path / "raw", tmp_path / "d", workers=0, modalities="s1")
    (found,) = report.passed_over.values()  # a.tif lies where only s2 looks
    assert set(found.names) == names - {f"{SCENE}/s2_1/a.tif"}


HIDDEN = ["._{}", ".DS_Store", ".{}.swp", "Thumbs.db"]
HIDDEN_FOLDERS = [".ipynb_checkpoints", "@eaDir", "__MACOSX", ".git"]


def hide(source: Path) -> int:
    """Hidden files beside each file, and hidden folders with the same files; gives how many."""
    count = 0
    for path in [path for path in source.rglob("*") if path.is_file()]:
        for name in HIDDEN:
            (path.with_name(name.format(path.name))).write_bytes(b"x")
        for name in HIDDEN_FOLDERS:
            (path.parent / name).mkdir(exist_ok=True)
            shutil.copy(path, path.parent / name / path.name)
        count += 1
    return count


@pytest.mark.parametrize("name", ["ssl4eo-s12", "eurosat", "hyspecnet-11k", "bigearthnet-v2"])
@pytest.mark.parametrize("form", ["folders", "tar"])
def test_hidden_files_are_nothing(raw: Path, tmp_path: Path, name: str, form: str) -> None:
    source = raw if name == "bigearthnet-v2" else TREES[name].write(tmp_path / "source")
    options: dict[str, Any] = {"layout": "native", "workers": 0}
    convert(name, source, tmp_path / "clean", **options)
    assert hide(source)
    if form == "tar":
        if name in ("eurosat", "hyspecnet-11k"):
            (tmp_path / "one").mkdir()
            shutil.move(source, tmp_path / "one" / "x")
            packed(tmp_path / "one")
            source = tmp_path / "one"
            options["paths"] = {{"eurosat": "s2"}.get(name, "enmap"): source / "x.tar"}
        else:
            packed(source)
    report = convert(name, source, tmp_path / "store", **options)
    assert stored_values(tmp_path / "store") == stored_values(tmp_path / "clean")
    found = [*report.passed_over.values(), *report.passed_over_in_archives.values()]
    if form == "tar" or name == "eurosat":  # folders that are patches are not looked through
        assert sum(each.hidden for each in found) > 0
        assert "hidden files, passed over: " in report.text()
    assert not any(is_hidden(part) for one in found for n in one.names for part in n.split("/"))
    if name not in ("hyspecnet-11k", "ssl4eo-s12"):  # they have other files beside their bands
        assert not any(one.unmatched for one in found)


def test_hidden_archives_and_folders_are_not_found(raw: Path, tmp_path: Path) -> None:
    packed(raw)
    for name in ("BigEarthNet-S1", "BigEarthNet-S2"):
        (raw / f"{name}.tar").rename(raw / f"._{name}.tar")
    (raw / "__MACOSX" / "BigEarthNet-S1").mkdir(parents=True)
    (raw / "Reference_Maps.tar").rename(raw / ".Reference_Maps.tar")
    with pytest.raises(SourceError, match=r"is no bigearthnet-v2"):
        made(raw, tmp_path / "store")


def test_many_names_are_counted_and_some_are_kept() -> None:
    found = PassedOver()
    for number in range(LISTED + 5):
        found.add(f"{number}.txt")
    found.names[7] = "seven.TIF"
    assert (found.unmatched, len(found.names)) == (LISTED + 5, LISTED)
    assert found.examples() == "seven.TIF, 0.txt, 1.txt, …"


def test_verify_says_what_was_not_compared_in_archives(raw: Path, tmp_path: Path) -> None:
    folder = next((raw / "BigEarthNet-S2").iterdir())
    shutil.copytree(folder, raw / "BigEarthNet-S2" / folder.name.lower())
    packed(raw)
    made(raw, tmp_path / "store")
    verdict = verify(tmp_path / "store", raw, workers=0)
    assert verdict.good
    assert "files of BigEarthNet-S2.tar that belong to no patch: " in verdict.text()


def test_long_names_are_cut() -> None:
    found = PassedOver()
    found.add("n" * 4000)
    assert found.unmatched == 1
    assert len(found.examples()) < 600
