"""Reused memory for batches of a `DataLoader`: a slot is free again when nobody holds its tensors.

Memory allocated afresh for every batch costs more than the reading. A worker process therefore
fills slots of shared memory and sends only which slot it filled; when the last tensor on it is
gone in the process that received it, a byte in the slot says so. Where all slots are held (someone
collects batches) a new one is made, so that no tensor ever changes under its holder.
"""

import os
import threading
import weakref
from collections.abc import Callable
from math import prod
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import get_worker_info

HEAD = 4096  # bytes before the pixels: the first tells whether the slot is held
SLOTS_KEPT = 8  # of one size and process: a DataLoader has 2 batches a worker under way

_FREE, _HELD = 0, 1


class SlotTensor(torch.Tensor):
    """A tensor on a slot. Whatever is computed from it is an ordinary tensor."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    slot: "Slot"
    at: int


class Slot:
    """One use of a piece of reused memory, over when no array or tensor on it is left."""

    def __init__(self, memory: torch.Tensor) -> None:
        """Take memory (HEAD + n,) uint8 that is free, or that a worker has sent."""
        self._memory = memory
        self._sent = [False]
        flag = memory.numpy()[:1]
        flag[0] = _HELD
        # Every array on this use has `root` for its base, and tensors made from those hold them.
        root = memory.numpy()
        weakref.finalize(root, _release, flag, self._sent).atexit = False
        self.bytes: npt.NDArray[np.uint8] = root[HEAD:]

    def tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        """A tensor on an array that lies in `bytes`; in a worker one that is sent as its slot."""
        if not self._memory.is_shared():
            return torch.from_numpy(array)
        tensor = torch.from_numpy(array).as_subclass(SlotTensor)
        tensor.slot = self
        tensor.at = _address(array) - _address(self.bytes)
        return tensor

    def __reduce__(self) -> tuple[Any, ...]:
        # From now on the receiver says when the slot is free.
        self._sent[0] = True
        return Slot, (self._memory,)


class Slots:
    """Slots of one process, of any size; safe in threads, empty in a child process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[torch.Tensor] = []
        self._process = os.getpid()

    def take(self, nbytes: int) -> Slot:
        """A slot of at least so many bytes; shared memory in a worker of a DataLoader."""
        if self._process != os.getpid():  # a fork: what the parent keeps is not shared with us
            self.__init__()  # type: ignore[misc]
        with self._lock:
            for memory in self._kept:
                # The last batch of an epoch is smaller, and fits.
                if memory.numel() >= HEAD + nbytes and memory[0].item() == _FREE:
                    return Slot(memory)
            memory = torch.zeros(HEAD + nbytes, dtype=torch.uint8)
            if get_worker_info() is not None:
                memory.share_memory_()
            # What is let go stays with its holders.
            self._kept = [*self._kept, memory][-SLOTS_KEPT:]
            return Slot(memory)

    def __reduce__(self) -> tuple[Any, ...]:
        return Slots, ()


def _release(flag: npt.NDArray[np.uint8], sent: list[bool]) -> None:
    if not sent[0]:
        flag[0] = _FREE


def _address(array: npt.NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _send(tensor: SlotTensor) -> tuple[Callable[..., torch.Tensor], tuple[Any, ...]]:
    dtype = tensor.as_subclass(torch.Tensor).numpy().dtype.str
    return _receive, (tensor.slot, tensor.at, tuple(tensor.shape), dtype)


def _receive(slot: Slot, at: int, shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    kind = np.dtype(dtype)
    flat = slot.bytes[at : at + prod(shape) * kind.itemsize].view(kind)
    return torch.from_numpy(flat.reshape(shape))


ForkingPickler.register(SlotTensor, _send)
