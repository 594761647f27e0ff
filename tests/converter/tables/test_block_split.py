"""Splits by blocks of ground: whole blocks of one grid over the globe, and shares."""

from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rasterio.warp import transform

from patchpress.converter.block_options import BlockRule, block_rule
from patchpress.converter.tables.block_split import distances_to_train, leaks_told, split_by_blocks
from patchpress.converter.tables.patch_places import GroundPlaces, patch_places
from patchpress.readers.errors import OptionError
from patchpress.readers.ground import cells_of
from tests.support.loading import refused

TEN = BlockRule(10.0, seed=3)


def grid(zone: int = 33, side: int = 60, west: int = 300_000, north: int = 5_400_000) -> Any:
    """EPSG codes and bounds of side x side patches of 1.2 km beside one another."""
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    left, top = west + 1200.0 * x.ravel(), north - 1200.0 * y.ravel()
    bounds = np.stack([left, top - 1200, left + 1200, top], axis=1)
    return np.full(side**2, 32600 + zone), bounds


def splits_of(places: GroundPlaces, rule: BlockRule = TEN, groups: Any = None) -> list[str | None]:
    found: list[str | None] = split_by_blocks(places, groups, rule).values.to_pylist()
    return found


def test_each_block_has_one_split_and_shares_are_as_asked() -> None:
    places = patch_places(*grid())
    found = splits_of(places)
    of_block = defaultdict(set)
    for cell, split in zip(
        zip(*cells_of(places.middles[:, 0], places.middles[:, 1], 10.0), strict=True),
        found,
        strict=True,
    ):
        of_block[cell].add(split)
    assert len(of_block) > 40
    assert all(len(some) == 1 for some in of_block.values())
    for split, share in (("train", 0.7), ("validation", 0.15), ("test", 0.15)):
        assert abs(found.count(split) / len(found) - share) < 0.005
    told = split_by_blocks(places, None, TEN).notes[0]
    assert told == (
        f"split by {len(of_block)} blocks of 10km, seed 3: train asked 0.70, is 0.70, validation "
        "asked 0.15, is 0.15, test asked 0.15, is 0.15"
    )


def test_the_order_of_the_rows_decides_nothing_and_the_seed_all() -> None:
    epsg, bounds = grid()
    order = np.random.default_rng(0).permutation(len(epsg))
    found = np.array(splits_of(patch_places(epsg, bounds)))
    assert (np.array(splits_of(patch_places(epsg[order], bounds[order]))) == found[order]).all()
    assert splits_of(patch_places(epsg, bounds), BlockRule(10.0, seed=4)) != found.tolist()


