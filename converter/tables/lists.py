"""The files of splits: published lists of names, and tables whose split column is written anew."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.readers.errors import SourceMissing, TableError

if TYPE_CHECKING:
    pass


def read_list(path: Path) -> list[str]:
    """The names of a list: one a line, or the first of two columns; no header.

    Lines may end in CRLF; blank ones do not count. A name stays as it is, with any ``.tif``.

    Raises:
        SourceMissing: no such file.
        TableError: no text, more than two columns, a name twice, or no name at all.
    """
    return _distinct(path, [fields[0] for fields in _lines(path)])


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """The pairs of a list of two columns with a comma between them; else as `read_list`.

    Raises:
        SourceMissing: no such file.
        TableError: as `read_list`, and a line without a second column.
    """
    lines = _lines(path)
    for fields in lines:
        if len(fields) != 2:
            raise TableError(f"{path} has no second column beside {fields[0]!r}")
    first, second = (_distinct(path, [fields[side] for fields in lines]) for side in (0, 1))
    return list(zip(first, second, strict=True))


def _lines(path: Path) -> list[list[str]]:
    try:
        # Some editors put a byte order mark before the first name.
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SourceMissing(f"there is no list {path}") from None
    except UnicodeDecodeError:
        raise TableError(f"{path} is no text: a list has one name a line") from None
    except OSError as error:
        raise TableError(f"{path} cannot be read as a list: {error.strerror}") from None
    if "\0" in text:
        raise TableError(f"{path} is no text: a list has one name a line")
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        fields = [name.strip() for name in line.split(",")]
        if fields == [""]:
            continue
        if len(fields) > 2 or not all(fields):
            raise TableError(f"{path}, line {number} has not one name or two: {line.strip()!r}")
        lines.append(fields)
    if not lines:
        raise TableError(f"{path} has no names in it")
    return lines


def _distinct(path: Path, names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise TableError(f"{path} lists {twice} twice: remove one of the lines")
    return names
