"""What holds for every test of the readers."""

import gc
from collections.abc import Iterator

import pytest

from tests.support.loading import filling


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """No thread of a loader outlives its test."""
    yield
    if filling():  # a pass that nobody refers to may wait for the garbage collector
        gc.collect()
    assert filling() == []
