"""`PatchDataModule`: a store as a Lightning data module.

Needs Lightning: ``pip install 'patchpress[lightning]'``.
"""

from collections.abc import Mapping
from typing import Any, Unpack

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from patchpress.readers.choice import Choice
from patchpress.readers.device import statistics_of
from patchpress.readers.errors import OptionError
from patchpress.readers.images import IMAGE
from patchpress.readers.loader import PatchLoader
from patchpress.readers.normalize import normalize
from patchpress.readers.samples import Samples
from patchpress.readers.statistics import Statistics
from patchpress.readers.store import Store, open_store
from patchpress.readers.torch_dataset import PatchDataset, Transform

STAGES = {
    "fit": ("train", "validation"),
    "validate": ("validation",),
    "test": ("test",),
    "predict": ("test",),
}


class PatchDataModule(LightningDataModule):
    """Training, validation and test batches of one store.

    With ``num_workers=0`` a `PatchLoader` fills batches in threads; otherwise a stock `DataLoader`
    over `PatchDataset` does in worker processes, which a `transform` of single samples needs to be
    fast. Training samples are shuffled; each process of a distributed training has its share.

    Batches reach the model on its device, (image, label) or what `Choice` says, images as float32
    and normalised where `statistics` are given; they are the model's own and stay valid. A store
    without a split `validation` is trained on without validation.
    """

    def __init__(
        self,
        store: Store | str,
        batch_size: int = 64,
        *,
        num_workers: int = 0,
        seed: int = 0,
        statistics: Statistics | Mapping[str, Statistics] | None = None,
        transform: Transform | None = None,
        **choice: Unpack[Choice],
    ) -> None:
        """Say what is wanted; the store is read when a stage is set up.

        Args:
            store: path of a store, or an opened one.
            batch_size: samples a batch, of each process.
            num_workers: worker processes; none with 0.
            seed: of the training order.
            statistics: of the images' bands, or each modality's by its name.
            transform: applied to each sample; needs ``num_workers`` of 1 or more.
            **choice: see `patchpress.readers.choice.Choice`.

        Raises:
            StoreError: there is no finished store.
            OptionError: a transform without workers.
        """
        super().__init__()
        self.store = store if isinstance(store, Store) else open_store(store)
        if transform is not None and num_workers == 0:
            raise OptionError("a transform of samples needs worker processes: give num_workers=1")
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.statistics, self.transform, self.choice = statistics, transform, choice
        self.samples: dict[str, Samples] = {}
        self._fields: dict[str, Statistics | None] | None = None

    def setup(self, stage: str) -> None:
        """Find the samples of a stage: `fit`, `validate` or `test`; `predict` is the test split.

        Raises:
            SelectionEmpty: a split without samples; the message lists what there is.
            OptionError: no such stage, or statistics of other modalities.
            BandMissing: a band that is not there, or not among the statistics.
        """
        if stage not in STAGES:
            raise OptionError(f"there is no stage {stage!r}; choose {', '.join(STAGES)}")
        for split in STAGES[stage]:
            if split != "validation" or stage != "fit" or self._validates:
                self._found(split)

    def train_dataloader(self) -> Any:
        """Shuffled batches of the split `train`; a last, smaller one is left out."""
        return self._loader("train", training=True)

    def val_dataloader(self) -> Any:
        """Batches of the split `validation`; no loader where the store has none."""
        return self._loader("validation") if self._validates else []

    def test_dataloader(self) -> Any:
        """Batches of the split `test`."""
        return self._loader("test")

    def predict_dataloader(self) -> Any:
        """Batches of the split `test`."""
        return self._loader("test")

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Cast and normalise the images, on the device."""
        if isinstance(batch, (list, tuple)):
            return (self._images(batch[0]), *(self._finished(value) for value in batch[1:]))
        return self._images(batch)

    def _images(self, images: Any) -> Any:
        if isinstance(images, dict):
            return {name: self._finished(image, name) for name, image in images.items()}
        return self._finished(images, IMAGE)

    def _finished(self, value: Any, name: str = "") -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        fields = self._fields or {}
        field = name if name in fields else f"{IMAGE}_{name}"  # as a tuple has them, by modality
        if field not in fields:
            return value
        statistics = fields[field]
        return value.to(torch.float32) if statistics is None else normalize(value, statistics)

    @property
    def _validates(self) -> bool:
        return "validation" in self.store.manifest.splits

    def _found(self, split: str) -> Samples:
        if split not in self.samples:
            self.samples[split] = Samples(self.store, split, **self.choice)
        if self._fields is None:
            self._fields = statistics_of(self.samples[split], self.statistics)
        return self.samples[split]

    def _loader(self, split: str, *, training: bool = False) -> Any:
        samples = self._found(split)
        whole = training and len(samples) >= self.batch_size * self._world()[1]
        if self.num_workers:
            data = PatchDataset(samples, transform=self.transform)
            return DataLoader(
                data,
                self.batch_size,
                shuffle=training,
                drop_last=whole,
                num_workers=self.num_workers,
                persistent_workers=True,
                generator=torch.Generator().manual_seed(self.seed) if training else None,
                collate_fn=data.collate,
            )
        rank, world = self._world()
        return PatchLoader(
            samples,
            batch_size=self.batch_size,
            shuffle=training,
            seed=self.seed,
            drop_last=whole,
            rank=rank,
            world_size=world,
            # Lightning copies without waiting from page-locked memory, and draws on.
            pin_memory=False,
        )

    def _world(self) -> tuple[int, int]:
        """(rank, processes) of the training that this belongs to."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size
