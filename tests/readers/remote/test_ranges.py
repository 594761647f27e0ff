from hypothesis import given
from hypothesis import strategies as st

from patchpress.readers.remote.ranges import GAP, LARGEST, Wanted, together

RANGES = st.lists(
    st.builds(
        lambda file, start, size, row: Wanted(file, start, start + size, row),
        st.integers(0, 2),
        st.integers(0, 20 << 20),
        st.integers(1, 2 << 20),
        st.integers(0, 63),
    ),
    max_size=30,
)


def test_neighbours_come_with_one_request() -> None:
    near = [Wanted(0, 0, 100, 0), Wanted(0, 100 + GAP, 200 + GAP, 1)]
    (one,) = together(near)
    assert (one.start, one.end, one.ranges) == (0, 200 + GAP, tuple(near))


def test_far_ones_do_not() -> None:
    assert len(together([Wanted(0, 0, 100, 0), Wanted(0, 101 + GAP, 300 + GAP, 1)])) == 2
    assert len(together([Wanted(0, 0, 100, 0), Wanted(1, 100, 200, 1)])) == 2
    assert len(together([Wanted(0, 0, LARGEST, 0), Wanted(0, LARGEST, LARGEST + 1, 1)])) == 2


@given(RANGES)
def test_each_range_is_in_one_request(wanted: list[Wanted]) -> None:
    groups = together(wanted)
    assert sorted(one for group in groups for one in group.ranges) == sorted(wanted)
    for group in groups:
        assert all(group.file == one.file for one in group.ranges)
        assert all(group.start <= one.start < one.end <= group.end for one in group.ranges)
        assert len(group.ranges) == 1 or group.end - group.start <= LARGEST
        read = sum(one.end - one.start for one in group.ranges)
        assert group.end - group.start <= read + GAP * (len(group.ranges) - 1)
