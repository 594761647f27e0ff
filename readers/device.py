"""`to_device`: batches of a `PatchLoader` on the device that trains, cast and normalised there.

Needs torch (the extra ``torch``).
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from patchpress.readers.errors import OptionError
from patchpress.readers.image_statistics import statistics_of
from patchpress.readers.loader import Drawn, PatchLoader
from patchpress.readers.normalize import normalize
from patchpress.readers.presence import PRESENT
from patchpress.readers.statistics import Statistics
from patchpress.readers.zeroed import zero_missing


def to_device(
    loader: PatchLoader,
    device: torch.device | str,
    statistics: Statistics | Mapping[str, Statistics] | None = None,
    *,
    how: str = "standard",
) -> "DeviceBatches":
    """The batches of a loader on `device`, in the form of a sample; each pass is one epoch.

    Images cross to a GPU in the stored dtype, half the bytes of float32, on a stream of their own
    while the batch before is used; there they become float32, and normalised if `statistics` are
    given. On a CPU the loader's threads do so as they read. At the end the loader's `transform` is
    applied. Batches are the caller's own: they never change.

    Args:
        loader: of torch tensors.
        device: on which the batches are wanted.
        statistics: of the images' bands (`Statistics`), or each modality's by its name,
            which are picked and joined as the images are; without it images are cast only.
        how: see `patchpress.readers.normalize.normalize`.

    Raises:
        OptionError: anything but a loader of tensors, no such device here, no such `how`,
            statistics of other modalities, or samples that are normalised already.
        BandMissing: statistics without one of the images' bands.
    """
    if not isinstance(loader, PatchLoader):
        raise OptionError(
            f"to_device takes a PatchLoader, not {type(loader).__name__}: move the batches of "
            "others by their own way (image.to(device)) and give them to patchpress.normalize"
        )
    if loader.output != "torch":
        raise OptionError("to_device moves torch tensors: make the loader with output='torch'")
    return DeviceBatches(loader, _checked(device), statistics, how)


def _checked(device: torch.device | str) -> torch.device:
    try:
        target = torch.device(device)
    except (RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(f"{device!r} is no device of torch: {reason}") from None
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if target.type == "cuda" and (target.index or 0) >= count:
        there = f"it sees {count}" if count else "it sees none: give 'cpu'"
        raise OptionError(f"torch cannot use the GPU {str(target)!r} here; {there}")
    return target


class DeviceBatches:
    """What `to_device` gives: an iterable over one epoch after the other, and their state."""

    def __init__(
        self,
        loader: PatchLoader,
        device: torch.device,
        statistics: Statistics | Mapping[str, Statistics] | None,
        how: str,
    ) -> None:
        self.loader, self.device, self._how = loader, device, how
        self._statistics = statistics_of(loader.samples.image_bands, statistics)
        normalized = loader.samples.normalized(statistics, how=how)
        # On a CPU the threads that read also normalise, a patch at a time in the processor's cache.
        self._filler = loader.filler(normalized) if device.type == "cpu" else None

    def __len__(self) -> int:
        """Batches of an epoch, in this process."""
        return len(self.loader)

    def __repr__(self) -> str:
        normalized = ", normalised" if any(self._statistics.values()) else ""
        return f"<Batches on {self.device}, images float32{normalized}, of\n{self.loader!r}>"

    def __iter__(self) -> Iterator[Any]:
        drawn = self.loader.draw(self._filler)
        if self.device.type == "cuda":
            drawn = _copied(drawn, self.device)
        # One batch more than was handed out may be drawn, and only here it counts.
        for batch in self.loader.counted(drawn):
            fields = batch.arrays
            if self._filler is None:
                fields = {name: self._one(name, tensor) for name, tensor in fields.items()}
                self._zero_missing(fields)
            yield self.loader.finished(fields, batch.objects)

    def set_epoch(self, epoch: int) -> None:
        """See `PatchLoader.set_epoch`."""
        self.loader.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """See `PatchLoader.state_dict`: it goes on after the last batch that was handed out."""
        return self.loader.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `PatchLoader.load_state_dict`."""
        self.loader.load_state_dict(state)

    def _zero_missing(self, fields: Mapping[str, torch.Tensor]) -> None:
        samples = self.loader.samples
        lacking = samples.lacking
        for name, statistics in self._statistics.items() if lacking else ():
            if statistics is not None:
                zero_missing(samples, name, fields[name], fields[PRESENT], lacking)

    def _one(self, name: str, tensor: torch.Tensor) -> Any:
        tensor = tensor.to(self.device)
        if name not in self._statistics:
            return tensor
        statistics = self._statistics[name]
        if statistics is None:
            return tensor.to(torch.float32)
        return normalize(tensor, statistics, how=self._how)


def _copied(batches: Iterator[Drawn], device: torch.device) -> Iterator[Drawn]:
    """Batches on a GPU; the next one crosses while one is used."""
    stream = torch.cuda.Stream(device)
    under_way: deque[tuple[Any, Drawn]] = deque()
    waiting: tuple[Drawn, Any] | None = None
    try:
        for batch in batches:
            with torch.cuda.stream(stream):
                moved = {n: t.to(device, non_blocking=True) for n, t in batch.arrays.items()}
                event = stream.record_event()
            # What is copied from is held until the copy has ended.
            under_way.append((event, batch))
            while under_way[0][0].query() and len(under_way) > 1:
                under_way.popleft()
            if waiting is not None:
                yield _arrived(*waiting, device)
            waiting = replace(batch, arrays=moved), event
        if waiting is not None:
            yield _arrived(*waiting, device)
    finally:
        for event, _ in under_way:
            event.synchronize()


def _arrived(batch: Drawn, event: Any, device: torch.device) -> Drawn:
    """Let the stream that computes wait for the copy, and say that it uses the memory."""
    current = torch.cuda.current_stream(device)
    current.wait_event(event)
    for tensor in batch.arrays.values():
        tensor.record_stream(current)
    return batch
