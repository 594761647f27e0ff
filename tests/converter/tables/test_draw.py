"""Groups drawn for validation: the same ones as ever, since stored splits must not change."""

import hashlib
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpress.converter.tables.draw import EXACT, draw_groups, latest_starts

SIZES = st.lists(st.integers(1, 30), max_size=12)


def drawn_with_big_integers(sizes: dict[str, int], fraction: float, seed: int) -> list[str]:
    """What was drawn when splits were first stored: bit n of an integer is a sum of n rows."""
    order = sorted(sizes, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    goal = fraction * sum(sizes.values())
    upto = np.cumsum([sizes[name] for name in order])
    full = int(np.searchsorted(upto, goal, side="right"))
    start = max(0, min(full - 256 // 2, len(order) - 256))
    drawn = order[:start]
    window = order[start : start + 256]
    sums = [1]
    for name in reversed(window):
        sums.append(sums[-1] | sums[-1] << sizes[name])
    sums.reverse()
    left = nearest_bit(sums[0], goal - sum(sizes[name] for name in drawn))
    for name, rest in zip(window, sums[1:], strict=True):
        if sizes[name] <= left and rest >> (left - sizes[name]) & 1:
            drawn.append(name)
            left -= sizes[name]
    return drawn


def nearest_bit(bits: int, goal: float) -> int:
    below = (bits & ((1 << int(goal) + 1) - 1)).bit_length() - 1
    higher = bits >> int(goal) + 1
    if not higher:
        return below
    above = int(goal) + (higher & -higher).bit_length()
    return below if goal - below <= above - goal else above


@given(SIZES, st.floats(0, 0.999), st.integers(0, 9))
def test_the_groups_drawn_are_those_of_before(sizes: list[int], fraction: float, seed: int) -> None:
    groups = {f"g{at}": size for at, size in enumerate(sizes)}
    assert draw_groups(groups, fraction, seed) == drawn_with_big_integers(groups, fraction, seed)


@pytest.mark.parametrize("count", [EXACT - 1, EXACT, EXACT + 1, 700])
@pytest.mark.parametrize("most", [1, 12, 900])
def test_of_many_groups_those_of_before_are_drawn(count: int, most: int) -> None:
    random = Random(count * most)  # noqa: S311
    groups = {f"scene_{at}": random.randint(1, most) for at in range(count)}
    for seed in range(4):
        for fraction in (0.0, 0.001, 0.1, 1 / 3, 0.5, random.random(), 0.9, 0.999):
            expected = drawn_with_big_integers(groups, fraction, seed)
            assert draw_groups(groups, fraction, seed) == expected, (seed, fraction)


@given(SIZES, st.floats(0, 200))
def test_a_latest_start_is_the_last_from_which_groups_reach_a_number(
    sizes: list[int], goal: float
) -> None:
    found = latest_starts(sizes, goal).tolist()
    reached: list[set[int]] = [{0}]
    for size in reversed(sizes):
        reached.append(reached[-1] | {total + size for total in reached[-1]})
    reached.reverse()  # reached[at]: the sums of some of the groups from `at` on
    assert len(found) == min(sum(sizes), int(2 * goal)) + 1
    for number, start in enumerate(found):
        starts = [at for at, sums in enumerate(reached) if number in sums]
        assert start == max(starts, default=-1)
