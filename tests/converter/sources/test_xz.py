"""xz and bzip2 as streams: several of them, cut ones, and those that ask for much memory."""

import bz2
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from patchpress.converter.sources.xz import Bzip2Reader, XzReader
from patchpress.readers.errors import SourceError
from tests.support.helpers import Ended, made
from tests.support.packing import packed

DATA = bytes(range(256)) * 999
Made = Callable[[io.BytesIO], XzReader | Bzip2Reader]
KINDS: dict[str, tuple[Made, Callable[[bytes], bytes]]] = {
    "xz": (XzReader, lzma.compress),
    "bzip2": (Bzip2Reader, bz2.compress),
}


def read(reader: XzReader | Bzip2Reader, size: int = 1000) -> bytes:
    out, buffer = bytearray(), memoryview(bytearray(size))
    while got := reader.readinto(buffer):
        out += buffer[:got]
    return bytes(out)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
def test_all_streams_of_a_file_are_read(kind: str, size: int) -> None:
    made_by, pack = KINDS[kind]
    one, two = DATA[:5000], DATA[5000:9000]
    for between in (b"", bytes(8)):
        reader = made_by(io.BytesIO(pack(one) + between + pack(b"") + pack(two) + bytes(4)))
        assert read(reader, size) == one + two
        assert reader.leftover == b""
    reader = made_by(io.BytesIO(pack(one) + b"<html>"))
    assert read(reader, size) == one
    assert reader.leftover == b"<html>"


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_is_cut_or_damaged_is_an_error(kind: str) -> None:
    made_by, pack = KINDS[kind]
    whole = pack(DATA)
    with pytest.raises(EOFError):
        read(made_by(io.BytesIO(whole[:-5])))
    with pytest.raises((OSError, lzma.LZMAError, ValueError)):
        read(made_by(io.BytesIO(whole[:-20] + bytes(20))))


def test_a_large_dictionary_is_refused(raw: Path, tmp_path: Path) -> None:
    source = packed(raw, tmp_path / "packed", "tar")
    path = source / "BigEarthNet-S2.tar"
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 256 << 20}]
    path.write_bytes(lzma.compress(path.read_bytes(), filters=filters))
    with pytest.raises(SourceError, match=r"S2.tar needs more memory .*its xz dictionary"):
        made(source, tmp_path / "store")


@pytest.mark.parametrize("codec", ["tar.xz", "tar.bz2"])
def test_an_archive_that_is_cut_is_told(
    raw: Path, tmp_path: Path, patchpress: Callable[..., Ended], codec: str
) -> None:
    source = packed(raw, tmp_path / "packed", codec)
    path = source / f"BigEarthNet-S2.{codec}"
    path.write_bytes(path.read_bytes()[:-30])
    ended = patchpress("convert", "bigearthnet-v2", source, tmp_path / "store", "--workers", 0)
    assert ended.code == 1
    assert str(path) in ended.sentence
