"""`Section`: one table of a TOML file, read key by key, so that no unknown key is overlooked."""

from typing import Any, TypeVar

from patchpress.readers.errors import DescriptionError

T = TypeVar("T")


class Section:
    """One TOML table. Each method that returns a value removes its key; `end` refuses the rest.

    Every error is a `DescriptionError` with the file's name and the key, such as
    ``mine.toml: key 'dataset.version' must be a string, not 1``.
    """

    def __init__(self, content: Any, path: str, file: str) -> None:
        self.path, self.file = path, file
        if not isinstance(content, dict):
            raise DescriptionError(f"{file}: [{path}] must be a table, not {content!r}")
        self._left: dict[str, Any] = dict(content)

    @property
    def keys(self) -> list[str]:
        """The keys that no method has removed yet."""
        return list(self._left)

    def error(self, key: str, problem: str) -> DescriptionError:
        """An error about one key. It is returned, not raised."""
        return DescriptionError(f"{self.file}: key {self._full(key)!r} {problem}")

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The value of a key, of the given type.

        Raises:
            DescriptionError: the key is missing and has no default, or its value has another type.
        """
        value = self._left.pop(key, default)
        if value is None:
            raise self.error(key, "is missing")
        # To isinstance a bool is an int; in a description, true is never a number.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"must be {_NAMES[kind]}, not {value!r}")
        return value

    def peek(self, key: str) -> Any:
        """The value of a key as it is, or None; the key is not removed."""
        return self._left.get(key)

    def string_or_strings(self, key: str) -> tuple[str, ...]:
        """One string, or a list of strings."""
        return (self.take(key, str),) if isinstance(self.peek(key), str) else self.strings(key)

    def number(self, key: str, default: float | None = None) -> float:
        """A number, whole or not."""
        value = self.peek(key)
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return self.take(key, int) if is_whole else self.take(key, float, default)

    def integers(self, key: str) -> list[int]:
        """A list of whole numbers."""
        values = self.take(key, list)
        # `type`, because to isinstance a bool is an int.
        if not all(type(value) is int for value in values):
            raise self.error(key, f"must be a list of whole numbers, not {values!r}")
        return values

    def mapping(self, key: str) -> dict[str, str]:
        """A table of strings; empty if the key is missing."""
        section = self.section(key, optional=True)
        return {name: section.take(name, str) for name in section.keys}

    def strings(self, key: str, *, optional: bool = False) -> tuple[str, ...]:
        """A list of strings, none of them twice; if it is optional and missing, an empty one."""
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
        """A table inside this one; if it is optional and missing, an empty one."""
        content = self._left.pop(key, {} if optional else None)
        if content is None:
            raise self.error(key, "is missing")
        return Section(content, self._full(key), self.file)

    def sections(self) -> dict[str, "Section"]:
        """All keys that are left, each as a table."""
        return {key: self.section(key) for key in self.keys}

    def tables(self, key: str) -> list["Section"]:
        """A list of tables."""
        return [
            Section(content, f"{self._full(key)}[{index}]", self.file)
            for index, content in enumerate(self.take(key, list))
        ]

    def inside(self, key: str, path: str) -> str:
        """A path of the source as it is.

        Raises:
            DescriptionError: it leads out of the source. A description may come from anybody.
        """
        if path.startswith(("/", "~")) or ".." in path.split("/") or "\0" in path or "\\" in path:
            raise self.error(key, f"must be a path inside the source, not {path!r}")
        return path

    def end(self) -> None:
        """Refuse the keys that no method has removed.

        Raises:
            DescriptionError: there is an unknown key.
        """
        for key in self._left:
            raise self.error(key, "is unknown")

    def _full(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key


_NAMES: dict[type, str] = {
    str: "a string",
    list: "a list",
    float: "a number",
    int: "a whole number",
    bool: "true or false",
}
