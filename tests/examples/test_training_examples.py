"""The training examples, run as a user runs them: what they learn, and what they refuse.

The pixels that the maker of trees invents say nothing of the labels. So the tables and maps are
written anew here: bright patches and pixels have one class, dark ones another.
"""

import math
import os
import re
import runpy
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import convert, open_store, stats
from patchpress.readers.format.manifest import STATISTICS
from tests.support.helpers import Ended, band_files, by_rasterio, first_band, made, patches, python
from tests.support.older_sets import make_sen12ms
from tests.support.published_forms import TREES
from tests.support.synthetic import TABLE, make_tree, tiff

with suppress(ModuleNotFoundError):  # before a test: it logs to the stderr that it first sees
    import lightning  # noqa: F401

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("classification", "segmentation", "fusion", "augmentation", "with_lightning")
# The loss of who knows how often each class occurs, but nothing of the pixels: ln 2 for two
# classes; of labels it is the mean over 19, of which 17 never occur.
LEARNT = {name: math.log(2) * (1 if name == "segmentation" else 2 / 19) for name in NAMES}
BRIGHT, DARK = ("Pastures", 231), ("Marine waters", 523)  # as CORINE numbers them
LOSSES = re.compile(
    r"(\d+) patches.*: mean loss (\d+\.\d+) in the first epoch, (\d+\.\d+) in the last of (\d+)"
)

# What Lightning and torch say of workers and progress bars is not ours.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with statistics, of patches whose labels and maps can be learnt."""
    root = tmp_path_factory.mktemp("examples")
    make_tree(root / "raw", n=64, flagged=0)
    write_what_can_be_learnt(root / "raw")
    made(root / "raw", root / "store")
    stats(root / "store", "train", workers=0)
    return root / "store"


def write_what_can_be_learnt(raw: Path) -> None:
    """Replace the labels of a tree by the brightness of its patches, its maps by that of pixels."""
    names = patches(raw, "s2")
    files = [band_files(raw, "s2", name)["B08"] for name in names]
    middle = np.median([first_band(file).mean() for file in files])
    labels = {}
    for name, file in zip(names, files, strict=True):
        pixels, place = by_rasterio(file)
        labels[name] = [(BRIGHT if pixels.mean() > middle else DARK)[0]]
        codes = np.where(pixels[0] > middle, BRIGHT[1], DARK[1]).astype(np.uint16)
        assert place is not None
        corner = int(place.epsg or 0), int(place.transform[2]), int(place.transform[5])
        (map_file,) = band_files(raw, "map", name).values()
        map_file.write_bytes(tiff(codes, *corner, deflate=True))
    table = pq.read_table(raw / TABLE)
    column = pa.array([labels[name] for name in table["patch_id"].to_pylist()])
    table = table.set_column(table.column_names.index("labels"), "labels", column)
    pq.write_table(table, raw / TABLE)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Run an example in this process, from another working directory; gives how it ended."""
    monkeypatch.chdir(tmp_path)

    def ended(name: str, *words: object) -> Ended:
        script = EXAMPLES / f"{name}.py"
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, words)])
        try:
            runpy.run_path(str(script), run_name="__main__")
            code, sentence = 0, ""
        except SystemExit as error:
            said = isinstance(error.code, str)
            code, sentence = (1, f"{error.code}\n") if said else (int(error.code or 0), "")
        out, err = capsys.readouterr()
        return Ended(code, out, err + sentence)

    return ended


def needs_torch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
    # On a busy machine threads that wait for one another take many times as long as one.
    torch.set_num_threads(1)
    if name == "with_lightning":
        pytest.importorskip("lightning", reason="Lightning is not installed")


def refusal(ended: Ended, name: str) -> str:
    """The one sentence that a refused example ends with."""
    assert ended.code == 1
    assert ended.out == ""
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.startswith(f"{name}.py: ")
    return ended.err.removeprefix(f"{name}.py: ").rstrip("\n")


@pytest.mark.parametrize(("name", "chance"), LEARNT.items())
def test_each_learns_what_can_be_learnt(run: Any, store: Path, name: str, chance: float) -> None:
    needs_torch(name)
    ended = run(name, store, "--epochs", 8, "--batch-size", 4)
    assert ended.code == 0
    found = LOSSES.search(ended.out.splitlines()[-1])
    assert found is not None, ended.out
    count, first, last, epochs = (float(text) for text in found.groups())
    assert (count, epochs) == (open_store(store).manifest.count("train"), 8)
    assert last < first
    assert last < chance


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_script_that_runs_anywhere(store: Path, name: str) -> None:
    needs_torch(name)
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = python(EXAMPLES / f"{name}.py", store.name, "--epochs", "1", cwd=store.parent,
                   env=one_thread)  # fmt: skip
    assert ended.code == 0, ended.err
    assert LOSSES.search(ended.out.splitlines()[-1])
    ended = python(EXAMPLES / f"{name}.py", "nothing", cwd=store.parent, env=one_thread)
    assert f"there is no store at {store.parent / 'nothing'}: " in refusal(ended, name)


def test_reading_needs_no_torch(run: Any, store: Path, one_label: Path, tmp_path: Path) -> None:
    for path in (store, one_label):
        ended = run("read", path)
        assert ended.code == 0, ended.err
        assert "patches/s" in ended.out
    said = refusal(run("read", "nothing"), "read")
    assert said == f"there is no store at {tmp_path / 'nothing'}: it has no manifest.json"
    assert run("read").code == 2


@pytest.mark.parametrize("name", NAMES)
def test_without_torch_each_says_what_to_install(
    run: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    missing = "lightning" if name == "with_lightning" else "torch"
    monkeypatch.setitem(sys.modules, missing, None)
    ended = run(name, "nothing")
    assert (ended.code, ended.out) == (1, "")
    wanted = missing.replace("lightning", "Lightning")
    assert ended.err == f"{name}.py needs {wanted}: pip install {missing}\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_store_or_statistics_that_are_not_there(
    run: Any, store: Path, tmp_path: Path, name: str
) -> None:
    needs_torch(name)
    assert refusal(run(name, "nothing"), name) == (
        f"there is no store at {tmp_path / 'nothing'}: it has no manifest.json"
    )
    shutil.copytree(store, tmp_path / "bare", ignore=shutil.ignore_patterns(STATISTICS))
    said = refusal(run(name, "bare"), name)
    assert f"run `patchpress stats {tmp_path / 'bare'} --split train`" in said


@pytest.mark.parametrize("name", NAMES)
def test_options_that_cannot_be(run: Any, store: Path, name: str) -> None:
    needs_torch(name)
    for words in ((store, "--epochs", 0), (store, "--epoch", "many"), ()):
        ended = run(name, *words)
        assert ended.code == 2
        assert f"{name}.py: error: " in ended.err
    said = refusal(run(name, store, "--batch-size", 0), name)
    assert said == "a batch must have 1 sample or more, not 0"


@pytest.fixture(scope="module")
def one_label(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EuroSAT: one label a patch, no splits, no map, no Sentinel-1."""
    root = tmp_path_factory.mktemp("eurosat")
    TREES["eurosat"].write(root / "raw")
    convert("eurosat", root / "raw", root / "store", workers=0)
    stats(root / "store", workers=0)
    return root / "store"


