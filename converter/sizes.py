"""Sizes as options take them, in bytes: `10GB` in powers of ten, `2GiB` and `2G` in powers of two.

`converter.text` writes sizes for people.
"""

import re

from patchpress.readers.errors import OptionError

_SIZE = re.compile(
    r"(?P<count>\d{1,15}(?:\.\d{1,9})?)\s*(?P<unit>[a-z]*)", re.ASCII | re.IGNORECASE
)
_UNITS = {"": 1, "b": 1} | {
    f"{letter}{ending}": base**power
    for power, letter in enumerate("kmgt", 1)
    for ending, base in (("b", 1000), ("ib", 1024), ("i", 1024), ("", 1024))
}


def size_option(name: str, size: int | str, least: int = 1, most: int | None = None) -> int:
    """The bytes that an option means.

    Args:
        name: of the option, for the sentence.
        size: bytes, or a text such as `2GiB`, `10GB`, `512M` (powers of two, as in zstd and dd).
        least: bytes that it must have.
        most: bytes that it may have; None for any number.

    Raises:
        OptionError: it is no size, or too small or too large.
    """
    nbytes = _bytes(size)
    if nbytes is None or nbytes < least or (most is not None and nbytes > most):
        bounds = f"{binary_size(least)} or more"
        if most is not None:
            bounds = f"{binary_size(least)} to {binary_size(most)}"
        raise OptionError(f"{name} must be a size such as 2GiB, {bounds}, not {size!r}")
    return nbytes


def _bytes(size: int | str) -> int | None:
    """A size in bytes; None if it is none."""
    if isinstance(size, int) and not isinstance(size, bool):
        return size
    match = _SIZE.fullmatch(size.strip()) if isinstance(size, str) else None
    unit = _UNITS.get(match["unit"].lower()) if match else None
    return round(float(match["count"]) * unit) if match and unit is not None else None


def binary_size(nbytes: int) -> str:
    """Bytes as `size_option` takes them, exactly: ``2GiB``, ``144MiB``, ``1000``."""
    for unit, one in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if nbytes and not nbytes % one:
            return f"{nbytes // one}{unit}"
    return str(nbytes)
