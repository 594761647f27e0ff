"""A published list against the patches of the source: which of its names are there.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.patterns import name_pattern
from patchpress.converter.tables.arrow import is_in, one_array
from patchpress.converter.tables.lists import read_list
from patchpress.converter.tables.naming import any_of_form, respelling
from patchpress.readers.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class ListedNames:
    """The names of one list."""

    names: list[str]
    """Each once, as the source spells them."""
    absent: list[str]
    """Those that no patch has."""
    notes: list[str]
    """A sentence about names in another spelling, or about a list of which no name is there."""

    @property
    def matched(self) -> int:
        """How many names the source has."""
        return len(self.names) - len(self.absent)


def listed_names(
    description: Description,
    path: Path,
    known: "pa.Array | pa.ChunkedArray",
    suffix: str = "",
    split: str = "",
) -> ListedNames:
    """Read a list, and find its names among those of the source.

    Args:
        description: of the data set.
        path: of the list.
        known: the identities of the rows, strings.
        suffix: what follows each name in the list.
        split: whose list it is, if one JSON file has the lists of several.

    Raises:
        SourceMissing, TableError: it cannot be read, or none of its names looks like one of the
            source.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = one_array(known)
    given_names = read_list(path, description.identity, rows, split)
    names = [name.removesuffix(suffix) for name in given_names]
    found = respelling(pa.array(names, pa.string()), rows)
    given = found.apply(pa.array(names, pa.string()))
    unique = pc.unique(given)
    absent = unique.filter(pc.invert(is_in(unique, rows))).to_pylist()
    listed = ListedNames(unique.to_pylist(), absent, found.note(f"the list {path.name}"))
    if len(rows) and not listed.matched:
        sides = f"it has {names[0]!r}, the source has {rows[0].as_py()!r}"
        if not any_of_form(names, name_pattern(description.primary)):
            raise TableError(
                f"{path} has no name of a patch of the source: {sides}; give the right list with "
                "--path, or move this one away"
            )
        listed.notes.append(f"no name of the list {path.name} has pixels: {sides}")
    return listed
