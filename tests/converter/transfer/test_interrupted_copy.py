"""A copy that was stopped goes on, and ends with the bytes of one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from patchpress import (
    StoreDamaged,
    StoreUnfinished,
    TargetError,
    copy_store,
    merge_stores,
    open_store,
    split_store,
)
from patchpress.converter.storage.disk import disk_of
from patchpress.converter.storage.folder import claim
from patchpress.converter.storage.journal import Journal
from patchpress.converter.transfer import frames, target_store
from patchpress.readers.format.manifest import JOURNAL
from tests.conftest import KINDS
from tests.support.helpers import folder_bytes
from tests.support.stopping import RUN, Stopped, commits_of

pytestmark = pytest.mark.slow

GUARD = 120.0  # seconds until a test that hangs gives up; no test is decided by it

Run = Callable[[Path, Path], object]
WAYS: dict[str, Run] = {
    "all": lambda source, out: copy_store(source, out),
    "bands": lambda source, out: copy_store(source, out, bands={"s2": "20m"}),
    "shards": lambda source, out: split_store(source, out, shards=3),
    "merge": lambda source, out: merge_stores(
        [source.parent / "merged" / name for name in ("train", "rest")], out
    ),
}


def prepared(source: Path) -> None:
    """Make the parts that the merge takes."""
    root = source.parent / "merged"
    if not root.exists():
        copy_store(source, root / "train", split="train")
        copy_store(source, root / "rest", split=["test", "val"], flagged="include")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "kind", [("stacked", "none"), ("native", "zstd"), ("native", "blosc2")], ids="-".join
)
@pytest.mark.parametrize("lines", [1, 7])
def test_a_copy_that_stopped_goes_on(
    stores: dict[tuple[str, str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: tuple[str, str],
    way: str,
    lines: int,
) -> None:
    source = tmp_path / "source"
    copy_store(stores[kind], source)
    prepared(source)
    commits_of(1, monkeypatch)
    monkeypatch.setattr(frames, "CHUNK_BYTES", 1)
    run, out = WAYS[way], tmp_path / "out"
    run(source, tmp_path / "expected")
    noted: Any = Journal.append
    left = lines

    def append(journal: Journal, *arguments: Any) -> None:
        nonlocal left
        if not left:
            raise Stopped
        left -= 1
        noted(journal, *arguments)

    for _ in range(3):
        left = lines
        monkeypatch.setattr(Journal, "append", append)
        with pytest.raises(Stopped):
            run(source, out)
        with pytest.raises(StoreUnfinished):
            open_store(out)
    monkeypatch.setattr(Journal, "append", noted)
    read: list[int] = []
    whole = frames.FrameReader.chunks

    def chunks(reader: frames.FrameReader, records: Any, first: int = 0) -> Any:
        read.append(len(records) - first)
        return whole(reader, records, first)

    monkeypatch.setattr(frames.FrameReader, "chunks", chunks)
    run(source, out)
    assert folder_bytes(out) == folder_bytes(tmp_path / "expected")
    total = open_store(out).manifest.records
    assert sum(read) <= total - 3 * (lines - 1)  # what is stored is not read again


@pytest.mark.slow
@pytest.mark.parametrize(
    "way", [["copy"], ["split", "--shards", "4"], ["copy", "--bands", "s2=rgb"]]
)
def test_a_copy_that_is_killed_goes_on(stacked: Path, tmp_path: Path, way: list[str]) -> None:
    command, *options = way
    out, chance = tmp_path / "out", random.Random(5)  # noqa: S311
    words = [sys.executable, str(RUN), "1", command, str(stacked), str(out), *options]
    kills = 0
    while kills < 4:
        process = subprocess.Popen(
            words,
            env={**os.environ, "SECONDS_A_COMMIT": "0.02"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        wanted, begun = lines(out) + chance.randint(1, 4), time.monotonic()
        while process.poll() is None and lines(out) < wanted:
            assert time.monotonic() - begun < GUARD
            time.sleep(0.001)
        process.kill()
        _, err = process.communicate(timeout=GUARD)
        if process.returncode != -signal.SIGKILL:
            assert (process.returncode, err) == (0, "")
            break
        kills += 1
    assert kills >= 3
    subprocess.run(words, check=True, timeout=GUARD, stdout=subprocess.DEVNULL)
    whole = subprocess.run(
        [*words[:4], str(stacked), str(tmp_path / "expected"), *options],
        timeout=GUARD,
        stdout=subprocess.DEVNULL,
    )
    assert whole.returncode == 0
    assert folder_bytes(out) == folder_bytes(tmp_path / "expected")


def lines(store: Path) -> int:
    """How many lines the journals of an unfinished store have."""
    count = 0
    for journal in store.rglob(JOURNAL):
        try:
            count += journal.read_bytes().count(b"\n")
        except FileNotFoundError:
            continue
    return count


def stopped(monkeypatch: pytest.MonkeyPatch, run: Callable[[], object], lines: int = 2) -> None:
    """Run a copy that ends by an exception after some lines."""
    noted: Any = Journal.append
    left = lines

    def append(journal: Journal, *arguments: Any) -> None:
        nonlocal left
        if not left:
            raise Stopped
        left -= 1
        noted(journal, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "append", append)
        patched.setattr(frames, "CHUNK_BYTES", 1)
        with pytest.raises(Stopped):
            run()


def test_another_choice_does_not_go_on(
    stacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    stopped(monkeypatch, lambda: copy_store(stacked, out, split="train"))
    with pytest.raises(TargetError, match="was begun with choice --split train, not --split test"):
        copy_store(stacked, out, split="test")
    copy_store(stacked, out, split="test", overwrite=True)
    copy_store(stacked, tmp_path / "expected", split="test")
    assert folder_bytes(out) == folder_bytes(tmp_path / "expected")


def test_two_at_once_are_refused(stacked: Path, tmp_path: Path) -> None:
    with claim(tmp_path / "out", overwrite=False):
        with pytest.raises(TargetError, match="is writing"):
            copy_store(stacked, tmp_path / "out")
        (tmp_path / "out" / "manifest.json").write_text("{}")  # so that the claim ends
    assert (stacked / "data.mdb").exists()


def test_a_source_may_be_moved_meanwhile(
    stacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_store(stacked, tmp_path / "one")
    stopped(monkeypatch, lambda: copy_store(tmp_path / "one", tmp_path / "out"))
    (tmp_path / "one").rename(tmp_path / "two")
    copy_store(tmp_path / "two", tmp_path / "out")
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "two")


def damaged(store: Path) -> str:
    """Flip a bit in the middle of a record; gives its key."""
    opened = open_store(store)
    extents = opened._reader.extents
    assert extents is not None
    at = len(extents) // 2
    with (store / "data.mdb").open("r+b") as file:
        file.seek(int(extents.offset[at]) + int(extents.length[at]) // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 4]))
    return extents.key(at)


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
@pytest.mark.parametrize("bands", [None, {"s1": "VV", "s2": "rgb"}], ids=["whole", "bands"])
def test_a_damaged_record_is_named(
    stores: dict[tuple[str, str], Path], tmp_path: Path, kind: tuple[str, str], bands: Any
) -> None:
    copy_store(stores[kind], tmp_path / "source")
    key = damaged(tmp_path / "source")
    with pytest.raises(StoreDamaged, match=f"record '{key}' of .* differs from its checksum"):
        copy_store(tmp_path / "source", tmp_path / "out", bands=bands)
    with pytest.raises(StoreUnfinished):
        open_store(tmp_path / "out")
    # With the source in order the same command goes on.
    copy_store(stores[kind], tmp_path / "source", overwrite=True)
    copy_store(tmp_path / "source", tmp_path / "out", bands=bands)
    copy_store(stores[kind], tmp_path / "expected", bands=bands)
    assert folder_bytes(tmp_path / "out") == folder_bytes(tmp_path / "expected")


def test_a_source_that_was_cut(stacked: Path, tmp_path: Path) -> None:
    copy_store(stacked, tmp_path / "source")
    size = (tmp_path / "source" / "data.mdb").stat().st_size
    os.truncate(tmp_path / "source" / "data.mdb", size - 4096)
    with pytest.raises(StoreDamaged, match="where the manifest promises"):
        copy_store(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("where", ["", "part", ".."])
def test_a_target_inside_of_its_source_and_around_it(
    stacked: Path, tmp_path: Path, where: str
) -> None:
    copy_store(stacked, tmp_path / "root" / "source")
    source = tmp_path / "root" / "source"
    with pytest.raises(TargetError, match="source"):
        copy_store(source, source / where, overwrite=True)
    assert folder_bytes(source) == {
        n: c for n, c in folder_bytes(stacked).items() if n != "lock.mdb"
    }


def test_room_is_looked_for_before_anything_is_written(
    stacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    least = target_store.least_bytes
    seen: list[int] = []

    def much(plan: Any) -> int:
        seen.append(least(plan))
        return 1 << 60

    monkeypatch.setattr(target_store, "least_bytes", much)
    found = disk_of(tmp_path)
    monkeypatch.setattr(target_store, "disk_of", lambda store: found._replace(plain=True))
    with pytest.raises(TargetError, match=r"needs at least .* make room, choose another place"):
        copy_store(stacked, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert seen == [(stacked / "data.mdb").stat().st_size]


def test_files_of_others_are_never_removed(stacked: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(TargetError, match=r"other things in it \(thesis.txt\)"):
        copy_store(stacked, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "mine"
