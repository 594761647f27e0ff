"""Conversions from archives that stop and go on give the same bytes, and decode nothing twice."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from patchpress import convert, open_store
from patchpress.converter.encoding import encoder as encode
from patchpress.converter.options import OnError
from patchpress.converter.storage.journal import Journal
from patchpress.readers.errors import PatchError, SourceError, TargetError
from patchpress.readers.format.manifest import JOURNAL
from tests.support.helpers import folder_bytes, made, patches, python
from tests.support.older_sets import SCENE, make_sen12ms
from tests.support.packing import entries, entry, interleaved, members, packed, shuffled, write
from tests.support.stopping import RUN, Killing, Stopped, commits_of, lines_of, stop_after
from tests.support.synthetic import make_tree

pytestmark = pytest.mark.slow

S2 = "BigEarthNet-S2"


@pytest.fixture(autouse=True)
def _every_record_is_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    commits_of(1, monkeypatch)


@pytest.fixture
def source(raw: Path, tmp_path: Path) -> Path:
    return packed(raw, tmp_path / "packed", "tar")


@pytest.fixture
def whole(raw: Path, tmp_path: Path) -> dict[str, bytes]:
    """The bytes of a store of `raw` whose conversion was not stopped."""
    made(raw, tmp_path / "whole")
    return folder_bytes(tmp_path / "whole")


def stopped(source: Path, store: Path, records: int, **options: Any) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        stop_after(patch, records)
        made(source, store, **options)
    assert lines_of(store) == records


@pytest.mark.parametrize("codec", ["tar", "tar.gz", "tar.zst"])
@pytest.mark.parametrize("order", [list, shuffled, interleaved(3)], ids=["sorted", "shuf", "inter"])
def test_a_stop_behind_any_commit_changes_nothing(
    raw: Path,
    tmp_path: Path,
    whole: dict[str, bytes],
    codec: str,
    order: Callable[[list[str]], list[str]],
) -> None:
    packed(raw, tmp_path / "packed", codec, order=order)
    stops = 0
    for records in range(16):
        with pytest.MonkeyPatch.context() as patch:
            stop_after(patch, records)
            try:
                made(tmp_path / "packed", tmp_path / "store")
                break
            except Stopped:
                stops += 1
    assert stops == 15
    assert folder_bytes(tmp_path / "store") == whole


@pytest.mark.parametrize("folders", [(S2,), ("BigEarthNet-S1", "Reference_Maps")])
def test_archives_beside_folders_go_on(
    raw: Path, tmp_path: Path, whole: dict[str, bytes], folders: tuple[str, ...]
) -> None:
    packed(raw, tmp_path / "packed", folders=folders)
    for records in (3, 9, 14):
        stopped(tmp_path / "packed", tmp_path / "store", records)
    made(tmp_path / "packed", tmp_path / "store", workers=2)
    assert folder_bytes(tmp_path / "store") == whole


@pytest.mark.parametrize("records", [1, 7, 14])
def test_what_is_stored_is_not_decoded_again(
    source: Path,
    tmp_path: Path,
    whole: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    records: int,
) -> None:
    stopped(source, tmp_path / "store", records)
    with Journal(tmp_path / "store" / JOURNAL) as journal:
        stored = {found.key for found in journal.entries()}
    decoded = []
    encoded = encode.Encoder.encode

    def noted(encoder: encode.Encoder, patch: Any, *rest: Any) -> Any:
        decoded.append(patch.key)
        return encoded(encoder, patch, *rest)

    monkeypatch.setattr(encode.Encoder, "encode", noted)
    made(source, tmp_path / "store")
    assert len(stored) == records
    assert len(decoded) == 15 - records
    assert not stored & set(decoded)
    assert folder_bytes(tmp_path / "store") == whole


def test_progress_counts_what_was_stored_before(source: Path, tmp_path: Path) -> None:
    class Count:
        done = nbytes = 0
        last: float | None = None

        def start(self, stage: str, total: int | None, unit: str = "records") -> None:
            assert total is None

        def advance(self, patches: int, nbytes: int, share: float | None = None) -> None:
            self.done += patches
            self.nbytes += nbytes
            self.last = share

    stopped(source, tmp_path / "store", 7)
    count = Count()
    convert("bigearthnet-v2", source, tmp_path / "store", workers=0, progress=count)
    assert (count.done, count.last) == (15, 1.0)
    assert count.nbytes > 15 * 28_800


def test_folders_in_place_of_archives_are_another_source(
    raw: Path, source: Path, tmp_path: Path
) -> None:
    stopped(source, tmp_path / "store", 7)
    shutil.copytree(raw / S2, source / S2)
    with pytest.raises(TargetError, match=f"path s2 {source}/{S2}.tar, not {source}/{S2}:"):
        made(source, tmp_path / "store")


def test_an_archive_that_changed_is_refused(raw: Path, source: Path, tmp_path: Path) -> None:
    stopped(source, tmp_path / "store", 14)
    first = patches(raw, "s2")[0]
    names = [name for name in members(raw, S2) if first not in name]
    write(source / f"{S2}.tar", entries(raw, names))
    with pytest.raises(SourceError, match=f"not as it was.*s2 {first} came.*--overwrite"):
        made(source, tmp_path / "store")


def test_a_run_that_stopped_at_a_damaged_patch_goes_on_without_it(
    raw: Path, source: Path, tmp_path: Path
) -> None:
    names = members(raw, S2)
    parts = entries(raw, names)
    parts[27] = entry(names[27], b"no TIFF at all")
    write(source / f"{S2}.tar", parts)
    with pytest.raises(PatchError, match=Path(names[27]).name):
        made(source, tmp_path / "store")
    assert lines_of(tmp_path / "store")
    report = made(source, tmp_path / "store", on_error="skip")
    other = made(source, tmp_path / "other", on_error="skip")
    assert report.skipped == other.skipped
    assert len(report.skipped) == 1
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "other")


@pytest.mark.parametrize("records", range(0, 12, 2))
def test_what_was_taken_out_stays_so(tmp_path: Path, records: int) -> None:
    """A triplet that is not whole is found at the end, and a commit takes its records out again."""
    make_sen12ms(tmp_path / "raw")
    for kind in ("s2", "s1", "lc"):
        names = [name for name in members(tmp_path / "raw", SCENE) if f"_{kind}_" in name]
        kept = [name for name in names if not name.endswith("_lc_1_p31.tif")]
        write(tmp_path / "packed" / f"{SCENE}_{kind}.tar", entries(tmp_path / "raw", kept))
    asked: Any = {"workers": 0, "on_error": OnError.skip}
    report = convert("sen12ms", tmp_path / "packed", tmp_path / "whole", **asked)
    for stop in (records, records + 1):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
            stop_after(patch, stop)
            convert("sen12ms", tmp_path / "packed", tmp_path / "store", **asked)
    again = convert("sen12ms", tmp_path / "packed", tmp_path / "store", **asked)
    assert report.skipped == again.skipped
    assert len(open_store(tmp_path / "store")) == 9
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")


def test_a_stop_behind_the_taking_out_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_sen12ms(tmp_path / "raw")
    for kind in ("s2", "s1", "lc"):
        names = [name for name in members(tmp_path / "raw", SCENE) if f"_{kind}_" in name]
        kept = [name for name in names if not name.endswith("_s1_63_p30.tif")]
        write(tmp_path / "packed" / f"{SCENE}_{kind}.tar", entries(tmp_path / "raw", kept))
    asked: Any = {"workers": 0, "on_error": OnError.skip}
    convert("sen12ms", tmp_path / "packed", tmp_path / "whole", **asked)

    def stop(*_: object, **__: object) -> None:
        raise Stopped

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        patch.setattr("patchpress.converter.commands.convert.join", stop)
        convert("sen12ms", tmp_path / "packed", tmp_path / "store", **asked)
    assert lines_of(tmp_path / "store") == 12  # 11 records, and 2 of them taken out
    convert("sen12ms", tmp_path / "packed", tmp_path / "store", **asked)
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")


@pytest.mark.parametrize("limit", [2, 4])
def test_the_first_patches_go_on(raw: Path, source: Path, tmp_path: Path, limit: int) -> None:
    made(raw, tmp_path / "whole", limit=limit)
    stopped(source, tmp_path / "store", 3, limit=limit)
    made(source, tmp_path / "store", limit=limit)
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_is_one_sentence_and_leaves_no_processes(tmp_path: Path, workers: int) -> None:
    make_tree(tmp_path / "raw", n=40, flagged=1)
    made(tmp_path / "raw", tmp_path / "whole")
    source = packed(tmp_path / "raw", tmp_path / "packed")
    killing = Killing(source, tmp_path / "store", workers, seed=workers)
    come = 0
    while come < 4 and killing.interrupt():
        come += 1
        assert killing.ended.code == 130
        assert killing.ended.sentence == (
            "interrupted: run the same command again to go on from where it stopped"
        )
        assert killing.ended.out == ""
        assert {"unfinished.json", JOURNAL} <= set(os.listdir(tmp_path / "store"))
    assert come == 4
    words = ("convert", "bigearthnet-v2", source, tmp_path / "store", "--workers", workers)
    assert python(RUN, 1, *words).code == 0
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")
