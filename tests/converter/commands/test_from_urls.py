"""Stores at URLs copied to a disk, whole or in part, joined, split and verified where they are."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from patchpress import copy_store, merge_stores, split_store, verify
from patchpress.readers.errors import StoreError
from tests.support.helpers import Ended, folder_bytes
from tests.support.machines import ROOT
from tests.support.web_server import serving

if TYPE_CHECKING:
    from tests.support.s3_server import S3

pytest.importorskip("obstore", reason="obstore is not installed")
pytestmark = pytest.mark.slow
Command = Callable[..., Ended]


@pytest.fixture(scope="module")
def s3() -> "Iterator[S3]":
    pytest.importorskip("moto", reason="moto is not installed")
    from tests.support.s3_server import s3_server

    with s3_server() as server:
        yield server


@pytest.fixture(autouse=True)
def environment(s3: "S3", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHPRESS_CACHE", str(tmp_path / "cache"))
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=[0, 3], ids=["one file", "shards"])
def store(request: pytest.FixtureRequest, stacked: Path, tmp_path: Path) -> Path:
    """A store of one data file or of some, with statistics."""
    shards: int = request.param
    store = tmp_path / "local"
    copy_store(stacked, store, shards=shards)
    return store


@pytest.fixture
def url(s3: "S3", store: Path, request: pytest.FixtureRequest) -> str:
    return s3.upload(store, f"{request.node.name}/ben.store")


def test_a_whole_copy_has_the_bytes_of_the_store(
    url: str, store: Path, tmp_path: Path, patchpress: Command
) -> None:
    ended = patchpress("copy", url, tmp_path / "copy")
    assert ended.code == 0, ended.err
    assert folder_bytes(tmp_path / "copy") == folder_bytes(store)
    again = patchpress("copy", url, tmp_path / "copy")
    assert again.code == 2
    assert "is a finished store" in again.sentence


@pytest.mark.parametrize(
    "choice",
    [
        {"split": "train"},
        {"modalities": "s2", "bands": "rgb"},
        {"fraction": 0.5, "seed": 3},
        {"shards": 2},
    ],
    ids=str,
)
def test_a_part_has_the_bytes_of_the_part_of_a_folder(
    url: str, store: Path, tmp_path: Path, choice: dict[str, Any]
) -> None:
    there = copy_store(url, tmp_path / "there", **choice)
    here = copy_store(store, tmp_path / "here", **choice)
    assert folder_bytes(tmp_path / "there") == folder_bytes(tmp_path / "here")
    assert there.left_out == here.left_out
    assert there.notes == here.notes
    assert there.store == str(tmp_path / "there")


def test_no_more_is_requested_than_is_copied(store: Path, tmp_path: Path) -> None:
    with serving(store.parent) as server:
        copy_store(f"{server.url}/{store.name}", tmp_path / "part", modalities="map")
        asked = [of for path, of in server.asked if path.endswith("data.mdb")]
    ranges = [of.removeprefix("bytes=").split("-") for of in asked]
    sent = sum(int(last) + 1 - int(first) for first, last in ranges)
    whole = sum(path.stat().st_size for path in store.rglob("data.mdb"))
    part = sum(path.stat().st_size for path in (tmp_path / "part").rglob("data.mdb"))
    heads = 4 * (64 << 10)  # of each data file, to know it again
    assert part // 2 < sent < part + heads < whole


def test_stores_at_urls_are_joined_and_split(
    url: str, store: Path, tmp_path: Path, patchpress: Command
) -> None:
    copy_store(url, tmp_path / "s1", modalities="s1")
    ended = patchpress("copy", url, tmp_path / "s2", "--modality", "s2")
    assert ended.code == 0, ended.err
    merge_stores([tmp_path / "s1", url], tmp_path / "merged")
    merge_stores([tmp_path / "s1", store], tmp_path / "here")
    assert folder_bytes(tmp_path / "merged") == folder_bytes(tmp_path / "here")
    split_store(url, tmp_path / "split", shards=4)
    split_store(store, tmp_path / "split here", shards=4)
    assert folder_bytes(tmp_path / "split") == folder_bytes(tmp_path / "split here")


def test_a_copy_that_was_killed_goes_on(url: str, store: Path, tmp_path: Path) -> None:
    """It is killed when its first records are on the disk."""
    script = (
        "import os, sys\n"
        "from patchpress import copy_store\n"
        "class Kill:\n"
        "    def start(self, *words): pass\n"
        "    def advance(self, count, nbytes, share=None):\n"
        "        os.kill(os.getpid(), 9)\n"
        f"copy_store({url!r}, {str(tmp_path / 'copy')!r}, progress=Kill())\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert ended.returncode == -9
    assert not (tmp_path / "copy" / "manifest.json").exists()
    copy_store(url, tmp_path / "copy")
    assert folder_bytes(tmp_path / "copy") == folder_bytes(store)


def test_a_record_that_is_damaged_there_is_named(
    s3: "S3", url: str, store: Path, tmp_path: Path, patchpress: Command
) -> None:
    path = sorted(store.rglob("data.mdb"))[-1]
    name = url.removeprefix("s3://bucket/") + f"/{path.relative_to(store)}"
    data = bytearray(path.read_bytes())
    at = len(data) // 2
    data[at] ^= 1
    s3.put(name, bytes(data))
    ended = patchpress("copy", url, tmp_path / "copy")
    assert ended.code == 1
    assert f"of {url} differs from its checksum" in ended.sentence
    assert not (tmp_path / "copy" / "manifest.json").exists()
    verdict = verify(url)
    assert not verdict.good
    assert any("differs from its checksum in metadata.parquet" in one for one in verdict.problems)
    assert str(tmp_path) not in verdict.text()
    # What is mended there is copied: the same command goes on.
    s3.put(name, path.read_bytes())
    assert patchpress("copy", url, tmp_path / "copy").code == 0
    assert folder_bytes(tmp_path / "copy") == folder_bytes(store)


def test_verify_reads_every_record_where_it_is(url: str, store: Path, patchpress: Command) -> None:
    ended = patchpress("verify", url)
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[1:] == patchpress("verify", store).out.splitlines()[1:]
    assert ended.out.startswith(f"{url}: good\n")


@pytest.mark.parametrize("stored", ["native none", "native zstd", "stacked blosc2"])
def test_verify_of_other_ways_to_store(
    s3: "S3", stores: dict[tuple[str, str], Path], stored: str
) -> None:
    layout, codec = stored.split()
    if (layout, codec) not in stores:
        pytest.skip(f"there is no store that is {stored}")
    url = s3.upload(stores[layout, codec], f"ways/{layout}-{codec}")
    assert verify(url).good


def test_what_verify_finds_at_a_url(
    s3: "S3", url: str, store: Path, stacked: Path, tmp_path: Path, patchpress: Command
) -> None:
    prefix = url.removeprefix("s3://bucket/")
    path = sorted(store.rglob("data.mdb"))[-1]
    name = f"{prefix}/{path.relative_to(store)}"
    data = path.read_bytes()
    for damage, said in [
        (data[:-4096], "bytes where the manifest promises"),
        (data[: 1 << 12] + bytes(1 << 12) + data[1 << 13 :], "is not the file that the extents"),
    ]:
        s3.put(name, damage)
        ended = patchpress("verify", url)
        assert ended.code == 1
        assert said in ended.out + ended.err
        assert url in ended.out + ended.err
    s3.remove(name)
    gone = patchpress("verify", url)
    assert gone.code == 1
    assert f"{url}/{path.relative_to(store)}" in gone.out + gone.err
    s3.put(name, data)
    table = (store / "metadata.parquet").read_bytes()
    s3.put(f"{prefix}/metadata.parquet", table[:-1])
    shutil.rmtree(os.environ["PATCHPRESS_CACHE"])
    ended = patchpress("verify", url)
    assert ended.code == 1
    assert ended.sentence.startswith(f"{url}/metadata.parquet is not the file that was written")
    s3.put(f"{prefix}/metadata.parquet", table)
    assert patchpress("verify", url).code == 0


def test_a_bucket_that_refuses(s3: "S3", url: str, tmp_path: Path, patchpress: Command) -> None:
    s3.check_keys(0)
    try:
        for words in (["copy", url, tmp_path / "copy"], ["verify", url]):
            ended = patchpress(*words)
            assert ended.code in (1, 2)
            assert url in ended.sentence
            assert not (tmp_path / "copy").exists()
    finally:
        s3.check_keys(None)
    with pytest.raises(StoreError, match="there is no store at s3://bucket/nothing"):
        copy_store("s3://bucket/nothing", tmp_path / "copy")
