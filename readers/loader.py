"""`PatchLoader`: ready batches for one process, filled by threads in memory that is reused."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Unpack

import numpy as np

from patchpress.readers.buffers import ArrayMemory, BatchMemory, PinnedMemory, TensorMemory
from patchpress.readers.choice import Choice
from patchpress.readers.distributed import drawn_seed, processes_of
from patchpress.readers.errors import OptionError
from patchpress.readers.format.table import Split
from patchpress.readers.order import EpochSampler, Indices, Order, drawn_by
from patchpress.readers.samples import Samples, samples_of
from patchpress.readers.showing import columns_of, html_table
from patchpress.readers.store import Store

OUTPUTS = ("torch", "numpy")
AHEAD = 2  # batches filled while one is used; more only help if their times vary much
# A batch that the loop still holds while the next one is drawn, and one more to spare.
FREE_KEPT_BESIDE_AHEAD = 2
SHARED_BY_SIZE = ("batch_size", "drop_last", "world_size")  # how an epoch is cut, not what it has


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


class PatchLoader:
    """An iterable of batches, each in the form of a sample with a first dimension more.

    One pass is one epoch: an order drawn from seed and epoch, all samples once. Each pass is the
    next epoch, also after one that was left early, unless `set_epoch` says another. A batch is
    (image, label) or what `target`, `form` and `with_key` of `Choice` say; images (N, bands,
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
        **choice: Unpack[Choice],
    ) -> None:
        """Find the samples; nothing is read before the first batch is drawn.

        Args:
            store: path of a store, an opened one, or samples chosen before.
            split: `train`, `validation` (or `val`), `test`, or several; all by default.
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
            **choice: see `patchpress.readers.choice.Choice`.

        Raises:
            SelectionEmpty: nothing is selected; the message lists what there is.
            BandMissing, OptionError: a band, modality, column or option that is not there.
        """
        self.samples = samples_of(store, split, choice, type(self))
        for name, number in (("ahead", ahead), ("threads", threads)):
            if not isinstance(number, int) or number < 1:
                raise OptionError(f"{name} must be 1 or more, not {number!r}")
        if shuffle and sampler is not None:
            raise OptionError("a sampler decides the order: leave shuffle out")
        self.output = output
        self.transform = transform
        self._ahead, self._threads = ahead, threads
        processes = processes_of(rank, world_size)
        if hasattr(sampler, "num_replicas"):  # torch's DistributedSampler gives this one's share
            processes = replace(processes, rank=0, world_size=1)
        self._processes = processes
        self._sampler = sampler
        self._seed_source = "" if seed is not None else "unused"
        if seed is None and (shuffle or sampler is not None):
            seed, self._seed_source = drawn_seed(processes)
        self.order = Order(
            samples=len(self.samples) if sampler is None else _length(sampler),
            batch_size=batch_size,
            shuffle=shuffle,
            seed=0 if seed is None else seed,
            drop_last=drop_last,
            rank=processes.rank,
            world_size=processes.world_size,
        )
        size = self.order.batch_size
        if sampler is None:
            size = min(size, self.order.share)
        self._memory = _memory(self.samples, output, pin_memory, size, ahead)
        self._epoch = self._drawn = 0
        self._resume = 0
        self._drawn_digest = self._wanted_digest = ""

    def __len__(self) -> int:
        """Batches of an epoch, in this process."""
        return self.order.batches

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by index: the label's, or the mask's if there is no label."""
        return self.samples.classes

    @property
    def sampler(self) -> EpochSampler:
        """The order of epochs, in the form in which Lightning and others look for it."""
        return EpochSampler(self)

    @property
    def epoch(self) -> int:
        """The epoch that is under way or was left early, or else comes next."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass; else epochs count up.

        It begins at the first batch, unless `load_state_dict` has just given a batch of this
        epoch.

        Raises:
            OptionError: a negative epoch.
        """
        if not isinstance(epoch, (int, np.integer)) or epoch < 0:
            raise OptionError(f"an epoch must be 0 or more, not {epoch!r}")
        if not self._resume or epoch != self._epoch:
            self._epoch, self._drawn, self._resume = int(epoch), 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is: enough to go on with the batch after the last one handed out.

        The same in all processes of a distributed training. If there are two passes at a time, it
        tells where the one is that handed out a batch last.
        """
        epoch, batch = self._epoch, self._drawn
        if batch == len(self):  # the last one: what goes on is the next epoch
            epoch, batch = epoch + 1, 0
        state = {"epoch": epoch, "batch": batch, **self._identity()}
        return {**state, "drawn": self._drawn_digest if batch else ""}

    def _identity(self) -> dict[str, Any]:
        sampler = "" if self._sampler is None else type(self._sampler).__name__
        return {**self.order.state(), "selection": self.samples.digest, "sampler": sampler}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next pass go on where another loader of the same samples was.

        A seed that was not given is taken from the state. At the beginning of an epoch the state
        may be from another batch size or number of processes.

        Raises:
            OptionError: a state of other samples, batches or seed; the message names what differs.
        """
        epoch, batch = state.get("epoch"), state.get("batch")
        own = self._identity()
        if self._seed_source and isinstance(state.get("seed"), int):
            own["seed"] = state["seed"]
        for name, value in own.items():
            if state.get(name) == value or (
                name in SHARED_BY_SIZE and name in state and batch == 0
            ):
                continue
            raise OptionError(
                f"the state has {name} {state.get(name)!r}, this loader {value!r}: it would go "
                "on with other samples"
            )
        if not isinstance(epoch, int) or not isinstance(batch, int) or not 0 <= batch < len(self):
            raise OptionError(
                f"the state has epoch {epoch!r} and batch {batch!r}, where an epoch has "
                f"{len(self)} batches"
            )
        self.order = replace(self.order, seed=own["seed"])
        self._epoch, self._drawn, self._resume = epoch, batch, batch
        self._wanted_digest = self._drawn_digest = str(state.get("drawn", ""))

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

    def counted(self, batches: Iterator[Drawn]) -> Iterator[Drawn]:
        """Batches of a pass as they are; `state_dict` counts each as it leaves here.

        Whoever draws ahead of what is handed out lets the batches go through here at the end.
        """
        epoch = self._epoch
        for batch in batches:
            epoch = batch.epoch
            self._epoch, self._drawn = epoch, batch.number
            yield batch
        self._epoch, self._drawn = epoch + 1, 0

    def draw(self) -> Iterator[Drawn]:
        """The batches of the next pass, not counted yet: for `counted`."""
        first, self._resume = self._resume, 0
        if self._drawn != first:  # a pass was left early: its order is not drawn again
            self._epoch += 1
        epoch, self._drawn = self._epoch, first
        batches = self._batches(epoch, resumed=first > 0)[first:]
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
                    under_way.append(executor.submit(self._fill, batches[coming], following))
                    coming += 1
                arrays, objects = under_way.popleft().result()
                yield Drawn(arrays, objects, epoch, first + number + 1)
        finally:
            executor.shutdown(wait=True, cancel_futures=True)

    def indices(self, epoch: int) -> Indices:
        """The samples that this process sees in an epoch, by number and in order."""
        return np.concatenate(self._batches(epoch, resumed=False))

    def _batches(self, epoch: int, *, resumed: bool) -> list[Indices]:
        """The indices of an epoch's batches, from the order or the sampler."""
        if self._sampler is None:
            return self.order.epoch(epoch)
        indices = self.samples.numbers(drawn_by(self._sampler, self.order.seed, epoch))
        digest = hashlib.blake2b(indices.tobytes(), digest_size=8).hexdigest()
        if resumed and digest != self._wanted_digest:
            raise OptionError(
                "the sampler draws other samples than when the state was saved: give it no "
                "generator of its own, or begin the epoch anew with set_epoch"
            )
        self._drawn_digest = digest
        return replace(self.order, samples=len(indices)).cut(indices)

    def _fill(
        self, indices: Indices, following: Indices | None
    ) -> tuple[dict[str, Any], dict[str, list[Any]]]:
        if following is not None:
            # The disk fetches the next batch while this one is copied.
            self.samples.announce(following)
        arrays, handed_out = self._memory.take(len(indices))
        self.samples.read(indices, arrays)
        return handed_out, self.samples.objects(indices)

    def __repr__(self) -> str:
        lines = [f"  {line}" for line in self._told]
        fields = columns_of(self._fields)
        return "\n".join([f"<PatchLoader of {self.samples.summary()}", *lines, *fields]) + ">"

    def _repr_html_(self) -> str:
        title = "; ".join([f"PatchLoader of {self.samples.summary()}", *self._told])
        return html_table(title, ("field", "shape of a batch", "dtype"), self._fields)

    @property
    def _told(self) -> list[str]:
        """What people want to know, a line each."""
        order = self.order
        how = "in the order of the table"
        if self._sampler is not None:
            how = f"drawn by {type(self._sampler).__name__}"
        elif order.shuffle:
            how = "shuffled"
        if self._sampler is not None or order.shuffle:
            source = f" ({self._seed_source})" if self._seed_source else ""
            how += f", seed {order.seed}{source}"
        last = ", a last smaller one left out" if order.drop_last else ""
        lines = [f"{len(self):,} batches an epoch of {order.batch_size:,} samples{last}, {how}"]
        if order.world_size > 1:
            source = f", by {self._processes.source}" if self._processes.source else ""
            lines.append(f"in process {order.rank} of {order.world_size}{source}")
        pinned = " in page-locked memory" if isinstance(self._memory, PinnedMemory) else ""
        lines.append(f"{self.output}{pinned}")
        return lines

    @property
    def _fields(self) -> list[tuple[str, str, str]]:
        size = min(self.order.batch_size, self.order.share)
        return [(f.name, str((size, *f.shape)), f.dtype.name) for f in self.samples.fields]


