"""Names found among many: as pyarrow finds them, with a table that is made once."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from patchpress.converter.tables import name_index
from patchpress.converter.tables.name_index import NameIndex, RepeatedNames, of_hashes
from patchpress.converter.tables.packed_names import PackedNames

NAMES = [f"patch_{at:05}" for at in range(3000)]


@pytest.fixture(params=["hashed", "few"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "hashed":
        monkeypatch.setattr(name_index, "FEW", 0)
        monkeypatch.setattr(name_index, "_AT_ONCE", 700)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("names", [NAMES, NAMES[::-1], ["b", "a", "b", "", "a"], ["a"]])
def test_places_are_those_that_pyarrow_gives(names: list[str]) -> None:
    asked = pa.chunked_array([[*NAMES[::7], None, "", "a", "none"], ["b", NAMES[1]], []])
    index = NameIndex(pa.array(names))
    expected = pc.index_in(asked, value_set=pa.array(names)).combine_chunks()
    assert index.index(asked).equals(expected)
    assert index.has(asked).tolist() == expected.is_valid().to_pylist()
    met = index.found(index.index(asked)).tolist()
    assert met == [name in set(asked.to_pylist()) for name in names]


@pytest.mark.usefixtures("_way")
def test_slices_and_nothing_at_all() -> None:
    index = NameIndex(pa.chunked_array([NAMES]).slice(100, 50))
    assert index.index(pa.array(NAMES).slice(149, 2)).to_pylist() == [49, None]
    assert NameIndex(pa.array([], pa.string())).index(pa.array(["a"])).to_pylist() == [None]
    assert len(index.index(pa.chunked_array([], pa.string()))) == 0


@pytest.mark.parametrize("common", [1, 7])
def test_different_names_with_one_hash(monkeypatch: pytest.MonkeyPatch, common: int) -> None:
    monkeypatch.setattr(name_index, "FEW", 0)
    monkeypatch.setattr(name_index, "xxh3_64_intdigest", lambda name: len(name) % common)
    names = ["a", "bb", "cc", "ddd"]
    index = NameIndex(pa.array(names))
    assert index.index(pa.array(["cc", "x", "ddd", "bb"])).to_pylist() == [2, None, 3, 1]


def test_a_name_that_is_there_twice_is_suspected() -> None:
    names = RepeatedNames()
    names.add(pa.chunked_array([NAMES[:2000]]))
    names.add(pa.array(NAMES[2000:]))
    assert len(names) == 3000
    assert not len(names.suspected())
    names.add(pa.array([NAMES[17], "new"]))
    twice = of_hashes(pa.array(NAMES), names.suspected())
    assert twice.to_pylist() == [NAMES[17]]


def test_packed_names_are_a_sequence() -> None:
    packed = PackedNames()
    assert not packed
    packed.add(pa.array(NAMES[:1000]))
    packed.add(pa.array(NAMES[1000:]))
    packed.add(pa.array([], pa.string()))
    assert packed == NAMES
    assert packed != NAMES[1:]
    assert list(packed) == NAMES
    assert (packed[-1], packed[999], packed[1000]) == (NAMES[-1], NAMES[999], NAMES[1000])
    assert packed[998:1002] == NAMES[998:1002]
    with pytest.raises(IndexError):
        packed[3000]
