"""Distances on the ground as options take them: `10km`, `500m`."""

import re

from patchpress.readers.errors import OptionError

_DISTANCE = re.compile(r"(?P<count>\d{1,9}(?:\.\d{1,9})?)\s*(?P<unit>km|m)", re.ASCII)


def distance_option(name: str, distance: object, least_km: float, most_km: float) -> float:
    """The kilometres that an option means.

    Args:
        name: of the option, for the sentence.
        distance: a text such as `10km` or `500m`.
        least_km: what it must be.
        most_km: what it may be.

    Raises:
        OptionError: it is no distance, has no unit, or is too small or too large.
    """
    match = _DISTANCE.fullmatch(distance.strip()) if isinstance(distance, str) else None
    km = 0.0
    if match:
        km = float(match["count"]) / (1 if match["unit"] == "km" else 1000)
    if not match or not least_km <= km <= most_km:
        raise OptionError(
            f"{name} must be a distance with its unit, {shown_distance(least_km)} to "
            f"{shown_distance(most_km)}, such as 10km or 500m, not {distance!r}"
        )
    return km


def shown_distance(km: float) -> str:
    """A distance as `distance_option` takes it, exactly: ``10km``, ``500m``."""
    return f"{km:.12g}km" if km >= 1 or not km else f"{km * 1000:.12g}m"
