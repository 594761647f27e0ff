"""The files of one patch to the bytes of its record, in memory that the caller gives."""

from typing import NamedTuple

import numpy as np
import xxhash

from patchpress.converter.descriptions.band_files import BandFile
from patchpress.converter.descriptions.description import LabelRule, ModalitySource, Splits
from patchpress.converter.descriptions.patterns import PathPattern, part_pattern
from patchpress.converter.encoding.any_size import SIZE_MARGIN, AnySize
from patchpress.converter.encoding.bandreader import BandReader
from patchpress.converter.encoding.columnreader import ColumnReader
from patchpress.converter.encoding.file_formats import DRIVERS, decoder_of
from patchpress.converter.encoding.file_plan import FilePlan, planes_of
from patchpress.converter.encoding.filled import Filled
from patchpress.converter.encoding.ground_of_files import GroundOfFiles
from patchpress.converter.encoding.nan_check import NanCheck
from patchpress.converter.encoding.promises import OtherSize
from patchpress.converter.encoding.tiff import Array, Ground
from patchpress.converter.sources.files import PatchFiles, usual_files_size
from patchpress.converter.sources.opener import PatchOpener
from patchpress.converter.sources.passed_over import is_hidden
from patchpress.converter.sources.patch import Patch, undescribed
from patchpress.converter.sources.side_files import with_files_beside
from patchpress.readers.errors import PatchError
from patchpress.readers.format.blosc2_chunk import LEAST
from patchpress.readers.format.compression import compressor_of
from patchpress.readers.format.modality import record_form


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


