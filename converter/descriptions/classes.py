"""Class lists as data: names in their official order, codes in maps, spellings of other publishers.

A class list is a strict TOML file. An unknown key, a doubled name or code is a `DescriptionError`
that names the file and the key. Lists with the same code scheme map onto each other by their codes.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from patchpress.converter.descriptions.strict import Section
from patchpress.readers.errors import DescriptionError, TableError


@dataclass(frozen=True, slots=True)
class Nomenclature:
    """One list of classes. `load` makes it; it pickles, and equal lists are equal."""

    name: str
    title: str
    code_scheme: str
    """What the codes are codes of; lists of one scheme can be mapped onto each other."""
    names: tuple[str, ...]
    """Canonical class names in the official order: a class's index is its place here."""
    codes: Mapping[int, str | None]
    """Code in a map -> class name, None for codes that are known but belong to no class."""
    _spellings: Mapping[str, str] = field(repr=False)
    """Folded name or variant -> canonical name."""

    @property
    def alphabetical(self) -> tuple[str, ...]:
        """The names sorted by code point: the other index order in use."""
        return tuple(sorted(self.names))

    def canonical_name(self, name: str) -> str:
        """The canonical name of a class, whatever the spelling, case or blanks of `name`.

        Raises:
            TableError: no class of this list; the message suggests the nearest.
        """
        found = self._spellings.get(_folded(name))
        if found is None:
            near = get_close_matches(_folded(name), self._spellings, n=1)
            hint = (
                f"nearest is {self._spellings[near[0]]!r}"
                if near
                else f"known are {', '.join(self.names)}"
            )
            raise TableError(f"{name!r} is none of the classes of {self.name}; {hint}")
        return found

    def index(self, name: str) -> int:
        """The place of a class in the official order, from 0.

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

    def mapping_to(self, other: "Nomenclature") -> dict[str, str | None]:
        """Each class here -> the class of `other` that holds all its codes; None if none does.

        Raises:
            TableError: other codes altogether, a code that `other` does not know, or a class whose
                codes `other` does not keep together.
        """
        if self.code_scheme != other.code_scheme:
            raise TableError(
                f"{self.name} cannot be mapped to {other.name}: the codes of one are "
                f"{self.code_scheme}, of the other {other.code_scheme}"
            )
        return {name: self._counterpart(name, other) for name in self.names}

    def _counterpart(self, name: str, other: "Nomenclature") -> str | None:
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


def built_in() -> tuple[str, ...]:
    """The names of the class lists that come with the package, sorted."""
    return tuple(sorted(path.stem for path in _folder().glob("*.toml")))


@cache
def load(name: str) -> Nomenclature:
    """A built-in class list by name, or one of your own by the path of its TOML file.

    Raises:
        DescriptionError: no such list (the message gives those there are), no TOML, a wrong key.
    """
    if name in built_in():
        path = _folder() / f"{name}.toml"
    elif name.endswith(".toml"):
        path = Path(name)
    else:
        raise DescriptionError(
            f"there is no class list {name!r}; choose {', '.join(built_in())}, or give a .toml file"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DescriptionError(f"{path} cannot be read as a class list: {error}") from None
    return parse(text, path.name)


def parse(text: str, file: str) -> Nomenclature:
    """A class list from its TOML text; `file` names it in errors.

    Raises:
        DescriptionError: as `load`.
    """
    try:
        root = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DescriptionError(f"{file}: {error}") from None
    keys = Section(root, "", file)
    head = keys.section("nomenclature")
    name, title, scheme = (head.take(key, str) for key in ("name", "title", "code_scheme"))
    codes: dict[int, str | None] = {}
    _add_codes(codes, head.integers("unclassified"), None, head.error("unclassified", ""))
    head.end()
    names: list[str] = []
    spellings: dict[str, str] = {}
    for index, entry in enumerate(keys.take("classes", list)):
        item = Section(entry, f"classes[{index}]", file)
        names.append(item.take("name", str))
        own = item.integers("codes")
        if not own:
            raise item.error("codes", "must list at least one code")
        _add_codes(codes, own, names[-1], item.error("codes", ""))
        _add_spelling(spellings, names[-1], names[-1], item.error("name", ""))
        for variant in item.strings("variants", optional=True):
            _add_spelling(spellings, variant, names[-1], item.error("variants", ""))
        item.end()
    if not names:
        raise keys.error("classes", "must list at least one class")
    keys.end()
    return Nomenclature(name, title, scheme, tuple(names), codes, spellings)


def _add_codes(
    codes: dict[int, str | None], new: list[int], name: str | None, place: DescriptionError
) -> None:
    for code in new:
        if code in codes:
            raise DescriptionError(f"{place}gives the code {code} a second time")
        codes[code] = name


def _add_spelling(
    spellings: dict[str, str], spelling: str, name: str, place: DescriptionError
) -> None:
    key = _folded(spelling)
    if not key:
        raise DescriptionError(f"{place}has an empty name")
    if key in spellings:
        raise DescriptionError(
            f"{place}has {spelling!r}, which is already a spelling of {spellings[key]!r}"
        )
    spellings[key] = name


def _folded(name: str) -> str:
    """A name without what people vary unknowingly: case, and blanks of every kind."""
    return "".join(name.casefold().split())


def _folder() -> Path:
    return Path(__file__).with_name("class_lists")
