"""Patches of other sizes than the usual one: stored as they are, or brought to that size."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from patchpress.converter.encoding.file_plan import FilePlan, Plane, planes_of
from patchpress.converter.encoding.filled import Filled
from patchpress.converter.encoding.fit import fit, fitted_ground, size_of
from patchpress.converter.encoding.ground_of_files import GroundOfFiles
from patchpress.converter.encoding.resample import resample_into
from patchpress.converter.encoding.tiff import Array, Ground
from patchpress.converter.sources.files import LARGEST, PatchFiles
from patchpress.converter.sources.patch import Patch
from patchpress.readers.errors import PatchError
from patchpress.readers.format.modality import Band, record_form
from patchpress.readers.format.record import Form

SIZE_MARGIN = 2  # so many times the usual bytes are made ready for a record of any size


class _Read(NamedTuple):
    """What was read of one file of any size."""

    plan: FilePlan
    pixels: Array
    """(bands in the file, height, width)."""
    ground: Ground | None


class AnySize:
    """Fills records of one modality from files of whatever size."""

    def __init__(
        self,
        name: str,
        bands: tuple[Band, ...],
        form: Form,
        planes: Sequence[Plane],
        plans: Mapping[bool, Sequence[FilePlan]],
        ground: GroundOfFiles,
        *,
        layout: str,
        size_rule: str,
        method: str,
    ) -> None:
        """Take what is known of the records.

        Args:
            name: of the modality.
            bands: of the modality.
            form: of a record of the usual size.
            planes: where each band lies in that.
            plans: whether patches are several files -> these files, or the only one.
            ground: tells what they cover.
            layout: a `Layout`.
            size_rule: a `Size`, but not ``auto``.
            method: a `Resampling`.
        """
        self._name, self._bands, self._form, self._planes = name, bands, form, planes
        self._plans, self._ground = plans, ground
        self._layout, self._size_rule, self._method = layout, size_rule, method

    def fill(self, patch: Patch, files: PatchFiles, record: memoryview) -> Filled:
        """Bands of whatever size: each record has its own header."""
        read = self._read_any(patch, files)
        found: dict[int, Array] = {}
        for plan, pixels, covered in read:
            coarser = min(read[0].pixels.shape[1:], pixels.shape[1:])
            self._ground.check(patch, plan, read[0].ground, covered, coarser)
            found.update(plan.stored(pixels))
        arrays = [found[number] for number in range(len(self._bands))]
        bands = tuple(
            Band(band.name, band.gsd, band.dtype, (array.shape[0], array.shape[1]))
            for band, array in zip(self._bands, arrays, strict=True)
        )
        form = record_form(self._name, self._layout, bands)
        if form.size > len(record):
            record = memoryview(bytearray(form.size))
        record[: len(form.header)] = form.header
        for (start, shape), array in zip(planes_of(form, bands, native=True), arrays, strict=True):
            plane = np.frombuffer(record, array.dtype, shape[0] * shape[1], start)
            plane.reshape(shape)[...] = array
        return Filled(form, read[0].ground, record)

    def fill_fitted(self, patch: Patch, files: PatchFiles, record: memoryview) -> Filled:
        """Bands of another size, each brought to its usual one."""
        read = self._read_any(patch, files)
        found_size, ground = "", None
        for number, (plan, pixels, covered) in enumerate(read):
            shape = plan.reader.shape
            if pixels.shape[1:] != shape:
                found_size = found_size or size_of(pixels[0])
            covered = fitted_ground(covered, pixels.shape[1:], shape, self._size_rule)
            ground = covered if number == 0 else ground
            for band, array in plan.stored(pixels):
                try:
                    fitted = fit(array, shape, self._size_rule, self._method)
                except PatchError as error:
                    raise PatchError(f"{patch.path(patch.file(plan.name))} {error}") from None
                start, to = self._planes[band]
                plane = np.frombuffer(record, array.dtype, to[0] * to[1], start)
                resample_into(np.ascontiguousarray(fitted), plane.reshape(to), self._method)
            self._ground.check(patch, plan, ground, covered, min(read[0].plan.reader.shape, shape))
        return Filled(self._form, ground, record, found_size)

    def _read_any(self, patch: Patch, files: PatchFiles) -> list[_Read]:
        """The pixels of each file, of whatever size, and its ground.

        Raises:
            PatchError: a file is damaged or of another dtype, or all together are too large.
        """
        read: list[_Read] = []
        for plan in self._plans[patch.apart]:
            name = patch.file(plan.name)
            pixels, ground = plan.reader.read_any(name, files)
            read.append(_Read(plan, pixels, self._ground.of(name, files, ground)))
            self._check_bytes(patch, sum(one.pixels.nbytes for one in read), pixels[0])
        return read

    def _check_bytes(self, patch: Patch, nbytes: int, band: Array) -> None:
        most = max(LARGEST, SIZE_MARGIN * self._form.size)
        if nbytes > most:
            path = patch.path(patch.file(self._plans[patch.apart][0].name))
            raise PatchError(
                f"{path} is of a patch of {nbytes:,} bytes or more ({size_of(band)} pixels): one "
                f"may have {most:,}, which is twice the usual size if that is large; give a larger "
                "shape in the description"
            )
