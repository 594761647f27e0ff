"""Rules that give each patch its split: frames of its tile, published lists, held-out groups.

Functions over columns, without files. pyarrow is imported inside them: it starts threads, and
workers must fork before.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchpress.converter.tables.arrow import is_in, one_array
from patchpress.readers.errors import OptionError, TableError

if TYPE_CHECKING:
    import pyarrow as pa

TRAIN, VALIDATION, TEST = "train", "validation", "test"
TILE_M = 109_800
"""Side of a Sentinel-2 tile in metres."""
PATCH_M = 1_200
"""Side of a patch in metres: 120 pixels of 10 m."""
POSITION = r".+_(?P<x>\d{1,2})_(?P<y>\d{1,2})"
"""A name that ends in the patch's column and row in the tile, with or without leading zeros."""

Indices = npt.NDArray[np.int64]


def split_by_frames(
    columns: npt.ArrayLike, rows: npt.ArrayLike, tile_m: float = TILE_M, patch_m: float = PATCH_M
) -> npt.NDArray[np.str_]:
    """The split of each patch by nested frames of its tile: train outside, test in the middle.

    Neighbouring tiles overlap only at their edges, and there both are train.

    Derivation: the frames divide the area of a tile of side S as 2 : 1 : 1. Inside the train frame,
    whose width is a1, half of the area is left: (S - 2 a1)^2 = S^2 / 2, so a1 = S (2 - sqrt 2) / 4.
    The test square has a quarter: (S - 2 (a1 + a2))^2 = S^2 / 4, so a1 + a2 = S / 4. Let d be the
    distance from a patch's centre to the nearest edge of its tile: if d is at most a1, the patch is
    train; if d is at most a1 + a2, validation; else test. For Sentinel-2 these limits are
    16,079.84 m and 27,450 m, and no patch has its centre on them. Source: arXiv:2407.03653.

    Args:
        columns: column of each patch in its tile, integers, 0 at the western edge.
        rows: row of each patch in its tile, integers, 0 at the northern edge.
        tile_m: side of the tile in metres.
        patch_m: side of a patch in metres; the grid begins at the tile's north-west corner.

    Returns:
        "train", "validation" or "test" for each patch, an array of strings.

    Raises:
        OptionError: sides that are not 0 < patch_m <= tile_m.
        TableError: a patch that is not wholly inside the tile.
    """
    if not 0 < patch_m <= tile_m:
        raise OptionError(f"patches of {patch_m} m do not fit a tile of {tile_m} m")
    x, y = np.asarray(columns), np.asarray(rows)
    last = int(tile_m // patch_m) - 1
    outside = np.flatnonzero((x < 0) | (y < 0) | (x > last) | (y > last))
    if len(outside):
        raise TableError(
            f"column {x.flat[outside[0]]}, row {y.flat[outside[0]]} is outside of "
            f"a tile of {tile_m:,} m with patches of {patch_m:,} m: both go from 0 to {last}"
        )
    east, south = (x + 0.5) * patch_m, (y + 0.5) * patch_m
    to_edge = np.minimum(np.minimum(east, tile_m - east), np.minimum(south, tile_m - south))
    train = to_edge <= tile_m * (2 - sqrt(2)) / 4
    return np.where(train, TRAIN, np.where(to_edge <= tile_m / 4, VALIDATION, TEST))


def tile_positions(
    names: "pa.Array | pa.ChunkedArray", pattern: str = POSITION
) -> tuple[Indices, Indices]:
    """Column and row of each patch in its tile, from its name.

    Args:
        names: strings.
        pattern: a regular expression (RE2, no look-around) of the whole name, with groups x
            (column) and y (row).

    Returns:
        Columns and rows, int64.

    Raises:
        OptionError: no regular expression, or one without the groups.
        TableError: a name that the pattern does not match, or a row without a name.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        groups = re.compile(pattern).groupindex
        if not {"x", "y"} <= set(groups):
            raise OptionError(f"the pattern {pattern!r} must have the groups x and y")
        found = pc.extract_regex(names.cast(pa.string()), rf"\A(?:{pattern})\z")
    except (re.error, pa.ArrowInvalid) as error:
        raise OptionError(f"{pattern!r} is no regular expression for names: {error}") from None
    if found.null_count:
        name = names.filter(pc.is_null(found))[0].as_py()
        if name is None:
            raise TableError("a row has no name")
        raise TableError(f"{name!r} has no column and row in it: it does not match {pattern!r}")
    try:
        x, y = (pc.struct_field(found, axis).cast(pa.int64()).to_numpy() for axis in "xy")
    except pa.ArrowInvalid as error:
        raise TableError(f"column and row, by {pattern!r}, are no numbers: {error}") from None
    return x, y


def split_by_position(
    names: "pa.Array | pa.ChunkedArray",
    pattern: str = POSITION,
    tile_m: float = TILE_M,
    patch_m: float = PATCH_M,
) -> "pa.Array":
    """The split of each patch by `split_by_frames`, for the position in its name; strings.

    Raises:
        OptionError, TableError: as `tile_positions` and `split_by_frames`.
    """
    import pyarrow as pa

    columns, rows = tile_positions(names, pattern)
    return pa.array(split_by_frames(columns, rows, tile_m, patch_m), pa.string())


@dataclass(frozen=True, slots=True)
class ListedSplits:
    """Splits by published lists, and the listed names that have no row."""

    splits: "pa.Array"
    """The split of each row, strings; null for a name in no list."""
    absent: Mapping[str, Sequence[str]]
    """Split -> names of its list that have no row, in the list's order; only splits with some."""


def split_by_lists(
    names: "pa.Array | pa.ChunkedArray", lists: Mapping[str, Sequence[str]]
) -> ListedSplits:
    """The split of each name: the one whose list has it.

    Args:
        names: strings.
        lists: split -> the names in it.

    Raises:
        TableError: a name in two lists, or twice in one.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    split_of: dict[str, str] = {}
    for split, listed in lists.items():
        for name in listed:
            if name in split_of:
                if split_of[name] == split:
                    raise TableError(f"{name} is twice in {split}: remove one")
                raise TableError(
                    f"{name} is in {split_of[name]} and in {split}: a patch has one split"
                )
            split_of[name] = split
    keys = pa.array(list(split_of), pa.string())
    splits = pa.array(list(split_of.values()), pa.string())
    own = one_array(names).cast(pa.string())
    absent: dict[str, list[str]] = {}
    for name in keys.filter(pc.invert(is_in(keys, own))).to_pylist():
        absent.setdefault(split_of[name], []).append(name)
    return ListedSplits(
        splits=splits.take(pc.index_in(own, value_set=keys)),
        absent={split: tuple(missing) for split, missing in absent.items()},
    )


def split_by_groups(
    groups: "pa.Array | pa.ChunkedArray",
    held_out: Collection[str],
    validation: Collection[str] = (),
) -> "pa.Array":
    """The split of each row, strings: train unless its group (its scene) is held out.

    Groups in `held_out` are test, those in `validation` are validation.

    Raises:
        TableError: a row without a group.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    checked = checked_groups(groups)
    held = is_in(checked, pa.array(sorted(held_out), pa.string()))
    validating = is_in(checked, pa.array(sorted(validation), pa.string()))
    others = pc.if_else(validating, pa.scalar(VALIDATION), pa.scalar(TRAIN))
    return pc.if_else(held, pa.scalar(TEST), others)


def checked_groups(groups: "pa.Array | pa.ChunkedArray") -> "pa.Array":
    """The group of each row as strings in one array.

    Raises:
        TableError: a row without a group.
    """
    import pyarrow as pa

    if groups.null_count:
        raise TableError(f"{groups.null_count} rows have no group: a scene cannot be held together")
    return one_array(groups).cast(pa.string())
