"""Reused memory for batches of a `DataLoader`: a slot is free again when nobody holds its tensors.

Memory allocated afresh for every batch costs more than the reading. A worker process therefore
fills slots of shared memory and sends only which slot it filled. Each process that holds tensors on
a slot has a byte in its head, and clears it when the last one is gone. Where all slots are held
(someone collects batches) a new one is made, so that no tensor ever changes under its holder.
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
from torch.multiprocessing.reductions import reduce_tensor
from torch.utils.data import get_worker_info

HEAD = 4096  # bytes before the pixels: one for each holder, 0 where there is none
SLOTS_KEPT = 8  # of one size and process: a DataLoader has 2 batches a worker under way

_FREE, _HELD = 0, 1
_shared: "dict[object, weakref.finalize[Any, Any]]" = {}  # what clears bytes of shared memory


class SlotTensor(torch.Tensor):
    """A tensor on a slot. Whatever is computed from it is an ordinary tensor, and so is a copy."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    slot: "Slot"

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        return self.as_subclass(torch.Tensor).clone()

    def __reduce_ex__(self, protocol: Any) -> Any:
        # For files and the like; between processes `_send` is asked.
        return self.as_subclass(torch.Tensor).__reduce_ex__(protocol)


class Slot:
    """One process's use of a piece of reused memory, over when no array or tensor on it is left."""

    def __init__(self, memory: torch.Tensor, holder: int = 0) -> None:
        """Take memory (HEAD + n,) uint8 that is free, or that a worker has sent to this holder."""
        self._memory = memory
        self._head = memory.numpy()[:HEAD]
        self._head[holder] = _HELD
        # Every array on this use has `root` for its base, and tensors made from those hold them.
        root = memory.numpy()
        token = object()
        end = weakref.finalize(root, _release, self._head, holder, token)
        end.atexit = False
        if memory.is_shared():
            _shared[token] = end
        self.bytes: npt.NDArray[np.uint8] = root[HEAD:]

    def tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        """A tensor on an array that lies in `bytes`; in a worker one that is sent as its slot."""
        if not self._memory.is_shared():
            return torch.from_numpy(array)
        tensor = torch.from_numpy(array).as_subclass(SlotTensor)
        tensor.slot = self
        return tensor

    def __reduce__(self) -> tuple[Any, ...]:
        # A byte of its own for the receiver, as this process may hold on, or send the slot again.
        holder = 1 + int(self._head[1:].argmin())
        self._head[holder] = _HELD
        return Slot, (self._memory, holder)


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
                if memory.numel() >= HEAD + nbytes and not memory.numpy()[:HEAD].any():
                    return Slot(memory)
            memory = torch.zeros(HEAD + nbytes, dtype=torch.uint8)
            if get_worker_info() is not None:
                memory.share_memory_()
            # What is let go stays with its holders.
            self._kept = [*self._kept, memory][-SLOTS_KEPT:]
            return Slot(memory)

    def __reduce__(self) -> tuple[Any, ...]:
        return Slots, ()


def _release(head: npt.NDArray[np.uint8], holder: int, token: object) -> None:
    head[holder] = _FREE
    _shared.pop(token, None)


def _keep() -> None:
    """Before a fork: what is held now the child holds, too, and nobody hears when both let go."""
    for end in list(_shared.values()):
        end.detach()
    _shared.clear()


os.register_at_fork(before=_keep)


def _address(array: npt.NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _send(tensor: SlotTensor) -> tuple[Callable[..., torch.Tensor], tuple[Any, ...]]:
    with torch.no_grad():
        plain = tensor.as_subclass(torch.Tensor)
    if tensor.is_leaf and tensor.requires_grad:
        plain.requires_grad_()
    at = plain.data_ptr() - _address(tensor.slot.bytes)
    inside = 0 <= at <= tensor.slot.bytes.nbytes - plain.nbytes
    if tensor.requires_grad or not inside or not plain.is_contiguous():
        sent: tuple[Callable[..., torch.Tensor], tuple[Any, ...]] = reduce_tensor(plain)
        return sent  # a collate function has changed it in place: it is no longer as the slot says
    return _receive, (tensor.slot, at, tuple(plain.shape), plain.numpy().dtype.str)


def _receive(slot: Slot, at: int, shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    kind = np.dtype(dtype)
    flat = slot.bytes[at : at + prod(shape) * kind.itemsize].view(kind)
    return torch.from_numpy(flat.reshape(shape))


ForkingPickler.register(SlotTensor, _send)
