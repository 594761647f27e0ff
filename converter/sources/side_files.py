"""Names of files that may have the georeference of the image that they lie beside."""

import os
from collections.abc import Collection, Iterable
from functools import cache

AUXILIARY = ".aux.xml"
"""Its georeference counts for GDAL more than that of the image itself."""
_WORLD = (".tfw", ".tifw", ".wld", ".tab")
WORLD = (*_WORLD, *(ending.upper() for ending in _WORLD))
"""Endings, instead of that of the TIFF, of files that count if the TIFF has no georeference."""
_TIFFS = (".tif", ".tiff")
_ENDINGS = (AUXILIARY, "w", "W", ".wld", ".WLD", ".tab", ".TAB")  # of all such files


def files_beside(name: str) -> list[str]:
    """The names of all files that may have the georeference of an image."""
    stem, ending = os.path.splitext(name)
    return [name + AUXILIARY, *(stem + other for other in _world(ending))]


@cache
def _world(ending: str) -> tuple[str, ...]:
    """The endings of files that count if an image with this ending has no georeference itself."""
    own = ending.lower()
    if own in _TIFFS or len(own) < 3:
        return WORLD
    found = (f".{own[1]}{own[-1]}w", f"{own}w", ".wld", ".tab")
    return (*found, *(other.upper() for other in found))


def with_files_beside(names: Collection[str], there: Collection[str]) -> frozenset[str]:
    """Which of some images have such a file among those that are `there`."""
    return frozenset(
        name for name in names if any(beside in there for beside in files_beside(name))
    )


def some_beside(names: Iterable[str]) -> frozenset[str]:
    """Those of the names that such a file of some image may have."""
    return frozenset(name for name in names if name.endswith(_ENDINGS))
