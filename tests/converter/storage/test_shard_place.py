"""Folders of shards that are left, mixed up or on another disk: nothing is lost or taken over."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from patchpress.converter.commands.convert_shards import convert_shard
from patchpress.converter.commands.finish import finish_store
from patchpress.converter.commands.make_shards import make_shard
from patchpress.converter.commands.missing import missing_shards
from patchpress.converter.options import convert_options
from patchpress.converter.planning.request import ConversionRequest, prepare_request
from patchpress.converter.storage.shard_delivery import deliver_shard
from patchpress.converter.storage.shard_place import shared_store
from patchpress.readers.errors import StoreMissing, TargetError
from patchpress.readers.format.shard_rule import shard_folder
from tests.support.helpers import DATASET, folder_bytes, made
from tests.support.stopping import Stopped, commits_of, stop_after

SHARDS = 3


def one(raw: Path, store: Path, number: int, **options: Any) -> Any:
    return convert_shard(DATASET, raw, store, number, **{"workers": 0, "shards": SHARDS} | options)


def request_for(raw: Path, store: Path, **options: Any) -> ConversionRequest:
    asked = convert_options({"workers": 0, "shards": SHARDS} | options)
    return prepare_request(DATASET, raw, store, asked)


@pytest.fixture
def begun(raw: Path, tmp_path: Path) -> Path:
    """A store of which all three shards are made, and which is not finished."""
    for number in range(SHARDS):
        one(raw, tmp_path / "store", number)
    return tmp_path / "store"


@pytest.fixture
def whole(raw: Path, tmp_path: Path) -> dict[str, bytes]:
    """What the finished store has."""
    made(raw, tmp_path / "whole", shards=SHARDS)
    return folder_bytes(tmp_path / "whole")


def test_a_shard_from_another_disk_is_copied(
    raw: Path, tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, rename = tmp_path / "store", os.rename

    def other_disk(source: Path, target: Path) -> None:
        if Path(source).parent == tmp_path / "scratch":
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(source, target)

    request = request_for(raw, store)
    with shared_store(store, request.marker_settings()):
        for number in range(SHARDS):
            scratch = tmp_path / "scratch" / str(number)
            make_shard(request, number, scratch)
            with monkeypatch.context() as context:
                context.setattr(os, "rename", other_disk)
                assert deliver_shard(scratch, store, number, request.decisive_settings())
            assert not scratch.exists()
    finish_store(store)
    assert folder_bytes(store) == whole


def test_a_shard_takes_the_place_of_one_that_was_never_finished(
    raw: Path, tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    commits_of(1, monkeypatch)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        stop_after(patch, 2)
        one(raw, store, 0)
    assert list((store / shard_folder(0)).iterdir())
    request = request_for(raw, store)
    make_shard(request, 0, tmp_path / "scratch")
    with shared_store(store, request.marker_settings()):
        assert deliver_shard(tmp_path / "scratch", store, 0, request.decisive_settings())
    assert not list((store / "shards").glob(".*"))
    assert missing_shards(store) == [1, 2]
    for number in (1, 2):
        one(raw, store, number)
    finish_store(store)
    assert folder_bytes(store) == whole


def test_a_shard_in_the_place_of_another_is_told(raw: Path, begun: Path) -> None:
    place, other = begun / shard_folder(1), begun / shard_folder(0)
    shutil.rmtree(place)
    shutil.copytree(other, place)
    for act in (lambda: one(raw, begun, 1), lambda: finish_store(begun)):
        with pytest.raises(TargetError, match="has shard 0 of 3, not 1 of 3: remove it, or choose"):
            act()


def test_a_shard_of_another_conversion_is_told(raw: Path, tmp_path: Path, begun: Path) -> None:
    one(raw, tmp_path / "other", 1, layout="native")
    shutil.rmtree(begun / shard_folder(1))
    shutil.copytree(tmp_path / "other" / shard_folder(1), begun / shard_folder(1))
    for act in (lambda: one(raw, begun, 1), lambda: finish_store(begun)):
        with pytest.raises(TargetError, match="was made with another source, version or options"):
            act()


def test_a_shard_that_was_stopped_before_its_last_file_is_finished(
    raw: Path, tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise Stopped

    store = tmp_path / "store"
    with monkeypatch.context() as context, pytest.raises(Stopped):
        context.setattr("patchpress.converter.storage.shard_folder.write_shard_file", stop)
        one(raw, store, 1)
    assert (store / shard_folder(1) / "shard.records").exists()
    for number in range(SHARDS):
        assert not one(raw, store, number).was_there
    finish_store(store)
    assert folder_bytes(store) == whole


def test_records_that_were_being_sorted_are_sorted_again(
    raw: Path, begun: Path, whole: dict[str, bytes]
) -> None:
    left = begun / shard_folder(1) / "sorted"
    left.mkdir()
    (left / "data.mdb").write_bytes(b"half of it")
    assert one(raw, begun, 1).was_there
    finish_store(begun)
    assert folder_bytes(begun) == whole


@pytest.mark.parametrize("name", ["notes", "00000/notes.txt", "000001"])
def test_what_somebody_put_among_the_shards_is_never_removed(
    raw: Path, begun: Path, name: str
) -> None:
    finish_store(begun)
    strange = begun / "shards" / name
    if name.endswith(".txt"):
        strange.write_text("mine")
    else:
        strange.mkdir()
    with pytest.raises(TargetError, match=f"other things in it .*{name}"):
        made(raw, begun, overwrite=True)
    assert strange.exists()
    assert (begun / "manifest.json").exists()


def test_a_data_file_that_the_manifest_does_not_list_is_never_removed(
    raw: Path, begun: Path
) -> None:
    finish_store(begun)
    extra = begun / shard_folder(7)
    shutil.copytree(begun / shard_folder(0), extra)
    with pytest.raises(TargetError, match=r"shards/00007/data.mdb is not the file that belongs"):
        made(raw, begun, shards=SHARDS, overwrite=True)
    assert (extra / "data.mdb").exists()


def test_an_unfinished_store_of_one_file_has_no_shards(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits_of(1, monkeypatch)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        stop_after(patch, 2)
        made(raw, tmp_path / "store")
    for look in (missing_shards, finish_store):
        with pytest.raises(StoreMissing, match="was not begun in shards: run the same"):
            look(tmp_path / "store")


def test_what_shards_passed_over_is_told_by_the_whole(raw: Path, tmp_path: Path) -> None:
    """Names that are not UTF-8, too, which the file of a shard spells."""
    folder = bytes(next((raw / "BigEarthNet-S2").iterdir()))
    for name in (b"notes of mine", b"caf\xe9"):
        os.mkdir(folder + b"/" + name)
    for number in range(SHARDS):
        one(raw, tmp_path / "store", number)
    report = finish_store(tmp_path / "store")
    alone = made(raw, tmp_path / "single")
    (told,) = [line for line in alone.text().splitlines() if "that are no patches: 2 (" in line]
    assert "notes of mine" in told
    assert told in report.text()


def test_a_lock_that_the_system_refuses_is_told(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For another reason than that the file system has no locks."""

    def refused(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("fcntl.flock", refused)
    for make in (lambda: made(raw, tmp_path / "a"), lambda: one(raw, tmp_path / "b", 0)):
        with pytest.raises(TargetError, match="Input/output error"):
            make()