@pytest.mark.parametrize("name", ["classification", "augmentation", "with_lightning"])
def test_one_label_a_patch_is_learnt(run: Any, one_label: Path, name: str) -> None:
    needs_torch(name)
    ended = run(name, one_label, "--epochs", 5)
    assert ended.code == 0, ended.err
    found = LOSSES.search(ended.out.splitlines()[-1])
    assert found is not None
    assert int(found[1]) == open_store(one_label).manifest.rows
    assert float(found[3]) < float(found[2])


def test_the_real_eurosat_is_learnt(run: Any, shared_data: Path, tmp_path: Path) -> None:
    needs_torch("classification")
    convert("eurosat", shared_data / "others" / "EuroSAT_MS", tmp_path / "store", workers=0)
    stats(tmp_path / "store", workers=0)
    ended = run("classification", "store", "--epochs", 5)
    assert ended.out.splitlines()[-1].startswith("2 patches, 10 classes: mean loss ")


def test_the_real_bigearthnet_is_learnt(run: Any, shared_data: Path, tmp_path: Path) -> None:
    needs_torch("fusion")
    made(shared_data / "bigearthnet-v2" / "sample", tmp_path / "store")
    stats(tmp_path / "store", "train", workers=0)
    for name in ("classification", "fusion", "augmentation"):
        ended = run(name, "store", "--epochs", 3)
        assert ended.code == 0, ended.err
        assert LOSSES.search(ended.out)


def test_a_map_of_another_name_is_found(run: Any, tmp_path: Path) -> None:
    needs_torch("segmentation")
    make_sen12ms(tmp_path / "raw")
    convert("sen12ms", tmp_path / "raw", tmp_path / "store", workers=0)
    stats(tmp_path / "store", "train", workers=0)
    ended = run("segmentation", "store", "--epochs", 1)
    assert LOSSES.search(ended.out.splitlines()[-1])
    said = refusal(run("segmentation", "store", "--map", "map"), "segmentation")
    assert said.endswith("maps: lc")


def test_what_a_store_does_not_have_is_said(
    run: Any, store: Path, one_label: Path, tmp_path: Path
) -> None:
    needs_torch("fusion")
    assert refusal(run("segmentation", one_label), "segmentation") == (
        "there is no target 'map'; label columns there: label; maps: none"
    )
    assert refusal(run("fusion", one_label), "fusion") == (
        "the store has no modality 's1'; it has s2"
    )
    assert refusal(run("classification", store, "--modality", "s3"), "classification") == (
        "the store has no modality 's3'; it has s2, s1, map"
    )
    assert "which have no mean" in refusal(
        run("classification", store, "--modality", "map"), "classification"
    )
    TREES["hydro"].write(tmp_path / "raw")
    convert("hydro", tmp_path / "raw", tmp_path / "unlabelled", workers=0)
    for name in ("classification", "augmentation"):
        said = refusal(run(name, "unlabelled"), name)
        assert said.endswith("the store has no column of labels")
