"""`datasets`: what each dataset must look like on disk, and which one a folder has."""

from collections.abc import Callable
from pathlib import Path

import pytest

from patchpress.converter.descriptions.parse import built_in_descriptions, load_description
from patchpress.converter.sources.archive_names import archive_name
from tests.support.helpers import Ended
from tests.support.older_sets import SCENE, make_sen12ms
from tests.support.packing import packed, split

Command = Callable[..., Ended]


def test_every_published_archive_is_named(patchpress: Command) -> None:
    out = patchpress("datasets").out
    for path in built_in_descriptions().values():
        description = load_description(path)
        for modality in description.modalities.values():
            for stem in modality.archives:
                assert f" {stem}.t" in out or f" {stem}.zip" in out
    assert "or BigEarthNet-S2.tar.zst, .tar or .tar.gzaa, …" in out
    assert "or BigEarthNet-S2-v1.0.tar.gz " in out
    assert "or ROIs1158_spring_s1.tar.gz " in out
    assert "and ROIs2017_winter_s1.tar.gz " in out
    assert "or s2c.tar.zst, .tar.gz, .tar or .zip " in out


def test_every_published_md5_is_that_of_an_archive_or_a_file() -> None:
    for path in built_in_descriptions().values():
        description = load_description(path)
        stems = {s for m in description.modalities.values() for s in m.archives}
        for file in description.md5:
            name = archive_name(file)
            assert name.stem in stems if name else file in description.files().values()


@pytest.mark.parametrize(
    ("file", "stem", "part"),
    [
        ("a.tar", "a", ""),
        ("a.tar.gz", "a", ""),
        ("a.tgz", "a", ""),
        ("a.tar.zst", "a", ""),
        ("a.tzst", "a", ""),
        ("a-v1.0.tar.gz", "a-v1.0", ""),
        ("a.tar.gzaa", "a", "aa"),
        ("a.tar.gz.ab", "a", "ab"),
        ("a.tar.gz.000", "a", "000"),
        ("a.tar.zst01", "a", "01"),
        ("a.taraa", "a", "aa"),
        ("a.tar.0001", "a", "0001"),
        ("a.tar.gz.001", "a", "001"),
        ("a.tar.gz.aaa", "a", "aaa"),
        ("a.tar.gz.partaa", "a", "aa"),
        ("a.tar.gz.part-00", "a", "00"),
        ("a.tar.gz_part1", "a", "1"),
        ("a.tar.gz.1", "a", "1"),
        ("a.tar.gz.asc", None, ""),
        ("a.tar.gz.sig", None, ""),
        ("a.tar.gz.part", None, ""),
        ("a.tar.xzaa", "a", "aa"),
        ("a.tar.xz", "a", ""),
        ("a.txz", "a", ""),
        ("a.tar.bz2", "a", ""),
        ("a.tbz", "a", ""),
        ("a.tar.lz", None, ""),
        ("a.tar.gz.md5", None, ""),
        ("a.zip", "a", ""),
        ("a.zip.001", "a", "001"),
        ("a.zip.partaa", "a", "aa"),
        ("a.gz", None, ""),
        (".tar", None, ""),
        ("tar", None, ""),
    ],
)
def test_names_of_archives(file: str, stem: str | None, part: str) -> None:
    assert archive_name(file) == (None if stem is None else (stem, part))


def test_a_folder_of_archives_is_recognised_by_their_names(
    tmp_path: Path, patchpress: Command
) -> None:
    for file in ("BigEarthNet-S2.tar.zst", "Reference_Maps.tar.gzaa", "metadata.parquet"):
        (tmp_path / file).write_bytes(b"not opened")
    ended = patchpress("datasets", "--guess", tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "bigearthnet-v2  has s2 (BigEarthNet-S2.tar.zst), map (Reference_Maps.tar.gzaa, …)"
    ]


@pytest.mark.parametrize("codec", ["tar", "tar.gz", "tar.zst"])
def test_what_is_packed_is_what_was_unpacked(
    raw: Path, tmp_path: Path, patchpress: Command, codec: str
) -> None:
    folders = ("BigEarthNet-S1", "BigEarthNet-S2")
    packed(raw, tmp_path / "packed", codec, folders=folders)
    split(tmp_path / "packed" / f"BigEarthNet-S2.{codec}", 2)
    out = patchpress("datasets", "--guess", tmp_path / "packed").out
    first = f"s2 (BigEarthNet-S2.{codec}aa, …)"
    assert out.split(None, 1) == [
        "bigearthnet-v2",
        f"has {first}, s1 (BigEarthNet-S1.{codec}), map\n",
    ]


def test_several_archives_a_modality_are_named(tmp_path: Path, patchpress: Command) -> None:
    names = [f"{SCENE}_s1.tar.gz", "ROIs1868_summer_s1.tar.gz"]
    for name in names:
        (tmp_path / name).write_bytes(b"not opened")
    has = f"has s1 ({', '.join(names)})"
    # Two data sets have archives of these names.
    assert patchpress("datasets", "--guess", tmp_path).out.splitlines() == [
        f"sen12ms     {has}",
        f"sen12ms-cr  {has}",
    ]
    make_sen12ms(tmp_path, scenes=(1,), patches=1)
    first, _ = patchpress("datasets", "--guess", tmp_path).out.splitlines()
    assert first.split(None, 1) == ["sen12ms", "has s2, s1, lc"]


def test_an_ambiguous_name_gives_all_that_it_fits(tmp_path: Path, patchpress: Command) -> None:
    for name in ("s1.tar", "S2L2A.tar.gz"):
        (tmp_path / name).write_bytes(b"not opened")
    lines = patchpress("datasets", "--guess", tmp_path).out.splitlines()
    fits = ["major-tom-core", "ssl4eo-s12", "ssl4eo-s12-seasons", "treesatai", "treesatai-200m"]
    assert [line.split()[0] for line in lines] == fits


def test_other_archives_fit_nothing(tmp_path: Path, patchpress: Command) -> None:
    (tmp_path / "other.tar.zst").write_bytes(b"x")
    (tmp_path / "Something-S1.tar").mkdir()
    ended = patchpress("datasets", "--guess", tmp_path)
    assert ended.code == 1
    assert "no description fits" in ended.sentence
