"""torch's DataLoader as all contestants use it, and an iterable of epochs."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.adapters.protocol import KeyedBatch


def torch_loader(data: Any, batch: int, workers: int, **options: Any) -> Any:
    """A shuffled DataLoader."""
    from torch.utils.data import DataLoader

    # Torch says of NumPy arrays on read-only memory that writing to them would be wrong.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    return DataLoader(data, batch, shuffle=True, **worker_options(workers), **options)


def worker_options(workers: int) -> dict[str, Any]:
    """Forked workers that stay alive: no epoch but the first pays for their start."""
    if not workers:
        return {"num_workers": 0}
    fork = {"multiprocessing_context": "fork"}  # Python 3.14 would pickle the data set
    return {"num_workers": workers, "persistent_workers": True, **fork}


class Epochs:
    """A loader of any kind, each of whose batches `part` turns into (keys, pixels)."""

    def __init__(self, loader: Iterable[Any], part: Callable[[Any], KeyedBatch]) -> None:
        self.loader, self.part = loader, part

    def __iter__(self) -> Iterator[KeyedBatch]:
        return map(self.part, self.loader)
