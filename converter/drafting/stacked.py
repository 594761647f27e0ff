"""Whether the bands of a file are those of several dates, by how many there are."""

from math import gcd

from patchpress.converter.drafting.draft import DraftModality, DraftTime
from patchpress.converter.drafting.measured import Measured

MONTHS = 12
MOST_STEPS = 400  # dates of a place that are likely
_ORDER = (
    "time-major has all bands of the first date first, band-major all dates of the first band; "
    "table = {...} tells the dates, if a file does"
)


def stacked_dates(one: Measured) -> tuple[int, DraftTime] | None:
    """The bands of a date, and the dates, if the files of a channel have several of both.

    Files with other numbers of bands, but of one size and dtype, are of places with other numbers
    of dates. How many bands a date has is the largest number that divides all of them.
    """
    if one.said.names or len(one.shapes) > 1 or one.said.format != "tiff":
        return None
    if not one.other_kinds or any(dtype != one.said.dtype for _, dtype in one.other_kinds):
        return None
    counts = {one.said.bands, *(bands for bands, _ in one.other_kinds)}
    bands = gcd(*counts)
    steps = max(counts) // bands
    if bands < 2 or not 3 <= steps <= MOST_STEPS:  # 3 and 4 bands are colours, and with alpha
        return None
    return bands, DraftTime(steps, order="time-major")


def note_stacked(modality: DraftModality, one: Measured) -> None:
    """Ask about the dates of a file: those that were found, or those that there may be."""
    bands = one.said.bands
    if modality.time is not None:
        modality.remarks.pop("path", None)
        most = modality.time.steps * modality.bands[0].count
        modality.remarks["time"] = (
            f"files have up to {most} bands, and others fewer: how many dates of how many bands; "
            f"{_ORDER}"
        )
    elif not one.said.names and bands >= 2 * MONTHS and not bands % MONTHS:
        each = bands // MONTHS
        modality.remarks["bands"] = (
            f"whether {bands} bands are {MONTHS} months of {each}: then count = {each} and "
            f'time = {{ steps = {MONTHS}, order = "time-major" }}; {_ORDER}'
        )
