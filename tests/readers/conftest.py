"""What holds for every test of the readers."""

import gc
from collections.abc import Iterator

import pytest

from tests.support.loading import filling


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """No thread of a loader runs on after its test."""
    yield
    if filling():  # of a pass that only the collector finds
        gc.collect()
    assert filling() == []
