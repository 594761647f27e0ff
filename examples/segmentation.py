"""Learn the class of each pixel from the reference map (BigEarthNet v2, SEN12MS).

python examples/segmentation.py STORE [--modality s2] [--map map] [--epochs 3] [--batch-size 32]
    [--stage DIR]
"""

import argparse
import sys

try:
    import torch
    from torch import nn
except ModuleNotFoundError:
    sys.exit("segmentation.py needs torch: pip install torch")

from patchpress import PatchLoader, PatchpressError, Samples, open_store, to_device


class Network(nn.Module):
    """Convolutions at a half and a quarter of the resolution, and their sum for each pixel."""

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        self.to_half = nn.Sequential(nn.Conv2d(bands, 32, 3, 2, 1), nn.ReLU())
        self.to_quarter = nn.Sequential(nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU())
        self.of_half, self.of_quarter = nn.Conv2d(32, classes, 1), nn.Conv2d(32, classes, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        half = self.to_half(image)
        quarter = self.of_quarter(self.to_quarter(half))
        found = self.of_half(half) + nn.functional.interpolate(quarter, half.shape[-2:])
        return nn.functional.interpolate(found, image.shape[-2:], mode="bilinear")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--modality", help="the store's first by default")
    parser.add_argument("--map", help="the store's first by default")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--stage", help="folder on a local disk that the store is copied to")
    args = parser.parse_args()
    if args.epochs < 1:
        parser.error("--epochs must be 1 or more")
    torch.manual_seed(0)  # of the network, and of the order of the samples
    device = "cuda" if torch.cuda.is_available() else "cpu"

    store = open_store(args.store, stage=args.stage)
    split = "train" if "train" in store.manifest.splits else None
    maps = [m.name for m in store.manifest.modalities.values() if m.kind == "classes"]
    target = args.map or (maps or ["map"])[0]
    samples = Samples(store, split, modalities=args.modality, target=target)
    loss_of = nn.CrossEntropyLoss(ignore_index=-100)  # as masks have pixels without a class
    loader = PatchLoader(samples, batch_size=args.batch_size, shuffle=True)
    (modality,) = samples.image_bands["image"]
    batches = to_device(loader, device, store.statistics(modality, split))
    model = Network(samples.fields[0].shape[0], len(samples.classes)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []  # the mean of each epoch
    for epoch in range(args.epochs):
        total = torch.zeros((), device=device)
        for image, mask in batches:
            loss = loss_of(model(image), mask)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(image)
        losses.append(total.item() / len(samples))
        print(f"epoch {epoch + 1}: mean loss {losses[-1]:.3f}", flush=True)
    print(
        f"{len(samples):,} patches, {len(samples.classes)} classes of pixels: mean loss "
        f"{losses[0]:.3f} in the first epoch, {losses[-1]:.3f} in the last of {args.epochs}"
    )


if __name__ == "__main__":
    try:
        main()
    except PatchpressError as error:
        sys.exit(f"segmentation.py: {error}")
