"""What an export wrote, and what it left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from patchpress.converter.text import as_text, line, not_taken, size


@dataclass
class Written:
    """What the module of a format counts while it writes."""

    files: int = 0
    bytes: int = 0
    """Of pixels, before they are compressed."""
    records: dict[str, int] = field(default_factory=dict)
    """Modality -> records."""
    notes: list[str] = field(default_factory=list)
    shards: dict[str, int] = field(default_factory=dict)
    """File -> samples, of formats whose files have several."""

    def add(self, modality: str) -> None:
        """Count a record."""
        self.records[modality] = self.records.get(modality, 0) + 1


@dataclass(frozen=True)
class Exported:
    """The outcome of one export."""

    out: str
    """The folder, as the user gave it."""
    format: str
    rows: int
    files: int
    """Files with pixels."""
    bytes: int
    """Of pixels, before they are compressed."""
    records: Mapping[str, int]
    """Modality -> records."""
    seconds: float
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Reason -> rows that were meant, and are left out all the same."""
    absent: tuple[str, ...] = ()
    """Names that were asked for, and that the store does not have."""
    passed_by: int = 0
    """Rows that were asked for by name, and that the rest of the choice leaves out."""
    notes: tuple[str, ...] = ()
    """A sentence for each thing that is not as in the store, or that is assumed."""

    def text(self) -> str:
        """The outcome for people, with the first few names of each list."""
        counts = ", ".join(f"{count:,} {name}" for name, count in self.records.items())
        rate = f"{size(self.bytes / max(self.seconds, 1e-6))}/s"
        lines = [
            f"{self.out}: {self.format}",
            line("rows", f"{self.rows:,}"),
            line("records", counts),
            line("files", f"{self.files:,}"),
            line("pixels", f"{size(self.bytes)} in {self.seconds:,.1f} s, {rate}"),
        ]
        lines += not_taken(self.left_out, self.passed_by, self.absent)
        lines += [f"  note: {note}" for note in self.notes]
        return as_text(lines)
