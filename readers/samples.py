"""`Samples`: what a model sees of a store, one sample a row: pixels, labels, masks, keys.

Without any framework: `PatchDataset` and `PatchLoader` read through it, and so can others.
"""

import hashlib
from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.choice import (
    FIRST,
    Bands,
    Choice,
    Where,
    bands_by_modality,
    images_asked,
    targets_asked,
)
from patchpress.readers.errors import OptionError, SelectionEmpty
from patchpress.readers.format.manifest import Modality
from patchpress.readers.format.table import Split, key_column, keys_in
from patchpress.readers.images import IMAGE, Field, Image, join
from patchpress.readers.records import Records
from patchpress.readers.rows import rows_of, rows_with
from patchpress.readers.store import Store, open_store
from patchpress.readers.targets import (
    IGNORED,
    CodeTable,
    check_class_order,
    class_names,
    label_array,
)

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]
FORMATS = ("tuple", "dict")
LABEL, MASK = "label", "mask"
ALIGNMENT = 64  # bytes: each array of a buffer begins at the start of a cache line


class Samples:
    """The samples that were chosen from a store, and how to fill arrays with them.

    Rows that lack one of the modalities asked for are left out and counted in `left_out`. Safe in
    threads, after a fork, and picklable.
    """

    def __init__(
        self,
        store: Store | str,
        split: Split = None,
        *,
        modalities: str | Sequence[str] | None = None,
        bands: Bands = None,
        joined: bool = True,
        dtype: str | None = None,
        flagged: str | None = None,
        where: Where = None,
        target: str | Sequence[str] | None = FIRST,
        class_order: str = "official",
        mask_labels: str | None = None,
        ignore_index: int = IGNORED,
        sample_format: str = "tuple",
        with_key: bool = False,
    ) -> None:
        """Find the rows and their records; `choice.Choice` says what each argument means.

        Raises:
            SelectionEmpty: no sample is left; the message lists what there is.
            BandMissing, OptionError: a band, modality, column or option that is not there.
        """
        self.store = store if isinstance(store, Store) else open_store(store)
        if sample_format not in FORMATS:
            raise OptionError(
                f"there is no sample format {sample_format!r}; choose {' or '.join(FORMATS)}"
            )
        check_class_order(class_order)
        self.sample_format, self.with_key = sample_format, with_key
        images = images_asked(self.store.manifest, modalities)
        columns, maps = targets_asked(self.store.manifest, target)
        if mask_labels is not None and not maps:
            raise OptionError(
                f"mask_labels {mask_labels!r} says what a map's codes become: name a map in "
                "target, or leave it out"
            )
        rows = rows_of(self.store.path, self.store.manifest, split, where, flagged)
        rows = rows_with(rows, [*images, *maps])
        there = rows.table
        self.left_out = rows.left_out
        """Reason -> rows of the selection that are no samples for it, such as `without s1`."""
        self.row_numbers = rows.numbers
        """The row of metadata.parquet that each sample is of, int64."""
        self.ignore_index = ignore_index
        self._images = self._find_images(images, bands, there, joined, dtype)
        self._label_fields, self._labels = self._read_labels(columns, class_order, there)
        self._maps = [
            self._find_map(m, mask_labels, class_order, ignore_index, there) for m in maps
        ]
        names = [table.names for _, table in self._maps]
        names[:0] = [class_names(self.store.manifest, column, class_order) for column in columns]
        self.classes: tuple[str, ...] = names[0] if names else ()
        """Names of the classes by index: the label's, or the mask's if there is no label."""

    def __len__(self) -> int:
        return len(self._first)

    @property
    def _first(self) -> Records:
        return self._images[0].parts[0]

    @property
    def fields(self) -> tuple[Field, ...]:
        """Name, shape and dtype of each array of a sample, in their order."""
        masks = [Field(MASK, r.shape[1:], np.dtype(np.int64)) for r, _ in self._maps]
        return (*(image.field for image in self._images), *self._label_fields, *masks)

    def subset(self, indices: Sequence[int] | Array) -> "Samples":
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
        found.__dict__.pop("digest", None)
        found.row_numbers = self.row_numbers[chosen]
        found._images = tuple(image.subset(chosen) for image in self._images)
        found._labels = [values[chosen] for values in self._labels]
        found._maps = [(records.subset(chosen), table) for records, table in self._maps]
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

    def bands(self, name: str) -> dict[str, tuple[str, ...]]:
        """The bands of an image field, in the order of its channels, by modality."""
        (image,) = (image for image in self._images if image.field.name == name)
        return {
            modality.name: records.bands or modality.band_names
            for modality, records in zip(image.modalities, image.parts, strict=True)
        }

    @property
    def is_plain(self) -> bool:
        """Whether a sample is the tuple of its arrays (or its only array), and nothing else."""
        return self.sample_format == "tuple" and not self.with_key and len(self._images) == 1

    def key(self, index: int) -> str:
        """The key of a sample's first modality."""
        return self._first.key(int(index))

    def keys(self, indices: Sequence[int] | Array) -> list[str]:
        """The keys of some samples, as `key` gives them."""
        return [self.key(int(index)) for index in indices]

    def nbytes(self, count: int) -> int:
        """Bytes of a buffer for `count` samples, as `arrays` lays them out."""
        return sum(_aligned(count * _nbytes(field)) for field in self.fields)

    def arrays(self, buffer: npt.NDArray[np.uint8], count: int) -> dict[str, Array]:
        """The arrays of a batch of `count` samples inside one buffer of `nbytes(count)` bytes."""
        found: dict[str, Array] = {}
        at = 0
        for field in self.fields:
            nbytes = count * _nbytes(field)
            flat = buffer[at : at + nbytes].view(field.dtype)
            found[field.name] = flat.reshape(count, *field.shape)
            at += _aligned(nbytes)
        return found

    def read(self, indices: Sequence[int] | Array, out: Mapping[str, Array] | None = None) -> Any:
        """Samples as a dict of arrays by field name, each (N, ...).

        Args:
            indices: numbers of samples; negative ones are counted from the end.
            out: arrays by field name, as `arrays` gives them; they are filled and returned.

        Raises:
            StoreDamaged: a record that does not parse; the message names it.
            IndexError: no such sample.
        """
        indices = self.numbers(indices)
        if out is None:
            buffer = np.empty(self.nbytes(len(indices)), np.uint8)
            out = self.arrays(buffer, len(indices))
        for image in self._images:
            image.read(indices, out[image.field.name])
        for field, values in zip(self._label_fields, self._labels, strict=True):
            np.take(values, indices, axis=0, out=out[field.name], mode="clip")
        for records, table in self._maps:
            codes = records.read(indices)[:, 0]
            keys = [records.key(int(index)) for index in indices]
            table.apply(codes, out[MASK], keys)
        return out

    def announce(self, indices: Sequence[int] | Array) -> None:
        """Tell the kernel that these will be read soon, so that the disk can begin."""
        for image in self._images:
            image.announce(indices)
        for records, _ in self._maps:
            records.announce(indices)

    def assemble(self, arrays: Mapping[str, Any], keys: Any) -> Any:
        """One sample, or one batch, in the format that was asked for.

        Args:
            arrays: arrays or tensors by field name.
            keys: the key, or the keys of a batch; used if `with_key` was asked for.
        """
        if self.sample_format == "dict":
            return {**arrays, "key": keys} if self.with_key else dict(arrays)
        names = [image.field.name for image in self._images]
        image = {name.removeprefix(f"{IMAGE}_"): arrays[name] for name in names}
        image = arrays[names[0]] if len(names) == 1 else image
        rest = [arrays[field.name] for field in self.fields[len(names) :]]
        sample = (image, *rest, *([keys] if self.with_key else ()))
        return sample[0] if len(sample) == 1 else sample

    def _find_images(
        self,
        modalities: Sequence[Modality],
        bands: Bands,
        rows: "pa.Table",
        joined: bool,
        dtype: str | None,
    ) -> tuple[Image, ...]:
        wanted = bands_by_modality(modalities, bands)
        parts = [
            self.store.records(keys_in(m, rows[key_column(m)]), wanted[m.name]) for m in modalities
        ]
        if joined or len(parts) == 1:
            return (join(IMAGE, modalities, parts, dtype),)
        named = zip(modalities, parts, strict=True)
        return tuple(join(f"{IMAGE}_{m.name}", [m], [part], dtype) for m, part in named)

    def _read_labels(
        self, columns: Sequence[str], class_order: str, rows: "pa.Table"
    ) -> tuple[list[Field], list[Array]]:
        fields, arrays = [], []
        for column in columns:
            names = class_names(self.store.manifest, column, class_order)
            values = label_array(rows[column], self.store.manifest.classes[column], names)
            fields.append(Field(LABEL, values.shape[1:], values.dtype))
            arrays.append(values)
        return fields, arrays

    def _find_map(
        self,
        modality: Modality,
        column: str | None,
        class_order: str,
        ignore_index: int,
        rows: "pa.Table",
    ) -> tuple[Records, CodeTable]:
        column = column or next(iter(modality.codes), "labels")
        table = CodeTable(modality, self.store.manifest, column, class_order, ignore_index)
        keys = keys_in(modality, rows[key_column(modality)])
        return self.store.records(keys, modality.band_names[:1]), table


def _nbytes(field: Field) -> int:
    return prod(field.shape) * field.dtype.itemsize


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def samples_of(store: Store | Samples | str, split: Split, choice: Choice) -> Samples:
    """The samples of a data set or loader: `store` itself if it is samples, else chosen now.

    Raises:
        OptionError: samples, and a split or choice beside them.
    """
    if not isinstance(store, Samples):
        return Samples(store, split, **choice)
    if split is not None or choice:
        raise OptionError("samples are chosen already: give split and choice to Samples")
    return store
