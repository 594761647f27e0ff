"""`PatchDataModule`: a store as a Lightning data module.

Needs Lightning (the extra ``lightning``).
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Unpack

import torch
from lightning.pytorch import LightningDataModule

from patchpress.readers.choice import Choice, check_transform, completed
from patchpress.readers.errors import OptionError
from patchpress.readers.format.table import Split
from patchpress.readers.image_statistics import statistics_of
from patchpress.readers.images import IMAGE
from patchpress.readers.loader import PatchLoader
from patchpress.readers.normalize import normalize
from patchpress.readers.order import check_batch_size
from patchpress.readers.samples import Samples
from patchpress.readers.showing import columns_of, html_table, plain
from patchpress.readers.staging.options import StageFolder
from patchpress.readers.statistics import Statistics
from patchpress.readers.store import Store, opened
from patchpress.readers.torch_dataset import PatchDataset, Transform
from patchpress.readers.worker_loader import WorkerLoader
from patchpress.readers.zeroed import zero_missing

TRAIN, VALIDATION, TEST = "train", "validation", "test"
STAGES = {
    "fit": (TRAIN, VALIDATION),
    "validate": (VALIDATION,),
    "test": (TEST,),
    "predict": (TEST,),
}
Sampler = Iterable[Any] | Callable[[Samples], Iterable[Any]]
Loader = PatchLoader | WorkerLoader


class PatchDataModule(LightningDataModule):
    """Training, validation and test batches of one store.

    With ``num_workers=0`` and no transforms a `PatchLoader` fills batches in threads; otherwise
    worker processes (or this one) read a `PatchDataset`. Training samples are shuffled, and each
    process of a distributed training has its share. A training goes on from a checkpoint where it
    was, also in the middle of an epoch.

    Batches reach the model on its device, (image, label) or what `Choice` says, images as float32
    and normalised if `statistics` are given; they never change. A store without a split
    `validation` is trained on without validation. ::

        data = PatchDataModule("ben.store", batch_size=256, statistics=statistics)
        Trainer(max_epochs=10).fit(model, data)
    """

    def __init__(
        self,
        store: Store | str | os.PathLike[str],
        *,
        batch_size: int = 64,
        sampler: Sampler | None = None,
        seed: int | None = None,
        num_workers: int = 0,
        statistics: Statistics | Mapping[str, Statistics] | None = None,
        train_transform: Transform | None = None,
        eval_transform: Transform | None = None,
        train: Split = TRAIN,
        validation: Split = VALIDATION,
        test: Split = TEST,
        stage: StageFolder = None,
        **choice: Unpack[Choice],
    ) -> None:
        """Say what is wanted; the store is read when a stage is set up.

        Args:
            store: path of a store, or an opened one.
            batch_size: samples a batch, of each process.
            sampler: of the training instead of shuffling, as `PatchLoader` takes it; or a function
                that makes it of the training samples, since these are known only later.
            seed: of the training order, and of random numbers in workers; by default drawn from
                torch's default generator, which `seed_everything` seeds.
            num_workers: processes that read; with 0 this one does.
            statistics: of the images' bands, or each modality's by its name.
            train_transform: applied to each training sample, as float32 and before it is
                normalised, by the process that reads it.
            eval_transform: the same for validation, test and prediction.
            train: the split that is trained on, several, or samples that were chosen before: a
                fold.
            validation: the same for validation; None for none.
            test: the same for test and prediction.
            stage: as `open_store`, if the store is given as a path.
            **choice: see `patchpress.readers.choice.Choice`.

        Raises:
            StoreError: there is no finished store.
            OptionError: samples instead of a store, an unknown keyword, or an option that cannot
                be.
        """
        super().__init__()
        if isinstance(store, Samples):
            raise OptionError(
                "PatchDataModule takes a store and finds the samples of each stage: give yours as "
                "train=..., validation=... or test=..."
            )
        completed(choice, type(self))
        check_transform(train_transform, "train_transform")
        check_transform(eval_transform, "eval_transform")
        check_batch_size(batch_size)
        if not isinstance(num_workers, int) or num_workers < 0:
            raise OptionError(f"num_workers must be 0 or more, not {num_workers!r}")
        self.store = opened(store, stage)
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.statistics, self.choice = statistics, choice
        self.train_transform, self.eval_transform = train_transform, eval_transform
        self.samples: dict[str, Samples] = {}
        """The samples of `train`, `validation` and `test`, as far as they have been set up."""
        self._splits: dict[str, Split] = {TRAIN: train, VALIDATION: validation, TEST: test}
        self._sampler = sampler
        self._statistics: dict[str, Statistics | None] | None = None  # by image field
        self._training: Loader | None = None
        self._with_workers: list[WorkerLoader] = []
        self._state_to_load: Mapping[str, Any] | None = None

    def setup(self, stage: str) -> None:
        """Find the samples of a stage: `fit`, `validate` or `test`; `predict` is the test split.

        Raises:
            SelectionEmpty: a split without samples; the message lists what there is.
            OptionError: no such stage, or statistics of other modalities.
            BandMissing: a band that is not there, or not among the statistics.
        """
        if stage not in STAGES:
            raise OptionError(f"there is no stage {stage!r}; choose {', '.join(STAGES)}")
        for part in STAGES[stage]:
            if part != VALIDATION or stage != "fit" or self._validates:
                self._found(part)

    def train_dataloader(self) -> Loader:
        """Batches to train on; a last, smaller one is left out.

        They are shuffled, or drawn by the sampler. With ``Trainer(overfit_batches=...)`` they come
        in the order of the table, so that each epoch has the same ones.
        """
        samples = self._found(TRAIN)
        rank, world_size = self._processes()
        overfits = bool(getattr(self.trainer, "overfit_batches", 0))
        sampler = None if overfits else self._sampler
        if callable(sampler):
            sampler = sampler(samples)
        options: dict[str, Any] = {
            "batch_size": self.batch_size,
            "shuffle": sampler is None and not overfits,
            "sampler": sampler,
            "seed": self.seed,
            "drop_last": len(samples) >= self.batch_size * (world_size or 1),
            "rank": rank,
            "world_size": world_size,
        }
        self._training = self._loader(samples, self.train_transform, **options)
        state, self._state_to_load = self._state_to_load, None
        if state is not None:
            self._training.load_state_dict(state)
        return self._training

    def val_dataloader(self) -> Loader | list[Loader]:
        """Batches of the validation samples; no loader if there are none."""
        return self._evaluation(VALIDATION) if self._validates else []

    def test_dataloader(self) -> Loader:
        """Batches of the test samples."""
        return self._evaluation(TEST)

    def predict_dataloader(self) -> Loader:
        """Batches of the test samples; no process gets a sample that another one has."""
        return self._evaluation(TEST, predicts=True)

    def teardown(self, stage: str) -> None:
        """End the worker processes."""
        for loader in self._with_workers:
            loader.close()
        self._with_workers.clear()

    def state_dict(self) -> dict[str, Any]:
        """Where the training loader is; Lightning puts it into its checkpoints."""
        return {} if self._training is None else {TRAIN: self._training.state_dict()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Let the training loader that is made next go on from there.

        Lightning itself restores loaders, but not if one was made before, as
        ``trainer.estimated_stepping_batches`` in `configure_optimizers` does.
        """
        self._state_to_load = state_dict.get(TRAIN)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Cast and normalise the images, on the device; on a CPU it was done as they were read."""
        if self._reads_normalized:
            return batch
        present = self._present_in(batch)
        if isinstance(batch, (list, tuple)):
            return (self._finished_images(batch[0], present), *batch[1:])
        return self._finished_images(batch, present)

    def _present_in(self, batch: Any) -> Any:
        """`present` of a batch, if some sample may lack a modality; else None."""
        if not any(samples.lacking for samples in self.samples.values()):
            return None
        return next(iter(self.samples.values())).present_of(batch)

    def _finished_images(self, images: Any, present: Any) -> Any:
        """An image, or those of a dict: by modality, or a whole sample's by field."""
        if isinstance(images, dict):
            return {name: self._finished(value, name, present) for name, value in images.items()}
        return self._finished(images, IMAGE, present)

    def _finished(self, value: Any, name: str, present: Any) -> Any:
        fields = self._statistics or {}
        field = name if name in fields else f"{IMAGE}_{name}"  # as a tuple has them, by modality
        if field not in fields:
            return value
        statistics = fields[field]
        if statistics is None:
            return value.to(torch.float32)
        found = normalize(value, statistics)
        if present is None:
            return found
        lacking = {name for samples in self.samples.values() for name in samples.lacking}
        return zero_missing(next(iter(self.samples.values())), field, found, present, lacking)

    def __repr__(self) -> str:
        lines = [f"  {part:<10}  {told}" for part, told in self._parts]
        return "\n".join([f"<{self._title}", *lines, *columns_of(self._told)]) + ">"

    def _repr_html_(self) -> str:
        parts = "; ".join(f"{part}: {told}" for part, told in self._parts)
        head = ("field", "shape of a batch", "dtype")
        return html_table(f"{self._title}; {parts}", head, self._told)

    @property
    def _title(self) -> str:
        name = self.store.manifest.dataset.name
        return plain(f"PatchDataModule of {name}, batches of {self.batch_size:,}")

    @property
    def _parts(self) -> list[tuple[str, str]]:
        """Each split, and what is known of its samples."""
        found = []
        for part, split in self._splits.items():
            told = "none" if part == VALIDATION and split is None else "not set up"
            if part in self.samples:
                told = self.samples[part].summary()
            found.append((part, told))
        return found

    @property
    def _told(self) -> list[tuple[str, str, str]]:
        """What the model is given, if a stage has been set up."""
        samples = next(iter(self.samples.values()), None)
        if samples is None:
            return []
        return [
            (
                field.name,
                str((self.batch_size, *field.shape)),
                "float32" if field.name in samples.image_bands else field.dtype.name,
            )
            for field in samples.fields
        ]

    __str__ = __repr__

    @property
    def _validates(self) -> bool:
        split = self._splits[VALIDATION]
        return split is not None and (
            split != VALIDATION or VALIDATION in self.store.manifest.splits
        )

    def _found(self, part: str) -> Samples:
        if part not in self.samples:
            self.samples[part] = Samples(self.store, self._splits[part], **self.choice)
        if self._statistics is None:
            self._statistics = statistics_of(self.samples[part].image_bands, self.statistics)
        return self.samples[part]

    def _evaluation(self, part: str, *, predicts: bool = False) -> Loader:
        samples = self._found(part)
        rank, world_size = self._processes()
        options: dict[str, Any] = {"batch_size": self.batch_size}
        if predicts and rank is not None and world_size is not None:
            # Not as other shares, which have equally many samples, and some of them twice.
            own = range(rank, len(samples), world_size)
            options |= {"sampler": own, "seed": 0, "rank": 0, "world_size": 1}
        else:
            options |= {"rank": rank, "world_size": world_size}
        return self._loader(samples, self.eval_transform, **options)

    @property
    def _reads_normalized(self) -> bool:
        """Whether who reads the samples casts and normalises them, too: fastest on a CPU.

        A transform is given images that are not normalised yet.
        """
        if self.trainer is None or self.train_transform or self.eval_transform:
            return False
        return bool(self.trainer.strategy.root_device.type == "cpu")

    def _loader(self, samples: Samples, transform: Transform | None, **options: Any) -> Loader:
        if self._reads_normalized:
            samples = samples.normalized(self.statistics)
        if not self.num_workers and transform is None:
            return PatchLoader(samples, **options)
        # As stored, a batch crosses to the device in half the bytes; a transform calculates.
        chosen = samples if transform is None else samples.as_float()
        data = PatchDataset(chosen, transform=transform)
        loader = WorkerLoader(data, num_workers=self.num_workers, **options)
        self._with_workers.append(loader)
        return loader

    def _processes(self) -> tuple[int, int] | tuple[None, None]:
        """(rank, processes) of the training that this belongs to, if there is one."""
        if self.trainer is None:
            return None, None
        return self.trainer.global_rank, self.trainer.world_size
