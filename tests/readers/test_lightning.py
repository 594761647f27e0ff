"""`PatchDataModule` under a real Trainer, on a CPU."""

import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from patchpress import open_store
from patchpress.readers.errors import BandMissing, OptionError, SelectionEmpty
from patchpress.readers.normalize import normalize
from patchpress.readers.samples import Samples
from patchpress.readers.statistics import PERCENTILES, BandStatistics, Statistics
from tests.support.helpers import made, python_with_children
from tests.support.loading import filling, refused, same

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
lightning = pytest.importorskip(
    "lightning.pytorch", reason="Lightning is not installed: pip install lightning"
)

from lightning.pytorch.callbacks import ModelCheckpoint  # noqa: E402
from torch.utils.data import WeightedRandomSampler  # noqa: E402

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
    return PatchDataModule(str(store), batch_size=size, **wanted)


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


class Cycling(Notes):
    """A model whose optimizer asks how many steps there are: that makes the loader early."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.001)
        steps = self.trainer.estimated_stepping_batches
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


@pytest.mark.parametrize("seed", [7, None])
@pytest.mark.parametrize("kind", [Notes, Cycling])
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("stop", [3, 4, 6])
def test_training_goes_on_in_the_middle_of_an_epoch(
    stacked: Path, tmp_path: Path, stop: int, workers: int, kind: Any, seed: int | None
) -> None:
    def data() -> PatchDataModule:
        return module(stacked, num_workers=workers, seed=seed)

    whole = kind()
    saved = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    lightning.seed_everything(5)
    trainer(tmp_path, 3, enable_checkpointing=True, callbacks=[saved]).fit(whole, data())
    rest = kind()
    lightning.seed_everything(99)  # the seed of the order stands in the checkpoint
    trainer(tmp_path, 3).fit(rest, data(), ckpt_path=tmp_path / f"step={stop}.ckpt")
    assert rest.keys("train") == whole.keys("train")[stop:]
    assert len(rest.keys("train")) == 12 - stop


@pytest.mark.parametrize("workers", [0, 1])
def test_training_goes_on_after_an_epoch(stacked: Path, tmp_path: Path, workers: int) -> None:
    whole = Notes()
    trainer(tmp_path, 4).fit(whole, module(stacked, num_workers=workers, seed=7))
    first = Notes()
    saved = ModelCheckpoint(tmp_path, "stopped", every_n_epochs=1)
    options = {"enable_checkpointing": True, "callbacks": [saved]}
    trainer(tmp_path, 2, **options).fit(first, module(stacked, num_workers=workers, seed=7))
    second = Notes()
    checkpoint = {"ckpt_path": tmp_path / "stopped.ckpt"}
    trainer(tmp_path, 4).fit(second, module(stacked, num_workers=workers, seed=7), **checkpoint)
    assert first.keys("train") + second.keys("train") == whole.keys("train")
    assert len(second.keys("train")) == 8


@pytest.mark.parametrize("workers", [0, 1])
def test_loaders_that_are_made_anew_give_the_next_epoch(
    stacked: Path, tmp_path: Path, workers: int
) -> None:
    whole, again = Notes(), Notes()
    trainer(tmp_path, 3).fit(whole, module(stacked, num_workers=workers, seed=7))
    runner = trainer(tmp_path, 3, reload_dataloaders_every_n_epochs=1)
    runner.fit(again, module(stacked, num_workers=workers, seed=7))
    assert again.keys("train") == whole.keys("train")


@pytest.mark.parametrize("workers", [0, 1])
def test_overfitting_sees_the_same_batches_in_each_epoch(
    stacked: Path, tmp_path: Path, workers: int
) -> None:
    model = Notes()
    data = module(stacked, num_workers=workers)
    trainer(tmp_path, 3, overfit_batches=2).fit(model, data)
    keys = model.keys("train")
    assert keys == keys[:2] * 3
    assert [key for batch in keys[:2] for key in batch] == data.samples["train"].keys(range(4))


@pytest.mark.parametrize("workers", [0, 1])
def test_predictions_are_made_of_every_test_sample(
    stacked: Path, tmp_path: Path, workers: int
) -> None:
    class Predicting(Notes):
        def predict_step(self, batch: Any, number: int) -> Any:
            return list(batch[-1])

    data = module(stacked, num_workers=workers)
    found = trainer(tmp_path).predict(Predicting(), data)
    assert [key for batch in found for key in batch] == data.samples["test"].keys()


@pytest.mark.parametrize("workers", [0, 1])
def test_seed_everything_gives_the_order(stacked: Path, tmp_path: Path, workers: int) -> None:
    def keys(seed: int) -> list[list[str]]:
        lightning.seed_everything(seed)
        model = Notes()
        trainer(tmp_path, 1).fit(model, module(stacked, num_workers=workers))
        return model.keys("train")

    assert keys(1) == keys(1) != keys(2)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sampler_is_given_or_made_of_the_training_samples(
    stacked: Path, tmp_path: Path, workers: int
) -> None:
    def weighted(samples: Any) -> Any:
        return WeightedRandomSampler([1.0] * 3 + [0.0] * (len(samples) - 3), 8, replacement=True)

    for sampler in (weighted, [3, 1, 2]):
        model, data = Notes(), module(stacked, num_workers=workers, sampler=sampler)
        trainer(tmp_path, 1).fit(model, data)
        keys = {key for batch in model.keys("train") for key in batch}
        assert keys <= set(data.samples["train"].keys(range(4)))


def test_samples_chosen_before_may_be_a_split(stacked: Path, tmp_path: Path) -> None:
    everything = Samples(str(stacked))
    train, validation = everything.subset([1, 2, 3, 4]), everything.subset([0, 9])
    model, data = Notes(), module(stacked, train=train, validation=validation)
    trainer(tmp_path, 1).fit(model, data)
    assert data.samples["train"].keys() == train.keys()
    assert [key for batch in model.keys("validation") for key in batch] == validation.keys()
    alone = module(stacked, train=train, validation=None)
    trainer(tmp_path, 1).fit(Notes(), alone)
    assert list(alone.samples) == ["train"]


def test_it_prints_what_it_holds(stacked: Path) -> None:
    data = module(stacked)
    assert str(data).splitlines() == [
        "<PatchDataModule of bigearthnet-v2, batches of 2",
        "  train       not set up",
        "  validation  not set up",
        "  test        not set up>",
    ]
    data.setup("fit")
    assert repr(data).splitlines()[1:] == [
        f"  train       {data.samples['train'].summary()}",
        f"  validation  {data.samples['validation'].summary()}",
        "  test        not set up",
        "  image  (2, 2, 120, 120)  float32",
        "  label  (2, 19)           float32>",
    ]
    assert "<td>image</td><td>(2, 2, 120, 120)</td><td>float32</td>" in data._repr_html_()
    assert "  validation  none\n" in repr(module(stacked, validation=None))


def test_options_that_cannot_be_are_told_at_once(stacked: Path) -> None:
    for options, said in (
        ({"size": 0}, "a batch must have 1 sample or more, not 0"),
        ({"size": 2.5}, "batch_size must be a whole number, not 2.5"),
        ({"num_workers": -1}, "num_workers must be 0 or more, not -1"),
    ):
        assert refused(OptionError, lambda options=options: module(stacked, **options)) == said


# Two real processes, as ``Trainer(strategy="ddp", devices=2)`` starts them.
DDP = """
import json, sys
import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from patchpress import PatchDataModule

