"""Batches that are filled with coarse bands of several records at a time, against each alone."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest

from patchpress.readers.access.filling import GATHERED, MOST, Filling
from patchpress.readers.access.plan import Plan, plan_of
from patchpress.readers.format.modality import Band, Compression, Modality

SIZES = {"a": 4, "b": 12, "c": 4, "d": 6, "e": 6, "f": 12, "g": 2, "h": 12, "i": 6}


def modality(dtype: str, scale: int = 1) -> Modality:
    bands = (Band(n, 120 / s, dtype, (s * scale, s * scale)) for n, s in SIZES.items())
    return Modality(
        name="m",
        title="",
        kind="image",
        key="{patch_id}",
        layout="native",
        resampling="nearest",
        compression=Compression(),
        bands=tuple(bands),
        records=1,
    )


def records(plan: Plan, count: int) -> list[memoryview]:
    rng = np.random.default_rng(count)
    nbytes = plan.size - len(plan.header)
    return [memoryview(plan.header + rng.bytes(nbytes)) for _ in range(count)]


def alone(plan: Plan, some: Sequence[memoryview]) -> npt.NDArray[np.uint8]:
    out = np.zeros((len(some), *plan.shape), plan.dtype)
    for record, patch in zip(some, out, strict=True):
        plan.fill(record, patch)
    return out.view(np.uint8)


@pytest.mark.parametrize("count", [1, 2, MOST - 1, MOST, MOST + 1, 3 * MOST + 2])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("bands", [None, ("b", "f"), ("i", "b", "a", "a", "g"), tuple("edcba")])
@pytest.mark.parametrize("in_order", [True, False])
def test_a_batch_is_what_each_patch_is_alone(
    count: int, dtype: str, bands: tuple[str, ...] | None, in_order: bool
) -> None:
    plan = plan_of(modality(dtype), bands)
    some = records(plan, count)
    out = np.zeros((count, *plan.shape), plan.dtype)
    filling = Filling(plan, out)
    rows = range(count) if in_order else np.random.default_rng(0).permutation(count).tolist()
    for row in rows:
        filling.fill(some[row], row)
    filling.finish()
    np.testing.assert_array_equal(out.view(np.uint8), alone(plan, some))
    coarse = np.zeros_like(out)
    if plan.coarse:
        for row in rows:
            filling.gather(np.frombuffer(some[row], np.uint8), row)
            for _, _, start, end in plan.copies:
                filling.rows[row, start:end] = 0
        filling.finish()
        for row in rows:
            plan._repeat(some[row], coarse[row])
        np.testing.assert_array_equal(out.view(np.uint8), coarse.view(np.uint8))


@pytest.mark.slow
def test_records_larger_than_what_is_gathered() -> None:
    plan = plan_of(modality("uint16", scale=100), None)
    assert plan.scratch_size > GATHERED
    some = records(plan, 3)
    out = np.zeros((3, *plan.shape), plan.dtype)
    filling = Filling(plan, out)
    for row, record in enumerate(some):
        filling.fill(record, row)
    filling.finish()
    np.testing.assert_array_equal(out.view(np.uint8), alone(plan, some))


def test_batches_under_way_together_do_not_mix() -> None:
    plans = [plan_of(modality("uint16"), bands) for bands in (None, tuple("gdca"))]
    some = [records(plan, MOST + 3) for plan in plans]
    expected = [alone(plan, each) for plan, each in zip(plans, some, strict=True)]

    def filled(_: int) -> list[npt.NDArray[np.uint8]]:
        outs = [np.zeros((MOST + 3, *plan.shape), plan.dtype) for plan in plans]
        fillings = [Filling(plan, out) for plan, out in zip(plans, outs, strict=True)]
        left = Filling(plans[0], outs[0].copy())
        left.fill(some[0][1], 0)  # one that an error ended
        for row in range(MOST + 3):
            for filling, each in zip(fillings, some, strict=True):
                filling.fill(each[row], row)
        for filling in fillings:
            filling.finish()
        return [out.view(np.uint8) for out in outs]

    with ThreadPoolExecutor(4) as pool:
        for outs in pool.map(filled, range(16)):
            for out, right in zip(outs, expected, strict=True):
                np.testing.assert_array_equal(out, right)
