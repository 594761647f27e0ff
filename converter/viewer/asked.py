"""`Asked`: which rows a page asks for, as its URL says it."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patchpress.readers.errors import OptionError

MOST = 100_000
"""Characters of a filter; a page makes no longer one."""


@dataclass(frozen=True)
class Asked:
    """Filters and order; everything in the order of the table by default."""

    values: tuple[tuple[str, tuple[str | bool, ...]], ...] = ()
    """Column and the values of which a row must have one."""
    every: tuple[str, ...] = ()
    """Columns of which a row must have every wanted value."""
    text: str = ""
    """A part of a name."""
    box: tuple[float, float, float, float] | None = None
    """West, south, east, north in degrees."""
    order: str = ""
    """A column, ``shuffled``, or empty for the order of the table."""
    descending: bool = False

    @property
    def is_where(self) -> bool:
        """Whether columns and values alone say it, as `where` can."""
        return not self.text and self.box is None and not self.every


def asked_of(text: str) -> Asked:
    """What a page asks for, from the JSON of its URL.

    Raises:
        OptionError: it is no such JSON.
    """
    if not text:
        return Asked()
    try:
        found = json.loads(text[: MOST + 1])
        if len(text) > MOST or not isinstance(found, Mapping):
            raise ValueError("an object is expected")
        return _asked(found)
    except (ValueError, TypeError, RecursionError) as error:
        raise OptionError(f"the filter of the page cannot be understood ({error})") from None


def _asked(found: Mapping[str, Any]) -> Asked:
    unknown = found.keys() - {"values", "every", "text", "box", "order", "descending"}
    if unknown:
        raise ValueError(f"{sorted(unknown)[0]} is not known")
    values = tuple(
        (str(column), tuple(_value(one) for one in chosen))
        for column, chosen in sorted(dict(found.get("values", {})).items())
        if chosen
    )
    box = found.get("box")
    if box is not None:
        west, south, east, north = (float(number) for number in box)
        if not all(map(math.isfinite, (west, south, east, north))):
            raise ValueError("a box has four finite numbers")
        box = west, south, east, north
    return Asked(
        values=values,
        every=tuple(sorted(str(column) for column in found.get("every", ()))),
        text=str(found.get("text", "")),
        box=box,
        order=str(found.get("order", "")),
        descending=bool(found.get("descending", False)),
    )


def _value(value: Any) -> str | bool:
    if not isinstance(value, (str, bool)):
        raise TypeError(f"{value!r} is no value of a column")
    return value
