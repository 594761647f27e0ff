"""How a table writes the labels of a patch: names or numbers, one, several, shares, or a number."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from patchpress.converter.descriptions.strict import Section

ONE, SEVERAL, SHARES, NUMBER = "one", "several", "shares", "number"
KINDS = (ONE, SEVERAL, SHARES, NUMBER)


@dataclass(frozen=True, slots=True)
class LabelCells:
    """What stands in the cells of a label column of a table."""

    kind: str = ""
    """One of `KINDS`; empty if the cells tell: text is one label, a list is several."""
    separator: str = ""
    """What parts several labels in one text."""
    first_code: int | None = None
    """The number of the first class, if labels are numbers that count the classes."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Class -> the column of the table that says whether, or how much of, the patch has it."""

    @property
    def is_told(self) -> bool:
        """Whether anything is said of the cells."""
        return self != LabelCells()


def parse_label_cells(section: Section, classes: tuple[str, ...]) -> LabelCells:
    """The keys of ``[labels.COLUMN]`` that say how a table writes its labels.

    Raises:
        DescriptionError: a wrong key, or keys that exclude each other.
    """
    kind = section.take("kind", str, "")
    if kind and kind not in KINDS:
        raise section.error("kind", f"must be one of {', '.join(KINDS)}, not {kind!r}")
    first = section.take("first_code", int, -1)
    if first < -1 or (first >= 0 and first not in (0, 1)):
        raise section.error("first_code", f"must be 0 or 1, not {first}")
    columns = _columns(section, classes)
    cells = LabelCells(
        kind=kind,
        separator=section.take("separator", str, ""),
        first_code=None if first < 0 else first,
        columns=columns,
    )
    if kind == NUMBER and (cells.separator or cells.columns or cells.first_code is not None):
        raise section.error("kind", "is number, which has no classes: give no other key of classes")
    if kind in (ONE, NUMBER) and cells.separator:
        raise section.error("separator", f"parts several labels, and kind is {kind!r}")
    if columns and (cells.separator or cells.first_code is not None):
        raise section.error("columns", "excludes separator and first_code: each class has a column")
    return cells


def _columns(section: Section, classes: tuple[str, ...]) -> dict[str, str]:
    """Class -> column; `true` stands for columns that are called as the classes."""
    if isinstance(section.peek("columns"), bool):
        return {name: name for name in classes} if section.take("columns", bool) else {}
    columns = section.mapping("columns")
    if columns:
        unknown = next((name for name in columns if name not in classes), None)
        if unknown is not None:
            raise section.error(f"columns.{unknown}", "is none of the classes")
        lacking = next((name for name in classes if name not in columns), None)
        if lacking is not None:
            raise section.error("columns", f"has no column for the class {lacking!r}")
    return columns
