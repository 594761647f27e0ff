"""Comparing files with the MD5s that their publishers gave."""

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path

from patchpress.converter.descriptions.description import Description
from patchpress.readers.errors import OptionError, SourceError
from patchpress.readers.hints import hint


def check_published_md5(
    description: Description,
    archives: Iterable[Path],
    files: Iterable[Path],
    zips: Collection[Path] = (),
) -> dict[str, str]:
    """Compare the MD5s of tables, lists and zips now, and give those that archives must have.

    Args:
        description: names the files that were published with an MD5.
        archives: the files of all archives.
        zips: those of them that no pass reads from beginning to end.
        files: tables and lists; one that was published without an MD5 is not compared.

    Returns:
        File name of an archive -> its MD5 as published, in hexadecimal.

    Raises:
        OptionError: there is no archive, or one whose published MD5 is not known.
        SourceError: a table has another MD5, or cannot be read.
    """
    published, archives = description.md5, list(archives)
    if not archives:
        raise OptionError("--check-md5 needs archives: unpacked folders have no published MD5")
    for path in archives:
        if not published:
            raise OptionError(
                f"the MD5 of {path.name} is not known: leave out --check-md5, as no file of "
                f"{description.dataset.name} has a known one"
            )
        if path.name not in published:
            raise OptionError(
                f"the MD5 of {path.name} is not known: leave out --check-md5, or give the file its "
                f"published name ({hint(path.name, published)})"
            )
    for path in (*files, *zips):
        if path.name in published:
            require_md5(path, _digest(path), published[path.name])
    return {path.name: published[path.name] for path in archives}


def require_md5(path: Path, found: str, published: str) -> None:
    """Refuse a file whose MD5 is not the published one.

    Raises:
        SourceError: `found` and `published` differ.
    """
    if found != published:
        raise SourceError(
            f"{path} has the MD5 {found}, but {published} was published: download it again"
        )


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror})") from None
