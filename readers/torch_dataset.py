"""`PatchDataset`: a store as a map-style torch data set, a whole batch at a time.

Needs torch: ``pip install 'patchpress[torch]'``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import index as whole_number
from operator import is_
from typing import Any, Unpack

import numpy as np
import torch
from torch.utils.data import Dataset, default_collate

from patchpress.readers.choice import Choice
from patchpress.readers.samples import Samples, samples_of
from patchpress.readers.slots import Slots
from patchpress.readers.store import Store

Transform = Callable[[Any], Any]


class PatchDataset(Dataset[Any]):
    """Samples of a store for a stock `torch.utils.data.DataLoader`.

    A sample is (image, label), (image, mask), (image, label, mask) or the image alone, as `target`
    says, with the key behind where `with_key`; or with ``sample_format="dict"`` a dict of these by
    name.
    Images are (bands, height, width) in the stored dtype and units, or in `dtype`; labels
    (classes,) float32 of zeros and ones, or one int64 where a patch has one class; masks (height,
    width) int64.

    With ``collate_fn=data.collate`` a batch is read as one and reaches the training process
    without a further copy::

        data = PatchDataset("ben.store", "train", bands="rgb", dtype="float32")
        loader = DataLoader(data, 256, shuffle=True, num_workers=2, collate_fn=data.collate)

    The default collate works, too, with a copy a sample. Works under fork and spawn, and with the
    samplers of distributed training. A batch's memory is used again only when nobody holds it.
    """

    def __init__(
        self,
        store: Store | Samples | str,
        split: str | None = None,
        *,
        transform: Transform | None = None,
        **choice: Unpack[Choice],
    ) -> None:
        """Find the samples.

        Args:
            store: path of a store, an opened one, or samples chosen before.
            split: `train`, `validation` (or `val`), `test`; all by default.
            transform: applied to each sample, in the form that it has.
            **choice: see `patchpress.readers.choice.Choice`.

        Raises:
            SelectionEmpty: nothing is selected; the message lists what there is.
            BandMissing, OptionError: a band, modality, column or option that is not there.
            OptionError: samples that were chosen before, and a split or choice.
        """
        self.samples = samples_of(store, split, choice, PatchDataset)
        self.transform = transform
        self._slots = Slots()

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by index: the label's, or the mask's where there is no label."""
        return self.samples.classes

    def __getitem__(self, index: int) -> Any:
        """One sample.

        Raises:
            IndexError: no such sample.
        """
        numbers = self.samples.numbers([whole_number(index)])
        arrays = self.samples.read(numbers)
        tensors = {name: torch.from_numpy(array)[0] for name, array in arrays.items()}
        sample = self.samples.assemble(tensors, self.samples.objects(numbers, single=True))
        return sample if self.transform is None else self.transform(sample)

    def __getitems__(self, indices: Sequence[int]) -> "Batch":
        """Samples read as one batch; what a DataLoader asks for.

        Raises:
            IndexError: no such sample.
        """
        return Batch(self, self.samples.numbers(indices))

    @staticmethod
    def collate(samples: Any) -> Any:
        """A batch in the form of a sample, each tensor with a first dimension more.

        For ``DataLoader(collate_fn=data.collate)``, or to be called by a collate function: what
        `__getitems__` read as one stays one; samples that were transformed, or other ones than
        were read, are stacked by torch's default collate.
        """
        if isinstance(samples, Batch) and samples.whole is not None and samples.untouched:
            return samples.whole()
        return default_collate(samples)


class Batch(list[Any]):
    """Samples that were read together, on one piece of memory; for others, a list of samples."""

    def __init__(
        self, dataset: PatchDataset, indices: "np.ndarray[Any, np.dtype[np.int64]]"
    ) -> None:
        samples = dataset.samples
        slot = dataset._slots.take(samples.nbytes(len(indices)))
        arrays = samples.arrays(slot.bytes, len(indices))
        samples.read(indices, arrays)
        objects = samples.objects(indices)
        # Views in one call: a tensor made for each sample would cost as much as a small patch.
        rows = {name: torch.from_numpy(array).unbind() for name, array in arrays.items()}
        if samples.is_plain:
            super().__init__(zip(*rows.values(), strict=True) if len(rows) > 1 else rows["image"])
        else:
            super().__init__(
                samples.assemble(_of(k, rows), _of(k, objects)) for k in range(len(indices))
            )
        self.whole: Callable[[], Any] | None = None
        self._made: tuple[Any, ...] = ()
        if dataset.transform is not None:
            self[:] = map(dataset.transform, self)
            return

        def whole() -> Any:
            tensors = {name: slot.tensor(array) for name, array in arrays.items()}
            return samples.assemble(tensors, objects)

        self.whole = whole
        # Tuples cannot be changed, so that it is enough to look at the samples themselves.
        self._plain = samples.is_plain
        self._made = tuple(self._parts())

    @property
    def untouched(self) -> bool:
        """Whether these are still the samples that were read, and no others in their place."""
        parts = tuple(self._parts())
        return len(parts) == len(self._made) and all(map(is_, parts, self._made))

    def _parts(self) -> Iterator[Any]:
        return iter(self) if self._plain else _leaves(self)

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
