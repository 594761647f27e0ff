"""In which order samples are seen: by seed and epoch, in batches, shared among processes."""

import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import OptionError

Indices = npt.NDArray[np.int64]


def check_batch_size(size: object) -> None:
    """Refuse what is no number of samples of a batch.

    Raises:
        OptionError: it is no whole number of 1 or more.
    """
    if not isinstance(size, (int, np.integer)):
        raise OptionError(f"batch_size must be a whole number, not {size!r}")
    if size < 1:
        raise OptionError(f"a batch must have 1 sample or more, not {size}")


@dataclass(frozen=True, kw_only=True)
class Order:
    """The order of each epoch. Equal for equal arguments, on every machine."""

    samples: int
    """How many an epoch has, in all processes together."""
    batch_size: int
    shuffle: bool = False
    seed: int = 0
    drop_last: bool = False
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        for name in ("samples", "batch_size", "seed", "rank", "world_size"):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)):
                raise OptionError(f"{name} must be a whole number, not {value!r}")
            object.__setattr__(self, name, int(value))
        check_batch_size(self.batch_size)
        if self.world_size < 1 or not 0 <= self.rank < self.world_size:
            raise OptionError(
                f"rank {self.rank} of {self.world_size} processes cannot be: ranks count from 0"
            )
        if self.seed < 0:
            raise OptionError(f"a seed must be 0 or more, not {self.seed}")
        if not self.batches:
            raise OptionError(
                f"{self.samples} samples give no whole batch of {self.batch_size} in each of "
                f"{self.world_size} processes: give a smaller batch_size, or no drop_last"
            )

    @property
    def share(self) -> int:
        """Samples of this process in an epoch."""
        if self.drop_last:
            full = self.samples // (self.world_size * self.batch_size)
            return full * self.batch_size
        return -(-self.samples // self.world_size)

    @property
    def batches(self) -> int:
        """Batches of this process in an epoch."""
        return -(-self.share // self.batch_size)

    def epoch(self, number: int) -> list[Indices]:
        """The indices of each batch of an epoch, in this process."""
        if self.shuffle:
            indices = np.random.default_rng([self.seed, number]).permutation(self.samples)
        else:
            indices = np.arange(self.samples)
        return self.cut(indices)

    def cut(self, indices: Indices) -> list[Indices]:
        """The indices of an epoch (samples,), as the batches of this process."""
        # Every process gets equally many: if they do not come out even, the first come again.
        own = np.resize(indices, self.share * self.world_size)[self.rank :: self.world_size]
        return [own[i : i + self.batch_size] for i in range(0, self.share, self.batch_size)]

    def state(self) -> dict[str, Any]:
        """What decides the order, for a state dict: the same in all processes."""
        return {name: value for name, value in vars(self).items() if name != "rank"}


class HasEpochs(Protocol):
    """What an `EpochSampler` speaks for: a loader."""

    @property
    def epoch(self) -> int:
        """The epoch that comes next."""
        ...

    def set_epoch(self, epoch: int) -> None:
        """Choose the next epoch."""
        ...

    def indices(self, epoch: int) -> Indices:
        """The samples of an epoch in this process."""
        ...


class EpochSampler:
    """A loader's order in the form of torch's samplers: it gives indices, and takes an epoch.

    Training frameworks call `set_epoch` of a loader's sampler before each epoch.
    """

    def __init__(self, loader: HasEpochs) -> None:
        self._loader = loader

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the loader gives next."""
        self._loader.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._loader.indices(self._loader.epoch))

    def __iter__(self) -> Iterator[int]:
        return iter(self._loader.indices(self._loader.epoch).tolist())


def drawn_by(sampler: Iterable[Any], seed: int, epoch: int) -> Indices:
    """The indices that a sampler gives for an epoch.

    A sampler that has `set_epoch` is told the epoch first. Random numbers of torch, NumPy and
    Python are seeded while it draws, so that all processes draw the same and a later run can draw
    it again; a generator of the sampler's own is left alone.

    Raises:
        OptionError: what is drawn are no whole numbers.
    """
    set_epoch = getattr(sampler, "set_epoch", None)
    if callable(set_epoch):
        set_epoch(epoch)
    with _seeded(seed, epoch):
        drawn = list(sampler)
    indices = np.asarray(drawn)
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        shown = repr(drawn[0]) if drawn else "nothing"
        raise OptionError(f"a sampler must give one index after another, not {shown}")
    return indices.astype(np.int64)


@contextmanager
def _seeded(seed: int, epoch: int) -> Iterator[None]:
    """Seed all global generators; afterwards they go on as if nothing had been drawn."""
    number = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    torch = sys.modules.get("torch")
    numpy_state, python_state = np.random.get_state(), random.getstate()
    torch_state = torch.get_rng_state() if torch else None
    try:
        np.random.seed(number)
        random.seed(number)
        if torch:
            torch.default_generator.manual_seed(number)
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        if torch:
            torch.set_rng_state(torch_state)
