"""Which of the processes that train together this one is, and a seed that all of them share.

torch is only looked at if somebody else has imported it.
"""

import os
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from patchpress.readers.errors import OptionError

GROUP, ENVIRONMENT = "torch.distributed", "RANK and WORLD_SIZE"


@dataclass(frozen=True)
class Processes:
    """The number of this process, of how many, and who said so (empty: the caller, or nobody)."""

    rank: int
    world_size: int
    source: str = ""


def processes_of(rank: int | None, world_size: int | None) -> Processes:
    """The given numbers, or without any those that this process was started with.

    Those are the ones of `torch.distributed` if its process group is initialised, else those of
    the variables RANK and WORLD_SIZE, which ``torchrun`` sets; else this process is alone.

    Raises:
        OptionError: one number without the other, or variables that are no numbers.
    """
    if rank is not None and world_size is not None:
        return Processes(rank, world_size)
    if rank is not None or world_size is not None:
        raise OptionError(
            f"rank {rank!r} and world_size {world_size!r} belong together: give both, or none to "
            "have those of torch.distributed"
        )
    group = _group()
    if group is not None:
        return Processes(group.get_rank(), group.get_world_size(), GROUP)
    asked = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if None in asked or "" in asked:
        return Processes(0, 1)
    try:
        number, count = (int(text) for text in asked if text)
    except ValueError:
        raise OptionError(
            f"the variables RANK={asked[0]} and WORLD_SIZE={asked[1]} are no numbers: give rank "
            "and world_size"
        ) from None
    return Processes(number, count, ENVIRONMENT)


def drawn_seed(processes: Processes) -> tuple[int, str]:
    """A seed for a loader that was given none, and where it is from.

    It is drawn from torch's default generator, as a stock `DataLoader` draws its own, so that
    ``torch.manual_seed`` decides it; if nobody has imported torch, from NumPy's global generator.
    Several processes take the one that the first of them draws, through `torch.distributed`: each
    of them must come here. Without a process group they cannot agree, and the seed is 0.
    """
    group, count = _group(), processes.world_size
    if count > 1 and (group is None or group.get_world_size() != count):
        return 0, "fixed, because no process group connects the processes"
    torch = sys.modules.get("torch")
    if torch is None:
        return int(np.random.randint(2**63 - 1, dtype=np.int64)), "from NumPy"
    found = [int(torch.empty((), dtype=torch.int64).random_().item())]
    if count > 1 and group is not None:
        group.broadcast_object_list(found, src=0)
    return found[0], "from torch"


def _group() -> Any:
    """`torch.distributed` if its default process group is initialised, else None."""
    torch = sys.modules.get("torch")
    group = getattr(torch, "distributed", None)
    return group if group is not None and group.is_available() and group.is_initialized() else None
