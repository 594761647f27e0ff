"""Reused memory: it is used again, and never while anyone holds a tensor on it."""

import copy
import io
import os
import pickle
import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")

from patchpress.readers.slots import HEAD, SLOTS_KEPT, SentTensor, Slot, Slots, batch_tensor  # noqa: E402

# Forking beside threads, as a stock DataLoader does by default.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
SIZE = 1000


def place(slot: Slot) -> int:
    return int(slot.bytes.ctypes.data)


def kept(slots: Slots) -> int:
    return len(slots._kept)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Slots:
    """Slots as a worker of a DataLoader has them: of shared memory."""
    monkeypatch.setattr("patchpress.readers.slots.get_worker_info", object)
    return Slots()


def filled(slot: Slot, number: int) -> Any:
    slot.bytes[:] = number
    return batch_tensor(slot.bytes[:SIZE].view(np.uint16).reshape(50, 10), slot)


def received(*things: Any) -> Any:
    """What another process has of them: here it is this one, over the same shared memory."""
    return pickle.loads(ForkingPickler.dumps(things))  # noqa: S301


def test_memory_is_used_again_when_nobody_holds_it() -> None:
    slots = Slots()
    slot = slots.take(SIZE)
    first = place(slot)
    assert place(slots.take(SIZE)) != first
    del slot
    assert place(slots.take(SIZE)) == first
    assert place(slots.take(SIZE // 2)) == first  # a smaller batch fits, too
    assert place(slots.take(SIZE + 1)) != first
    assert kept(slots) == 3


HOLDERS: list[Callable[[Slot], Any]] = [
    lambda slot: slot.bytes,
    lambda slot: slot.bytes[3:7],
    lambda slot: slot.bytes.view(np.uint16).reshape(10, 50)[2, 1:],
    lambda slot: filled(slot, 1),
    lambda slot: filled(slot, 1)[:, 3],
    lambda slot: filled(slot, 1)[4:5].unsqueeze(0).permute(2, 0, 1),
    lambda slot: filled(slot, 1).numpy()[1],
    lambda slot: [filled(slot, 1).unbind()[7]],
    lambda slot: torch.utils.dlpack.from_dlpack(filled(slot, 1)),
    lambda slot: slot.bytes.data[5:],
]


@pytest.mark.parametrize("hold", HOLDERS)
def test_whatever_is_held_keeps_its_memory(hold: Callable[[Slot], Any]) -> None:
    slots = Slots()
    held = hold(slots.take(SIZE))
    taken = {place(slots.take(SIZE)) for _ in range(3)}
    assert (len(taken), kept(slots)) == (1, 2)
    del held
    again = [slots.take(SIZE) for _ in range(2)]
    assert (len({place(slot) for slot in again}), kept(slots)) == (2, 2)


def test_whoever_collects_batches_gets_memory_of_their_own_and_few_are_kept() -> None:
    slots = Slots()
    held = [filled(slots.take(SIZE), number) for number in range(3 * SLOTS_KEPT)]
    assert kept(slots) == SLOTS_KEPT
    for number, tensor in enumerate(held):
        assert (tensor.view(torch.uint8) == number).all()


def test_a_tensor_is_sent_as_its_slot(worker: Slots) -> None:
    slot = worker.take(SIZE)
    tensor = filled(slot, 7)
    assert isinstance(tensor, SentTensor)
    data = bytes(ForkingPickler.dumps(tensor))
    assert len(data) < 1000
    (found, again) = received(tensor, tensor)
    assert type(found) is torch.Tensor
    assert found.dtype == torch.uint16
    assert found.shape == (50, 10)
    assert torch.equal(found, again)
    found.view(torch.uint8)[:] = 8
    assert (slot.bytes[:SIZE] == 8).all()  # no copy was made


def test_memory_is_free_when_both_sides_have_let_go(worker: Slots) -> None:
    slot = worker.take(SIZE)
    first, tensor = place(slot), filled(slot, 7)
    (found,) = received(tensor)
    part = found[3:4, 2:]
    del slot, tensor, found
    assert place(worker.take(SIZE)) != first
    assert (part.view(torch.uint8) == 7).all()
    del part
    assert place(worker.take(SIZE)) == first


def test_a_worker_that_keeps_what_it_sent_is_a_holder(worker: Slots) -> None:
    slot = worker.take(SIZE)
    first, tensor = place(slot), filled(slot, 7)
    del slot
    received(tensor)
    assert place(worker.take(SIZE)) != first
    assert (tensor.view(torch.uint8) == 7).all()


def test_a_slot_sent_twice_has_two_receivers(worker: Slots) -> None:
    slot = worker.take(SIZE)
    first, tensor = place(slot), filled(slot, 7)
    one, two = received(tensor), received(tensor)
    del slot, tensor, one
    assert place(worker.take(SIZE)) != first
    del two
    assert place(worker.take(SIZE)) == first


def transposed(tensor: Any) -> Any:
    return tensor.transpose_(0, 1)


def replaced(tensor: Any) -> Any:
    tensor.data = tensor.as_subclass(torch.Tensor).float() / 2
    return tensor


def summed(tensor: Any) -> Any:
    return tensor.view(torch.int16).add_(1)


def graded(tensor: Any) -> Any:
    return tensor.view(torch.float16).requires_grad_()


CHANGES: list[Callable[[Any], Any]] = [
    transposed,
    replaced,
    summed,
    graded,
    lambda tensor: tensor.unsqueeze_(1),
    lambda tensor: tensor[:, 3],
    lambda tensor: tensor[2:3].squeeze_(),
    lambda tensor: tensor.float() / 10,
    lambda tensor: tensor.contiguous(),
    lambda tensor: {"part": tensor[1], "whole": tensor}["whole"],
    lambda tensor: torch.stack([tensor, tensor]),
    lambda tensor: torch.cat([tensor[:1], tensor[1:]]),
    copy.deepcopy,
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_worker_makes_of_a_tensor_arrives_as_it_is(
    worker: Slots, change: Callable[[Any], Any]
) -> None:
    def made() -> Any:
        slot = worker.take(SIZE)
        slot.bytes[:SIZE] = np.random.default_rng(1).integers(0, 60, SIZE)
        return change(batch_tensor(slot.bytes[:SIZE].view(np.uint16).reshape(50, 10), slot))

    tensor, wanted = made(), made().detach().clone()
    (found,) = received(tensor)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert found.requires_grad == tensor.requires_grad
    assert torch.equal(found.detach(), wanted)


def test_a_part_and_the_whole_arrive_in_either_order(worker: Slots) -> None:
    for order in (1, -1):
        tensor = filled(worker.take(SIZE), 5)
        for found in received(*(tensor, tensor[:, 2:4], tensor)[::order]):
            assert (found.contiguous().view(torch.uint8) == 5).all()


def test_a_tensor_of_a_slot_is_saved_as_any_other(worker: Slots) -> None:
    file = io.BytesIO()
    slot = worker.take(SIZE)
    tensor = batch_tensor(
        slot.bytes, slot
    )  # of bytes: torch pickles its uint16 only into new files
    torch.save(tensor, file)
    file.seek(0)
    for found in (torch.load(file), pickle.loads(pickle.dumps(tensor))):  # noqa: S301
        assert type(found) is torch.Tensor
        assert torch.equal(found, tensor.clone())


def test_samples_of_a_slot_are_stacked_by_default_collate(worker: Slots) -> None:
    tensors = [filled(worker.take(SIZE), number) for number in (3, 4)]
    found = torch.utils.data.default_collate([(tensor, "name") for tensor in tensors])
    assert torch.equal(found[0], torch.stack([tensor.clone() for tensor in tensors]))


def sums(queue: Any, answers: Any) -> None:
    """Receive tensors, let go of all but the first, and say what is on it."""
    first = None
    while (tensor := queue.get()) is not None:
        first = tensor if first is None else first
        answers.put((int(tensor.view(torch.uint8)[0, 0]), int(first.view(torch.uint8)[0, 0])))
        del tensor


def test_another_process_holds_a_slot_until_it_lets_go(worker: Slots) -> None:
    context = get_context("fork")
    queue, answers = context.Queue(), context.Queue()
    process = context.Process(target=sums, args=(queue, answers))
    process.start()
    for number in range(1, 30):
        queue.put(filled(worker.take(SIZE), number))
        assert answers.get(timeout=30) == (number, 1)
    queue.put(None)
    process.join()
    # One that is held, one in turn, and as many as were on their way back.
    assert kept(worker) <= 4


def forked(work: Callable[[], bool]) -> bool:
    """Whether `work` is true in a forked child."""
    child = os.fork()
    if not child:
        signal.alarm(30)
        os._exit(0 if work() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_forked_child_neither_frees_nor_loses_what_is_held(worker: Slots) -> None:
    held = {"tensor": received(filled(worker.take(SIZE), 7))[0]}
    first = int(held["tensor"].data_ptr())

    def child() -> bool:
        held.clear()
        return True

    assert forked(child)
    other = filled(worker.take(SIZE), 8)
    assert (held["tensor"].view(torch.uint8) == 7).all()
    del other
    # The parent lets go; the child might still look at it.
    held.clear()
    assert all(place(worker.take(SIZE)) + HEAD != first + HEAD for _ in range(3))


def test_slots_are_empty_in_a_child_and_when_pickled() -> None:
    slots = Slots()
    held = filled(slots.take(SIZE), 1)
    assert kept(pickle.loads(pickle.dumps(slots))) == 0  # noqa: S301
    assert forked(lambda: slots.take(SIZE) is not None and kept(slots) == 1)
    assert (kept(slots), len(held)) == (1, 50)
