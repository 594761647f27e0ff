"""What a split may be called: one rule for every place in which a split is named.

That is a description, a table, a list, a JSON file or a folder of a source, `--path`, `--split`,
and `split` and `where` of a reader.
"""

from collections.abc import Iterable

STANDARD = ("train", "validation", "test")
"""The splits that most data sets have; a store calls them so, however its source does."""
_ALIASES = {
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "development": "validation",
    "training": "train",
    "testing": "test",
}


def standard_name(name: str) -> str:
    """What all spellings of one split have in common: ``validation`` for ``Val``, for example."""
    folded = name.strip().casefold()
    return _ALIASES.get(folded, folded)


def known_split(name: str, known: Iterable[str]) -> str | None:
    """The one of some splits that a name means: itself, else another spelling of it; or None."""
    names = list(known)
    if name in names:
        return name
    wanted = standard_name(name)
    return next((one for one in names if standard_name(one) == wanted), None)
