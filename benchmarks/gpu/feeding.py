"""What brings batches to a GPU: ours, the usual ways, and the limit; and their patches a second."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from benchmarks.gpu.store import CLASSES, SHAPE
from patchpress import PatchDataset, PatchLoader, Statistics, normalize, to_device

Batches = Callable[[], Iterable[Any]]
"""Gives the batches (image, label) of one epoch, on the device and normalised."""


@dataclass(frozen=True)
class BatchSource:
    """One way to bring normalised batches to the device."""

    name: str
    note: str
    batches: Batches


def batch_sources(
    store: Path, statistics: Statistics, device: torch.device, batch: int, workers: int
) -> list[BatchSource]:
    """The bare copy, ours and the usual ways: all give (image, label) on the device, normalised."""
    gpu = device.type == "cuda"

    def stock(collate: bool) -> Batches:
        data = PatchDataset(str(store), dtype=None)
        loader = DataLoader(
            data,
            batch,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=gpu,
            collate_fn=data.collate if collate else None,
        )

        def epoch() -> Iterator[Any]:
            for image, label in loader:
                moved = image.to(device, non_blocking=True)
                yield normalize(moved, statistics), label.to(device, non_blocking=True)

        return epoch

    def ours(**options: Any) -> Any:
        return PatchLoader(
            str(store), batch_size=batch, shuffle=True, drop_last=True, seed=0, **options
        )

    def waiting() -> Iterator[Any]:
        for image, label in pageable:
            yield normalize(image.to(device), statistics), label.to(device)

    pageable = ours(pin_memory=False)
    fed = to_device(ours(), device, statistics)
    four = to_device(ours(threads=4, ahead=3), device, statistics)
    return [
        BatchSource("bare pinned copy", "one batch again and again, cast", _copies(device, batch)),
        BatchSource("to_device(PatchLoader)", "2 threads", lambda: fed),
        BatchSource("to_device(PatchLoader), 4 threads", "ahead=3", lambda: four),
        BatchSource("PatchLoader, image.to(device)", "pageable memory, waits", waiting),
        BatchSource(
            "stock DataLoader, data.collate",
            f"{workers} workers, pin_memory={gpu}, normalised on the device",
            stock(collate=True),
        ),
        BatchSource(
            "stock DataLoader, default collate",
            f"{workers} workers, pin_memory={gpu}, normalised on the device",
            stock(collate=False),
        ),
    ]


def _copies(device: torch.device, batch: int) -> Batches:
    """The limit: one batch is copied again and again, nothing is read."""
    pixels = torch.zeros((batch, *SHAPE), dtype=torch.uint16)
    pixels = pixels.pin_memory() if device.type == "cuda" else pixels
    label = torch.zeros((batch, CLASSES), device=device)

    def epoch() -> Iterator[Any]:
        while True:
            yield pixels.to(device, non_blocking=True).to(torch.float32), label

    return epoch


def wait_for(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def endless(batches: Batches) -> Iterator[Any]:
    """One epoch after the other."""
    while True:
        yield from batches()


def rate_of(one: BatchSource, device: torch.device, batch: int, seconds: float) -> float:
    """Patches a second, after a few batches that are not counted."""
    passing = endless(one.batches)
    for _ in islice(passing, 6):
        pass
    wait_for(device)
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        next(passing)
        count += batch
        if device.type == "cuda" and not count % (8 * batch):
            torch.cuda.synchronize(device)  # else the bare copy queues more and more
    wait_for(device)
    return count / (time.perf_counter() - begun)


def resident(device: torch.device, batch: int) -> Batches:
    """A batch that is on the device already: a step with it waits for nothing."""
    image = torch.randn((batch, *SHAPE), device=device)
    label = (torch.rand((batch, CLASSES), device=device) < 0.1).float()

    def epoch() -> Iterator[Any]:
        while True:
            yield image, label

    return epoch
