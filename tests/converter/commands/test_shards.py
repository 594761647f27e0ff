"""Stores made in shards: by one process or by many, in any order, stopped and finished."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from patchpress import convert, open_store
from patchpress.converter.commands.convert_shards import convert_shard
from patchpress.converter.commands.finish import finish_store
from patchpress.converter.commands.finished_before import FinishedBefore
from patchpress.converter.commands.make_shards import make_shard
from patchpress.converter.commands.missing import missing_shards
from patchpress.converter.options import convert_options
from patchpress.converter.planning.request import ConversionRequest, prepare_request
from patchpress.converter.storage.report import Report
from patchpress.converter.storage.shard_delivery import deliver_shard
from patchpress.converter.storage.shard_file import read_shard_file, write_shard_file
from patchpress.converter.storage.shard_place import shared_store
from patchpress.readers.errors import (
    OptionError,
    PatchError,
    StoreDamaged,
    StoreMissing,
    StoreUnfinished,
    TargetError,
)
from patchpress.readers.format.shard_rule import shard_folder, shard_of
from tests.support.helpers import DATASET, command, folder_bytes, made, patches

pytestmark = pytest.mark.slow

SHARDS = 3
FILES = {
    *("extents.safetensors", "manifest.json", "metadata.parquet"),
    *(f"{shard_folder(number)}/data.mdb" for number in range(SHARDS)),
}


def one(raw: Path, store: Path, number: int, **options: Any) -> Any:
    """Make one shard as a job of an array does."""
    return convert_shard(DATASET, raw, store, number, **{"workers": 0, "shards": SHARDS} | options)


def request_for(raw: Path, store: Path, **options: Any) -> ConversionRequest:
    asked = convert_options({"workers": 0, "shards": SHARDS} | options)
    return prepare_request(DATASET, raw, store, asked)


@pytest.fixture(scope="module")
def sharded(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of `tree` in three shards, made by one process without workers. Never write to it."""
    store = tmp_path_factory.mktemp("sharded") / "store"
    made(tree, store, shards=SHARDS)
    return store


def test_each_record_is_in_the_shard_that_its_key_tells(tree: Path, sharded: Path) -> None:
    assert set(folder_bytes(sharded)) == FILES
    store = open_store(sharded)
    for number, shard in enumerate(store.manifest.shards):
        assert shard.path == f"{shard_folder(number)}/data.mdb"
        own = [key for key in store if shard_of(key, SHARDS) == number]
        assert shard.records == len(own) > 0


def test_shards_have_the_records_of_a_single_store(
    tree: Path, tmp_path: Path, sharded: Path
) -> None:
    made(tree, tmp_path / "single")
    single, several = open_store(tmp_path / "single"), open_store(sharded)
    assert several.keys() == single.keys()
    for key in single:
        assert (several[key] == single[key]).all()
    table = "metadata.parquet"
    assert (sharded / table).read_bytes() == (tmp_path / "single" / table).read_bytes()
    assert command("verify", sharded, "--against", tree).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_gives_the_same_bytes(
    tree: Path, tmp_path: Path, sharded: Path, workers: int
) -> None:
    convert(DATASET, tree, tmp_path / "store", shards=SHARDS, workers=workers)
    assert folder_bytes(tmp_path / "store") == folder_bytes(sharded)


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0)])
def test_shards_made_one_by_one_in_any_order_give_the_same_bytes(
    tree: Path, tmp_path: Path, sharded: Path, order: tuple[int, ...]
) -> None:
    store = tmp_path / "store"
    for done, number in enumerate(order):
        report = one(tree, store, number)
        assert (report.shard.number, report.missing) == (number, SHARDS - 1 - done)
        assert missing_shards(store) == sorted(order[done + 1 :])
    report_of_merge = finish_store(store)
    assert isinstance(report_of_merge, Report)
    assert folder_bytes(store) == folder_bytes(sharded)
    again = finish_store(store)
    assert isinstance(again, FinishedBefore)
    assert again.text() == f"{store} is finished already, with 3 shards"
    assert missing_shards(store) == []
    assert folder_bytes(store) == folder_bytes(sharded)


