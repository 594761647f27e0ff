"""What a conversion may write over or remove: files of a store, and nothing that is not known."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest

from patchpress import convert, index, open_store, stats
from patchpress.converter.storage import folder as module
from patchpress.converter.storage import marker as marker_module
from patchpress.converter.storage import report as reports
from patchpress.converter.storage.folder import claim
from patchpress.converter.storage.ownership import OWN_FILES
from patchpress.converter.storage.report import report_path
from patchpress.converter.storage.transactions import LMDB_09
from patchpress.readers.errors import PatchError, PatchpressError, TargetError
from patchpress.readers.format.manifest import DATA, EXTENTS, JOURNAL, MARKER, METADATA, STATISTICS
from tests.support.helpers import DATASET, Ended, band_files, folder_bytes, made, patches
from tests.support.stopping import Stopped, commits_of, stop_after

Command = Callable[..., Ended]
PRECIOUS = b"written by somebody, and nowhere else"
# Names that were once predictable, too.
NAMES = [*OWN_FILES, *(f"{name}.partial" for name in ("manifest.json", EXTENTS, STATISTICS))]


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    path = tmp_path / "precious"
    path.write_bytes(PRECIOUS)
    return path


@pytest.fixture
def unfinished(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store whose conversion stopped after 7 of 15 records."""
    commits_of(1, monkeypatch)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        stop_after(patch, 7)
        made(raw, tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def finished(raw: Path, tmp_path: Path) -> Path:
    made(raw, tmp_path / "store")
    stats(tmp_path / "store", workers=0)
    return tmp_path / "store"


@pytest.mark.slow
@pytest.mark.parametrize("writer", ["pages", "lmdb"])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_written_through_a_link_in_an_unfinished_store(
    raw: Path, unfinished: Path, precious: Path, name: str, overwrite: bool, writer: Any
) -> None:
    (unfinished / name).unlink(missing_ok=True)
    (unfinished / name).symlink_to(precious)
    with pytest.raises(TargetError, match="is a link|other things"):
        made(raw, unfinished, overwrite=overwrite, writer=writer)
    assert precious.read_bytes() == PRECIOUS
    assert (unfinished / name).is_symlink()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_written_through_a_link_in_a_finished_store(
    raw: Path, finished: Path, precious: Path, name: str
) -> None:
    (finished / name).unlink(missing_ok=True)
    (finished / name).symlink_to(precious)
    with pytest.raises(TargetError, match="is a link|other things"):
        made(raw, finished, overwrite=True)
    for call in (lambda: index(finished), lambda: stats(finished, workers=0)):
        try:
            call()
        except PatchpressError:
            continue
        finally:
            assert precious.read_bytes() == PRECIOUS


@pytest.mark.parametrize("name", [DATA, JOURNAL, MARKER])
def test_a_link_that_appears_meanwhile_is_not_followed(
    raw: Path, unfinished: Path, precious: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if nothing was wrong when the folder was looked at."""
    (unfinished / name).unlink()
    (unfinished / name).symlink_to(precious)
    monkeypatch.setattr(module, "check_target", lambda *_, **__: None)
    for writer in ("pages", "lmdb"):
        with pytest.raises(TargetError):
            made(raw, unfinished, writer=writer)
    assert precious.read_bytes() == PRECIOUS


def test_a_report_is_never_written_through_a_link_or_over_a_file(
    raw: Path, tmp_path: Path, precious: Path
) -> None:
    """The report has names, so that it is written; another one is there already."""
    shutil.rmtree(band_files(raw, "s1", patches(raw, "s1")[0])["VV"].parent)
    beside = report_path(tmp_path / "store")
    beside.symlink_to(precious)
    with pytest.warns(UserWarning, match="is no report .*store.report-2.json"):
        made(raw, tmp_path / "store")
    assert precious.read_bytes() == PRECIOUS
    assert json.loads((tmp_path / "store.report-2.json").read_text())["without_partner"]
    beside.unlink()
    beside.write_bytes(PRECIOUS)
    with pytest.warns(UserWarning, match="is no report"):
        made(raw, tmp_path / "store", overwrite=True)
    assert beside.read_bytes() == PRECIOUS
    assert not (tmp_path / "store.report-3.json").exists()  # the second was ours
    beside.unlink()
    made(raw, tmp_path / "store", overwrite=True)
    assert reports.is_report(beside)


@pytest.mark.parametrize(
    "marker",
    [b"{}", b"", b"[]", b'{"dataset": "bigearthnet-v2"}', b'{"job": "patchpress", "left": 7}'],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_of_the_same_name_as_ours_is_no_permission(
    raw: Path, tmp_path: Path, marker: bytes, overwrite: bool
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / MARKER).write_bytes(marker)
    (store / DATA).write_bytes(PRECIOUS)
    before = folder_bytes(store)
    with pytest.raises(TargetError, match="other things in it"):
        made(raw, store, overwrite=overwrite)
    assert folder_bytes(store) == before


def put(store: Path, key: bytes, value: bytes) -> None:
    with (
        lmdb.open(str(store), map_size=1 << 28, **LMDB_09) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(key, value)


@pytest.mark.parametrize("overwrite", [False, True])
def test_records_that_somebody_put_into_an_empty_unfinished_store_are_kept(
    raw: Path, tmp_path: Path, overwrite: bool
) -> None:
    store, file = tmp_path / "store", band_files(raw, "s2", patches(raw, "s2")[0])["B02"]
    right = file.read_bytes()
    file.write_bytes(right[:-1])
    with pytest.raises(PatchError):
        made(raw, store, modalities="s2")
    file.write_bytes(right)
    (store / DATA).unlink(missing_ok=True)
    put(store, b"theirs", PRECIOUS)
    before = (store / DATA).read_bytes()
    with pytest.raises(TargetError, match="1 records that no conversion has noted"):
        made(raw, store, modalities="s2", overwrite=overwrite)
    assert (store / DATA).read_bytes() == before


@pytest.mark.parametrize("name", [DATA, METADATA, EXTENTS, STATISTICS])
def test_overwrite_removes_only_what_the_manifest_knows(
    raw: Path, finished: Path, name: str
) -> None:
    (finished / name).write_bytes(PRECIOUS)
    before = folder_bytes(finished)
    with pytest.raises(TargetError, match=f"{name} is not the file that belongs to its manifest"):
        made(raw, finished, overwrite=True)
    assert folder_bytes(finished) == before


def test_overwrite_takes_no_manifest_at_its_word(raw: Path, finished: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    for changed in (manifest | {"rows": 7}, {"format": "patchpress"}, {"patchpress": 1}):
        (finished / "manifest.json").write_text(json.dumps(changed))
        before = folder_bytes(finished)
        with pytest.raises(TargetError, match="cannot be read|other things"):
            made(raw, finished, overwrite=True)
        assert folder_bytes(finished) == before


def test_overwrite_replaces_a_whole_store(raw: Path, finished: Path) -> None:
    (finished / f"{EXTENTS}.0123456789abcdef.partial").write_bytes(b"left by a kill")
    made(raw, finished, layout="native", overwrite=True)
    assert open_store(finished).manifest.modalities["s2"].layout == "native"
    assert not list(finished.glob("*.partial"))


@pytest.mark.parametrize("overwrite", [False, True])
def test_records_of_another_program_are_never_replaced(
    raw: Path, tmp_path: Path, overwrite: bool
) -> None:
    made(raw, tmp_path / "store", layout="native")
    adopted = tmp_path / "adopted"
    adopted.mkdir()
    shutil.copyfile(tmp_path / "store" / DATA, adopted / DATA)
    index(adopted, DATASET)
    before = folder_bytes(adopted)
    with pytest.raises(TargetError, match="another program wrote"):
        made(raw, adopted, overwrite=overwrite)
    assert folder_bytes(adopted) == before


def test_records_that_another_program_added_are_never_replaced(
    raw: Path, tmp_path: Path, stacked: Path
) -> None:
    store = tmp_path / "store"
    made(raw, store)
    key = "S2B_MSIL2A_20180515T094029_N9999_R036_T35VNJ_15_40"
    put(store, key.encode(), (bytes(open_store(stacked)._reader.whole(
        open_store(stacked).keys("s2")[0])[0])))  # fmt: skip
    index(store)
    with pytest.raises(TargetError, match="another program wrote"):
        made(raw, store, overwrite=True)
    assert len(open_store(store)) == 16


def windows(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Between the look at a folder and its lock, wait until the other conversion has begun."""
    looked, go_on = threading.Event(), threading.Event()
    locked = marker_module.locked_marker

    def slow(store: Path) -> int:
        if threading.current_thread().name == "second":
            looked.set()
            assert go_on.wait(60)
        return locked(store)

    monkeypatch.setattr(module, "locked_marker", slow)
    yield looked, go_on


@pytest.mark.parametrize("ends", ["goes on", "has ended", "was refused"])
def test_of_two_conversions_that_begin_at_once_one_is_refused_and_none_loses_anything(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """The second has looked at the folder when it was empty; the first begins only then."""
    store, errors = tmp_path / "store", list[BaseException]()
    looked, go_on = next(windows(monkeypatch))

    def second() -> None:
        try:
            with claim(store, overwrite=False) as target:
                target.clear({"patchpress": "1", "dataset": "second"})
                raise InterruptedError
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=second, name="second")
    thread.start()
    assert looked.wait(60)
    try:
        with claim(store, overwrite=False) as target:
            if ends == "was refused":
                raise InterruptedError
            target.clear({"patchpress": "1", "dataset": "first"})
            (store / JOURNAL).write_bytes(PRECIOUS)
            if ends == "goes on":
                go_on.set()
                thread.join(60)
                assert (store / JOURNAL).read_bytes() == PRECIOUS
                assert json.loads((store / MARKER).read_text())["dataset"] == "first"
            (store / DATA).write_bytes(PRECIOUS)
            made(raw, tmp_path / "made")
            for file in (tmp_path / "made").iterdir():
                os.replace(file, store / file.name)
    except InterruptedError:
        pass
    go_on.set()
    thread.join(60)
    (error,) = errors
    if ends == "was refused":  # then the place is free
        assert isinstance(error, InterruptedError)
        return
    assert isinstance(error, TargetError)
    assert ("another process" if ends == "goes on" else "finished store") in str(error)
    assert len(open_store(store)) == 15
    assert not (store / MARKER).exists()


def test_a_file_system_without_locks_is_told(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refused)
    with pytest.warns(UserWarning, match="has no locks"):
        convert(DATASET, raw, tmp_path / "store", workers=0)
    assert len(open_store(tmp_path / "store")) == 15
