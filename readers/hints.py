"""The end of a sentence about an unknown name: the names nearest to it, or all there are."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

NAMES_LISTED = 40
"""Names listed if none is near; of more the first of them, and how many there are."""


def hint(
    name: object,
    known: Iterable[str],
    *,
    most: int = 1,
    cutoff: float = 0.6,
    shown_as: Mapping[str, str] | None = None,
) -> str:
    """``nearest is 'a'``, ``nearest are 'a', 'b'``, or ``there are a, b, c``.

    Args:
        name: what was asked for; a value that is no text is near to none.
        known: the names there are.
        most: how many near ones are named.
        cutoff: how alike a name must be, 0 to 1 (see `difflib.get_close_matches`).
        shown_as: known name -> what the sentence says for it, if `known` are spellings; what
            several of them stand for is said once.
    """
    names = list(known)
    near = nearest(name, names, most=most, cutoff=cutoff, shown_as=shown_as)
    if near:
        return near
    if shown_as is not None:
        names = list(dict.fromkeys(shown_as[one] for one in names))
    if not names:
        return "there are none"
    more = f", … ({len(names):,} in all)" if len(names) > NAMES_LISTED else ""
    return f"there are {', '.join(names[:NAMES_LISTED])}{more}"


def nearest(
    name: object,
    known: Iterable[str],
    *,
    most: int = 1,
    cutoff: float = 0.6,
    shown_as: Mapping[str, str] | None = None,
) -> str:
    """``nearest is 'a'`` or ``nearest are 'a', 'b'``; empty if none is near.

    For names that are too many to be listed; the arguments are those of `hint`.
    """
    near = get_close_matches(name, known, n=most, cutoff=cutoff) if isinstance(name, str) else []
    if shown_as is not None:
        near = list(dict.fromkeys(shown_as[one] for one in near))
    if not near:
        return ""
    return f"nearest {'is' if len(near) == 1 else 'are'} {', '.join(map(repr, near))}"