def _memory(
    samples: Samples, output: str, pin_memory: bool | None, size: int, ahead: int
) -> BatchMemory:
    """Memory for batches of `size` samples: NumPy's, or torch's, page-locked if that serves.

    Raises:
        OptionError: no such output, no torch, or page-locked memory without a GPU.
    """
    if output not in OUTPUTS:
        raise OptionError(f"there is no output {output!r}; choose {' or '.join(OUTPUTS)}")
    kept = ahead + FREE_KEPT_BESIDE_AHEAD
    if output == "numpy":
        if pin_memory:
            raise OptionError("pinned memory is torch's: give output='torch'")
        return ArrayMemory(samples.fields, size, kept)
    try:
        import torch
    except ModuleNotFoundError:
        raise OptionError(
            "torch is not installed: pip install 'patchpress[torch]', or give output='numpy'"
        ) from None
    gpu = torch.cuda.is_available()
    if pin_memory and not gpu:
        raise OptionError("memory cannot be pinned if torch sees no GPU: leave pin_memory out")
    if gpu if pin_memory is None else pin_memory:
        return PinnedMemory(samples.fields)
    return TensorMemory(samples.fields, size, kept)


def _length(sampler: Iterable[Any]) -> int:
    if not isinstance(sampler, Sized):
        raise OptionError(
            f"a sampler must say how many it gives: {type(sampler).__name__} has no length"
        )
    return len(sampler)
