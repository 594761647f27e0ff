"""`feed`: batches of a `PatchLoader` on the device that trains, cast and normalised there.

Needs torch: ``pip install 'patchpress[torch]'``.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from patchpress.readers.errors import OptionError
from patchpress.readers.images import IMAGE
from patchpress.readers.loader import PatchLoader
from patchpress.readers.normalize import normalize
from patchpress.readers.samples import Samples
from patchpress.readers.statistics import Statistics, joined


def feed(
    loader: PatchLoader,
    device: torch.device | str,
    statistics: Statistics | Mapping[str, Statistics] | None = None,
    *,
    how: str = "standard",
) -> Iterator[Any]:
    """One epoch of a loader, each batch on `device`, in the form of a sample.

    Images cross to a GPU in the stored dtype, half the bytes of float32, on a stream of their own
    while the batch before is used; there they become float32, and normalised where `statistics` are
    given. A loader with ``keep=2`` lets a batch cross while the next one is drawn. On a CPU the
    same is done without streams. Batches are the caller's own: they stay valid.

    Args:
        loader: of torch tensors.
        device: where the batches are wanted.
        statistics: of the images' bands (`statistics`), or each modality's by its name,
            which are picked and joined as the images are; without it images are cast only.
        how: see `patchpress.readers.normalize.normalize`.

    Raises:
        OptionError: a loader of NumPy arrays, or statistics for other modalities.
        BandMissing: statistics without one of the images' bands.
    """
    if loader.arrays != "torch":
        raise OptionError("feed moves torch tensors: make the loader with arrays='torch'")
    target = torch.device(device)
    finish = _Finish(loader.samples, target, statistics_of(loader.samples, statistics), how)
    moved = _copied(loader, target) if target.type == "cuda" else loader.fields()
    for arrays, keys in moved:
        yield finish(arrays, keys)


def statistics_of(
    samples: Samples, statistics: Statistics | Mapping[str, Statistics] | None
) -> dict[str, Statistics | None]:
    """The statistics of each image field, its bands in the order of the channels.

    Raises:
        OptionError: statistics for other modalities.
        BandMissing: statistics without one of the bands.
    """
    names = [field.name for field in samples.fields if field.name.startswith(IMAGE)]
    if statistics is None:
        return dict.fromkeys(names)
    if isinstance(statistics, Statistics):
        if len(names) > 1:
            wanted = ", ".join(name.removeprefix(f"{IMAGE}_") for name in names)
            raise OptionError(f"images are not joined: give statistics by modality ({wanted})")
        bands = [band for some in samples.bands(names[0]).values() for band in some]
        alike = list(statistics.band_names) == bands
        return {names[0]: statistics if alike else statistics.pick(bands)}
    return {name: _by_modality(samples.bands(name), statistics) for name in names}


def _by_modality(
    bands: Mapping[str, tuple[str, ...]], statistics: Mapping[str, Statistics]
) -> Statistics:
    for modality in bands:
        if modality not in statistics:
            there = ", ".join(map(str, statistics)) or "none"
            raise OptionError(f"there are no statistics of {modality!r} among those given: {there}")
    return joined(*(statistics[modality].pick(some) for modality, some in bands.items()))


class _Finish:
    """What is done on the device; what comes out is the caller's own memory."""

    def __init__(
        self,
        samples: Samples,
        device: torch.device,
        statistics: Mapping[str, Statistics | None],
        how: str,
    ) -> None:
        self._samples, self._device = samples, device
        self._statistics, self._how = statistics, how

    def __call__(self, arrays: dict[str, Any], keys: list[str] | None) -> Any:
        done = {name: self._one(name, tensor) for name, tensor in arrays.items()}
        return self._samples.assemble(done, keys)

    def _one(self, name: str, tensor: torch.Tensor) -> Any:
        tensor = tensor.to(self._device)
        # On a CPU it lies in the loader's ring, which is filled again.
        ring = tensor.device.type == "cpu"
        if name not in self._statistics:
            return tensor.clone() if ring else tensor
        statistics = self._statistics[name]
        if statistics is None:
            return tensor.to(torch.float32, copy=ring)
        return normalize(tensor, statistics, how=self._how)


Moved = Iterator[tuple[dict[str, Any], list[str] | None]]


def _copied(loader: PatchLoader, device: torch.device) -> Moved:
    stream = torch.cuda.Stream(device)
    under_way: deque[Any] = deque()
    waiting: tuple[dict[str, Any], list[str] | None, Any] | None = None
    batches = loader.fields()
    try:
        while True:
            # Drawing gives up the buffer of the batch `keep` before: it must have crossed by then.
            while len(under_way) >= loader.keep:
                under_way.popleft().synchronize()
            batch = next(batches, None)
            coming = None
            if batch is not None:
                with torch.cuda.stream(stream):
                    moved = {n: t.to(device, non_blocking=True) for n, t in batch[0].items()}
                    event = stream.record_event()
                under_way.append(event)
                coming = moved, batch[1], event
            if waiting is not None:
                yield _arrived(*waiting, device)
            if coming is None:
                return
            waiting = coming
    finally:
        # The next pass fills the same ring, also when this one is left early.
        for event in under_way:
            event.synchronize()


def _arrived(
    arrays: dict[str, Any], keys: list[str] | None, event: Any, device: torch.device
) -> tuple[dict[str, Any], list[str] | None]:
    """Let the stream that computes wait for the copy, and say that it uses the memory."""
    current = torch.cuda.current_stream(device)
    current.wait_event(event)
    for tensor in arrays.values():
        tensor.record_stream(current)
    return arrays, keys
