"""`Samples`: what a model sees of a store, one sample a row: pixels, labels, masks, keys.

Without any framework: `PatchDataset` and `PatchLoader` read through it, and so can others.
"""

import hashlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, Unpack

import numpy as np
import numpy.typing as npt

from patchpress.readers.choice import (
    Choice,
    bands_by_modality,
    completed,
    images_asked,
    targets_asked,
)
from patchpress.readers.columns import read_columns
from patchpress.readers.errors import OptionError, SamplesLeftOut, SelectionEmpty
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import (
    HasRowNumbers,
    Split,
    key_column,
    keys_in,
    split_names,
)
from patchpress.readers.image_statistics import statistics_of
from patchpress.readers.images import IMAGE, Field, Image, join
from patchpress.readers.records import Records
from patchpress.readers.rows import FLAGGED, rows_labelled, rows_of, rows_with
from patchpress.readers.sample_format import KEY, LABEL, MASK, SampleFormat
from patchpress.readers.sample_parts import Label, SampleParts
from patchpress.readers.showing import columns_of, html_table, listed, plain
from patchpress.readers.staging.options import StageFolder
from patchpress.readers.statistics import Statistics
from patchpress.readers.store import Store, opened
from patchpress.readers.targets import (
    CodeTable,
    check_class_order,
    class_names,
    has_parts,
    label_array,
)

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]
PACKAGE = __name__.partition(".")[0]
MUCH = 0.05  # of the rows: if more than this part has to be left out, a warning says so

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mask:
    """The maps of some samples, and how their codes become classes."""

    field: Field
    records: Records
    table: CodeTable


