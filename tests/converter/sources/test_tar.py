"""Archives are read as Python's tarfile reads them, and damage ends in one sentence."""

import gzip
import hashlib
import io
import os
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from patchpress.converter.sources import readahead
from patchpress.converter.sources.tar import TarStream
from patchpress.readers.errors import SourceError, SourceMissing

LONG = "a folder/" * 20 + "B01.tif"
FILES = {
    "tile/patch/patch_B01.tif": b"",
    "tile/patch/patch_B02.tif": b"x",
    LONG: bytes(range(256)) * 20,
    "tile/näme.tif": b"n" * 512,
    "big.tif": np.random.default_rng(3).bytes(3_000_000),
    "tile/last.tif": b"z" * 513,
}
FORMATS = {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
CODECS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": lambda data: gzip.compress(data, 1),
    "tar.zst": lambda data: zstandard.compress(data, 1),
}


def archive(files: dict[str, bytes], tar_format: int = tarfile.GNU_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tar_format) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def read(paths: Sequence[Path], **options: Any) -> dict[str, bytes]:
    found = {}
    with closing(TarStream(paths, **options)) as stream:
        for member in stream:
            buffer = memoryview(bytearray(member.size))
            stream.read_into(buffer)
            found[member.path] = bytes(buffer)
    return found


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "patchpress-archive"]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("tar_format", FORMATS)
def test_every_file_is_read_in_its_order(tmp_path: Path, tar_format: str, codec: str) -> None:
    path = tmp_path / f"a.{codec}"
    path.write_bytes(CODECS[codec](archive(FILES, FORMATS[tar_format])))
    found = read([path])
    assert list(found) == list(FILES)
    assert found == FILES
    assert not threads()


def test_posix_prefixes_are_part_of_a_name(tmp_path: Path) -> None:
    files = {"f" * 90 + "/" + "g" * 60 + "/B01.tif": b"pixels"}
    (tmp_path / "a.tar").write_bytes(archive(files, tarfile.USTAR_FORMAT))
    assert read([tmp_path / "a.tar"]) == files


@pytest.mark.parametrize("codec", CODECS)
def test_parts_are_read_as_one(tmp_path: Path, codec: str) -> None:
    data = CODECS[codec](archive(FILES))
    cuts = [0, 1, 700, len(data) // 2, len(data)]
    paths = []
    for number, (begin, end) in enumerate(pairwise(cuts)):
        paths.append(tmp_path / f"a.{codec}a{'abcd'[number]}")
        paths[-1].write_bytes(data[begin:end])
    assert read(paths) == FILES


def test_several_frames_are_one_stream(tmp_path: Path) -> None:
    data = archive(FILES)
    half = len(data) // 2
    for name, pack in (("a.tar.zst", CODECS["tar.zst"]), ("a.tar.gz", CODECS["tar.gz"])):
        (tmp_path / name).write_bytes(pack(data[:half]) + pack(data[half:]))
        assert read([tmp_path / name]) == FILES


def test_files_may_be_passed_over_whole_or_in_part(tmp_path: Path) -> None:
    (tmp_path / "a.tar.zst").write_bytes(CODECS["tar.zst"](archive(FILES)))
    with closing(TarStream([tmp_path / "a.tar.zst"])) as stream:
        for member in stream:
            part = memoryview(bytearray(min(member.size, 100)))
            if member.path != LONG:
                stream.read_into(part)
                assert bytes(part) == FILES[member.path][:100]
        assert stream.last == "tile/last.tif"


def test_more_than_a_file_has_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(archive({"one": b"123"}))
    with closing(TarStream([tmp_path / "a.tar"])) as stream:
        next(iter(stream))
        with pytest.raises(ValueError, match="4 bytes asked"):
            stream.read_into(memoryview(bytearray(4)))


def test_the_md5_is_that_of_all_bytes_of_each_part(tmp_path: Path) -> None:
    data = CODECS["tar.zst"](archive(FILES)) + zstandard.compress(b"")
    (tmp_path / "a").write_bytes(data[:1000])
    (tmp_path / "b").write_bytes(data[1000:])
    with closing(TarStream([tmp_path / "a", tmp_path / "b"], md5=True)) as stream:
        for _ in stream:
            pass
        assert stream.digests() == {
            tmp_path / name: hashlib.md5(part, usedforsecurity=False).hexdigest()
            for name, part in (("a", data[:1000]), ("b", data[1000:]))
        }


def test_folders_and_leading_dots_are_no_part_of_a_name(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        folder = tarfile.TarInfo("./tile")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        info = tarfile.TarInfo("./tile/a.tif")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    (tmp_path / "a.tar").write_bytes(out.getvalue())
    assert read([tmp_path / "a.tar"]) == {"tile/a.tif": b"abc"}


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("../up.tif", tarfile.REGTYPE, "leads out"),
        ("tile/../../up.tif", tarfile.REGTYPE, "leads out"),
        ("/etc/passwd", tarfile.REGTYPE, "leads out"),
        ("link.tif", tarfile.SYMTYPE, "a link"),
        ("link.tif", tarfile.LNKTYPE, "a link"),
        ("null", tarfile.CHRTYPE, "a device"),
        ("pipe", tarfile.FIFOTYPE, "a pipe"),
    ],
)
def test_what_no_published_archive_has_is_refused(
    tmp_path: Path, name: str, kind: bytes, reason: str
) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "elsewhere"
        tar.addfile(info)
    (tmp_path / "a.tar").write_bytes(out.getvalue())
    with pytest.raises(SourceError, match=reason) as error:
        read([tmp_path / "a.tar"])
    assert name in str(error.value)
    assert not threads()


