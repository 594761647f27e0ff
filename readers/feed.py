"""`feed`: batches of a `PatchLoader` on the device that trains, cast and normalised there.

Needs torch: ``pip install 'patchpress[torch]'``.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from readers.errors import OptionError
from readers.loader import PatchLoader
from readers.normalize import normalize
from readers.samples import IMAGE
from readers.statistics import Statistics


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
        statistics: of the images' bands (`readers.statistics`), each modality's by its name where
            they are not joined; without it images are cast only.
        how: see `readers.normalize.normalize`.

    Raises:
        OptionError: a loader of NumPy arrays, or statistics for other modalities.
    """
    if loader.arrays != "torch":
        raise OptionError("feed moves torch tensors: make the loader with arrays='torch'")
    target = torch.device(device)
    names = [field.name for field in loader.samples.fields if field.name.startswith(IMAGE)]
    finish = _Finish(loader, _by_field(names, statistics), how)
    moved = _copied(loader, target) if target.type == "cuda" else _cast(loader, target)
    for arrays, keys in moved:
        yield finish(arrays, keys)


def _by_field(
    names: list[str], statistics: Statistics | Mapping[str, Statistics] | None
) -> dict[str, Statistics | None]:
    if statistics is None:
        return dict.fromkeys(names)
    if isinstance(statistics, Statistics):
        if len(names) > 1:
            wanted = ", ".join(name.removeprefix(f"{IMAGE}_") for name in names)
            raise OptionError(f"images are not joined: give statistics by modality ({wanted})")
        return {names[0]: statistics}
    found: dict[str, Statistics | None] = {}
    for name in names:
        modality = name.removeprefix(f"{IMAGE}_")
        if modality not in statistics:
            raise OptionError(f"there are no statistics of {modality!r} among those given")
        found[name] = statistics[modality]
    return found


class _Finish:
    """What is done on the device."""

    def __init__(
        self, loader: PatchLoader, statistics: Mapping[str, Statistics | None], how: str
    ) -> None:
        self._samples, self._statistics, self._how = loader.samples, statistics, how

    def __call__(self, arrays: dict[str, Any], keys: list[str] | None) -> Any:
        for name, statistics in self._statistics.items():
            if statistics is None:
                arrays[name] = arrays[name].float()
            else:
                arrays[name] = normalize(arrays[name], statistics, how=self._how)
        return self._samples.assemble(arrays, keys)


Moved = Iterator[tuple[dict[str, Any], list[str] | None]]


def _cast(loader: PatchLoader, device: torch.device) -> Moved:
    for arrays, keys in loader.fields():
        # A CPU's "copy" would be none, and the ring's memory is filled again.
        yield {name: t.to(device, copy=True) for name, t in arrays.items()}, keys


def _copied(loader: PatchLoader, device: torch.device) -> Moved:
    stream = torch.cuda.Stream(device)
    under_way: deque[Any] = deque()
    waiting: tuple[dict[str, Any], list[str] | None, Any] | None = None
    batches = loader.fields()
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


def _arrived(
    arrays: dict[str, Any], keys: list[str] | None, event: Any, device: torch.device
) -> tuple[dict[str, Any], list[str] | None]:
    """Let the stream that computes wait for the copy, and say that it uses the memory."""
    current = torch.cuda.current_stream(device)
    current.wait_event(event)
    for tensor in arrays.values():
        tensor.record_stream(current)
    return arrays, keys
