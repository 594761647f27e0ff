"""Train and validate with Lightning.

python examples/with_lightning.py STORE [--epochs 3] [--batch-size 64] [--num-workers 0]
    [--stage DIR]
"""

import argparse
import sys
from typing import Any

try:
    import lightning
    import torch
    from torch import nn
except ModuleNotFoundError:
    sys.exit("with_lightning.py needs Lightning: pip install lightning")

from patchpress import PatchDataModule, PatchpressError, Samples, open_store


class Classifier(lightning.LightningModule):
    """Two convolutions, and a mean over what they see."""

    def __init__(self, samples: Samples) -> None:
        super().__init__()
        bands, classes = samples.fields[0].shape[0], len(samples.classes)
        self.network = nn.Sequential(
            nn.Conv2d(bands, 32, 5, stride=4, padding=2), nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes),
        )  # fmt: skip
        self.loss_of: nn.Module
        if samples.labels.ndim == 1:  # (samples,): the index of the one class of a patch
            self.loss_of = nn.CrossEntropyLoss(torch.from_numpy(samples.class_weight()))
        else:  # (samples, classes): 0 and 1
            weight = torch.from_numpy(samples.pos_weight())
            self.loss_of = nn.BCEWithLogitsLoss(pos_weight=weight)
        self.losses: list[float] = []

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        image, label = batch
        loss = self.loss_of(self.network(image), label)
        self.log("loss", loss, on_step=False, on_epoch=True)
        return loss

    def on_train_epoch_end(self) -> None:
        self.losses.append(float(self.trainer.callback_metrics["loss"]))

    def validation_step(self, batch: Any, number: int) -> None:
        image, label = batch
        self.log("val_loss", self.loss_of(self.network(image), label))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 3e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--stage", help="folder on a local disk that the store is copied to")
    parser.add_argument("--num-workers", type=int, default=0, help="0: threads, which are faster")
    args = parser.parse_args()
    if args.epochs < 1:
        parser.error("--epochs must be 1 or more")

    store = open_store(args.store, stage=args.stage)
    split = "train" if "train" in store.manifest.splits else None
    modality = next(iter(store.manifest.modalities))
    data = PatchDataModule(
        store,
        train=split,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        statistics=store.statistics(modality, split),
    )
    data.setup("fit")
    samples = data.samples["train"]
    lightning.seed_everything(0)  # of the network, and of the order of the samples
    model = Classifier(samples)
    trainer = lightning.Trainer(
        max_epochs=args.epochs, logger=False, enable_checkpointing=False, enable_model_summary=False
    )
    trainer.fit(model, data)
    found = trainer.callback_metrics.get("val_loss")
    validated = "no split to validate on" if found is None else f"validation {float(found):.3f}"
    print(
        f"{len(samples):,} patches: mean loss {model.losses[0]:.3f} in the first epoch, "
        f"{model.losses[-1]:.3f} in the last of {args.epochs}; {validated}"
    )


if __name__ == "__main__":
    try:
        main()
    except PatchpressError as error:
        sys.exit(f"with_lightning.py: {error}")
