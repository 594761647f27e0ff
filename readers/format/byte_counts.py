"""Numbers of bytes as users write them."""

import re

from patchpress.readers.errors import OptionError

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {f"{unit}i": 1024**power for power, unit in enumerate("KMGT", 1)}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(|k|M|G|T|Ki|Mi|Gi|Ti)B?")


def bytes_of(size: int | str, of: str) -> int:
    """A number of bytes, given as such or as text: ``200GB``, ``1.5 TiB``.

    Args:
        size: the number.
        of: of what it is the size, for the message: ``of a stage``.

    Raises:
        OptionError: it is none.
    """
    match = _SIZE.fullmatch(size.strip()) if isinstance(size, str) else None
    if match is not None:
        return int(float(match[1]) * _UNITS[match[2]])
    if isinstance(size, int) and not isinstance(size, bool) and size >= 0:
        return size
    raise OptionError(f"the size {size!r} {of} is no number of bytes: write 200GB, or 500MB")
