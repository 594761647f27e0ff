"""Parts of some samples: shares, so many of each class, folds; with equal classes in each part.

Everything here is computed from labels and groups alone, in NumPy, and gives numbers of samples.
The same arguments give the same parts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import OptionError

Array = npt.NDArray[Any]
Numbers = npt.NDArray[np.int64]


def multi_hot(labels: Array | None, count: int, classes: int) -> npt.NDArray[np.bool_]:
    """Labels of any kind as (samples, classes) bool: whether a sample has the class at all.

    Args:
        labels: (samples, classes) of zeros and ones or of parts, or (samples,) of class indices;
            None for samples without labels.
        count: number of samples.
        classes: number of classes.
    """
    if labels is None:
        return np.zeros((count, 0), bool)
    if labels.ndim == 2:
        return np.asarray(labels > 0)
    return np.asarray(labels[:, None] == np.arange(classes))


def check_seed(seed: Any) -> int:
    """The seed as an int.

    Raises:
        OptionError: it is no whole number from 0 on.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise OptionError(f"a seed must be a whole number from 0 on, not {seed!r}")
    return int(seed)


def stratified_parts(
    hot: npt.NDArray[np.bool_], shares: Sequence[float], seed: int
) -> npt.NDArray[np.int64]:
    """A part for each sample, so that every class has the same shares in the parts.

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas 2011): class by class, the rarest first,
    samples go to the part that lacks the class most. Samples with the same set of classes are
    distributed together by the shares, and only what does not come out even goes by what lacks.

    Args:
        hot: (samples, classes) bool.
        shares: of each part, of all samples; their sum is 1.
        seed: decides which of equal samples go where.

    Returns:
        (samples,) int64, the number of the part.
    """
    random = np.random.default_rng(seed)
    sets, set_of = np.unique(np.packbits(hot, axis=1), axis=0, return_inverse=True)
    set_of = set_of.reshape(-1)
    shuffled = random.permutation(len(hot))
    members = np.split(
        shuffled[np.argsort(set_of[shuffled], kind="stable")],
        np.cumsum(np.bincount(set_of, minlength=len(sets)))[:-1],
    )
    frequency = hot.sum(axis=0)
    classes = [
        of[np.argsort(frequency[of], kind="stable")]
        for of in (np.flatnonzero(hot[rows[0]]) for rows in members)
    ]
    wanted = np.asarray(shares, float)
    lacking = np.outer(wanted, frequency)  # (parts, classes): samples that are still wanted
    room = wanted * len(hot)
    parts = np.zeros(len(hot), np.int64)
    for number in _rarest_first(frequency, classes):
        rows, of = members[number], classes[number]
        counts = np.floor(wanted * len(rows) + 1e-9).astype(np.int64)
        lacking[:, of] -= counts[:, None]
        room -= counts
        for _ in range(len(rows) - counts.sum()):
            best = _neediest(lacking / wanted[:, None], room / wanted, of)
            part = int(random.choice(best, p=wanted[best] / wanted[best].sum()))
            counts[part] += 1
            lacking[part, of] -= 1
            room[part] -= 1
        parts[rows] = np.repeat(np.arange(len(wanted)), counts)
    return parts


def _rarest_first(frequency: Array, classes: Sequence[Numbers]) -> list[int]:
    """Numbers of the sets of classes: those with the rarest class first, the empty set last."""
    rarest = [frequency[of[0]] if len(of) else np.inf for of in classes]
    return [int(number) for number in np.argsort(rarest, kind="stable")]


def _neediest(lacking: Array, room: Array, of: Numbers) -> Numbers:
    """The parts that lack the rarest of some classes most; of equal ones those with most room.

    Args:
        lacking: (parts, classes), in relation to the share of each part.
        room: (parts,), likewise.
        of: the classes, the rarest first.
    """
    best = np.arange(len(room))
    if len(of):
        need = lacking[:, of[0]]
        best = np.flatnonzero(need >= need.max() - 1e-9)
    found: Numbers = best[room[best] >= room[best].max() - 1e-9]
    return found


def grouped_parts(
    hot: npt.NDArray[np.bool_], groups: Array, count: int, seed: int
) -> npt.NDArray[np.int64]:
    """A part for each sample: groups stay whole, parts are as large and as mixed as these allow.

    Groups go, the largest first, to the part that lacks most of what they have.

    Args:
        hot: (samples, classes) bool.
        groups: (samples,) the group of each, of any dtype that can be sorted.
        count: number of parts.
        seed: decides among equal groups.

    Returns:
        (samples,) int64, the number of the part.

    Raises:
        OptionError: fewer groups than parts.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    if len(names) < count:
        raise OptionError(f"{len(names)} groups cannot be parted into {count} folds")
    # Samples count as a class of their own, so that the sizes are balanced, too.
    having = np.column_stack([hot, np.ones(len(hot), bool)]).astype(float)
    of_group = np.zeros((len(names), having.shape[1]))
    np.add.at(of_group, group_of, having)
    totals = of_group.sum(axis=0)
    of_group /= np.maximum(totals, 1)
    lacking = np.full((count, len(totals)), 1 / count)
    random = np.random.default_rng(seed)
    order = random.permutation(len(names))
    order = order[np.argsort(-of_group[order, -1], kind="stable")]
    part_of = np.zeros(len(names), np.int64)
    taken = np.zeros(count, np.int64)
    for left, group in zip(range(len(order), 0, -1), order, strict=True):
        need = lacking @ of_group[group] + lacking[:, -1] * of_group[group, -1]
        if left <= (taken == 0).sum():  # as many empty parts as groups: each gets one
            need = np.where(taken == 0, need, -np.inf)
        part = int(need.argmax())
        part_of[group] = part
        taken[part] += 1
        lacking[part] -= of_group[group]
    return part_of[group_of]


def of_each_class(hot: npt.NDArray[np.bool_], count: int, seed: int) -> Numbers:
    """Numbers of as few samples as have each class `count` times, or as often as there are any.

    The rarest class is served first; samples that were drawn for it count for their other classes.

    Args:
        hot: (samples, classes) bool.
        count: samples a class.
        seed: decides which.

    Returns:
        Numbers of samples, ascending.
    """
    random = np.random.default_rng(seed)
    drawn = np.zeros(len(hot), bool)
    for number in np.argsort(hot.sum(axis=0), kind="stable"):
        lacking = count - int(hot[drawn, number].sum())
        there = np.flatnonzero(hot[:, number] & ~drawn)
        if lacking > 0:
            drawn[random.permutation(there)[:lacking]] = True
    return np.flatnonzero(drawn)
