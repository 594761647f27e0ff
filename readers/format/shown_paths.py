"""What messages call a file: of a store at a URL, whose small files lie in a cache folder, the URL.

A user who opened a URL knows nothing of that folder.
"""

import os
from pathlib import Path

_called: dict[str, str] = {}


def call(folder: Path, name: str) -> None:
    """Let messages call a folder `name`, and the files in it `name` and their own names."""
    _called[str(folder)] = name


def shown(path: Path) -> str:
    """A path as messages show it."""
    text = str(path)
    name = _called.get(text)
    if name is not None:
        return name
    folder, file = os.path.split(text)
    name = _called.get(folder)
    return text if name is None else f"{name}/{file}"
