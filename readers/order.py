"""In which order samples are seen: by seed and epoch, in batches, shared among processes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import OptionError


@dataclass(frozen=True)
class Order:
    """The order of each epoch. Equal for equal arguments, on every machine."""

    samples: int
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
        if self.batch_size < 1:
            raise OptionError(f"a batch must have 1 sample or more, not {self.batch_size}")
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
            whole = self.samples // (self.world_size * self.batch_size)
            return whole * self.batch_size
        return -(-self.samples // self.world_size)

    @property
    def batches(self) -> int:
        """Batches of this process in an epoch."""
        return -(-self.share // self.batch_size)

    def epoch(self, number: int) -> list[npt.NDArray[np.int64]]:
        """The indices of each batch of an epoch, in this process."""
        if self.shuffle:
            indices = np.random.default_rng([self.seed, number]).permutation(self.samples)
        else:
            indices = np.arange(self.samples)
        # Every process has equally many: the first ones come again where they do not come out even.
        own = np.resize(indices, self.share * self.world_size)[self.rank :: self.world_size]
        return [own[i : i + self.batch_size] for i in range(0, self.share, self.batch_size)]

    def state(self) -> dict[str, Any]:
        """What decides the order, for a state dict: the same in all processes."""
        return {name: value for name, value in vars(self).items() if name != "rank"}
