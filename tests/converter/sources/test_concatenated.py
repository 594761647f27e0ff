"""Archives put one after the other are read to the end of the last, as GNU tar reads them."""

import gzip
import hashlib
import random
import shutil
import subprocess
from collections.abc import Callable
from contextlib import closing
from itertools import cycle
from pathlib import Path

import pytest
import zstandard

from patchpress.converter.memory import SharedMemory
from patchpress.converter.sources.compression import GzipReader, ZstdReader
from patchpress.converter.sources.tar import TarStream
from patchpress.converter.sources.unpacker import chunk_bytes, start_unpackers
from patchpress.readers.errors import SourceError, SourceMissing
from tests.support.helpers import Ended, made, stored_values
from tests.support.packing import CODECS, ended, entries, entry, members, packed, split

pytestmark = pytest.mark.slow

S2 = "BigEarthNet-S2"
Command = Callable[..., Ended]


def halves(raw: Path) -> list[bytes]:
    """Two whole archives of Sentinel-2, each padded to a record."""
    parts = entries(raw, members(raw, S2))
    middle = len(parts) // 24 * 12
    return [ended(parts[:middle]), ended(parts[middle:])]


def frames(data: bytes, level: int = 1) -> bytes:
    """Zstd data in several frames, with and without a checksum, and one frame without data."""
    cut = len(data) // 3
    checked = zstandard.ZstdCompressor(level=level, write_checksum=True).compress(data[:cut])
    skipped = b"\x5a\x2a\x4d\x18\x05\x00\x00\x00any\x00\x01"
    stream = zstandard.ZstdCompressor(level=level).compressobj()
    return checked + skipped + stream.compress(data[cut:]) + stream.flush()


TOGETHER: dict[str, Callable[[list[bytes]], bytes]] = {
    "tar": b"".join,
    "tar with zeros between": lambda two: bytes(51_200).join(two),
    "gzip of both": lambda two: gzip.compress(b"".join(two), 1),
    "gzip members": lambda two: b"".join(gzip.compress(one, 1) for one in two),
    "gzip members with zeros between": lambda two: bytes(1000).join(
        gzip.compress(one, 1) for one in two
    ),
    "zstd of both": lambda two: zstandard.compress(b"".join(two), 1),
    "zstd frames": lambda two: b"".join(frames(one) for one in two),
    "zstd frames with zeros between": lambda two: bytes(200_000).join(map(frames, two)),
}


def listed(path: Path) -> list[str]:
    """The files of an archive by GNU tar, archives after the first included."""
    if not shutil.which("tar"):
        pytest.skip("there is no GNU tar")
    words = ["tar", "--ignore-zeros", "-tf", str(path)]
    names = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    return names.splitlines()


@pytest.mark.parametrize("way", TOGETHER)
def test_all_of_archives_put_together_is_converted(raw: Path, tmp_path: Path, way: str) -> None:
    two = halves(raw)
    source = packed(raw, tmp_path / "packed", "tar")
    (source / f"{S2}.tar").write_bytes(TOGETHER[way](two))  # what it is follows from its bytes
    report = made(source, tmp_path / "store")
    made(raw, tmp_path / "whole")
    assert stored_values(tmp_path / "store") == stored_values(tmp_path / "whole")
    assert report.notes == []


# GNU tar has no zstd of its own, and gzip stops at zeros.
@pytest.mark.parametrize(
    "way",
    [way for way in TOGETHER if "zstd" not in way and way != "gzip members with zeros between"],
)
def test_the_files_are_those_that_gnu_tar_lists(raw: Path, tmp_path: Path, way: str) -> None:
    path = tmp_path / f"a.{'tar.gz' if 'gzip' in way else 'tar'}"
    path.write_bytes(TOGETHER[way](halves(raw)))
    with closing(TarStream([path])) as stream:
        assert [member.path for member in stream] == listed(path)
        assert stream.archives == 2


def test_parts_may_be_archives_of_their_own(raw: Path, tmp_path: Path) -> None:
    source = packed(raw, tmp_path / "packed", "tar.zst")
    (source / f"{S2}.tar.zst").unlink()
    for ending, data in zip(("aa", "ab"), halves(raw), strict=True):
        (source / f"{S2}.tar.zst{ending}").write_bytes(CODECS["tar.zst"](data))
    made(source, tmp_path / "store")
    made(raw, tmp_path / "whole")
    assert stored_values(tmp_path / "store") == stored_values(tmp_path / "whole")


JUNK: dict[str, tuple[bytes, str]] = {
    "a web page": (b"<!DOCTYPE html><html><body>504</body></html>", "a web page (HTML)"),
    "random bytes": (random.Random(5).randbytes(70_001), ""),  # noqa: S311
    "another zip": (b"PK\x03\x04" + bytes(range(1, 200)), "a zip archive"),
}


@pytest.mark.parametrize(("junk", "codec"), list(zip(cycle(JUNK), CODECS)))
def test_bytes_after_the_end_are_told(
    raw: Path, tmp_path: Path, patchpress: Command, junk: str, codec: str
) -> None:
    source = packed(raw, tmp_path / "packed", codec)
    data, name = JUNK[junk]
    path = source / f"{S2}.{codec}"
    path.write_bytes(path.read_bytes() + data)
    looks = f", which look like {name}," if name else ""
    said = f"  {path} has {len(data):,} bytes after its end{looks} that are not read\n"
    ended = patchpress("convert", "bigearthnet-v2", source, tmp_path / "store")
    assert (ended.code, ended.err) == (0, "")
    assert said in ended.out
    made(raw, tmp_path / "whole")
    assert stored_values(tmp_path / "store") == stored_values(tmp_path / "whole")
    ended = patchpress("verify", tmp_path / "store", "--against", source, "--workers", 0)
    assert ended.code == 0
    assert said in ended.out


