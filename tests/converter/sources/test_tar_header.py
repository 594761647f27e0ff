"""Header blocks of tar archives: the quick checksum is that of every byte."""

import io
import tarfile

import numpy as np
import pytest

from patchpress.converter.sources.contents import is_tar_header
from patchpress.converter.sources.tar_header import HeaderDamaged, is_header, parse_header

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)


def blocks(names: list[str], form: int) -> list[bytes]:
    """All blocks of an archive with files of these names."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = number * 300, 1_600_000_000 + number
            tar.addfile(info, io.BytesIO(bytes(range(256)) * 2 * (number + 1)))
    data = packed.getvalue()
    return [data[at : at + 512] for at in range(0, len(data), 512)]


@pytest.mark.parametrize("form", FORMATS)
def test_a_header_is_told_as_by_adding_every_byte(form: int) -> None:
    names = ["a", "f/" * 20 + "b", "f/" * 80 + "long", "ü/ö", "\x7f" * 90]
    found = blocks(names, form)
    assert sum(map(is_header, found)) >= len(names)
    draw = np.random.default_rng(form)
    for block in found:
        assert is_header(block) == is_tar_header(block)
        for _ in range(200):
            changed = bytearray(block)
            changed[draw.integers(512)] = draw.choice((0, 1, 32, 48, 55, 127, 128, 255))
            assert is_header(bytes(changed)) == is_tar_header(bytes(changed))


@pytest.mark.parametrize("byte", [1, 127, 128, 255])
def test_the_largest_sums_are_told_as_well(byte: int) -> None:
    """Of Adler-32 only the remainder is known, which is the sum itself for ASCII."""
    for off in (-65_521, -1, 0, 1, 65_521):
        said = byte * (512 - 8) + 8 * 32 + off
        if said < 0:
            continue
        block = bytes([byte]) * 148 + b"%07o\0" % said + bytes([byte]) * 356
        assert len(block) == 512
        assert is_header(block) == is_tar_header(block) == (off == 0)


def test_what_is_no_number_is_no_checksum() -> None:
    for text in (b"\0" * 8, b"        ", b"12 34\0\0\0", b"zzzzzzz\0"):
        block = b"n" + bytes(147) + text + bytes(356)
        assert is_header(block) == is_tar_header(block) is False


def test_a_header_tells_kind_size_and_name() -> None:
    block = blocks(["a", "folder/b"], tarfile.GNU_FORMAT)[1]
    assert parse_header(block) == (b"0", 300, "folder/b")


@pytest.mark.parametrize(
    ("digits", "size"),
    [
        (b"00000000017\0", 15),
        (b"      17 \0\0\0", 15),
        (b"\x00000000017 \0", 15),  # of a writer whose field before this one was too long
        (b" \x00 000017 \0\0", 15),
        (bytes(12), 0),
        (b" " * 12, 0),
        (b"\x80" + bytes(10) + b"\x0f", 15),
    ],
)
def test_a_size_is_read_as_writers_leave_it(digits: bytes, size: int) -> None:
    block = b"n" + bytes(123) + digits.ljust(12, b"\0") + bytes(376)
    assert parse_header(block).size == size


@pytest.mark.parametrize("digits", [b"\0" * 2 + b"0000000017", b"1 7" + bytes(9), b"8" * 12, b"-1"])
def test_a_size_that_could_be_two_numbers_is_none(digits: bytes) -> None:
    block = b"n" + bytes(123) + digits.ljust(12, b"\0") + bytes(376)
    with pytest.raises(HeaderDamaged, match="a size that is no number"):
        parse_header(block)
