"""Memory for batches of a `DataLoader` that is used again: a slot is free when nobody holds it.

New memory for every batch costs more than the reading. A worker process therefore fills slots of
shared memory, and sends the number of a slot instead of its pixels. The first bytes of a slot, its
head, say who holds tensors on it: each process that does has a byte there, and clears it when its
last such tensor is gone. If all slots are held, because someone collects batches, a new one is
made, so that no tensor ever changes while somebody holds it.

Small tensors, such as labels, are sent by value: whoever collects them holds no slots.
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

from patchpress.readers.errors import OptionError

HEAD = 4096  # bytes before the pixels: one for each holder, 0 if there is none
SLOTS_KEPT = 8  # of one field and process: a DataLoader has 2 batches a worker under way

_FREE, _HELD = 0, 1
_held_in_shared_memory: "dict[object, weakref.finalize[Any, Any]]" = {}
"""What will clear a byte of a slot in shared memory, for every slot that is held here."""


class SentTensor(torch.Tensor):
    """A tensor of a worker that is sent as its slot, or by value if it has none.

    Whatever is computed from it is an ordinary tensor, and so is a copy.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl
    slot: "Slot | None"

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        return self.as_subclass(torch.Tensor).clone()

    def __reduce_ex__(self, protocol: Any) -> Any:
        # For files and the like; between processes `_send` is asked.
        return self.as_subclass(torch.Tensor).__reduce_ex__(protocol)


class Slot:
    """One process's use of a piece of memory; it ends when no array or tensor on it is left."""

    def __init__(self, memory: torch.Tensor, holder: int = 0) -> None:
        """Take memory (HEAD + n,) uint8 that is free, or that a worker has sent to this holder."""
        self._memory = memory
        self._head = memory.numpy()[:HEAD]
        self._head[holder] = _HELD
        # NumPy makes `root` the base of every array on this use, and torch holds those arrays.
        root = memory.numpy()
        token = object()
        end = weakref.finalize(root, _release, self._head, holder, token)
        end.atexit = False
        if memory.is_shared():
            _held_in_shared_memory[token] = end
        self.bytes: npt.NDArray[np.uint8] = root[HEAD:]

    def __reduce__(self) -> tuple[Any, ...]:
        # The receiver gets a byte of its own: this process may hold on, or send the slot again.
        holder = 1 + int(self._head[1:].argmin())
        self._head[holder] = _HELD
        return Slot, (self._memory, holder)


class Slots:
    """The slots of one process, of any size; safe in threads, empty in a child process."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[torch.Tensor] = []
        self._process = os.getpid()

    def take(self, nbytes: int) -> Slot:
        """A slot of at least so many bytes; in a worker of a DataLoader in shared memory.

        Raises:
            OptionError: there is not enough shared memory.
        """
        if self._process != os.getpid():  # after a fork: the slots are the parent's
            self._begin()
        with self._lock:
            for memory in self._kept:
                # The last batch of an epoch is smaller, and fits.
                if memory.numel() >= HEAD + nbytes and not memory.numpy()[:HEAD].any():
                    return Slot(memory)
            memory = _new_memory(HEAD + nbytes)
            # A slot that drops out of the list lives on as long as somebody holds it.
            self._kept = [*self._kept, memory][-SLOTS_KEPT:]
            return Slot(memory)

    def __reduce__(self) -> tuple[Any, ...]:
        return Slots, ()


def _new_memory(nbytes: int) -> torch.Tensor:
    memory = torch.zeros(nbytes, dtype=torch.uint8)
    if get_worker_info() is None:
        return memory
    try:
        return memory.share_memory_()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise OptionError(
            f"a worker finds no room for {nbytes / 1e6:,.1f} MB of shared memory ({reason}): "
            "give /dev/shm more room (docker run --shm-size=8g), or take a smaller batch, fewer "
            "workers, or a PatchLoader, which needs none"
        ) from None


def batch_tensor(array: npt.NDArray[Any], slot: Slot | None) -> torch.Tensor:
    """An array of a batch as a tensor on the same memory.

    Args:
        array: lies in `slot`, or anywhere if that is None; such arrays should be small.
        slot: what holds the array's memory.
    """
    tensor = torch.from_numpy(array)
    if get_worker_info() is None:
        return tensor
    sent = tensor.as_subclass(SentTensor)
    sent.slot = slot
    return sent


def _release(head: npt.NDArray[np.uint8], holder: int, token: object) -> None:
    head[holder] = _FREE
    _held_in_shared_memory.pop(token, None)


def _never_free_what_is_held() -> None:
    """Before a fork: the child will hold what is held now, and does not tell when it lets go."""
    for end in list(_held_in_shared_memory.values()):
        end.detach()
    _held_in_shared_memory.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_never_free_what_is_held)


def _address(array: npt.NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _send(tensor: SentTensor) -> tuple[Callable[..., torch.Tensor], tuple[Any, ...]]:
    """How a tensor crosses to another process: what makes it there, and from what."""
    with torch.no_grad():
        plain = tensor.as_subclass(torch.Tensor)
    if tensor.is_leaf and tensor.requires_grad:
        plain.requires_grad_()
    slot = tensor.slot
    shape, contiguous = tuple(plain.shape), plain.is_contiguous()
    if slot is None and contiguous and not tensor.requires_grad:
        array = plain.numpy()
        return _received_by_value, (bytearray(array.tobytes()), shape, array.dtype.str)
    start = -1 if slot is None else plain.data_ptr() - _address(slot.bytes)
    inside = slot is not None and 0 <= start <= slot.bytes.nbytes - plain.nbytes
    if tensor.requires_grad or not inside or not contiguous:
        # A collate function has changed it in place: it is no longer as the slot says.
        sent: tuple[Callable[..., torch.Tensor], tuple[Any, ...]] = reduce_tensor(plain)
        return sent
    return _received_in_slot, (slot, start, shape, plain.numpy().dtype.str)


def _received_in_slot(slot: Slot, start: int, shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    kind = np.dtype(dtype)
    flat = slot.bytes[start : start + prod(shape) * kind.itemsize].view(kind)
    return torch.from_numpy(flat.reshape(shape))


def _received_by_value(values: bytearray, shape: tuple[int, ...], dtype: str) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(values, dtype).reshape(shape))


ForkingPickler.register(SentTensor, _send)
