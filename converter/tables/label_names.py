"""A label in a table, a name or a number, to the name of its class."""

import re
from collections.abc import Callable

from patchpress.converter.descriptions.classes import load_class_list
from patchpress.converter.descriptions.description import LabelRule
from patchpress.converter.descriptions.labels import canonical_label
from patchpress.readers.errors import TableError

_SIGNS = (",", ";", "|", "/")  # that part labels in one cell
_INTEGER = re.compile(r"[+-]?\d+(\.0*)?")


def name_of(rule: LabelRule, label: str, row_name: Callable[[], str]) -> str | None:
    """The class that a name or number means; None for a code without a class.

    Raises:
        TableError: no class is called so, or has that number.
    """
    try:
        if label in rule.classes or _INTEGER.fullmatch(label) is None:
            return canonical_label(rule, label)
        number = int(float(label))
        if rule.cells.first_code is not None:
            first = rule.cells.first_code
            if first <= number < first + len(rule.classes):
                return rule.classes[number - first]
            raise TableError(
                f"label {number} is none of {len(rule.classes)} classes, whose numbers go from "
                f"{first} to {first + len(rule.classes) - 1}"
            )
        if rule.class_list:
            codes = load_class_list(rule.class_list).codes
            if number in codes:
                return codes[number]
            raise TableError(f"the code {number} is unknown to the class list {rule.class_list}")
        raise TableError(
            f"label {number} is a number: say with first_code whether the classes count from 0 or 1"
        )
    except TableError as error:
        raise TableError(f"{row_name()}: {error}{_other_separator(rule, label)}") from None


def _other_separator(rule: LabelRule, label: str) -> str:
    """The end of the sentence about an unknown label that looks like several; else nothing."""
    for sign in _SIGNS:
        parts = label.split(sign)
        if sign != rule.cells.separator and len(parts) > 1 and all(map(str.strip, parts)):
            return f"; if these are several labels, say separator = {sign!r}"
    return ""
