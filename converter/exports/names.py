"""Names of patches as names of files."""

from collections.abc import Iterable

from patchpress.readers.errors import TargetError

LONGEST = 200  # bytes; file systems take 255, and endings are added


class FileNames:
    """Names of patches, with what a file cannot be called written as ``%2F``; counts these."""

    def __init__(self, *, escaped: str = "") -> None:
        """Start to count; `escaped` are more characters that are written so."""
        self._escaped = {"/", "\\", "%", *escaped}
        self.changed = 0
        """How many names were not taken as they are."""
        self.example = ""

    def of(self, name: str) -> str:
        """The name of a patch as that of a file, without ending.

        Raises:
            TargetError: it is too long.
        """
        shown = "".join(
            "".join(f"%{byte:02X}" for byte in one.encode())
            if one in self._escaped or not one.isprintable()
            else one
            for one in name
        )
        if shown.startswith("."):
            shown = f"%2E{shown[1:]}"
        if len(shown.encode()) > LONGEST:
            raise TargetError(
                f"{shown[:60]}… has {len(shown.encode())} bytes, too many for the name of a file: "
                "leave that patch out (--keys)"
            )
        if shown != name:
            self.changed += 1
            self.example = self.example or f"{name} is {shown}"
        return shown

    def note(self) -> list[str]:
        """A sentence about names that were changed."""
        if not self.changed:
            return []
        return [f"names with characters written as %XX: {self.changed:,} ({self.example})"]


class ColumnNames:
    """Names of arrays or columns, each given once: as it is asked for, or with ``_`` after it."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self.notes: list[str] = []
        """A sentence for each name that is another than was asked for."""

    def keep(self, names: Iterable[str]) -> None:
        """Keep names for something else."""
        self._taken |= {name.casefold() for name in names}

    def of(self, wanted: str) -> str:
        """A name that can be that of a file; names differ in more than case."""
        name = FileNames().of(wanted)
        if not name or name.startswith("__"):
            name = f"column{name}"
        while name.casefold() in self._taken:
            name += "_"
        self._taken.add(name.casefold())
        if name != wanted:
            self.notes.append(f"{wanted!r} is called {name} there, since its name is no free one")
        return name
