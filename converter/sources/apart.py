"""Whether what a command writes lies apart from the source that it reads, which stays as it is."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from patchpress.converter.sources.recognize import is_source
from patchpress.readers.errors import TargetError

ABOVE = 4  # folders above a file in which a source is looked for


def require_apart(store: Path, folders: Iterable[Path]) -> None:
    """Refuse a store inside a folder of the source, and one that would hold it.

    Folders are compared as the system knows them, whatever links and ``..`` lead to them.

    Raises:
        TargetError: it is not apart.
    """
    above_store = dict(_with_those_above(store))
    own = _identity(store)
    for folder in dict.fromkeys(folders):
        identity = _identity(folder)
        if identity is not None and identity in above_store.values():
            where = "is" if identity == own else "lies inside"
            raise TargetError(
                f"{store} {where} the source {folder}, which is only read: choose a place "
                "outside of it"
            )
        if own is not None and own in dict(_with_those_above(folder)).values():
            raise TargetError(
                f"the source {folder} lies inside {store}: choose another place for the store"
            )


def require_no_source(path: Path, above: int = ABOVE) -> None:
    """Refuse to write a file into the folder of a published data set.

    Its patches are looked for in the folder of the file, and in so many `above` it. Archives are
    not: they lie in any folder for downloads, which takes other files.

    Raises:
        TargetError: it would lie in one.
    """
    folders = list(Path(os.path.realpath(path)).parents)[: above + 1]
    for folder in folders:
        if len(folder.parts) > 1 and folder.is_dir():
            name = is_source(folder, archives_too=False)
            if name is not None:
                raise TargetError(
                    f"{path} would be written into {folder}, a source of {name}, which is only "
                    "read: choose a place outside of it"
                )


def _with_those_above(path: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    """A path and the folders above it that exist, with what the system knows them by."""
    real = Path(os.path.realpath(path))
    for one in (real, *real.parents):
        identity = _identity(one)
        if identity is not None:
            yield one, identity


def _identity(path: Path) -> tuple[int, int] | None:
    """What the system knows a folder by, whatever names lead to it; None if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
