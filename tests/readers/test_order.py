"""The order of samples: permutations, shares of processes, the same everywhere."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from patchpress.readers.errors import OptionError
from patchpress.readers.order import Order
from tests.support.helpers import python
from tests.support.loading import flat

SIZES = st.integers(1, 300)
BATCHES = st.integers(1, 40)
WORLDS = st.integers(1, 5)


def seen(order: Order, epoch: int = 0) -> list[int]:
    return [int(index) for index in flat(order.epoch(epoch))]


def shares(samples: int, batch: int, world: int, **options: object) -> list[Order]:
    return [
        Order(samples=samples, batch_size=batch, rank=rank, world_size=world, **options)  # type: ignore[arg-type]
        for rank in range(world)
    ]


@given(SIZES, BATCHES, st.integers(0, 2**40), st.integers(0, 50))
def test_each_epoch_is_a_permutation(samples: int, batch: int, seed: int, epoch: int) -> None:
    order = Order(samples=samples, batch_size=batch, shuffle=True, seed=seed)
    assert sorted(seen(order, epoch)) == list(range(samples))


@given(SIZES, BATCHES)
def test_without_shuffling_samples_come_as_they_are(samples: int, batch: int) -> None:
    order = Order(samples=samples, batch_size=batch)
    assert seen(order, 0) == seen(order, 7) == list(range(samples))


@given(SIZES, BATCHES)
def test_all_batches_but_the_last_are_whole(samples: int, batch: int) -> None:
    order = Order(samples=samples, batch_size=batch, shuffle=True)
    sizes = [len(some) for some in order.epoch(3)]
    assert len(sizes) == order.batches
    assert set(sizes[:-1]) <= {batch}
    assert sizes[-1] == samples - batch * (len(sizes) - 1)


@given(SIZES, BATCHES, WORLDS, st.booleans())
def test_processes_have_equal_shares_and_together_all(
    samples: int, batch: int, world: int, shuffle: bool
) -> None:
    orders = shares(samples, batch, world, shuffle=shuffle, seed=5)
    own = [seen(order, 2) for order in orders]
    assert {len(some) for some in own} == {-(-samples // world)}
    assert {order.batches for order in orders} == {orders[0].batches}
    assert set().union(*own) == set(range(samples))
    # No sample comes more often than the evening out needs.
    counts = np.bincount(flat(own), minlength=samples)
    assert counts.max() - counts.min() <= 1


@given(SIZES, BATCHES, WORLDS)
def test_drop_last_leaves_whole_batches_and_no_sample_twice(
    samples: int, batch: int, world: int
) -> None:
    assume(samples >= batch * world)
    orders = shares(samples, batch, world, shuffle=True, drop_last=True)
    own = [seen(order, 1) for order in orders]
    together = flat(own)
    assert {len(some) for order in orders for some in order.epoch(1)} == {batch}
    assert len(set(together)) == len(together) == samples // (batch * world) * batch * world
    assert {order.batches for order in orders} == {len(own[0]) // batch}


def test_epochs_seeds_and_ranks_differ() -> None:
    first = seen(Order(samples=100, batch_size=10, shuffle=True, seed=1), 0)
    assert first != seen(Order(samples=100, batch_size=10, shuffle=True, seed=1), 1)
    assert first != seen(Order(samples=100, batch_size=10, shuffle=True, seed=2), 0)
    assert first == seen(Order(samples=100, batch_size=10, shuffle=True, seed=1), 0)
    one, two = shares(100, 10, 2, shuffle=True)
    assert not set(seen(one)) & set(seen(two))


def test_the_order_of_a_seed_is_known() -> None:
    # A state dict is of use only as long as these stay: a NumPy that draws otherwise shows here.
    assert seen(Order(samples=12, batch_size=5, shuffle=True, seed=7), 0) == [
        4,
        6,
        10,
        0,
        1,
        3,
        8,
        7,
        2,
        5,
        9,
        11,
    ]
    assert seen(Order(samples=12, batch_size=5, shuffle=True, seed=7), 3) == [
        4,
        2,
        5,
        8,
        7,
        3,
        11,
        10,
        0,
        1,
        9,
        6,
    ]


def test_the_order_is_the_same_in_another_process() -> None:
    text = (
        "import json; from patchpress.readers.order import Order; "
        "order = Order(samples=1000, batch_size=64, shuffle=True, seed=123, rank=1, world_size=3); "
        "print(json.dumps([batch.tolist() for batch in order.epoch(4)]))"
    )
    here = Order(samples=1000, batch_size=64, shuffle=True, seed=123, rank=1, world_size=3).epoch(4)
    ended = python("-c", text)
    assert json.loads(ended.out) == [batch.tolist() for batch in here], ended.err


def test_the_state_is_plain_and_of_no_rank() -> None:
    numbers: Any = {"samples": np.int64(9), "batch_size": np.int32(2), "seed": np.uint8(4)}
    one, two = (Order(**numbers, rank=rank, world_size=2) for rank in (0, 1))
    assert one.state() == two.state()
    assert json.loads(json.dumps(one.state())) == one.state()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 0}, "a batch must have 1 sample or more, not 0"),
        ({"batch_size": "train"}, "batch_size must be a whole number, not 'train'"),
        ({"batch_size": 2.5}, "batch_size must be a whole number, not 2.5"),
        ({"seed": -1}, "a seed must be 0 or more, not -1"),
        ({"seed": None}, "seed must be a whole number, not None"),
        ({"rank": 2, "world_size": 2}, "rank 2 of 2 processes cannot be: ranks count from 0"),
        ({"rank": -1}, "rank -1 of 1 processes cannot be: ranks count from 0"),
        ({"world_size": 0}, "rank 0 of 0 processes cannot be: ranks count from 0"),
        (
            {"batch_size": 11, "drop_last": True},
            "10 samples give no whole batch of 11 in each of 1 processes: give a smaller "
            "batch_size, or no drop_last",
        ),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(options: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError) as error:
        Order(**{"samples": 10, "batch_size": 2} | options)  # type: ignore[arg-type]
    assert str(error.value) == said
