"""Label columns: what gives their labels, which columns records fill, and canonical spellings."""

from collections.abc import Iterable
from dataclasses import dataclass

from patchpress.converter.descriptions.classes import load_class_list
from patchpress.converter.descriptions.description import Description, LabelRule, ModalitySource
from patchpress.readers.errors import TableError
from patchpress.readers.format.time_axis import dates_column, steps_column
from patchpress.readers.hints import hint


@dataclass(frozen=True, slots=True)
class LabelSource:
    """What gives the labels of a column."""

    title: str
    """For people: ``the tables``, ``the codes of map``, …"""
    modalities: tuple[str, ...] = ()
    """The modalities whose records give them, if records do."""
    from_codes: bool = False
    """Whether the records are maps, and the labels follow from their codes."""


def label_sources(
    description: Description, modalities: Iterable[str], *, has_tables: bool
) -> dict[str, LabelSource]:
    """Label column -> what gives its labels; columns whose labels nothing gives are left out.

    Args:
        description: of the data set.
        modalities: those that the source has.
        has_tables: whether the source has official tables.
    """
    found: dict[str, LabelSource] = {}
    there = [description.modalities[name] for name in modalities]
    for column, rule in description.labels.items():
        while description.follows(rule):
            rule = description.labels[rule.source]
        source = LabelSource("the tables") if has_tables else _source_without_tables(rule, there)
        if source is not None:
            found[column] = source
    return found


def _source_without_tables(rule: LabelRule, there: list[ModalitySource]) -> LabelSource | None:
    if rule.rule:
        if not any(modality.name == rule.source for modality in there):
            return None
        return LabelSource(f"the codes of {rule.source}", (rule.source,), from_codes=True)
    with_sidecar = tuple(m.name for m in there if m.sidecar and rule.column in m.sidecar.columns)
    if with_sidecar:
        return LabelSource("the JSON file of each patch", with_sidecar)
    if any(rule.column in modality.columns for modality in there):
        return LabelSource("the names of folders and files")
    return None


def record_columns(modality: ModalitySource, rules: tuple[LabelRule, ...]) -> list[str]:
    """The table columns that records of a modality fill, in the order of a record's values."""
    sidecar = list(modality.sidecar.columns) if modality.sidecar else []
    from_codes = [rule.column for rule in rules if rule.source == modality.name]
    return [*modality.columns, *sidecar, *from_codes, *time_columns_of(modality)]


def time_columns_of(modality: ModalitySource) -> list[str]:
    """What a record tells of its acquisitions: how many there are, and when, if its files tell."""
    if modality.time is None:
        return []
    dates = [dates_column(modality.name)] if modality.time.date else []
    return [steps_column(modality.name), *dates]


def canonical_label(rule: LabelRule, label: str) -> str:
    """The canonical spelling of a label in the rule's column.

    Raises:
        TableError: no class is called so; the message suggests the nearest.
    """
    if label in rule.classes:
        return label
    if rule.class_list:
        return load_class_list(rule.class_list).canonical_name(label)
    raise TableError(f"label {label!r} is unknown; {hint(label, rule.classes)}")