class Notes(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.keys = {"train": [], "validation": [], "predict": []}
    def on_train_start(self):
        open(f"{folder}/begun", "w").close()
    def training_step(self, batch, number):
        self.keys["train"].append(list(batch[-1]))
        return (batch[0].mean() * self.weight - 1) ** 2
    def validation_step(self, batch, number):
        self.keys["validation"].append(list(batch[-1]))
    def predict_step(self, batch, number):
        self.keys["predict"].append(list(batch[-1]))
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.001)

store, folder, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
fit = {"ckpt_path": options.pop("ckpt_path", None)}
saved = ModelCheckpoint(folder, "stopped", every_n_train_steps=options.pop("save", 100))
data = PatchDataModule(store, batch_size=2, with_key=True, flagged="include",
                       num_workers=options.pop("num_workers"))
model = Notes()
trainer = lightning.Trainer(accelerator="cpu", devices=2, strategy="ddp", logger=False,
    callbacks=[saved], num_sanity_val_steps=0, enable_progress_bar=False,
    enable_model_summary=False, default_root_dir=folder, **options)
if not fit["ckpt_path"]:
    lightning.seed_everything(3)
trainer.fit(model, data, **fit)
trainer.predict(model, data)
with open(f"{folder}/{trainer.global_rank}.json", "w") as file:
    json.dump(model.keys, file)
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_two_processes_have_a_share_each_and_go_on(
    stacked: Path, tmp_path: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "train.py"
    script.write_text(DDP)

    def run(**options: Any) -> list[dict[str, list[list[str]]]]:
        words = json.dumps({"num_workers": workers, "max_epochs": 2, **options})
        begun = tmp_path / "begun"
        begun.unlink(missing_ok=True)
        ended = python_with_children(script, stacked, tmp_path, words, seconds=140)
        if ended.code == -signal.SIGABRT and not begun.exists():
            # Lightning's processes did not find one another: none of our code has run.
            with capsys.disabled():
                print(f"started again, since it stood still:\n{ended.err}")
            ended = python_with_children(script, stacked, tmp_path, words, seconds=140)
        assert ended.code == 0, ended.err
        return [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]

    samples = {
        name: set(Samples(str(stacked), name, flagged="include").keys())
        for name in ("train", "validation", "test")
    }
    whole = run()
    for epoch in (0, 1):
        shares = [one["train"][2 * epoch : 2 * epoch + 2] for one in whole]
        keys = [key for share in shares for batch in share for key in batch]
        assert len(keys) == len(set(keys)) == 8
        assert set(keys) <= samples["train"]
    assert whole[0]["train"][:2] != whole[0]["train"][2:]
    assert {k for one in whole for b in one["validation"] for k in b} == samples["validation"]
    predicted = [key for one in whole for batch in one["predict"] for key in batch]
    assert sorted(predicted) == sorted(samples["test"])
    run(max_steps=3, save=3)
    rest = run(ckpt_path=str(tmp_path / "stopped.ckpt"))
    assert [one["train"] for one in rest] == [one["train"][3:] for one in whole]


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
    return image.flip(-1) * 2, label, key


def brighter(sample: Any) -> Any:
    image, label, key = sample
    return image + 1000, label, key


@pytest.mark.parametrize("workers", [0, 1])
def test_transforms_of_training_and_evaluation_are_apart(
    stacked: Path, tmp_path: Path, workers: int
) -> None:
    data = module(stacked, 3, num_workers=workers, train_transform=doubled, eval_transform=brighter)
    model = Notes()
    runner = trainer(tmp_path, 1)
    runner.fit(model, data)
    runner.test(model, data, verbose=False)
    assert [len(model.given[stage]) for stage in model.given] == [3, 1, 1]
    for stage, batches in model.given.items():
        for image, _, keys in batches:
            stored = np.stack([data.store.read(key, ["B02", "B05"]) for key in keys])
            plain = torch.from_numpy(stored).float()
            wanted = plain.flip(-1) * 2 if stage == "train" else plain + 1000
            assert torch.equal(image, wanted)


def test_a_store_without_validation_is_trained_on(tree: Path, tmp_path: Path) -> None:
    made(tree, tmp_path / "store", modalities=("s2",), limit=6)
    splits = open_store(tmp_path / "store").manifest.splits
    assert "validation" not in splits, splits
    data, model = module(tmp_path / "store", 1), Notes()
    trainer(tmp_path, 1).fit(model, data)
    assert len(model.given["train"]) == splits["train"]["s2"]
    with pytest.raises(SelectionEmpty, match="split 'validation'"):
        data.setup("validate")


def test_on_a_cpu_images_are_normalised_as_they_are_read(stacked: Path, tmp_path: Path) -> None:
    statistics = made_up(stacked, "s2")
    cases: list[tuple[dict[str, Any], Any]] = [
        ({}, torch.float32),
        ({"eval_transform": brighter}, torch.uint16),
    ]
    for options, dtype in cases:
        data = module(stacked, statistics=statistics, **options)
        assert data.train_dataloader().samples.fields[0].dtype == np.uint16  # without a trainer
        trainer(tmp_path, 1).fit(Notes(), data)
        image = next(iter(data.train_dataloader()))[0]
        assert image.dtype == dtype
        done = data.on_after_batch_transfer((image,), 0)[0]
        assert done.dtype == torch.float32
        assert (done is image) == (dtype == torch.float32)


def test_each_process_has_its_share(stacked: Path) -> None:
    keys: set[str] = set()
    for rank in (0, 1):
        data = module(stacked, 2)
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2, strategy=strategy)
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
        PatchDataModule(Samples(str(stacked)))  # type: ignore[arg-type]
    assert str(error.value) == (
        "PatchDataModule takes a store and finds the samples of each stage: give yours as "
        "train=..., validation=... or test=..."
    )
    with pytest.raises(OptionError, match="'transform' for PatchDataModule; nearest is 'eval_tr"):
        module(stacked, transform=doubled)
    with pytest.raises(OptionError) as error:
        module(stacked).setup("train")
    assert str(error.value) == "there is no stage 'train'; choose fit, validate, test, predict"
    with pytest.raises(BandMissing, match="no band 'B99'"):
        module(stacked, bands=["B99"]).setup("fit")
    with pytest.raises(BandMissing, match="no band 'B02'"):
        module(stacked, statistics=made_up(stacked, "s1")).setup("fit")
    with pytest.raises(OptionError, match="no class order 'random'"):
        module(stacked, class_order="random").setup("predict")
