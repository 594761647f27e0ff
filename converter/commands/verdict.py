"""What `verify` found."""

from dataclasses import dataclass, field

from patchpress.converter.text import as_text, line, several

PROBLEMS_PRINTED = 20  # problems in the printed verdict


@dataclass
class Verdict:
    """What `verify` found; `good` if nothing is wrong."""

    store: str
    records: int = 0
    """Records read back."""
    compared: int = 0
    """Records compared with the source, pixel by pixel."""
    others: int = 0
    """Values of the data file that are no records, as the manifest says."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with the store, one sentence for each."""
    source: list[str] = field(default_factory=list)
    """How the source contradicts itself, one sentence for each. The store has what was published,
    so it is good all the same."""
    notes: list[str] = field(default_factory=list)
    """Lines that tell what the source has that is no patch, and was compared with nothing."""

    @property
    def good(self) -> bool:
        """Whether all is as it should be."""
        return not self.problems

    def text(self) -> str:
        """The verdict for people, problems cut after some."""
        state = "good" if self.good else f"BAD, {several(len(self.problems), 'problem')}"
        lines = [f"{self.store}: {state}", line("records read back", f"{self.records:,}", 25)]
        if self.compared:
            lines.append(line("compared with the source", f"{self.compared:,}", 25))
        if self.others:
            lines.append(line("values that are no records", f"{self.others:,}, not checked", 25))
        lines += _cut(self.problems)
        if self.source:
            count = several(len(self.source), "row")
            lines.append(
                f"  the source contradicts itself in {count}; the store has both as they were "
                "published, so correct the table and convert again, or use one of the two"
            )
            lines += _cut(self.source)
        return as_text([*lines, *self.notes])


def _cut(sentences: list[str]) -> list[str]:
    """The first of some sentences, a line each, and how many more there are."""
    lines = [f"  {sentence}" for sentence in sentences[:PROBLEMS_PRINTED]]
    more = len(sentences) - PROBLEMS_PRINTED
    return [*lines, f"  … and {more:,} more"] if more > 0 else lines
