"""What a copy, a split or a merge of stores did, and what it left out."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from patchpress.converter.progress import NoProgress, Progress
from patchpress.converter.text import as_text, line, not_taken, size, split_rows
from patchpress.converter.transfer.plan import CopyPlan
from patchpress.converter.transfer.row_choice import ChosenRows
from patchpress.converter.transfer.target_store import write_store
from patchpress.readers.format.manifest import STATISTICS, Manifest


@dataclass(frozen=True)
class Copied:
    """The outcome of one copy, split or merge."""

    store: str
    manifest: Manifest
    seconds: float
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows that were meant, and are left out all the same."""
    absent: tuple[str, ...] = ()
    """Names that were asked for, and that the store does not have."""
    passed_by: int = 0
    """Rows that were asked for by name, and that the rest of the choice leaves out."""
    notes: tuple[str, ...] = ()
    """A sentence for each thing that was not copied or assumed."""

    @property
    def bytes(self) -> int:
        """Size of the data files."""
        return sum(shard.bytes for shard in self.manifest.shards)

    def text(self) -> str:
        """The outcome for people, with the first few names of each list."""
        manifest = self.manifest
        counts = ", ".join(f"{m.records:,} {m.name}" for m in manifest.modalities.values())
        rate = f"{size(self.bytes / max(self.seconds, 1e-6))}/s"
        lines = [
            f"{self.store}: {manifest.dataset.name}",
            line("records", counts),
            line("data", f"{size(self.bytes)} in {self.seconds:,.1f} s, {rate}"),
            line("rows", f"{manifest.rows:,}"),
        ]
        if len(manifest.shards) > 1 or manifest.shards[0].path.startswith("shards"):
            lines.insert(3, line("shards", f"{len(manifest.shards):,}"))
        for split, found in manifest.splits.items():
            flagged = manifest.flagged.splits.get(split, {}).get("rows", 0)
            lines.append(line(f"split {split}", split_rows(found["rows"], flagged)))
        lines += not_taken(self.left_out, self.passed_by, self.absent)
        lines += [f"  note: {note}" for note in self.notes]
        return as_text(lines)


def write_copy(
    out: Path,
    name: str,
    plan: CopyPlan,
    command: str,
    rows: ChosenRows | None,
    progress: Progress | None,
    *,
    overwrite: bool,
) -> Copied:
    """Write the store of a plan; gives what was done.

    Args:
        out: the folder of the store.
        name: its path as the user gave it.
        plan: what it is to have.
        command: what writes it.
        rows: those that were chosen, if some were.
        progress: told of each chunk of records.
        overwrite: replace a finished store.
    """
    begun = time.monotonic()
    manifest = write_store(out, plan, command, progress or NoProgress(), overwrite=overwrite)
    notes = list(plan.notes)
    had = [source.name for source in plan.sources if (source.path / STATISTICS).exists()]
    if had and not (out / STATISTICS).exists():
        notes.append(
            f"{STATISTICS} is not copied, since it is of other data: run `patchpress stats {name}`"
        )
    return Copied(
        store=name,
        manifest=manifest,
        seconds=time.monotonic() - begun,
        left_out=rows.left_out if rows else {},
        absent=rows.absent if rows else (),
        passed_by=rows.passed_by if rows else 0,
        notes=tuple(notes),
    )
