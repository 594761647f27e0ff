"""The names of all fields that a description can have."""

from dataclasses import is_dataclass
from functools import cache
from typing import Any, get_args, get_type_hints

from patchpress.converter.descriptions.description import Description


@cache
def field_names() -> frozenset[str]:
    """The names of the fields of descriptions, and of what these are made of."""
    names, seen = set[str](), set[Any]()
    left: list[Any] = [Description]
    while left:
        kind = left.pop()
        for name, hint in get_type_hints(kind).items():
            names.add(name)
            for part in _parts(hint):
                if is_dataclass(part) and part not in seen:
                    seen.add(part)
                    left.append(part)
    return frozenset(names)


def _parts(hint: Any) -> list[Any]:
    return [hint, *(inner for part in get_args(hint) for inner in _parts(part))]
