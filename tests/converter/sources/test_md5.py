"""`--check-md5`: archives are compared with the published MD5 while they are read, once."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from patchpress import Report, convert
from patchpress.converter.descriptions.parse import built_in_descriptions, find_description
from patchpress.converter.sources import decompress
from patchpress.converter.sources.md5 import check_published_md5
from patchpress.readers.errors import SourceError
from tests.support.helpers import DATASET, WORKERS, Ended, folder_bytes, made
from tests.support.packing import packed, split

pytestmark = pytest.mark.slow

Command = Callable[..., Ended]
FOLDERS = ("BigEarthNet-S1", "BigEarthNet-S2", "Reference_Maps")


def md5_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def described(source: Path, toml: Path, **others: str) -> Path:
    """A description that knows the MD5 of all files of a source; `others` replace some."""
    text = built_in_descriptions()[DATASET].read_text()
    begin, rest = text.split("[md5]\n")
    known = {path.name: md5_of(path) for path in sorted(source.iterdir()) if path.is_file()}
    lines = "".join(f'"{name}" = "{digest}"\n' for name, digest in (known | others).items())
    toml.write_text(f"{begin}[md5]\n{lines}\n[tables" + rest.split("[tables", 1)[1])
    return toml


def checked(toml: Path, source: Path, store: Path, **options: Any) -> Report:
    asked: Any = {"workers": 0, "check_md5": True} | options
    return convert(str(toml), source, store, **asked)


@pytest.fixture
def source(raw: Path, tmp_path: Path) -> Path:
    return packed(raw, tmp_path / "packed")


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("codec", ["tar", "tar.gz", "tar.zst"])
def test_what_was_published_is_converted(
    raw: Path, tmp_path: Path, workers: int, codec: str
) -> None:
    source = packed(raw, tmp_path / "packed", codec)
    toml = described(source, tmp_path / "mine.toml")
    checked(toml, source, tmp_path / "store", workers=workers)
    made(raw, tmp_path / "whole")
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("workers", WORKERS)
def test_another_md5_is_refused_with_both(
    source: Path, tmp_path: Path, folder: str, workers: int
) -> None:
    name = f"{folder}.tar.zst"
    toml = described(source, tmp_path / "mine.toml", **{name: "0" * 32})
    found = md5_of(source / name)
    with pytest.raises(SourceError, match=f"{name} has the MD5 {found}, but 0{{32}} was publ"):
        checked(toml, source, tmp_path / "store", workers=workers)
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_bytes_after_the_end_count(source: Path, tmp_path: Path) -> None:
    """A decompressor stops before these bytes, but the MD5 covers them."""
    toml = described(source, tmp_path / "mine.toml")
    for name in ("BigEarthNet-S2.tar.zst", "Reference_Maps.tar.zst"):
        with (source / name).open("ab") as file:
            file.write(b"\x50\x2a\x4d\x18\x00\x00\x00\x00")  # a skippable frame of zstd
        with pytest.raises(SourceError, match=f"{name} has the MD5 {md5_of(source / name)}"):
            checked(toml, source, tmp_path / "store")
        shutil.rmtree(tmp_path / "store")
        toml = described(source, toml)


def test_each_part_has_an_md5(raw: Path, tmp_path: Path) -> None:
    source = packed(raw, tmp_path / "packed", "tar.gz")
    for folder in FOLDERS:
        split(source / f"{folder}.tar.gz", 2)
    toml = described(source, tmp_path / "mine.toml")
    checked(toml, source, tmp_path / "store")
    later = "BigEarthNet-S2.tar.gzab"
    toml = described(source, toml, **{later: "1" * 32})
    with pytest.raises(SourceError, match=f"{later} has the MD5"):
        checked(toml, source, tmp_path / "other")


def test_a_table_is_compared_before_anything_is_read(source: Path, tmp_path: Path) -> None:
    toml = described(source, tmp_path / "mine.toml", **{"metadata.parquet": "2" * 32})
    archive = source / "BigEarthNet-S2.tar.zst"
    archive.write_bytes(archive.read_bytes()[:1000] + b"nothing that could be read")
    with pytest.raises(SourceError, match="metadata.parquet has the MD5"):
        checked(toml, source, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_a_list_that_cannot_be_read_is_one_sentence(source: Path, tmp_path: Path) -> None:
    description = find_description(str(described(source, tmp_path / "mine.toml")))
    path = tmp_path / "metadata.parquet"
    path.mkdir()
    with pytest.raises(SourceError, match=f"{path} cannot be read"):
        check_published_md5(description, [source / "BigEarthNet-S2.tar.zst"], [path])


def test_a_table_without_a_published_md5_is_taken(source: Path, tmp_path: Path) -> None:
    toml = described(source, tmp_path / "mine.toml")
    lines = toml.read_text().splitlines()
    toml.write_text("\n".join(line for line in lines if not line.startswith('"metadata')))
    assert checked(toml, source, tmp_path / "store").exit_code == 0


@pytest.mark.parametrize("dataset", [DATASET, "hydro"])
def test_an_unknown_name_says_which_are_known(
    source: Path, tmp_path: Path, patchpress: Command, dataset: str
) -> None:
    path = source / "BigEarthNet-S2.tar.zst"
    path.rename(source / "mine.tar.zst")
    words = ["convert", dataset, source, tmp_path / "store", "--check-md5"]
    ended = patchpress(*words, "--path", f"s2={source}/mine.tar.zst")
    assert ended.code == 2
    assert "the MD5 of mine.tar.zst is not known: leave out --check-md5" in ended.sentence
    known = "BigEarthNet-S2.tar.zst" if dataset == DATASET else "no file of hydro has a known one"
    assert known in ended.sentence
    assert not (tmp_path / "store").exists()


def test_folders_have_no_md5(raw: Path, tmp_path: Path, patchpress: Command) -> None:
    ended = patchpress("convert", DATASET, raw, tmp_path / "store", "--check-md5")
    assert ended.code == 2
    assert "--check-md5 needs archives" in ended.sentence
    assert not (tmp_path / "store").exists()


def test_archives_beside_folders_are_compared(raw: Path, tmp_path: Path) -> None:
    source = packed(raw, tmp_path / "packed", folders=("BigEarthNet-S2",))
    name = "BigEarthNet-S2.tar.zst"
    checked(described(source, tmp_path / "mine.toml"), source, tmp_path / "store")
    toml = described(source, tmp_path / "mine.toml", **{name: "3" * 32})
    with pytest.raises(SourceError, match=f"{name} has the MD5"):
        checked(toml, source, tmp_path / "other")


@pytest.mark.parametrize("limit", [None, 2])
def test_no_byte_is_read_twice(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    """If only some patches are wanted, all of an archive is read, too, but once."""
    taken: dict[str, int] = {}
    read = decompress.JoinedFiles._read

    def counted(parts: Any, buffer: Any) -> int:
        got = read(parts, buffer)
        if got and parts._md5:
            name = Path(parts._file.name).name
            taken[name] = taken.get(name, 0) + got
        return got

    monkeypatch.setattr(decompress.JoinedFiles, "_read", counted)
    toml = described(source, tmp_path / "mine.toml")
    checked(toml, source, tmp_path / "store", limit=limit)
    assert taken == {path.name: path.stat().st_size for path in source.glob("*.tar.zst")}


def test_the_first_patches_are_refused_if_the_archive_is_another(
    source: Path, tmp_path: Path
) -> None:
    name = "BigEarthNet-S2.tar.zst"
    toml = described(source, tmp_path / "mine.toml", **{name: "4" * 32})
    with pytest.raises(SourceError, match=f"{name} has the MD5"):
        checked(toml, source, tmp_path / "store", limit=1)
    assert checked(toml, source, tmp_path / "other", limit=1, check_md5=False).exit_code == 0
