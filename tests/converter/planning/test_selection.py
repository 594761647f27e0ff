"""Which patches a pass over a source gives, and when it tells which of them are incomplete."""

from pathlib import Path

import pytest

from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.planning.selection import Selection, select_patches
from patchpress.converter.sources.locate import locate
from patchpress.readers.errors import PatchError
from tests.support.older_sets import SCENE, make_sen12ms
from tests.support.packing import entries, members, write

LACKS = f"{SCENE}_lc_1_p31.tif"


def selection(source: Path, problems: list[PatchError]) -> Selection:
    description = find_description("sen12ms")
    parts = locate(description, source, {}, None)
    return select_patches(description, parts, None, problems.append)


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """SEN12MS, in which a triplet lacks its land cover."""
    make_sen12ms(tmp_path / "raw")
    next((tmp_path / "raw").rglob(LACKS)).unlink()
    return tmp_path / "raw"


@pytest.fixture
def archived(unpacked: Path, tmp_path: Path) -> Path:
    """The same, in archives."""
    for kind in ("s2", "s1", "lc"):
        names = [name for name in members(unpacked, SCENE) if f"_{kind}_" in name]
        write(tmp_path / "packed" / f"{SCENE}_{kind}.tar", entries(unpacked, names))
    return tmp_path / "packed"


def test_folders_tell_at_once_which_patches_are_incomplete(unpacked: Path) -> None:
    problems: list[PatchError] = []
    chosen = selection(unpacked, problems)
    assert len(chosen.incomplete) == len(problems) == 1
    assert chosen.counts == {"s2": 3, "s1": 3, "lc": 3}
    patches = chosen.read()
    assert not chosen.incomplete & {patch.identity for patch in patches}
    assert patches.incomplete_patches() == []


def test_archives_tell_at_the_end_of_the_pass(archived: Path) -> None:
    problems: list[PatchError] = []
    chosen = selection(archived, problems)
    assert (chosen.incomplete, problems) == (frozenset(), [])
    patches = chosen.read()
    keys = {patch.key for patch in patches}
    (lacking,) = patches.incomplete_patches()
    assert set(lacking.keys) == {"s2", "s1"}
    assert set(lacking.keys.values()) < keys
    assert str(lacking.error) == f"patch {lacking.identity} has no lc"


def test_a_pass_does_not_tell_before_its_end(archived: Path) -> None:
    patches = selection(archived, []).read()
    with pytest.raises(RuntimeError, match="after the end of the pass"):
        patches.incomplete_patches()
    coming = iter(patches)
    next(coming)
    with pytest.raises(RuntimeError, match="after the end of the pass"):
        patches.incomplete_patches()
    assert len(list(coming)) == 10
    assert len(patches.incomplete_patches()) == 1


def test_a_pass_is_made_once_and_another_one_is_the_same(archived: Path) -> None:
    chosen = selection(archived, [])
    patches = chosen.read()
    found = [patch.key for patch in patches]
    with pytest.raises(RuntimeError, match="begin another one"):
        iter(patches)
    again = chosen.read()
    assert [patch.key for patch in again] == found
    assert len(again.incomplete_patches()) == 1
