"""Where the entries of a zip's directory begin, and whether their names are in order: all at once.

Both are known entry by entry, too (`zip_directory`), which takes microseconds for each. These look
at thousands of entries by one call of NumPy. They answer for directories as programs write them,
and say so if one is another: then it is looked at entry by entry.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.sources.zip_end import LEAST_ENTRY

MAGIC = b"PK\x01\x02"
_LENGTHS_AT = 28  # of name, extra fields and comment, two bytes each
_AT_ONCE = 1 << 13  # names that are compared together: less than 1 MB as a rule
_WORD = 8  # bytes that are compared at once
_MOST_WIDE = 1 << 7  # words of a name
_ALL = np.uint64((1 << 64) - 1)
_NO_ASCII = np.uint64(0x8080808080808080)
Array = npt.NDArray[Any]


def entry_starts(raw: bytes, entries: int) -> Array | None:
    """Where the entries of a directory begin.

    Args:
        raw: the directory.
        entries: how many it has.

    Returns:
        The first byte of each entry, int64 of shape (entries,). None if they do not follow one
        another, each where the lengths of the one before it say, or if `MAGIC` stands elsewhere,
        too.
    """
    data = np.frombuffer(raw, np.uint8)
    last = len(data) - LEAST_ENTRY
    if last < 0 or not entries:
        return None
    starts = np.flatnonzero(data[: last + 1] == MAGIC[0])
    for at in range(1, len(MAGIC)):
        starts = starts[data[starts + at] == MAGIC[at]]
    if len(starts) != entries or starts[0]:
        return None
    ends = starts + LEAST_ENTRY
    for at in range(_LENGTHS_AT, _LENGTHS_AT + 6, 2):
        ends += data[starts + at]
        ends += data[starts + at + 1].astype(np.int64) << 8
    if (ends[:-1] != starts[1:]).any() or ends[-1] > len(data):
        return None
    return starts


def folders_in_order(raw: bytes, begins: Array, lengths: Array) -> list[int] | None:
    """Where each folder begins if the files are in order as they are.

    Args:
        raw: the directory.
        begins: the first byte of the entry of each file, int64, ascending.
        lengths: the bytes of the name of each, of an unsigned type.

    Returns:
        The number of the first file of each folder. None if the names do not ascend, if files of a
        folder lie apart, or if a name is not ASCII or very long.
    """
    folders: list[int] = []
    seen = set[bytes]()
    for first in range(0, len(begins), _AT_ONCE):
        before = max(0, first - 1)  # the file before is compared with the first
        some = slice(before, first + _AT_ONCE)
        starts = begins[some] + LEAST_ENTRY
        found = _of_some(raw, starts, lengths[some].astype(np.int64))
        if found is None:
            return None
        changes, sizes = found
        for at in changes if first else [0, *changes]:
            folder = raw[int(starts[at]) : int(starts[at] + sizes[at])]
            if folder in seen:
                return None
            seen.add(folder)
            folders.append(before + at)
    return folders


def _of_some(raw: bytes, starts: Array, lengths: Array) -> tuple[list[int], Array] | None:
    """Those of some files whose folder is another than that of the one before, but for the first.

    And the bytes of each one's folder, with the slash. None as in `folders_in_order`.
    """
    words = _words(raw, starts, lengths)
    if words is None:
        return None
    differ = words[1:] != words[:-1]
    at = differ.argmax(1), np.arange(len(differ))
    one, other = words[:-1][at[::-1]], words[1:][at[::-1]]
    if (one >= other).any():  # of two names that are alike as well
        return None
    # The bytes that two names share: the exponent tells the first bit in which they differ.
    # All bytes are below 128, so that rounding to a float never reaches the next byte.
    alike = _WORD * at[0] + (64 - np.frexp((one ^ other).astype(np.float64))[1]) // 8
    first, end = int(starts[0]), int(starts[-1] + lengths[-1])
    slashes = np.flatnonzero(np.frombuffer(raw, np.uint8, end - first, first) == ord("/"))
    slashes = np.concatenate([[-1], slashes]) + first
    last = slashes[np.searchsorted(slashes, starts + lengths) - 1]
    sizes = np.maximum(last + 1 - starts, 0)
    is_same = (sizes[1:] == sizes[:-1]) & (alike >= sizes[1:])
    return (np.flatnonzero(~is_same) + 1).tolist(), sizes


def _words(raw: bytes, starts: Array, lengths: Array) -> Array | None:
    """The names as numbers of eight bytes each, of which the first counts most: uint64 (names, n).

    Zeros follow a name. None if one is empty, very long or not ASCII.
    """
    width = int(lengths.max()) // _WORD + 1
    if not lengths.all() or width > _MOST_WIDE:
        return None
    first, end, nbytes = int(starts[0]), int(starts[-1] + lengths[-1]), width * _WORD
    part = raw[first:end] + bytes(nbytes)
    whole = np.ndarray((end - first + 1,), f"V{nbytes}", part, strides=(1,))
    words: Array = whole[starts - first].view(np.uint64).reshape(-1, width).byteswap()
    full, rest = lengths // _WORD, lengths % _WORD
    words *= np.arange(width) <= full[:, None]
    words[np.arange(len(words)), full] &= ~(_ALL >> (8 * rest).astype(np.uint64))
    return None if (words & _NO_ASCII).any() else words