@pytest.mark.parametrize("codec", ["tar.gz", "tar.zst"])
def test_what_follows_before_the_end_of_a_tar_is_an_error(
    raw: Path, tmp_path: Path, codec: str
) -> None:
    source = packed(raw, tmp_path / "packed", codec)
    one = halves(raw)[0].rstrip(b"\0")
    (source / f"{S2}.{codec}").write_bytes(CODECS[codec](one) + b"<html>")
    with pytest.raises(SourceError, match=r"S2.*ends early: the last whole patch is "):
        made(source, tmp_path / "store")


@pytest.mark.parametrize("codec", CODECS)
def test_a_second_archive_that_is_cut_is_an_error(raw: Path, tmp_path: Path, codec: str) -> None:
    source = packed(raw, tmp_path / "packed", codec)
    one, two = (CODECS[codec](half) for half in halves(raw))
    for length in (len(two) // 2, 700):
        (source / f"{S2}.{codec}").write_bytes(one + two[:length])
        with pytest.raises(SourceError, match=r"ends early|to its end"):
            made(source, tmp_path / "store")


@pytest.mark.parametrize("unpacked_by", ["thread", "process"])
def test_the_md5_is_that_of_all_bytes(tmp_path: Path, unpacked_by: str) -> None:
    unpackers = start_unpackers(unpacked_by == "process", SharedMemory(chunk_bytes(1)))
    path = tmp_path / "a.tar.gz"
    for data in (b"", b"junk" * 99_999):
        path.write_bytes(gzip.compress(ended([entry("x", b"y")])) * 2 + data)
        with closing(
            TarStream([path], md5=True, unpacker=unpackers[0] if unpackers else None)
        ) as stream:
            assert [member.path for member in stream] == ["x", "x"]
            digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            assert stream.digests() == {path: digest}
            assert (stream.leftover.nbytes if stream.leftover else 0) == len(data)
    for unpacker in unpackers:
        unpacker.kill()


class Bytes:
    """A source that gives so many bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self.data, self.step = data, step

    def read(self, size: int, /) -> bytes:
        given, self.data = self.data[: min(size, self.step)], self.data[min(size, self.step) :]
        return given


def read_all(reader: GzipReader | ZstdReader) -> bytes:
    out, buffer = bytearray(), memoryview(bytearray(1000))
    while count := reader.readinto(buffer):
        out += buffer[:count]
    return bytes(out)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_frames_of_any_kind_however_they_are_read(kind: str) -> None:
    draw = random.Random(3)  # noqa: S311
    pack: Callable[[bytes], bytes] = gzip.compress if kind == "gzip" else frames
    reader: Callable[[Bytes], GzipReader | ZstdReader] = (
        GzipReader if kind == "gzip" else ZstdReader
    )
    for _ in range(300):
        texts = [draw.randbytes(draw.choice([1, 300, 5000])) * draw.choice([1, 90]) for _ in "abc"]
        zeros = [bytes(draw.choice([0, 0, 1, 513])) for _ in texts]
        data = b"".join(pack(text) + zero for text, zero in zip(texts, zeros, strict=True))
        junk = draw.choice([b"", b"x", b"<html>" * 50])
        for step in (1 << 17, 997) + ((1, 7) if len(data) < 3000 else ()):
            found = reader(Bytes(data + junk, step))
            assert read_all(found) == b"".join(texts)
            assert junk.startswith(found.leftover)
            assert bool(found.leftover) == bool(junk)
        if not zeros[-1]:
            cut = reader(Bytes(data[: -draw.randrange(1, 6)], 997))
            with pytest.raises(EOFError, match="cut"):
                read_all(cut)


@pytest.mark.parametrize(
    "ending",
    [
        lambda at: f".{at + 1:03}",
        lambda at: f".part{'abcdefghijklmnop'[at // 26]}{chr(97 + at % 26)}",
        lambda at: f".part{at + 1}",
        lambda at: f"_{at:02}",
        lambda at: f".aa{chr(97 + at)}",
        lambda at: f".part-0{at:02}",
    ],
    ids=[".001", ".partaa", ".part1", "_00", ".aaa", ".part-000"],
)
def test_parts_are_found_whatever_cut_them(
    raw: Path, tmp_path: Path, ending: Callable[[int], str]
) -> None:
    source = packed(raw, tmp_path / "packed", "tar.zst")
    parts = split(source / f"{S2}.tar.zst", 12, ending)
    made(source, tmp_path / "store")
    made(raw, tmp_path / "whole")
    assert stored_values(tmp_path / "store") == stored_values(tmp_path / "whole")
    for lost in (parts[0], parts[5]):
        aside = lost.rename(tmp_path / "aside")
        with pytest.raises(SourceMissing if lost is parts[5] else SourceError) as error:
            made(source, tmp_path / "another")
        assert lost is parts[0] or lost.name in str(error.value)
        aside.rename(lost)
