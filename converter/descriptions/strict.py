"""Strict TOML: a table taken apart key by key, so that what is unknown is found."""

from typing import Any, TypeVar

from patchpress.readers.errors import DescriptionError

T = TypeVar("T")


class Section:
    """One TOML table, taken apart key by key; what is left over at the end is unknown."""

    def __init__(self, content: Any, path: str, file: str) -> None:
        self.path, self.file = path, file
        if not isinstance(content, dict):
            raise DescriptionError(f"{file}: [{path}] must be a table, not {content!r}")
        self._left: dict[str, Any] = dict(content)

    @property
    def keys(self) -> list[str]:
        """The keys not taken yet."""
        return list(self._left)

    def error(self, key: str, problem: str) -> DescriptionError:
        """The error about one key, to be raised."""
        where = f"{self.path}.{key}" if self.path else key
        return DescriptionError(f"{self.file}: key {where!r} {problem}")

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The value of a key, of that type.

        Raises:
            DescriptionError: the key is missing and has no default, or its value another type.
        """
        value = self._left.pop(key, default)
        if value is None:
            raise self.error(key, "is missing")
        # bool is an int to isinstance; a description has no use for that.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"must be {_NAMES[kind]}, not {value!r}")
        return value

    def peek(self, key: str) -> Any:
        """The value of a key, unchecked and left where it is."""
        return self._left.get(key)

    def string_or_strings(self, key: str) -> tuple[str, ...]:
        """One string, or a list of them."""
        return (self.take(key, str),) if isinstance(self.peek(key), str) else self.strings(key)

    def number(self, key: str, default: float | None = None) -> float:
        """A number, whole or not."""
        value = self._left.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool):
            self._left.pop(key, None)
            return value
        return self.take(key, float, default)

    def integers(self, key: str) -> list[int]:
        """A list of whole numbers."""
        values = self.take(key, list)
        # bool is an int to isinstance; a list of codes has no use for that.
        if not all(type(value) is int for value in values):
            raise self.error(key, f"must be a list of whole numbers, not {values!r}")
        return values

    def mapping(self, key: str) -> dict[str, str]:
        """A table of strings; an absent one is empty."""
        section = self.section(key, optional=True)
        return {name: section.take(name, str) for name in section.keys}

    def strings(self, key: str, *, optional: bool = False) -> tuple[str, ...]:
        """A list of strings, none twice."""
        if optional and key not in self._left:
            return ()
        values = self.take(key, list)
        if not values or not all(isinstance(value, str) for value in values):
            raise self.error(key, "must be a list of strings, not empty")
        doubled = next((v for v in values if values.count(v) > 1), None)
        if doubled is not None:
            raise self.error(key, f"names {doubled!r} twice")
        return tuple(values)

    def section(self, key: str, *, optional: bool = False) -> "Section":
        """A table inside this one; an optional one may be absent, and is empty then."""
        content = self._left.pop(key, {} if optional else None)
        if content is None:
            raise self.error(key, "is missing")
        return Section(content, f"{self.path}.{key}" if self.path else key, self.file)

    def sections(self) -> dict[str, "Section"]:
        """All that is left, each a table."""
        return {key: self.section(key) for key in list(self._left)}

    def end(self) -> None:
        """Refuse what was not taken.

        Raises:
            DescriptionError: there is an unknown key.
        """
        for key in self._left:
            raise self.error(key, "is unknown")


_NAMES: dict[type, str] = {
    str: "a string",
    list: "a list",
    float: "a number",
    int: "a whole number",
    bool: "true or false",
}
