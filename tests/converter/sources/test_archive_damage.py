"""Archives that are damaged, of another dataset, or hostile end in one sentence and no store."""

import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from patchpress import convert, dry_run
from patchpress.readers.errors import PatchError, SourceError, SourceIncomplete, SourceMissing
from tests.support.helpers import DATASET, WORKERS, Ended, band_files, folder_bytes, made, patches
from tests.support.older_sets import SCENE, make_sen12ms
from tests.support.packing import (
    CODECS,
    by_folder,
    ended,
    entries,
    entry,
    interleaved,
    members,
    packed,
    split,
    write,
)
from tests.support.synthetic import make_tree

pytestmark = pytest.mark.slow

Command = Callable[..., Ended]
S2, S1, MAPS = "BigEarthNet-S2", "BigEarthNet-S1", "Reference_Maps"


@pytest.fixture
def archives(raw: Path, tmp_path: Path) -> Path:
    """`raw` in archives, to be damaged."""
    return packed(raw, tmp_path / "archives", "tar")


@pytest.mark.parametrize("lost", [0, 1])
def test_a_part_that_is_missing_is_named(raw: Path, tmp_path: Path, lost: int) -> None:
    packed(raw, tmp_path / "packed", "tar.gz")
    parts = split(tmp_path / "packed" / f"{S2}.tar.gz", 3)
    parts[lost].unlink()
    with pytest.raises(SourceMissing, match=f"no part {parts[lost]}, though a later one"):
        made(tmp_path / "packed", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_the_last_part_missing_is_an_early_end(raw: Path, tmp_path: Path) -> None:
    packed(raw, tmp_path / "packed", "tar")
    split(tmp_path / "packed" / f"{S2}.tar", 3)[2].unlink()
    with pytest.raises(SourceError, match=r"S2.taraa ends early: the last whole patch is S2"):
        made(tmp_path / "packed", tmp_path / "store")
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_an_archive_as_source_says_how_it_is_given(archives: Path, patchpress: Command) -> None:
    path = archives / f"{S1}.tar"
    ended = patchpress("convert", DATASET, path, archives.parent / "store")
    assert ended.code == 1
    assert f"{path} is an archive, not a folder" in ended.sentence
    assert f"--path s1={path}" in ended.sentence


def test_what_is_no_archive_is_refused(raw: Path, tmp_path: Path) -> None:
    for name in ("a.rar", "a.7z", "a.tar.lz", "a.tar.br", "a"):
        (tmp_path / name).write_bytes(b"\0\1\2")
        with pytest.raises(SourceError, match=f"{name} is no archive that can be read"):
            made(raw, tmp_path / "store", paths={"s2": tmp_path / name})
    assert not (tmp_path / "store").exists()


def test_an_archive_in_another_compression_is_as_good_as_none(raw: Path, tmp_path: Path) -> None:
    shutil.rmtree(raw / S1)
    (raw / f"{S1}.tar.lz").write_bytes(b"x")
    with pytest.warns(SourceIncomplete, match=r"S1\.tar\.lz nearly fits: \.tar\.lz is not read"):
        report = made(raw, tmp_path / "store")
    assert report.absent == ("s1",)
    assert f"{S1}.tar.lz nearly fits" in report.text()


@pytest.mark.parametrize("codec", CODECS)
def test_an_empty_file_is_refused(raw: Path, tmp_path: Path, codec: str) -> None:
    packed(raw, tmp_path / "packed", codec)
    (tmp_path / "packed" / f"{S2}.{codec}").write_bytes(b"")
    with pytest.raises(SourceError, match=rf"S2.{codec} is empty: download it again"):
        made(tmp_path / "packed", tmp_path / "store")
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_an_archive_of_nothing_is_refused(archives: Path, tmp_path: Path) -> None:
    write(archives / f"{S2}.tar", [])
    with pytest.raises(SourceError, match=r"S2.tar has no patch: it holds nothing"):
        made(archives, tmp_path / "store")


def test_an_archive_of_another_dataset_is_refused(archives: Path, tmp_path: Path) -> None:
    make_sen12ms(tmp_path / "other", scenes=(1,), patches=1)
    names = members(tmp_path / "other", ".")
    write(archives / f"{S2}.tar", entries(tmp_path / "other", names))
    with pytest.raises(SourceError, match=rf"has no patch: it holds {names[0]}, but \{{product"):
        made(archives, tmp_path / "store")
    assert not (tmp_path / "store" / "manifest.json").exists()


@pytest.fixture
def damaged(raw: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Makes archives of `raw` with damage to the second patch of Sentinel-2."""

    def damage(how: str) -> Path:
        packed(raw, tmp_path / "packed", "tar")
        names = members(raw, S2)
        parts = entries(raw, names)
        at = names.index(by_folder(names)[1][4])
        if how == "missing":
            del parts[at]
        elif how == "extra":
            parts.insert(at, entry(names[at].replace("_B05", "_B10"), b"x"))
        elif how == "oversize":
            parts[at] = entry(names[at], (raw / names[at]).read_bytes() + bytes(9 << 20))
        elif how == "cut":
            parts[at] = entry(names[at], (raw / names[at]).read_bytes()[:-3])
        else:
            parts.insert(at + 3, parts[at])
        write(tmp_path / "packed" / f"{S2}.tar", parts)
        return tmp_path / "packed"

    return damage


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("missing", "B05.tif is missing"),
        ("extra", "B10.tif is a band that the description does not have"),
        ("oversize", "B05.tif has .* bytes, far more than usual"),
        ("cut", "B05.tif "),
    ],
)
@pytest.mark.parametrize("workers", WORKERS)
def test_a_damaged_patch_is_an_error_or_left_out(
    raw: Path,
    tmp_path: Path,
    damaged: Callable[[str], Path],
    how: str,
    reason: str,
    workers: int,
) -> None:
    source, name = damaged(how), patches(raw, "s2")[1]
    with pytest.raises(PatchError, match=f"S2.tar/.*{name}_{reason}"):
        made(source, tmp_path / "store", workers=workers)
    assert not (tmp_path / "store" / "manifest.json").exists()
    report = made(source, tmp_path / "store", workers=workers, on_error="skip")
    assert report.records == {"s2": 4, "s1": 5, "map": 5}
    assert (report.exit_code, len(report.skipped)) == (1, 1)
    shutil.rmtree(band_files(raw, "s2", name)["B01"].parent)
    made(raw, tmp_path / "whole", on_error="skip")
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_file_twice_is_refused(
    raw: Path, tmp_path: Path, damaged: Callable[[str], Path], on_error: str
) -> None:
    with pytest.raises(SourceError, match=f"{patches(raw, 's2')[1]}_B05.tif twice: repack it"):
        made(damaged("twice"), tmp_path / "store", on_error=on_error)
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_a_patch_twice_is_an_error_or_left_out_once(
    raw: Path, archives: Path, tmp_path: Path
) -> None:
    names = members(raw, S2)
    group = by_folder(names)[2]
    write(archives / f"{S2}.tar", entries(raw, [*names, *group]))
    path = archives / f"{S2}.tar"
    again = f"{path}/{group[0].rpartition('/')[0]}"
    said = f"the patch {patches(raw, 's2')[2]} is there twice, in {path} and in {again}: remove"
    for _ in range(2):  # the command that goes on says the same
        with pytest.raises(PatchError, match=re.escape(said)):
            made(archives, tmp_path / "store")
    with pytest.raises(PatchError, match=re.escape(said)):
        dry_run(DATASET, archives, tmp_path / "other", workers=0)
    forecast = dry_run(DATASET, archives, tmp_path / "other", workers=0, on_error="skip")
    assert len(forecast.skipped) == 1
    assert forecast.modalities["s2"].patches == 5
    report = made(archives, tmp_path / "store", on_error="skip")
    assert report.records == {"s2": 5, "s1": 5, "map": 5}
    assert len(report.skipped) == 1


def test_a_patch_in_a_folder_and_in_an_archive_is_there_twice(tmp_path: Path) -> None:
    """The archive is not what was unpacked, as its first patch tells; another of its patches is."""
    raw = tmp_path / "raw"
    make_sen12ms(raw, scenes=(1,), patches=2)
    names = [n for n in members(raw, SCENE) if "_s2_" in n]
    make_sen12ms(tmp_path / "other", scenes=(2,), patches=1)
    others = [n for n in members(tmp_path / "other", SCENE) if "_s2_" in n]
    parts = [*entries(tmp_path / "other", others), *entries(raw, names)]
    write(raw / f"{SCENE}_s2.tar", parts)
    said = f"is there twice, in {raw / names[0]} and in {raw}/{SCENE}_s2.tar/{names[0]}: remove"
    for call in (convert, dry_run):
        with pytest.raises(PatchError) as error:
            call("sen12ms", raw, tmp_path / "store", workers=0)
        assert said in str(error.value)
        assert "--on-error skip leaves such patches out" in str(error.value)


def test_beyond_the_window_one_is_told_to_unpack(tmp_path: Path) -> None:
    make_tree(tmp_path / "raw", n=70, flagged=0)
    packed(tmp_path / "raw", tmp_path / "packed", order=interleaved(70))
    for on_error in ("stop", "skip"):
        with pytest.raises(SourceError, match="more than 64 patches apart: unpack it"):
            made(tmp_path / "packed", tmp_path / "store", modalities=("s1",), on_error=on_error)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (tarfile.SYMTYPE, "link.tif"),
        (tarfile.LNKTYPE, "link.tif"),
        (tarfile.CHRTYPE, "null"),
        (tarfile.BLKTYPE, "disk"),
        (tarfile.FIFOTYPE, "pipe"),
        (tarfile.REGTYPE, "../outside.tif"),
        (tarfile.REGTYPE, "/etc/outside.tif"),
    ],
)
@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_what_no_publisher_packs_is_one_sentence(
    raw: Path,
    archives: Path,
    tmp_path: Path,
    patchpress: Command,
    kind: bytes,
    name: str,
    on_error: str,
) -> None:
    parts = entries(raw, members(raw, S2))
    write(archives / f"{S2}.tar", [*parts[:40], entry(name, kind=kind), *parts[40:]])
    store = tmp_path / "store"
    ended = patchpress("convert", DATASET, archives, store, "--on-error", on_error)
    assert ended.code == 1
    assert f"{S2}.tar has " in ended.sentence
    assert name in ended.sentence
    assert "refused" in ended.sentence
    assert not (store / "manifest.json").exists()
    assert not (tmp_path / "outside.tif").exists()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("workers", WORKERS)
def test_an_early_end_names_the_last_whole_patch(
    raw: Path, tmp_path: Path, patchpress: Command, codec: str, workers: int
) -> None:
    packed(raw, tmp_path / "packed", codec)
    data = ended(entries(raw, members(raw, S2)))
    path = tmp_path / "packed" / f"{S2}.{codec}"
    path.write_bytes(CODECS[codec](data[: len(data) * 3 // 5]))
    words = ("convert", DATASET, tmp_path / "packed", tmp_path / "store")
    done = patchpress(*words, "--workers", workers)
    assert done.code == 1
    assert f"{path} ends early: the last whole patch is " in done.sentence
    assert f"{patches(raw, 's2')[2]}; download it again" in done.sentence
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_an_archive_that_is_downloaded_again_goes_on(
    raw: Path, archives: Path, tmp_path: Path
) -> None:
    path = archives / f"{S2}.tar"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 5])
    with pytest.raises(SourceError, match="ends early"):
        made(archives, tmp_path / "store")
    path.write_bytes(data)
    made(archives, tmp_path / "store")
    made(raw, tmp_path / "whole")
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")


def test_an_archive_that_may_not_be_read_is_one_sentence(
    archives: Path,
    tmp_path: Path,
    powerless: Command,
    closed: Callable[[Path, int], Path],
) -> None:
    path = closed(archives / f"{S2}.tar", 0)
    done = powerless("convert", DATASET, archives, tmp_path / "store", "--workers", 0)
    assert done.code == 1
    assert f"{path} cannot be read" in done.sentence


def test_a_damaged_deflate_stream_is_one_sentence(raw: Path, tmp_path: Path) -> None:
    source = packed(raw, tmp_path / "packed", "tar.gz")
    path = source / f"{S2}.tar.gz"
    data = path.read_bytes()
    path.write_bytes(data[:10] + b"\xff" + data[11:])  # a block of a kind that does not exist
    with pytest.raises(SourceError, match=f"{path} cannot be decompressed to its end"):
        made(source, tmp_path / "store")
