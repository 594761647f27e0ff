"""Published lists of names: the patches of a split, or those of a flag."""

import logging
from collections import Counter
from pathlib import Path

from patchpress.readers.errors import SourceMissing, TableError

_log = logging.getLogger(__name__)


def read_list(path: Path) -> list[str]:
    """The names of a list: one a line, or the first of two columns with a comma; no header.

    Lines may end in CRLF, and empty lines do not count. Names stay as they are, also with ``.tif``.

    Raises:
        SourceMissing: no such file.
        TableError: no text, more than two columns, a name twice, or no name at all.
    """
    names = [fields[0] for fields in _lines(path)]
    _check_distinct(path, names)
    _log.info("read the list %s: %d names", path, len(names))
    return names


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """The pairs of a list of two columns with a comma between them.

    Raises:
        SourceMissing: no such file.
        TableError: as `read_list`, and a line without a second column.
    """
    pairs = []
    for fields in _lines(path):
        if len(fields) != 2:
            raise TableError(f"{path} has no second column beside {fields[0]!r}")
        pairs.append((fields[0], fields[1]))
    for side in (0, 1):
        _check_distinct(path, [pair[side] for pair in pairs])
    return pairs


def _lines(path: Path) -> list[list[str]]:
    """The columns of each line that is not empty."""
    lines = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        fields = [name.strip() for name in line.split(",")]
        if fields == [""]:
            continue
        if len(fields) > 2 or not all(fields):
            raise TableError(f"{path}, line {number} has not one name or two: {line.strip()!r}")
        lines.append(fields)
    if not lines:
        raise TableError(f"{path} has no names in it")
    return lines


def _text(path: Path) -> str:
    no_text = TableError(f"{path} is no text: a list has one name a line")
    try:
        # Some editors put a byte order mark before the first name.
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SourceMissing(f"there is no list {path}") from None
    except UnicodeDecodeError:
        raise no_text from None
    except OSError as error:
        raise TableError(f"{path} cannot be read as a list: {error.strerror}") from None
    if "\0" in text:
        raise no_text
    return text


def _check_distinct(path: Path, names: list[str]) -> None:
    """Refuse a name that is in the list twice."""
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise TableError(f"{path} lists {twice} twice: remove one of the lines")
