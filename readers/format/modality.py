"""`Modality`: one instrument's view of a patch, its bands, and how its records are stored."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from patchpress.readers.errors import BandMissing
from patchpress.readers.format.record import Form, form_of

_LEADING_ZEROS = re.compile(r"(?<![0-9])0+(?=[0-9])")


@dataclass(frozen=True, slots=True)
class Band:
    """One channel: its name, ground sampling distance in metres, dtype and own (height, width)."""

    name: str
    gsd: float
    dtype: str
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Compression:
    """How records are stored: `none`, as `zstd` frames of that level, or as `blosc2` chunks."""

    codec: str = "none"
    level: int = 0


@dataclass(frozen=True)
class Modality:
    """One instrument's view of a patch, and how its records are stored.

    `key` names a record from a row of the metadata table, as in ``{patch_id}_reference_map``.
    """

    name: str
    title: str
    kind: str
    """``image``, or ``classes`` for codes that are never interpolated."""
    key: str
    layout: str
    resampling: str
    compression: Compression
    bands: tuple[Band, ...]
    records: int
    rgb: tuple[str, ...] = ()
    """The bands that show as red, green and blue, if there are such."""
    any_size: bool = False
    """Whether records may differ in size; `bands` have the usual one."""
    size: str = "keep"
    """What was done with patches of another size than `bands` have: ``crop``, ``pad``, ``resize``,
    or ``keep`` if there are none, or if records differ in size."""
    codes: Mapping[str, Mapping[str, int | None]] = field(default_factory=dict)
    """Of kind ``classes``: label column -> code in the first band, as text -> index of its class;
    None for a code that belongs to no class."""
    steps: int = 0
    """How many acquisitions of a place each record has room for; 0 if records have no time axis."""

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(bands, height, width) of the stacked array of one acquisition, on the finest grid."""
        return (len(self.bands), *max(band.shape for band in self.bands))

    @property
    def array_shape(self) -> tuple[int, ...]:
        """Of the array that a record is read as: `shape`, or with a time axis (steps, *shape)."""
        return (self.steps, *self.shape) if self.steps else self.shape

    @property
    def nests(self) -> bool:
        """Whether every band's pixels divide the finest grid, so that bands can be stacked."""
        _, height, width = self.shape
        return all(height % h == 0 and width % w == 0 for h, w in (b.shape for b in self.bands))

    @cached_property
    def dtype(self) -> np.dtype[np.generic]:
        """The dtype of the stacked array: that of its bands."""
        return np.dtype(self.bands[0].dtype).newbyteorder("<")

    @cached_property
    def band_names(self) -> tuple[str, ...]:
        """Band names in the sensor's own order, the order of the stacked array."""
        return tuple(band.name for band in self.bands)

    @cached_property
    def form(self) -> Form:
        """The header and tensor positions that all its records share."""
        return record_form(self.name, self.layout, self.bands, self.steps)

    @cached_property
    def _spellings(self) -> dict[str, str]:
        """What `folded_band` makes of a band -> its name, unless it makes the same of two."""
        folded = Counter(folded_band(name) for name in self.band_names)
        alone = [name for name in self.band_names if folded[folded_band(name)] == 1]
        return {folded_band(name): name for name in alone}

    def band_named(self, name: str) -> str | None:
        """The name of a band here, for any publisher's spelling of it; None if there is none.

        `B8A` and `B08A` mean each other, and so do `B1` and `B01`, `VV` and `vv`.
        """
        return name if name in self.band_names else self._spellings.get(folded_band(name))

    def indices(self, bands: Sequence[str] | None) -> list[int]:
        """Positions of the named bands, all in order for None.

        Raises:
            BandMissing: a name that the modality does not have.
        """
        if bands is None:
            return list(range(len(self.bands)))
        names = [self.band_named(name) for name in bands]
        missing = [asked for asked, name in zip(bands, names, strict=True) if name is None]
        if missing or not bands:
            wanted = f"has no band {missing[0]!r}" if missing else "was asked for no band at all"
            raise BandMissing(
                f"modality {self.name!r} {wanted}; it has {', '.join(self.band_names)}"
            )
        return [self.band_names.index(name) for name in names if name is not None]


def folded_band(name: str) -> str:
    """A band's name without what publishers write differently: zeros in front, and case."""
    return _LEADING_ZEROS.sub("", name).casefold() if isinstance(name, str) else ""


def record_form(name: str, layout: str, bands: tuple[Band, ...], steps: int = 0) -> Form:
    """The form of a modality's records in a layout: one tensor, or one a band.

    With `steps` each tensor has one dimension more, the first. Stacked records carry their band
    names, comma-separated, as ``bands`` in ``__metadata__``; native ones carry no metadata, as
    other programs write that layout.
    """
    time = (steps,) if steps else ()
    if layout == "native":
        return form_of([(band.name, band.dtype, (*time, *band.shape)) for band in bands])
    height, width = max(band.shape for band in bands)
    return form_of(
        [(name, bands[0].dtype, (*time, len(bands), height, width))],
        {"bands": ",".join(band.name for band in bands)},
    )


def matching(modalities: Iterable[Modality], form: Form) -> list[Modality]:
    """The modalities that a record of this form may be of, with the record's own band shapes.

    More than one if native records of two modalities have the same bands: then only their keys
    tell them apart.
    """
    found = []
    for modality in modalities:
        if modality.form.header == form.header:
            found.append(modality)
        elif modality.any_size and {t.name for t in form.tensors} == set(modality.band_names):
            shapes = {t.name: (t.shape[0], t.shape[-1]) for t in form.tensors}
            bands = tuple(replace(b, shape=shapes[b.name]) for b in modality.bands)
            own = replace(modality, bands=bands)
            if own.form.header == form.header:
                found.append(own)
    return found
