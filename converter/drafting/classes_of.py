"""Columns of labels: which they are, and which classes they have."""

from collections.abc import Sequence
from typing import Any

from patchpress.converter.drafting.draft import Draft, DraftLabels

MOST_CLASSES = 300
LABEL_WORDS = ("label", "labels", "class", "classes", "category", "categories", "land_cover")


def add_labels(draft: Draft, column: str, values: Sequence[Any], *, whole: bool) -> None:
    """Classes of a column of labels, if they are words."""
    classes = {word for value in values for word in (value if isinstance(value, list) else [value])}
    if not classes or len(classes) > MOST_CLASSES or not all(isinstance(c, str) for c in classes):
        draft.remarks.append(
            f"column {column} has numbers or too many words to be classes: give [labels.{column}] "
            "if it holds labels."
        )
        return
    before = draft.labels.get(column, DraftLabels([]))
    remark = before.remark if whole else "whether these are all classes: not all rows were read"
    draft.labels[column] = DraftLabels(sorted({*classes, *before.classes}), remark)


def shares_in(values: Sequence[Any]) -> set[str]:
    """The classes whose shares stand in some values; none if these are not shares.

    Shares of a patch are ``[[class, share], …]`` or ``{class: share}``.
    """
    classes: set[str] = set()
    for value in values:
        pairs = list(value.items()) if isinstance(value, dict) else value
        if not isinstance(pairs, list) or not all(_is_share(pair) for pair in pairs):
            return set()
        classes |= {pair[0] for pair in pairs}
    return classes


def _is_share(pair: Any) -> bool:
    return (
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], int | float)
    )
