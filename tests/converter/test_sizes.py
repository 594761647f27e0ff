"""Sizes of options: what is understood, and the sentence about what is not."""

import pytest

from patchpress.converter.options import ConvertOptions, window_bytes
from patchpress.converter.sizes import binary_size, size_option
from patchpress.readers.errors import OptionError


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("10GB", 10**10),
        ("10 gb", 10**10),
        ("2GiB", 2 << 30),
        ("2G", 2 << 30),
        ("1.5kB", 1500),
        ("512", 512),
        (512, 512),
        ("1 TiB", 1 << 40),
    ],
)
def test_sizes_as_people_write_them(text: int | str, nbytes: int) -> None:
    assert size_option("x", text) == nbytes


@pytest.mark.parametrize("text", ["", "GB", "-1", "2 potatoes", "1e9", "٣GB", True, None, 0, 1.5])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(OptionError, match="shard-size must be a size such as 2GiB, 1 or more, not"):
        size_option("shard-size", text)  # type: ignore[arg-type]


@pytest.mark.parametrize("nbytes", [1, 1000, 1024, 144 << 20, 2 << 30, 3 << 40])
def test_a_binary_size_is_read_back(nbytes: int) -> None:
    assert size_option("x", binary_size(nbytes)) == nbytes


@pytest.mark.parametrize("window", ["4GiB", 12, "lots"])
def test_a_window_is_one_that_zstd_knows(window: int | str) -> None:
    sentence = f"zstd-window must be a size such as 2GiB, 1KiB to 2GiB, not {window!r}"
    with pytest.raises(OptionError, match=sentence):
        ConvertOptions(zstd_window=window)
    assert window_bytes("2GiB") == 2 << 30