def test_an_empty_long_name_is_damage(tmp_path: Path) -> None:
    """GNU tar and Python's reader then give the file no name; the header's own is cut off."""
    data = bytearray(archive({LONG: b"x"}))
    assert data[512 : 512 + len(LONG)].decode() == LONG
    data[512] = 0
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(SourceError, match="is damaged: it has an empty long name"):
        read([tmp_path / "a.tar"])


@pytest.mark.parametrize("codec", CODECS)
def test_an_archive_that_ends_early_names_its_last_whole_file(tmp_path: Path, codec: str) -> None:
    small = {f"patch_{n}": bytes([n]) * 700 for n in range(9)}
    data = archive(small)[: 9 * 1536 + 512]  # without the padding after the end
    packed = CODECS[codec](data)
    path = tmp_path / f"a.{codec}"
    for length in range(0, len(packed), 97):
        path.write_bytes(packed[:length])
        with pytest.raises(SourceError, match=r"ends early|to its end|empty|damaged"):
            read([path])
    path.write_bytes(CODECS[codec](data[: 4 * 1536 + 600]))
    with pytest.raises(SourceError, match=r"ends early.*patch_3;"):
        read([path])
    assert not threads()


@pytest.mark.slow
def test_a_flipped_bit_changes_pixels_only_or_is_refused(tmp_path: Path) -> None:
    small = {f"patch_{n}": bytes([n]) * 700 for n in range(4)}
    data = bytearray(archive(small))
    path = tmp_path / "a.tar"
    for bit in np.random.default_rng(1).choice(8 * 4 * 1536, 500, replace=False).tolist():
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            assert list(read([path])) == list(small)
        except SourceError as error:
            assert str(path) in str(error)
        data[bit // 8] ^= 1 << bit % 8
    assert not threads()


def test_leaving_early_ends_the_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readahead, "CHUNKS_AHEAD", 1)  # so that the thread waits with the rest
    (tmp_path / "a.tar.zst").write_bytes(CODECS["tar.zst"](archive(FILES)))
    with closing(TarStream([tmp_path / "a.tar.zst"])) as stream:
        next(iter(stream))
        assert threads()
    assert not threads()


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with pytest.raises(SourceMissing, match=r"no file .*/b"):
        TarStream([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(SourceError, match="download it again"):
        read([tmp_path / "a"])


def test_a_disk_that_never_answers_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive is a pipe that nobody writes to."""
    monkeypatch.setattr(readahead, "PATIENCE", 0.01)
    path = tmp_path / "a.tar"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    os.write(writer, archive(FILES)[:1000])
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    stream = TarStream([path])
    while stream.consumed < 1000:
        time.sleep(0.01)
    time.sleep(0.1)  # until the thread waits for the rest
    stream.close()
    assert threads()
    os.close(writer)
    end = time.monotonic() + 60
    while threads() and time.monotonic() < end:
        time.sleep(0.01)
    assert not threads()


def test_what_came_before_damage_is_given_first(tmp_path: Path) -> None:
    data = archive({f"patch_{n}": np.random.default_rng(n).bytes(200_000) for n in range(9)})
    packed = bytearray(gzip.compress(data, 1))
    packed[-100_000:] = bytes(100_000)
    (tmp_path / "a.tar.gz").write_bytes(packed)
    with pytest.raises(SourceError, match=r"to its end.*last whole file is patch_7"):
        read([tmp_path / "a.tar.gz"])
    assert not threads()


@pytest.mark.parametrize("isal", [True, False])
def test_gzip_members_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isal: bool
) -> None:
    """Several members with zeros after them, as `cat` and pigz make them; by either library."""
    if not isal:
        monkeypatch.setitem(sys.modules, "isal", None)
    data = archive(FILES)
    middle = len(data) // 3
    members = [gzip.compress(part) for part in (data[:middle], b"", data[middle:])]
    (tmp_path / "a.tar.gz").write_bytes(b"".join(members) + bytes(1000))
    assert read([tmp_path / "a.tar.gz"]) == FILES
    (tmp_path / "a.tar.gz").write_bytes(b"".join(members)[:-9])
    with pytest.raises(SourceError, match="to its end"):
        read([tmp_path / "a.tar.gz"])
    assert not threads()


def pax_header(text: bytes) -> bytes:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, len(text)
    return info.tobuf(tarfile.USTAR_FORMAT) + text + bytes(-len(text) % 512)


@pytest.mark.parametrize(
    "text",
    [
        b"5012 size=" + b"1" * 5000 + b"\n",
        b"1" * 5000 + b" size=1\n",
        b"11 size=-1\n",
        b"12 size=1.5\n",
        "11 size=²\n".encode(),
        b"34 size=" + b"9" * 25 + b"\n",
    ],
)
def test_numbers_of_pax_headers_that_are_none_are_damage(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(pax_header(text) + archive({"a.tif": b"a"}))
    with pytest.raises(SourceError, match=r"a size that is no number|does not parse") as error:
        read([tmp_path / "a.tar"])
    assert len(str(error.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("digits", [b"-0000000001\0", b"0_1_0\0", b"0o17\0", b"+1\0"])
def test_a_size_has_octal_digits_only(tmp_path: Path, digits: bytes) -> None:
    header = bytearray(archive({"a.tif": b"a"})[:512])
    header[124:136] = digits.ljust(12, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(SourceError, match="a size that is no number"):
        read([tmp_path / "a.tar"])


def zstd_frame(data: bytes, window_log: int) -> bytes:
    """One frame of one block that is not compressed, with a window as is asked for."""
    block = (len(data) << 3 | 1).to_bytes(3, "little")
    return b"\x28\xb5\x2f\xfd\0" + bytes([window_log - 10 << 3]) + block + data


def test_a_window_that_takes_much_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    data = archive({"a.tif": b"abc"})
    path.write_bytes(zstd_frame(data, 27))
    assert read([path]) == {"a.tif": b"abc"}
    both_ways = (
        r"needs 2.1 GB of memory to be decompressed \(its zstd window\), and 134.2 MB are allowed: "
        r"give --zstd-window 2GiB, or decompress it with `zstd -d --long=31` first, and give the "
        r"\.tar$"
    )
    # In the first frame; in a later one; behind data that is no frame.
    for start in (b"", zstd_frame(data, 20), b"\x50\x2a\x4d\x18\4\0\0\0abcd"):
        path.write_bytes(start + zstd_frame(data, 31))
        with pytest.raises(SourceError, match=both_ways):
            read([path])
        assert read([path], window=2 << 30) == {"a.tif": b"abc"}
    path.write_bytes(zstd_frame(data, 28))
    with pytest.raises(SourceError, match="give --zstd-window 256MiB, or"):
        read([path])
    assert read([path], window=256 << 20) == {"a.tif": b"abc"}
    assert not threads()


def test_a_window_that_zstd_itself_cannot_have_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    path.write_bytes(zstd_frame(archive({"a.tif": b"abc"}), 32))
    with pytest.raises(SourceError, match=r"needs 4.3 GB of memory.*more than zstd itself can"):
        read([path], window=2 << 30)


def test_what_comes_before_a_large_window_is_given(tmp_path: Path) -> None:
    data = archive({"a.tif": b"abc", "b.tif": b"d"})
    path = tmp_path / "a.tar.zst"
    path.write_bytes(zstd_frame(data[:1024], 20) + zstd_frame(data[1024:], 31))
    with closing(TarStream([path])) as stream:
        files = iter(stream)
        assert next(files).path == "a.tif"
        with pytest.raises(SourceError, match="zstd-window"):
            next(files)


@pytest.mark.parametrize("tar_format", FORMATS)
def test_a_path_that_no_system_has_is_damage(tmp_path: Path, tar_format: str) -> None:
    (tmp_path / "a.tar").write_bytes(archive({"n" * 60_000: b"a"}, FORMATS[tar_format]))
    with pytest.raises(SourceError, match="a path of 60,000 characters"):
        read([tmp_path / "a.tar"])
