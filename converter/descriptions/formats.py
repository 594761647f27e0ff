"""What files a modality has: ``format`` and, for arrays of NumPy, ``axes``."""

from collections.abc import Sequence
from dataclasses import dataclass

from patchpress.converter.descriptions.band_files import BandFile
from patchpress.converter.descriptions.strict import Section
from patchpress.readers.format.modality import Band

TIFF, PNG, JPEG, JPEG2000, NPY = "tiff", "png", "jpeg", "jpeg2000", "npy"
FORMATS = (TIFF, PNG, JPEG, JPEG2000, NPY)
HWC, CHW, HW = "hwc", "chw", "hw"
AXES = (HWC, CHW, HW)
_DTYPES = {
    PNG: ("uint8", "uint16"),
    JPEG: ("uint8",),
    JPEG2000: ("uint8", "int8", "uint16", "int16"),
}
"""What the pixels of a format may be; those that are not here may have any dtype."""
_BANDS = {PNG: (1, 2, 3, 4), JPEG: (1, 3)}
"""How many bands a file of a format may have; those that are not here may have any number."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """What kind of files, and in which order their axes are."""

    name: str = TIFF
    """One of `FORMATS`."""
    axes: str = ""
    """One of `AXES` if the files are arrays of NumPy; they alone do not tell it themselves."""
    widen: bool = False
    """Whether a file may have a narrower dtype, all of whose values the described one has."""


IS_TIFF = FileFormat()


def parse_format(section: Section, files: Sequence[BandFile], bands: Sequence[Band]) -> FileFormat:
    """Read the keys ``format``, ``axes`` and ``widen``.

    Args:
        section: the modality's table.
        files: of a patch.
        bands: those that are stored.

    Raises:
        DescriptionError: a wrong key, or bands that such files cannot have.
    """
    name, axes = section.take("format", str, TIFF), section.take("axes", str, "")
    if name not in FORMATS:
        raise section.error("format", f"must be one of {', '.join(FORMATS)}, not {name!r}")
    if axes and name != NPY:
        raise section.error("axes", f"is of arrays of NumPy: a {name} file tells it itself")
    most = max((len(file.bands) for file in files), default=0)
    if name == NPY:
        _check_axes(section, axes, most)
    dtypes = _DTYPES.get(name)
    if dtypes and bands and bands[0].dtype not in dtypes:
        problem = f"must have the dtype {' or '.join(dtypes)} in {name} files"
        raise section.error("bands", f"{problem}, not {bands[0].dtype}")
    counts = _BANDS.get(name)
    for file in files:
        if counts and len(file.bands) not in counts:
            shown = " or ".join(map(str, counts))
            raise section.error(
                "bands", f"are {len(file.bands)} in one file: a {name} file has {shown}"
            )
    return FileFormat(name, axes, section.take("widen", bool, default=False))


def _check_axes(section: Section, axes: str, most: int) -> None:
    if axes not in AXES:
        shown = ", ".join(AXES)
        given = (
            f", not {axes!r}" if axes else ": an array of NumPy does not tell which axis is which"
        )
        raise section.error("axes", f"must be one of {shown}{given}")
    if axes == HW and most > 1:
        raise section.error("axes", f"is {HW}, but a file has {most} bands")
