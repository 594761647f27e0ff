"""Splits by position, list and held-out scene: compared with the published ones, and properties."""

from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpress.converter.tables.draw import draw_validation
from patchpress.converter.tables.lists import read_list
from patchpress.converter.tables.splits import (
    TILE_M,
    split_by_frames,
    split_by_groups,
    split_by_lists,
    split_by_position,
    tile_positions,
)
from patchpress.readers.errors import OptionError, TableError

V2_TABLES = ("metadata", "metadata_for_patches_with_snow_cloud_or_shadow")
SCENE = r"^(?P<season>ROIs\d+_[a-z]+)_s2_(?P<scene>\d+)_p\d+\.tif$"
GROUPS = st.dictionaries(st.text("abc", min_size=1, max_size=4), st.integers(1, 20), max_size=9)


def by_integers(x: int, y: int) -> str:
    """The published split of the 91 x 91 grid, without geometry."""
    if 23 <= x <= 68 and 23 <= y <= 68:
        return "test"
    return "validation" if 13 <= x <= 77 and 13 <= y <= 77 else "train"


def scenes(names: pa.Array) -> pa.Array:
    parts = pc.extract_regex(names, SCENE)
    return pc.binary_join_element_wise(
        pc.struct_field(parts, "season"), pc.struct_field(parts, "scene"), "/s1_"
    )


def test_the_frames_are_the_integer_form_on_the_whole_grid() -> None:
    rows, columns = np.mgrid[:91, :91]
    found = split_by_frames(columns, rows)
    expected = [[by_integers(x, y) for x in range(91)] for y in range(91)]
    assert found.tolist() == expected
    counts = dict(zip(*np.unique(found, return_counts=True), strict=True))
    assert counts == {"train": 4056, "validation": 2109, "test": 2116}


def test_all_published_rows_have_their_published_split(shared_data: Path) -> None:
    equal = total = 0
    for table in V2_TABLES:
        path = shared_data / "bigearthnet-v2" / f"{table}.parquet"
        rows = pq.read_table(path, columns=["patch_id", "s1_name", "s2v1_name", "split"])
        found = split_by_position(rows["patch_id"])
        equal += pc.sum(pc.equal(found, rows["split"])).as_py()
        total += len(rows)
        for unpadded in ("s1_name", "s2v1_name"):
            assert split_by_position(rows[unpadded]).equals(found)
    assert (equal, total) == (549_488, 549_488)


@given(st.integers(1, 200), st.integers(1, 2000), st.integers(0, 1999))
def test_frames_of_any_tile_share_its_area_as_two_to_one_to_one(
    size: int, patch: int, rest: int
) -> None:
    rows, columns = np.mgrid[:size, :size]
    tile = size * patch + rest % patch
    found = split_by_frames(columns, rows, tile, patch)
    assert (found[0] == "train").all() or size < 4
    assert abs(np.mean(found == "train") - 0.5) <= 8 / size
    assert abs(np.mean(found == "test") - 0.25) <= 8 / size


@pytest.mark.parametrize(("x", "y"), [(91, 0), (0, 91), (-1, 0), (0, -1)])
def test_a_patch_outside_of_the_tile_is_an_error(x: int, y: int) -> None:
    with pytest.raises(TableError, match=f"column {x}, row {y} is outside of a tile of 109,800 m"):
        split_by_frames([3, x], [3, y])


@pytest.mark.parametrize("patch", [0, -5, TILE_M + 1])
def test_patches_that_fit_no_tile_are_refused(patch: int) -> None:
    with pytest.raises(OptionError, match="do not fit"):
        split_by_frames([0], [0], patch_m=patch)


def test_positions_are_read_padded_or_not() -> None:
    names = pa.chunked_array([["S2A_T33UUP_26_57", "S2A_0_9"], ["S2A_T33UUP_00_09"]])
    x, y = tile_positions(names)
    assert (x.tolist(), y.tolist()) == ([26, 0, 0], [57, 9, 9])
    assert x.dtype == y.dtype == np.int64
    own = tile_positions(pa.array(["row7-col12"]), r"row(?P<y>\d+)-col(?P<x>\d+)")
    assert [part.tolist() for part in own] == [[12], [7]]


@pytest.mark.parametrize(
    "name", ["S2A_T33UUP_26", "S2A_26_57.tif", "S2A_26_157", "S2A_26_57\n", ""]
)
def test_a_name_without_position_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(TableError, match="has no column and row in it") as caught:
        tile_positions(pa.array(["S2A_1_2", name]))
    assert repr(name) in str(caught.value)


def test_a_row_without_a_name_is_an_error() -> None:
    with pytest.raises(TableError, match="a row has no name"):
        tile_positions(pa.array(["S2A_1_2", None]))


@pytest.mark.parametrize("pattern", ["(", r".*_(?P<x>\d+)", r"(?P<x>\d)(?=a)(?P<y>\d)"])
def test_a_pattern_that_cannot_work_is_refused(pattern: str) -> None:
    with pytest.raises(OptionError):
        tile_positions(pa.array(["1_2"]), pattern)


