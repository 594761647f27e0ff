"""Garbage is collected rarely while a command works, and as before after it."""

import gc
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import patchpress
from patchpress.converter.collections import RARELY, rarely_collected
from patchpress.converter.progress import NoProgress
from patchpress.readers.errors import PatchpressError
from tests.support.helpers import DATASET
from tests.support.synthetic import Row

USUAL = (700, 10, 10)


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(*USUAL)
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize("kept", [(0, 10, 10), RARELY, (RARELY[0] * 2, 1, 1)])
def test_who_collects_more_rarely_is_left_alone(kept: tuple[int, int, int]) -> None:
    gc.set_threshold(*kept)
    with rarely_collected():
        assert gc.get_threshold() == kept
    assert gc.get_threshold() == kept


class Looking(NoProgress):
    """Notes the thresholds while patches are stored."""

    def __init__(self) -> None:
        self.seen = set[tuple[int, int, int]]()

    def advance(self, *words: object, **more: object) -> None:
        self.seen.add(gc.get_threshold())


def test_a_conversion_collects_rarely_and_gives_back_what_was(
    made_tree: tuple[Path, list[Row]], tmp_path: Path
) -> None:
    looking = Looking()
    patchpress.convert(DATASET, made_tree[0], tmp_path / "a", workers=0, progress=looking)
    assert looking.seen == {RARELY}
    assert gc.get_threshold() == USUAL
    with pytest.raises(PatchpressError):
        patchpress.convert(DATASET, tmp_path / "nowhere", tmp_path / "b", workers=0)
    assert gc.get_threshold() == USUAL
    assert patchpress.verify(tmp_path / "a").problems == []
    assert gc.get_threshold() == USUAL


def test_functions_show_what_they_take() -> None:
    assert [*inspect.signature(patchpress.convert).parameters][:3] == ["dataset", "source", "store"]
