"""`PatchLoader`: ready batches for one process, filled by threads into a ring of reused buffers."""

import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from patchpress.readers.choice import Choice
from patchpress.readers.errors import OptionError
from patchpress.readers.order import Order
from patchpress.readers.samples import Samples, samples_of
from patchpress.readers.store import Store

ARRAYS = ("torch", "numpy")
Ring = deque["_Buffer"]
AHEAD = 2  # batches filled while one is used; more only help where their times vary much


class PatchLoader:
    """An iterable of batches, each in the form of a sample with a first dimension more.

    One pass is one epoch: an order drawn from seed and epoch, all samples once. Each pass is the
    next epoch, also after one that was left early, unless `set_epoch` says another. A batch is
    (image, label) or what `target`, `form` and `with_key` of `Choice` say; images (N, bands,
    height, width) in the stored dtype and units, or in `dtype`.

    **A batch is valid until the next `keep` batches are drawn**; then its memory is filled again.
    Copy what is to stay (``image.clone()``, ``image.copy()``, or onto a GPU).

    Threads fill the buffers and let Python run meanwhile, so no worker processes are needed. They
    end with the pass, and with one that is left early. ::

        loader = PatchLoader("ben.store", 256, "train", shuffle=True, seed=1)
        for epoch in range(10):
            loader.set_epoch(epoch)
            for image, label in loader:
                ...
    """

    def __init__(
        self,
        store: Store | Samples | str,
        batch_size: int = 64,
        split: str | None = None,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        keep: int = 1,
        ahead: int = AHEAD,
        threads: int = 2,
        arrays: str = "torch",
        pin: bool | None = None,
        **choice: Unpack[Choice],
    ) -> None:
        """Find the samples; nothing is read before the first batch is drawn.

        Args:
            store: path of a store, an opened one, or samples chosen before.
            batch_size: samples a batch; of each process where there are several.
            split: `train`, `validation` (or `val`), `test`; all by default.
            shuffle: draw a new order for each epoch.
            seed: of the orders; equal in all processes.
            drop_last: leave out a last, smaller batch.
            rank: number of this process among those that train together.
            world_size: how many these are. Each has equally many samples: where they do not come
                out even, the first ones are seen twice (or the last not at all, with `drop_last`).
            keep: for how many further draws a batch stays valid.
            ahead: batches that are filled while one is used.
            threads: that fill; more help a disk, fewer leave processors to the training.
            arrays: `torch` tensors, or `numpy` arrays.
            pin: page-locked buffers, from which copies to a GPU run by themselves; by default
                where torch sees a GPU.
            **choice: see `patchpress.readers.choice.Choice`.

        Raises:
            SelectionEmpty: nothing is selected; the message lists what there is.
            BandMissing, OptionError: a band, modality, column or option that is not there.
        """
        self.samples = samples_of(store, split, choice)
        if arrays not in ARRAYS:
            raise OptionError(f"there are no arrays {arrays!r}; choose {' or '.join(ARRAYS)}")
        for name, number, least in (
            ("keep", keep, 1),
            ("ahead", ahead, 1),
            ("threads", threads, 1),
        ):
            if not isinstance(number, int) or number < least:
                raise OptionError(f"{name} must be {least} or more, not {number!r}")
        self.keep = keep
        """For how many further draws a batch stays valid."""
        self.order = Order(
            len(self.samples), batch_size, shuffle, seed, drop_last, rank, world_size
        )
        self._ahead, self._threads = ahead, threads
        self.arrays = arrays
        self._memory = _Memory(arrays, pin)
        self._idle: list[Ring] = []
        self._epoch = self._drawn = 0
        self._resume = 0

    def __len__(self) -> int:
        """Batches of an epoch, in this process."""
        return self.order.batches

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by index: the label's, or the mask's where there is no label."""
        return self.samples.classes

    @property
    def epoch(self) -> int:
        """The epoch that is under way or was left early, or else comes next."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass; else epochs count up.

        It begins at the first batch, unless `load_state_dict` just gave a place in this epoch.

        Raises:
            OptionError: a negative epoch.
        """
        if not isinstance(epoch, (int, np.integer)) or epoch < 0:
            raise OptionError(f"an epoch must be 0 or more, not {epoch!r}")
        if not self._resume or epoch != self._epoch:
            self._epoch, self._drawn, self._resume = int(epoch), 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is: enough to go on with the batch after the last one drawn.

        The same in all processes of a distributed training; of two passes at a time, where the one
        is that drew last.
        """
        epoch, batch = self._epoch, self._drawn
        if batch == len(self):  # the last one: what goes on is the next epoch
            epoch, batch = epoch + 1, 0
        return {"epoch": epoch, "batch": batch, **self._identity()}

    def _identity(self) -> dict[str, Any]:
        return {**self.order.state(), "selection": self.samples.digest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next pass go on where another loader of the same samples was.

        Raises:
            OptionError: a state of other samples, batches or seed; the message names what differs.
        """
        for name, own in self._identity().items():
            if state.get(name) != own:
                raise OptionError(
                    f"the state has {name} {state.get(name)!r}, this loader {own!r}: it would go "
                    "on with other samples"
                )
        epoch, batch = state.get("epoch"), state.get("batch")
        if not isinstance(epoch, int) or not isinstance(batch, int) or not 0 <= batch < len(self):
            raise OptionError(
                f"the state has epoch {epoch!r} and batch {batch!r}, where an epoch has "
                f"{len(self)} batches"
            )
        self._epoch, self._drawn, self._resume = epoch, batch, batch

    def __iter__(self) -> Iterator[Any]:
        """Batches of one epoch. Two passes at a time have a ring and an epoch each."""
        for arrays, keys in self.fields():
            yield self.samples.assemble(arrays, keys)

    def fields(self) -> Iterator[tuple[dict[str, Any], list[str] | None]]:
        """The same batches as (arrays by field name, keys), for those who work on them first."""
        first, self._resume = self._resume, 0
        if self._drawn != first:  # a pass was left early: its order is not drawn again
            self._epoch += 1
        epoch, self._drawn = self._epoch, first
        batches = self.order.epoch(epoch)[first:]
        try:
            ring = self._idle.pop()
        except IndexError:
            ring = self._new_ring()
        executor = ThreadPoolExecutor(self._threads, thread_name_prefix="patchpress")
        drawn = 0
        try:
            for batch in self._draw(batches, ring, executor):
                drawn += 1
                self._epoch, self._drawn = epoch, first + drawn
                yield batch
            self._epoch, self._drawn = epoch + 1, 0
        finally:
            executor.shutdown(wait=True, cancel_futures=True)
            # The next pass goes on in the ring: what was drawn last stays valid as long as else.
            ring.rotate(-drawn)
            self._idle[:] = [ring]

    def _draw(
        self, batches: list[npt.NDArray[np.int64]], ring: Ring, executor: ThreadPoolExecutor
    ) -> Iterator[Any]:
        under_way: deque[Future[Any]] = deque()
        process = os.getpid()
        coming = 0
        for number in range(len(batches)):
            if os.getpid() != process:
                raise OptionError("a pass cannot go on in a forked process: begin a new one there")
            # The batch drawn `keep` before is given up now, so its buffer may be filled.
            while coming < min(number + self._ahead + 1, len(batches)):
                buffer = ring[coming % len(ring)]
                following = batches[coming + 1] if coming + 1 < len(batches) else None
                under_way.append(executor.submit(self._fill, buffer, batches[coming], following))
                coming += 1
            yield under_way.popleft().result()

    def _fill(
        self,
        buffer: "_Buffer",
        indices: npt.NDArray[np.int64],
        following: npt.NDArray[np.int64] | None,
    ) -> Any:
        if following is not None:
            # The disk fetches the next batch while this one is copied.
            self.samples.announce(following)
        arrays = self.samples.arrays(buffer.bytes, len(indices))
        self.samples.read(indices, arrays)
        keys = self.samples.keys(indices) if self.samples.with_key else None
        return buffer.given(arrays), keys

    def _new_ring(self) -> Ring:
        nbytes = self.samples.nbytes(min(self.order.batch_size, self.order.share))
        return deque(self._memory.buffer(nbytes) for _ in range(self.keep + self._ahead))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_idle": []}


class _Memory:
    """Where buffers come from: NumPy, or torch, page-locked where that serves a GPU."""

    def __init__(self, arrays: str, pin: bool | None) -> None:
        self.arrays = arrays
        self.pin = bool(pin)
        if arrays == "numpy":
            if pin:
                raise OptionError("pinned buffers are torch's: give arrays='torch'")
            return
        try:
            import torch
        except ModuleNotFoundError:
            raise OptionError(
                "torch is not installed: pip install 'patchpress[torch]', or give arrays='numpy'"
            ) from None
        gpu = torch.cuda.is_available()
        if pin and not gpu:
            raise OptionError("buffers cannot be pinned where torch sees no GPU: leave pin out")
        self.pin = gpu if pin is None else pin

    def buffer(self, nbytes: int) -> "_Buffer":
        if not self.pin:
            # NumPy asks the kernel for huge pages, torch does not; that is a fifth of the copy.
            return _Buffer(np.empty(nbytes, np.uint8), self.arrays)
        import torch

        pinned = torch.empty(nbytes, dtype=torch.uint8, pin_memory=True)
        return _Buffer(pinned.numpy(), self.arrays)


class _Buffer:
    """One place of the ring."""

    def __init__(self, array: npt.NDArray[np.uint8], arrays: str) -> None:
        self.bytes, self._arrays = array, arrays

    def given(self, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
        """The arrays as they are handed out."""
        if self._arrays == "numpy":
            return dict(arrays)
        import torch

        return {name: torch.from_numpy(array) for name, array in arrays.items()}
