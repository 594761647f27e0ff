"""`ShardReport`: what `convert --shard I` tells."""

from dataclasses import dataclass, field

from patchpress.converter.storage.shard_file import FinishedShard
from patchpress.converter.text import as_text, line, named, size


@dataclass
class ShardReport:
    """The outcome of a conversion of one shard."""

    store: str
    shard: FinishedShard
    seconds: float = 0.0
    was_there: bool = False
    """Whether an earlier run, or another process, had made it."""
    skipped: list[str] = field(default_factory=list)
    """One sentence for each patch of this shard that was left out."""
    missing: int = 0
    """How many shards the store lacks still."""

    @property
    def exit_code(self) -> int:
        """0, or 1 if patches were left out."""
        return 1 if self.skipped else 0

    def text(self) -> str:
        """The report for people."""
        shard = self.shard
        which = f"shard {shard.number} of {shard.shards:,}"
        if self.was_there:
            lines = [f"{self.store}: {which} is there already"]
        else:
            lines = [f"{self.store}: {which}"]
        lines.append(line("records", f"{shard.records:,}"))
        lines.append(line("data", f"{size(shard.bytes)} in {self.seconds:,.1f} s"))
        if self.missing:
            lines.append(line("missing", f"{self.missing:,} of {shard.shards:,} shards"))
        else:
            done = f"no shard is missing: `patchpress merge {self.store}` finishes the store"
            lines.append(line("missing", done))
        lines += named("patches left out because of errors", self.skipped, "")
        return as_text(lines)
