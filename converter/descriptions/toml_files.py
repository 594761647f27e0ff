"""TOML files: those that come with the package, those of a user, and their text as a `Section`."""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from patchpress.converter.descriptions.strict import Section
from patchpress.readers.errors import DescriptionError
from patchpress.readers.hints import hint

Aliases = Callable[[], Mapping[str, str]]

_LARGEST = 16 << 20  # bytes of a TOML file


def built_in_files(folder: str) -> dict[str, Path]:
    """The TOML files in a folder next to this module: name -> path, sorted by name.

    The name is that of the file without ``.toml``, with ``-`` for each ``_``.
    """
    paths = Path(__file__).with_name(folder).glob("*.toml")
    return dict(sorted((path.stem.replace("_", "-"), path) for path in paths))


def find_file(name: str, folder: str, kind: str, aliases: Aliases = dict) -> Path:
    """The file of a built-in name, or the path itself if `name` ends in ``.toml``.

    Case does not matter, nor does what stands between the words of a name.

    Args:
        name: what the user asked for.
        folder: where the built-in files are, as in `built_in_files`.
        kind: what the file is, for the error.
        aliases: gives other name -> built-in name, if that must be known.

    Raises:
        DescriptionError: neither; the message has the nearest names, or all there are.
    """
    known = built_in_files(folder)
    if name in known:
        return known[name]
    if name.endswith(".toml") and "\0" not in name:  # no path has a zero byte
        return Path(os.path.expanduser(name))
    spelt = {_plain(one): one for one in known}
    spelt |= {_plain(alias): one for alias, one in aliases().items()}
    if _plain(name) in spelt:
        return known[spelt[_plain(name)]]
    near = hint(_plain(name), spelt, most=2, shown_as=spelt)
    raise DescriptionError(
        f"there is no {kind} {name!r}: {near}; choose one, or give the path of a .toml file"
    )


def _plain(name: str) -> str:
    """A name without case, and without what stands between its words."""
    return re.sub(r"[\W_]+", "", name).lower()


def read_toml(path: Path, kind: str) -> Section:
    """The content of a TOML file.

    Raises:
        DescriptionError: no such file, no UTF-8 text, or no TOML (the message has the line).
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise DescriptionError(f"{path} cannot be read as a {kind}: it has more than 16 MB")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DescriptionError(f"{path} cannot be read as a {kind}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DescriptionError(f"{path} cannot be read as a {kind}: it is no UTF-8 text") from None
    return parse_toml(text, path.name)


def parse_toml(text: str, file: str) -> Section:
    """The content of TOML text; `file` names it in errors.

    Raises:
        DescriptionError: no TOML; the message has the line.
    """
    try:
        return Section(tomllib.loads(text), "", file)
    except tomllib.TOMLDecodeError as error:
        raise DescriptionError(f"{file}: {error}") from None
    except RecursionError:
        raise DescriptionError(f"{file}: its lists or tables lie too deep in one another") from None
