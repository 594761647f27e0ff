"""The files of one patch to the bytes of its record, in memory that the caller gives."""

from typing import NamedTuple

import numpy as np
import xxhash

from patchpress.converter.descriptions.description import LabelRule, ModalitySource, Splits
from patchpress.converter.descriptions.patterns import band_pattern
from patchpress.converter.encoding.bandreader import BandReader
from patchpress.converter.encoding.columnreader import ColumnReader
from patchpress.converter.encoding.fit import fit, fitted_ground, size_of
from patchpress.converter.encoding.grounds import same_ground, shown
from patchpress.converter.encoding.promises import OtherSize
from patchpress.converter.encoding.resample import resample_into
from patchpress.converter.encoding.sidefiles import (
    files_beside,
    ground_with_files_beside,
    with_files_beside,
)
from patchpress.converter.encoding.tiff import Array, Ground
from patchpress.converter.sources.files import LARGEST, PatchFiles, open_files
from patchpress.converter.sources.passed_over import is_hidden
from patchpress.converter.sources.patch import Patch
from patchpress.readers.errors import PatchError
from patchpress.readers.format.blosc2_chunk import LEAST
from patchpress.readers.format.compression import compressor_of
from patchpress.readers.format.modality import Band, record_form
from patchpress.readers.format.record import Form

SIZE_MARGIN = 2  # so many times the usual bytes are made ready for a record of any size


class Recipe(NamedTuple):
    """How the records of one modality are made: all that a worker must know."""

    modality: ModalitySource
    layout: str
    """A `Layout`."""
    resampling: str
    """A `Resampling`."""
    codec: str
    """A `Codec`."""
    level: int
    """Of the codec."""
    nan: str = "refuse"
    """A `Nan`."""
    size: str = "keep"
    """A `Size`, but not ``auto``."""
    rules: tuple[LabelRule, ...] = ()
    """Label columns that come from this modality's sidecar or codes."""
    splits: Splits | None = None
    """Those of the data set: a column may be the split."""
    identity: str = ""
    """The column that names a row."""

    @property
    def keeps_sizes(self) -> bool:
        """Whether records differ in size, as the patches do."""
        return self.modality.any_size and self.layout == "native" and self.size == "keep"


class Encoded(NamedTuple):
    """What is known of one record."""

    length: int
    """Bytes, compressed or not."""
    checksum: int
    """XXH3-64 of these bytes."""
    ground: Ground | None
    """The ground that its patch covers; None without georeference."""
    values: tuple[object, ...] = ()
    """The values of the columns of its modality, as `ColumnReader` gives them."""
    found_size: str = ""
    """The size of the patch in the source, if it was cropped, padded or resized."""
    apart: bytes | None = None
    """The record itself if it is larger than the memory that the encoder was given."""


class _Filled(NamedTuple):
    """A record whose pixels are written."""

    form: Form
    ground: Ground | None
    record: memoryview
    """The memory that it was written to; it may be longer."""
    found_size: str = ""


