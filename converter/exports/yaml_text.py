"""Mappings, lists and texts as YAML in blocks, which people read more easily than JSON."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_RESERVED = {"y", "yes", "n", "no", "true", "false", "on", "off", "null"}


def yaml_text(value: Mapping[str, Any]) -> str:
    """A mapping of texts, numbers, lists and mappings as lines of YAML."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _entry(f"{_scalar(name)}:", one)
    else:
        for one in value:
            lines = list(_lines(one)) if _is_block(one) else [_scalar(one)]
            yield f"- {lines[0]}"
            yield from (f"  {line}" for line in lines[1:])


def _entry(name: str, value: Any) -> Iterator[str]:
    if not _is_block(value):
        yield f"{name} {_scalar(value)}"
        return
    yield name
    inner = "" if isinstance(value, list) else "  "
    yield from (f"{inner}{line}" for line in _lines(value))


def _is_block(value: Any) -> bool:
    return isinstance(value, (Mapping, list)) and len(value) > 0


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, (Mapping, list)):
        return "{}" if isinstance(value, Mapping) else "[]"
    if isinstance(value, (bool, int, float)):
        return str(value).lower()
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    return '"' + "".join(_in_quotes(one) for one in text) + '"'


def _in_quotes(one: str) -> str:
    if one in '"\\':
        return f"\\{one}"
    return one if one.isprintable() else f"\\U{ord(one):08X}"
