"""``[modalities.NAME.time]``: that a place was seen several times, and how its files tell when."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from patchpress.converter.descriptions.strict import Section
from patchpress.readers.format.manifest_schema import MOST_STEPS

ORDERS = ("time-major", "band-major")


@dataclass(frozen=True, slots=True)
class DatesTable:
    """A table with one row for each acquisition that is stacked in a file."""

    file: str
    """Its name under the source."""
    name: str
    """Template of the published name of the place, made of the table's columns in braces."""
    step: str
    """The column with the number of the acquisition in its file, from 0."""
    date: str
    """The column with its date."""


@dataclass(frozen=True, slots=True)
class Time:
    """How the acquisitions of a place become one record with a time axis."""

    steps: int
    """How many a record has room for."""
    date: str = ""
    """Template of the date, if each acquisition has a folder or file of its own; else empty."""
    format: str = ""
    """Of `date`, as `datetime.strptime` takes it; empty for ISO 8601."""
    order: str = ""
    """One of `ORDERS`, if the acquisitions are stacked on the channels of a file; else empty."""
    table: DatesTable | None = None
    """What tells the dates of stacked acquisitions, if anything does."""

    def parse_date(self, text: str) -> str:
        """A date as `2020-06-04T05:46:39`, in UTC.

        Raises:
            ValueError: it is no date of the format, or no date at all.
        """
        return iso_date(text, self.format)


def iso_date(text: str, form: str = "") -> str:
    """A date as `2020-06-04T05:46:39`; one with a time zone is moved to UTC.

    Raises:
        ValueError: it is no date.
    """
    found = datetime.strptime(text, form) if form else datetime.fromisoformat(text)
    if found.tzinfo is not None:
        found = found.astimezone(UTC)
    return found.replace(tzinfo=None, microsecond=0).isoformat()


def parse_time(section: Section) -> Time | None:
    """Read the table; None if it is empty.

    Raises:
        DescriptionError: a wrong key.
    """
    if not section.keys:
        return None
    time = Time(
        steps=section.take("steps", int),
        date=section.take("date", str, ""),
        format=section.take("format", str, ""),
        order=section.take("order", str, ""),
        table=_table(section.section("table", optional=True)),
    )
    section.end()
    if not 1 <= time.steps <= MOST_STEPS:
        raise section.error("steps", f"must be 1 to {MOST_STEPS:,}, not {time.steps}")
    if time.order and time.order not in ORDERS:
        raise section.error("order", f"must be one of {', '.join(ORDERS)}, not {time.order!r}")
    if bool(time.date) == bool(time.order):
        raise section.error(
            "date",
            "must say the date of each folder or file, or order how the dates are stacked in one: "
            "give one of the two",
        )
    if time.table and not time.order:
        raise section.error("table", "is for dates that are stacked in a file, and date names them")
    if time.format:
        check_format(section, time.format)
    return time


def _table(section: Section) -> DatesTable | None:
    if not section.keys:
        return None
    table = DatesTable(
        file=section.inside("file", section.take("file", str)),
        name=section.take("name", str),
        step=section.take("step", str),
        date=section.take("date", str),
    )
    section.end()
    return table


def check_format(section: Section, form: str, *, day: bool = False) -> None:
    """Refuse a format that tells no date.

    Args:
        section: with the key `format`.
        form: its value.
        day: whether it must tell the day; else the year is enough.

    Raises:
        DescriptionError: it tells less, or is no format.
    """
    one = datetime(2019, 11, 29, tzinfo=UTC)
    try:
        told = iso_date(one.strftime(form), form)
    except (ValueError, re.error) as error:  # the latter of a part that is there twice
        raise section.error("format", f"is no format of dates ({error})") from None
    if not told.startswith("2019-11-29" if day else "2019"):
        least = "year, month and day" if day else "year"
        raise section.error("format", f"tells no {least}, as %Y%m%d does: {form!r}")
