"""Counts, weights, shares and folds: computed from labels alone, and what they promise."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.warp import transform

from patchpress.readers import subsets, weights
from patchpress.readers.errors import OptionError, SelectionEmpty
from patchpress.readers.ground import KM_A_DEGREE, blocks, degrees_of
from patchpress.readers.samples import Samples
from patchpress.readers.targets import label_array
from tests.support.loading import refused, rows_in, same, with_table

Hot = npt.NDArray[np.bool_]


@pytest.fixture
def samples(stacked: Path) -> Samples:
    return Samples(stacked)


@pytest.fixture(scope="session")
def official(shared_data: Path) -> Hot:
    """The labels of all 480,038 recommended patches of the official table, as bools."""
    labels = pq.read_table(shared_data / "bigearthnet-v2" / "metadata.parquet")["labels"]
    names = sorted({name for row in labels.to_pylist() for name in row})
    assert len(names) == 19
    found: Hot = label_array(labels, names, names, bool)
    return found


def drawn(seed: int, count: int = 400, classes: int = 7) -> Hot:
    random = np.random.default_rng(seed)
    return random.random((count, classes)) < random.random(classes) * 0.5


def test_counts_and_weights_are_those_counted_by_hand(samples: Samples) -> None:
    rows = rows_in(samples.store)
    counted = Counter(name for row in rows for name in row["labels"])
    wanted = [counted[name] for name in samples.classes]
    assert samples.class_counts().tolist() == wanted
    weight = [(15 - n) / n if n else 15 for n in wanted]
    same(samples.pos_weight(), np.array(weight, np.float32))
    rarest = [min(counted[name] for name in row["labels"]) for row in rows]
    np.testing.assert_allclose(samples.sample_weights(), 1 / np.array(rarest))
    some = samples.subset([0, 3])
    assert some.class_counts().tolist() == samples.labels[[0, 3]].sum(axis=0).tolist()


@given(st.integers(0, 2**32))
def test_class_weights_make_all_classes_count_alike(seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 5, 60) % 4
    hot = subsets.multi_hot(labels, 60, 6)
    found = weights.class_weight(hot)
    counts = weights.class_counts(hot)
    assert counts.tolist() == np.bincount(labels, minlength=6).tolist()
    assert (found[counts == 0] == 0).all()
    np.testing.assert_allclose((found * counts)[counts > 0], 60 / (counts > 0).sum(), rtol=1e-5)
    np.testing.assert_allclose(found[labels].mean(), 1, rtol=1e-5)


def test_weights_of_samples_are_finite_for_any_labels() -> None:
    nothing = np.zeros((3, 4), bool)
    assert weights.sample_weights(nothing).tolist() == [1, 1, 1]
    assert weights.pos_weight(nothing).tolist() == [3, 3, 3, 3]
    one = nothing.copy()
    one[0, 2] = one[1, 2] = one[1, 1] = True
    assert weights.sample_weights(one).tolist() == [0.5, 1, 0.5]


@given(
    st.integers(0, 2**32),
    st.sampled_from([(0.5, 0.5), (0.1, 0.9), (0.7, 0.3), (0.2,) * 5, (0.6, 0.2, 0.2)]),
)
def test_every_class_has_its_share_in_each_part(seed: int, shares: tuple[float, ...]) -> None:
    hot = drawn(seed)
    parts = subsets.stratified_parts(hot, shares, seed)
    assert parts.shape == (400,)
    for number, share in enumerate(shares):
        inside = parts == number
        assert abs(inside.sum() - 400 * share) <= 8
        assert np.abs(hot[inside].sum(axis=0) - share * hot.sum(axis=0)).max() <= 8


def test_the_official_classes_are_parted_evenly(official: Hot) -> None:
    for shares in ((0.2,) * 5, (0.01, 0.99)):
        parts = subsets.stratified_parts(official, shares, 1)
        for number, share in enumerate(shares):
            of_class = official[parts == number].sum(axis=0) / official.sum(axis=0)
            assert np.abs(of_class - share).max() < 0.001


def test_parts_depend_on_the_seed_alone() -> None:
    hot = drawn(3)
    first = subsets.stratified_parts(hot, (0.2,) * 5, 7)
    assert (first == subsets.stratified_parts(hot, (0.2,) * 5, 7)).all()
    assert (first != subsets.stratified_parts(hot, (0.2,) * 5, 8)).any()
    # Folds that somebody has published results of must not change with a version of this package.
    assert first[:20].tolist() == FIRST_TWENTY


FIRST_TWENTY = [1, 2, 0, 4, 3, 1, 3, 1, 2, 0, 2, 4, 2, 4, 0, 3, 1, 3, 3, 2]


@given(st.integers(0, 2**32), st.integers(2, 6))
def test_groups_stay_whole_and_parts_are_even(seed: int, count: int) -> None:
    hot = drawn(seed)
    groups = np.random.default_rng(seed).integers(0, 60, len(hot))
    parts = subsets.grouped_parts(hot, groups, count, seed)
    for group in np.unique(groups):
        assert len(np.unique(parts[groups == group])) == 1
    sizes = np.bincount(parts, minlength=count)
    assert sizes.max() - sizes.min() <= 2 * np.bincount(groups).max()


@given(st.integers(0, 2**32), st.integers(2, 9))
def test_as_few_groups_as_parts_fill_each(seed: int, count: int) -> None:
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(count), 30 // count))
    parts = subsets.grouped_parts(drawn(seed, len(groups)), groups, count, seed)
    assert sorted(np.unique(parts)) == list(range(count))


@given(st.integers(0, 2**32), st.integers(1, 20))
def test_each_class_is_there_so_often(seed: int, count: int) -> None:
    hot = drawn(seed)
    numbers = subsets.of_each_class(hot, count, seed)
    assert (np.diff(numbers) > 0).all()
    there = np.minimum(hot.sum(axis=0), count)
    assert (hot[numbers].sum(axis=0) >= there).all()
    assert len(numbers) <= there.sum()


def test_a_share_of_samples_keeps_their_order(samples: Samples) -> None:
    third = samples.fraction(1 / 3, seed=4)
    assert len(third) in (4, 5, 6)
    assert (np.diff(third.row_numbers) > 0).all()
    assert third.digest == samples.fraction(1 / 3, seed=4).digest
    assert len({samples.fraction(1 / 3, seed=seed).digest for seed in range(9)}) > 1
    assert samples.fraction(1).digest == samples.fraction(1.0).digest == samples.digest
    same(third[:], samples[third.row_numbers])
    without = Samples(samples.store, target=None).fraction(0.4)
    assert len(without) == 6
    for wrong in (0, 1.1, -0.5, True, "all", None):
        said = refused(OptionError, lambda wrong=wrong: samples.fraction(wrong))
        assert said == f"a share must be above 0 and at most 1, not {wrong!r}"
    assert "seed must be a whole number" in refused(
        OptionError, lambda: samples.fraction(0.5, seed=-1)
    )
    said = refused(SelectionEmpty, lambda: samples.fraction(0.001))
    assert said == "0.001 of 15 samples is less than one sample"


def test_so_many_of_each_class(samples: Samples) -> None:
    two = samples.per_class(2, seed=1)
    assert (two.class_counts() >= np.minimum(samples.class_counts(), 2)).all()
    assert len(samples.per_class(99)) == len(samples)
    for wrong in (0, 1.5, True, "2"):
        assert "must be 1 or more" in refused(
            OptionError, lambda wrong=wrong: samples.per_class(wrong)
        )
    unlabelled = Samples(samples.store, target="map")
    assert "have no label" in refused(OptionError, lambda: unlabelled.per_class(2))


def test_folds_part_the_samples(samples: Samples) -> None:
    folds = samples.folds(3, seed=2)
    seen = [number for _, own in folds for number in own.row_numbers]
    assert sorted(seen) == list(range(15))
    for others, own in folds:
        assert sorted([*others.row_numbers, *own.row_numbers]) == list(range(15))
        assert 3 <= len(own) <= 7
        same(own[:], samples[own.row_numbers])
    again = samples.folds(3, seed=2)
    assert [own.digest for _, own in again] == [own.digest for _, own in folds]


def test_folds_keep_groups_together(samples: Samples) -> None:
    country = [row["country"] for row in rows_in(samples.store)]
    for groups in ("country", country, np.array(country)):
        for others, own in samples.folds(3, groups=groups):
            inside, outside = own.table(["country"]), others.table(["country"])
            assert not set(inside["country"].to_pylist()) & set(outside["country"].to_pylist())
    said = refused(OptionError, lambda: samples.folds(3, groups="county"))
    assert said == "the table has no column 'county'; nearest is 'country'"
    assert "2 groups for 15 samples" in refused(
        OptionError, lambda: samples.folds(3, groups=["a", "b"])
    )
    said = refused(OptionError, lambda: samples.folds(9, groups="country"))
    assert "groups cannot be parted into 9 folds" in said
    assert "not both" in refused(
        OptionError, lambda: samples.folds(3, groups="country", block_km=10)
    )
    for wrong in (1, 2.5, True, "3"):
        assert "must be 2 folds" in refused(OptionError, lambda wrong=wrong: samples.folds(wrong))
    assert "cannot be parted into 16 folds" in refused(OptionError, lambda: samples.folds(16))


def test_folds_of_blocks_keep_neighbours_together(samples: Samples) -> None:
    for others, own in samples.folds(2, block_km=120):
        for row in own.table().to_pylist():
            for other in others.table().to_pylist():
                if row["epsg"] == other["epsg"]:
                    # Blocks of 120 km hold a tile of 110 km in at most four parts.
                    same_block = block_of(row) == block_of(other)
                    assert not same_block
    assert "more than 0 km" in refused(OptionError, lambda: samples.folds(2, block_km=0))


def block_of(row: dict[str, Any], km: float = 120) -> tuple[int, int]:
    x, y = (row["left"] + row["right"]) / 2, (row["bottom"] + row["top"]) / 2
    (longitude,), (latitude,) = transform(f"EPSG:{row['epsg']}", "EPSG:4326", [x], [y])
    line = int(latitude * KM_A_DEGREE // km)
    wide = np.cos(np.radians((line + 0.5) * km / KM_A_DEGREE))
    return line, int(longitude * KM_A_DEGREE * wide // km)


@pytest.mark.parametrize("epsg", [32601, 32629, 32633, 32660, 32719, 32756])
def test_degrees_are_those_of_proj(epsg: int) -> None:
    random = np.random.default_rng(epsg)
    x, y = random.uniform(1e5, 9e5, 200), random.uniform(1e5, 9.3e6, 200)
    found = degrees_of(epsg, x, y)
    assert found is not None
    wanted = transform(f"EPSG:{epsg}", "EPSG:4326", x.tolist(), y.tolist())
    east = (found[0] - np.array(wanted[0]) + 180) % 360 - 180
    assert np.abs(east).max() < 1e-8
    assert np.abs(found[1] - np.array(wanted[1])).max() < 1e-8


def test_one_place_has_one_block_in_two_zones() -> None:
    longitude, latitude = np.linspace(11.8, 12.2, 50), np.linspace(47, 48, 50)
    found = []
    for code in (32632, 32633, 4326):
        east, north = transform("EPSG:4326", f"EPSG:{code}", longitude.tolist(), latitude.tolist())
        found.append((np.full(50, code), np.array(east), np.array(north)))
    epsg, x, y = (np.concatenate(parts) for parts in zip(*found, strict=True))
    numbers = blocks(epsg, x, y, 10).reshape(3, 50)
    assert (numbers == numbers[0]).all()
    assert len(np.unique(numbers)) > 10
    # An unknown system has blocks of its own.
    other = blocks(np.full(2, 3035), np.array([4e6, 4.02e6]), np.array([3e6, 3e6]), 10)
    assert other.tolist() == [0, 1]


def test_patches_without_bounds_have_no_neighbours(stacked: Path, tmp_path: Path) -> None:
    """As in a store made of another program's records, which do not say where they lie."""
    copy = tmp_path / "store"
    shutil.copytree(stacked, copy)
    table = pq.read_table(copy / "metadata.parquet")
    for column in ("epsg", "left", "bottom", "right", "top"):
        at, kind = table.column_names.index(column), table.schema.field(column).type
        table = table.set_column(at, column, pa.nulls(len(table), kind))
    with_table(copy, table)
    said = refused(OptionError, lambda: Samples(copy).folds(2, block_km=10))
    assert said.startswith("some of these samples have no bounds in the table")


def test_the_table_of_samples_is_theirs_row_by_row(samples: Samples) -> None:
    some = samples.subset([7, 2, 9])
    assert some.table(["patch_id"])["patch_id"].to_pylist() == some.keys()
    assert some.table().column_names == samples.store.table().column_names
    assert "no column 'x'" in refused(OptionError, lambda: some.table(["x"]))


def test_one_class_a_patch_is_parted_too() -> None:
    labels = np.random.default_rng(0).choice(4, 500, p=[0.7, 0.2, 0.08, 0.02])
    hot = subsets.multi_hot(labels, 500, 4)
    parts = subsets.stratified_parts(hot, (0.1, 0.9), 0)
    for number, share in enumerate((0.1, 0.9)):
        counts = np.bincount(labels[parts == number], minlength=4)
        assert np.abs(counts - share * np.bincount(labels)).max() <= 1
    parted = subsets.multi_hot(np.array([[0.0, 0.3], [1.0, 0.0]], np.float32), 2, 2)
    assert parted.tolist() == [[False, True], [True, False]]
