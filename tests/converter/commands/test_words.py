"""Sentences have the words of those who read them."""

import json
import shutil
from pathlib import Path

import pytest

from patchpress import copy_store
from patchpress.converter.commands.convert_shards import convert_shard
from patchpress.converter.commands.finish import finish_store
from patchpress.converter.options import convert_options
from patchpress.converter.planning.request import prepare_request
from patchpress.converter.storage.settings_difference import differences
from patchpress.readers.errors import OptionError, TargetError
from tests.support.helpers import DATASET, command, tiny_dataset


def test_merge_without_the_description_that_the_store_was_begun_with(tmp_path: Path) -> None:
    description = tiny_dataset(tmp_path, {"g": ["p1", "p2", "p3"]})
    store, kept = tmp_path / "store", tmp_path / "kept"
    convert_shard(description, tmp_path / "raw", store, 0, shards=1, workers=0)
    shutil.move(description, kept)
    with pytest.raises(TargetError, match=r"tiny\.toml, which is not there any more: put the same"):
        finish_store(store)
    shutil.move(kept, description)
    finish_store(store)
    assert (store / "manifest.json").exists()


def test_the_same_description_from_a_file_is_the_same(tree: Path, tmp_path: Path) -> None:
    shown = command("datasets", "--show", DATASET)
    (tmp_path / "own.toml").write_text(shown.out)
    options = convert_options({})
    one, other = (
        prepare_request(name, tree, tmp_path / "store", options).decisive_settings()
        for name in (DATASET, tmp_path / "own.toml")
    )
    assert differences(json.loads(json.dumps(one)), other) == []


@pytest.mark.parametrize(
    "options", [{"fraction": 0.5, "per_class": 2}, {"seed": 3}, {"target": "labels"}]
)
def test_sentences_about_shares_are_those_of_no_program(
    tree: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    with pytest.raises(OptionError, match="a fraction,? or a number of patches of each class"):
        copy_store(tree, tmp_path / "out", **options)  # type: ignore[arg-type]


def test_help_of_merge_has_words_for_people() -> None:
    assert "list[" not in command("merge", "--help").out
