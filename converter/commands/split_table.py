"""`split-table`: writes a table of patches with another split, by a rule that needs no pixels."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from patchpress.converter.commands.rewrite_table import Strategy, rewrite_table
from patchpress.converter.descriptions.parse import built_in_descriptions, load_description
from patchpress.converter.options import TableSplit, member
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.sources.apart import require_no_source
from patchpress.converter.tables.splits import split_by_position
from patchpress.readers.errors import OptionError, TableError

if TYPE_CHECKING:
    import pyarrow as pa


def split_table(
    table: StrPath,
    out: StrPath | None = None,
    *,
    split: str = TableSplit.geographic,
    in_place: bool = False,
) -> dict[str, int]:
    """Write a Parquet table of patches again with another split column.

    Args:
        table: Parquet file with names of patches in its column ``patch_id``.
        out: file to write.
        split: the rule that makes the split: ``geographic``.
        in_place: replace the table itself, instead of writing `out`.

    Returns:
        Split -> rows, sorted; rows without a split are not counted.

    Raises:
        OptionError: there is no such rule; or neither `out` nor `in_place` is given, or both are;
            or `out` is the table itself.
        SourceMissing, TableError, TargetError: as `rewrite_table`, or names that the rule does not
            know.
    """
    if out is not None:
        require_no_source(local_path(out))
    rule = RULES[member(TableSplit, "split", split)]
    if in_place and out is not None:
        raise OptionError("--out and --in-place exclude each other: give one of them")
    if not in_place:
        if out is None:
            raise OptionError(
                f"{os.fspath(table)} would be replaced: give --out FILE, or --in-place if it is "
                "to be changed itself"
            )
        if os.path.realpath(local_path(out)) == os.path.realpath(local_path(table)):
            raise OptionError(
                f"--out {os.fspath(out)} is the table itself, which would be replaced: give "
                "another file, or --in-place instead"
            )
    return rewrite_table(table, out, strategy=rule)


def geographic(names: "pa.ChunkedArray") -> "pa.Array":
    """The geographic split of each patch, by the tile grid of the dataset that its name is of.

    Raises:
        TableError: names that no description with a tile grid knows.
    """
    import pyarrow.compute as pc

    unknown: pa.ChunkedArray | None = None
    for path in built_in_descriptions().values():
        description = load_description(path)
        splits, primary = description.splits, description.primary
        if splits is None or not splits.position:
            continue
        pattern = f"^(?:{primary.fields[primary.key_column]})$"
        others = names.filter(pc.invert(pc.match_substring_regex(names, pattern)))
        if not len(others):
            return split_by_position(names, splits.position, splits.tile_m, splits.patch_m)
        if unknown is None or len(others) < len(unknown):
            unknown = others  # of the description that knows most of them
    example = (names if unknown is None else unknown)[0].as_py()
    raise TableError(
        f"patch {example!r} is of no dataset with a tile grid: its split cannot be told"
    )


RULES: Mapping[TableSplit, Strategy] = {TableSplit.geographic: geographic}
