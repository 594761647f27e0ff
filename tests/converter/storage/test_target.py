"""The folder that becomes a store: what is refused, begun again, and never touched."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from patchpress import StoreMissing, StoreUnfinished, open_store
from patchpress.converter.storage import folder
from patchpress.converter.storage.folder import claim
from patchpress.readers.errors import PatchError, TargetError
from tests.support.helpers import Ended, band_files, folder_bytes, made, patches

Command = Callable[..., Ended]


def test_a_finished_store_is_refused_and_untouched(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "store")
    before = folder_bytes(tmp_path / "store")
    with pytest.raises(TargetError, match="finished store.*--overwrite"):
        made(raw, tmp_path / "store", layout="native")
    assert folder_bytes(tmp_path / "store") == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["notes.txt", "data.mdb", "metadata.parquet", "manifest.json"])
def test_a_folder_of_something_else_is_refused_and_untouched(
    raw: Path, tmp_path: Path, name: str, overwrite: bool
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / name).write_text('{"name": "somebody else\'s"}')
    before = folder_bytes(tmp_path / "store")
    with pytest.raises(TargetError, match="other things in it"):
        made(raw, tmp_path / "store", overwrite=overwrite)
    assert folder_bytes(tmp_path / "store") == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_store_with_something_else_beside_it_is_untouched(
    raw: Path, tmp_path: Path, overwrite: bool
) -> None:
    made(raw, tmp_path / "store")
    (tmp_path / "store" / "weights.pt").write_bytes(b"precious")
    before = folder_bytes(tmp_path / "store")
    with pytest.raises(TargetError):
        made(raw, tmp_path / "store", overwrite=overwrite)
    assert folder_bytes(tmp_path / "store") == before


def test_a_source_as_target_is_refused_and_untouched(raw: Path) -> None:
    before = folder_bytes(raw)
    with pytest.raises(TargetError):
        made(raw, raw, overwrite=True)
    assert folder_bytes(raw) == before


def test_a_file_as_target_is_refused_and_untouched(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"precious")
    with pytest.raises(TargetError, match="is a file"):
        made(raw, tmp_path / "store", overwrite=True)
    assert (tmp_path / "store").read_bytes() == b"precious"


def test_a_target_below_a_file_is_refused(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TargetError, match="cannot be written"):
        made(raw, tmp_path / "file" / "store")


def test_a_link_that_leads_nowhere_is_refused(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "store").symlink_to(tmp_path / "nowhere")
    with pytest.raises(TargetError):
        made(raw, tmp_path / "store")


def test_an_empty_folder_and_missing_parents_are_fine(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    made(raw, tmp_path / "empty")
    made(raw, tmp_path / "a" / "b" / "store")
    assert len(open_store(tmp_path / "empty")) == len(open_store(tmp_path / "a/b/store")) == 15


def test_a_link_to_an_empty_folder_is_fine(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    made(raw, tmp_path / "store")
    assert len(open_store(tmp_path / "disk")) == 15


def test_the_working_folder_may_be_the_target(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.rmtree(band_files(raw, "s1", patches(raw, "s1")[0])["VV"].parent)
    assert made(raw, Path()).without_partner
    assert len(open_store(".")) == 14
    assert (tmp_path / "here.report.json").is_file()


def interrupted(raw: Path, store: Path) -> tuple[Path, bytes]:
    """Leave an unfinished store, by a damaged last patch; gives the file and what it was."""
    path = band_files(raw, "s2", patches(raw, "s2")[-1])["B12"]
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(PatchError):
        made(raw, store)
    return path, data


def test_an_unfinished_store_says_so(raw: Path, tmp_path: Path) -> None:
    interrupted(raw, tmp_path / "store")
    assert not (tmp_path / "store" / "manifest.json").exists()
    with pytest.raises(StoreUnfinished, match="did not end"):
        open_store(tmp_path / "store")


def test_an_unfinished_store_is_begun_again(raw: Path, tmp_path: Path) -> None:
    path, data = interrupted(raw, tmp_path / "store")
    path.write_bytes(data)
    made(raw, tmp_path / "store")
    assert len(open_store(tmp_path / "store")) == 15


def test_an_unfinished_store_of_other_options_is_begun_again(raw: Path, tmp_path: Path) -> None:
    path, data = interrupted(raw, tmp_path / "store")
    path.write_bytes(data)
    made(raw, tmp_path / "store", layout="native", overwrite=True)
    assert open_store(tmp_path / "store").manifest.modalities["s2"].layout == "native"


def test_a_failed_overwrite_leaves_no_finished_store(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "store")
    path = band_files(raw, "s2", patches(raw, "s2")[-1])["B12"]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PatchError):
        made(raw, tmp_path / "store", overwrite=True)
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_a_wrong_source_leaves_a_finished_store_alone(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "store")
    before = folder_bytes(tmp_path / "store")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no bigearthnet-v2"):
        made(tmp_path / "empty", tmp_path / "store", overwrite=True)
    assert folder_bytes(tmp_path / "store") == before


@pytest.mark.parametrize("part", ["BigEarthNet-S2", "metadata.parquet"])
def test_a_source_that_is_refused_leaves_a_finished_store_alone(
    raw: Path, tmp_path: Path, part: str
) -> None:
    made(raw, tmp_path / "store")
    before = folder_bytes(tmp_path / "store")
    if part == "metadata.parquet":
        (raw / part).write_bytes(b"no table")
    else:
        shutil.rmtree(raw / part)
        (raw / part).mkdir()
    with pytest.raises(ValueError, match=part):
        made(raw, tmp_path / "store", overwrite=True)
    assert folder_bytes(tmp_path / "store") == before


def test_no_store_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing, match="no store"):
        open_store(tmp_path / "nowhere")
    with pytest.raises(StoreMissing):
        open_store(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreMissing):
        open_store(tmp_path / "file")


def test_overwriting_works_after_reading_in_the_same_process(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "store")
    name = patches(raw, "s2")[0]
    before = open_store(tmp_path / "store").read(name)
    made(raw, tmp_path / "store", layout="native", overwrite=True)
    again = open_store(tmp_path / "store")
    assert again.manifest.modalities["s2"].layout == "native"
    assert (again.read(name) == before).all()


def test_the_marker_holds_the_settings(raw: Path, tmp_path: Path) -> None:
    interrupted(raw, tmp_path / "store")
    settings = json.loads((tmp_path / "store" / "unfinished.json").read_text())
    assert settings["dataset"] == "bigearthnet-v2"


def test_a_file_beside_the_store_that_is_no_report_of_ours_is_left_alone(
    raw: Path, tmp_path: Path
) -> None:
    (tmp_path / "store.report.json").write_text('{"name": "somebody else\'s"}')
    made(raw, tmp_path / "store")
    assert "somebody" in (tmp_path / "store.report.json").read_text()


@pytest.fixture
def late(tmp_path: Path) -> Iterator[list[Path]]:
    """Folders of shards that come into their place just before `shards` is removed, one a time."""
    coming: list[Path] = []

    def come(event: str, args: tuple[object, ...]) -> None:
        if event == "os.rmdir" and coming and str(args[0]).endswith("/shards"):
            folder = coming.pop()
            folder.mkdir()
            (folder / "data.mdb").write_bytes(b"of a worker that comes late")

    sys.addaudithook(come)
    yield coming
    coming.clear()


def _clear(store: Path) -> None:
    with claim(store, overwrite=True) as target:
        target.clear({"patchpress": "1", "shards": 2})
        raise InterruptedError


def test_a_shard_that_a_worker_of_the_run_before_moves_in_late_is_removed(
    raw: Path, tmp_path: Path, late: list[Path]
) -> None:
    store = tmp_path / "store"
    made(raw, store, shards=2)
    late += [
        store / "shards" / ".00001.0123456789abcdef",
        store / "shards" / ".00000.0123456789abcdef",
    ]
    with pytest.raises(InterruptedError):
        _clear(store)
    assert not late
    assert not (store / "shards").exists()


def test_a_process_that_does_not_stop_moving_shards_in_is_told(
    raw: Path, tmp_path: Path, late: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "_PAUSE", 0)
    store = tmp_path / "store"
    made(raw, store, shards=2)
    late += [store / "shards" / f".00000.{number:016x}" for number in range(1000)]
    with pytest.raises(TargetError, match="another process still moves shards into .*same command"):
        _clear(store)