@pytest.mark.parametrize(("zone", "other"), [(33, 34), (60, 1), (1, 60)])
def test_a_place_that_two_zones_show_has_one_block(zone: int, other: int) -> None:
    """Also across the meridian where longitudes begin again."""
    epsg, bounds = grid(zone, 30, west=700_000 if other in (34, 1) else 260_000)
    x, y = (bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2
    there = np.stack(transform(f"EPSG:{32600 + zone}", f"EPSG:{32600 + other}", x, y), axis=1)
    across = np.concatenate([there - 600, there + 600], axis=1)
    one, two = patch_places(epsg, bounds), patch_places(np.full(900, 32600 + other), across)
    cells = [
        np.stack(cells_of(places.middles[:, 0], places.middles[:, 1], 5.0)) for places in (one, two)
    ]
    assert (cells[0] == cells[1]).all()
    both = patch_places(np.append(epsg, np.full(900, 32600 + other)), np.vstack([bounds, across]))
    found = splits_of(both, BlockRule(5.0))
    assert found[:900] == found[900:]


def test_in_every_latitude_blocks_are_as_wide_as_high() -> None:
    for latitude in (0.0, 48.0, 71.0, -85.0):
        lon, lat = np.meshgrid(np.linspace(10, 20, 2001), np.full(1, latitude))
        _, columns = cells_of(lon.ravel(), lat.ravel(), 10.0)
        wide = 10 * 111.2 * np.cos(np.radians(latitude)) / (columns.max() - columns.min() + 1)
        assert 8 < wide < 11


def test_polar_patches_are_split_too() -> None:
    x, y = np.meshgrid(np.arange(-30, 30), np.arange(-30, 30))
    left, bottom = 2000.0 * x.ravel(), 2000.0 * y.ravel()  # around the pole itself
    bounds = np.stack([left, bottom, left + 2000, bottom + 2000], axis=1)
    found = splits_of(patch_places(np.full(len(left), 3413), bounds), BlockRule(20.0))
    assert set(found) == {"train", "validation", "test"}
    assert None not in found


def test_groups_stay_together() -> None:
    places = patch_places(*grid())
    # Scenes of 20 x 20 patches: each lies in several blocks, and shares some with its neighbours.
    y = np.arange(3600) // 60
    scenes = pa.array([f"scene {row}" for row in (y // 20).tolist()])
    alone = splits_of(places, BlockRule(5.0))
    found = splits_of(places, BlockRule(5.0), scenes)
    assert (
        len(
            {
                split
                for split, scene in zip(alone, scenes.to_pylist(), strict=True)
                if scene == "scene 0"
            }
        )
        > 1
    )
    for scene in set(scenes.to_pylist()):
        assert len({f for f, s in zip(found, scenes.to_pylist(), strict=True) if s == scene}) == 1


def test_what_has_no_place_has_no_split_and_is_told() -> None:
    epsg, bounds = grid(side=20)
    epsg[:7], epsg[7:9] = 0, 9_999_999
    found = split_by_blocks(patch_places(epsg, bounds), None, BlockRule(3.0))
    assert found.values[:9].null_count == found.values.null_count == 9
    assert found.notes[1] == (
        "patches without a georeference, in no split: 9 (EPSG codes that are unknown here: 9999999)"
    )
    none = split_by_blocks(patch_places(epsg[:9], bounds[:9]), None, TEN)
    assert none.values.null_count == 9
    assert none.notes[0] == "no patch has a georeference: blocks of 10km split none"
    assert len(split_by_blocks(patch_places(epsg[:0], bounds[:0]), None, TEN).values) == 0


def test_too_large_and_too_small_blocks_are_told() -> None:
    places = patch_places(*grid(side=4))
    large = split_by_blocks(places, None, BlockRule(500.0))
    assert large.notes[0].endswith(
        "no whole block is so small as validation or test: give a smaller --block"
    )
    small = split_by_blocks(places, None, BlockRule(0.5))
    assert small.notes[1].startswith("blocks of 500m are smaller than patches of about 1.2 km")


def test_nothing_of_train_is_nearer_to_test_than_the_buffer() -> None:
    places = patch_places(*grid())
    before, after = TEN, BlockRule(10.0, seed=3, buffer_km=2.5)
    whole, found = splits_of(places, before), splits_of(places, after)
    lost = {split: whole.count(split) - found.count(split) for split in ("train", "validation")}
    assert found.count("test") == whole.count("test")
    assert found.count(None) == sum(lost.values()) > 0
    assert all(one in (None, other) for one, other in zip(found, whole, strict=True))
    # Edge to edge: squares of 1.2 km whose middles are less than 2.5 + 1.2 apart would be nearer.
    assert distances_to_train(places, pa.array(found)).min() > 2.5 + 1.2
    assert distances_to_train(places, pa.array(whole)).min() < 1.3
    assert split_by_blocks(places, None, after).notes[1] == (
        f"buffer of 2.5km: patches in no split, since they lie in it: {lost['train']:,} of train, "
        f"{lost['validation']:,} of validation"
    )


def test_how_near_test_is_to_train_is_told_before_and_after() -> None:
    places = patch_places(*grid())
    scattered = np.random.default_rng(0).permutation(np.array(splits_of(places)))
    table = pa.table({"split": scattered})
    now, before = leaks_told(places, table, "split", pa.array(splits_of(places)))
    assert now.startswith("from a patch of test to the nearest one of train: median ")
    assert before == (
        "before, by the splits that were there: median 1.2 km, 100.0% nearer than 1.8 km, that is "
        "beside it or over it"
    )
    assert leaks_told(places, pa.table({}), "split", pa.nulls(3600, pa.string())) == []


@pytest.mark.parametrize(
    ("shares", "found"),
    [("0.7,0.15,0.15", (0.7, 0.15, 0.15)), (" 1, 0 ,0", (1, 0, 0)), ([0.5, 0.25, 0.25], None)],
)
def test_shares_and_their_settings(shares: Any, found: Any) -> None:
    rule = block_rule("geographic", "1.5km", shares, "500m", 7)
    assert rule is not None
    assert rule.shares == (found or tuple(shares))
    assert rule.settings() == {
        "seed": 7, "block": "1.5km", "buffer": "500m",
        "shares": ",".join(f"{share:g}" for share in rule.shares),
    }  # fmt: skip
    if found == (1, 0, 0):
        assert set(splits_of(patch_places(*grid(side=9)), BlockRule(3.0, rule.shares))) == {"train"}


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ({"block": "10"}, "block must be a distance with its unit, 100m to 2000km, such as 10km"),
        ({"block": "10 miles"}, "not '10 miles'"),
        ({"block": 10}, "not 10"),
        ({"block": "1m"}, "not '1m'"),
        ({"block": "1e9km"}, "not '1e9km'"),
        ({"buffer": "-1km"}, "buffer must be a distance with its unit, 0km to 500km"),
        ({"shares": "0.7,0.3"}, "shares must be three numbers of train, validation and test"),
        ({"shares": "0.7,0.2,0.2"}, "not 0.7,0.2,0.2"),
        ({"shares": "0,0.5,0.5"}, "train above 0"),
        ({"shares": "nan,0.5,0.5"}, "not nan,0.5,0.5"),
        ({"shares": 3}, "not 3"),
        ({"seed": -1}, "seed must be 0 or more, not -1"),
        ({"seed": True}, "seed must be 0 or more, not True"),
        ({"validation": 0.1}, "validation 0.1 and block '10km' exclude each other"),
        ({"split": "official"}, "block '10km' has no effect with split official"),
        ({"block": None, "shares": "1,0,0"}, "shares '1,0,0' has no effect without blocks"),
        ({"block": None, "buffer": "1km"}, "buffer '1km' has no effect without blocks"),
    ],
)
def test_what_cannot_be_is_refused(asked: Any, part: str) -> None:
    given = {"split": "geographic", "block": "10km"} | asked
    assert part in refused(OptionError, lambda: block_rule(**given))
