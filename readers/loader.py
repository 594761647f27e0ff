"""`PatchLoader`: ready batches for one process, filled by threads in memory that is reused."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Unpack

from patchpress.readers.buffers import ArrayMemory, BatchMemory, PinnedMemory, TensorMemory
from patchpress.readers.choice import Choice, check_transform
from patchpress.readers.epochs import EpochLoader
from patchpress.readers.errors import OptionError
from patchpress.readers.format.table import Split
from patchpress.readers.order import Indices
from patchpress.readers.samples import Samples, samples_of
from patchpress.readers.showing import columns_of, html_table
from patchpress.readers.staging.options import StageFolder
from patchpress.readers.store import Store

OUTPUTS = ("torch", "numpy")
AHEAD = 2  # batches filled while one is used; more only help if their times vary much
# A batch that the loop still holds while the next one is drawn, and one more to spare.
FREE_KEPT_BESIDE_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Drawn:
    """A batch that was drawn, before it has the form of a sample."""

    arrays: dict[str, Any]
    """Arrays or tensors (N, ...) by field name."""
    objects: dict[str, list[Any]]
    """Keys and columns of text, by name."""
    epoch: int
    number: int
    """How many batches of the epoch have been drawn with this one."""


@dataclass(frozen=True, slots=True)
class Filler:
    """Fills memory with samples, a batch at a time; safe in threads."""

    samples: Samples
    memory: BatchMemory

    def fill(
        self, indices: Indices, following: Indices | None
    ) -> tuple[dict[str, Any], dict[str, list[Any]]]:
        """The arrays or tensors of a batch, and its objects; `following` is what comes next."""
        if following is not None:
            # The disk fetches the next batch while this one is copied.
            self.samples.announce(following)
        arrays, handed_out = self.memory.take(len(indices))
        self.samples.read(indices, arrays)
        return handed_out, self.samples.objects(indices)


class PatchLoader(EpochLoader):
    """An iterable of batches, each in the form of a sample with a first dimension more.

    One pass is one epoch: an order drawn from seed and epoch, all samples once. Each pass is the
    next epoch, also after one that was left early, unless `set_epoch` says another. A batch is
    (image, label) or what `target` and `sample_format` of `Choice` say; images (N, bands,
    height, width) in the stored dtype and units, or in `dtype`.

    A batch never changes while anyone holds it, or a part of it, or anything made on its memory;
    the memory of one that nobody holds is filled again.

    Threads fill the batches and let Python run meanwhile, so no worker processes are needed. They
    end with the pass, also if it is left early. ::

        loader = PatchLoader("ben.store", "train", batch_size=256, shuffle=True)
        for epoch in range(10):
            for image, label in to_device(loader, "cuda", statistics):
                ...

    If torch's process group is initialised, or ``torchrun`` started the process, each process gets
    its own share of the samples; the repr shows which.
    """

    def __init__(
        self,
        store: Store | Samples | str | os.PathLike[str],
        split: Split = None,
        *,
        batch_size: int = 64,
        shuffle: bool = False,
        sampler: Iterable[Any] | None = None,
        seed: int | None = None,
        drop_last: bool = False,
        transform: Callable[[Any], Any] | None = None,
        output: str = "torch",
        ahead: int = AHEAD,
        threads: int = 2,
        pin_memory: bool | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        stage: StageFolder = None,
        **choice: Unpack[Choice],
    ) -> None:
        """Find the samples; nothing is read before the first batch is drawn.

        Args:
            store: path of a store, an opened one, or samples chosen before.
            split: `train`, `validation` (or `val`), `test`, a list of several, or samples whose
                rows are taken; all rows by default.
            batch_size: samples a batch; of each process if there are several.
            shuffle: draw a new order for each epoch.
            sampler: indices of samples, drawn anew for each epoch, as a stock `DataLoader` takes
                them: torch's `WeightedRandomSampler`, or a list. It draws under the loader's seed
                and epoch, and the processes share what it gives, unless it is a
                `DistributedSampler`, which shares by itself.
            seed: of the orders; equal in all processes. By default drawn from torch's default
                generator, or from NumPy's if torch is not imported: see `drawn_seed`. The repr
                shows it.
            drop_last: leave out a last, smaller batch.
            transform: applied to each batch, in the form that it has, in the thread that draws
                it. Images are of the stored dtype: torch does not calculate with unsigned 16-bit
                numbers, so give ``dtype="float32"``, too. `to_device` applies it at the end, to
                what it has normalised.
            output: ``"torch"`` for tensors, or ``"numpy"`` for arrays, which needs no torch.
            ahead: batches that are filled while one is used.
            threads: that fill; more help a disk, fewer leave processors to the training.
            pin_memory: page-locked memory, from which copies to a GPU run by themselves; by
                default if torch sees a GPU.
            rank: number of this process among those that train together; see `processes_of` for
                what is taken without it.
            world_size: how many these are. Each has equally many samples: if they do not come
                out even, the first ones are seen twice (or the last not at all, with `drop_last`).
            stage: as `open_store`, if the store is given as a path.
            **choice: see `patchpress.readers.choice.Choice`.

        Raises:
            SelectionEmpty: nothing is selected; the message lists what there is.
            BandMissing, OptionError: a band, modality, column or option that is not there.
        """
        for name, number in (("ahead", ahead), ("threads", threads)):
            if not isinstance(number, int) or number < 1:
                raise OptionError(f"{name} must be 1 or more, not {number!r}")
        check_transform(transform)
        pins = _pins(output, pin_memory)
        super().__init__(
            samples_of(store, split, choice, type(self), stage),
            batch_size=batch_size,
            shuffle=shuffle,
            sampler=sampler,
            seed=seed,
            drop_last=drop_last,
            rank=rank,
            world_size=world_size,
        )
        self.output = output
        self.transform = transform
        self._ahead, self._threads = ahead, threads
        self._filler = self.filler(self.samples, pinned=pins)

    def filler(self, samples: Samples, *, pinned: bool = False) -> Filler:
        """What fills this loader's batches with these samples, or with the same in another dtype.

        Args:
            samples: those of the loader, or what `Samples.normalized` made of them.
            pinned: into page-locked memory.
        """
        if pinned:
            return Filler(samples, PinnedMemory(samples.fields))
        size = self.order.batch_size
        if self._sampler is None:
            size = min(size, self.order.share)
        kind = TensorMemory if self.output == "torch" else ArrayMemory
        return Filler(samples, kind(samples.fields, size, self._ahead + FREE_KEPT_BESIDE_AHEAD))

    def __getitem__(self, index: object) -> None:
        raise OptionError(
            "a PatchLoader gives whole batches one after another, and has none by number: iterate "
            "over it, or give a stock DataLoader a PatchDataset instead"
        )

    def __iter__(self) -> Iterator[Any]:
        """Batches of one epoch. Two passes at a time have an epoch each."""
        for drawn in self.counted(self.draw()):
            yield self.finished(drawn.arrays, drawn.objects)

    def finished(self, arrays: Mapping[str, Any], objects: Mapping[str, Any]) -> Any:
        """A batch as it is handed out: in the form of a sample, and transformed."""
        batch = self.samples.assemble(arrays, objects)
        return batch if self.transform is None else self.transform(batch)

    def draw(self, filler: Filler | None = None) -> Iterator[Drawn]:
        """The batches of the next pass, not counted yet: for `counted`; `filler` may be another."""
        fill = (filler or self._filler).fill
        epoch, first, batches = self.begin()
        executor = ThreadPoolExecutor(self._threads, thread_name_prefix="patchpress")
        process = os.getpid()
        under_way: deque[Future[Any]] = deque()
        coming = 0
        try:
            for number in range(len(batches)):
                if os.getpid() != process:
                    raise OptionError(
                        "a pass cannot go on in a forked process: begin a new one there"
                    )
                while coming < min(number + self._ahead + 1, len(batches)):
                    following = batches[coming + 1] if coming + 1 < len(batches) else None
                    under_way.append(executor.submit(fill, batches[coming], following))
                    coming += 1
                arrays, objects = under_way.popleft().result()
                yield Drawn(arrays, objects, epoch, first + number + 1)
        finally:
            executor.shutdown(wait=True, cancel_futures=True)

    def __repr__(self) -> str:
        lines = [f"  {line}" for line in self._told]
        fields = columns_of(self._fields)
        return "\n".join([f"<PatchLoader of {self.samples.summary()}", *lines, *fields]) + ">"

    def _repr_html_(self) -> str:
        title = "; ".join([f"PatchLoader of {self.samples.summary()}", *self._told])
        return html_table(title, ("field", "shape of a batch", "dtype"), self._fields)

    @property
    def _told(self) -> list[str]:
        pinned = " in page-locked memory" if isinstance(self._filler.memory, PinnedMemory) else ""
        return [*self.told(), f"{self.output}{pinned}"]

    @property
    def _fields(self) -> list[tuple[str, str, str]]:
        size = min(self.order.batch_size, self.order.share)
        return [(f.name, str((size, *f.shape)), f.dtype.name) for f in self.samples.fields]


def _pins(output: str, pin_memory: bool | None) -> bool:
    """Whether batches lie in page-locked memory; torch is imported if it is the output.

    Raises:
        OptionError: no such output, no torch, or page-locked memory without a GPU.
    """
    if output not in OUTPUTS:
        raise OptionError(f"there is no output {output!r}; choose {' or '.join(OUTPUTS)}")
    if output == "numpy":
        if pin_memory:
            raise OptionError("pinned memory is torch's: give output='torch'")
        return False
    try:
        import torch
    except ModuleNotFoundError:
        raise OptionError(
            "torch is not installed: pip install torch, or give output='numpy'"
        ) from None
    gpu = bool(torch.cuda.is_available())
    if pin_memory and not gpu:
        raise OptionError("memory cannot be pinned if torch sees no GPU: leave pin_memory out")
    return gpu if pin_memory is None else pin_memory