def test_the_report_of_a_store_made_one_by_one_is_that_of_one_run(
    tree: Path, tmp_path: Path
) -> None:
    made(tree, tmp_path / "a" / "store", shards=SHARDS)
    for number in range(SHARDS):
        one(tree, tmp_path / "b" / "store", number)
    report = finish_store(tmp_path / "b" / "store")
    whole = made(tree, tmp_path / "c" / "store", shards=SHARDS)
    assert isinstance(report, Report)
    for each in (report, whole):
        each.seconds, each.store = 0.0, ""
    assert report == whole
    assert "shards             3\n" in whole.text()


def test_versions_that_differ_between_shards_are_told_by_the_merge(
    raw: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    for number in range(SHARDS):
        one(raw, store, number)
    folder = store / shard_folder(1)
    shard = read_shard_file(folder)
    assert shard is not None
    ours = shard.software["numpy"]
    write_shard_file(folder, replace(shard, software={**shard.software, "numpy": "1.25.9"}))
    ended = command("merge", store)
    assert (ended.code, ended.err) == (0, "")
    said = (
        f"  shards were made with different versions of software: numpy {ours} (shards 0,2), "
        "1.25.9 (shard 1)"
    )
    assert said in ended.out.splitlines()


def test_a_shard_that_is_there_is_not_made_again(tree: Path, tmp_path: Path) -> None:
    one(tree, tmp_path / "store", 1)
    before = folder_bytes(tmp_path / "store")
    again = one(tree, tmp_path / "store", 1)
    assert again.was_there
    assert again.text().startswith(f"{tmp_path / 'store'}: shard 1 of 3 is there already\n")
    assert folder_bytes(tmp_path / "store") == before


def test_a_shard_made_elsewhere_is_delivered(tree: Path, tmp_path: Path, sharded: Path) -> None:
    store = tmp_path / "store"
    request = request_for(tree, store)
    with shared_store(store, request.marker_settings()):
        for number in range(SHARDS):
            scratch = tmp_path / "scratch" / str(number)
            make_shard(request, number, scratch)
            twin = tmp_path / "scratch" / f"twin of {number}"
            shutil.copytree(scratch, twin)
            assert deliver_shard(scratch, store, number, request.decisive_settings())
            assert not deliver_shard(twin, store, number, request.decisive_settings())
            assert not scratch.exists()
            assert not twin.exists()
    finish_store(store)
    assert folder_bytes(store) == folder_bytes(sharded)


def test_a_store_may_have_empty_shards(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "store", shards=40)
    store = open_store(tmp_path / "store")
    assert any(shard.records == 0 for shard in store.manifest.shards)
    assert len(store) == 15
    assert all(store[key].size for key in store)
    assert command("verify", tmp_path / "store", "--against", raw).code == 0


@pytest.mark.parametrize("compression", ["none", "zstd", "blosc2"])
def test_archives_give_the_shards_of_folders(raw: Path, tmp_path: Path, compression: str) -> None:
    from tests.support.packing import packed

    packed(raw, tmp_path / "packed", "tar")
    made(raw, tmp_path / "folders", shards=SHARDS, compression=compression)
    made(tmp_path / "packed", tmp_path / "archives", shards=SHARDS, compression=compression)
    assert folder_bytes(tmp_path / "archives") == folder_bytes(tmp_path / "folders")


@pytest.mark.parametrize("compression", ["none", "zstd", "blosc2"])
def test_archives_in_another_order_give_the_same_shards(
    raw: Path, tmp_path: Path, compression: str
) -> None:
    """The records of a shard are written once more in the order of their keys."""
    from tests.support.packing import packed, shuffled

    packed(raw, tmp_path / "packed", "tar", order=shuffled)
    made(raw, tmp_path / "folders", shards=SHARDS, compression=compression)
    made(tmp_path / "packed", tmp_path / "archives", shards=SHARDS, compression=compression)
    assert folder_bytes(tmp_path / "archives") == folder_bytes(tmp_path / "folders")
    for number in range(SHARDS):
        with pytest.warns(UserWarning, match="read from beginning to end for this one shard"):
            one(tmp_path / "packed", tmp_path / "one", number, compression=compression)
    finish_store(tmp_path / "one")
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "folders")


