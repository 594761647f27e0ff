"""Which split a patch is in: by its place in a tile, by published lists, by held-out groups.

Pure functions over columns; pyarrow is imported inside them: it starts threads, and workers must
fork before.
"""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import OptionError, TableError

if TYPE_CHECKING:
    import pyarrow as pa

TRAIN, VALIDATION, TEST = "train", "validation", "test"
TILE_M = 109_800  # side of a Sentinel-2 tile in metres
PATCH_M = 1_200  # side of a patch in metres: 120 pixels of 10 m
POSITION = r".+_(?P<x>\d{1,2})_(?P<y>\d{1,2})"
"""A name that ends in its column and row in the tile, padded or not."""

Indices = npt.NDArray[np.int64]


def geographic(
    columns: npt.ArrayLike, rows: npt.ArrayLike, tile_m: float = TILE_M, patch_m: float = PATCH_M
) -> npt.NDArray[np.str_]:
    """The split of each patch by nested frames of its tile: train outside, test in the middle.

    Tiles overlap at their edges only, where both are train.

    Derivation: the frames share a tile of side S as 2 : 1 : 1. What remains inside the train frame
    of width a1 has half the area, (S - 2 a1)^2 = S^2 / 2, so a1 = S (2 - sqrt 2) / 4; the test
    square has a quarter, (S - 2 (a1 + a2))^2 = S^2 / 4, so a1 + a2 = S / 4. With d the distance of
    a patch's centre to the nearest edge of its tile: train up to a1, validation up to a1 + a2,
    test beyond: 16,079.84 m and 27,450 m, where no centre lies. Source: arXiv:2407.03653.

    Args:
        columns: integers, 0 at the western edge.
        rows: integers, 0 at the northern edge; as many.
        tile_m: side of the tile in metres.
        patch_m: side of a patch in metres; the grid begins at the tile's north-west corner.

    Returns:
        "train", "validation" or "test" for each, an array of strings.

    Raises:
        OptionError: sides that are not 0 < patch_m <= tile_m.
        TableError: a patch that does not lie in the tile whole.
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


def positions(
    names: "pa.Array | pa.ChunkedArray", pattern: str = POSITION
) -> tuple[Indices, Indices]:
    """Column and row of each patch in its tile, from its name.

    Args:
        names: strings.
        pattern: a regular expression (RE2, no look-around) of the whole name, with groups x and y.

    Returns:
        Columns and rows, int64.

    Raises:
        OptionError: no regular expression, or one without the groups.
        TableError: a name that the pattern does not match, or no name.
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
        raise TableError(
            "a row has no name"
            if name is None
            else f"{name!r} has no column and row in it: it does not match {pattern!r}"
        )
    try:
        x, y = (pc.struct_field(found, axis).cast(pa.int64()).to_numpy() for axis in "xy")
    except pa.ArrowInvalid as error:
        raise TableError(f"column and row, by {pattern!r}, are no numbers: {error}") from None
    return x, y


def by_position(
    names: "pa.Array | pa.ChunkedArray",
    pattern: str = POSITION,
    tile_m: float = TILE_M,
    patch_m: float = PATCH_M,
) -> "pa.Array":
    """The `geographic` split of each name, as strings.

    Raises:
        OptionError: as `positions` and `geographic`.
        TableError: as `positions` and `geographic`.
    """
    import pyarrow as pa

    return pa.array(geographic(*positions(names, pattern), tile_m, patch_m), pa.string())


@dataclass(frozen=True, slots=True)
class Listed:
    """Splits by published lists, and what the lists name in vain."""

    splits: "pa.Array"
    """Strings, null for a name in no list."""
    absent: Mapping[str, tuple[str, ...]]
    """Split -> names of its list that are not there, in the list's order; splits with some only."""


