"""Tables and lists that are not where a description expects them, but nearly."""

import re
from collections.abc import Collection
from pathlib import Path

from patchpress.converter.sources.folders import entries
from patchpress.readers.errors import SourceError

_COPY = re.compile(r"( ?\(\d+\)| copy| - copy)$")  # what browsers and desktops add to a second copy


def refuse_folder(name: str, path: Path) -> None:
    """Refuse a folder in the place of a file: no table or list is read from it.

    Raises:
        SourceError: it is one.
    """
    if path.is_dir():
        raise SourceError(
            f"{name}: {path} is a folder, not a file; if it is a table in parts, as Spark and Dask "
            "write it, make one Parquet file of them"
        )


def near_file(source: Path, name: str, file: str, expected: Collection[str]) -> str:
    """A sentence about a file whose name is nearly that of a missing one; empty if there is none.

    Args:
        source: the folder in which it is expected.
        name: of the part, as in `--path`.
        file: the name that it should have.
        expected: names that files of other parts have: none of these is meant.
    """
    folder = (source / file).parent
    wanted = _bare(Path(file).name)
    packed = source / f"{file.partition('/')[0]}.zip"
    if "/" in file and not (source / file.partition("/")[0]).exists() and packed.is_file():
        return f"no {file}, and none is in {packed.name}: unpack that one, if it lies there"
    if not folder.is_dir():
        return ""
    near = [
        entry
        for entry in entries(folder)
        if _bare(entry) == wanted and entry not in expected and (folder / entry).is_file()
    ]
    if not near:
        return ""
    return f"no {file}, but there is {near[0]}: give it with --path {name}={folder / near[0]}"


def _bare(name: str) -> str:
    """A file's name in lower case, without its endings and what is added to a copy."""
    return _COPY.sub("", name.partition(".")[0].casefold())
