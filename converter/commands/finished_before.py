"""`FinishedBefore`: what is told if there was nothing to do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FinishedBefore:
    """A store that was finished by an earlier run; there was nothing to do."""

    store: str
    shards: int

    def text(self) -> str:
        """One line for people."""
        shards = "one data file" if self.shards == 1 else f"{self.shards:,} shards"
        return f"{self.store} is finished already, with {shards}"

    exit_code = 0
    was_there = True
