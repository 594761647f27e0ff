"""Archives of few bytes that unfold to many gigabytes: they end early, in bounded memory."""

import gzip
import io
import re
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
import zstandard

from patchpress.converter.memory import SharedMemory
from patchpress.converter.sources.archive_names import Archive
from patchpress.converter.sources.probe import BYTES, first_files
from patchpress.converter.sources.tar import TarStream
from patchpress.converter.sources.unfolded import UNFOLDED
from patchpress.converter.sources.unpacker import chunk_bytes, start_unpackers
from patchpress.readers.errors import SourceError
from tests.support.helpers import DATASET, PEAK, Ended, command, python
from tests.support.packing import packed

pytestmark = pytest.mark.slow

GIB = 1 << 30
ABOVE = 100 << 20


def zeros_frame(nbytes: int = GIB) -> bytes:
    """A zstd frame of zeros, with a usual window."""
    packing = zstandard.ZstdCompressor(level=1).compressobj()
    piece = bytes(1 << 24)
    return b"".join(packing.compress(piece) for _ in range(nbytes >> 24)) + packing.flush()


def header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


def small_tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("a.tif")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))
    return out.getvalue()


def bomb(start: bytes, gigabytes: int = 100) -> bytes:
    """Zstd data of few bytes: a beginning, and so many GiB of zeros after it."""
    return zstandard.compress(start) + zeros_frame() * gigabytes


def walked(path: Path) -> list[str]:
    with closing(TarStream([path])) as stream:
        return [member.path for member in stream]


def test_a_file_of_100_gib_in_few_bytes_is_given_up_early(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    path.write_bytes(bomb(header("big.tif", 100 * GIB)))
    assert path.stat().st_size < 4 << 20
    with closing(TarStream([path])) as stream:
        files = iter(stream)
        assert next(files).path == "big.tif"
        with pytest.raises(SourceError, match="unfolds to more than 500 times its size") as error:
            next(files)
        # The thread reads ahead a few pieces; all of the archive is 100 times as much.
        assert stream.consumed < path.stat().st_size / 4
    assert "it has no whole file; download it again, or unpack it" in str(error.value)


def test_so_is_one_whose_process_decompresses(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    path.write_bytes(bomb(header("big.tif", 100 * GIB)))
    (unpacker,) = start_unpackers(1, SharedMemory(chunk_bytes(1)))
    try:
        with (
            closing(TarStream([path], unpacker=unpacker)) as stream,
            pytest.raises(SourceError, match="unfolds to more than 500 times"),
        ):
            list(stream)
        path.write_bytes(zstandard.compress(small_tar()))
        with closing(TarStream([path], unpacker=unpacker)) as stream:
            assert [member.path for member in stream] == ["a.tif"]
    finally:
        unpacker.kill()


def test_a_gzip_bomb_ends_as_early(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    begin, member = gzip.compress(header("big.tif", 100 * GIB)), gzip.compress(bytes(GIB >> 3))
    path.write_bytes(begin + member * 800)
    with pytest.raises(SourceError, match="unfolds to more than 500 times"):
        walked(path)


def test_zeros_after_the_end_are_read_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    path.write_bytes(zstandard.compress(small_tar()) + zeros_frame(GIB >> 1))
    assert walked(path) == ["a.tif"]
    sentence = (
        "a.tar has more than 1.1 GB of zeros after its end: the last whole file is a.tif; cut "
        "them off, or download it again"
    )
    plain = tmp_path / "a.tar"
    with plain.open("wb") as file:
        file.write(small_tar())
        file.truncate(1 << 43)  # of which nothing is on the disk
    with pytest.raises(SourceError, match=sentence):
        walked(plain)


def test_a_guess_reads_no_more_than_its_beginning(tmp_path: Path) -> None:
    for name, data in {
        "after the end": bomb(small_tar()),
        "in a file": bomb(small_tar()[:1024] + header("big.tif", 100 * GIB)),
    }.items():
        path = tmp_path / f"{name}.tar.zst"
        path.write_bytes(data)
        assert first_files(Archive((path,)))[0] == "a.tif"
    plain = tmp_path / "a.tar"
    with plain.open("wb") as file:
        file.write(small_tar())
        file.truncate(1 << 43)
    assert first_files(Archive((plain,))) == ["a.tif"]
    with closing(TarStream([plain], most=BYTES)) as stream:
        assert [member.path for member in stream] == ["a.tif"]
        assert stream.consumed <= 2 * BYTES
    # Zeros between frames come out of no decompressor, so they are counted on the disk.
    behind = tmp_path / "b.tar.zst"
    with behind.open("wb") as file:
        file.write(zstandard.compress(small_tar()[:1024]))
        file.truncate(1 << 43)
    assert first_files(Archive((behind,))) == ["a.tif"]


PROGRAM = (
    PEAK
    + """
import sys
from patchpress import convert
from patchpress.readers.errors import SourceError

dataset, usual, bomb, folder = sys.argv[1:]
convert(dataset, usual, folder + "/usual", modalities="s2", workers=0)
before = peak()
try:
    convert(dataset, bomb, folder + "/bomb", modalities="s2", workers=0)
except SourceError as error:
    print(error)
print(peak() - before)
"""
)


def test_a_conversion_of_a_bomb_takes_no_more_memory(tree: Path, tmp_path: Path) -> None:
    usual, folder = tmp_path / "archives", tmp_path / "bombs"
    packed(tree, usual, "tar")
    folder.mkdir()
    data = (usual / "BigEarthNet-S2.tar").read_bytes().rstrip(b"\0")
    data += bytes(-len(data) % 512)
    big = header("BigEarthNet-S2/more.tif", 100 * GIB)
    (folder / "BigEarthNet-S2.tar.zst").write_bytes(bomb(data + big))
    done = python("-c", PROGRAM, DATASET, usual, folder, tmp_path)
    assert done.code == 0, done.err
    *_, sentence, above = done.out.splitlines()
    assert re.search(
        r"BigEarthNet-S2.tar.zst unfolds to more than .*the last whole patch", sentence
    )
    assert int(above) < ABOVE


def test_a_bomb_ends_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    data = header("BigEarthNet-S2/more.tif", 100 * GIB)
    (tmp_path / "source" / "BigEarthNet-S2.tar.zst").write_bytes(bomb(data))
    for dry in ((), ("--dry-run",)):
        done: Ended = command("convert", DATASET, tmp_path / "source", tmp_path / "store", *dry)
        assert done.code == 1
        assert "unfolds to more than" in done.sentence
    assert UNFOLDED == GIB
