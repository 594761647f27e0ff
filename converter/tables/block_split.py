"""Splits by blocks of ground: what lies in one block has one split, so neighbours are together.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.block_options import BlockRule
from patchpress.converter.distances import shown_distance
from patchpress.converter.tables.draw import draw_groups
from patchpress.converter.tables.neighbours import nearest_km
from patchpress.converter.tables.patch_places import GroundPlaces
from patchpress.converter.tables.splits import TEST, TRAIN, VALIDATION
from patchpress.converter.text import several
from patchpress.readers.format.arrow_kinds import plain
from patchpress.readers.format.split_names import STANDARD
from patchpress.readers.ground import cells_of

if TYPE_CHECKING:
    import pyarrow as pa

Numbers = npt.NDArray[np.int64]
BESIDE = 1.5  # sides of a patch: the middles of two that touch are 1 to 1.42 of them apart
NONE = 3  # the number of no split, after those of `STANDARD`


@dataclass(frozen=True, slots=True)
class BlockSplit:
    """The split of each row, and what is to be told of it."""

    values: "pa.Array"
    """Strings; null for a row in no split."""
    notes: tuple[str, ...]
    """A sentence each."""


def split_by_blocks(places: GroundPlaces, groups: "pa.Array | None", rule: BlockRule) -> BlockSplit:
    """The split of each row: that of the block in which the patch's middle lies.

    Blocks are the squares of one grid over the globe, `patchpress.readers.ground.cells_of`.
    Which of them are test, and which of the others validation, is drawn: it depends on the seed and
    on the blocks' numbers and sizes, never on the order of the rows. The rows of a split are as
    near to its share as whole blocks allow.

    Args:
        places: of the rows.
        groups: the group of each row, strings; blocks with patches of one group have one split.
            None if there are no groups.
        rule: how.
    """
    import pyarrow as pa

    known = np.flatnonzero(places.known)
    part = np.full(len(places.middles), NONE, np.int64)
    count = 0
    if len(known):
        blocks, names = _blocks(places.middles[known], rule.km)
        if groups is not None:
            own = groups.take(pa.array(known)).dictionary_encode().indices.to_numpy()
            blocks, names = _united(blocks, names, own)
        count = len(names)
        part[known] = _drawn(blocks, names, rule)[blocks]
    notes = _notes_of_places(places, rule)
    if rule.buffer_km:
        notes += _leave_buffer(places, part, rule)
    notes.insert(0, _shares_told(part, count, rule))
    values = pa.array([*STANDARD, None], pa.string()).take(pa.array(part))
    return BlockSplit(values, tuple(notes))


def _blocks(middles: npt.NDArray[Any], km: float) -> tuple[Numbers, list[str]]:
    """(the block of each place, the blocks' names: row and column in the grid)."""
    cells = np.stack(cells_of(middles[:, 0], middles[:, 1], km), axis=1)
    unique, numbers = np.unique(cells, axis=0, return_inverse=True)
    return numbers.reshape(-1), [f"{row}/{column}" for row, column in unique.tolist()]


def _united(blocks: Numbers, names: Sequence[str], groups: Numbers) -> tuple[Numbers, list[str]]:
    """The same, after blocks that have patches of one group have become one."""
    first = list(range(len(names)))  # the first of the blocks that are one with each

    def root(block: int) -> int:
        while first[block] != block:
            first[block] = block = first[first[block]]
        return block

    block_of_group: dict[int, int] = {}
    for block, group in np.unique(np.stack([blocks, groups], axis=1), axis=0).tolist():
        one, other = root(block), root(block_of_group.setdefault(group, block))
        first[max(one, other)] = min(one, other)
    roots = np.array([root(block) for block in range(len(names))])
    unique, numbers = np.unique(roots, return_inverse=True)
    return numbers.reshape(-1)[blocks], [names[block] for block in unique.tolist()]


def _drawn(blocks: Numbers, names: Sequence[str], rule: BlockRule) -> Numbers:
    """For each block the number of its split in `STANDARD`."""
    _, validation, test = rule.shares
    sizes = dict(zip(names, np.bincount(blocks, minlength=len(names)).tolist(), strict=True))
    split_of = dict.fromkeys(names, TRAIN)
    for split, share in ((TEST, test), (VALIDATION, validation / max(1 - test, 1e-12))):
        left = {name: size for name, size in sizes.items() if split_of[name] == TRAIN}
        for name in draw_groups(left, share, rule.seed) if share else ():
            split_of[name] = split
    return np.array([STANDARD.index(split_of[name]) for name in names], np.int64)


def _leave_buffer(places: GroundPlaces, part: Numbers, rule: BlockRule) -> list[str]:
    """Take patches near those of another split out of theirs; gives what is told of it.

    Patches are taken as circles through their corners, so that none is nearer than it seems.
    """
    train, validation, test = (STANDARD.index(name) for name in (TRAIN, VALIDATION, TEST))
    lost: dict[str, int] = {}
    for own, other in ((validation, test), (train, test), (train, validation)):
        rows, against = np.flatnonzero(part == own), part == other
        if not len(rows) or not against.any():
            continue
        reach = places.reach_km[rows] + places.reach_km[against].max()
        within = rule.buffer_km + float(reach.max())
        apart = nearest_km(places.middles[rows], places.middles[against], within) - reach
        near = rows[apart < rule.buffer_km]
        part[near] = NONE
        lost[STANDARD[own]] = lost.get(STANDARD[own], 0) + len(near)
    told = ", ".join(f"{lost[name]:,} of {name}" for name in STANDARD if lost.get(name))
    return [
        f"buffer of {shown_distance(rule.buffer_km)}: "
        + (f"patches in no split, since they lie in it: {told}" if told else "no patch lies in it")
    ]


def _notes_of_places(places: GroundPlaces, rule: BlockRule) -> list[str]:
    lost = int((~places.known).sum())
    notes = []
    if lost:
        codes = ", ".join(map(str, places.unknown_codes))
        why = f" (EPSG codes that are unknown here: {codes})" if codes else ""
        notes.append(f"patches without a georeference, in no split: {lost:,}{why}")
    if places.side_km > rule.km:
        notes.append(
            f"blocks of {shown_distance(rule.km)} are smaller than patches of about "
            f"{places.side_km:.1f} km: neighbours are parted; give a larger --block"
        )
    return notes


def _shares_told(part: Numbers, count: int, rule: BlockRule) -> str:
    """One line: the blocks, and of each split the share that was asked for and the one it has."""
    counts = np.bincount(part, minlength=NONE + 1)[:NONE]
    total_known = int(counts.sum())
    total = max(total_known, 1)
    told = ", ".join(
        f"{name} asked {share:.2f}, is {rows / total:.2f}"
        for name, share, rows in zip(STANDARD, rule.shares, counts.tolist(), strict=True)
    )
    if not total_known:
        return f"no patch has a georeference: blocks of {shown_distance(rule.km)} split none"
    empty = [
        name
        for name, share, rows in zip(STANDARD, rule.shares, counts.tolist(), strict=True)
        if share and not rows
    ]
    if empty:
        told += f"; no whole block is so small as {' or '.join(empty)}: give a smaller --block"
    blocks = several(count, "block")
    return f"split by {blocks} of {shown_distance(rule.km)}, seed {rule.seed}: {told}"


def leaks_told(
    places: GroundPlaces, rows: "pa.Table", column: str, values: "pa.Array"
) -> list[str]:
    """How near test is to train, a line each: by these splits, and before by those of the rows."""
    found = [("from a patch of test to the nearest one of train", values)]
    if column in rows.column_names:
        found.append(("before, by the splits that were there", rows[column]))
    return [
        f"{what}: {leak_words(distances, places.side_km)}"
        for what, splits in found
        if len(distances := distances_to_train(places, plain(splits)))
    ]


def leak_words(distances: npt.NDArray[np.float64], side_km: float) -> str:
    """What distances of patches of test to train say, in words."""
    beside = BESIDE * side_km
    share = float((distances < beside).mean())
    return (
        f"median {np.median(distances):.1f} km, {share:.1%} nearer than {beside:.1f} km, that is "
        "beside it or over it"
    )


def distances_to_train(
    places: GroundPlaces,
    splits: "pa.Array | pa.ChunkedArray",
) -> npt.NDArray[np.float64]:
    """Kilometres from the middle of each patch of test to that of the nearest one of train.

    Args:
        places: of the rows.
        splits: of the rows, strings.
    """
    import pyarrow.compute as pc

    train, test = (
        np.asarray(pc.fill_null(pc.equal(splits, name), False)).astype(bool) & places.known
        for name in (TRAIN, TEST)
    )
    if not train.any() or not test.any():
        return np.empty(0)
    return nearest_km(places.middles[test], places.middles[train])
