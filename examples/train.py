"""Train a small network on a store, on the CPU or a GPU, and say how long it waited for data.

python examples/train.py STORE [--target brightness] [--epochs 5]

Needs torch. With --target labels (default) it learns the labels of the split `train`; with
--target brightness it learns which bands of a patch are brighter than usual: nothing that one
wants to know, but a network that is fed the right pixels learns it at once.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from patchpress import SelectionEmpty, StatisticsMissing, Store, open_store, stats
from patchpress.readers.device import to_device
from patchpress.readers.loader import PatchLoader
from patchpress.readers.statistics import Statistics


@dataclass
class TrainingRun:
    """What came of a training: the loss of each step, and where the seconds went."""

    losses: list[float] = field(default_factory=list)
    waiting: float = 0.0
    seconds: float = 0.0

    def text(self) -> str:
        """The run in two lines."""
        first, last = self.mean_loss(0), self.mean_loss(-1)
        steps = len(self.losses)
        return (
            f"loss {first:.3f} at first, {last:.3f} at last ({steps} steps)\n"
            f"a step {self.seconds / steps * 1e3:.1f} ms, of which "
            f"{self.waiting / self.seconds:.1%} waiting for the loader"
        )

    def mean_loss(self, end: int) -> float:
        """The mean over the first (0) or last (-1) tenth of the steps."""
        count = max(len(self.losses) // 10, 1)
        some = self.losses[:count] if end == 0 else self.losses[-count:]
        return sum(some) / count


def network(bands: int, classes: int) -> nn.Module:
    """Three convolutions, each at half the resolution, and a mean over what they see."""
    return nn.Sequential(
        nn.Conv2d(bands, 16, 5, stride=4, padding=2), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, classes),
    )  # fmt: skip


def brightness(image: torch.Tensor) -> torch.Tensor:
    """Which bands of normalised patches (N, C, H, W) are above their mean: (N, C) of 0 and 1."""
    return (image.mean((2, 3)) > 0).float()


def train(
    loader: PatchLoader, statistics: Statistics, target: str, epochs: int, device: str = "cpu"
) -> TrainingRun:
    """Train for some epochs on the loader's batches."""
    bands = loader.samples.fields[0].shape[0]
    model = network(bands, bands if target == "brightness" else len(loader.classes)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    loss_of = nn.BCEWithLogitsLoss()
    run = TrainingRun()
    begun = time.perf_counter()
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        for batch in waited(iter(to_device(loader, device, statistics)), run):
            image = batch if target == "brightness" else batch[0]
            wanted = brightness(image) if target == "brightness" else batch[1]
            loss = loss_of(model(image), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.losses.append(loss.item())
    run.seconds = time.perf_counter() - begun
    return run


def waited(batches: Iterator[torch.Tensor], run: TrainingRun) -> Iterator[torch.Tensor]:
    """The same batches, the seconds until each came noted."""
    while True:
        before = time.perf_counter()
        batch = next(batches, None)
        run.waiting += time.perf_counter() - before
        if batch is None:
            return
        yield batch


def statistics_of(store: Store, modality: str, split: str | None) -> Statistics:
    """Those that `patchpress stats` kept beside the store; computed and kept now if it did not."""
    try:
        return store.statistics(modality, split)
    except StatisticsMissing:
        return stats(store.path, split, modalities=modality)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--target", choices=("labels", "brightness"), default="labels")
    parser.add_argument("--modality", help="the store's first by default")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(0)
    store = open_store(args.store)
    modality = args.modality or next(iter(store.manifest.modalities))
    split = "train" if "train" in store.manifest.splits else None
    choice: dict[str, Any] = {} if args.target == "labels" else {"target": None}
    try:
        loader = PatchLoader(
            store,
            split,
            batch_size=args.batch_size,
            shuffle=True,
            modalities=modality,
            **choice,
        )
    except SelectionEmpty as error:
        raise SystemExit(f"train.py: {error}") from None
    if args.target == "labels" and not loader.classes:
        raise SystemExit("train.py: the store has no labels; give --target brightness")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{len(loader.samples):,} samples, {len(loader)} batches an epoch, on the {device}")
    print(
        train(
            loader, statistics_of(store, modality, split), args.target, args.epochs, device
        ).text()
    )


if __name__ == "__main__":
    main()
