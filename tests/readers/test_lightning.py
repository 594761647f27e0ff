"""`PatchDataModule` under a real Trainer, on a CPU."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from patchpress import open_store
from patchpress.readers.errors import BandMissing, OptionError, SelectionEmpty
from patchpress.readers.normalize import normalize
from patchpress.readers.statistics import PERCENTILES, BandStatistics, Statistics
from tests.support.helpers import made
from tests.support.loading import filling, same

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
lightning = pytest.importorskip(
    "lightning.pytorch", reason="Lightning is not installed: pip install lightning"
)

from lightning.pytorch.callbacks import ModelCheckpoint  # noqa: E402

from patchpress.readers.lightning import PatchDataModule  # noqa: E402

# What Lightning and torch say of workers, loggers and forks is not ours.
pytestmark = pytest.mark.filterwarnings("ignore")


class Notes(lightning.LightningModule):  # type: ignore[name-defined]
    """A model of one weight that notes, and keeps, what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.given: dict[str, list[Any]] = {"train": [], "validation": [], "test": []}

    def note(self, stage: str, batch: Any) -> Any:
        self.given[stage].append(batch)
        image = batch["image"] if isinstance(batch, dict) else batch[0]
        return (image.mean() * self.weight - 1) ** 2

    def training_step(self, batch: Any, number: int) -> Any:
        return self.note("train", batch)

    def validation_step(self, batch: Any, number: int) -> None:
        self.note("validation", batch)

    def test_step(self, batch: Any, number: int) -> None:
        self.note("test", batch)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.001)

    def keys(self, stage: str) -> list[list[str]]:
        return [list(batch[-1]) for batch in self.given[stage]]


def trainer(root: Path, epochs: int = 2, **options: Any) -> Any:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    options = {"enable_checkpointing": False, "num_sanity_val_steps": 0} | options
    return lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", default_root_dir=root, **quiet, **options
    )


def module(store: Path, size: int = 2, **options: Any) -> PatchDataModule:
    # Flagged rows, too: nine samples to train on, three to validate and three to test.
    wanted: dict[str, Any] = {"bands": ["B02", "B05"], "with_key": True, "flagged": "include"}
    wanted |= options
    return PatchDataModule(str(store), size, **wanted)


