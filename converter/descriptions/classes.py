"""Class lists: class names in their official order, their codes in maps, and other spellings.

A class list is a TOML file. An unknown key, or a name or code that is given twice, is a
`DescriptionError` with the file and the key. A class list can be mapped onto another one whose
codes are of the same scheme.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from patchpress.converter.descriptions.strict import Section
from patchpress.converter.descriptions.toml_files import (
    built_in_files,
    find_file,
    parse_toml,
    read_toml,
)
from patchpress.readers.errors import TableError
from patchpress.readers.hints import hint

FOLDER = "class_lists"
KIND = "class list"
_COLOUR = re.compile("#[0-9A-Fa-f]{6}")


@dataclass(frozen=True, slots=True)
class ClassList:
    """One list of classes, made by `load_class_list`; it pickles, and equal lists are equal."""

    name: str
    title: str
    code_scheme: str
    """What the codes are codes of; a list can be mapped onto another one of the same scheme."""
    names: tuple[str, ...]
    """Canonical class names in the official order: the index of a class is its index here."""
    codes: Mapping[int, str | None]
    """Code in a map -> class name; None for codes that are known but belong to no class."""
    colours: Mapping[str, str]
    """Class name -> its colour in pictures as ``#RRGGBB``; of classes that have an official one."""
    _spellings: Mapping[str, str] = field(repr=False)
    """Every spelling of a class, as `_folded` returns it -> canonical name."""

    @property
    def alphabetical(self) -> tuple[str, ...]:
        """The names sorted by code point: the other order in use."""
        return tuple(sorted(self.names))

    def canonical_name(self, name: str) -> str:
        """The canonical name of a class, for any known spelling of it, in any case.

        Raises:
            TableError: no class of this list; the message suggests the nearest.
        """
        found = self._spellings.get(_folded(name))
        if found is None:
            known = hint(_folded(name), self._spellings, shown_as=self._spellings)
            raise TableError(f"{name!r} is none of the classes of {self.name}; {known}")
        return found

    def index(self, name: str) -> int:
        """The index of a class in the official order, from 0.

        Raises:
            TableError: as `canonical_name`.
        """
        return self.names.index(self.canonical_name(name))

    def codes_of(self, name: str) -> tuple[int, ...]:
        """The codes of a class, in ascending order.

        Raises:
            TableError: as `canonical_name`.
        """
        wanted = self.canonical_name(name)
        return tuple(sorted(code for code, known in self.codes.items() if known == wanted))

    def mapping_to(self, other: "ClassList") -> dict[str, str | None]:
        """Each class of this list -> the class of `other` that has all its codes, or None.

        Raises:
            TableError: the two lists have codes of different schemes, `other` does not know a code,
                or the codes of one class here belong to several classes there.
        """
        if self.code_scheme != other.code_scheme:
            raise TableError(
                f"{self.name} cannot be mapped to {other.name}: the codes of one are "
                f"{self.code_scheme}, of the other {other.code_scheme}"
            )
        return {name: self._counterpart(name, other) for name in self.names}

    def _counterpart(self, name: str, other: "ClassList") -> str | None:
        codes = self.codes_of(name)
        unknown = next((code for code in codes if code not in other.codes), None)
        if unknown is not None:
            raise TableError(f"{other.name} does not know the code {unknown} of {name!r}")
        targets = {other.codes[code] for code in codes}
        if len(targets) > 1:
            raise TableError(
                f"{self.name} cannot be mapped to {other.name}: {name!r} would be "
                f"{' and '.join(sorted(target or 'no class' for target in targets))}"
            )
        return targets.pop()


def built_in_class_lists() -> tuple[str, ...]:
    """The names of the class lists that come with the package, sorted."""
    return tuple(built_in_files(FOLDER))


@cache
def load_class_list(name: str) -> ClassList:
    """A built-in class list by its name, or one of your own by the path of its TOML file.

    Raises:
        DescriptionError: no such list (the message gives the built-in ones), no TOML, a wrong key.
    """
    return _class_list(read_toml(find_file(name, FOLDER, KIND), KIND))


def parse_class_list(text: str, file: str) -> ClassList:
    """A class list from its TOML text; `file` names it in errors.

    Raises:
        DescriptionError: as `load_class_list`.
    """
    return _class_list(parse_toml(text, file))


def _class_list(root: Section) -> ClassList:
    head = root.section("class_list")
    name, title, scheme = (head.take(key, str) for key in ("name", "title", "code_scheme"))
    codes: dict[int, str | None] = {}
    _add_codes(codes, head, "unclassified", None)
    head.end()
    names: list[str] = []
    spellings: dict[str, str] = {}
    colours: dict[str, str] = {}
    for entry in root.tables("classes"):
        own = entry.take("name", str)
        names.append(own)
        if not _add_codes(codes, entry, "codes", own):
            raise entry.error("codes", "must list at least one code")
        if colour := entry.take("colour", str, ""):
            if not _COLOUR.fullmatch(colour):
                raise entry.error("colour", f"must be as in #E6004D, not {colour!r}")
            colours[own] = colour.upper()
        _add_spelling(spellings, entry, "name", own, own)
        for variant in entry.strings("variants", optional=True):
            _add_spelling(spellings, entry, "variants", variant, own)
        entry.end()
    if not names:
        raise root.error("classes", "must list at least one class")
    root.end()
    return ClassList(
        name=name,
        title=title,
        code_scheme=scheme,
        names=tuple(names),
        codes=codes,
        colours=colours,
        _spellings=spellings,
    )


def _add_codes(
    codes: dict[int, str | None], section: Section, key: str, name: str | None
) -> list[int]:
    """Enter the codes that stand under a key as those of one class, and return them."""
    new = section.integers(key)
    for code in new:
        if code in codes:
            raise section.error(key, f"gives the code {code} a second time")
        codes[code] = name
    return new


def _add_spelling(
    spellings: dict[str, str], section: Section, key: str, spelling: str, name: str
) -> None:
    """Enter one spelling of the class `name`."""
    folded = _folded(spelling)
    if not folded:
        raise section.error(key, "has an empty name")
    if folded in spellings:
        known = spellings[folded]
        raise section.error(key, f"has {spelling!r}, which is already a spelling of {known!r}")
    spellings[folded] = name


def _folded(name: str) -> str:
    """A name without what people change without noticing: upper case, and blanks of every kind."""
    return "".join(name.casefold().split())
