"""torch's DataLoader as all contestants use it, and what can be iterated epoch after epoch."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.adapters.protocol import Fed


def torch_loader(data: Any, batch: int, workers: int, **options: Any) -> Any:
    """A shuffled DataLoader."""
    from torch.utils.data import DataLoader

    # Torch says of NumPy arrays on read-only memory that writing to them would be wrong.
    warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
    return DataLoader(data, batch, shuffle=True, **worker_options(workers), **options)


def worker_options(workers: int) -> dict[str, Any]:
    """Workers that are forked and live on, which spares every loader their start."""
    if not workers:
        return {"num_workers": 0}
    fork = {"multiprocessing_context": "fork"}  # Python 3.14 would pickle the data set
    return {"num_workers": workers, "persistent_workers": True, **fork}


class Epochs:
    """A loader whose batches are taken apart into what the harness wants to know."""

    def __init__(self, loader: Iterable[Any], part: Callable[[Any], Fed]) -> None:
        self.loader, self.part = loader, part

    def __iter__(self) -> Iterator[Fed]:
        return map(self.part, self.loader)
