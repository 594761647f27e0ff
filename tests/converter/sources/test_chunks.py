"""Streams of patches cut into chunks, and memory for the files of all chunks under way."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpress.converter.sources.assembly import WINDOW
from patchpress.converter.sources.chunks import Chunking, cell_pool
from patchpress.converter.sources.files import usual_files_size
from patchpress.converter.sources.patch import Patch
from tests.support.helpers import described

SIZES = {"large": 100, "small": 30, "nothing": 0}


def patches(modalities: Sequence[str]) -> list[Patch]:
    return [
        Patch(modality=name, key=f"{number}", name="", identity="", values=())
        for number, name in enumerate(modalities)
    ]


@given(
    st.lists(st.sampled_from(sorted(SIZES))), st.integers(1, 500), st.none() | st.integers(1, 20)
)
def test_chunks_have_all_patches_in_their_order_and_end_in_time(
    modalities: list[str], nbytes: int, most: int | None
) -> None:
    stream = patches(modalities)
    chunks = list(Chunking(SIZES, nbytes=nbytes, patches=most).cut(stream))
    assert [patch for chunk in chunks for patch in chunk] == stream
    for number, chunk in enumerate(chunks):
        sizes = [SIZES[patch.modality] for patch in chunk]
        assert sum(sizes[:-1]) < nbytes
        assert most is None or len(chunk) <= most
        if number < len(chunks) - 1:
            assert sum(sizes) >= nbytes or len(chunk) == most


@pytest.mark.parametrize("nbytes", [1, 29, 30, 31, 60, 500])
def test_no_chunk_has_more_patches_than_is_told(nbytes: int) -> None:
    chunking = Chunking(SIZES, nbytes=nbytes)
    longest = max(len(chunk) for chunk in chunking.cut(patches(["small"] * 100)))
    assert longest <= chunking.most_patches(["large", "small"]) <= longest + 1
    assert Chunking(SIZES, nbytes=nbytes, patches=2).most_patches(["small"]) <= 2


def test_there_are_cells_for_the_largest_patches_of_all_chunks() -> None:
    modalities = [described().modalities[name] for name in ("s2", "map")]
    sizes = {modality.name: usual_files_size(modality) for modality in modalities}
    chunking = Chunking(sizes, nbytes=1 << 20, patches=16)
    assert cell_pool([], chunking, 3) is None
    pool = cell_pool(modalities, chunking, 3)
    assert pool is not None
    assert pool.size >= max(sizes.values())
    cells = [pool.take() for _ in range(4 * 16 + WINDOW)]
    assert all(cells)
    assert pool.take() is None