class Encoder:
    """Makes the records of one modality. Not safe between threads: each process has its own."""

    def __init__(self, recipe: Recipe, like: "Encoder | None" = None, step: int = 0) -> None:
        """Make an encoder; it shares what another one of the same recipe learns of the files.

        Of records with a time axis it fills one step.
        """
        modality = recipe.modality
        self._modality = modality
        self._bands = modality.bands
        # Other files may lie beside those of the bands: this tells them from a band too many.
        self._part = part_pattern(modality)
        self._size_rule = recipe.size
        self._keeps_sizes = recipe.keeps_sizes
        self._method = recipe.resampling if modality.interpolated else "nearest"
        self._form = record_form(modality.name, recipe.layout, modality.bands, modality.steps)
        native = recipe.layout == "native"
        self._planes = planes_of(self._form, self._bands, native=native, step=step)
        # What does not go into a record at once is read into this memory first. It is used again
        # and again, because new memory would cost more than the reading.
        self._aside: dict[tuple[int, ...], Array] = {}
        of = modality.file_format
        self._decoder = decoder_of(of)
        patterns = [PathPattern(path, modality) for path in modality.paths]
        apart = {pattern.apart for pattern in patterns}
        self._is_flat = any(pattern.is_flat for pattern in patterns)
        self._plans = {
            one: [self._plan(file) for file in modality.files_of(apart=one)] for one in apart
        }
        """Whether patches are several files -> these files, or the only one."""
        self._ground = GroundOfFiles(modality, self._plans, DRIVERS[of.name])
        self._any_size = AnySize(
            modality.name,
            self._bands,
            self._form,
            self._planes,
            self._plans,
            self._ground,
            layout=recipe.layout,
            size_rule=recipe.size,
            method=self._method,
        )
        if like is not None:
            for one, plans in self._plans.items():
                for plan, other in zip(plans, like._plans[one], strict=True):
                    plan.reader.learnt = other.reader.learnt
        item_size = np.dtype(self._bands[0].dtype).itemsize
        self._compress = compressor_of(recipe.codec, recipe.level, item_size)
        self._refuse_nan = recipe.nan == "refuse" and np.dtype(self._bands[0].dtype).kind == "f"
        self._nan = NanCheck(self._bands, self._planes, self._plans, native=native)
        self._column_reader = ColumnReader(modality, recipe.rules, recipe.splits, recipe.identity)
        self._files_size = usual_files_size(modality)
        self._size = self._form.size * (SIZE_MARGIN if self._keeps_sizes else 1)
        self._scratch = bytearray(self._size if self._compress and not step else 0)

    @property
    def capacity(self) -> int:
        """How many bytes a record takes, compressed or not; more only if patches keep sizes."""
        # At least ZSTD_compressBound of zstd.h; a Blosc2 chunk has 40 bytes more than its record.
        return self._size if self._compress is None else self._size + (self._size >> 8) + LEAST

    def _plan(self, file: BandFile) -> FilePlan:
        shapes = {band.name: band.shape for band in self._bands}
        shape = next(shapes[name] for name in file.bands if name in shapes)
        reader = BandReader(self._bands[0].dtype, shape, len(file.bands), self._decoder)
        return FilePlan(file, self._bands, self._planes, reader, self._memory_aside)

    def _memory_aside(self, shape: tuple[int, ...]) -> Array:
        if shape not in self._aside:
            self._aside[shape] = np.empty(shape, self._bands[0].dtype)
        return self._aside[shape]

    def announce(self, patch: Patch, opener: PatchOpener) -> None:
        """Tell the disk of the files that `encode` reads of a patch, by the same opener.

        Of a place with several acquisitions, those of all of them.
        """
        opener.announce_all(patch.acquisitions or (patch,), self._names, self._files_size)

    def _names(self, patch: Patch) -> list[str]:
        names = [patch.file(plan.name) for plan in self._plans[patch.apart]]
        if self._modality.sidecar is not None:
            names.append(self._modality.sidecar_of(patch.name))
        return names

    def encode(self, patch: Patch, out: memoryview, opener: PatchOpener) -> Encoded:
        """Write the patch's record to the start of `out` (at least `capacity` bytes).

        A record that is larger than `out`, as may be if patches keep their sizes, is given back
        instead. `opener` opens the files of the patch.

        Raises:
            PatchError: a band is missing, extra, damaged, of another dtype or size, or covers
                other ground than the first.
        """
        files = opener(patch)
        try:
            self._check_files(patch, files)
            filled = self._fill(patch, files, self.room(out))
            record = filled.record[: filled.form.size]
            if self._refuse_nan:
                self._nan.check(patch, filled.form, record)
            values = self._column_reader.read(patch, files, record[self._planes[0].start :])
        finally:
            files.close()
        return self.stored(filled, values, out)

    def room(self, out: memoryview) -> memoryview:
        """The memory for the record before it is compressed: `out` itself if it is not."""
        return out if self._compress is None else memoryview(self._scratch)

    def stored(self, filled: Filled, values: tuple[object, ...], out: memoryview) -> Encoded:
        """What is known of a record that is filled; it is compressed into `out` if it should be."""
        record = filled.record[: filled.form.size]
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

    def fill_step(self, patch: Patch, record: memoryview, opener: PatchOpener) -> Filled:
        """Write the pixels of one acquisition to its step of a record, and the record's header.

        Raises:
            PatchError: as `encode`.
        """
        files = opener(patch)
        try:
            self._check_files(patch, files)
            filled = self._fill(patch, files, record)
            if self._refuse_nan:
                self._nan.check_step(patch, record)
        finally:
            files.close()
        return filled

    def clear_step(self, record: memoryview) -> None:
        """Write zeros to its step of a record: of an acquisition that is not there."""
        item = np.dtype(self._bands[0].dtype).itemsize
        for start, (height, width) in self._planes:
            nbytes = height * width * item
            record[start : start + nbytes] = bytes(nbytes)

    def _check_files(self, patch: Patch, files: PatchFiles) -> None:
        """Refuse a patch with a band too many or too few; other files beside them are ignored."""
        if not patch.apart or self._is_flat:
            # The names in a folder that patches share are not listed for each of them.
            self._ground.beside = None
            return
        expected = {patch.file(plan.name) for plan in self._plans[True]}
        there = set(files.names())
        self._ground.beside = frozenset()
        if there == expected:
            return
        self._ground.beside = with_files_beside(expected, there)
        missing = sorted(expected - there)
        if missing:
            raise PatchError(f"{patch.path(missing[0])} is missing")
        extra = sorted(
            name
            for name in there - expected
            if name.startswith(patch.before)
            and name.endswith(patch.after)
            and not is_hidden(name)
            and self._part.fullmatch(name, len(patch.before), len(name) - len(patch.after))
        )
        if extra:
            raise undescribed(patch.path(extra[0]), self._modality)

    def _fill(self, patch: Patch, files: PatchFiles, record: memoryview) -> Filled:
        if self._keeps_sizes:
            return self._any_size.fill(patch, files, record)
        header = self._form.header
        record[: len(header)] = header
        try:
            return Filled(self._form, self._fill_planes(patch, files, record), record)
        except OtherSize as error:
            if self._size_rule != "keep":
                return self._any_size.fill_fitted(patch, files, record)
            ways = "--size crop, pad or resize brings such patches to one size"
            if self._modality.any_size:
                ways += ", --layout native stores them as they are"
            raise PatchError(f"{error}: {ways}") from None

    def _fill_planes(self, patch: Patch, files: PatchFiles, record: memoryview) -> Ground | None:
        ground: Ground | None = None
        plans = self._plans[patch.apart]
        for number, plan in enumerate(plans):
            name = patch.file(plan.name)
            into = plan.fixed if plan.fixed is not None else plan.buffers(record)
            covered = plan.reader.read_into(name, files, into)
            if plan.coarse:
                plan.resample(record, self._method)
            covered = self._ground.of(name, files, covered)
            if number == 0:
                ground = covered
            elif covered != ground:
                coarser = min(plans[0].reader.shape, plan.reader.shape)
                self._ground.check(patch, plan, ground, covered, coarser)
        return ground
