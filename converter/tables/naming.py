"""Names of patches as people write them in tables and lists, found among those of the source.

A name may stand there with quotes, with the path of a file before it, with the ending of a file, or
in another case. It is matched if it can be only one; names that match as they are stay so.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from patchpress.converter.descriptions.expressions import Expression
from patchpress.converter.tables.arrow import one_array
from patchpress.converter.tables.name_index import NameIndex
from patchpress.converter.text import several

if TYPE_CHECKING:
    import pyarrow as pa

_ENDINGS = "tiff?|npy|npz|png|jpe?g|jp2|json|safetensors|h5|hdf5|nc|zarr|txt|xml"
_AROUND = r"""^[\s"'`]+|[\s"'`/\\]+$"""
_PATH = r"^.*[/\\]"
_ENDING = rf"(?i)\.(?:{_ENDINGS})$"
LOOKED_AT = 1000
"""Names of a list that are compared with the form of names, at most."""


@dataclass(frozen=True, slots=True)
class Respelling:
    """Which names stand in a table or list in another spelling than that of the source."""

    given: "pa.Array"
    """As they stand there, strings."""
    known: "pa.Array"
    """For each of them the name in the source."""

    def apply(self, values: Any) -> Any:
        """Values with the names of the source; the others stay as they are."""
        import pyarrow.compute as pc

        if not len(self.given):
            return values
        found = self.known.take(pc.index_in(one_array(values), value_set=self.given))
        return pc.coalesce(found, one_array(values))

    def note(self, where: str) -> list[str]:
        """The sentence that tells of it; none if all names are as in the source."""
        if not len(self.given):
            return []
        count = several(len(self.given), "name")
        verb = "is" if len(self.given) == 1 else "are"
        first, known = self.given[0].as_py(), self.known[0].as_py()
        return [f"{count} of {where} {verb} found in another spelling: {first!r} is {known!r}"]


def respelling(given: Any, known: Any) -> Respelling:
    """Find names of a table or list that are in the source in another spelling.

    Args:
        given: as they stand there, strings; null for none.
        known: those of the source, strings.
    """
    return respelling_of(lambda: [given], NameIndex(one_array(known).drop_null()))


def respelling_of(given: Callable[[], Iterable[Any]], known: NameIndex) -> Respelling:
    """The same for names that are read some at a time, and for those of a source in an index.

    Args:
        given: gives arrays of names as they stand there; it is called once or twice.
        known: the names of the source.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    met = np.zeros(len(known), bool)
    for names in given():
        met |= known.found(known.index(names))
    lacking = pc.unique(known.names.filter(pa.array(~met)))
    if not len(lacking):
        return Respelling(pa.array([], pa.string()), pa.array([], pa.string()))
    folded = pc.utf8_lower(stripped(lacking))
    counts = pc.value_counts(folded)
    single = counts.field("values").filter(pc.equal(counts.field("counts"), 1))
    place = pc.index_in(single, value_set=folded)
    index = NameIndex(single)
    others = pa.array([], pa.string())
    for names in given():
        names = one_array(names).drop_null()
        names = pc.unique(names.filter(pa.array(~known.has(names))))
        at = index.has(pc.utf8_lower(stripped(names)))
        others = pa.concat_arrays([others, names.filter(pa.array(at))])
    others = pc.unique(others)
    at = index.index(pc.utf8_lower(stripped(others)))
    return Respelling(others, lacking.take(place.take(at)))


def stripped(names: "pa.Array") -> "pa.Array":
    """Names without quotes and blanks around them, the path before them, and a file's ending.

    Letters with accents are in the form that most programs write.
    """
    import pyarrow.compute as pc

    names = pc.utf8_normalize(names, form="NFC")  # file systems of macOS have another form
    for pattern in (_AROUND, _PATH, _ENDING):
        names = pc.replace_substring_regex(names, pattern, "")
    return names


def any_of_form(names: Sequence[str], form: Expression) -> bool:
    """Whether one of the first names looks like those of the source, whatever is around it."""
    import pyarrow as pa

    first = stripped(pa.array(names[:LOOKED_AT], pa.string())).to_pylist()
    return any(form.fullmatch(name) for name in first)
