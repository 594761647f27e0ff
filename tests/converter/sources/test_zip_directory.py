"""The files of a zip archive: what Python's own reader gives, and what is refused, by name."""

import io
import random
import shutil
import struct
import subprocess
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from patchpress.converter.sources.zip_directory import ZipDirectory
from patchpress.converter.sources.zip_files import ZippedArchive, ZippedFiles
from patchpress.readers.errors import PatchError, PatchpressError, SourceError
from tests.support.helpers import DATASET, Ended
from tests.support.zipping import METHODS, entry_at, patched, zip_of, zipped

Command = Callable[..., Ended]
FILES = {"a/x.tif": b"first" * 50, "a/y.tif": b"second" * 90, "b.txt": b"", "b/c/z": b"\0" * 3000}


def files_in(path: Path, *more: Path) -> dict[str, bytes]:
    """Every file of an archive, as conversions read it."""
    directory = ZipDirectory([str(path), *map(str, more)])
    archive = ZippedArchive(directory.files, directory.identity)
    found = {}
    for folder in directory.folders():
        places = directory.places[folder.start : folder.start + len(folder.names)].tobytes()
        files = ZippedFiles(archive, tuple(folder.names), places).open(folder.path, None)
        for name in files.names():
            data = files.read(name)
            for buffers in ([len(data) // 2, len(data)], [len(data) // 3 + 1]):
                into = [bytearray(size) for size in buffers]
                got = files.readv(name, into)
                assert b"".join(into)[:got] == data[:got]
                assert got == min(sum(buffers), len(data))
            found[f"{folder.path}/{name}" if folder.path else name] = data
    return found


def refusal(path: Path, data: bytes | bytearray) -> str:
    """The sentence about an archive with these bytes."""
    path.write_bytes(data)
    with pytest.raises((SourceError, PatchError)) as error:
        files_in(path)
    assert str(error.value).startswith(str(path)) or str(error.value).startswith("a/"), error.value
    return str(error.value)


class Unseekable(io.BytesIO):
    """A stream into which an archive is written with the sizes after each file."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError

    def seek(self, *_: int) -> int:
        raise OSError


NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_characters="/\\\0:", exclude_categories=["C"]))
    .map(lambda text: text.strip(". ") or "n")
    .map(lambda text: text[:40]),
    min_size=1,
    max_size=4,
).map("/".join)


@settings(max_examples=60, deadline=None)
@given(
    files=st.dictionaries(NAMES, st.binary(max_size=300), max_size=12),
    methods=st.lists(st.sampled_from(sorted(METHODS.values())), min_size=1, max_size=4),
    comment=st.sampled_from([b"", b"PK\5\6", b"x" * 70, b"PK\1\2" * 9]),
    extra=st.binary(max_size=20),
    before=st.sampled_from([b"", b"#!/bin/sh\n", b"PK\3\4" + bytes(90)]),
    is_long=st.booleans(),
    in_stream=st.booleans(),
)
def test_it_gives_what_the_library_of_python_gives(
    tmp_path_factory: pytest.TempPathFactory,
    files: dict[str, bytes],
    methods: list[int],
    comment: bytes,
    extra: bytes,
    before: bytes,
    is_long: bool,
    in_stream: bool,
) -> None:
    out = Unseekable() if in_stream else io.BytesIO()
    folders = {name.rpartition("/")[0] for name in files}
    files = {name: data for name, data in files.items() if name not in folders}
    fields = struct.pack("<2H", 0x7777, len(extra)) + extra if extra else b""
    with zipfile.ZipFile(out, "w") as archive:
        archive.comment = comment
        for number, (name, data) in enumerate(files.items()):
            info = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            info.compress_type = methods[number % len(methods)]
            info.comment = comment[:number]
            info.extra = fields if number % 2 else b""
            with archive.open(info, "w", force_zip64=is_long) as file:
                file.write(data)
        if folders - {""}:
            archive.writestr(f"{sorted(folders - {''})[0]}/", b"")
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    path.write_bytes(before + out.getvalue())
    if comment != b"PK\5\6":  # Python's own reader takes such a comment for the end
        with zipfile.ZipFile(path) as archive:
            whole = {info.filename: archive.read(info) for info in archive.infolist()}
        assert {name: data for name, data in whole.items() if name[-1] != "/"} == files
    assert files_in(path) == files


def test_it_reads_what_other_programs_write(tmp_path: Path) -> None:
    if not shutil.which("zip"):
        pytest.skip("there is no program zip")
    for name, data in FILES.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(data)
    for words in (["-0"], ["-9"], ["-fd"], ["-0", "-fz"], ["-Z", "bzip2"]):
        path = tmp_path / f"{''.join(words)}.zip"
        run = ["zip", "-q", *words, "-r", str(path), "."]
        subprocess.run(run, cwd=tmp_path / "tree", check=True, timeout=60)
        assert files_in(path) == FILES
    whole = (tmp_path / "-0.zip").read_bytes()
    (tmp_path / "p1").write_bytes(whole[:101])
    (tmp_path / "p2").write_bytes(whole[101:])
    assert files_in(tmp_path / "p1", tmp_path / "p2") == FILES


def test_the_files_of_a_folder_come_together(tmp_path: Path) -> None:
    names = [f"{a}/{b}/{n}" for a in ("x", "x.y", "x-y") for b in "pq" for n in range(3)]
    names += [f"x/{n}.tif" for n in "adz"]
    random.Random(3).shuffle(names)  # noqa: S311
    path = tmp_path / "a.zip"
    path.write_bytes(zip_of({name: name.encode() for name in names}))
    found = list(ZipDirectory([str(path)]).folders())
    assert [one.path for one in found] == ["x", "x/p", "x/q", "x-y/p", "x-y/q", "x.y/p", "x.y/q"]
    assert all(one.names == sorted(one.names) for one in found)


def test_zstd_is_read(tmp_path: Path) -> None:
    data = b"pixels" * 999
    packed = zstandard.compress(data)
    whole = zip_of({"a/x": packed})
    whole = patched(whole, "a/x", 10, "<H", 93, local=8)
    whole = patched(whole, "a/x", 16, "<L", zlib.crc32(data), local=14)
    whole = patched(whole, "a/x", 24, "<L", len(data), local=22)
    (tmp_path / "a.zip").write_bytes(whole)
    assert files_in(tmp_path / "a.zip") == {"a/x": data}


SHORT = zip_of(FILES)
PACKED = zip_of(FILES, method="deflate")
X = "a/x.tif"


def _twice() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("a/x", b"1")
    return out.getvalue()


def _swapped(one: bytes, other: bytes) -> bytearray:
    assert len(one) == len(other)
    return SHORT.replace(one, other)


def _moved(name: str, to: str) -> bytearray:
    """A file that lies where another does."""
    return patched(
        SHORT,
        name,
        42,
        "<L",
        int.from_bytes(SHORT[(at := entry_at(SHORT, to)) + 42 : at + 46], "little"),
    )


REFUSED: dict[str, tuple[bytes | bytearray, str]] = {
    "cut": (SHORT[:-40], "has no end of a zip archive: its download did not end"),
    "its beginning lost": (SHORT[50:], "has its directory elsewhere than its end says, 50 bytes"),
    "nothing": (b"", "is empty"),
    "a web page": (b"<html><body>", "is a web page (HTML): download it again"),
    "zeros": (bytes(4000), "is nothing but zeros: its download did not end"),
    "split": (
        SHORT[:-18] + b"\1\0\1\0" + SHORT[-14:],
        "is one part of a zip archive that was split",
    ),
    "more files than it has": (
        SHORT[:-14] + b"\xf0\xf0\xf0\xf0" + SHORT[-10:],
        "says that it has 61,680 files",
    ),
    "one file more": (SHORT[:-14] + b"\5\0\5\0" + SHORT[-10:], "says that it has 5 files, but"),
    "a long name": (patched(SHORT, X, 28, "<H", 60_000), "has a damaged directory, at its byte"),
    "a damaged entry": (_swapped(b"PK\1\2", b"PK\1\3"), "has a damaged directory, at its byte 0"),
    "twice": (_twice(), "has a/x twice: pack it anew"),
    "over one another": (_moved("a/y.tif", X), "has files that lie over one another (a/x.tif and"),
    "longer than the archive": (
        patched(SHORT, X, 20, "<L", 99_999),
        "has a file that lies outside",
    ),
    "behind the archive": (patched(SHORT, X, 42, "<L", 99_999), "has a file that lies outside"),
    "out of it": (_swapped(b"a/x.tif", b"../.tif"), "has the path ../.tif, which leads out of it"),
    "absolute": (_swapped(b"a/x.tif", b"/ax.tif"), "has the path /ax.tif, which leads out of it"),
    "a drive": (_swapped(b"a/x.tif", b"C:/.tif"), "has the path 'C:/.tif', which leads out of it"),
    "zero byte": (_swapped(b"a/x.tif", b"a/x\0tif"), "has a name with a zero byte"),
    "a link": (patched(SHORT, X, 38, "<L", 0xA1FF0000), "has a link in it (a/x.tif)"),
    "a pipe": (patched(SHORT, X, 38, "<L", 0x11FF0000), "has a device in it (a/x.tif)"),
    "not UTF-8": (
        patched(_swapped(b"a/x.tif", b"a/\xff.tif"), "a/\xa0.tif", 8, "<H", 1 << 11),
        "has a name that is not UTF-8, though it says so",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_wrong_with_an_archive_is_told(tmp_path: Path, kind: str) -> None:
    data, said = REFUSED[kind]
    assert said in refusal(tmp_path / "a.zip", data)


DAMAGED: dict[str, tuple[bytes | bytearray, str]] = {
    "another byte": (_swapped(b"first", b"First"), "its CRC-32 is"),
    "a local header that is none": (_swapped(b"PK\3\4", b"PK\3\5"), "its local header is none"),
    "another method in the header": (
        patched(SHORT, X, 10, "<H", 8),
        "its local header says something else than the directory",
    ),
    "two sizes": (patched(SHORT, X, 24, "<L", 251), "its two sizes differ"),
    "more than it says": (patched(PACKED, X, 24, "<L", 249), "it does not end after the 249 bytes"),
    "less than it says": (patched(PACKED, X, 24, "<L", 251), "it has 250 bytes, and the archive"),
    "damaged deflate": (
        patched(PACKED, X, 16, "<L", 1).replace(b"\x4b\xcb\x2c", b"\xff\xff\xff", 1),
        "damaged in the archive",
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, kind: str) -> None:
    data, said = DAMAGED[kind]
    sentence = refusal(tmp_path / "a.zip", data)
    assert sentence.startswith("a/x.tif is damaged in the archive: ")
    assert said in sentence


def test_what_follows_the_end_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(SHORT + b"<html>")
    assert ZipDirectory([str(path)]).leftover == 6
    assert files_in(path) == FILES


def test_names_whose_encoding_is_not_told_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    for raw, name in ((b"a/\x84.tif", "a/ä.tif"), ("a/é".encode(), "a/é")):  # cp437, and UTF-8
        data = zip_of({"a/" + "x" * (len(raw) - 2): b"1", "b": b"2"})
        path.write_bytes(data.replace(b"a/" + b"x" * (len(raw) - 2), raw))
        assert ZipDirectory([str(path)]).untold == 1
        assert files_in(path) == {name: b"1", "b": b"2"}
    path.write_bytes(zip_of({"a/ä": b"1"}))
    assert ZipDirectory([str(path)]).untold == 0
    field = struct.pack("<2HBL", 0x7075, 5 + 4, 1, zlib.crc32(b"a/?")) + "a/ä".encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("a/X")
        info.extra = field
        archive.writestr(info, b"1")
    path.write_bytes(out.getvalue().replace(b"a/X", b"a/?"))
    assert files_in(path) == {"a/?": b"1"}  # ASCII needs no other name


def test_an_archive_that_is_changed_meanwhile_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(SHORT)
    directory = ZipDirectory([str(path)])
    archive = ZippedArchive(directory.files, directory.identity)
    path.write_bytes(SHORT + b"x")
    with pytest.raises(SourceError, match="was changed while it was read"):
        ZippedFiles(archive, (), b"").open("", None)


@pytest.mark.slow
def test_odd_bytes_end_in_a_sentence(tmp_path: Path) -> None:
    """Any damage gives what was packed, or an error of ours."""
    draw = random.Random(11)  # noqa: S311
    path = tmp_path / "a.zip"
    for seed in (SHORT, PACKED, zip_of(FILES, b"comment", "bzip2")):
        for _ in range(300):
            data = bytearray(seed)
            for _ in range(draw.randrange(1, 4)):
                data[draw.randrange(len(data))] = draw.randrange(256)
            path.write_bytes(data)
            try:
                found = files_in(path)
            except PatchpressError:
                continue
            assert set(found.values()) <= set(FILES.values())


# Through the command line: the archive and the file in it are named.

FIRST = "BigEarthNet-S2"


def spoilt(source: Path, change: Callable[[bytes, str], bytes | bytearray]) -> str:
    """Change the zip of Sentinel-2 at its 14th file; gives the path of this file."""
    path = source / f"{FIRST}.zip"
    with zipfile.ZipFile(path) as archive:
        name = archive.namelist()[13]
    path.write_bytes(change(path.read_bytes(), name))
    return f"{path}/{name}"


def _bit(data: bytes, name: str) -> bytearray:
    changed = bytearray(data)
    changed[int.from_bytes(data[(at := entry_at(data, name)) + 42 : at + 46], "little") + 200] ^= 1
    return changed


SPOILT: dict[str, tuple[Callable[[bytes, str], bytes | bytearray], str]] = {
    "a bit": (_bit, "is damaged in the archive: its CRC-32 is"),
    "encrypted": (
        lambda data, name: patched(data, name, 8, "<H", 1, local=6),
        "is encrypted: unpack BigEarthNet-S2.zip with its password",
    ),
    "deflate64": (
        lambda data, name: patched(data, name, 10, "<H", 9, local=8),
        "is packed by Deflate64, method 9, which is not read: unpack BigEarthNet-S2.zip",
    ),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_the_command_names_the_archive_and_the_file(
    raw: Path, tmp_path: Path, patchpress: Command, kind: str
) -> None:
    change, said = SPOILT[kind]
    source = zipped(raw, tmp_path / "zipped")
    path = spoilt(source, change)
    ended = patchpress("convert", DATASET, source, tmp_path / "store", "--workers", 0)
    assert ended.code == 1
    assert ended.sentence.startswith(path)
    assert said in ended.sentence
    assert not (tmp_path / "store" / "manifest.json").exists()


@pytest.mark.slow
def test_a_bomb_takes_no_memory(raw: Path, tmp_path: Path, patchpress: Command) -> None:
    source = zipped(raw, tmp_path / "zipped")
    path = source / f"{FIRST}.zip"
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    name = sorted(files)[13]
    files[name] = bytes(300 << 20)
    path.write_bytes(zip_of(files, method="deflate"))
    ended = patchpress("convert", DATASET, source, tmp_path / "store", "--workers", 0)
    assert (ended.code, f"{path}/{name} has 314,572,800 bytes, far more" in ended.sentence) == (
        1,
        True,
    )
    # The archive says less than the file unfolds to.
    path.write_bytes(patched(path.read_bytes(), name, 24, "<L", 30_000, local=22))
    ended = patchpress("convert", DATASET, source, tmp_path / "store", "--workers", 0)
    assert ended.code == 1
    assert "it takes 305" in ended.sentence or "does not end after" in ended.sentence
