"""Files with several acquisitions on their channels: T x C bands become (T, C, height, width)."""

import numpy as np

from patchpress.converter.encoding.columnreader import ColumnReader
from patchpress.converter.encoding.encoder import Recipe
from patchpress.converter.encoding.file_formats import DRIVERS, decoder_of
from patchpress.converter.encoding.file_plan import Plane, planes_of
from patchpress.converter.encoding.filled import Filled
from patchpress.converter.encoding.fit import fit, fitted_ground, size_of
from patchpress.converter.encoding.grounds import same_ground, shown
from patchpress.converter.encoding.promises import Expected
from patchpress.converter.encoding.raster import decode
from patchpress.converter.encoding.resample import resample_into
from patchpress.converter.encoding.sidefiles import ground_with_files_beside
from patchpress.converter.encoding.tiff import Array, Ground, ground_of
from patchpress.converter.sources.files import LARGEST, PatchFiles
from patchpress.converter.sources.opener import PatchOpener
from patchpress.converter.sources.patch import Patch
from patchpress.converter.sources.side_files import files_beside
from patchpress.readers.errors import PatchError
from patchpress.readers.format.modality import Band, record_form

ONE_SIZE = "--size crop, pad or resize brings such patches to one size"


def by_date(array: Array, bands: int, order: str) -> Array:
    """The channels of a file as (dates, bands, height, width).

    Raises:
        PatchError: they are no whole number of dates. Put the name of the file before it.
    """
    count, rest = divmod(len(array), bands)
    if rest or not count:
        raise PatchError(
            f"has {len(array)} bands, which is no multiple of {bands}, the bands of a date"
        )
    if order == "time-major":
        return array.reshape(count, bands, *array.shape[1:])
    return array.reshape(bands, count, *array.shape[1:]).swapaxes(0, 1)


class StackedDates:
    """Fills records from files that have several acquisitions each. Not safe between threads."""

    def __init__(self, recipe: Recipe) -> None:
        modality = recipe.modality
        self._modality, self._bands = modality, modality.bands
        self._order = modality.time.order if modality.time else ""
        self._size = recipe.size
        self._method = recipe.resampling if modality.interpolated else "nearest"
        self._form = record_form(modality.name, recipe.layout, modality.bands, modality.steps)
        self._planes = [
            planes_of(self._form, modality.bands, native=recipe.layout == "native", step=step)
            for step in range(modality.steps)
        ]
        decoder = decoder_of(modality.file_format)
        self._driver = DRIVERS[modality.file_format.name]
        self._decode = decode if decoder is None else decoder.decode
        self._columns = ColumnReader(modality, recipe.rules, recipe.splits, recipe.identity)
        self._refuse_nan = recipe.nan == "refuse" and np.dtype(self._bands[0].dtype).kind == "f"

    def fill(
        self, patch: Patch, record: memoryview, opener: PatchOpener
    ) -> tuple[Filled, int, tuple[object, ...]]:
        """Write the header and the pixels of all acquisitions.

        Returns:
            What is filled, how many acquisitions there are, and the values of the columns.

        Raises:
            PatchError: a file is damaged, or its bands are no whole number of acquisitions, more
                than there is room for, or another number than another file has.
        """
        record[: len(self._form.header)] = self._form.header
        files = opener(patch)
        try:
            filled, count = self._fill(patch, files, record)
            values = self._columns.read_names(patch, files.path(patch.before))
        finally:
            files.close()
        return filled, count, (*values, count)

    def _fill(self, patch: Patch, files: PatchFiles, record: memoryview) -> tuple[Filled, int]:
        count, found_size, ground = 0, "", None
        numbers = {band.name: number for number, band in enumerate(self._bands)}
        for number, file in enumerate(self._modality.files_of(apart=patch.apart)):
            name = patch.file(file.name)
            kept = [(at, numbers[band]) for at, band in enumerate(file.bands) if band in numbers]
            array, covered = self._read(name, files, len(file.bands))
            if number == 0:
                count, ground = len(array), covered
            elif len(array) != count:
                raise PatchError(
                    f"{files.path(name)} has {len(array)} dates, but {count} are in the other files"
                )
            path, shape = files.path(name), self._bands[kept[0][1]].shape
            if array.shape[2:] != shape:
                if self._size == "keep":
                    raise PatchError(
                        f"{path} has {size_of(array[0, 0])} pixels, not {shape[0]} x {shape[1]}: "
                        f"{ONE_SIZE}"
                    )
                found_size = found_size or size_of(array[0, 0])
            covered = fitted_ground(covered, array.shape[2:], shape, self._size)
            ground = covered if number == 0 else ground
            if not same_ground(ground, covered, shape, self._modality.ground_tolerance):
                raise PatchError(
                    f"{path} covers {shown(covered)}, but another file of {patch.name} "
                    f"{shown(ground)}"
                )
            for step in range(count):
                for at, band in kept:
                    plane = self._planes[step][band]
                    self._write(path, array[step, at], self._bands[band], plane, record)
        return Filled(self._form, ground, record, found_size), count

    def _read(self, name: str, files: PatchFiles, bands: int) -> tuple[Array, Ground | None]:
        """A file as (dates, bands, height, width), and its ground."""
        path, steps = files.path(name), self._modality.steps
        most = max(LARGEST, 2 * self._form.size)
        expected = Expected(np.dtype(self._bands[0].dtype), None, None, most)
        try:
            raster = self._decode(files.read(name, most), expected)
            array = by_date(raster.array, bands, self._order)
            if len(array) > steps:
                raise PatchError(
                    f"has {len(array)} dates of {bands} bands, but records have room for {steps}: "
                    "give more steps in the description"
                )
        except PatchError as error:
            raise type(error)(f"{path} {error}") from None
        height, width = array.shape[2:]
        ground = ground_of(raster.georeference, height, width)
        auxiliary, *world = files_beside(name)
        if files.has(auxiliary) or (ground is None and any(map(files.has, world))):
            ground = ground_with_files_beside(name, files, self._driver)
        return array, ground

    def _write(
        self, path: str, pixels: Array, band: Band, plane: Plane, record: memoryview
    ) -> None:
        """One band of one date to its place in the record."""
        if self._refuse_nan and np.isnan(pixels).any():
            count = int(np.isnan(pixels).sum())
            raise PatchError(
                f"{path} has {count:,} pixels that are NaN in {band.name}; --nan keep stores them"
            )
        try:
            fitted = fit(pixels, band.shape, self._size, self._method)
        except PatchError as error:
            raise PatchError(f"{path} {error}") from None
        start, shape = plane
        target = np.frombuffer(record, band.dtype, shape[0] * shape[1], start).reshape(shape)
        resample_into(np.ascontiguousarray(fitted), target, self._method)
