"""Published lists of names: the patches of a split, or those of a flag."""

import codecs
import csv
import json
import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.tables.arrow import is_in
from patchpress.converter.tables.delimiter import delimiter_in
from patchpress.converter.tables.naming import respelling
from patchpress.converter.text import size
from patchpress.readers.errors import SourceMissing, TableError
from patchpress.readers.format.split_names import known_split

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)

_LARGEST = 256 << 20  # bytes of a list

HEADERS = frozenset(
    (
        *("file", "filename", "files", "id", "image", "image_id", "images", "key", "name", "names"),
        *("patch", "patch_id", "patch_name", "patches", "path", "sample", "scene", "split", "tile"),
    )
)
"""What the first line of a list says if it is no name, in lower case."""


def read_list(
    path: Path, identity: str = "", known: "pa.Array | None" = None, split: str = ""
) -> list[str]:
    """The names of a list: one a line, or those of one of several columns.

    Columns are parted by commas, semicolons or tabs, and may be in quotes. Lines may end in CRLF,
    and empty lines do not count, nor does a header. Of several columns it is the one that the
    header calls as `identity`, else the one with most of the known names, else the first of two.
    Names stay as they are, also with ``.tif``.

    Args:
        path: of the list, UTF-8 or UTF-16.
        identity: what a header may call the column, beside `HEADERS`.
        known: names of the source, strings.
        split: whose list it is, if one JSON file has those of several by their names.

    Raises:
        SourceMissing: no such file.
        TableError: no text, several columns of which none is known, a name twice, or no name.
    """
    text = text_of_list(path)
    if path.suffix.lower() == ".json":
        return _names_in_json(path, text, split)
    lines = _lines(path, text)
    header = _header(lines[0], identity)
    if header:
        _log.info("%s: its first line is a header: %s", path, ", ".join(header))
        lines = lines[1:]
    if not lines:
        raise TableError(f"{path} has no names in it")
    column = _column(path, lines, header, identity, known)
    short = next((number for number, fields in enumerate(lines) if len(fields) <= column), None)
    if short is not None:
        raise TableError(f"{path} has no column {column + 1} beside {lines[short][0]!r}")
    names = [fields[column] for fields in lines]
    _check_distinct(path, names)
    _log.info("read the list %s: %d names", path, len(names))
    return names


def _header(fields: list[str], identity: str) -> list[str]:
    """The names of the columns, if a line has names of columns and no name of a patch."""
    words = {identity.casefold(), *HEADERS} - {""}
    return fields if any(field.casefold() in words for field in fields) else []


def _column(
    path: Path,
    lines: list[list[str]],
    header: list[str],
    identity: str,
    known: "pa.Array | None",
) -> int:
    """Which column has the names of patches."""
    width = max(map(len, lines))
    if width == 1:
        return 0
    called = [name.casefold() for name in header]
    if identity and identity.casefold() in called:
        return called.index(identity.casefold())
    matches = [_matches([f[at] for f in lines if at < len(f)], known) for at in range(width)]
    if not any(matches) and width > 2:
        number, fields = next((n, f) for n, f in enumerate(lines, 1) if len(f) > 2)
        raise TableError(
            f"{path}, line {number} has not one name or two: {','.join(fields)!r}; "
            "no column has names of the source"
        )
    return matches.index(max(matches))


def _matches(names: list[str], known: "pa.Array | None") -> int:
    """How many of some names the source has, in whatever spelling."""
    if known is None or not len(known):
        return 0
    import pyarrow as pa
    import pyarrow.compute as pc

    given = pa.array(names, pa.string())
    exact = pc.sum(is_in(given, known)).as_py() or 0
    return int(exact) + len(respelling(given, known).given)


def _names_in_json(path: Path, text: str, split: str) -> list[str]:
    """The names of a JSON list, or of the list that an object has under the name of a split."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TableError(f"{path} is no JSON ({error})") from None
    if isinstance(found, dict):
        called = next((name for name in found if known_split(name, [split])), None)
        if called is None:
            raise TableError(
                f"{path} has no list {split!r}: it has {', '.join(map(repr, found)) or 'nothing'}"
            )
        found = found[called]
    if not isinstance(found, list) or not found:
        raise TableError(f"{path} has no names in it: a list of them is expected")
    wrong = next((name for name in found if type(name) not in (str, int)), None)
    if wrong is not None:
        raise TableError(f"{path} has {wrong!r} in the place of a name")
    names = [str(name).strip() for name in found]
    _check_distinct(path, names)
    _log.info("read the list %s: %d names", path, len(names))
    return names


def _lines(path: Path, text: str) -> list[list[str]]:
    """The columns of each line that is not empty."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    delimiter = delimiter_in(text.lstrip().partition("\n")[0])
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        if '"' in line:
            rows = list(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
            fields = [field.strip() for field in (rows[0] if rows else [])]
        elif delimiter in line:
            fields = [field.strip() for field in line.split(delimiter)]
        else:
            fields = [line.strip()]
        while fields and not fields[-1]:
            fields.pop()
        if not fields:
            continue
        if not fields[0] and not any(fields[:2]):
            raise TableError(f"{path}, line {number} has no name: {line.strip()!r}")
        lines.append(fields)
    if not lines:
        raise TableError(f"{path} has no names in it")
    return lines


def text_of_list(path: Path) -> str:
    """The text of a list.

    Raises:
        SourceMissing: no such file.
        TableError: it is too large, or no text.
    """
    no_text = TableError(f"{path} is no text: a list has one name a line")
    try:
        if path.stat().st_size > _LARGEST:
            raise TableError(
                f"{path} has {size(path.stat().st_size)}, and {size(_LARGEST)} are allowed for a "
                "list: give a list of names, one a line"
            )
        data = path.read_bytes()
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            text = data.decode("utf-16")
        else:  # some editors put a byte order mark before the first name
            text = data.decode("utf-8-sig")
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
