"""Tables of several files: which files of a source a pattern means."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

_FIELD = re.compile(r"\{\w+\}")


def is_pattern(file: str) -> bool:
    """Whether the path of a table stands for several files."""
    return "*" in file or _FIELD.search(file) is not None


def files_of_pattern(source: Path, file: str) -> dict[str, Path]:
    """Path under the source -> file, for the files of a pattern, sorted; no hidden ones.

    A field in braces, as ``*``, stands for any part of a name; a field that stands there twice is
    the same in both places.
    """
    form = re.compile(path_form(file))
    found = {}
    for path in source.glob(_FIELD.sub("*", re.sub(r"([\[\]?])", r"[\1]", file))):
        inner = path.relative_to(source).as_posix()
        hidden = any(part.startswith(".") for part in inner.split("/"))
        if not hidden and form.fullmatch(inner) and path.is_file():
            found[inner] = path
    return dict(sorted(found.items()))


def path_form(file: str) -> str:
    """The regular expression of the paths of a pattern; its fields are named groups."""
    text, seen = "", set[str]()
    for piece in re.split(r"(\{\w+\}|\*)", file):
        name = piece[1:-1]
        if piece == "*":
            text += "[^/]*"
        elif not _FIELD.fullmatch(piece):
            text += re.escape(piece)
        elif name in seen:
            text += f"(?P={name})"
        else:
            text += f"(?P<{name}>[^/]+)"
            seen.add(name)
    return text


def files_named(files: Mapping[str, Path], names: Iterable[str]) -> dict[str, Path]:
    """Those files that have these names, in the order of the names; all of a table of several."""
    return {
        part: path
        for name in names
        for part, path in files.items()
        if part == name or part.startswith(f"{name}/")
    }
