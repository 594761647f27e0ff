r"""``[modalities.NAME.date]``: where it stands when the one acquisition of each patch was.

[modalities.s2.date]
name = 'S2[AB]_MSIL2A_(?P<date>\d{8}T\d{6})_.+'   # of the patch, as published
format = "%Y%m%dT%H%M%S"
"""

import re
from dataclasses import dataclass

from patchpress.converter.descriptions.expressions import expression, groups_in
from patchpress.converter.descriptions.strict import Section
from patchpress.converter.descriptions.time import check_format, iso_date

DATE = "date"  # the group of the expression


@dataclass(frozen=True, slots=True)
class Acquired:
    """Where the date of a patch stands: in its name, or in a column of the table."""

    name: str = ""
    """Regular expression of the published name, with a group `date`; empty if a column has it."""
    column: str = ""
    """The column; empty if names have the date."""
    format: str = ""
    """Of the date, as `datetime.strptime` takes it; empty for ISO 8601."""

    def text_in(self, name: str, *, limited: bool) -> str | None:
        """The text of the date in a published name; None if it has none.

        Args:
            name: of a patch.
            limited: as of `ModalitySource`.

        Raises:
            DescriptionError: the expression took too long.
        """
        match = expression(self.name, limited=limited).fullmatch(name)
        return match[DATE] if match else None

    def parse_date(self, text: str) -> str:
        """A date as `2020-06-04T05:46:39`, in UTC.

        Raises:
            ValueError: it is no date of the format, or no date at all.
        """
        return iso_date(text, self.format)


def parse_acquired(section: Section, *, limited: bool) -> Acquired | None:
    """Read the table; None if it is empty.

    Raises:
        DescriptionError: a wrong key.
    """
    if not section.keys:
        return None
    found = Acquired(
        name=section.take("name", str, ""),
        column=section.take("column", str, ""),
        format=section.take("format", str, ""),
    )
    section.end()
    if bool(found.name) == bool(found.column):
        raise section.error(
            "name",
            "must be an expression of the patch's name, or column the one that has the date: give "
            "one of the two",
        )
    if found.format:
        check_format(section, found.format, day=True)
    if found.name:
        try:
            groups = groups_in(found.name)
            expression(found.name, limited=limited)
        except re.error as error:
            raise section.error("name", f"is no regular expression: {error}") from None
        if DATE not in groups:
            raise section.error("name", f"has no group (?P<{DATE}>…): {found.name!r}")
    return found
