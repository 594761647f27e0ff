"""`EpochLoader`: a loader that knows which samples an epoch has, and how far it has come.

What `PatchLoader` and the loader over worker processes have in common: order, shares of processes,
seeds, samplers, and a state from which a later run goes on.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np

from patchpress.readers.distributed import drawn_seed, processes_of
from patchpress.readers.errors import OptionError
from patchpress.readers.order import EpochSampler, Indices, Order, drawn_by
from patchpress.readers.samples import Samples

CUT_OF_AN_EPOCH = ("batch_size", "drop_last", "world_size")
"""What only decides how the samples of an epoch become batches."""


class Numbered(Protocol):
    """A batch that knows its place in an epoch."""

    @property
    def epoch(self) -> int:
        """The epoch that it belongs to."""
        ...

    @property
    def number(self) -> int:
        """How many batches of the epoch have been drawn with this one."""
        ...


N = TypeVar("N", bound=Numbered)


class EpochLoader:
    """What all loaders do: they give epochs of samples, and know their position in them."""

    batch_sampler = None
    """None: who looks for a `sampler` as stock loaders have it looks for this one first."""

    def __init__(
        self,
        samples: Samples,
        *,
        batch_size: int,
        shuffle: bool,
        sampler: Iterable[Any] | None,
        seed: int | None,
        drop_last: bool,
        rank: int | None,
        world_size: int | None,
    ) -> None:
        """Work out the order; the arguments are those of `PatchLoader`."""
        if shuffle and sampler is not None:
            raise OptionError("a sampler decides the order: leave shuffle out")
        self.samples = samples
        processes = processes_of(rank, world_size)
        if hasattr(sampler, "num_replicas"):  # torch's DistributedSampler gives this one's share
            processes = replace(processes, rank=0, world_size=1)
        self._processes = processes
        self._sampler = sampler
        self._seed_source = "" if seed is not None else "unused"
        if seed is None and (shuffle or sampler is not None):
            seed, self._seed_source = drawn_seed(processes)
        self.order = Order(
            samples=len(samples) if sampler is None else _length(sampler),
            batch_size=batch_size,
            shuffle=shuffle,
            seed=0 if seed is None else seed,
            drop_last=drop_last,
            rank=processes.rank,
            world_size=processes.world_size,
        )
        self._epoch = self._handed_out = 0
        self._resume = 0  # batches of the next pass that were handed out before its state was saved
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
            self._epoch, self._handed_out, self._resume = int(epoch), 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is: enough to go on with the batch after the last one handed out.

        The same in all processes of a distributed training. If there are two passes at a time, it
        tells where the one is that handed out a batch last.
        """
        epoch, batch = self._epoch, self._handed_out
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
            cut = name in CUT_OF_AN_EPOCH and name in state and batch == 0
            if state.get(name) != value and not cut:
                raise OptionError(
                    f"the state has {name} {state.get(name)!r}, this loader {value!r}: it would "
                    "go on with other samples"
                )
        if not isinstance(epoch, int) or not isinstance(batch, int) or not 0 <= batch < len(self):
            raise OptionError(
                f"the state has epoch {epoch!r} and batch {batch!r}, where an epoch has "
                f"{len(self)} batches"
            )
        self.order = replace(self.order, seed=own["seed"])
        self._epoch, self._handed_out, self._resume = epoch, batch, batch
        self._wanted_digest = self._drawn_digest = str(state.get("drawn", ""))

    def begin(self) -> tuple[int, int, list[Indices]]:
        """Begin the next pass.

        Returns:
            its epoch, how many of its batches were handed out before (in an earlier run), and the
            indices of each of the batches that remain.

        Raises:
            OptionError: the sampler does not draw what it drew when the state was saved.
        """
        first, self._resume = self._resume, 0
        if self._handed_out != first:  # a pass was left early: its order is not drawn again
            self._epoch += 1
        self._handed_out = first
        return self._epoch, first, self._batches(self._epoch, resumed=first > 0)[first:]

    def counted(self, batches: Iterator[N]) -> Iterator[N]:
        """Batches of a pass as they are; `state_dict` counts each as it leaves here.

        Whoever draws ahead of what is handed out lets the batches go through here at the end.
        """
        epoch = self._epoch
        for batch in batches:
            epoch = batch.epoch
            self._epoch, self._handed_out = epoch, batch.number
            yield batch
        self._epoch, self._handed_out = epoch + 1, 0

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

    def told(self) -> list[str]:
        """What people want to know of the order, a line each."""
        order, how = self.order, "in the order of the table"
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
        return lines


def _length(sampler: Iterable[Any]) -> int:
    if not isinstance(sampler, Sized):
        raise OptionError(
            f"a sampler must say how many it gives: {type(sampler).__name__} has no length"
        )
    return len(sampler)
