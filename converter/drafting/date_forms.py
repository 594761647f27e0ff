"""Dates in names: which of the usual forms all of some names have, and what lies around it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from patchpress.converter.descriptions.time import iso_date
from patchpress.converter.drafting.words import common_start, form

# Expression of a date -> its format for `strptime`; empty for ISO 8601. Longer ones come first, so
# that a time of day is part of its date.
_FORMS = (
    (r"\d{8}T\d{6}", ""),
    (r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}", "%Y-%m-%dT%H-%M-%S"),
    (r"\d{8}_\d{6}", "%Y%m%d_%H%M%S"),
    (r"\d{14}", "%Y%m%d%H%M%S"),
    (r"\d{4}-\d{2}-\d{2}", ""),
    (r"\d{4}_\d{2}_\d{2}", "%Y_%m_%d"),
    (r"\d{8}", "%Y%m%d"),
    (r"\d{4}-\d{2}", "%Y-%m"),
    (r"\d{4}_\d{2}", "%Y_%m"),
    (r"\d{6}", "%Y%m"),
)
_YEARS = range(1970, 2100)
MARKS = "_-. "


@dataclass(frozen=True, slots=True)
class DatedName:
    """A name with a date in it, in three pieces."""

    before: str
    date: str
    after: str


@dataclass(frozen=True, slots=True)
class DateForm:
    """How all of some names tell a date."""

    expression: str
    format: str
    """As `strptime` takes it; empty for ISO 8601."""
    names: dict[str, DatedName]

    def pattern(self, before: str = "", after: str = "") -> str:
        """A regular expression of the names, with the group `date`.

        Args:
            before: the group of what comes before the date; none if empty.
            after: the group of what follows it.
        """
        names = self.names.values()
        head, left = _around([name.before[::-1] for name in names], before)
        tail, right = _around([name.after for name in names], after)
        start = form(text[::-1] for text in head) if head != [""] else ""
        end = form(tail) if tail != [""] else ""
        start = f"(?P<{before}>{start})" if before else start
        end = f"(?P<{after}>{end})" if after else end
        return f"{start}{left}(?P<date>{self.expression}){right}{end}"


def _around(texts: Sequence[str], group: str) -> tuple[list[str], str]:
    """Texts that begin at the date without the separator beside it, and that as an expression."""
    mark = common_start(sorted(texts))[:1]
    if not group or mark not in MARKS:
        mark = ""
    plain = sorted({text[len(mark) :] for text in texts})
    return plain, re.escape(mark) if mark == "." else mark


def date_form(names: Iterable[str]) -> DateForm | None:
    """The form of the first date in all of some names; None if one has none of that form."""
    known = sorted(set(names))
    for expression, text in _FORMS:
        if not known:
            break
        found = {name: _parted(name, expression, text) for name in known}
        whole = {name: one for name, one in found.items() if one is not None}
        if len(whole) == len(known):
            return DateForm(expression, text, whole)
    return None


def tells_dates(names: Iterable[str]) -> bool:
    """Whether several names differ in their dates."""
    found = date_form(names)
    return found is not None and len({name.date for name in found.names.values()}) > 1


def date_in_each(names: Iterable[str]) -> tuple[str, str] | None:
    """An expression of all of some names with the group `date`, and the format of the date.

    None if not all have a day, or all have the same one, as the version of a product.
    """
    found = date_form(names)
    if found is None or (found.format and "d" not in found.format):
        return None
    if len({name.date for name in found.names.values()}) < 2:
        return None
    text = rf".*?(?<!\d)(?P<date>{found.expression})(?!\d).*"
    matches = [(name, re.fullmatch(text, whole)) for whole, name in found.names.items()]
    is_first = all(match and match["date"] == name.date for name, match in matches)
    return (text, found.format) if is_first else None


def are_dates(names: Iterable[str]) -> bool:
    """Whether names are dates and nothing else."""
    found = date_form(names)
    return found is not None and all(
        not (name.before.strip(MARKS) or name.after.strip(MARKS)) for name in found.names.values()
    )


def _parted(name: str, expression: str, text: str) -> DatedName | None:
    """A name around the first date of a form; None if it has none."""
    # Digits beside it would be of a longer number.
    for match in re.finditer(rf"(?<!\d)({expression})(?!\d)", name):
        date = match[1]
        try:
            year = int(iso_date(date, text)[:4])
        except ValueError:
            continue
        if year in _YEARS:
            return DatedName(name[: match.start(1)], date, name[match.end(1) :])
    return None
