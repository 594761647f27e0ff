"""How the settings of an interrupted conversion differ from those it is to go on with, in words."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from patchpress.converter.descriptions.field_names import field_names
from patchpress.converter.text import first_few

DESCRIPTION = "description"
"""The setting that is the whole description of the dataset."""
REQUEST = "request"
"""What a marker has besides settings: how the conversion was asked for. It decides nothing."""
PATH = "path "
"""The beginning of a setting that is where a part of the source lies; not all sources have all."""
OLDER = "an older patchpress"
DIFFERENCES_TOLD = 3
Flat = dict[tuple[str, ...], Any]
_LONGEST = 60  # characters of a value of a description in a sentence


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What each setting was and is, such as ``layout stacked, not native``; empty if all are equal.

    Of a description only the fields are told that differ, each by its way through the TOML file.
    """
    old, new = _flat(before), _flat(json.loads(json.dumps(now)))
    found, unknown = [], []
    for path in {**old, **new}:
        if old.get(path) == new.get(path) or path[0] == REQUEST:
            continue
        if _is_newer(path, old, new):
            unknown.append(_name(path))
        else:
            found.append(
                f"{_name(path)} {_value(path, old.get(path))}, not {_value(path, new.get(path))}"
            )
    if unknown:
        found.insert(0, f"{OLDER}, which did not know {first_few(unknown)}")
    return found


def _is_newer(path: tuple[str, ...], old: Flat, new: Flat) -> bool:
    """Whether a setting was added to this package after the others were noted.

    Of a description users may add tables, labels and bands, but not fields.
    """
    if path in old or path not in new:
        return False
    if any(other[: len(path)] == path for other in old):
        return False  # it was a table, and is a value
    if len(path) == 1:
        return not path[0].startswith(PATH)
    at = len(path) - 1
    beside = {other[at] for other in old if other[:at] == path[:at] and len(other) > at}
    return bool(beside) and {*beside, path[at]} <= field_names()


def told(found: list[str]) -> str:
    """The first few differences in one line, and how many more there are."""
    more = len(found) - DIFFERENCES_TOLD
    return ", ".join(found[:DIFFERENCES_TOLD]) + (f", and {more} more" if more > 0 else "")


def _flat(settings: Mapping[str, Any]) -> Flat:
    """Each value that is no mapping, by the names that lead to it."""
    return dict(_leaves(settings, ()))


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, list) and value and all(_has_name(one) for one in value):
        value = {one["name"]: one for one in value}  # bands, which a user knows by their names
    if not isinstance(value, Mapping):
        yield path, value
        return
    for name, inner in value.items():
        yield from _leaves(inner, (*path, str(name)))


def _has_name(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("name"), str)


def _name(path: tuple[str, ...]) -> str:
    first, *others = path
    if first == DESCRIPTION and others:
        return f"{'.'.join(others)} of the description"
    return ".".join((first.replace("_", "-"), *others))


def _value(path: tuple[str, ...], value: Any) -> str:
    """A value as a user wrote it; long ones of a description, such as lists of classes, are cut."""
    if value is None:
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if path[0] == DESCRIPTION and len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 1]}…"
    return text or "empty"
