"""The example trains for real: a network fed by the loader learns what its pixels say."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from patchpress import open_store
from tests.support.helpers import made, python
from tests.support.synthetic import make_tree

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A native store of 96 patches: coarse bands are expanded in the loader."""
    root = tmp_path_factory.mktemp("train")
    make_tree(root / "raw", n=96)
    made(root / "raw", root / "store", layout="native", modalities=("s2",))
    return root / "store"


def test_the_loss_falls_on_a_target_that_can_be_learnt(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    train: Any = import_module("train")
    from patchpress.readers.loader import PatchLoader

    torch.manual_seed(0)
    opened = open_store(store)
    loader = PatchLoader(opened, batch_size=16, shuffle=True, target=None)
    statistics = train.statistics_of(opened, "s2", None)
    run = train.train(loader, statistics, "brightness", epochs=12)
    assert len(run.losses) == 12 * len(loader)
    assert run.losses[0] > 0.5  # guessing costs ln 2
    assert run.mean_loss(-1) < 0.6 * run.losses[0]
    assert 0 < run.waiting < run.seconds
    sys.modules.pop("train")


def test_the_script_trains_on_labels_and_tells_the_loader_s_share(store: Path) -> None:
    ended = python(EXAMPLES / "train.py", store, "--target", "labels", "--epochs", "1")
    assert ended.code == 0, ended.err
    loss, step = ended.out.splitlines()[1:]
    assert loss.startswith("loss 0.")
    assert "waiting for the loader" in step


def test_a_store_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    ended = python(EXAMPLES / "train.py", tmp_path / "nothing")
    assert ended.code != 0
    assert "there is no store" in ended.err