def test_damaged_patches_are_left_out_and_told_by_the_merge(raw: Path, tmp_path: Path) -> None:
    name = patches(raw, "s2")[1]
    (next(raw.glob(f"BigEarthNet-S2/*/{name}/*_B05.tif"))).write_bytes(b"no TIFF")
    number = shard_of(name, SHARDS)
    with pytest.raises(PatchError, match="B05.tif.*--on-error skip leaves such patches out"):
        one(raw, tmp_path / "store", number)
    report = one(raw, tmp_path / "store", number, on_error="skip")
    assert report.exit_code == 1
    assert len(report.skipped) == 1
    with pytest.raises(PatchError, match="B05.tif.*--on-error skip leaves such patches out"):
        one(raw, tmp_path / "store", number)
    for other in range(SHARDS):
        if other != number:
            assert one(raw, tmp_path / "store", other).exit_code == 0
    merged = finish_store(tmp_path / "store")
    assert merged.exit_code == 1
    assert isinstance(merged, Report)
    assert merged.skipped == report.skipped
    whole = made(raw, tmp_path / "whole", shards=SHARDS, on_error="skip")
    assert whole.skipped == report.skipped
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")


@pytest.mark.parametrize(
    ("shards", "number", "sentence"),
    [
        (3, 3, "there is no shard 3: of 3 they are 0 to 2"),
        (3, -1, "there is no shard -1: of 3 they are 0 to 2"),
        (0, 0, "shards must be 1 to 65,536, not 0"),
        (100_001, 0, "shards must be 1 to 65,536, not 100001"),
        (None, 0, "shard 0 of how many"),
    ],
)
def test_numbers_that_cannot_be_are_refused(
    raw: Path, tmp_path: Path, shards: int | None, number: int, sentence: str
) -> None:
    with pytest.raises(OptionError, match=sentence):
        one(raw, tmp_path / "store", number, shards=shards)
    assert not (tmp_path / "store").exists()


