"""The patches that `--limit` takes: spread over all names, the same each time."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpress.converter.planning import limited_patches
from patchpress.converter.planning.limited_patches import limited
from patchpress.converter.sources.patch import Patch
from tests.support.helpers import patch_named


def numbered(count: int) -> list[Patch]:
    return [patch_named(f"{number:07}") for number in range(count)]


def test_ten_of_the_published_names_are_of_most_countries(shared_data: Path) -> None:
    """The first ten names are of one country."""
    table = pq.read_table(shared_data / "bigearthnet-v2" / "metadata.parquet",
                          columns=["patch_id", "country"]).sort_by("patch_id")  # fmt: skip
    country = dict(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
    some = list(limited((patch_named(name) for name in country), 10, is_spread=True))
    assert len(some) == 10
    assert len({country[patch.name] for patch in some}) >= 6
    assert len({country[name] for name in list(country)[:10]}) == 1


@given(st.integers(1, 300), st.integers(1, 60))
def test_one_comes_from_each_stretch(count: int, limit: int) -> None:
    found = [int(patch.key) for patch in limited(numbered(count), limit, is_spread=True)]
    assert len(found) == min(count, limit)
    for at, number in enumerate(found):
        assert at * count // len(found) <= number <= (at + 1) * count // len(found)


def test_of_very_many_they_are_nearly_even(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limited_patches, "SAMPLED", 64)
    for count in (63, 64, 65, 127, 128, 129, 1000, 5001):
        found = [int(patch.key) for patch in limited(numbered(count), 8, is_spread=True)]
        assert len(found) == 8
        for at, number in enumerate(found):
            assert abs(number - (2 * at + 1) * count / 16) <= count / 32 + 1


def test_without_a_spread_nothing_more_than_the_first_is_read() -> None:
    names = iter(numbered(100))
    found = limited(names, 3, is_spread=False)
    assert [patch.key for patch in found] == ["0000000", "0000001", "0000002"]
    assert next(names).key == "0000003"
