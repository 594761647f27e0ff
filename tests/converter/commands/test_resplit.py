"""Splits by blocks of ground, at the conversion and of a finished store."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import PatchLoader, convert, dry_run, index, open_store, verify
from patchpress.converter.descriptions.parse import find_description
from patchpress.readers.errors import OptionError, SelectionEmpty
from patchpress.readers.format.manifest import DATA, MANIFEST, METADATA
from patchpress.readers.samples import Samples
from tests.support.helpers import folder_bytes, made
from tests.support.loading import refused, with_table
from tests.support.older_sets import make_sen12ms
from tests.support.published_forms import TREES
from tests.support.synthetic import make_tree

BLOCKS: dict[str, Any] = {"split": "geographic", "block": "10km", "seed": 2}


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of 40 patches in six tiles. Never write into it."""
    root = tmp_path_factory.mktemp("wide")
    make_tree(root, n=40, flagged=4)
    return root


@pytest.fixture(scope="module")
def split(wide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of it that was split as it was converted. Never write into it."""
    store = tmp_path_factory.mktemp("split") / "store"
    made(wide, store, modalities=["s2", "s1"], **BLOCKS)
    return store


def splits_in(store: Path) -> dict[str, str]:
    table = pq.read_table(store / METADATA).to_pydict()
    return dict(zip(table["patch_id"], table["split"], strict=True))


def test_a_conversion_says_how_it_split(wide: Path, tmp_path: Path, split: Path) -> None:
    report = made(wide, tmp_path / "store", modalities=["s2", "s1"], **BLOCKS)
    how, now, before = report.reading
    assert how.startswith("split by ")
    assert " of 10km, seed 2: train asked 0.70, is 0." in how
    assert now.startswith("from a patch of test to the nearest one of train: median ")
    assert before.startswith("before, by the splits that were there: median ")
    assert f"  note: {how}" in report.text()
    options = open_store(split).manifest.options
    asked = {"split": "geographic", "block": "10km", "shares": "0.7,0.15,0.15", "seed": 2}
    assert {name: options[name] for name in asked} == asked
    assert "buffer" not in options
    table = pq.read_table(split / METADATA)
    official = pq.read_table(wide / "metadata.parquet")
    known = dict(zip(*(official[name].to_pylist() for name in ("patch_id", "split")), strict=True))
    kept = dict(zip(*(table[n].to_pylist() for n in ("patch_id", "source_split")), strict=True))
    assert {name: kept[name] for name in known} == known
    assert folder_bytes(tmp_path / "store") == folder_bytes(split)
    assert verify(split, wide, workers=0).good


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", [{"workers": 2}, {"shards": 3}, {"shards": 2, "workers": 2}], ids=str
)
def test_workers_and_shards_change_no_row(
    wide: Path, tmp_path: Path, split: Path, how: Any
) -> None:
    made(wide, tmp_path / "store", modalities=["s2", "s1"], **BLOCKS, **how)
    assert (tmp_path / "store" / METADATA).read_bytes() == (split / METADATA).read_bytes()


def test_a_finished_store_gets_the_same_splits(wide: Path, tmp_path: Path, split: Path) -> None:
    store = tmp_path / "store"
    made(wide, store, modalities=["s2", "s1"])
    before, records = splits_in(store), (store / DATA).read_bytes()
    found = index(store, **BLOCKS)
    assert (store / DATA).read_bytes() == records
    assert splits_in(store) == splits_in(split) != before
    assert open_store(store).manifest.splits == open_store(split).manifest.splits
    assert open_store(store).manifest.flagged == open_store(split).manifest.flagged
    assert open_store(store).manifest.options == open_store(split).manifest.options
    assert pq.read_table(store / METADATA) == pq.read_table(split / METADATA)
    assert found.text().splitlines()[0] == f"{store}: other splits; no record was touched"
    assert verify(store, wide, workers=0).good
    assert verify(store, workers=0).good
    rows = open_store(store).table("train", flagged="include")
    assert len(Samples(store, "train", flagged="include")) == len(rows)
    # A second time: the splits of the source are still there.
    index(store, split="geographic", block="3km", buffer="2km", shares=(0.5, 0.25, 0.25), seed=9)
    again = pq.read_table(store / METADATA)["source_split"].to_pylist()
    assert again == pq.read_table(split / METADATA)["source_split"].to_pylist()
    options = open_store(store).manifest.options
    assert (options["buffer"], options["shares"], options["block"]) == (
        "2km",
        "0.5,0.25,0.25",
        "3km",
    )
    index(store, **BLOCKS)
    assert open_store(store).manifest.options == open_store(split).manifest.options


def test_a_store_without_splits_gets_some(tmp_path: Path) -> None:
    TREES["eurosat"].write(tmp_path / "raw")
    convert("eurosat", tmp_path / "raw", tmp_path / "store", workers=0)
    assert open_store(tmp_path / "store").manifest.splits == {}
    index(tmp_path / "store", split="geographic", block="1km", shares="1,0,0")
    rows = len(open_store(tmp_path / "store").table("train"))
    convert("eurosat", tmp_path / "raw", tmp_path / "other", workers=0, split="geographic",
            block="1km", shares="1,0,0")  # fmt: skip
    assert rows == len(open_store(tmp_path / "other").table("train")) > 0
    assert verify(tmp_path / "other", tmp_path / "raw", workers=0).good
    assert len(next(iter(PatchLoader(tmp_path / "other", "train", output="numpy")))[0]) == rows


def test_scenes_stay_together(tmp_path: Path) -> None:
    make_sen12ms(tmp_path / "raw", scenes=(1, 2, 3, 63), patches=8)
    shares = "0.5,0.25,0.25"
    convert("sen12ms", tmp_path / "raw", tmp_path / "store", workers=0, split="geographic",
            block="1km", shares=shares, seed=1)  # fmt: skip
    # Scenes lie over one another here, so that they are all one.
    table = open_store(tmp_path / "store").table()
    assert len(set(table["split"].to_pylist())) == 1
    found = index(tmp_path / "store", split="geographic", block="1km", shares=shares, seed=1)
    assert splits_of(tmp_path / "store") == table["split"].to_pylist()
    assert "split by 1 block of 1km" in found.text()


def splits_of(store: Path) -> list[str]:
    found: list[str] = pq.read_table(store / METADATA)["split"].to_pylist()
    return found


def test_patches_without_a_georeference_have_no_split(
    wide: Path, split: Path, tmp_path: Path
) -> None:
    store = Path(shutil.copytree(split, tmp_path / "store"))
    table = pq.read_table(store / METADATA)
    epsg = table["epsg"].to_pylist()
    at = table.schema.get_field_index("epsg")
    lost = table.set_column(
        at, table.schema.field(at), pa.array([None, None, *epsg[2:]], pa.int32())
    )
    with_table(store, lost)
    found = index(store, **BLOCKS)
    assert splits_of(store)[:2] == [None, None]
    assert "  note: patches without a georeference, in no split: 2\n" in found.text()
    assert "\n  in no split        2\n" in found.text()
    with_table(store, table.set_column(at, table.schema.field(at), pa.nulls(len(epsg), pa.int32())))
    before = folder_bytes(store)
    sentence = refused(SelectionEmpty, lambda: index(store, **BLOCKS))
    assert sentence.startswith(f"no patch of {store} has a georeference, so blocks of ground")
    assert folder_bytes(store) == before


def test_a_dry_run_says_when_they_are_known(wide: Path, tmp_path: Path) -> None:
    text = dry_run("bigearthnet-v2", wide, tmp_path / "store", **BLOCKS).text()
    assert "by blocks of ground, once the patches are read" in text
    assert "georeference" not in text


def test_what_has_no_meaning_is_refused(split: Path, wide: Path, tmp_path: Path) -> None:
    def ask(**options: Any) -> str:
        return refused(OptionError, lambda: index(split, **options))

    before = (split / MANIFEST).read_bytes()
    assert "needs blocks of ground: give --block 10km" in ask(split="geographic")
    assert "no effect with split official" in ask(block="10km")
    assert ask(seed=3) == "seed 3 has no effect without --split: leave it out"
    assert "--path train has no effect" in ask(**BLOCKS, paths={"train": "list.csv"})
    assert "not of eurosat: give its own --dataset, or none" in ask(**BLOCKS, dataset="eurosat")
    assert "split 'official' is unknown" in ask(**BLOCKS | {"split": "official"})
    assert (split / MANIFEST).read_bytes() == before
    sentence = refused(
        OptionError, lambda: convert("hydro", wide, tmp_path / "store", split="geographic")
    )
    assert "which hydro does not have: give blocks of ground, --block 10km, or" in sentence
    assert find_description("hydro").splits is None
