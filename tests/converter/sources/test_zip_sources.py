"""Conversions from zip archives give the same bytes as those from folders, and unpack nothing."""

import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from patchpress import Report, convert, open_store
from patchpress.converter import descriptions
from tests.converter.sources.test_archive_sources import plain
from tests.support.helpers import DATASET, WORKERS, Ended, folder_bytes, made, stored_values
from tests.support.older_sets import make_v1
from tests.support.packing import members, packed, split
from tests.support.synthetic import Row
from tests.support.zipping import METHODS, scattered, zip_of, zipped

Command = Callable[..., Ended]
S2, S1, MAPS = "BigEarthNet-S2", "BigEarthNet-S1", "Reference_Maps"


def assert_same(source: Path, other: Path, tmp_path: Path, **options: Any) -> Report:
    """Two sources give the same store and the same report."""
    reports = [
        made(path, tmp_path / name, **options) for path, name in ((source, "a"), (other, "b"))
    ]
    assert plain(reports[0]) == plain(reports[1])
    assert folder_bytes(tmp_path / "a") == folder_bytes(tmp_path / "b")
    return reports[1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("workers", WORKERS)
def test_a_store_from_zips_is_that_from_folders(
    raw: Path, tmp_path: Path, method: str, workers: int
) -> None:
    zipped(raw, tmp_path / "zipped", method, order=scattered)
    assert_same(raw, tmp_path / "zipped", tmp_path, workers=workers)


@pytest.mark.slow
@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize(
    "options",
    [
        {"layout": "native"},
        {"layout": "native", "compression": "zstd"},
        {"modalities": ("s1", "map")},
        {"limit": 3},
        {"shards": 3},
        {"split": "geographic"},
    ],
    ids=str,
)
def test_options_do_the_same_for_zips(
    tree: Path, tmp_path: Path, options: dict[str, Any], workers: int
) -> None:
    zipped(tree, tmp_path / "zipped", "deflate")
    assert_same(tree, tmp_path / "zipped", tmp_path, workers=workers, **options)


@pytest.mark.parametrize("prefix", ["./", "elsewhere/v2/"])
def test_what_stands_above_changes_nothing(raw: Path, tmp_path: Path, prefix: str) -> None:
    assert_same(raw, zipped(raw, tmp_path / "zipped", prefix=prefix), tmp_path)


def test_zips_tars_and_folders_may_be_mixed(raw: Path, tmp_path: Path) -> None:
    mixed = zipped(raw, tmp_path / "zipped", folders=(S2, S1))
    assert_same(raw, mixed, tmp_path)
    shutil.rmtree(mixed / MAPS)
    shutil.copy(packed(raw, tmp_path / "packed", "tar") / f"{MAPS}.tar", mixed)
    for name in ("a", "b"):
        shutil.rmtree(tmp_path / name)
    made(raw, tmp_path / "a")
    made(mixed, tmp_path / "b")
    assert folder_bytes(tmp_path / "a") == folder_bytes(tmp_path / "b")


@pytest.mark.parametrize("ending", [".001", ".partaa"])
def test_parts_of_a_zip_are_read_as_one(raw: Path, tmp_path: Path, ending: str) -> None:
    zipped(raw, tmp_path / "zipped", "deflate")
    for name in (S2, MAPS):
        numbers = {".001": lambda at: f".{at + 1:03}", ".partaa": lambda at: f".parta{'abc'[at]}"}
        split(tmp_path / "zipped" / f"{name}.zip", 3, numbers[ending])
    assert_same(raw, tmp_path / "zipped", tmp_path)


def test_one_zip_may_hold_all(raw: Path, tmp_path: Path, patchpress: Command) -> None:
    path = tmp_path / "all.zip"
    names = [name for folder in (S1, S2, MAPS) for name in members(raw, folder)]
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(f"root/{name}", (raw / name).read_bytes())
        archive.writestr("root/README", b"x")
        archive.writestr(f"__MACOSX/root/{S2}/._x.tif", b"x")
        archive.writestr(f"root/{S2}/.DS_Store", b"x")
    (tmp_path / "some").mkdir()
    for table in raw.glob("*.parquet"):
        shutil.copy(table, tmp_path / "some")
    for wanted in (("s2", "s1", "map"), ("s1",)):
        store = tmp_path / "-".join(wanted)
        paths = dict.fromkeys(wanted, path)
        report = made(tmp_path / "some", store, paths=paths, modalities=wanted)
        found = report.passed_over_in_archives["all.zip"]
        assert (found.names, found.hidden) == (["root/README"], 2)
        made(raw, tmp_path / f"{store}.folders", modalities=wanted)
        assert stored_values(store) == stored_values(tmp_path / f"{store}.folders")
    words = [f"--path={name}={path}" for name in ("s2", "s1", "map")]
    ended = patchpress("verify", tmp_path / "s2-s1-map", "--against", tmp_path / "some", *words)
    assert ended.code == 0, ended.err
    assert "files of all.zip that belong to no patch: 1 (root/README)" in ended.out


def test_a_store_is_verified_against_zips(raw: Path, tmp_path: Path, patchpress: Command) -> None:
    source = zipped(raw, tmp_path / "zipped")
    made(raw, tmp_path / "store")
    ended = patchpress("verify", tmp_path / "store", "--against", source, "--workers", 0)
    assert (ended.code, ended.err) == (0, "")
    with zipfile.ZipFile(source / f"{S2}.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = sorted(files)[5]
    files[name] = files[name][:-1] + bytes([files[name][-1] ^ 1])
    (source / f"{S2}.zip").write_bytes(zip_of(files))
    ended = patchpress("verify", tmp_path / "store", "--against", source, "--workers", 0)
    assert ended.code == 1
    assert f"{Path(name).name}: band" in ended.out + ended.err


def test_zips_are_recognised_and_rehearsed(raw: Path, tmp_path: Path, patchpress: Command) -> None:
    source = zipped(raw, tmp_path / "zipped")
    ended = patchpress("datasets", "--guess", source)
    assert f"s2 ({S2}.zip)" in ended.out
    ended = patchpress("convert", DATASET, source, tmp_path / "store", "--dry-run")
    assert ended.code == 0, ended.err
    (source / f"{S2}.zip").rename(source / "download")
    ended = patchpress("convert", DATASET, source, tmp_path / "store")
    assert f"{source}/download looks like {DATASET} (s2): give --path s2=" in ended.sentence
    given = f"--path=s2={source}/download"
    assert patchpress("convert", DATASET, source, tmp_path / "store", given).code == 0
    made(raw, tmp_path / "whole")
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")


def test_nothing_is_unpacked(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "temporary"):
        (tmp_path / name).mkdir()
    source = zipped(raw, tmp_path / "zipped")
    before = sorted(os.listdir(source))
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    made(source, tmp_path / "store")
    assert os.listdir(tmp_path / "here") == os.listdir(tmp_path / "temporary") == []
    assert sorted(os.listdir(source)) == before


def test_json_beside_bands_comes_out_of_zips(
    made_tree: tuple[Path, list[Row]], tmp_path: Path
) -> None:
    tree, rows = made_tree
    v1 = make_v1(tmp_path / "v1", tree, rows[:5])
    (tmp_path / "zipped").mkdir()
    names = {"BigEarthNet-v1.0": "BigEarthNet-S2-v1.0", "BigEarthNet-S1-v1.0": None}
    for folder, name in names.items():
        files = {one: (v1 / one).read_bytes() for one in members(v1, folder)}
        (tmp_path / "zipped" / f"{name or folder}.zip").write_bytes(zip_of(files))
    for path, store in ((v1, "a"), (tmp_path / "zipped", "b")):
        convert("bigearthnet-v1", path, tmp_path / store, workers=0)
    assert folder_bytes(tmp_path / "a") == folder_bytes(tmp_path / "b")
    assert open_store(tmp_path / "b").table()["labels_43"].null_count == 0


def test_an_empty_zip_beside_others_is_told(raw: Path, tmp_path: Path, patchpress: Command) -> None:
    source = zipped(raw, tmp_path / "zipped")
    described = next((Path(descriptions.__file__).parent / "datasets").glob("*v2.toml"))
    toml = described.read_text().replace(
        f'folder = "{S2}"', f'folder = "{S2}"\narchives = ["Big*2"]'
    )
    (tmp_path / "own.toml").write_text(toml)
    (source / "BigEmpty2.zip").write_bytes(zip_of({}))
    ended = patchpress("convert", tmp_path / "own.toml", source, tmp_path / "store")
    assert ended.code == 0, ended.err
    assert f"{source}/BigEmpty2.zip has no patch of s2: it holds nothing" in ended.out
    made(raw, tmp_path / "whole")
    assert stored_values(tmp_path / "store") == stored_values(tmp_path / "whole")