def by_lists(names: "pa.Array | pa.ChunkedArray", lists: Mapping[str, Sequence[str]]) -> Listed:
    """The split of each name: the one whose list has it.

    Raises:
        TableError: a name in two lists, or twice in one.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    split_of: dict[str, str] = {}
    for split, listed in lists.items():
        for name in listed:
            if name in split_of:
                where = "twice in" if split_of[name] == split else f"in {split_of[name]} and in"
                raise TableError(f"{name} is {where} {split}: a patch has one split")
            split_of[name] = split
    keys = pa.array(list(split_of), pa.string())
    splits = pa.array(list(split_of.values()), pa.string())
    own = names.cast(pa.string())
    found = _flat(splits.take(_flat(pc.index_in(own, value_set=keys))))
    absent: dict[str, list[str]] = {}
    for name in keys.filter(pc.invert(pc.is_in(keys, value_set=_flat(own)))).to_pylist():
        absent.setdefault(split_of[name], []).append(name)
    return Listed(found, {split: tuple(missing) for split, missing in absent.items()})


def hold_out(groups: "pa.Array | pa.ChunkedArray", held_out: Collection[str]) -> "pa.Array":
    """Test where a row's group (its scene) is held out, else train, as strings.

    Raises:
        TableError: a row without a group.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    own = _groups(groups)
    held = pc.is_in(own, value_set=pa.array(sorted(held_out), pa.string()))
    return pc.if_else(held, pa.scalar(TEST), pa.scalar(TRAIN))


EXACT = 256  # groups among which the best sum is sought, so that time and memory stay small


def draw_validation(
    splits: "pa.Array | pa.ChunkedArray",
    groups: "pa.Array | pa.ChunkedArray",
    fraction: float,
    seed: int,
) -> "pa.Array":
    """Move whole groups from train to validation, until `fraction` of the train rows are there.

    Whole groups, as their patches overlap. Which ones, depends on the seed, on the groups' names
    and on their sizes, never on the order of the rows or on the machine. As near to the fraction
    as whole groups allow (above 256 groups: as some choice of 256 of them allows), rather below
    than as far above it; so none at all where the groups are few and the fraction is small.

    Raises:
        OptionError: a fraction that is not 0 <= fraction < 1.
        TableError: a row without a group, or columns of unlike length.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not 0 <= fraction < 1:
        raise OptionError(f"a fraction of the train rows is at least 0 and below 1, not {fraction}")
    before, own = _flat(splits).cast(pa.string()), _groups(groups)
    if len(before) != len(own):
        raise TableError(f"there are {len(before)} splits for {len(own)} groups")
    train = pc.fill_null(pc.equal(before, TRAIN), False)
    counted = pc.value_counts(own.filter(train))
    sizes = dict(
        zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
    )
    drawn = pa.array(_draw(sizes, fraction, seed), pa.string())
    moved = pc.and_(train, pc.is_in(own, value_set=drawn))
    return pc.if_else(moved, pa.scalar(VALIDATION), before)


def _draw(sizes: Mapping[str, int], fraction: float, seed: int) -> list[str]:
    """Groups in a drawn order, taken while the rest can still bring the sum nearest to the goal."""
    # A digest, as the random module promises its shuffle for no other version of Python.
    order = sorted(sizes, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    goal = fraction * sum(sizes.values())
    upto = np.cumsum([sizes[name] for name in order])
    full = int(np.searchsorted(upto, goal, side="right"))
    start = max(0, min(full - EXACT // 2, len(order) - EXACT))
    drawn = order[:start]
    window = order[start : start + EXACT]
    # Bit n of sums[i] is set if some of the groups from i on have n rows together.
    sums = [1]
    for name in reversed(window):
        sums.append(sums[-1] | sums[-1] << sizes[name])
    sums.reverse()
    left = _nearest(sums[0], goal - sum(sizes[name] for name in drawn))
    for name, rest in zip(window, sums[1:], strict=True):
        if sizes[name] <= left and rest >> (left - sizes[name]) & 1:
            drawn.append(name)
            left -= sizes[name]
    return drawn


def _nearest(bits: int, goal: float) -> int:
    """The set bit nearest to the goal, the lower of two; bit 0 is set."""
    below = (bits & ((1 << int(goal) + 1) - 1)).bit_length() - 1
    higher = bits >> int(goal) + 1
    if not higher:
        return below
    above = int(goal) + (higher & -higher).bit_length()
    return below if goal - below <= above - goal else above


def _groups(groups: Any) -> Any:
    import pyarrow as pa

    if groups.null_count:
        raise TableError(f"{groups.null_count} rows have no group: a scene cannot be held together")
    return _flat(groups).cast(pa.string())


def _flat(values: Any) -> Any:
    """A chunked array as one array; an array as it is."""
    import pyarrow as pa

    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
