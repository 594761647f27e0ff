"""Commands on stores at URLs."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from patchpress import open_store
from patchpress.converter.commands.bench import bench
from tests.support.helpers import Ended
from tests.support.sharding import sharded
from tests.support.web_server import serving

if TYPE_CHECKING:
    from tests.support.s3_server import S3

pytest.importorskip("obstore", reason="obstore is not installed")
Command = Callable[..., Ended]


@pytest.fixture(scope="module")
def s3() -> "Iterator[S3]":
    pytest.importorskip("moto", reason="moto is not installed")
    from tests.support.s3_server import s3_server

    with s3_server() as server:
        yield server


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHPRESS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def keys_of_s3(s3: "S3", monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def url(stacked: Path) -> Iterator[str]:
    with serving(stacked.parent) as server:
        yield f"{server.url}/{stacked.name}"


@pytest.mark.slow
def test_inspect_and_plot_show_a_store_at_a_url(
    url: str, stacked: Path, patchpress: Command, tmp_path: Path
) -> None:
    secret = f"{url}?signature=abc"
    told = patchpress("inspect", secret)
    assert told.code == 0
    expected = patchpress("inspect", stacked)
    assert told.out.splitlines()[1:] == expected.out.splitlines()[1:]
    assert told.out.startswith(f"{url}?signature=***: ")
    key = open_store(stacked).keys("s2")[0]
    assert patchpress("inspect", url, key).out == patchpress("inspect", stacked, key).out
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    assert patchpress("plot", url, key, "--out", tmp_path / "one.png").code == 0
    assert (tmp_path / "one.png").exists()


def test_stats_are_kept_in_a_file(
    url: str, stacked: Path, patchpress: Command, tmp_path: Path
) -> None:
    refused = patchpress("stats", url)
    assert refused.code == 2
    assert refused.sentence == f"{url} is a URL, where no statistics are kept: give --out FILE"
    for name, store in (("there", url), ("here", stacked)):
        ended = patchpress("stats", store, "--out", tmp_path / name, "--workers", 0)
        assert ended.code == 0, ended.err
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()


@pytest.mark.slow
def test_bench_measures_range_requests(url: str) -> None:
    report = bench(url, seconds=0.05, batch=4)
    assert {(one.case, one.cache, one.mode) for one in report.measurements} == {
        (case, "warm", "auto") for case in ("single", "batch", "loader")
    }
    assert all(one.patches for one in report.measurements)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verify", "URL", "--against", "OUT"], "--against compares a store on a disk: copy it"),
        (["index", "URL"], "is a URL, and this works on a disk"),
        (["copy", "URL", "URL"], "are both URLs: copy the store to a folder first"),
        (["copy", "STORE", "URL", "--split", "train"], "to which whole stores are sent"),
    ],
)
def test_what_needs_a_disk_says_so(
    words: list[str], said: str, stacked: Path, tmp_path: Path, patchpress: Command
) -> None:
    private = "https://me:word@host/a?key=b"
    places = {"URL": private, "OUT": str(tmp_path / "out"), "STORE": str(stacked)}
    ended = patchpress(*(places.get(word, word) for word in words))
    assert ended.code == 2
    assert said in ended.sentence
    assert "https://***@host/a?key=***" in ended.sentence
    assert "word@" not in ended.err


@pytest.mark.usefixtures("keys_of_s3")
class TestCopy:
    @pytest.mark.parametrize("shards", [0, 3])
    def test_a_store_is_sent_and_reads_the_same(
        self, shards: int, stacked: Path, tmp_path: Path, patchpress: Command
    ) -> None:
        store = sharded(stacked, tmp_path / "parts", shards) if shards else stacked
        url = f"s3://bucket/copied-{shards}"
        ended = patchpress("copy", store, url)
        assert ended.code == 0, ended.err
        assert ended.out.startswith(f"{url}: bigearthnet-v2")
        local, there = open_store(store), open_store(url)
        keys = local.keys("s2")
        np.testing.assert_array_equal(there.read_batch(keys), local.read_batch(keys))
        again = patchpress("copy", store, url)
        assert again.code == 0
        assert "that very store is there already: nothing was sent" in again.out

    def test_another_store_there_is_kept_or_replaced(
        self, stacked: Path, native: Path, patchpress: Command
    ) -> None:
        url = "s3://bucket/replaced"
        assert patchpress("copy", native, url).code == 0
        refused = patchpress("copy", stacked, url)
        assert refused.code == 2
        assert refused.sentence.startswith(f"{url} has another store: choose another URL")
        assert open_store(url).manifest == open_store(native).manifest
        assert patchpress("copy", stacked, url, "--overwrite").code == 0
        key = open_store(stacked).keys("s2")[0]
        np.testing.assert_array_equal(open_store(url).read(key), open_store(stacked).read(key))

    def test_a_copy_that_was_interrupted_goes_on(
        self, s3: "S3", stacked: Path, tmp_path: Path, patchpress: Command
    ) -> None:
        store = sharded(stacked, tmp_path / "parts", 2)
        url = "s3://bucket/interrupted"
        # A shard arrived, and of another one something else.
        for number, data in enumerate([(store / "shards/00000/data.mdb").read_bytes(), b"odd"]):
            s3.put(f"interrupted/shards/0000{number}/data.mdb", data)
        assert patchpress("inspect", url).code == 1  # no store yet
        assert patchpress("copy", store, url).code == 0
        keys = open_store(store).keys("s2")
        np.testing.assert_array_equal(
            open_store(url).read_batch(keys), open_store(store).read_batch(keys)
        )

    def test_what_cannot_be_sent_is_said(
        self, s3: "S3", stacked: Path, tmp_path: Path, patchpress: Command
    ) -> None:
        nowhere = patchpress("copy", stacked, "s3://no-such-bucket/x")
        assert nowhere.code == 1
        assert nowhere.sentence.startswith("there is no bucket for s3://no-such-bucket/x (404")
        unfinished = Path(shutil.copytree(stacked, tmp_path / "unfinished"))
        (unfinished / "manifest.json").unlink()
        assert patchpress("copy", unfinished, "s3://bucket/unfinished").code == 1


def test_converting_to_a_url_says_the_way(tree: Path, patchpress: Command) -> None:
    ended = patchpress("convert", "bigearthnet-v2", tree, "s3://bucket/x")
    assert ended.code == 2
    assert ended.sentence == (
        "s3://bucket/x is a URL, to which shards are sent as they are made: give --shards N (1 for "
        "a single data file)"
    )
    ended = patchpress("convert", "bigearthnet-v2", tree, "s3://bucket/x", "--dry-run")
    assert ended.code == 2
    assert ended.sentence == (
        "s3://bucket/x is a URL, and this works on a disk: name a folder or file of this machine "
        "(`patchpress copy FOLDER URL` sends a store)"
    )