def test_what_does_not_fit_to_the_shards_that_are_there_is_refused(
    raw: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    one(raw, store, 0)
    before = folder_bytes(store)
    # Without --overwrite, which a single shard does not take.
    sentence = "was begun with shards 3, not 4: give the same to go on, choose another place, or"
    with pytest.raises(TargetError, match=sentence):
        one(raw, store, 1, shards=4)
    with pytest.raises(TargetError, match="was begun with layout stacked, not native"):
        one(raw, store, 1, layout="native")
    with pytest.raises(TargetError, match="was begun with shards 3, not none"):
        made(raw, store)
    with pytest.raises(TargetError, match="was begun with shards 3, not 5"):
        made(raw, store, shards=5)
    with pytest.raises(OptionError, match="--overwrite is for a whole store, and shard 1"):
        one(raw, store, 1, overwrite=True)
    assert folder_bytes(store) == before


def test_shards_of_a_store_that_is_finished_or_single_are_refused(
    raw: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    made(raw, store)
    before = folder_bytes(store)
    with pytest.raises(TargetError, match="is a finished store, so that no shard is to be made"):
        one(raw, store, 0)
    with pytest.raises(TargetError, match="is a finished store: choose another place"):
        made(raw, store, shards=SHARDS)
    assert folder_bytes(store) == before
    made(raw, store, shards=SHARDS, overwrite=True)
    assert set(folder_bytes(store)) == FILES
    made(raw, store, overwrite=True)
    assert folder_bytes(store) == before


def test_a_task_that_is_done_again_finds_the_store_finished(raw: Path, tmp_path: Path) -> None:
    """As a job array does it; only with the same options, and nothing is written."""
    store = tmp_path / "store"
    made(raw, store, shards=SHARDS)
    before = folder_bytes(store)
    again = one(raw, store, 1)
    assert (again.exit_code, again.text()) == (
        0,
        f"{store} is finished already, with {SHARDS} shards",
    )
    for other in ({"layout": "native"}, {"shards": SHARDS + 1}):
        with pytest.raises(TargetError, match="is a finished store, so that no shard"):
            one(raw, store, 1, **other)
    assert folder_bytes(store) == before


def test_merge_refuses_what_is_not_whole(raw: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with pytest.raises(StoreMissing, match="has no shards to finish: there is no such folder"):
        finish_store(store)
    one(raw, store, 1)
    with pytest.raises(StoreUnfinished, match=r"lacks 2 of 3 shards \(0,2\): make them first"):
        finish_store(store)
    for number in (0, 2):
        one(raw, store, number)
    for name in ("shard.json", "shard.records", "data.mdb", "extents.safetensors"):
        file = store / shard_folder(1) / name
        whole = file.read_bytes()
        file.write_bytes(whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])
        if name == "data.mdb":  # a page of the tree: what it has of records, `verify` compares
            file.write_bytes(whole + bytes(4096))
        with pytest.raises(StoreDamaged, match="make that shard again"):
            finish_store(store)
        if name in ("shard.json", "data.mdb"):
            with pytest.warns(UserWarning, match="make that shard again"):
                assert missing_shards(store) == [1]
        file.unlink()
        if name == "shard.json":
            with pytest.raises(TargetError, match="other things in it .*: remove it, and make th"):
                one(raw, store, 1)
        else:
            with pytest.raises(StoreDamaged, match="make that shard again"):
                one(raw, store, 1)
            with pytest.warns(UserWarning, match="make that shard again"):
                assert missing_shards(store) == [1]
        file.write_bytes(whole)
    assert not (store / "manifest.json").exists()
    finish_store(store)


def test_a_finished_store_that_lost_a_shard_is_told(sharded: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(sharded, tmp_path / "store"))
    data = store / shard_folder(1) / "data.mdb"
    data.write_bytes(data.read_bytes()[:8192])
    for look in (missing_shards, finish_store):
        with pytest.raises(StoreDamaged, match="has 8,192 bytes where the manifest promises"):
            look(store)
    data.unlink()
    for look in (missing_shards, finish_store):
        with pytest.raises(StoreDamaged, match="is absent though the manifest lists it"):
            look(store)
    for words in (("index", store), ("stage", store, tmp_path / "stage")):
        ended = command(*words)
        assert (ended.code, ended.out) == (1, "")
        assert f"no data.mdb in {data.parent}: put it back, or copy" in ended.err


def test_a_store_that_was_stopped_before_it_had_settings_is_not_called_single(
    tmp_path: Path,
) -> None:
    for begin in ("", '{\n "patchpress": "0.1.0"\n}'):
        (tmp_path / "unfinished.json").write_text(begin)
        with pytest.raises(StoreMissing, match="was begun, and nothing is stored there yet: run"):
            missing_shards(tmp_path)


def test_a_single_store_that_is_finished_is_called_one_data_file(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "store")
    assert finish_store(tmp_path / "store").text().endswith("already, with one data file")


def test_a_source_that_changes_between_shards_is_noticed_with_a_limit(
    raw: Path, tmp_path: Path
) -> None:
    """Each process draws the patches of the limit for itself: then partners would lack."""
    limited: Any = {"limit": 2}
    store = tmp_path / "store"
    for number in range(SHARDS):
        one(raw, tmp_path / "same" / "store", number, **limited)
    assert isinstance(finish_store(tmp_path / "same" / "store"), Report)
    one(raw, store, 0, **limited)
    moved = patches(raw, "s2")[:3]
    for name in moved:
        (folder,) = raw.glob(f"BigEarthNet-S2/*/{name}")
        shutil.move(folder, tmp_path / name)
    said = (
        "the source changed between shards: --limit took other patches for shard 1 than for shard "
        "0; remove the shards that were made of the source as it was before, and make them again"
    )
    with pytest.raises(TargetError, match=said):
        one(raw, store, 1, **limited)
    with pytest.raises(TargetError, match="the source changed between shards"):
        one(raw, store, 2, **limited)
    ended = command("merge", store)
    assert ended.code == 2
    assert "the source changed between shards" in ended.sentence
    shutil.rmtree(store / shard_folder(0))
    one(raw, store, 0, **limited)
    assert isinstance(finish_store(store), Report)


def test_a_store_that_was_begun_before_a_setting_was_added_tells_the_way_out(
    raw: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    one(raw, store, 0)
    marker = store / "unfinished.json"
    settings = json.loads(marker.read_text())
    del settings["size"]
    del settings["description"]["complete"]
    marker.write_text(json.dumps(settings, indent=1))
    with pytest.raises(
        TargetError,
        match="was begun with an older patchpress, which did not know size, complete of the "
        "description: give the same to go on, choose another place, or remove it to begin anew",
    ):
        one(raw, store, 1)
    ended = command("merge", store)
    assert ended.code == 2
    assert ended.sentence == (
        f"{store} was begun with an older patchpress, which did not know size, complete of the "
        "description: finish it with that one, or remove it and begin anew"
    )
