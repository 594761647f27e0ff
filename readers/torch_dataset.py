"""`PatchDataset`: a store as a map-style torch data set, a whole batch at a time.

Needs torch (the extra ``torch``).
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import index as whole_number
from operator import is_
from typing import Any, Unpack

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from patchpress.readers.buffers import SMALL
from patchpress.readers.choice import Choice, check_transform
from patchpress.readers.format.table import Split
from patchpress.readers.samples import Samples, samples_of
from patchpress.readers.showing import columns_of, html_table
from patchpress.readers.slots import Slot, Slots, batch_tensor
from patchpress.readers.staging.options import StageFolder
from patchpress.readers.store import Store

Transform = Callable[[Any], Any]
Array = np.ndarray[Any, np.dtype[Any]]


class PatchDataset(Dataset[Any]):
    """Samples of a store for a stock `torch.utils.data.DataLoader`.

    A sample is (image, label), (image, mask), (image, label, mask) or the image alone, as `target`
    says, then the key if `with_key`; or with ``sample_format="dict"`` a dict of these by name.
    Images are (bands, height, width) float32 in the stored units; labels (classes,) float32 of
    zeros and ones, or one int64 if a patch has one class; masks (height, width) int64.

    Images are float32 (float64 if only that holds every stored value), because transforms and
    models calculate: torch neither adds nor compares nor flips unsigned 16-bit numbers, in which
    Sentinel-2 is stored. ``dtype=None`` gives them as stored, in half the bytes, for a loop that
    casts on the GPU. Samples that were chosen before keep their dtype.

    With ``collate_fn=data.collate`` a batch is read as one and reaches the training process
    without a further copy::

        data = PatchDataset("ben.store", "train", bands="rgb")
        loader = DataLoader(data, 256, shuffle=True, num_workers=2, collate_fn=data.collate)

    The default collate works, too, with a copy a sample. So do several indices at once
    (``data[[3, 1, 2]]``, ``data[:8]``), which give a batch, and with them a `BatchSampler` as
    `sampler` of a loader with ``batch_size=None``. Works under fork and spawn, and with the
    samplers of distributed training. A batch never changes while anyone holds a part of it.
    """

    def __init__(
        self,
        store: Store | Samples | str | os.PathLike[str],
        split: Split = None,
        *,
        transform: Transform | None = None,
        stage: StageFolder = None,
        **choice: Unpack[Choice],
    ) -> None:
        """Find the samples.

        Args:
            store: path of a store, an opened one, or samples chosen before.
            split: `train`, `validation` (or `val`), `test`, a list of several, or samples whose
                rows are taken; all rows by default.
            transform: applied to each sample, in the form that it has, by the process that reads
                it. Random numbers of torch, NumPy and Python are seeded in workers as `DataLoader`
                does it.
            stage: as `open_store`, if the store is given as a path.
            **choice: see `patchpress.readers.choice.Choice`.

        Raises:
            SelectionEmpty: nothing is selected; the message lists what there is.
            BandMissing, OptionError: a band, modality, column or option that is not there.
            OptionError: samples that were chosen before, and a split or choice.
        """
        check_transform(transform)
        self.samples = samples_of(store, split, choice, type(self), stage)
        if not isinstance(store, Samples) and "dtype" not in choice:
            self.samples = self.samples.as_float()
        self.transform = transform
        self._slots = {field.name: Slots() for field in self.samples.fields}

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by index: the label's, or the mask's if there is no label."""
        return self.samples.classes

    def __getitem__(self, index: Any) -> Any:
        """One sample by its number, or a batch by several numbers or a slice.

        Raises:
            IndexError: no such sample.
        """
        if isinstance(index, slice):
            index = range(*index.indices(len(self)))
        several = isinstance(index, (Sequence, np.ndarray, torch.Tensor))
        if several and not isinstance(index, str) and np.ndim(index):
            return self.collate(self.__getitems__(index))
        numbers = self.samples.numbers([whole_number(index)])
        arrays = self.samples.read(numbers)
        tensors = {name: torch.from_numpy(array)[0] for name, array in arrays.items()}
        sample = self.samples.assemble(tensors, self.samples.objects(numbers, single=True))
        return sample if self.transform is None else self.transform(sample)

    def __getitems__(self, indices: Any) -> "SampleList":
        """Samples read as one batch; what a DataLoader asks for.

        Raises:
            IndexError: no such sample.
        """
        return SampleList(self, self.samples.numbers(indices))

    @staticmethod
    def collate(samples: Any) -> Any:
        """A batch in the form of a sample, each tensor with a first dimension more.

        For ``DataLoader(collate_fn=data.collate)``, or to be called by a collate function. Samples
        that `__getitems__` read as one batch are given as that batch. Samples that were
        transformed, or that stand in a list with others, are stacked by torch's default collate.
        """
        if isinstance(samples, SampleList) and samples.are_as_read:
            return samples.batch()
        return default_collate(samples)

    def __repr__(self) -> str:
        lines = columns_of(self._told)
        return "\n".join([f"<PatchDataset of {self.samples.summary()}", *lines]) + ">"

    def _repr_html_(self) -> str:
        title = f"PatchDataset of {self.samples.summary()}"
        return html_table(title, ("field", "shape of one", "dtype"), self._told)

    @property
    def _told(self) -> list[tuple[str, str, str]]:
        return [(f.name, str(f.shape), f.dtype.name) for f in self.samples.fields]


