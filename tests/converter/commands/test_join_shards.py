"""Shards become a store, also if the first of them were read while the others were made."""

from pathlib import Path

import pytest

from patchpress.converter.commands.convert_shards import convert_shard
from patchpress.converter.commands.finish import finish_store
from patchpress.converter.commands.join_shards import Gathered, finish, request_of
from patchpress.converter.progress import NoProgress
from patchpress.converter.storage.shard_file import finished_shard
from patchpress.converter.storage.shard_place import remove_working_files, store_to_finish
from patchpress.readers.errors import StoreDamaged
from patchpress.readers.format.shard_rule import shard_folder
from tests.support.helpers import DATASET, folder_bytes

SHARDS = 3


@pytest.fixture
def begun(tree: Path, tmp_path: Path) -> Path:
    """A store whose shards are all made."""
    store = tmp_path / "store"
    for number in range(SHARDS):
        convert_shard(DATASET, tree, store, number, shards=SHARDS, workers=0)
    return store


def gathered_and_finished(store: Path, count: int) -> Gathered:
    """Read the journals of the first shards, then finish the store with what they gave."""
    with store_to_finish(store) as settings:
        request = request_of(store, settings, str(store))
        gathered = Gathered(request)
        for number in range(count):
            folder = store / shard_folder(number)
            shard = finished_shard(folder, number, settings)
            assert shard is not None
            gathered.add(folder, shard)
        assert gathered.shards == count
        finish(store, request, NoProgress(), gathered=gathered)
    remove_working_files(store)
    return gathered


@pytest.mark.parametrize("count", range(SHARDS + 1))
def test_what_was_read_before_is_not_read_again_and_the_files_are_the_same(
    begun: Path, tree: Path, tmp_path: Path, count: int
) -> None:
    gathered = gathered_and_finished(begun, count)
    assert gathered.shards == SHARDS
    other = tmp_path / "other"
    for number in range(SHARDS):
        convert_shard(DATASET, tree, other, number, shards=SHARDS, workers=0)
    finish_store(other)
    assert folder_bytes(begun) == folder_bytes(other)


def test_a_journal_that_was_changed_is_told_while_others_are_made(begun: Path) -> None:
    (begun / shard_folder(0) / "shard.records").write_bytes(b"")
    with pytest.raises(StoreDamaged, match=r"shard\.records is not as it was written"):
        gathered_and_finished(begun, 1)
