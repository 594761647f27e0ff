"""Bands as users name them: one by one, or as a set such as `rgb` or `10m`."""

from collections.abc import Sequence

from patchpress.readers.errors import BandMissing
from patchpress.readers.format.modality import Modality

BandNames = str | Sequence[str] | None
"""Names of bands, one name, or a set of them (`rgb`, `10m`, `20m`, `all`); None for all."""
SETS = "`rgb`, `all`, or a ground sampling distance such as `10m`"


def bands_of(modality: Modality, asked: BandNames) -> tuple[str, ...] | None:
    """Names of bands from a list of names, one name, or a set; None for all.

    Raises:
        BandMissing: no such band or set; the message lists the bands.
    """
    if asked is None or asked == "all":
        return None
    if not isinstance(asked, str):
        return tuple(modality.band_names[index] for index in modality.indices(tuple(asked)))
    if asked in modality.band_names:
        return (asked,)
    if asked == "rgb":
        found = modality.rgb
    elif asked.endswith("m") and asked[:-1].replace(".", "", 1).isdecimal():
        found = tuple(b.name for b in modality.bands if b.gsd == float(asked[:-1]))
    elif (named := modality.band_named(asked)) is not None:
        return (named,)
    else:
        raise BandMissing(
            f"modality {modality.name!r} has no band or set {asked!r}; it has "
            f"{', '.join(modality.band_names)}, and sets are {SETS}"
        )
    if not found:
        sampled = sorted({f"{band.gsd:g}m" for band in modality.bands})
        raise BandMissing(
            f"modality {modality.name!r} has no bands {asked!r}; it has "
            f"{', '.join(modality.band_names)} ({', '.join(sampled)})"
        )
    return found