class Encoder:
    """Makes the records of one modality. Not safe between threads: each process has its own."""

    def __init__(self, recipe: Recipe, like: "Encoder | None" = None) -> None:
        """Make an encoder; it shares what another one of the same recipe learns of the files."""
        modality = recipe.modality
        self._modality = modality
        self._bands = modality.bands
        # Other files may lie beside those of the bands: this tells them from a band too many.
        self._band = band_pattern(modality)
        self._layout, self._size_rule = recipe.layout, recipe.size
        self._keeps_sizes = recipe.keeps_sizes
        self._method = recipe.resampling if modality.interpolated else "nearest"
        self._form = record_form(modality.name, recipe.layout, modality.bands)
        self._planes = _planes(self._form, self._bands, native=recipe.layout == "native")
        self._readers = [BandReader(band.dtype, band.shape) for band in self._bands]
        self._whole = BandReader(self._bands[0].dtype, self._bands[0].shape, len(self._bands))
        if like is not None:
            for own, other in zip(self._readers, like._readers, strict=True):
                own.learnt = other.learnt
            self._whole.learnt = like._whole.learnt
        # A coarse band of a stacked record is read into this memory first. It is used again and
        # again, because new memory would cost more than the reading.
        self._coarse = {band.shape: np.empty(band.shape, band.dtype) for band in self._bands}
        self._together = np.empty(0, self._bands[0].dtype)
        item_size = np.dtype(self._bands[0].dtype).itemsize
        self._compress = compressor_of(recipe.codec, recipe.level, item_size)
        self._refuse_nan = recipe.nan == "refuse" and np.dtype(self._bands[0].dtype).kind == "f"
        self._column_reader = ColumnReader(modality, recipe.rules, recipe.splits, recipe.identity)
        self._size = self._form.size * (SIZE_MARGIN if self._keeps_sizes else 1)
        self._beside: frozenset[str] = frozenset()  # files that have a georeference beside them
        self._scratch = bytearray(self._size if self._compress else 0)

    @property
    def capacity(self) -> int:
        """How many bytes a record takes, compressed or not; more only if patches keep sizes."""
        # At least ZSTD_compressBound of zstd.h; a Blosc2 chunk has 40 bytes more than its record.
        return self._size if self._compress is None else self._size + (self._size >> 8) + LEAST

    def encode(self, patch: Patch, out: memoryview, cells: memoryview | None = None) -> Encoded:
        """Write the patch's record to the start of `out` (at least `capacity` bytes).

        A record that is larger than `out`, as may be if patches keep their sizes, is given back
        instead. `cells` is the memory that holds the files of patches out of archives.

        Raises:
            PatchError: a band is missing, extra, damaged, of another dtype or size, or covers
                other ground than the first.
        """
        whole = out if self._compress is None else memoryview(self._scratch)
        files = open_files(patch.folder, patch.archived, cells)
        try:
            self._check_files(patch, files)
            filled = self._fill(patch, files, whole)
            record = filled.record[: filled.form.size]
            if self._refuse_nan:
                self._check_nan(patch, filled.form, record)
            values = self._column_reader.read(patch, files, record[self._planes[0].start :])
        finally:
            files.close()
        stored: memoryview | bytes = record
        if self._compress is not None:
            stored = self._compress(record)
            if len(stored) <= len(out):
                out[: len(stored)] = stored
        return Encoded(
            length=len(stored),
            checksum=xxhash.xxh3_64_intdigest(stored),
            ground=filled.ground,
            values=values,
            found_size=filled.found_size,
            apart=bytes(stored) if len(stored) > len(out) else None,
        )

    def _check_files(self, patch: Patch, files: PatchFiles) -> None:
        """Refuse a patch with a band too many or too few; other files beside them are ignored."""
        if not patch.after:
            return
        expected = {patch.file(band.name) for band in self._bands}
        there = set(files.names())
        self._beside = frozenset()
        if there == expected:
            return
        self._beside = with_files_beside(expected, there)
        missing = sorted(expected - there)
        if missing:
            raise PatchError(f"{patch.path(missing[0])} is missing")
        extra = sorted(
            name
            for name in there - expected
            if name.startswith(patch.before)
            and name.endswith(patch.after)
            and not is_hidden(name)
            and self._band.fullmatch(name, len(patch.before), len(name) - len(patch.after))
        )
        if extra:
            path = patch.path(extra[0])
            raise PatchError(f"{path} is a band that the description does not have")

    def _fill(self, patch: Patch, files: PatchFiles, record: memoryview) -> _Filled:
        if self._keeps_sizes:
            return self._fill_any(patch, files, record)
        header = self._form.header
        record[: len(header)] = header
        together = not patch.after and len(self._bands) > 1
        fill = self._fill_together if together else self._fill_bands
        try:
            return _Filled(self._form, fill(patch, files, record), record)
        except OtherSize as error:
            if self._size_rule != "keep":
                return self._fill_fitted(patch, files, record)
            ways = "--size crop, pad or resize brings such patches to one size"
            if self._modality.any_size:
                ways += ", --layout native stores them as they are"
            raise PatchError(f"{error}: {ways}") from None

    def _fill_bands(self, patch: Patch, files: PatchFiles, record: memoryview) -> Ground | None:
        ground: Ground | None = None
        for index, (band, reader) in enumerate(zip(self._bands, self._readers, strict=True)):
            name = patch.file(band.name)
            start, shape = self._planes[index]
            if shape == band.shape:
                covered = reader.read_into(name, files, record[start : start + reader.nbytes])
            else:
                coarse = self._coarse[band.shape]
                covered = reader.read_into(name, files, coarse.data.cast("B"))
                plane = np.frombuffer(record, coarse.dtype, shape[0] * shape[1], start)
                resample_into(coarse, plane.reshape(shape), self._method)
            covered = self._ground(patch, name, files, covered)
            if index == 0:
                ground = covered
            elif covered != ground:
                coarser = min(self._bands[0].shape, band.shape)
                self._check_ground(patch.path(name), ground, covered, coarser)
        return ground

    def _fill_together(self, patch: Patch, files: PatchFiles, record: memoryview) -> Ground | None:
        """One file with all bands, which then have one shape."""
        shape = (len(self._bands), *self._bands[0].shape)
        if not self._together.size:
            self._together = np.empty(shape, self._bands[0].dtype)
        ground = self._whole.read_into(patch.before, files, self._together.data.cast("B"))
        ground = self._ground(patch, patch.before, files, ground)
        size = self._readers[0].nbytes
        for (start, _), band in zip(self._planes, self._together, strict=True):
            record[start : start + size] = band.data.cast("B")
        return ground

    def _fill_any(self, patch: Patch, files: PatchFiles, record: memoryview) -> _Filled:
        """Bands of whatever size: each record has its own header."""
        arrays, grounds = self._read_any(patch, files)
        for band, found, covered in zip(self._bands, arrays, grounds, strict=True):
            coarser = min(arrays[0].shape, found.shape)
            self._check_ground(patch.path(patch.file(band.name)), grounds[0], covered, coarser)
        bands = tuple(
            Band(band.name, band.gsd, band.dtype, (array.shape[0], array.shape[1]))
            for band, array in zip(self._bands, arrays, strict=True)
        )
        form = record_form(self._modality.name, self._layout, bands)
        if form.size > len(record):
            record = memoryview(bytearray(form.size))
        record[: len(form.header)] = form.header
        for (start, shape), array in zip(_planes(form, bands, native=True), arrays, strict=True):
            plane = np.frombuffer(record, array.dtype, shape[0] * shape[1], start)
            plane.reshape(shape)[...] = array
        return _Filled(form, grounds[0], record)

    def _fill_fitted(self, patch: Patch, files: PatchFiles, record: memoryview) -> _Filled:
        """Bands of another size, each brought to its usual one."""
        arrays, grounds = self._read_any(patch, files)
        found_size, ground = "", None
        for index, (band, array) in enumerate(zip(self._bands, arrays, strict=True)):
            path = patch.path(patch.file(band.name))
            if array.shape != band.shape:
                found_size = found_size or size_of(array)
            try:
                fitted = fit(array, band.shape, self._size_rule, self._method)
            except PatchError as error:
                raise PatchError(f"{path} {error}") from None
            covered = fitted_ground(grounds[index], array.shape, band.shape, self._size_rule)
            ground = covered if index == 0 else ground
            self._check_ground(path, ground, covered, min(self._bands[0].shape, band.shape))
            start, shape = self._planes[index]
            plane = np.frombuffer(record, array.dtype, shape[0] * shape[1], start)
            resample_into(np.ascontiguousarray(fitted), plane.reshape(shape), self._method)
        return _Filled(self._form, ground, record, found_size)

    def _read_any(self, patch: Patch, files: PatchFiles) -> tuple[list[Array], list[Ground | None]]:
        """The pixels of each band, (height, width) of whatever size, and the ground of each.

        Raises:
            PatchError: a file is damaged or of another dtype, or all together are too large.
        """
        if not patch.after:
            found, ground = self._whole.read_any(patch.before, files)
            self._check_bytes(patch, found.nbytes, found[0])
            ground = self._ground(patch, patch.before, files, ground)
            return list(found), [ground] * len(self._bands)
        arrays: list[Array] = []
        grounds: list[Ground | None] = []
        for band, reader in zip(self._bands, self._readers, strict=True):
            found, ground = reader.read_any(patch.file(band.name), files)
            arrays.append(found[0])
            grounds.append(self._ground(patch, patch.file(band.name), files, ground))
            self._check_bytes(patch, sum(array.nbytes for array in arrays), found[0])
        return arrays, grounds

    def _check_bytes(self, patch: Patch, nbytes: int, band: Array) -> None:
        most = max(LARGEST, SIZE_MARGIN * self._form.size)
        if nbytes > most:
            raise PatchError(
                f"{patch.path(patch.file(self._bands[0].name))} is of a patch of {nbytes:,} bytes "
                f"or more ({size_of(band)} pixels): one may have {most:,}, which is "
                "twice the usual size if that is large; give a larger shape in the description"
            )

    def _check_nan(self, patch: Patch, form: Form, record: memoryview) -> None:
        values = np.frombuffer(record[len(form.header) :], self._bands[0].dtype)
        # One sum costs far less than `isnan`; but infinities alone can make it NaN, too.
        with np.errstate(invalid="ignore", over="ignore"):
            total = values.sum()
        if not np.isnan(total) or not np.isnan(values).any():
            return
        counts = self._nan_counts(form, record)
        band = next(name for name, count in counts.items() if count)
        count = counts[band] if patch.after else sum(counts.values())
        raise PatchError(
            f"{patch.path(patch.file(band))} has {count:,} pixels that are NaN; --nan keep stores "
            "them"
        )

    def _nan_counts(self, form: Form, record: memoryview) -> dict[str, int]:
        """Band -> how many pixels of it are NaN in the record."""
        if self._layout == "native":
            bands = {tensor.name: form.array(record, tensor) for tensor in form.tensors}
        else:
            names = [band.name for band in self._bands]
            bands = dict(zip(names, form.array(record, form.tensors[0]), strict=True))
        return {band.name: int(np.isnan(bands[band.name]).sum()) for band in self._bands}

    def _ground(
        self, patch: Patch, name: str, files: PatchFiles, covered: Ground | None
    ) -> Ground | None:
        """The ground of a file, which alone covers `covered`; files beside it may tell more."""
        beside = name in self._beside
        # Of patches that are one file each, the names in their folder are not listed each time.
        if not patch.after:
            auxiliary, *world = files_beside(name)
            beside = files.has(auxiliary) or (covered is None and any(map(files.has, world)))
        return ground_with_files_beside(files.path(name)) if beside else covered

    def _check_ground(
        self, path: str, one: Ground | None, other: Ground | None, shape: tuple[int, ...]
    ) -> None:
        if not same_ground(one, other, shape, self._modality.ground_tolerance):
            raise PatchError(
                f"{path} covers {shown(other)}, but {self._bands[0].name} of the same patch "
                f"{shown(one)}"
            )


class _Plane(NamedTuple):
    """Where the pixels of one band lie in a record, and (height, width) of them there."""

    start: int
    shape: tuple[int, int]


def _planes(form: Form, bands: tuple[Band, ...], *, native: bool) -> list[_Plane]:
    """The plane of each band."""
    first = len(form.header)
    if native:
        offsets = {tensor.name: tensor.offset for tensor in form.tensors}
        return [_Plane(first + offsets[band.name], band.shape) for band in bands]
    (tensor,) = form.tensors
    _, height, width = tensor.shape
    size = tensor.nbytes // len(bands)
    return [_Plane(first + index * size, (height, width)) for index in range(len(bands))]
