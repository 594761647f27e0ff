"""Entries of a zip's directory looked at all at once give what looking at each of them gives."""

import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchpress.converter.sources import zip_entries
from patchpress.converter.sources.zip_entries import MAGIC, entry_starts, folders_in_order

HEAD = 46  # bytes of an entry before its name
PATHS = st.lists(st.text("ab./\x01\x7f-", min_size=1, max_size=20), min_size=1, max_size=30)


def directory(names: list[bytes], more: list[tuple[bytes, bytes]]) -> tuple[bytes, list[int]]:
    """The directory of files with these names, extra fields and comments; where entries begin."""
    raw, begins = b"", []
    for name, (extra, comment) in zip(names, more, strict=True):
        begins.append(len(raw))
        raw += MAGIC + bytes(24) + struct.pack("<3H", len(name), len(extra), len(comment))
        raw += bytes(HEAD - 34) + name + extra + comment
    return raw, begins


def in_order(names: list[bytes]) -> list[int] | None:
    """Where folders begin, name by name; None if files are out of order or folders in parts."""
    folders = [name[: name.rfind(b"/") + 1] for name in names]
    begins = [n for n, folder in enumerate(folders) if not n or folders[n - 1] != folder]
    if any(a >= b for a, b in pairwise(names)):
        return None
    return None if len({folders[n] for n in begins}) < len(begins) else begins


def found(names: list[bytes]) -> list[int] | None:
    """What the module finds of files with these names."""
    raw, begins = directory(names, [(b"/zz/", b"/")] * len(names))
    return folders_in_order(raw, np.array(begins), np.array([*map(len, names)], np.uint16))


@settings(max_examples=600, deadline=None)
@given(paths=PATHS, is_sorted=st.booleans(), at_once=st.sampled_from([1, 2, 3, 7, 1 << 13]))
def test_folders_are_those_of_looking_at_each_name(
    paths: list[str], is_sorted: bool, at_once: int
) -> None:
    names = [path.encode() for path in paths]
    if is_sorted:
        names = sorted(set(names))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zip_entries, "_AT_ONCE", at_once)
        assert found(names) == in_order(names)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 1000])
def test_names_that_differ_in_any_byte_are_compared(length: int) -> None:
    base = b"m" * length
    for at in range(length):
        for other in (b"a", b"z", b"/"):
            names = [base, base[:at] + other + base[at + 1 :]]
            assert found(names) == in_order(names), (at, other)
    assert found([base, base + b"\x01"]) == [0]
    assert found([base, base]) is None


@pytest.mark.parametrize(
    "names", [["a", "ä"], ["a", "b" * 1024], ["", "a"], ["\0", "a", "a\0"]], ids=ascii
)
def test_names_that_need_a_closer_look_are_left_to_it(names: list[str]) -> None:
    assert found([name.encode() for name in names]) is None


@settings(max_examples=300, deadline=None)
@given(
    names=st.lists(st.binary(max_size=9), min_size=1, max_size=9),
    extra=st.sampled_from([b"", b"PK\1", bytes(300)]),
    cut=st.integers(0, 3),
)
def test_entries_begin_where_the_lengths_say(names: list[bytes], extra: bytes, cut: int) -> None:
    more = [(extra * (n % 2), extra[::-1] * (n % 3)) for n in range(len(names))]
    raw, begins = directory(names, more)
    starts = entry_starts(raw, len(names))
    assert starts is not None
    assert starts.tolist() == begins
    assert entry_starts(raw + b"PK\5\5..", len(names)) is not None
    if cut:
        assert entry_starts(raw[:-cut], len(names)) is None
        assert entry_starts(raw[cut:], len(names)) is None
    assert entry_starts(raw, len(names) + 1) is None
    assert entry_starts(raw, len(names) - 1) is None


def test_entries_with_the_signature_elsewhere_are_left_to_a_closer_look() -> None:
    inside, _ = directory([b"x"], [(b"", b"")])
    raw, _ = directory([b"a", b"b"], [(b"", inside), (b"", b"")])
    assert entry_starts(raw, 2) is None
    assert entry_starts(raw, 3) is None  # the lengths do not lead to the one inside
    assert entry_starts(b"", 0) is None
