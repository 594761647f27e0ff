"""`convert`, `missing` and `merge` of a store at a URL, on a real server of S3's protocol."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from patchpress import convert, open_store
from patchpress.converter.commands.convert_shards import convert_shard
from patchpress.converter.commands.finish import finish_store
from patchpress.converter.commands.finished_before import FinishedBefore
from patchpress.converter.commands.missing import missing_shards
from patchpress.converter.storage.report import Report
from patchpress.readers.errors import (
    OptionError,
    PatchError,
    StoreDamaged,
    StoreUnfinished,
    StoreUnreadable,
    TargetError,
)
from patchpress.readers.remote.client import Client
from tests.support.helpers import DATASET, Ended, folder_bytes, made, packed, patches

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.support.s3_server import S3

pytest.importorskip("obstore", reason="obstore is not installed")
SHARDS = 3
ROOT = Path(__file__).parents[3]
Command = Callable[..., Ended]


@pytest.fixture(scope="module")
def s3() -> "Iterator[S3]":
    pytest.importorskip("moto", reason="moto is not installed")
    from tests.support.s3_server import s3_server

    with s3_server() as server:
        yield server


@pytest.fixture(scope="module")
def local(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the same store on a disk."""
    store = tmp_path_factory.mktemp("sharded") / "store"
    made(tree, store, shards=SHARDS)
    return folder_bytes(store)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def environment(s3: "S3", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHPRESS_CACHE", str(tmp_path / "cache"))
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("patchpress.readers.remote.client.PAUSES", (0.0, 0.0))


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return f"made/{tmp_path.name}"


@pytest.fixture
def url(prefix: str) -> str:
    return f"s3://bucket/{prefix}"


def whole(raw: Path, url: str, scratch: Path, **options: Any) -> Report:
    return convert(DATASET, raw, url, scratch=scratch, **{"workers": 0, "shards": SHARDS} | options)


def one(raw: Path, url: str, number: int, scratch: Path, **options: Any) -> Any:
    asked = {"workers": 0, "shards": SHARDS} | options
    return convert_shard(DATASET, raw, url, number, scratch=scratch, **asked)


def test_a_store_has_the_bytes_of_one_on_a_disk(
    tree: Path,
    s3: "S3",
    local: dict[str, bytes],
    prefix: str,
    scratch: Path,
    patchpress: Command,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from tests.support.s3_server import SECRET

    caplog.set_level("DEBUG")
    url = f"s3://bucket/{prefix}"
    words = ("convert", DATASET, tree, url, "--shards", SHARDS, "--scratch", scratch)
    ended = patchpress(*words)
    assert ended.code == 0, ended.err
    assert ended.out.startswith(f"{url}: bigearthnet-v2, stacked")
    assert SECRET not in ended.out + ended.err + caplog.text
    assert s3.files(prefix) == local
    assert not list(scratch.iterdir())
    store = open_store(url)
    assert len(store.read_batch(store.keys("s2"))) == len(store.keys("s2"))
    again = patchpress(*words)
    assert again.code == 2
    assert again.sentence == (
        f"{url} is a finished store: choose another URL, or replace it with --overwrite"
    )


def test_shards_made_one_by_one_give_the_same_bytes(
    tree: Path, s3: "S3", local: dict[str, bytes], prefix: str, scratch: Path, patchpress: Command
) -> None:
    from tests.support.s3_server import SECRET

    url = f"s3://bucket/{prefix}"
    nothing = patchpress("merge", url)
    assert nothing.code == 1
    assert nothing.sentence.startswith(f"{url} has no shards to finish: begin with `patchpress")
    assert one(tree, url, 2, scratch).missing == 2
    assert patchpress("missing", url).out == "0-1\n"
    assert one(tree, url, 2, scratch).was_there
    assert one(tree, url, 0, scratch).missing == 1
    refused = patchpress("merge", url)
    assert refused.code == 1
    assert refused.sentence.startswith(f"{url} lacks 1 of 3 shards (1): make them first")
    with pytest.raises(StoreUnfinished):
        open_store(url)
    assert one(tree, url, 1, scratch).missing == 0
    assert missing_shards(url) == []
    assert not any(SECRET.encode() in data for data in s3.files(prefix).values())
    merged = patchpress("merge", url)
    assert merged.code == 0, merged.err
    assert s3.files(prefix) == local
    assert missing_shards(url) == []
    again = patchpress("merge", url)
    assert again.out == f"{url} is finished already, with 3 shards\n"
    assert not list(scratch.iterdir())
    assert isinstance(one(tree, url, 1, scratch), FinishedBefore)
    with pytest.raises(TargetError, match="is a finished store"):
        one(tree, url, 1, scratch, layout="native")


def test_the_number_of_shards_comes_from_the_marker_in_a_job_array(
    tree: Path, url: str, scratch: Path, patchpress: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    one(tree, url, 0, scratch)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    ended = patchpress("convert", DATASET, tree, url, "--workers", 0, "--scratch", scratch)
    assert ended.code == 0, ended.err
    assert f"shard 1 of 3 of {url}, as the store was begun" in ended.err
    assert missing_shards(url) == [2]


@pytest.mark.parametrize("lost", ["shard.json", "data.mdb"])
def test_a_shard_that_is_not_whole_is_made_again(
    lost: str, tree: Path, s3: "S3", local: dict[str, bytes], prefix: str, url: str, scratch: Path
) -> None:
    one(tree, url, 1, scratch)
    s3.remove(f"{prefix}/shards/00001/{lost}")
    if lost == "data.mdb":
        with pytest.warns(UserWarning, match="is not the data file that shard.json beside it"):
            assert missing_shards(url) == [0, 1, 2]
        with pytest.warns(UserWarning, match="has to be made again"):
            whole(tree, url, scratch)
    else:
        assert missing_shards(url) == [0, 1, 2]
        whole(tree, url, scratch)
    assert s3.files(prefix) == local


def test_an_upload_that_fails_is_said_and_goes_on(
    tree: Path, s3: "S3", local: dict[str, bytes], prefix: str, url: str, scratch: Path
) -> None:
    one(tree, url, 0, scratch)
    s3.check_keys(12)  # requests later the server refuses all
    try:
        with pytest.raises((TargetError, StoreUnreadable), match="access to .* is refused") as end:
            whole(tree, url, scratch)
    finally:
        s3.check_keys(None)
    if isinstance(end.value, TargetError):
        assert "the same command sends it" in str(end.value)
        assert list(scratch.glob("patchpress-*/shards/*/shard.json"))
    whole(tree, url, scratch)
    assert s3.files(prefix) == local
    assert not list(scratch.iterdir())


@pytest.mark.slow
def test_a_process_that_was_killed_goes_on(
    tree: Path, s3: "S3", local: dict[str, bytes], prefix: str, url: str, scratch: Path
) -> None:
    words = [sys.executable, "-m", "patchpress", "convert", DATASET, str(tree), url]
    words += ["--shards", str(SHARDS), "--scratch", str(scratch), "--workers", "0"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(words, cwd=ROOT, **quiet) as process:  # type: ignore[call-overload]
        while process.poll() is None and "shards/00000/data.mdb" not in s3.files(prefix):
            time.sleep(0.01)
        process.kill()
    if "manifest.json" in s3.files(prefix):  # on a machine that was slow to kill it
        finish_store(url)
    else:
        assert list(scratch.iterdir())
        whole(tree, url, scratch)
        assert not list(scratch.iterdir())
    assert s3.files(prefix) == local


@pytest.mark.parametrize("at", ["extents.safetensors", "metadata.parquet", "manifest.json"])
def test_a_finish_that_ends_in_the_middle_goes_on(
    at: str,
    tree: Path,
    s3: "S3",
    local: dict[str, bytes],
    prefix: str,
    url: str,
    scratch: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put = Client.put

    def stop(self: Client, name: str, path: Path) -> None:
        put(self, name, path)
        if name == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(Client, "put", stop)
    with pytest.raises(KeyboardInterrupt):
        whole(tree, url, scratch)
    monkeypatch.setattr(Client, "put", put)
    assert "unfinished.json" in s3.files(prefix)
    report = finish_store(url)
    assert isinstance(report, FinishedBefore) == (at == "manifest.json")
    assert s3.files(prefix) == local


def test_other_settings_are_refused_or_replace_what_was_begun(
    tree: Path, s3: "S3", local: dict[str, bytes], prefix: str, url: str, scratch: Path
) -> None:
    one(tree, url, 0, scratch, layout="native", shards=5)
    with pytest.raises(TargetError, match=r"was begun with layout native, not stacked, shards 5"):
        whole(tree, url, scratch)
    with pytest.raises(OptionError, match="--overwrite is for a whole store"):
        one(tree, url, 0, scratch, overwrite=True)
    whole(tree, url, scratch, overwrite=True)
    assert s3.files(prefix) == local


def test_a_finished_store_is_replaced_whole(
    tree: Path, s3: "S3", local: dict[str, bytes], prefix: str, url: str, scratch: Path
) -> None:
    whole(tree, url, scratch, layout="native", shards=5)
    s3.put(f"{prefix}/statistics.json", b"of the store that was there")
    whole(tree, url, scratch, overwrite=True)
    assert s3.files(prefix) == local


def test_what_is_none_of_ours_is_not_replaced(
    tree: Path, s3: "S3", prefix: str, url: str, scratch: Path
) -> None:
    s3.put(f"{prefix}/manifest.json", b"{}")
    with pytest.raises(StoreDamaged):
        whole(tree, url, scratch, overwrite=True)
    s3.remove(f"{prefix}/manifest.json")
    s3.put(f"{prefix}/unfinished.json", b"{}")
    with pytest.raises(TargetError, match="is of no conversion in shards: choose another URL"):
        whole(tree, url, scratch, overwrite=True)
    assert s3.files(prefix) == {"unfinished.json": b"{}"}


def test_damaged_patches_are_told_by_the_report_at_the_url(
    raw: Path, s3: "S3", prefix: str, url: str, scratch: Path, tmp_path: Path
) -> None:
    name = patches(raw, "s2")[0]
    next(path for path in raw.rglob(f"{name}*") if path.is_file()).write_bytes(b"no TIFF")
    told = [one(raw, url, n, scratch, on_error="skip") for n in range(SHARDS)]
    assert sum(len(report.skipped) for report in told) == 1
    again = [one(raw, url, n, scratch, on_error="skip") for n in range(SHARDS)]
    assert [report.skipped for report in again] == [report.skipped for report in told]
    with pytest.raises(PatchError):
        whole(raw, url, scratch)
    report = finish_store(url)
    assert isinstance(report, Report)
    assert report.exit_code == 1
    files = s3.files(prefix)
    beside = f"{tmp_path.name}.report.json"
    assert name.encode() in files.pop(beside)
    made(raw, tmp_path / "local", shards=SHARDS, on_error="skip")
    assert files == folder_bytes(tmp_path / "local")


def test_archives_give_the_same_bytes(
    raw: Path,
    s3: "S3",
    prefix: str,
    url: str,
    scratch: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = packed(raw)
    made(source, tmp_path / "local", shards=SHARDS)
    whole(source, url, scratch)
    assert "3 shards are made in" in capsys.readouterr().err
    assert s3.files(prefix) == folder_bytes(tmp_path / "local")


def test_data_that_is_not_that_of_its_extents_is_said(
    tree: Path, s3: "S3", prefix: str, url: str, scratch: Path
) -> None:
    for number in range(SHARDS):
        one(tree, url, number, scratch)
    name = f"{prefix}/shards/00001/data.mdb"
    s3.put(name, bytes(len(s3.files(prefix)["shards/00001/data.mdb"])))
    with pytest.raises(StoreDamaged, match=r"extents.safetensors is not that of data.mdb"):
        finish_store(url)


def test_places_that_cannot_be_are_said(
    tree: Path, url: str, scratch: Path, patchpress: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("convert", DATASET, tree)
    nowhere = patchpress(*words, "s3://no-such-bucket/x", "--shards", 2, "--scratch", scratch)
    assert nowhere.code == 1
    assert nowhere.sentence.startswith("there is no bucket for s3://no-such-bucket/x (404")
    absent = patchpress(*words, url, "--shards", 2, "--scratch", scratch / "absent")
    assert absent.code == 2
    assert absent.sentence == (
        f"scratch {scratch / 'absent'} is no folder: make it, or name another"
    )
    cluster = patchpress(*words, url, "--shards", 2, "--scheduler", "local")
    assert cluster.code == 2
    assert cluster.sentence.startswith("--scheduler lets workers write a store on a disk that they")
    by_size = patchpress(*words, url, "--shard-size", "1GB")
    assert by_size.code == 2
    assert by_size.sentence.startswith(f"{url} is a URL, and this works on a disk")
    assert not list(scratch.iterdir())


def test_a_server_that_refuses_is_said(
    tree: Path, s3: "S3", url: str, scratch: Path, patchpress: Command
) -> None:
    s3.check_keys(0)
    try:
        ended = patchpress("convert", DATASET, tree, url, "--shards", 2, "--scratch", scratch)
    finally:
        s3.check_keys(None)
    assert ended.code == 1
    assert ended.sentence.startswith(f"access to {url}/manifest.json is refused (403")


def test_credentials_that_are_absent_are_said(
    tree: Path, url: str, scratch: Path, patchpress: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    ended = patchpress("convert", DATASET, tree, url, "--shards", 2, "--scratch", scratch)
    assert ended.code == 1
    assert ended.sentence.startswith(f"access to {url}/manifest.json is refused (no credentials")
    assert not list(scratch.iterdir())
