"""Records with fewer bands than their source has: made from its stored pixels, bit for bit."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

from patchpress.readers.errors import BandMissing, StoreDamaged
from patchpress.readers.format.compression import Compressor, Decompressor, compressor_of
from patchpress.readers.format.modality import Band, Modality, record_form
from patchpress.readers.format.record import RECORD_LIMIT, Form, form_in


class BandPicker(Protocol):
    """Makes records of some bands from whole ones."""

    def pick(self, record: memoryview, key: str) -> memoryview | bytes:
        """The new record of an uncompressed one.

        Raises:
            StoreDamaged: the record is not as the manifest says.
        """


def with_bands(modality: Modality, names: Sequence[str]) -> Modality:
    """The modality with some of its bands, in that order; itself if these are all, in its order.

    Raises:
        BandMissing: a band that it does not have, or bands that cannot be on a grid of their own
            because they were interpolated.
    """
    indices = modality.indices(list(names))
    if indices == list(range(len(modality.bands))):
        return modality
    bands = tuple(modality.bands[index] for index in indices)
    chosen = [band.name for band in bands]
    found = replace(
        modality,
        bands=bands,
        rgb=modality.rgb if set(modality.rgb) <= set(chosen) else (),
        codes=modality.codes if indices[0] == 0 else {},
    )
    if modality.layout == "stacked" and found.shape[1:] != modality.shape[1:]:
        _require_steps(modality, found)
    return found


def _require_steps(whole: Modality, part: Modality) -> None:
    """Make sure that coarser bands can be taken out of the finest grid.

    Raises:
        BandMissing: they cannot.
    """
    exact = whole.resampling == "nearest" and all(
        finest % own == 0 and own % band == 0
        for shape in (band.shape for band in part.bands)
        for finest, own, band in zip(whole.shape[1:], part.shape[1:], shape, strict=True)
    )
    if not exact:
        finest = next(band for band in whole.bands if band.shape == whole.shape[1:])
        raise BandMissing(
            f"the bands {', '.join(part.band_names)} of {whole.name!r} were interpolated "
            f"({whole.resampling}) onto the grid of {finest.name}, and cannot be taken from it: "
            f"name {finest.name} or another band of {finest.gsd:g} m, too"
        )


def band_picker(whole: Modality, part: Modality) -> BandPicker | None:
    """What makes the records of `part`, some bands of `whole`; None if these are all of them."""
    if whole.band_names == part.band_names:
        return None
    picker = _Stacked(whole, part) if whole.layout == "stacked" else _Native(whole, part)
    how = part.compression
    pack = compressor_of(how.codec, how.level, part.dtype.itemsize)
    limit = RECORD_LIMIT if whole.any_size else whole.form.size
    return _Compressed(picker, pack, limit) if pack is not None else picker


class _Stacked:
    """One array of all bands: slices of it."""

    def __init__(self, whole: Modality, part: Modality) -> None:
        self._whole, self._form = whole, part.form
        self._indices = whole.indices(part.band_names)
        _, height, width = part.shape
        self._down, self._across = whole.shape[1] // height, whole.shape[2] // width

    def pick(self, record: memoryview, key: str) -> memoryview:
        form = self._whole.form
        if record[: len(form.header)] != form.header or len(record) != form.size:
            raise _other(key, self._whole)
        (tensor,), (own,) = form.tensors, self._form.tensors
        pixels, out = form.array(record, tensor), memoryview(bytearray(self._form.size))
        out[: len(self._form.header)] = self._form.header
        target = self._form.array(out, own)
        for number, index in enumerate(self._indices):
            # Of a time axis in every step.
            target[..., number, :, :] = pixels[..., index, :: self._down, :: self._across]
        return out


class _Native:
    """One tensor a band: some of the tensors."""

    def __init__(self, whole: Modality, part: Modality) -> None:
        self._whole, self._part = whole, part

    def pick(self, record: memoryview, key: str) -> memoryview:
        form = form_in(record)
        if form.header != self._whole.form.header and not self._whole.any_size:
            raise _other(key, self._whole)
        own = self._form(form, key)
        out = memoryview(bytearray(own.size))
        out[: len(own.header)] = own.header
        for tensor in own.tensors:
            source = form.tensor(tensor.name)
            if source is None:
                raise _other(key, self._whole)
            begin, start = len(own.header) + tensor.offset, len(form.header) + source.offset
            out[begin : begin + tensor.nbytes] = record[start : start + tensor.nbytes]
        return out

    def _form(self, form: Form, key: str) -> Form:
        if not self._whole.any_size:
            return self._part.form
        found = _some_tensors(form, self._part.band_names)
        if found is None:
            raise _other(key, self._whole)
        return found


@lru_cache(maxsize=256)
def _native_form(bands: tuple[Band, ...]) -> Form:
    return record_form("", "native", bands)


def _some_tensors(form: Form, names: tuple[str, ...]) -> Form | None:
    """The form of a record with some tensors of another; None if that lacks one."""
    bands = []
    for name in names:
        tensor = form.tensor(name)
        if tensor is None or len(tensor.shape) != 2:
            return None
        bands.append(Band(name, 0, tensor.dtype.name, (tensor.shape[0], tensor.shape[1])))
    return _native_form(tuple(bands))


class _Compressed:
    """Compressed records: unpacked, changed, packed in the same way."""

    def __init__(self, picker: BandPicker, pack: Compressor, limit: int) -> None:
        self._picker, self._unpack, self._pack = picker, Decompressor(limit), pack

    def pick(self, record: memoryview, key: str) -> memoryview | bytes:
        try:
            whole = self._unpack(record)
        except StoreDamaged as error:
            raise StoreDamaged(f"record {key!r}: {error}") from None
        return self._pack(self._picker.pick(whole, key))


def _other(key: str, modality: Modality) -> StoreDamaged:
    return StoreDamaged(
        f"record {key!r} is not as the manifest describes {modality.name!r}: run `patchpress "
        "verify` on its store"
    )
