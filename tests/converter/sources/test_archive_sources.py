"""Conversions from archives give the same bytes as those from folders, and unpack nothing."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from patchpress import Report, convert, open_store
from patchpress.converter.options import OnError
from patchpress.converter.planning import limited_patches
from patchpress.converter.sources import readahead
from patchpress.readers.errors import PatchError
from tests.support.helpers import DATASET, WORKERS, Ended, folder_bytes, made, stored_values
from tests.support.older_sets import SCENE, make_sen12ms, make_v1
from tests.support.packing import (
    CODECS,
    counted_reads,
    entries,
    entry,
    interleaved,
    letters,
    members,
    packed,
    shuffled,
    split,
    write,
)
from tests.support.synthetic import Row, make_tree

pytestmark = pytest.mark.slow

Command = Callable[..., Ended]
FILES = ("data.mdb", "metadata.parquet", "manifest.json", "extents.safetensors")
S2, S1, MAPS = "BigEarthNet-S2", "BigEarthNet-S1", "Reference_Maps"


def plain(report: Report) -> dict[str, Any]:
    """What a report says, without the store's path and the time."""
    return {name: value for name, value in vars(report).items() if name not in ("store", "seconds")}


@pytest.fixture(scope="module")
def archived(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tree` in archives. Never write into it."""
    return packed(tree, tmp_path_factory.mktemp("archived"))


def assert_same(source: Path, other: Path, tmp_path: Path, **options: Any) -> None:
    """Two sources give the same store and the same report."""
    reports = [
        made(path, tmp_path / name, **options) for path, name in ((source, "a"), (other, "b"))
    ]
    assert plain(reports[0]) == plain(reports[1])
    assert folder_bytes(tmp_path / "a") == folder_bytes(tmp_path / "b")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("workers", WORKERS)
def test_a_store_from_archives_is_that_from_folders(
    tree: Path, tmp_path: Path, codec: str, workers: int
) -> None:
    assert_same(tree, packed(tree, tmp_path / "packed", codec), tmp_path, workers=workers)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize(
    "options",
    [
        {"layout": "native"},
        {"layout": "native", "compression": "zstd"},
        {"compression": "zstd", "resampling": "bilinear"},
        {"modalities": ("s1", "map")},
        {"limit": 3},
        {"split": "geographic"},
    ],
    ids=str,
)
def test_options_do_the_same_for_archives(
    tree: Path, archived: Path, tmp_path: Path, options: dict[str, Any], workers: int
) -> None:
    assert_same(tree, archived, tmp_path, workers=workers, **options)


@pytest.mark.parametrize(
    "order", [shuffled, interleaved(4)], ids=["shuffled in patches", "interleaved"]
)
def test_the_order_of_files_changes_nothing(
    tree: Path, tmp_path: Path, order: Callable[[list[str]], list[str]]
) -> None:
    packed(tree, tmp_path / "packed", "tar", order=order)
    assert_same(tree, tmp_path / "packed", tmp_path)


@pytest.mark.parametrize("prefix", ["./", "elsewhere/v2/"])
def test_what_stands_above_changes_nothing(raw: Path, tmp_path: Path, prefix: str) -> None:
    assert_same(raw, packed(raw, tmp_path / "packed", prefix=prefix), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("folders", [(S2,), (S1, MAPS), (MAPS,)])
def test_archives_and_folders_may_be_mixed(
    tree: Path, tmp_path: Path, folders: tuple[str, ...]
) -> None:
    mixed = packed(tree, tmp_path / "packed", folders=folders)
    assert {path.name for path in mixed.glob("*.tar.zst")} == {f"{f}.tar.zst" for f in folders}
    assert_same(tree, mixed, tmp_path, workers=2)


@pytest.mark.parametrize(
    ("codec", "ending"),
    [
        ("tar.gz", letters),
        ("tar.zst", lambda at: f".{letters(at)}"),
        ("tar", lambda at: f".{at:03}"),
        ("tar", lambda at: f"{at:02}"),
    ],
)
def test_parts_are_read_as_one(
    raw: Path, tmp_path: Path, codec: str, ending: Callable[[int], str]
) -> None:
    packed(raw, tmp_path / "packed", codec)
    for name in (S2, S1, MAPS):
        split(tmp_path / "packed" / f"{name}.{codec}", 3, ending)
    assert not list((tmp_path / "packed").glob(f"*.{codec}"))
    assert_same(raw, tmp_path / "packed", tmp_path)


def test_an_archive_may_lie_elsewhere(tree: Path, archived: Path, tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    for name in ("metadata.parquet", "metadata_for_patches_with_snow_cloud_or_shadow.parquet"):
        shutil.copy(tree / name, tmp_path / "some")
    (tmp_path / "some" / S1).symlink_to(tree / S1)
    shutil.copy(archived / f"{S2}.tar.zst", tmp_path / "of another name.tar.zst")
    (tmp_path / "maps").mkdir()
    shutil.copy(archived / f"{MAPS}.tar.zst", tmp_path / "maps")
    paths = {"s2": tmp_path / "of another name.tar.zst", "map": tmp_path / "maps"}
    made(tmp_path / "some", tmp_path / "a", paths=paths)
    made(tree, tmp_path / "b")
    assert folder_bytes(tmp_path / "a") == folder_bytes(tmp_path / "b")


def test_one_archive_may_hold_all(raw: Path, tmp_path: Path) -> None:
    names = [name for folder in (S1, S2, MAPS) for name in members(raw, folder)]
    path = write(tmp_path / "all.tar.gz", entries(raw, names))
    tables = [path for path in raw.iterdir() if path.is_file()]
    (tmp_path / "some").mkdir()
    for table in tables:
        shutil.copy(table, tmp_path / "some")
    for wanted in (("s2", "s1", "map"), ("s2",)):
        store = tmp_path / "-".join(wanted)
        paths = dict.fromkeys(wanted, path)
        report = made(tmp_path / "some", store, paths=paths, modalities=wanted)
        assert report.passed_over_in_archives == {}
        made(raw, tmp_path / f"{store}.folders", modalities=wanted)
        assert stored_values(store) == stored_values(tmp_path / f"{store}.folders")


def test_further_files_are_counted_in_the_report(
    raw: Path, tmp_path: Path, patchpress: Command
) -> None:
    parts = entries(raw, members(raw, S2))
    packed(raw, tmp_path / "packed", "tar")
    write(tmp_path / "packed" / f"{S2}.tar", [entry("README", b"x"), *parts, entry("z/z", b"x")])
    made(raw, tmp_path / "whole")
    ended = patchpress("convert", DATASET, tmp_path / "packed", tmp_path / "store")
    assert (ended.code, ended.err) == (0, "")
    assert f"files of {S2}.tar that belong to no patch: 2" in ended.out
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")


def test_nothing_is_unpacked(
    archived: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of the store are the only ones that are made."""
    for name in ("here", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    before = sorted(os.listdir(archived))
    made(archived, tmp_path / "store", workers=2)
    assert sorted(os.listdir(tmp_path)) == ["here", "store", "temporary"]
    assert os.listdir(tmp_path / "here") == os.listdir(tmp_path / "temporary") == []
    assert sorted(os.listdir(archived)) == before
    assert set(os.listdir(tmp_path / "store")) == set(FILES)


@pytest.mark.parametrize("limit", [1, 4, 11, 12, 40])
@pytest.mark.parametrize("tables", [True, False])
def test_a_limit_takes_the_same_patches_of_archives_and_of_folders(
    tree: Path, archived: Path, tmp_path: Path, limit: int, tables: bool
) -> None:
    sources = [tree, archived]
    if not tables:
        sources = [tmp_path / "folders", tmp_path / "packed"]
        without = shutil.ignore_patterns("*.parquet")
        for path, source in zip(sources, (tree, archived), strict=True):
            shutil.copytree(source, path, ignore=without)
    assert_same(sources[0], sources[1], tmp_path, limit=limit)


def test_the_first_patches_of_large_archives_are_found_without_reading_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limited_patches, "READ_FOR_NAMES", 0)
    make_tree(tmp_path / "raw", n=60, flagged=0)
    packed(tmp_path / "raw", tmp_path / "packed", "tar")
    size = sum(path.stat().st_size for path in (tmp_path / "packed").glob("*.tar"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readahead, "CHUNKS_AHEAD", 1)
        taken = counted_reads(patch)
        made(tmp_path / "packed", tmp_path / "store", limit=2, modalities=("s2",))
    assert 0 < sum(taken) < size / 2
    assert len(open_store(tmp_path / "store")) == 2


def test_what_is_taken_for_what_is_logged(
    raw: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = packed(raw, tmp_path / "packed", "tar", folders=(S2, S1))
    shutil.copytree(raw / S1, source / S1)
    (source / "metadata.parquet").unlink()
    with caplog.at_level(logging.INFO, "patchpress.converter.sources"):
        made(source, tmp_path / "store")
    assert {record.name.split(".")[0] for record in caplog.records} == {"patchpress"}
    said = [record.getMessage() for record in caplog.records]
    assert f"s2: {source / S2}.tar" in said
    assert f"s1: {source / S1}" in said
    assert "not in the source: metadata" in said
    assert f"reading {source / S2}.tar, decompressed in a thread" in said


def test_nothing_is_logged_to_the_terminal_unless_asked(
    raw: Path, tmp_path: Path, patchpress: Command
) -> None:
    ended = patchpress("convert", DATASET, raw, tmp_path / "store")
    assert "folder" not in ended.err


class Shares:
    """A progress that keeps the shares of archives it is given."""

    def __init__(self) -> None:
        self.totals: list[int | None] = []
        self.shares: list[float | None] = []
        self.done = 0

    def start(self, stage: str, total: int | None, unit: str = "records") -> None:
        self.totals.append(total)

    def advance(self, patches: int, nbytes: int, share: float | None = None) -> None:
        self.done += patches
        self.shares.append(share)


def test_progress_tells_the_share_of_the_archives(archived: Path, tmp_path: Path) -> None:
    shares = Shares()
    convert(DATASET, archived, tmp_path / "store", workers=0, progress=shares)
    assert shares.totals == [None]
    assert shares.done == 45
    told = [share for share in shares.shares if share is not None]
    few = Shares()
    convert(DATASET, archived, tmp_path / "few", workers=0, limit=3, progress=few)
    assert (few.totals, few.done) == ([9], 9)
    assert len(told) == len(shares.shares)
    assert told == sorted(told)
    assert told[-1] == 1.0


# BigEarthNet v1: the labels of a patch are in its JSON file, which comes out of the archive, too.


@pytest.fixture
def v1(made_tree: tuple[Path, list[Row]], tmp_path: Path) -> Path:
    tree, rows = made_tree
    return make_v1(tmp_path / "v1", tree, rows[:5])


V1_NAMES = {"BigEarthNet-v1.0": "BigEarthNet-S2-v1.0", "BigEarthNet-S1-v1.0": "BigEarthNet-S1-v1.0"}


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("options", [{}, {"limit": 2}, {"layout": "native"}], ids=str)
def test_v1_comes_with_its_labels(
    v1: Path, tmp_path: Path, workers: int, options: dict[str, Any]
) -> None:
    for folder, name in V1_NAMES.items():
        write(tmp_path / "packed" / f"{name}.tar.gz", entries(v1, shuffled(members(v1, folder))))
    asked: Any = {"workers": workers, **options}
    reports = [
        convert("bigearthnet-v1", path, tmp_path / store, **asked)
        for path, store in ((v1, "a"), (tmp_path / "packed", "b"))
    ]
    assert plain(reports[0]) == plain(reports[1])
    assert folder_bytes(tmp_path / "a") == folder_bytes(tmp_path / "b")
    assert open_store(tmp_path / "b").table()["labels_43"].null_count == 0


@pytest.mark.parametrize("folder", V1_NAMES)
def test_a_label_file_that_is_missing_is_named(v1: Path, tmp_path: Path, folder: str) -> None:
    lacking = members(v1, folder)[-1]
    assert lacking.endswith(".json")
    for each, name in V1_NAMES.items():
        names = [name for name in members(v1, each) if name != lacking]
        write(tmp_path / "packed" / f"{name}.tar", entries(v1, names))
    with pytest.raises(PatchError, match=f"{Path(lacking).name} is missing"):
        convert("bigearthnet-v1", tmp_path / "packed", tmp_path / "store", workers=0)


# SEN12MS: one archive for each season and modality; each file is a patch; a triplet that lacks one
# of its modalities is an error.


def pack_sen12ms(raw: Path, out: Path, *, without: tuple[str, ...] = ()) -> Path:
    for kind in ("s2", "s1", "lc"):
        names = [n for n in members(raw, SCENE) if f"_{kind}_" in n and Path(n).stem not in without]
        write(out / f"{SCENE}_{kind}.tar.gz", entries(raw, names))
    return out


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("limit", [None, 3])
def test_sen12ms_comes_in_several_archives_a_modality(
    tmp_path: Path, workers: int, limit: int | None
) -> None:
    make_sen12ms(tmp_path / "raw")
    later = "ROIs1868_summer"
    for path in sorted((tmp_path / "raw" / SCENE).rglob("*.tif")):
        other = tmp_path / "raw" / str(path.relative_to(tmp_path / "raw")).replace(SCENE, later)
        other.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, other)
    pack_sen12ms(tmp_path / "raw", tmp_path / "packed")
    for kind in ("s2", "s1", "lc"):
        names = [name for name in members(tmp_path / "raw", later) if f"_{kind}_" in name]
        path = tmp_path / "packed" / f"{later}_{kind}.tar"
        write(path, entries(tmp_path / "raw", names, "sen12ms/"))
    asked: Any = {"workers": workers, "limit": limit}
    for source in ("raw", "packed"):
        convert("sen12ms", tmp_path / source, tmp_path / f"{source}.store", **asked)
    assert folder_bytes(tmp_path / "packed.store") == folder_bytes(tmp_path / "raw.store")
    shutil.rmtree(tmp_path / "raw" / SCENE)  # one season unpacked, one in its archives
    for kind in ("s2", "s1", "lc"):
        (tmp_path / "packed" / f"{later}_{kind}.tar").unlink()
        shutil.move(tmp_path / "packed" / f"{SCENE}_{kind}.tar.gz", tmp_path / "raw")
    convert("sen12ms", tmp_path / "raw", tmp_path / "mixed.store", **asked)
    assert folder_bytes(tmp_path / "mixed.store") == folder_bytes(tmp_path / "raw.store")


@pytest.mark.parametrize("kind", ["s2", "s1", "lc"])
@pytest.mark.parametrize("workers", WORKERS)
def test_a_triplet_that_is_not_whole_is_an_error_or_taken_out(
    tmp_path: Path, kind: str, workers: int
) -> None:
    make_sen12ms(tmp_path / "raw")
    lacking = f"{SCENE}_{kind}_1_p31"
    pack_sen12ms(tmp_path / "raw", tmp_path / "packed", without=(lacking,))
    with pytest.raises(PatchError, match=f"{SCENE}_s2_1_p31 has no {kind}"):
        convert("sen12ms", tmp_path / "packed", tmp_path / "a", workers=workers)
    assert not (tmp_path / "a" / "manifest.json").exists()
    asked: Any = {"workers": workers, "on_error": OnError.skip}
    report = convert("sen12ms", tmp_path / "packed", tmp_path / "a", **asked)
    (tmp_path / "raw" / SCENE / f"{kind}_1" / f"{lacking}.tif").unlink()
    other = convert("sen12ms", tmp_path / "raw", tmp_path / "b", **asked)
    assert report.records == other.records == {"s2": 3, "s1": 3, "lc": 3}
    assert report.skipped == other.skipped
    assert report.exit_code == 1
    assert stored_values(tmp_path / "a") == stored_values(tmp_path / "b")
    tables = [(tmp_path / name / "metadata.parquet").read_bytes() for name in "ab"]
    assert tables[0] == tables[1]
    stores = [open_store(tmp_path / name) for name in "ab"]
    assert stores[0].manifest.shards[0].digest == stores[1].manifest.shards[0].digest
    assert list(stores[0]) == list(stores[1])
    assert all((stores[0].read(key) == stores[1].read(key)).all() for key in stores[0])
