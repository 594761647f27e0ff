"""`Samples`: what a model sees of a store, one sample a row: pixels, labels, masks, keys.

Without any framework: `PatchDataset` and `PatchLoader` read through it, and so can others.
"""

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any, Self, Unpack

import numpy as np
import numpy.typing as npt

from patchpress.readers.choice import Choice, completed
from patchpress.readers.errors import OptionError, SelectionEmpty
from patchpress.readers.format.table import Split
from patchpress.readers.format.time_axis import step_counts
from patchpress.readers.image_statistics import statistics_of
from patchpress.readers.part_finder import PartFinder
from patchpress.readers.partial_records import AnyRecords
from patchpress.readers.sample_format import KEY, MASK, SampleFormat
from patchpress.readers.sample_rows import sample_rows
from patchpress.readers.staging.options import StageFolder
from patchpress.readers.statistics import Statistics
from patchpress.readers.store import Store, opened
from patchpress.readers.targets import check_class_order
from patchpress.readers.told_samples import ToldSamples, rows_told

Array = npt.NDArray[Any]

_log = logging.getLogger(__name__)


class Samples(ToldSamples):
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
        self._selected = rows_told(self.store.manifest, split)
        self.sample_format, self.with_key = chosen["sample_format"], chosen["with_key"]
        check_class_order(chosen["class_order"])
        found = sample_rows(self.store, split, chosen)
        rows, images = found.pairing.rows, found.images
        self._fills, self._presence = found.fills, found.presence
        self.left_out = dict(rows.left_out)
        """Reason -> rows of the selection that are no samples for it: `flagged`, `without s1`,
        `without labels`."""
        self.row_numbers = rows.numbers
        """Position in metadata.parquet of the row of each sample, int64."""
        self.modalities = tuple(dict.fromkeys(modality.name for modality in (*images, *found.maps)))
        """Names of the images' modalities, in the order asked for, and of the map that is the
        target: the columns of `present`."""
        parts = PartFinder(self.store, found, chosen)
        self._images = parts.images()
        self._steps = {m.name: step_counts(m, found.pairing.of(m)) for m in images if m.steps}
        self._label, self._mask = parts.label(), parts.mask()
        taken = [KEY, *(field.name for field in self._main_fields)]
        self._numbers, self._objects = parts.columns(taken)
        self._format = self._make_format()
        _log.info("%s", self.summary())
        self._warn(found.pairing)

    def _make_format(self) -> SampleFormat:
        return SampleFormat(
            kind=self.sample_format,
            images=tuple(self.image_bands),
            targets=tuple(field.name for field in self._main_fields[len(self._images) :]),
            columns=(*(c.field.name for c in self._numbers), *(c.name for c in self._objects)),
            with_key=self.with_key,
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
    def _first(self) -> AnyRecords:
        return self._images[0].parts[0]

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
        found._steps = {name: counts[chosen] for name, counts in self._steps.items()}
        if self._presence is not None:
            found._presence = self._presence.subset(chosen)
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
    def is_plain(self) -> bool:
        """Whether a sample is the tuple of its arrays (or its only array), and nothing else."""
        return self._format.is_plain

    @cached_property
    def _naming(self) -> list[AnyRecords]:
        """The records whose keys name the samples: of the images, in the store's order."""
        order = list(self.store.manifest.modalities)
        parts = [
            (order.index(modality.name), part)
            for image in self._images
            for modality, part in zip(image.modalities, image.parts, strict=True)
        ]
        return [part for _, part in sorted(parts, key=lambda numbered: numbered[0])]

    def key(self, index: int) -> str:
        """The key of a sample: of the one of its modalities that is first in the store.

        With Sentinel-1 and Sentinel-2 that is the patch's, in whatever order they are asked for.
        """
        return next(filter(None, (records.key(int(index)) for records in self._naming)))

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
        for part in (self._label, self._presence, *self._numbers):
            if part is not None:
                np.take(part.values, indices, axis=0, out=out[part.field.name], mode="clip")
        if self._mask is not None:
            self._mask.read(indices, out[MASK])
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

    def present_of(self, batch: Any) -> Any:
        """`present` of a batch of these samples, (N, modalities); None if the batch has none."""
        return self._format.present_of(batch)


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
