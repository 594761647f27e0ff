"""One patch's files to one record's bytes, in memory given by the caller. What a worker does."""

import os
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xxhash

from converter.description import ModalitySource
from converter.plain import BandReader
from converter.raster import Ground
from converter.resample import resample_into
from converter.sources import Patch
from readers.errors import PatchError
from readers.manifest import Band, record_form
from readers.record import Compressor, Form

GROUND_TOLERANCE = 0.01  # of the finest pixel: rounding of coordinates, not a shift


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the records of one modality are made: all that a worker must know."""

    modality: ModalitySource
    layout: str
    resampling: str
    codec: str
    level: int


class Encoded(NamedTuple):
    """What is known of one record: its length, the XXH3-64 of its bytes, the ground it covers."""

    length: int
    checksum: int
    ground: Ground | None


class Encoder:
    """Makes records of one modality; one per process, not safe between threads."""

    def __init__(self, recipe: Recipe) -> None:
        modality = recipe.modality
        self._bands = modality.bands
        self._method = recipe.resampling if modality.interpolated else "nearest"
        self._form = record_form(modality.name, recipe.layout, modality.bands)
        self._readers = [BandReader(band.dtype, band.shape) for band in self._bands]
        self._places = _places(self._form, self._bands, native=recipe.layout == "native")
        # A coarse band of a stacked record is read here first; its pages stay mapped.
        self._coarse = {band.shape: np.empty(band.shape, band.dtype) for band in self._bands}
        self._compress = Compressor(recipe.level) if recipe.codec == "zstd" else None
        self._scratch = bytearray(self._form.size if self._compress else 0)
        pixel = min(modality.bands[0].gsd, *(band.gsd for band in self._bands))
        self._tolerance = pixel * GROUND_TOLERANCE

    @property
    def capacity(self) -> int:
        """Bytes that a record takes at most, compressed or not."""
        size = self._form.size
        # ZSTD_compressBound of zstd.h, rounded up
        return size if self._compress is None else size + (size >> 8) + 1024

    def encode(self, patch: Patch, out: memoryview) -> Encoded:
        """Write the patch's record to the start of `out` (at least `capacity` bytes).

        Raises:
            PatchError: a band is missing, extra, damaged, of another dtype or size, or covers
                other ground than the first; the message names the file.
        """
        size = self._form.size
        if self._compress is None:
            record = out[:size]
            ground = self._fill(patch, record)
        else:
            whole = memoryview(self._scratch)
            ground = self._fill(patch, whole)
            frame = self._compress(whole)
            record = out[: len(frame)]
            record[:] = frame
        return Encoded(len(record), xxhash.xxh3_64_intdigest(record), ground)

    def _fill(self, patch: Patch, record: memoryview) -> Ground | None:
        try:
            folder = os.open(patch.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise PatchError(f"{patch.folder} cannot be opened ({error.strerror})") from None
        try:
            self._check_files(patch, folder)
            header = self._form.header
            record[: len(header)] = header
            return self._fill_bands(patch, folder, record)
        except PatchError as error:
            raise PatchError(f"{patch.folder}/{error}") from None
        finally:
            os.close(folder)

    def _check_files(self, patch: Patch, folder: int) -> None:
        """Refuse a patch with a band too many or too few; other files beside them are no harm."""
        if not patch.after:
            return
        expected = {f"{patch.before}{band.name}{patch.after}" for band in self._bands}
        there = set(os.listdir(folder))
        if there == expected:
            return
        missing = sorted(expected - there)
        extra = sorted(
            name
            for name in there - expected
            if name.startswith(patch.before) and name.endswith(patch.after)
        )
        if missing:
            raise PatchError(f"{missing[0]} is missing")
        if extra:
            raise PatchError(f"{extra[0]} is a band that the description does not have")

    def _fill_bands(self, patch: Patch, folder: int, record: memoryview) -> Ground | None:
        ground: Ground | None = None
        for index, (band, reader) in enumerate(zip(self._bands, self._readers, strict=True)):
            name = f"{patch.before}{band.name}{patch.after}" if patch.after else patch.before
            start, shape = self._places[index]
            if shape == band.shape:
                covered = reader.read_into(name, folder, record[start : start + reader.nbytes])
            else:
                coarse = self._coarse[band.shape]
                covered = reader.read_into(name, folder, coarse.data.cast("B"))
                plane = np.frombuffer(record, coarse.dtype, shape[0] * shape[1], start)
                resample_into(coarse, plane.reshape(shape), self._method)
            if index == 0:
                ground = covered
            elif covered != ground and not same_ground(ground, covered, self._tolerance):
                raise PatchError(
                    f"{name} covers {_shown(covered)}, but {self._bands[0].name} of the same "
                    f"patch {_shown(ground)}"
                )
        return ground


def _places(
    form: Form, bands: tuple[Band, ...], *, native: bool
) -> list[tuple[int, tuple[int, int]]]:
    """For each band its first byte in a record, and the (height, width) it has there."""
    if native:
        starts = {tensor.name: len(form.header) + tensor.offset for tensor in form.tensors}
        return [(starts[band.name], band.shape) for band in bands]
    (tensor,) = form.tensors
    _, height, width = tensor.shape
    plane = tensor.nbytes // len(bands)
    return [(len(form.header) + index * plane, (height, width)) for index in range(len(bands))]


def same_ground(one: Ground | None, other: Ground | None, tolerance: float) -> bool:
    """Whether two rasters cover the same ground, to within `tolerance` units of their CRS."""
    if one is None or other is None:
        return one is other
    return one.epsg == other.epsg and all(
        abs(a - b) <= tolerance for a, b in zip(one[1:], other[1:], strict=True)
    )


def _shown(ground: Ground | None) -> str:
    if ground is None:
        return "no known ground"
    return f"EPSG:{ground.epsg} {ground.left:g} {ground.bottom:g} {ground.right:g} {ground.top:g}"


# A worker process keeps its encoders and its view of the shared memory here.
_encoders: dict[str, Encoder] = {}
_shared: memoryview | None = None


def start_worker(recipes: dict[str, Recipe], shared: memoryview | None) -> None:
    """Make this process's encoders; `shared` is memory that the parent sees, if there is any."""
    global _shared  # a process pool hands state to its tasks no other way
    _encoders.clear()
    _encoders.update({name: Encoder(recipe) for name, recipe in recipes.items()})
    _shared = shared


class Chunk(NamedTuple):
    """What a task gives back for its patches, in order, and their bytes where not shared."""

    records: list[Encoded | PatchError]
    payload: bytes | None


def encode_chunk(patches: list[Patch], start: int, size: int) -> Chunk:
    """Encode patches one behind the other, each in `capacity` bytes, into shared[start:][:size].

    A patch that is not as described gives its `PatchError` in place of its record.
    """
    own = memoryview(bytearray(size)) if _shared is None else None
    memory = own if own is not None else _shared[start : start + size]  # type: ignore[index]
    records: list[Encoded | PatchError] = []
    position = 0
    for patch in patches:
        encoder = _encoders[patch.modality]
        end = position + encoder.capacity
        try:
            records.append(encoder.encode(patch, memory[position:end]))
        except PatchError as error:
            records.append(error)
        position = end
    return Chunk(records, bytes(own) if own is not None else None)