def made_up(store: Path, modality: str) -> Statistics:
    names = open_store(store).manifest.modality(modality).band_names
    ranks = tuple(float(p) for p in PERCENTILES)
    return Statistics(
        modality,
        "train",
        1,
        tuple(
            BandStatistics(n, 1, 0, 50.0 + k, 3.0 + k, 0.0, 1.0, ranks) for k, n in enumerate(names)
        ),
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_a_model_is_trained_validated_and_tested(
    stacked: Path, tmp_path: Path, workers: int
) -> None:
    store, statistics = open_store(stacked), made_up(stacked, "s2")
    data, model = module(stacked, num_workers=workers, statistics=statistics), Notes()
    runner = trainer(tmp_path)
    runner.fit(model, data)
    runner.validate(model, data, verbose=False)
    runner.test(model, data, verbose=False)
    assert float(model.weight) != 0
    assert [len(model.given[stage]) for stage in model.given] == [8, 6, 2]
    for stage, batches in model.given.items():
        for image, label, keys in batches:  # kept to the end, and still what they were
            stored = np.stack([store.read(key, ["B02", "B05"]) for key in keys])
            wanted = normalize(torch.from_numpy(stored), statistics.pick(["B02", "B05"]))
            assert torch.equal(image, wanted)
            index = [
                data.samples[stage].keys(range(9 if stage == "train" else 3)).index(k) for k in keys
            ]
            same(label, data.samples[stage].read(index)["label"])
    first, second = model.keys("train")[:4], model.keys("train")[4:]
    assert first != second  # each epoch has an order of its own
    assert len({key for keys in first for key in keys}) == 8
    assert model.keys("validation")[:2] == model.keys("validation")[2:4]
    assert filling() == []


@pytest.mark.parametrize("workers", [0, 1])
def test_the_seed_gives_the_order(stacked: Path, tmp_path: Path, workers: int) -> None:
    def keys(seed: int) -> list[list[str]]:
        data = module(stacked, num_workers=workers, seed=seed)
        return [list(batch[-1]) for batch in data.train_dataloader()]

    assert keys(1) == keys(1) != keys(2)


def test_few_batches_an_epoch_are_not_always_the_same(stacked: Path, tmp_path: Path) -> None:
    model = Notes()
    trainer(tmp_path, 3, limit_train_batches=2).fit(model, module(stacked, 1))
    keys = model.keys("train")
    assert len({tuple(map(tuple, keys[k : k + 2])) for k in (0, 2, 4)}) == 3


@pytest.mark.parametrize("stop", [3, 4, 6])
def test_training_goes_on_in_the_middle_of_an_epoch(
    stacked: Path, tmp_path: Path, stop: int
) -> None:
    whole = Notes()
    trainer(tmp_path, 3).fit(whole, module(stacked))
    first = Notes()
    saved = ModelCheckpoint(tmp_path, "stopped", every_n_train_steps=stop, save_top_k=-1)
    options = {"max_steps": stop, "enable_checkpointing": True, "callbacks": [saved]}
    trainer(tmp_path, 3, **options).fit(first, module(stacked))
    second = Notes()
    trainer(tmp_path, 3).fit(second, module(stacked), ckpt_path=tmp_path / "stopped.ckpt")
    assert first.keys("train") == whole.keys("train")[:stop]
    assert second.keys("train") == whole.keys("train")[stop:]


FORMS: list[dict[str, Any]] = [
    {"sample_format": "dict", "target": ["labels", "map"]},
    {"sample_format": "dict", "target": None},
    {"target": "map"},
    {"modalities": ["s2", "s1"], "bands": "10m"},
]


@pytest.mark.parametrize("choice", FORMS, ids=str)
def test_every_form_arrives_as_float32(stacked: Path, tmp_path: Path, choice: Any) -> None:
    data, model = module(stacked, 3, **choice), Notes()
    trainer(tmp_path, 1).fit(model, data)
    assert len(model.given["train"]) == 3
    samples = data.samples["train"]
    for batch in model.given["train"]:
        parts = batch if isinstance(batch, dict) else dict(zip(_names(choice), batch, strict=True))
        keys = samples.keys(range(9))
        read = samples.read([keys.index(key) for key in parts["key"]])
        same(parts["image"], read["image"].astype(np.float32))
        for name in ("label", "mask"):
            if name in read:
                same(parts[name], read[name])


def _names(choice: Any) -> list[str]:
    return ["image", "mask" if choice.get("target") == "map" else "label", "key"]


def test_images_apart_are_each_normalised_by_their_own(stacked: Path) -> None:
    statistics = {name: made_up(stacked, name) for name in ("s1", "s2")}
    for form in ("tuple", "dict"):
        data = module(
            stacked,
            3,
            bands=None,
            modalities=["s2", "s1"],
            joined=False,
            sample_format=form,
            statistics=statistics,
        )
        data.setup("test")
        (batch,) = data.test_dataloader()
        done = data.on_after_batch_transfer(batch, 0)
        for name in ("s2", "s1"):
            stored = batch[f"image_{name}"] if form == "dict" else batch[0][name]
            found = done[f"image_{name}"] if form == "dict" else done[0][name]
            assert torch.equal(found, normalize(stored, statistics[name]))
    alone = module(
        stacked, 3, bands=None, modalities=["s2", "s1"], joined=False, target=None, with_key=False
    )
    (batch,) = alone.test_dataloader()
    done = alone.on_after_batch_transfer(batch, 0)
    assert [image.dtype for image in done.values()] == [torch.float32] * 2
    one = module(stacked, 3, bands=None, modalities="s1", statistics=statistics)
    (batch,) = one.test_dataloader()
    found = one.on_after_batch_transfer(batch, 0)[0]
    assert torch.equal(found, normalize(batch[0], statistics["s1"]))


def doubled(sample: Any) -> Any:
    image, label, key = sample
    return image.float() * 2, label, key


def test_a_transform_is_applied_in_workers(stacked: Path) -> None:
    data = module(stacked, 3, num_workers=1, transform=doubled)
    data.setup("test")
    (batch,) = data.test_dataloader()
    image, _, keys = data.on_after_batch_transfer(batch, 0)
    stored = np.stack([data.store.read(key, ["B02", "B05"]) for key in keys])
    assert torch.equal(image, torch.from_numpy(stored).float() * 2)
    with pytest.raises(OptionError, match="give num_workers=1"):
        module(stacked, transform=doubled)


def test_a_store_without_validation_is_trained_on(tree: Path, tmp_path: Path) -> None:
    made(tree, tmp_path / "store", modalities=("s2",), limit=5)
    splits = open_store(tmp_path / "store").manifest.splits
    assert "validation" not in splits, splits
    data, model = module(tmp_path / "store", 1), Notes()
    trainer(tmp_path, 1).fit(model, data)
    assert len(model.given["train"]) == splits["train"]["s2"]
    with pytest.raises(SelectionEmpty, match="split 'validation'"):
        data.setup("validate")


def test_each_process_has_its_share(stacked: Path) -> None:
    keys: set[str] = set()
    for rank in (0, 1):
        data = module(stacked, 2)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2)
        loader = data.train_dataloader()
        assert len(loader) == 2
        keys.update(key for batch in loader for key in batch[-1])
    assert len(keys) == 8


def test_a_share_smaller_than_a_batch_is_one_smaller_batch(stacked: Path) -> None:
    for workers in (0, 1):
        (batch,) = module(stacked, 64, num_workers=workers).train_dataloader()
        assert len(batch[0]) == 9


def test_what_cannot_be_is_said_in_a_sentence(stacked: Path) -> None:
    with pytest.raises(OptionError) as error:
        module(stacked).setup("train")
    assert str(error.value) == "there is no stage 'train'; choose fit, validate, test, predict"
    with pytest.raises(BandMissing, match="no band 'B99'"):
        module(stacked, bands=["B99"]).setup("fit")
    with pytest.raises(BandMissing, match="no band 'B02'"):
        module(stacked, statistics=made_up(stacked, "s1")).setup("fit")
    with pytest.raises(OptionError, match="no class order 'random'"):
        module(stacked, class_order="random").setup("predict")
