"""Memory for batches that is filled again only when nobody holds anything that lies in it.

New memory for every batch costs more than the reading. So the memory of a batch is used again, and
Python's reference counts say when: every array, view, tensor or memoryview made from a batch keeps
one object alive, and the memory is free as soon as that object is gone.
"""

import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from patchpress.readers.images import Field

Array = npt.NDArray[Any]
ALIGNMENT = 64
SMALL = 32_768
"""Bytes of a field of a batch below which it gets new memory each time, which then costs nothing.
Whoever collects labels keeps these few bytes, and not the images beside them."""


class BytePool:
    """Arrays of bytes of one size; safe in threads and after a fork."""

    def __init__(self, nbytes: int, kept: int) -> None:
        """Make an empty pool.

        Args:
            nbytes: of each array.
            kept: how many free arrays are kept; what is let go beyond that is given back.
        """
        self._nbytes = nbytes
        # Appending to a deque and popping from it needs no lock, and `maxlen` drops what is more.
        self._free: deque[npt.NDArray[np.uint8]] = deque(maxlen=kept)

    def take(self) -> npt.NDArray[np.uint8]:
        """An array (nbytes,) that nobody else uses; free again when all views of it are gone."""
        try:
            memory = self._free.pop()
        except IndexError:
            # NumPy asks the kernel for huge pages, torch does not: a fifth of the copying time.
            memory = _aligned(self._nbytes)
        # NumPy lets every view hold the array at the end of the chain of bases. That must be
        # `root` and not `memory`, which the pool holds itself: a memoryview ends the chain.
        root = np.frombuffer(memory.data, np.uint8)
        weakref.finalize(root, self._free.append, memory).atexit = False
        return root

    def __reduce__(self) -> tuple[Any, ...]:
        return BytePool, (self._nbytes, self._free.maxlen)


def _aligned(nbytes: int) -> npt.NDArray[np.uint8]:
    # JAX takes aligned memory as it is, and copies other memory.
    memory = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -memory.__array_interface__["data"][0] % ALIGNMENT
    return memory[start : start + nbytes]


class BatchMemory(Protocol):
    """Where the arrays of a batch lie; safe in threads."""

    def take(self, count: int) -> tuple[dict[str, Array], dict[str, Any]]:
        """Memory for a batch of `count` samples.

        Returns:
            arrays to be filled, (count, ...) by field name; and the same memory as it is handed
            out.
        """
        ...


class ArrayMemory:
    """Batches of NumPy arrays."""

    def __init__(self, fields: Sequence[Field], size: int, kept: int) -> None:
        """Make empty pools for batches of at most `size` samples; `kept` as in `BytePool`."""
        self._fields = tuple(fields)
        nbytes = {field.name: size * field.nbytes for field in fields}
        self._pools = {name: BytePool(n, kept) for name, n in nbytes.items() if n >= SMALL}

    def take(self, count: int) -> tuple[dict[str, Array], dict[str, Any]]:
        """See `BatchMemory.take`; what is handed out are the arrays themselves."""
        arrays = {field.name: self._array(field, count) for field in self._fields}
        return arrays, dict(arrays)

    def _array(self, field: Field, count: int) -> Array:
        shape = (count, *field.shape)
        pool = self._pools.get(field.name)
        if pool is None:
            return np.empty(shape, field.dtype)
        return pool.take()[: count * field.nbytes].view(field.dtype).reshape(shape)


class TensorMemory(ArrayMemory):
    """Batches of torch tensors in ordinary memory."""

    def take(self, count: int) -> tuple[dict[str, Array], dict[str, Any]]:
        """See `BatchMemory.take`; what is handed out are tensors."""
        import torch

        arrays, _ = super().take(count)
        return arrays, {name: torch.from_numpy(array) for name, array in arrays.items()}


class PinnedMemory:
    """Batches of torch tensors in page-locked memory, from which copies to a GPU run by themselves.

    torch keeps page-locked memory that was let go, and gives it out again only when the copies
    that were started from it have ended: reference counts alone would not say so.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        """Note the fields; torch finds the memory."""
        self._fields = tuple(fields)

    def take(self, count: int) -> tuple[dict[str, Array], dict[str, Any]]:
        """See `BatchMemory.take`; what is handed out are tensors."""
        import torch

        tensors = {}
        for field in self._fields:
            dtype = torch.from_numpy(np.empty(0, field.dtype)).dtype
            tensors[field.name] = torch.empty((count, *field.shape), dtype=dtype, pin_memory=True)
        return {name: tensor.numpy() for name, tensor in tensors.items()}, tensors
