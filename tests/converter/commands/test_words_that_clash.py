"""Options that exclude each other, or that lack what they need: one sentence each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from patchpress import OptionError, convert, stage, verify
from patchpress.converter.commands.convert_shards import convert_shard
from patchpress.converter.commands.datasets import datasets
from patchpress.converter.commands.split_table import split_table
from patchpress.converter.commands.which_shard import shards_of_size
from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.tables.split_column import SplitOptions, check_split_options
from patchpress.readers.errors import DescriptionError, SourceMissing, TableError
from tests.support.helpers import DATASET, TINY, Ended, tiny_dataset

Command = Callable[..., Ended]


@pytest.mark.parametrize("more", [("--shards", 3), ("--shard", 0)])
def test_a_size_of_shards_and_their_number(
    raw: Path, tmp_path: Path, patchpress: Command, more: tuple[object, ...]
) -> None:
    ended = patchpress("convert", DATASET, raw, tmp_path / "a", "--shard-size", "1MB", *more)
    assert (ended.code, ended.sentence) == (
        2, "give --shard-size 1MB or --shards, not both; for one shard give --shards"
    )  # fmt: skip
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("more", [("--shards", 3), ("--overwrite",)])
def test_options_for_joining_without_stores_to_join(
    raw: Path, tmp_path: Path, patchpress: Command, more: tuple[object, ...]
) -> None:
    ended = patchpress("merge", tmp_path / "a", *more)
    assert (ended.code, ended.sentence) == (
        2, "--shards and --overwrite are for the store that several are joined to: give those and "
        "OUT"
    )  # fmt: skip


def test_paths_of_a_source_that_is_not_given(stacked: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="give the source with --against"):
        verify(stacked, paths={"s2": tmp_path})


def test_a_description_of_ones_own_is_needed_to_compare(tmp_path: Path) -> None:
    description = tiny_dataset(tmp_path, {"g": ["p1", "p2"]})
    convert(str(description), tmp_path / "raw", tmp_path / "store", workers=0)
    with pytest.raises(OptionError, match=r"description of your own, tiny: give it with --dataset"):
        verify(tmp_path / "store", tmp_path / "raw", workers=0)
    verdict = verify(tmp_path / "store", tmp_path / "raw", dataset=str(description), workers=0)
    assert (verdict.good, verdict.compared) == (True, 2)


def test_a_folder_to_stage_in_has_a_name(stacked: Path) -> None:
    with pytest.raises(OptionError, match="the folder to stage in has no name"):
        stage(stacked, "")


def test_what_is_not_there_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match=f"source {tmp_path / 'nothing'} does not exist"):
        datasets(guess=tmp_path / "nothing")


def test_a_description_of_ones_own_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(TINY.replace("{kind}", "image"))
    with pytest.raises(DescriptionError, match="is a file of yours: only built-in ones are shown"):
        datasets(show=str(tmp_path / "my.toml"))


def test_shards_of_a_size(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(store: Path) -> Any:
        return shards_of_size(DATASET, raw, store, "1MiB", {"workers": 0}, {})

    assert asked(tmp_path / "new").shards == 3
    convert_shard(DATASET, raw, tmp_path / "begun", 0, shards=2, workers=0)
    assert asked(tmp_path / "begun").shards == 2  # as it was begun
    with monkeypatch.context() as context:
        context.setattr("patchpress.converter.commands.which_shard.MOST_SHARDS", 2)
        with pytest.raises(OptionError, match="would make 3 shards of .* 2 are the most"):
            asked(tmp_path / "new")


GROUPS = """
[splits]
column = "split"
names = ["train", "test"]
[splits.groups]
pattern = '(?P<group>p)'
"""


def test_rules_of_splits_that_a_data_set_lacks(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(TINY.replace("{kind}", "image") + GROUPS)
    cases = [
        ("eurosat", SplitOptions("geographic"), "needs a tile grid, which eurosat does not have"),
        (DATASET, SplitOptions("official", 0.1), f"needs groups of patches, which {DATASET} does"),
        (str(tmp_path / "my.toml"), SplitOptions("official", 0.1), "the split 'validation', which"),
        ("sen12ms", SplitOptions("official", 1.5), "must be a share from 0 to 1, not 1.5"),
    ]
    for name, options, said in cases:
        with pytest.raises(OptionError, match=said):
            check_split_options(find_description(name), options)
    check_split_options(find_description("sen12ms"), SplitOptions("official", 0.5))


def test_names_of_no_tile_grid_have_no_geographic_split(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    known = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57"
    pq.write_table(pa.table({"patch_id": [known, "Pasture_300"]}), tmp_path / "t.parquet")
    with pytest.raises(TableError, match="patch 'Pasture_300' is of no dataset with a tile grid"):
        split_table(tmp_path / "t.parquet", split="geographic", out=tmp_path / "new.parquet")
    assert not (tmp_path / "new.parquet").exists()
