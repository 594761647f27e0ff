"""What was measured of one contestant at one setting."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.child import Contestant


@dataclass(frozen=True)
class Trial:
    """One contestant's rounds at one setting: patches a second in each."""

    name: str
    note: str
    environment: str
    versions: dict[str, str]
    unavailable: str | None
    batch: int
    workers: int = 0
    rates: tuple[float, ...] = ()
    first: tuple[float, ...] = ()  # of loaders: patches a second in the first epoch
    amplification: tuple[float, ...] = ()  # cold: bytes read from the disk for each byte needed
    resident: tuple[float, ...] = ()  # cold: share left in the page cache after dropping
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Patches a second, the median."""
        return median(self.rates)

    @property
    def spread(self) -> str:
        """Microseconds a patch, the best and the worst round."""
        return f"{1e6 / max(self.rates):,.1f} - {1e6 / min(self.rates):,.1f}"


def fitting(sizes: Sequence[int], patches: int) -> list[int]:
    """Give the sizes of batches; a size larger than the number of patches becomes that."""
    return sorted({min(size, patches) for size in sizes})


def trial(contestant: Contestant[Any], batch: int, **measured: Any) -> Trial:
    """Note what was measured of a contestant."""
    return Trial(
        contestant.peer.name,
        contestant.peer.note,
        contestant.peer.environment or "own",
        contestant.versions,
        contestant.unavailable,
        batch,
        **measured,
    )


def us(trial: Trial) -> str:
    """Microseconds a patch, the median."""
    return f"{1e6 / trial.rate:,.1f}"


def times(trial: Trial, limit: Trial) -> str:
    """How many times as long as another one it takes."""
    return f"{limit.rate / trial.rate:,.2f}x" if limit.rates else "-"
