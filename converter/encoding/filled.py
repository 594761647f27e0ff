"""A record whose pixels are written, before it is compressed."""

from typing import NamedTuple

from patchpress.converter.encoding.tiff import Ground
from patchpress.readers.format.record import Form


class Filled(NamedTuple):
    """A record whose pixels are written."""

    form: Form
    ground: Ground | None
    record: memoryview
    """The memory that it was written to; it may be longer."""
    found_size: str = ""