class SampleList(list[Any]):
    """Samples that were read together. Others see a list of samples."""

    def __init__(self, dataset: PatchDataset, indices: Array) -> None:
        samples = dataset.samples
        self._samples, self._count = samples, len(indices)
        self._slots_taken: dict[str, Slot] = {}
        self._arrays: Mapping[str, Array] = self._arrays_from(dataset._slots)
        samples.read(indices, self._arrays)
        self._objects = samples.objects(indices)
        # All views of a field in one call: to make a tensor for each sample would cost as much
        # as to read a small patch.
        rows = {name: torch.from_numpy(array).unbind() for name, array in self._arrays.items()}
        if samples.is_plain:
            super().__init__(zip(*rows.values(), strict=True) if len(rows) > 1 else rows["image"])
        else:
            super().__init__(
                samples.assemble(_of(k, rows), _of(k, self._objects)) for k in range(len(indices))
            )
        self._transformed = dataset.transform is not None
        if dataset.transform is not None:
            self[:] = map(dataset.transform, self)
        self._parts_as_read = () if self._transformed else tuple(self._parts())

    def _arrays_from(self, slots: Mapping[str, Slots]) -> dict[str, Array]:
        """An array for each field: on a slot, or on memory of its own if it is small."""
        arrays = {}
        for field in self._samples.fields:
            shape = (self._count, *field.shape)
            nbytes = self._count * field.nbytes
            if nbytes < SMALL:
                arrays[field.name] = np.empty(shape, field.dtype)
            else:
                slot = self._slots_taken[field.name] = slots[field.name].take(nbytes)
                arrays[field.name] = slot.bytes[:nbytes].view(field.dtype).reshape(shape)
        return arrays

    def batch(self) -> Any:
        """All of them as one batch, on the memory that they were read into."""
        tensors = {
            name: batch_tensor(array, self._slots_taken.get(name))
            for name, array in self._arrays.items()
        }
        return self._samples.assemble(tensors, self._objects)

    @property
    def are_as_read(self) -> bool:
        """Whether these are still the samples that were read: none transformed, moved or replaced.

        Tensors that were changed in place count as read: a batch lies on the same memory.
        """
        if self._transformed:
            return False
        parts = tuple(self._parts())
        return len(parts) == len(self._parts_as_read) and all(map(is_, parts, self._parts_as_read))

    def _parts(self) -> Iterator[Any]:
        # A tuple cannot be changed, so that it is enough to look at plain samples themselves.
        return iter(self) if self._samples.is_plain else _leaves(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # For a collate function that gives the samples as they are: between processes, a list.
        return list, (list(self),)


def _of(number: int, batch: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """What a batch has of one sample."""
    return {name: values[number] for name, values in batch.items()}


def _leaves(sample: Any) -> Iterator[Any]:
    """What lies in dicts, tuples and lists."""
    if not isinstance(sample, (dict, list, tuple)):
        yield sample
        return
    for part in sample.values() if isinstance(sample, dict) else sample:
        yield from _leaves(part)
