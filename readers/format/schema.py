"""Schemas: what the JSON files of a store must be, and the sentence about the field that is not.

A schema is a tree of the kinds below. `check` walks a parsed value along it; nothing that another
module takes from the value is of another type, length or range than its schema says.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from patchpress.readers.hints import hint

TEXT_LIMIT = 100_000  # characters of a text; citations have some hundreds
_SHOWN = 60


class FieldError(ValueError):
    """A field is not what its schema says; the message names it, and can be printed anywhere."""

    def __init__(self, message: str) -> None:
        # The field's name may come from the file, and be anything.
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


class Kind(Protocol):
    """What a value must be."""

    def check(self, value: Any, field: str) -> None:
        """Raise FieldError if the value is something else; `field` is where it stands."""
        ...


@dataclass(frozen=True)
class Text:
    """Text that UTF-8 can say, without NUL; `pattern` is what all of it must match."""

    pattern: str = ""
    meaning: str = "text"
    least: int = 0

    def check(self, value: Any, field: str) -> None:
        """Raise FieldError if the value is something else."""
        if not isinstance(value, str) or not self.least <= len(value) <= TEXT_LIMIT:
            raise wrong(field, self.meaning, value)
        if "\0" in value or not _is_utf8(value):
            raise wrong(field, "text without zero bytes and halves of characters", value)
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise wrong(field, self.meaning, value)


@dataclass(frozen=True)
class Latin1:
    """Bytes as text: each character is one byte."""

    def check(self, value: Any, field: str) -> None:
        """Raise FieldError if the value is something else."""
        if not isinstance(value, str) or any(ord(character) > 255 for character in value):
            raise wrong(field, "bytes as Latin-1", value)


@dataclass(frozen=True)
class Whole:
    """A whole number from `least` to `most`."""

    least: int = 0
    most: int = (1 << 53) - 1  # what every JSON reader can say

    def check(self, value: Any, field: str) -> None:
        """Raise FieldError if the value is something else."""
        if type(value) is not int or not self.least <= value <= self.most:
            raise wrong(field, f"a whole number from {self.least:,} to {self.most:,}", value)


@dataclass(frozen=True)
class Number:
    """A finite number, whole or not; of metres, for example, above 0."""

    positive: bool = False

    def check(self, value: Any, field: str) -> None:
        """Raise FieldError if the value is something else."""
        if type(value) not in (int, float) or not _is_float(value):
            raise wrong(field, "a number", value)
        if self.positive and value <= 0:
            raise wrong(field, "a number above 0", value)


@dataclass(frozen=True)
class Truth:
    """True or false."""

    def check(self, value: Any, field: str) -> None:
        """Raise FieldError if the value is something else."""
        if type(value) is not bool:
            raise wrong(field, "true or false", value)


@dataclass(frozen=True)
class OneOf:
    """One of some values."""

    values: tuple[Any, ...]

    def check(self, value: Any, field: str) -> None:
        """Raise FieldError if the value is something else."""
        if not any(type(value) is type(one) and value == one for one in self.values):
            raise wrong(field, f"one of {', '.join(map(str, self.values))}", value)


@dataclass(frozen=True)
class Optional:
    """What another kind says, or null."""

    kind: Kind

    def check(self, value: Any, field: str) -> None:
        """Raise FieldError if the value is something else."""
        if value is not None:
            self.kind.check(value, field)


@dataclass(frozen=True)
class EitherOf:
    """What the first kind that takes the value's type says: for options, which are of several."""

    kinds: tuple[Kind, ...]

    def check(self, value: Any, field: str) -> None:
        """Raise FieldError if the value is something else."""
        for kind in self.kinds[:-1]:
            try:
                return kind.check(value, field)
            except FieldError:
                continue
        return self.kinds[-1].check(value, field)


@dataclass(frozen=True)
class List:
    """A list of so many values, none of them twice if they are `different`."""

    of: Kind
    least: int = 0
    most: int = 1_000_000
    different: bool = False

    def check(self, value: Any, field: str) -> None:
        """Raise FieldError if the value is something else."""
        if not isinstance(value, list) or not self.least <= len(value) <= self.most:
            raise wrong(field, f"a list of {self.least:,} to {self.most:,} values", value)
        for index, one in enumerate(value):
            self.of.check(one, f"{field}[{index}]")
        if self.different and len(set(value)) < len(value):
            twice = next(one for one in value if value.count(one) > 1)
            raise FieldError(f"{field} names {twice!r} twice")


@dataclass(frozen=True)
class Table:
    """Names, each with a value of one kind."""

    of: Kind
    least: int = 0
    most: int = 100_000
    names: Text = Text(least=1)

    def check(self, value: Any, field: str) -> None:
        """Raise FieldError if the value is something else."""
        if not isinstance(value, dict) or not self.least <= len(value) <= self.most:
            raise wrong(field, f"a table of {self.least:,} to {self.most:,} names", value)
        for name, one in value.items():
            self.names.check(name, f"a name in {field}")
            self.of.check(one, f"{field}.{name}")


@dataclass(frozen=True)
class Fields:
    """A table whose fields are known, each with a kind of its own."""

    of: Mapping[str, Kind]
    may_lack: frozenset[str] = frozenset()
    """Those that need not be there."""

    def check(self, value: Any, field: str) -> None:
        """Raise FieldError if the value is something else."""
        if not isinstance(value, dict):
            raise wrong(field, "a table", value)
        for name, kind in self.of.items():
            if name not in value:
                if name in self.may_lack:
                    continue
                raise FieldError(f"{_inside(field, name)} is missing")
            kind.check(value[name], _inside(field, name))
        for name in value:
            if name not in self.of:
                shown = _inside(field, name[:_SHOWN])
                raise FieldError(f"{shown} is unknown; {hint(name, list(self.of))}")


def wrong(field: str, wanted: str, value: Any) -> FieldError:
    """The error for a field that should be something else."""
    if isinstance(value, (list, dict)):
        return FieldError(f"{field or 'all of it'} must be {wanted}, not {type(value).__name__}")
    # Of a number of millions of digits not even its text is made.
    shown = "a larger number" if _is_huge(value) else ascii(value)
    more = "…" if len(shown) > _SHOWN else ""
    return FieldError(f"{field or 'all of it'} must be {wanted}, not {shown[:_SHOWN]}{more}")


def _inside(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_float(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _is_huge(value: Any) -> bool:
    return type(value) is int and value.bit_length() > 200