def test_a_position_that_is_no_number_is_an_error() -> None:
    with pytest.raises(TableError, match="no numbers"):
        tile_positions(pa.array(["a_2"]), "(?P<x>.)_(?P<y>.)")


def test_official_v1_lists_split_the_official_names(shared_data: Path) -> None:
    folder = shared_data / "bigearthnet-v1"
    names = pq.read_table(folder / "s1_s2_mapping.parquet")["s2_name"]
    files = {"train": "train", "validation": "val", "test": "test"}
    listed = split_by_lists(names, {s: read_list(folder / f"{f}.csv") for s, f in files.items()})
    counts = {row["values"]: row["counts"] for row in pc.value_counts(listed.splits).to_pylist()}
    expected = {"train": 269_695, "validation": 123_723, "test": 125_866, None: 71_042}
    assert counts == expected
    assert listed.absent == {}


def test_listed_names_that_are_not_there_are_given() -> None:
    lists = {"train": ["b", "x", "a"], "test": ["c"], "validation": ["z", "y"]}
    listed = split_by_lists(pa.chunked_array([["a", "b"], ["c", "d"]]), lists)
    assert listed.splits.to_pylist() == ["train", "train", "test", None]
    assert listed.absent == {"train": ("x",), "validation": ("z", "y")}


def test_a_name_in_two_splits_is_an_error_that_names_it() -> None:
    with pytest.raises(TableError, match="b is in train and in test"):
        split_by_lists(pa.array(["a"]), {"train": ["a", "b"], "test": ["b"]})
    with pytest.raises(TableError, match="a is twice in train"):
        split_by_lists(pa.array(["a"]), {"train": ["a", "a"]})


def test_held_out_scenes_are_the_official_test_list(shared_data: Path) -> None:
    folder = shared_data / "sen12ms"
    lists = {split: read_list(folder / f"{split}_list.txt") for split in ("train", "test")}
    names = pa.array(lists["train"] + lists["test"])
    held_out = read_list(folder / "SEN12MS_holdOutScenes.txt")
    found = split_by_groups(scenes(names), held_out)
    assert len(held_out) == 26
    assert found.equals(split_by_lists(names, lists).splits)
    assert [pc.sum(pc.equal(found, s)).as_py() for s in ("train", "test")] == [162_555, 18_106]
    drawn = draw_validation(found, scenes(names), 0.1, seed=1)
    assert pc.sum(pc.equal(drawn, "validation")).as_py() == 16_255  # 16,255.5 is a tenth
    assert pc.equal(drawn, "test").equals(pc.equal(found, "test"))


def test_a_row_without_a_scene_is_an_error() -> None:
    with pytest.raises(TableError, match="1 rows have no group"):
        split_by_groups(pa.array(["a", None]), {"a"})
    with pytest.raises(TableError, match="2 splits for 1 groups"):
        draw_validation(pa.array(["train", "train"]), pa.array(["a"]), 0.5, 0)


@given(GROUPS, st.floats(0, 0.99), st.integers(0, 5), st.randoms(use_true_random=False))
def test_validation_is_whole_groups_as_near_as_they_allow_in_any_order_of_rows(
    sizes: dict[str, int], fraction: float, seed: int, random: Random
) -> None:
    rows = [name for name, size in sizes.items() for _ in range(size)]
    splits = pa.array(["train"] * len(rows), pa.string())
    drawn = draw_validation(splits, pa.array(rows, pa.string()), fraction, seed).to_pylist()
    split_of = dict(zip(rows, drawn, strict=True))
    assert [split_of[name] for name in rows] == drawn
    goal = fraction * len(rows)
    sums = [sum(some) for n in range(len(sizes) + 1) for some in combinations(sizes.values(), n)]
    assert abs(drawn.count("validation") - goal) == min(abs(total - goal) for total in sums)
    random.shuffle(rows)
    again = draw_validation(splits, pa.array(rows, pa.string()), fraction, seed).to_pylist()
    assert dict(zip(rows, again, strict=True)) == split_of


def test_other_splits_keep_their_rows_and_another_seed_draws_others() -> None:
    groups = pa.chunked_array([[f"g{n % 40}" for n in range(400)]])
    splits = pa.chunked_array([["test" if n % 40 < 8 else "train" for n in range(399)] + [None]])
    one, other = (draw_validation(splits, groups, 0.25, seed).to_pylist() for seed in (1, 2))
    assert one != other
    for before, after in zip(splits.to_pylist(), one, strict=True):
        assert after == before or (before, after) == ("train", "validation")
    assert one.count("validation") == 80


def test_many_groups_are_drawn_close_and_at_once() -> None:
    random = Random(3)  # noqa: S311
    groups = pa.array([f"g{random.randrange(20_000)}" for _ in range(200_000)])
    drawn = draw_validation(pa.array(["train"] * 200_000), groups, 0.1, 0)
    assert pc.sum(pc.equal(drawn, "validation")).as_py() == 20_000


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5, float("nan")])
def test_a_fraction_that_means_nothing_is_refused(fraction: float) -> None:
    with pytest.raises(OptionError, match="fraction of the train rows"):
        draw_validation(pa.array(["train"]), pa.array(["a"]), fraction, 0)
