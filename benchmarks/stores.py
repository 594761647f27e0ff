"""Comparing two LMDB environments, record by record."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any


@contextmanager
def records(store: Path) -> Iterator[Iterator[tuple[bytes, bytes]]]:
    """Open a store as any LMDB client does: (key, value) in the keys' order."""
    import lmdb

    environment = lmdb.open(str(store), readonly=True, lock=False)
    with environment, environment.begin() as transaction:
        yield iter(transaction.cursor())


def payload(store: Path) -> int:
    """Sum the bytes of all values."""
    with records(store) as stored:
        return sum(len(value) for _, value in stored)


def assert_same(one: Path, other: Path, layout: str) -> None:
    """Assert that two stores have the same keys and values.

    Native values are equal byte for byte; stacked ones in tensors, since only Patchpress's carry
    the band names.
    """
    with records(one) as left, records(other) as right:
        for mine, theirs in zip_longest(left, right, fillvalue=(b"", b"")):
            assert mine[0] == theirs[0], f"keys differ: {mine[0]!r} and {theirs[0]!r}"
            if layout == "native":
                assert mine[1] == theirs[1], f"{mine[0]!r} differs in its bytes"
            else:
                assert tensors(mine[1]) == tensors(theirs[1]), f"{mine[0]!r} differs"


def tensors(value: bytes) -> dict[str, tuple[Any, ...]]:
    """Decode a value: dtype, shape and bytes of each tensor, which compare bit by bit, NaN too."""
    from safetensors.numpy import load

    return {name: (a.dtype, a.shape, a.tobytes()) for name, a in load(value).items()}