class Samples(SampleParts):
    """The samples that were chosen from a store, and how to fill arrays with them.

    A row of the table is a sample if it has all that was asked for: a record of each modality, a
    label if one is the target. Rows without it are left out and counted in `left_out`; a warning
    says so if they are more than 5 in 100. Safe in threads, after a fork, and picklable. ::

        samples = Samples("ben.store", "train", bands="rgb")
        images, labels = samples[[0, 5, 7]]
    """

    def __init__(
        self,
        store: Store | str | os.PathLike[str],
        split: Split = None,
        *,
        stage: StageFolder = None,
        **choice: Unpack[Choice],
    ) -> None:
        """Find the rows and their records.

        Args:
            store: path of a store, or an opened one.
            split: `train`, `validation` (or `val`), `test`, or several; samples, whose rows are
                taken in their order; all rows by default.
            stage: as `open_store`, if the store is given as a path.
            **choice: see `patchpress.readers.choice.Choice`.

        Raises:
            SelectionEmpty: no sample is left; the message lists what there is.
            BandMissing, OptionError: a band, modality, column or option that is not there.
        """
        chosen = completed(choice, type(self))
        self.store = opened(store, stage)
        self.choice = chosen
        self._selected = _described(self.store.manifest, split)
        manifest = self.store.manifest
        self.sample_format, self.with_key = chosen["sample_format"], chosen["with_key"]
        check_class_order(chosen["class_order"])
        images = images_asked(manifest, chosen["modalities"])
        columns, maps = targets_asked(manifest, chosen["target"])
        if chosen["mask_labels"] is not None and not maps:
            raise OptionError(
                f"mask_labels {chosen['mask_labels']!r} says what a map's codes become: name a map "
                "in target, or leave it out"
            )
        rows = rows_of(self.store.path, manifest, split, chosen["where"], chosen["flagged"])
        selected = len(rows)
        rows = rows_with(rows, [*images, *maps])
        for column in columns:
            rows = rows_labelled(rows, column)
        self.left_out = dict(rows.left_out)
        """Reason -> rows of the selection that are no samples for it: `flagged`, `without s1`,
        `without labels`."""
        self.row_numbers = rows.numbers
        """Position in metadata.parquet of the row of each sample, int64."""
        self._images = self._find_images(images, rows.table)
        self._label = self._read_label(columns[0], rows.table) if columns else None
        self._mask = self._find_mask(maps[0], columns, rows.table) if maps else None
        taken = [KEY, *(field.name for field in self._main_fields)]
        self._numbers, self._objects = read_columns(rows.table, chosen["columns"], taken)
        self._format = self._make_format()
        self._tell(selected)

    def _make_format(self) -> SampleFormat:
        return SampleFormat(
            kind=self.sample_format,
            images=tuple(self.image_bands),
            targets=tuple(field.name for field in self._main_fields[len(self._images) :]),
            columns=(*(c.field.name for c in self._numbers), *(c.name for c in self._objects)),
            with_key=self.with_key,
        )

    def _tell(self, selected: int) -> None:
        """Log what was chosen, and warn if many of the rows selected are no samples."""
        lost = selected - len(self)
        _log.info("%s", self.summary())
        if lost > MUCH * selected:
            reasons = ", ".join(
                f"{count:,} {reason}"
                for reason, count in self.left_out.items()
                if reason != FLAGGED
            )
            warnings.warn(
                f"{lost:,} of {selected:,} rows are left out ({reasons}): "
                f"{len(self):,} samples remain",
                SamplesLeftOut,
                stacklevel=_stack_level_of_caller(),
            )

    def __len__(self) -> int:
        return len(self._first)

    def __getitem__(self, indices: Any) -> Any:
        """One sample by its number, or a batch by several numbers or a slice, as NumPy arrays.

        Raises:
            IndexError: no such sample.
        """
        if isinstance(indices, slice):
            indices = range(*indices.indices(len(self)))
        if isinstance(indices, (int, np.integer)):
            numbers = self.numbers([int(indices)])
            arrays = {name: array[0] for name, array in self.read(numbers).items()}
            return self.assemble(arrays, self.objects(numbers, single=True))
        numbers = self.numbers(indices)
        return self.assemble(self.read(numbers), self.objects(numbers))

    def __iter__(self) -> Iterator[Any]:
        return (self[number] for number in range(len(self)))

    @property
    def _first(self) -> Records:
        return self._images[0].parts[0]

    @property
    def _main_fields(self) -> list[Field]:
        """The fields of images, label and mask."""
        targets = [target.field for target in (self._label, self._mask) if target is not None]
        return [*(image.field for image in self._images), *targets]

    @property
    def fields(self) -> tuple[Field, ...]:
        """Name, shape and dtype of each array of a sample, in their order."""
        return (*self._main_fields, *(column.field for column in self._numbers))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by index: the label's, or the mask's if there is no label."""
        if self._label is not None:
            return self._label.names
        return () if self._mask is None else self._mask.table.names

    def subset(self, indices: Sequence[int] | Array) -> Self:
        """Some of these samples, in the order of the indices: a fold, or a few for a trial.

        Args:
            indices: numbers of samples, or one bool for each sample.

        Raises:
            SelectionEmpty: no index at all.
            IndexError: no such sample.
        """
        asked = np.asarray(indices)
        if asked.dtype == bool and len(asked) == len(self):
            asked = np.flatnonzero(asked)
        if not len(asked):
            raise SelectionEmpty("a subset needs at least one index")
        chosen = self.numbers(asked)
        found = copy(self)
        for cached in ("digest", "_naming"):
            found.__dict__.pop(cached, None)
        found.row_numbers = self.row_numbers[chosen]
        found._images = tuple(image.subset(chosen) for image in self._images)
        if self._label is not None:
            found._label = replace(self._label, values=self._label.values[chosen])
        if self._mask is not None:
            found._mask = replace(self._mask, records=self._mask.records.subset(chosen))
        found._numbers = [replace(c, values=c.values[chosen]) for c in self._numbers]
        found._objects = [replace(c, values=c.values.take(chosen)) for c in self._objects]
        return found

    def as_float(self) -> Self:
        """The same samples, images in float32, or in float64 if only that holds every value."""
        found = copy(self)
        found._images = tuple(image.as_float() for image in self._images)
        return found

    def normalized(
        self,
        statistics: Statistics | Mapping[str, Statistics] | None,
        *,
        how: str = "standard",
    ) -> Self:
        """The same samples, images in float32 and normalised as they are read.

        Args:
            statistics: of the images' bands, or each modality's by its name, which are picked and
                joined as the images are; None only casts.
            how: see `patchpress.readers.normalize.normalize`.

        Raises:
            OptionError: no such `how`, statistics of other modalities, or samples that are
                normalised already.
            BandMissing: statistics without one of the images' bands.
        """
        of_image = statistics_of(self.image_bands, statistics)
        found = copy(self)
        found._images = tuple(i.normalized(of_image[i.field.name], how) for i in self._images)
        return found

    def numbers(self, indices: Sequence[int] | Array) -> Array:
        """Indices as int64 from 0 on; negative ones are counted from the end.

        Raises:
            IndexError: no such sample, or indices that are no whole numbers.
        """
        found = np.asarray(indices)
        if found.dtype.kind not in "iu" and found.size:
            raise IndexError(f"samples are numbered: indices are whole numbers, not {found.dtype}")
        found, size = found.astype(np.int64, copy=False), len(self)
        if found.size and not -size <= found.min() <= found.max() < size:
            outside = found[(found < -size) | (found >= size)]
            raise IndexError(f"there is no sample {outside[0]}: there are {size}")
        return found % size

    @cached_property
    def digest(self) -> str:
        """A hash over all keys in their order: equal for the same samples in the same order."""
        found = hashlib.blake2b(digest_size=8)
        for image in self._images:
            for records in image.parts:
                found.update(b"\n".join(records.key(k).encode() for k in range(len(records))))
        return found.hexdigest()

    @property
    def image_bands(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """Each image field: modality -> its bands, in the order of the channels."""
        return {
            image.field.name: {
                modality.name: records.bands or modality.band_names
                for modality, records in zip(image.modalities, image.parts, strict=True)
            }
            for image in self._images
        }

    @property
    def is_plain(self) -> bool:
        """Whether a sample is the tuple of its arrays (or its only array), and nothing else."""
        return self._format.is_plain

    @cached_property
    def _naming(self) -> Records:
        """The records whose keys name the samples: of the modality that is first in the store."""
        order = list(self.store.manifest.modalities)
        parts = [
            (order.index(modality.name), part)
            for image in self._images
            for modality, part in zip(image.modalities, image.parts, strict=True)
        ]
        return min(parts, key=lambda numbered: numbered[0])[1]

    def key(self, index: int) -> str:
        """The key of a sample: of the one of its modalities that is first in the store.

        With Sentinel-1 and Sentinel-2 that is the patch's, in whatever order they are asked for.
        """
        return self._naming.key(int(index))

    def keys(self, indices: Sequence[int] | Array | None = None) -> list[str]:
        """The keys of some samples, or of all, as `key` gives them."""
        chosen = range(len(self)) if indices is None else indices
        return [self.key(int(index)) for index in chosen]

    def objects(self, indices: Array, *, single: bool = False) -> dict[str, Any]:
        """What samples have besides arrays, by name: keys and columns of text, if asked for.

        Args:
            indices: numbers of samples, as `numbers` gives them.
            single: give the value of the first one, instead of a list of all.
        """
        found: dict[str, list[Any]] = {KEY: self.keys(indices)} if self.with_key else {}
        for column in self._objects:
            found[column.name] = column.pick(indices)
        return {name: values[0] for name, values in found.items()} if single else found

    def read(self, indices: Sequence[int] | Array, out: Mapping[str, Array] | None = None) -> Any:
        """Samples as a dict of arrays by field name, each (N, ...).

        Args:
            indices: numbers of samples; negative ones are counted from the end.
            out: an array (N, ...) for each of `fields`, by name; they are filled and returned.

        Raises:
            StoreDamaged: a record that does not parse; the message names it.
            IndexError: no such sample.
        """
        indices = self.numbers(indices)
        if out is None:
            out = {f.name: np.empty((len(indices), *f.shape), f.dtype) for f in self.fields}
        if self.store.url is not None:
            # Of all modalities together; what was announced before is not requested again.
            self.announce(indices)
        for image in self._images:
            image.read(indices, out[image.field.name])
        for part in (self._label, *self._numbers):
            if part is not None:
                np.take(part.values, indices, axis=0, out=out[part.field.name], mode="clip")
        if self._mask is not None:
            codes = self._mask.records.read(indices)[:, 0]
            keys = [self._mask.records.key(int(index)) for index in indices]
            self._mask.table.apply(codes, out[MASK], keys)
        return out

    def announce(self, indices: Sequence[int] | Array) -> None:
        """Tell the kernel that these will be read soon, so that the disk can begin."""
        for image in self._images:
            image.announce(indices)
        if self._mask is not None:
            self._mask.records.announce(indices)

    def assemble(self, arrays: Mapping[str, Any], objects: Mapping[str, Any]) -> Any:
        """One sample, or one batch, in the format that was asked for.

        Args:
            arrays: arrays or tensors by field name.
            objects: as `objects` gives them.
        """
        return self._format.assemble(arrays, objects)

    def __repr__(self) -> str:
        lines = columns_of([(f.name, str(f.shape), f.dtype.name, t) for f, t in self._told])
        names = ", ".join(map(plain, self.objects(np.array([0]))))
        return "\n".join([f"Samples({self.summary()})", *lines, *([f"  {names}"] if names else [])])

    def _repr_html_(self) -> str:
        rows = [(f.name, str(f.shape), f.dtype.name, t) for f, t in self._told]
        rows += [(name, "", "object", "") for name in self.objects(np.array([0]))]
        return html_table(self.summary(), ("field", "shape of one", "dtype", ""), rows)

    @property
    def _told(self) -> list[tuple[Field, str]]:
        """The fields, and what people want to know of each."""
        found = [
            (image.field, "; ".join([*map(_listed, bands.items()), *image.told]))
            for image, bands in zip(self._images, self.image_bands.values(), strict=True)
        ]
        order = self.choice["class_order"]
        if self._label is not None:
            text = f"{self._label.column}: {len(self._label.names)} classes, {order} order"
            found.append((self._label.field, text))
        if self._mask is not None:
            table = self._mask.table
            text = (
                f"classes of {table.column}: {len(table.names)}, {order} order; "
                f"{self.choice['ignore_index']} for pixels without a class"
            )
            found.append((self._mask.field, text))
        return [*found, *((column.field, "column of the table") for column in self._numbers)]

    def summary(self) -> str:
        """One line: how many samples of what, and what was left out."""
        left = ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())
        name = self.store.manifest.dataset.name
        told = f"{len(self):,} samples of {name}, {self._selected}"
        return plain(f"{told}; left out: {left}" if left else told)

    def _find_images(self, modalities: Sequence[Modality], rows: "pa.Table") -> tuple[Image, ...]:
        dtype = self.choice["dtype"]
        if dtype is None and self.sample_format == "torchgeo":
            dtype = np.float32
        wanted = bands_by_modality(modalities, self.choice["bands"])
        parts = [
            self.store.records(keys_in(m, rows[key_column(m)]), wanted[m.name]) for m in modalities
        ]
        if self.choice["joined"] or len(parts) == 1:
            return (join(IMAGE, modalities, parts, dtype),)
        named = zip(modalities, parts, strict=True)
        return tuple(join(f"{IMAGE}_{m.name}", [m], [part], dtype) for m, part in named)

    def _read_label(self, column: str, rows: "pa.Table") -> Label:
        manifest, dtype = self.store.manifest, self.choice["label_dtype"]
        official = manifest.classes[column]
        names = class_names(manifest, column, self.choice["class_order"])
        if dtype is None and self.sample_format == "torchgeo" and not has_parts(rows[column]):
            dtype = np.int64
        values = label_array(rows[column], official, names, dtype)
        return Label(column, names, Field(LABEL, values.shape[1:], values.dtype), values)

    def _find_mask(self, modality: Modality, columns: Sequence[str], rows: "pa.Table") -> Mask:
        manifest = self.store.manifest
        known = [name for name in (*columns, manifest.target or "") if name in modality.codes]
        column = self.choice["mask_labels"] or [*known, *modality.codes, "labels"][0]
        order, ignored = self.choice["class_order"], self.choice["ignore_index"]
        table = CodeTable(modality, manifest, column, order, ignored)
        keys = keys_in(modality, rows[key_column(modality)])
        records = self.store.records(keys, modality.band_names[:1])
        return Mask(Field(MASK, records.shape[1:], np.dtype(np.int64)), records, table)


def _listed(bands: tuple[str, Sequence[str]]) -> str:
    """The bands of a modality, in words."""
    modality, names = bands
    return f"{modality}: {listed(names)}"


def _described(manifest: Manifest, split: Split) -> str:
    """Which rows samples are chosen from, in words."""
    if split is None:
        return "all splits"
    if isinstance(split, HasRowNumbers):
        return "chosen rows"
    names = split_names(manifest, split)
    return f"split{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _stack_level_of_caller() -> int:
    """How far above the function that warns the first line lies that is not of this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    return level


def samples_of(
    store: "Store | Samples | str | os.PathLike[str]",
    split: Split,
    choice: Choice,
    asking: type,
    stage: StageFolder = None,
) -> Samples:
    """The samples of a data set or loader: `store` itself if it is samples, else chosen now.

    Args:
        store: path of a store, an opened one, or samples.
        split: as `Samples` takes it.
        choice: as `Samples` takes it.
        asking: the class that was called with it, for messages.
        stage: as `open_store`, if the store is given as a path.

    Raises:
        OptionError: samples, and a split, stage or choice beside them; or an unknown keyword.
    """
    completed(choice, asking)
    if not isinstance(store, Samples):
        return Samples(store, split, stage=stage, **choice)
    if split is not None or choice:
        raise OptionError("samples are chosen already: give split and choice to Samples")
    opened(store.store, stage)
    return store
