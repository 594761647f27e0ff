"""JAX with NumPy batches: it computes later, on memory that it may share, and must see what it was.

JAX holds a reference to an array for as long as it uses its memory, so the loader's rule holds here
as well. Every test fills memory with other numbers as soon as it is let go.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress.readers.buffers import BytePool
from patchpress.readers.loader import PatchLoader

jax = pytest.importorskip("jax", reason="JAX is not installed: pip install jax")

from jax import numpy as jnp  # noqa: E402

WAYS: dict[str, Callable[[Any], Any]] = {
    "given as it is": lambda image: image,
    "jnp.asarray": jnp.asarray,
    "jnp.array": jnp.array,
    "device_put": jax.device_put,
    "device_put, aliased": lambda image: jax.device_put(image, may_alias=True),
    "dlpack": jnp.from_dlpack,
}


class Spoiling(deque[Any]):
    """The free memory of a pool, which loses its content at once."""

    def append(self, memory: Any) -> None:
        memory[:] = 255
        super().append(memory)


@pytest.fixture(autouse=True)
def spoiled(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = BytePool.__init__

    def with_spoiling(self: BytePool, nbytes: int, kept: int) -> None:
        begin(self, nbytes, kept)
        self._free = Spoiling(maxlen=kept)

    monkeypatch.setattr(BytePool, "__init__", with_spoiling)


@jax.jit  # type: ignore[untyped-decorator]
def loss_of(image: Any) -> Any:
    """The mean, after so much work that the loop is ahead of it."""
    flat = image.reshape(len(image), -1).astype(jnp.float32)
    work = flat
    for _ in range(4):
        work = jnp.tanh((work @ work.T) @ work * 1e-12)
    return flat.mean() + 0 * work.sum()


@pytest.mark.parametrize("way", WAYS)
def test_losses_are_those_of_the_batches(stacked: Path, way: str) -> None:
    def loader() -> PatchLoader:
        return PatchLoader(
            str(stacked), batch_size=4, shuffle=True, seed=1, target=None, output="numpy"
        )

    wanted = [image.astype(np.float64).mean() for image in loader()]
    losses = []
    passing = loader()
    for _ in range(5):
        passing.set_epoch(0)
        for image in passing:
            losses.append(loss_of(WAYS[way](image)))
            del image
    assert np.allclose([float(loss) for loss in losses], wanted * 5, rtol=1e-4)
