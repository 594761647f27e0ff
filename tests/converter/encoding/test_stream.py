"""Patches through workers: in order, in a bounded window, each with its own error."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.encoding.encoder import Recipe
from patchpress.converter.encoding.frame import ROOM, frame_size
from patchpress.converter.encoding.stream import CHUNK_BYTES, encoding
from patchpress.converter.sources.locate import locate
from patchpress.converter.sources.order import patches_in_key_order, walks_of
from patchpress.converter.sources.patch import Patch, ignore_problem
from patchpress.converter.storage.directfile import AHEAD
from patchpress.readers.errors import PatchError
from patchpress.readers.format.record import decode
from tests.support.helpers import described, first_band, tiny_dataset

pytestmark = pytest.mark.slow


def recipes(description: Path, layout: str = "native") -> dict[str, Recipe]:
    modalities = find_description(str(description)).modalities
    return {
        name: Recipe(source, layout, "nearest", "none", 3) for name, source in modalities.items()
    }


def patches_of(description: Path, source: Path) -> list[Patch]:
    found = find_description(str(description))
    parts = locate(found, source, {}, None)
    walks = walks_of(found, parts, lambda error: pytest.fail(str(error)))
    for walk in walks.values():
        assert list(walk)
    return list(patches_in_key_order(walks))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return tiny_dataset(tmp_path, {"g": [f"p{number}" for number in range(10, 22)]})


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_records_come_in_the_order_of_the_patches(tiny: Path, tmp_path: Path, workers: int) -> None:
    patches = patches_of(tiny, tmp_path / "raw")
    come = []
    with encoding(recipes(tiny), workers) as encode:
        for outcomes, release in encode(iter(patches)):
            for patch, result, frame in outcomes:
                assert not isinstance(result, PatchError)
                assert len(frame) == frame_size(result.length)
                end = ROOM + result.length
                assert not any(frame[end:])
                bands = decode(bytes(frame[ROOM:end]))
                for band, pixels in bands.items():
                    path = Path(patch.folder) / f"{patch.before}{band}{patch.after}"
                    assert pixels.tobytes() == first_band(path).tobytes()
                come.append(patch)
            release()
    assert come == patches


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_patch_gives_its_error_in_the_order_of_the_patches(
    tiny: Path, tmp_path: Path, workers: int
) -> None:
    patches = patches_of(tiny, tmp_path / "raw")
    (Path(patches[4].folder) / f"{patches[4].name}_fine.tif").write_bytes(b"")
    with encoding(recipes(tiny), workers) as encode:
        outcomes = [outcome[:2] for batch in encode(iter(patches)) for outcome in batch.outcomes]
    assert [patch for patch, _ in outcomes] == patches
    wrong = [patch.name for patch, result in outcomes if isinstance(result, PatchError)]
    assert wrong == [patches[4].name]


@pytest.mark.parametrize("workers", [0, 2])
def test_no_more_patches_are_taken_than_the_window_holds(tree: Path, workers: int) -> None:
    """However many patches there are, few are under way: memory does not grow with them."""
    description = described()
    source = description.modalities["s2"]
    walk = walks_of(description, locate(description, tree, {}, ("s2",)), ignore_problem)["s2"]
    few = list(walk)
    taken = done = 0

    def endless() -> Iterator[Patch]:
        nonlocal taken
        while True:
            for patch in few:
                taken += 1
                yield patch

    recipe = Recipe(source, "stacked", "nearest", "none", 3)
    window = (2 * workers + 3 + AHEAD) * (CHUNK_BYTES // 345_600 + 1)
    with encoding({"s2": recipe}, workers) as encode:
        for outcomes, release in encode(endless()):
            done += len(outcomes)
            assert taken - done <= window
            release()
            if done > 10 * window:
                break
    assert done > 10 * window


def test_what_goes_wrong_in_the_caller_ends_the_workers(tiny: Path, tmp_path: Path) -> None:
    patches = patches_of(tiny, tmp_path / "raw")
    with pytest.raises(KeyError, match="mine"), encoding(recipes(tiny), 2) as encode:
        for _ in encode(iter(patches)):
            raise KeyError("mine")


def test_no_patches_give_no_chunks(tiny: Path) -> None:
    with encoding(recipes(tiny), 0) as encode:
        assert list(encode(iter(()))) == []


def test_the_memory_of_the_window_is_given_back(tiny: Path, tmp_path: Path) -> None:
    """What comes after it needs memory, too, and may still hold a view."""
    patches = patches_of(tiny, tmp_path / "raw")
    with encoding(recipes(tiny), 2) as encode:
        frames = [frame for batch in encode(iter(patches)) for _, _, frame in batch.outcomes]
        assert all(any(frame) for frame in frames)
    assert not any(any(frame) for frame in frames)
