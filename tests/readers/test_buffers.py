"""Memory of batches: used again when nobody holds it, and never before."""

import copy
import gc
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patchpress.readers.buffers import SMALL, BytePool
from patchpress.readers.loader import PatchLoader
from patchpress.readers.samples import Samples

try:
    import torch
except ModuleNotFoundError:
    torch = None

SIZE = 1000


def address(array: Any) -> int:
    return int(array.ctypes.data)


def as_tensor(array: Any) -> Any:
    return torch.from_numpy(array) if isinstance(array, np.ndarray) else array


def as_array(held: Any) -> Any:
    return held if isinstance(held, np.ndarray) else held.numpy()


# What a user may make of an image of a batch that lies on the same memory, and the same of a copy.
WAYS: dict[str, Callable[[Any], Any]] = {
    "itself": lambda image: image,
    "a patch": lambda image: image[0],
    "a window": lambda image: image[:, 1:, 5:9],
    "other axes": lambda image: image.swapaxes(1, 3),
    "T of a patch": lambda image: image[0, 0].T,
    "every second": lambda image: image[::2, :, ::3],
    "reshaped": lambda image: image.reshape(-1)[7:],
    "as an array": as_array,
    "a memoryview": lambda image: memoryview(as_array(image)),
    "bytes of a view": lambda image: as_array(image).view(np.uint8)[..., :3],
    "an iterator's part": lambda image: next(iter(image)),
    "in a list": lambda image: [image[-1:]],
    "a pickled copy": lambda image: pickle.loads(pickle.dumps(as_array(image))),  # noqa: S301
    "a deep copy": lambda image: copy.deepcopy(as_array(image)),
    "a buffer": lambda image: np.frombuffer(as_array(image), np.uint16),
}
if torch is not None:
    WAYS |= {
        "a tensor": as_tensor,
        "a tensor's part": lambda image: as_tensor(image)[0, :, 3:],
        "other axes of a tensor": lambda image: as_tensor(image).permute(0, 2, 3, 1),
        "an array of a tensor": lambda image: as_tensor(image)[1:].numpy(),
        "a detached tensor": lambda image: as_tensor(image).detach()[:1],
        "unbound": lambda image: as_tensor(image).unbind()[0],
        "through dlpack": lambda image: torch.from_dlpack(as_array(image)),
        "storage": lambda image: as_tensor(image).untyped_storage(),
        "other dtype of a tensor": lambda image: as_tensor(image).view(torch.int16)[:, 0],
    }


def values(held: Any) -> bytes:
    """What stands on the memory now."""
    if isinstance(held, list):
        return b"".join(map(values, held))
    if isinstance(held, memoryview):
        return bytes(held)
    if torch is not None and isinstance(held, torch.UntypedStorage):
        return bytes(held)
    array = held if isinstance(held, np.ndarray) else held.contiguous().view(torch.uint8).numpy()
    return np.ascontiguousarray(array).tobytes()


@pytest.fixture
def samples(stacked: Path) -> Samples:
    """15 samples, of which two have more than `SMALL` bytes."""
    found = Samples(str(stacked), target=["labels", "map"])
    assert found.fields[0].name == "image"
    return found


@given(data=st.data())
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.parametrize("output", ["numpy", "torch"])
def test_whatever_is_held_of_a_batch_stays_as_it_was(
    samples: Samples, output: str, data: st.DataObject
) -> None:
    if output == "torch" and torch is None:
        pytest.skip("torch is not installed: pip install torch==2.13.0")
    loader = PatchLoader(
        samples,
        batch_size=data.draw(st.integers(1, 4)),
        shuffle=True,
        seed=data.draw(st.integers(0, 3)),
        output=output,
        ahead=data.draw(st.integers(1, 3)),
        threads=data.draw(st.integers(1, 3)),
    )
    held: list[tuple[str, Any, bytes]] = []
    for _ in range(data.draw(st.integers(1, 3))):
        stop = data.draw(st.integers(0, len(loader)))
        for number, (image, label, mask) in enumerate(loader):
            for name in data.draw(st.lists(st.sampled_from(sorted(WAYS)), max_size=2)):
                part = data.draw(st.sampled_from([image, mask])) if name == "itself" else image
                kept = WAYS[name](part)
                held.append((name, kept, values(kept)))
            if data.draw(st.booleans()):
                held.append(("label", label, values(label)))
            if held and data.draw(st.integers(0, 5)) == 0:
                del held[data.draw(st.integers(0, len(held) - 1))]
            del image, label, mask
            if number == stop:
                break
    for _ in loader:
        pass  # whatever could be filled again is
    for name, kept, wanted in held:
        assert values(kept) == wanted, name


def test_memory_that_nobody_holds_is_given_again() -> None:
    pool = BytePool(SIZE, kept=2)
    one = pool.take()
    first = address(one)
    two = pool.take()
    assert address(two) != first
    del one
    assert address(pool.take()) == first


def test_a_view_of_a_view_holds_the_memory() -> None:
    pool = BytePool(SIZE, kept=2)
    part = pool.take()[4:].view(np.uint16).reshape(2, -1)[1:].T[3:5]
    part[:] = 7
    for other in [pool.take() for _ in range(3)]:
        other[:] = 0
    assert (part == 7).all()


def test_no_more_than_asked_for_are_kept() -> None:
    pool = BytePool(SIZE, kept=2)
    held = [pool.take() for _ in range(5)]
    held.clear()
    gc.collect()
    assert len(pool._free) == 2


def test_a_pool_outlives_nothing_and_pickles_empty() -> None:
    pool = BytePool(SIZE, kept=2)
    held = pool.take()
    held[:] = 3
    again = pickle.loads(pickle.dumps(pool))  # noqa: S301
    assert len(again._free) == 0
    assert again.take().shape == (SIZE,)
    del pool
    gc.collect()
    assert (held == 3).all()


def test_threads_never_get_the_same_memory() -> None:
    pool = BytePool(SIZE, kept=4)
    wrong: list[int] = []

    def use(number: int) -> None:
        for _ in range(2000):
            array = pool.take()
            array[:] = number
            if not (array == number).all():
                wrong.append(number)
            del array

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert SMALL > SIZE
