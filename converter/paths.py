"""Paths as users give them."""

import os
from pathlib import Path

StrPath = str | os.PathLike[str]


def local_path(path: StrPath) -> Path:
    """A path of the file system; a ``~`` that it begins with is the user's home."""
    return Path(os.path.expanduser(path))
