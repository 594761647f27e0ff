"""`--block`, `--shares`, `--buffer`, `--seed`: a split by blocks of ground, checked."""

from collections.abc import Sequence
from dataclasses import dataclass

from patchpress.converter.distances import distance_option, shown_distance
from patchpress.readers.errors import OptionError

SHARES = (0.7, 0.15, 0.15)
LEAST_KM, MOST_KM = 0.1, 2000.0
MOST_BUFFER_KM = 500.0

Shares = str | Sequence[float] | None


@dataclass(frozen=True, slots=True)
class BlockRule:
    """How patches are split by blocks of ground."""

    km: float
    """The side of a block."""
    shares: tuple[float, float, float] = SHARES
    """Of train, validation and test; their sum is 1."""
    seed: int = 0
    """Decides which blocks go where."""
    buffer_km: float = 0.0
    """Patches of train and validation that are as near to one of test have no split, and so have
    those of train that are as near to one of validation."""

    def settings(self) -> dict[str, str | int | float | None]:
        """What a manifest says of it."""
        found: dict[str, str | int | float | None] = {
            "seed": self.seed,
            "block": shown_distance(self.km),
            "shares": ",".join(f"{share:.12g}" for share in self.shares),
        }
        return found | ({"buffer": shown_distance(self.buffer_km)} if self.buffer_km else {})


def block_rule(
    split: str,
    block: str | None,
    shares: Shares = None,
    buffer: str | None = None,
    seed: int = 0,
    validation: float = 0.0,
) -> BlockRule | None:
    """How rows are split by blocks; None if no block is given.

    Raises:
        OptionError: a value that cannot be, or one that has no effect beside another.
    """
    if block is None:
        for name, value in (("shares", shares), ("buffer", buffer)):
            if value is not None:
                raise OptionError(
                    f"{name} {value!r} has no effect without blocks of ground: give split "
                    "geographic and a block, such as 10km"
                )
        return None
    if split != "geographic":
        raise OptionError(f"block {block!r} has no effect with split {split}: give geographic")
    if validation:
        raise OptionError(
            f"validation {validation:g} and block {block!r} exclude each other: the second of the "
            "shares is that of validation"
        )
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise OptionError(f"seed must be 0 or more, not {seed!r}")
    return BlockRule(
        km=distance_option("block", block, LEAST_KM, MOST_KM),
        shares=SHARES if shares is None else _shares(shares),
        seed=seed,
        buffer_km=0.0 if buffer is None else distance_option("buffer", buffer, 0, MOST_BUFFER_KM),
    )


def _shares(shares: str | Sequence[float]) -> tuple[float, float, float]:
    words = shares.split(",") if isinstance(shares, str) else shares
    try:
        found = [float(word) for word in words]
    except (TypeError, ValueError):
        found = []
    whole = len(found) == 3 and all(0 <= share <= 1 for share in found) and found[0] > 0
    if not whole or abs(sum(found) - 1) > 1e-6:
        shown = shares if isinstance(shares, str) else repr(shares)
        raise OptionError(
            "shares must be three numbers of train, validation and test, with the sum 1 and train "
            f"above 0, such as 0.7,0.15,0.15, not {shown}"
        )
    return found[0], found[1], found[2]
