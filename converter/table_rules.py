"""Split rules for tables without pixels: by whichever built-in description knows their names."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from converter.describe import built_in, load
from converter.options import TableSplit
from converter.splits import by_position
from readers.errors import TableError

if TYPE_CHECKING:
    import pyarrow as pa


def geographic(names: "pa.ChunkedArray") -> "pa.Array":
    """The geographic split of each patch, by the tile grid of the dataset that its name is of.

    Raises:
        TableError: names that no description with a tile grid knows.
    """
    import pyarrow.compute as pc

    unknown = names
    for path in built_in().values():
        description = load(path)
        splits, primary = description.splits, description.primary
        if splits is None or not splits.position:
            continue
        form = f"^(?:{primary.fields[primary.key_field]})$"
        rest = names.filter(pc.invert(pc.match_substring_regex(names, form)))
        if not len(rest):
            return by_position(names, splits.position, splits.tile_m, splits.patch_m)
        unknown = rest if len(rest) < len(unknown) or unknown is names else unknown
    raise TableError(
        f"patch {unknown[0].as_py()!r} is of no dataset with a tile grid: its split cannot be told"
    )


RULES: Mapping[TableSplit, Callable[["pa.ChunkedArray"], "pa.Array"]] = {
    TableSplit.geographic: geographic
}
