"""Learn from patches that are flipped and turned at random in each epoch.

python examples/augmentation.py STORE [--modality s2] [--epochs 3] [--batch-size 64] [--stage DIR]
"""

import argparse
import sys

try:
    import torch
    from torch import nn
except ModuleNotFoundError:
    sys.exit("augmentation.py needs torch: pip install torch")

from patchpress import PatchLoader, PatchpressError, Samples, open_store, to_device


def augment(batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Each image of a batch as it is or in one of seven other positions; labels stay.

    Called with what `to_device` has normalised, on the device. A mask has to be turned, too.
    """
    image, label = batch
    left, down, turn = torch.rand(3, len(image), 1, 1, 1, device=image.device) < 0.5
    image = torch.where(left, image.flip(-1), image)
    image = torch.where(down, image.flip(-2), image)
    image = torch.where(turn, image.transpose(-1, -2), image)
    return image, label


def network(bands: int, classes: int) -> nn.Module:
    """Two convolutions, and a mean over what they see."""
    return nn.Sequential(
        nn.Conv2d(bands, 32, 5, stride=4, padding=2), nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes),
    )  # fmt: skip


def loss_for(samples: Samples) -> nn.Module:
    """The loss for labels of one class a patch, or of several; rare classes count more."""
    if samples.labels.ndim == 1:  # (samples,): the index of the class
        return nn.CrossEntropyLoss(torch.from_numpy(samples.class_weight()))
    # (samples, classes): 0 and 1
    return nn.BCEWithLogitsLoss(pos_weight=torch.from_numpy(samples.pos_weight()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--modality", help="the store's first by default")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--stage", help="folder on a local disk that the store is copied to")
    args = parser.parse_args()
    if args.epochs < 1:
        parser.error("--epochs must be 1 or more")
    torch.manual_seed(0)  # of the network, and of the order of the samples
    device = "cuda" if torch.cuda.is_available() else "cpu"

    store = open_store(args.store, stage=args.stage)
    split = "train" if "train" in store.manifest.splits else None
    samples = Samples(store, split, modalities=args.modality)
    loss_of = loss_for(samples).to(device)
    loader = PatchLoader(samples, batch_size=args.batch_size, shuffle=True, transform=augment)
    (modality,) = samples.image_bands["image"]
    batches = to_device(loader, device, store.statistics(modality, split))
    model = network(samples.fields[0].shape[0], len(samples.classes)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []  # the mean of each epoch
    for epoch in range(args.epochs):
        total = torch.zeros((), device=device)
        for image, label in batches:
            loss = loss_of(model(image), label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(image)
        losses.append(total.item() / len(samples))
        print(f"epoch {epoch + 1}: mean loss {losses[-1]:.3f}", flush=True)
    print(
        f"{len(samples):,} patches, flipped and turned: mean loss {losses[0]:.3f} in the "
        f"first epoch, {losses[-1]:.3f} in the last of {args.epochs}"
    )


if __name__ == "__main__":
    try:
        main()
    except PatchpressError as error:
        sys.exit(f"augmentation.py: {error}")
