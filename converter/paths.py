"""Paths as users give them."""

import os
from pathlib import Path

from patchpress.readers.errors import OptionError
from patchpress.readers.remote.url import is_url, shown_url, url_in
from patchpress.readers.showing import plain

StrPath = str | os.PathLike[str]


def local_path(path: StrPath) -> Path:
    """A path of the file system; a ``~`` that it begins with is the user's home.

    Raises:
        OptionError: a URL, or text that is no path.
    """
    if "\0" in os.fsdecode(path):
        raise OptionError(f"{plain(os.fsdecode(path))} has a zero byte, which no path has")
    url = url_in(path)
    if url is not None:
        raise OptionError(
            f"{shown_url(url)} is a URL, and this works on a disk: name a folder or "
            "file of this machine (`patchpress copy FOLDER URL` sends a store)"
        )
    return Path(os.path.expanduser(path))


def shown_place(path: StrPath) -> str:
    """A path or URL of a store as results show it: without what is secret in a URL."""
    text = os.fspath(path)
    return shown_url(text) if is_url(path) else text


def place(text: str) -> str:
    """A path or URL from a command line, a path as `Path` writes it."""
    return text if is_url(text) else str(Path(text))
