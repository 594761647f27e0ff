"""Validation rows drawn from the train rows, by whole groups.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchpress.converter.tables.arrow import one_array
from patchpress.converter.tables.splits import TRAIN, VALIDATION, checked_groups
from patchpress.readers.errors import OptionError, TableError

if TYPE_CHECKING:
    import pyarrow as pa

EXACT = 256
"""Groups among which the best sum is sought, so that time and memory stay small."""


def draw_validation(
    splits: "pa.Array | pa.ChunkedArray",
    groups: "pa.Array | pa.ChunkedArray",
    fraction: float,
    seed: int,
) -> "pa.Array":
    """Move whole groups from train to validation, until about `fraction` of the train rows moved.

    Groups move as a whole because their patches overlap. Which groups move depends on the seed and
    on the groups' names and sizes, never on the order of the rows or on the machine. The number of
    rows that move is as near to the fraction as whole groups allow, and if two numbers are equally
    near, the lower one; if there are more than 256 groups, as some 256 of them allow. With few
    groups and a small fraction, none may move.

    Args:
        splits: the split of each row, strings.
        groups: the group of each row, strings.
        fraction: of the train rows.
        seed: of the draw.

    Returns:
        The new split of each row, strings.

    Raises:
        OptionError: a fraction that is not 0 <= fraction < 1.
        TableError: a row without a group, or columns of different length.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not 0 <= fraction < 1:
        raise OptionError(f"a fraction of the train rows is at least 0 and below 1, not {fraction}")
    before, own = one_array(splits).cast(pa.string()), checked_groups(groups)
    if len(before) != len(own):
        raise TableError(f"there are {len(before)} splits for {len(own)} groups")
    train = pc.fill_null(pc.equal(before, TRAIN), False)
    counted = pc.value_counts(own.filter(train))
    names, counts = (counted.field(field).to_pylist() for field in ("values", "counts"))
    drawn = pa.array(
        draw_groups(dict(zip(names, counts, strict=True)), fraction, seed), pa.string()
    )
    moved = pc.and_(train, pc.is_in(own, value_set=drawn))
    return pc.if_else(moved, pa.scalar(VALIDATION), before)


def draw_groups(sizes: Mapping[str, int], fraction: float, seed: int) -> list[str]:
    """Groups that together have about `fraction` of all rows.

    The groups are put into an order that only the seed and their names decide. The first of them
    are drawn until the goal is near. Of the next `EXACT` groups, each is drawn if the groups after
    it can still bring the sum to the number of rows that is nearest to the goal.

    Args:
        sizes: group -> its rows.
        fraction: of the rows of all groups.
        seed: of the draw.
    """
    # A digest, because Python does not promise the order of random.shuffle for later versions.
    order = sorted(sizes, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    goal = fraction * sum(sizes.values())
    upto = np.cumsum([sizes[name] for name in order])
    below = int(np.searchsorted(upto, goal, side="right"))  # the first so many do not exceed it
    # Half of the groups of the window come before the goal is reached, half after.
    start = max(0, min(below - EXACT // 2, len(order) - EXACT))
    drawn = order[:start]
    window = order[start : start + EXACT]
    goal -= sum(sizes[name] for name in drawn)
    latest = latest_starts([sizes[name] for name in window], goal)
    reachable = np.flatnonzero(latest >= 0)
    # argmin gives the first of two that are equally near, which is the lower one.
    left = int(reachable[np.argmin(np.abs(reachable - goal))])
    for at, name in enumerate(window):
        rest = left - sizes[name]
        if rest >= 0 and latest[rest] > at:
            drawn.append(name)
            left = rest
    return drawn


def latest_starts(sizes: Sequence[int], goal: float) -> npt.NDArray[np.int16]:
    """For each number of rows, the last position from which on groups can have exactly that many.

    If ``latest[n]`` is `i`, some of the groups ``sizes[i:]`` have `n` rows together, and no choice
    of the groups ``sizes[i + 1:]`` has. The groups are added from the last to the first: each new
    group at position `i` reaches every number that was reached before, plus its own size. A number
    that is reached once stays reached, so that one position per number answers the question "can
    the groups after position `i` have `n` rows together?" for every `i`: ``latest[n] > i``.

    Args:
        sizes: rows of each group.
        goal: numbers above twice the goal are left out: 0, which needs no group, is nearer.

    Returns:
        int16; -1 for numbers that no groups reach, ``len(sizes)`` for 0.
    """
    most = min(sum(sizes), int(2 * goal))
    latest = np.full(most + 1, -1, np.int16)
    latest[0] = len(sizes)
    reached = latest >= 0
    for at in reversed(range(len(sizes))):
        size = sizes[at]
        if size > most:
            continue
        # A view: `higher[n]` is `reached[n + size]`, which this group reaches from `reached[n]`.
        higher = reached[size:]
        new = reached[: len(higher)] & ~higher
        latest[size:][new] = at
        higher |= new
    return latest
