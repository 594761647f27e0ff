"""TorchGeo's own tasks train on our samples, and its own plot draws them.

TorchGeo is large and no extra of this package: install it in an environment of its own and run
``python -m pytest tests/readers/test_torchgeo.py`` there.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import open_store
from patchpress.readers.samples import Samples
from tests.support.loading import rows_in

pytest.importorskip("torchgeo", reason="TorchGeo is not installed")
torch: Any = pytest.importorskip("torch", reason="torch is not installed")

import lightning  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from torchgeo.datasets import BigEarthNetV2  # noqa: E402
from torchgeo.trainers import ClassificationTask, SemanticSegmentationTask  # noqa: E402

from patchpress.readers.loader import PatchLoader  # noqa: E402
from patchpress.readers.normalize_module import Normalize  # noqa: E402
from patchpress.readers.torch_dataset import PatchDataset  # noqa: E402

# What the libraries around warn of is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")
BATCH = 5


def loaders(path: Path, **choice: Any) -> dict[str, Any]:
    """The ways to batches: `PatchLoader`, and a stock DataLoader with our collate function."""
    wanted: dict[str, Any] = {"sample_format": "torchgeo", **choice}
    data = PatchDataset(str(path), **wanted)
    return {
        "PatchLoader": PatchLoader(str(path), batch_size=BATCH, shuffle=True, seed=0, **wanted),
        "DataLoader": DataLoader(data, BATCH, shuffle=True, collate_fn=data.collate),
    }


def trained(task: Any, loader: Any, root: Path) -> list[float]:
    """Three epochs of TorchGeo's task under Lightning's trainer; gives the loss of each."""

    class Losses(lightning.pytorch.Callback):
        def __init__(self) -> None:
            self.found: list[float] = []

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            self.found.append(float(trainer.callback_metrics["train_loss"]))

    losses = Losses()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lightning.Trainer(
            max_epochs=3,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=root,
            callbacks=[losses],
        ).fit(task, loader, loader)
    return losses.found


@pytest.mark.parametrize("way", ["PatchLoader", "DataLoader"])
def test_its_multilabel_task_trains(stacked: Path, tmp_path: Path, way: str) -> None:
    task = ClassificationTask(
        model="resnet18", in_channels=12, task="multilabel", num_labels=19, loss="bce", lr=1e-3
    )
    losses = trained(task, loaders(stacked)[way], tmp_path)
    assert len(losses) == 3
    assert np.isfinite(losses).all()
    batch = next(iter(loaders(stacked)[way]))
    assert (batch["label"].dtype, batch["image"].dtype) == (torch.int64, torch.float32)


@pytest.mark.parametrize("way", ["PatchLoader", "DataLoader"])
def test_its_segmentation_task_trains(stacked: Path, tmp_path: Path, way: str) -> None:
    task = SemanticSegmentationTask(
        model="unet", backbone="resnet18", in_channels=3, num_classes=19, ignore_index=-100, lr=1e-3
    )
    size = {"target": "map", "bands": "rgb"}
    # Its U-Net wants sides that 32 divides: 96 of the 120 pixels.
    cut = [
        {"image": b["image"][..., :96, :96], "mask": b["mask"][..., :96, :96]}
        for b in loaders(stacked, **size)[way]
    ]
    losses = trained(task, DataLoader(cut, None), tmp_path)
    assert len(losses) == 3
    assert np.isfinite(losses).all()


def test_samples_are_as_its_own_data_set_gives_them(
    stacked: Path, tree: Path, tmp_path: Path
) -> None:
    """The same tree, read by TorchGeo's data set and from the store."""
    store = open_store(stacked)
    for split in ("train", "val", "test"):
        theirs = BigEarthNetV2(root=tree, split=split, bands="all")
        # Its table is metadata.parquet alone: what is recommended, as ours is by default.
        rows = rows_in(store, split)
        assert theirs.metadata_df["patch_id"].tolist() == [row["patch_id"] for row in rows]
        ours = Samples(
            store, split, modalities=["s1", "s2"], joined=False, target=["labels", "map"],
            sample_format="torchgeo",
        )  # fmt: skip
        assert list(ours.classes) == theirs.class_set
        for number in range(len(theirs)):
            one, other = ours[number], theirs[number]
            assert set(one) == set(other)
            for name, array in one.items():
                assert (tuple(other[name].shape), str(other[name].dtype)) == (
                    array.shape,
                    f"torch.{array.dtype.name}",
                )
            np.testing.assert_array_equal(one["label"], other["label"].numpy())
            known = one["mask"] != -100  # it leaves the codes of no class as they are
            np.testing.assert_array_equal(one["mask"][known], other["mask"].numpy()[known])
            # It rounds decibels to whole ones, has VH before VV (though its documentation says the
            # contrary), and resamples by another rule than nearest.
            assert np.abs(one["image_s1"][::-1] - other["image_s1"].numpy()).max() <= 0.5
            fine = [1, 2, 3, 7]
            np.testing.assert_array_equal(one["image_s2"][fine], other["image_s2"].numpy()[fine])


def test_its_plot_draws_a_sample(stacked: Path, tree: Path) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    theirs = BigEarthNetV2(root=tree, split="train", bands="s2")
    data = PatchDataset(str(stacked), target=["labels", "map"], sample_format="torchgeo")
    drawn = 0
    for sample in data:
        if (sample["mask"] >= 0).all():  # it has no colour for pixels without a class
            theirs.plot(sample)
            drawn += 1
    assert drawn


def test_a_normalising_module_goes_before_its_model(stacked: Path, tmp_path: Path) -> None:
    from patchpress.converter.commands.stats import compute

    (statistics,) = compute(stacked, "train", ["s2"], workers=0)
    loader = PatchLoader(
        str(stacked), batch_size=BATCH, sample_format="torchgeo", transform=Normalize(statistics)
    )
    task = ClassificationTask(
        model="resnet18", in_channels=12, task="multilabel", num_labels=19, loss="bce", lr=1e-3
    )
    losses = trained(task, loader, tmp_path)
    assert losses[-1] < losses[0]
