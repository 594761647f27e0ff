"""Errors come back from a worker as they were raised: Dask makes them anew from a pickle."""

import pytest

from patchpress.readers import errors
from patchpress.readers.errors import PatchpressError
from tests.support.machines import NO_DASK

pytest.importorskip("distributed", reason=NO_DASK)

CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, PatchpressError)
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_comes_back(kind: type[PatchpressError]) -> None:
    from distributed.protocol.pickle import dumps, loads

    back = loads(dumps(kind("no patch: look again")))
    assert type(back) is kind
    assert str(back) == str(kind("no patch: look again"))
