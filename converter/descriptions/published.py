"""Whether all patches are there that a data set has as published, in one or a few lines."""

from collections.abc import Mapping

from patchpress.converter.descriptions.description import Published
from patchpress.converter.text import line

Lack = Mapping[str, tuple[int, int]]
"""Modality, or `TOGETHER` -> how many patches are there, and how many are published."""
TOGETHER = "together"
"""Patches with all modalities."""


def compared(
    published: Published | None, found: Mapping[str, int], together: int | None
) -> dict[str, tuple[int, int]]:
    """How many patches are there and how many are published, as far as the latter is known.

    Args:
        published: the numbers; None if the description has none.
        found: modality -> patches.
        together: patches with all modalities; None if that is not known.
    """
    if published is None:
        return {}
    numbers = {
        name: (found[name], count) for name, count in published.patches.items() if name in found
    }
    if together is not None and published.together and numbers.keys() >= published.patches.keys():
        numbers[TOGETHER] = together, published.together
    return numbers


def lines_of(numbers: Lack, defects: int = 0, *, about: bool = False) -> list[str]:
    """Lines that say whether all is there, or how many lack; none if nothing is known.

    Args:
        numbers: as `compared` gives them.
        defects: patches that are left out because they are known to be damaged.
        about: whether the numbers are estimated.
    """
    whole = all(there + defects == count for there, count in numbers.values())
    counts = {count for _, count in numbers.values()}
    if whole and not about and len(counts) == 1:
        names = ", ".join(name for name in numbers if name != TOGETHER)
        known = f", of which {defects:,} known to be damaged" if defects else ""
        return [line("as published", f"all {counts.pop():,} patches{known}: {names}")]
    lines = []
    for name, (there, count) in numbers.items():
        what = "with all modalities" if name == TOGETHER else name
        lines.append(line("as published", f"{what}: {_state(there, count, defects, about)}"))
    return lines


def _state(there: int, count: int, defects: int, about: bool) -> str:
    if about:
        return f"about {there:,} of {count:,}"
    lack = count - there - defects
    if lack < 0:
        return f"{there:,}, {-lack:,} more than {count:,}"
    return f"{there:,} of {count:,}, {lack:,} lack" if lack else f"all {count:,}"
