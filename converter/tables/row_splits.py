"""Splits whose lists have the numbers of rows of a table instead of names.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchpress.converter.tables.arrow import one_array
from patchpress.converter.tables.lists import read_list, text_of_list
from patchpress.converter.tables.name_index import NameIndex
from patchpress.converter.tables.naming import respelling_of
from patchpress.converter.tables.packed_names import PackedNames
from patchpress.converter.tables.row_numbers import NamesOfRows, as_numbers
from patchpress.converter.tables.splits import ListedSplits
from patchpress.readers.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa

_BLANK = re.compile(r"\s")
_TEXT_AT_ONCE = 1 << 20  # characters of a list whose numbers are Python strings at once


def read_row_numbers(path: Path, split: str = "") -> npt.NDArray[np.int64]:
    """The numbers in a list, one a line; a header does not count.

    Raises:
        SourceMissing: no such file.
        TableError: no text, no numbers, or a number twice.
    """
    import pyarrow as pa

    try:
        parts = [np.array(words, np.bytes_).astype(np.int64) for words in _words(path)]
        numbers = np.concatenate([np.empty(0, np.int64), *parts])
    except (ValueError, OverflowError, UnicodeEncodeError):
        names = pa.array(read_list(path, split=split), pa.string())
        numbers = as_numbers(path, "its lines", names).to_numpy()
    if not len(numbers):
        raise TableError(f"{path} has no numbers of rows in it")
    values, counts = np.unique(numbers, return_counts=True)
    if len(values) < len(numbers):
        twice = values[counts > 1][0]
        raise TableError(f"{path} lists the row {twice} twice: remove one of the lines")
    return numbers


def _words(path: Path) -> Iterator[list[str]]:
    """The words of a text without a header, some thousands at a time."""
    text = text_of_list(path)
    begin, is_first = 0, True
    while begin < len(text):
        blank = _BLANK.search(text, begin + _TEXT_AT_ONCE)
        end = blank.start() if blank else len(text)
        words = text[begin:end].split()
        if words and is_first:
            words, is_first = words[not any(map(str.isdigit, words[0])) :], False
        if words:
            yield words
        begin = end


def split_by_rows(
    names: "pa.Array", rows: NamesOfRows, lists: Mapping[str, Path]
) -> tuple[ListedSplits | None, list[str]]:
    """The split of each name: the one whose list has the number of its row.

    Args:
        names: of the patches, strings.
        rows: the rows that are counted.
        lists: split -> file with numbers of rows.

    Returns:
        The splits, None if the lists tell none; and a sentence for each thing that is not read as
        it stands.

    Raises:
        SourceMissing, TableError: a list or the table cannot be read; a number that no row has, or
            one in two lists.
    """
    import pyarrow as pa

    order = list(lists)
    numbers = {split: read_row_numbers(path, split) for split, path in lists.items()}
    if notes := same_lists({split: found.tobytes() for split, found in numbers.items()}, lists):
        return None, notes
    index = NameIndex(names)
    spelled = respelling_of(rows.read, index)
    code = _codes(rows, numbers, lists)
    del numbers
    own = np.full(len(names), -1, np.int8)
    absent = {split: PackedNames() for split in order}
    begin = 0
    for group in rows.read():
        given = one_array(spelled.apply(group))
        place = index.index(given)
        there, codes = np.asarray(place.is_valid()), code[begin : begin + len(given)]
        own[place.drop_null().to_numpy()] = codes[there]
        for at, split in enumerate(order):
            absent[split].add(given.filter(pa.array(~there & (codes == at))))
        begin += len(given)
    splits = pa.array(order, pa.string()).take(pa.array(own, mask=own < 0))
    notes = spelled.note(f"the table whose rows {', '.join(p.name for p in lists.values())} count")
    return ListedSplits(splits, {split: there for split, there in absent.items() if there}), notes


def _codes(
    rows: NamesOfRows,
    numbers: Mapping[str, npt.NDArray[np.int64]],
    lists: Mapping[str, Path],
) -> npt.NDArray[np.int8]:
    """For each row the number of its split, -1 if no list has it.

    Raises:
        TableError: a number that no row has, or one in two lists.
    """
    import pyarrow as pa

    code = np.full(rows.count, -1, np.int8)
    for at, (split, found) in enumerate(numbers.items()):
        rows.check(lists[split], pa.array(found))
        places = found - rows.first
        taken = places[code[places] >= 0]
        if len(taken):
            name, other = rows.names[int(taken[0])].as_py(), list(lists)[code[taken[0]]]
            raise TableError(
                f"row {taken[0] + rows.first} ({name}) is in {other} and in {split}: a patch has "
                "one split"
            )
        code[places] = at
    return code


def same_lists(contents: Mapping[str, object], lists: Mapping[str, Path]) -> list[str]:
    """The sentence about lists of which each is the same as the others; none if they differ.

    Such lists stand for what is not given, and say of no patch which split it has.
    """
    if len(contents) < 2 or any(c != next(iter(contents.values())) for c in contents.values()):
        return []
    files = ", ".join(path.name for path in lists.values())
    return [f"{files} are the same list: they tell no splits, and the store has none"]
