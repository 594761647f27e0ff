"""`PatchDataModule`: a store as a Lightning data module.

Needs Lightning: ``pip install 'patchpress[lightning]'``.
"""

from collections.abc import Mapping
from typing import Any, Unpack

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from readers.choice import Choice
from readers.errors import OptionError
from readers.loader import PatchLoader
from readers.normalize import normalize
from readers.samples import IMAGE, Samples
from readers.statistics import Statistics
from readers.store import Store, open_store
from readers.torch_dataset import PatchDataset, Transform

STAGES = {"fit": ("train", "validation"), "validate": ("validation",), "test": ("test",)}
KEPT = 3  # Lightning draws ahead while it still holds a batch


class PatchDataModule(LightningDataModule):
    """Training, validation and test batches of one store.

    With ``num_workers=0`` a `PatchLoader` fills batches in threads; otherwise a stock `DataLoader`
    over `PatchDataset` does in worker processes, which a `transform` of single samples needs to be
    fast. Training samples are shuffled; each process of a distributed training has its share.

    Batches reach the model on its device, (image, label) or what `Choice` says, images as float32
    and normalised where `statistics` are given.
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
            statistics: of the images' bands, by modality where they are not joined.
            transform: applied to each sample; needs ``num_workers`` of 1 or more.
            **choice: see `readers.choice.Choice`.

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

    def setup(self, stage: str) -> None:
        """Find the samples of a stage: `fit`, `validate` or `test`; `predict` is the test split.

        Raises:
            SelectionEmpty: a split without samples; the message lists what there is.
        """
        for split in STAGES.get(stage, ("test",)):
            if split not in self.samples:
                self.samples[split] = Samples(self.store, split, **self.choice)

    def train_dataloader(self) -> Any:
        """Shuffled batches of the split `train`; a last, smaller one is left out."""
        return self._loader("train", training=True)

    def val_dataloader(self) -> Any:
        """Batches of the split `validation`."""
        return self._loader("validation")

    def test_dataloader(self) -> Any:
        """Batches of the split `test`."""
        return self._loader("test")

    def predict_dataloader(self) -> Any:
        """Batches of the split `test`."""
        return self._loader("test")

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Cast and normalise the images, on the device."""
        if isinstance(batch, dict):
            return {
                name: self._finished(value, name.removeprefix(IMAGE).removeprefix("_"))
                if name.startswith(IMAGE)
                else value
                for name, value in batch.items()
            }
        if isinstance(batch, (list, tuple)):
            return (self._images(batch[0]), *batch[1:])
        return self._images(batch)

    def _images(self, images: Any) -> Any:
        if isinstance(images, dict):
            return {name: self._finished(image, name) for name, image in images.items()}
        return self._finished(images)

    def _finished(self, image: torch.Tensor, modality: str = "") -> torch.Tensor:
        statistics = self.statistics
        if isinstance(statistics, Mapping):
            statistics = statistics[modality] if modality else next(iter(statistics.values()))
        if statistics is None:
            # A copy even of float32: a loader's buffer is filled again.
            return image.to(torch.float32, copy=image.device.type == "cpu")
        found: torch.Tensor = normalize(image, statistics)
        return found

    def _loader(self, split: str, *, training: bool = False) -> Any:
        samples = self.samples[split]
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
                collate_fn=data.collate,
            )
        rank, world = self._world()
        return PatchLoader(
            samples,
            self.batch_size,
            shuffle=training,
            seed=self.seed,
            drop_last=whole,
            rank=rank,
            world_size=world,
            keep=KEPT,
            # Lightning copies without waiting from page-locked memory, and draws on.
            pin=False,
        )

    def _world(self) -> tuple[int, int]:
        """(rank, processes) of the training that this belongs to."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size
