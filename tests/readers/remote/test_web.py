import logging
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from patchpress import open_store
from patchpress.converter.commands.stats import stats
from patchpress.readers.errors import (
    OptionError,
    StageUnusable,
    StoreDamaged,
    StoreMissing,
    StoreUnreadable,
)
from patchpress.readers.remote import client
from patchpress.readers.remote.failures import failure, sentence
from tests.support.helpers import python, stored_values
from tests.support.sharding import sharded
from tests.support.web_server import WebServer, serving

NAME = "stacked-none"


def test_a_web_server_is_enough(stacked: Path, web: WebServer) -> None:
    local, there = open_store(stacked), open_store(f"{web.url}/{NAME}/")
    keys = local.keys("s2")
    np.testing.assert_array_equal(there.read_batch(keys), local.read_batch(keys))
    web.asked.clear()
    np.testing.assert_array_equal(
        there.read_batch(keys[:1], "rgb"), local.read_batch(keys[:1], "rgb")
    )
    ((path, asked),) = web.asked
    start, end = map(int, asked.removeprefix("bytes=").split("-"))
    assert path == f"/{NAME}/data.mdb"
    assert end + 1 - start == 3 * 120 * 120 * 2  # and no byte besides


def test_a_batch_sends_its_requests_together(stacked: Path, web: WebServer) -> None:
    local, there = open_store(stacked), open_store(f"{web.url}/{NAME}")
    keys = [key for name in ("s2",) for key in local.keys(name)][::2]
    there.read(keys[0])
    web.delay, web.most_under_way = 0.3, 0
    np.testing.assert_array_equal(there.read_batch(keys, ["B12"]), local.read_batch(keys, ["B12"]))
    assert web.most_under_way == len(keys)


def test_user_and_password_are_sent_and_not_shown(
    web: WebServer, caplog: pytest.LogCaptureFixture, quick: None
) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"{web.url.replace('//', '//me:pass%20word@')}/{NAME}?signature=abc123"
    store = open_store(url)
    assert store.read(store.keys("s2")[0]).any()
    assert web.said == {"Basic bWU6cGFzcyB3b3Jk"}
    assert all(path.endswith("?signature=abc123") for path, _ in web.asked)
    web.failing = 100
    with pytest.raises(StoreUnreadable) as error:
        store.read(store.keys("s2")[0])
    told = f"{error.value}{store!r}{store._repr_html_()}{store.url}{caplog.text}"
    assert not any(word in told for word in ("me:", "pass%20word", "pass word", "abc123"))
    assert "signature=***" in told


def test_a_request_that_fails_is_made_again_and_told(
    stacked: Path, web: WebServer, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    store, local = open_store(f"{web.url}/{NAME}"), open_store(stacked)
    keys = local.keys("s2")
    store.read(keys[0])
    web.failing = client.ATTEMPTS - 1
    np.testing.assert_array_equal(store.read(keys[0]), local.read(keys[0]))
    assert "a request failed (503 Service Unavailable), it is made again in 0 s" in caplog.text
    web.failing = client.ATTEMPTS
    with pytest.raises(StoreUnreadable) as error:
        store.read(keys[0])
    assert str(error.value) == (
        f"{web.url}/{NAME}/data.mdb cannot be read: the request failed 3 times, at last since 503 "
        "Service Unavailable; try again when the server answers"
    )
    np.testing.assert_array_equal(store.read(keys[0]), local.read(keys[0]))


def test_a_server_without_ranges_is_said(web: WebServer) -> None:
    web.ranges = False
    with pytest.raises(StoreUnreadable, match="does not answer requests for a part of a file"):
        open_store(f"{web.url}/{NAME}")


def test_a_file_that_became_shorter_is_said(web: WebServer) -> None:
    store = open_store(f"{web.url}/{NAME}")
    keys = store.keys("s2")
    store.read_batch(keys)
    web.cut[f"{NAME}/data.mdb"] = 100_000
    with pytest.raises(StoreDamaged, match=r"data.mdb (has 100,000 bytes where|is shorter than)"):
        store.read_batch(keys)


def test_a_file_with_another_tag_is_said(web: WebServer) -> None:
    store = open_store(f"{web.url}/{NAME}")
    key = store.keys("s2")[0]
    store.read(key)
    web.tags[f"{NAME}/data.mdb"] = '"other"'
    with pytest.raises(StoreDamaged, match="has other content"):
        store.read(key)


def test_a_server_that_refuses_is_said(web: WebServer) -> None:
    web.refusing = True
    with pytest.raises(StoreUnreadable, match=r"is refused \(403 Forbidden\)"):
        open_store(f"{web.url}/{NAME}")


def test_a_server_that_is_not_there_is_said(web: WebServer, quick: None) -> None:
    with pytest.raises(StoreUnreadable, match="3 times, at last since no connection"):
        open_store("http://127.0.0.1:9/x")
    with pytest.raises(StoreMissing, match="there is no store at"):
        open_store(f"{web.url}/nothing")


@pytest.fixture
def own(stacked: Path, tmp_path: Path) -> Iterator[WebServer]:
    """A web server of a store that may be changed."""
    pytest.importorskip("obstore", reason="obstore is not installed")
    shutil.copytree(stacked, tmp_path / "served" / NAME)
    with serving(tmp_path / "served") as server:
        yield server


def test_a_file_that_goes_is_said(own: WebServer) -> None:
    store = open_store(f"{own.url}/{NAME}")
    keys = store.keys("s2")
    store.read(keys[0])
    (own.folder / NAME / "data.mdb").unlink()
    with pytest.raises(StoreMissing, match=f"there is no {own.url}/{NAME}/data.mdb .*: correct"):
        store.read(keys[1])


def test_a_record_whose_header_changed_is_named(own: WebServer, stacked: Path) -> None:
    local = open_store(stacked)
    keys = local.keys("s2")
    data = bytearray((own.folder / NAME / "data.mdb").read_bytes())
    start = data.index(stored_values(stacked)[keys[3]])
    data[start + 20] ^= 1
    (own.folder / NAME / "data.mdb").write_bytes(data)
    store = open_store(f"{own.url}/{NAME}")
    with pytest.raises(StoreDamaged, match=f"record '{keys[3]}' has a header that"):
        store.read(keys[3])
    with pytest.raises(StoreDamaged, match=f"record '{keys[3]}' has a header that"):
        store.read_batch(keys)
    others = [key for key in keys if key != keys[3]]
    np.testing.assert_array_equal(store.read_batch(others), local.read_batch(others))


def test_statistics_that_are_too_long_are_not_fetched(
    own: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own.folder / NAME / "statistics.json").write_bytes(b"x" * 1001)
    monkeypatch.setattr("patchpress.readers.remote.small_files.STATISTICS_LIMIT", 1000)
    with pytest.raises(StoreDamaged, match="statistics.json has 1,001 bytes, where 1,000 are the"):
        open_store(f"{own.url}/{NAME}")


def test_statistics_that_are_the_same_are_not_written_again(own: WebServer) -> None:
    stats(own.folder / NAME, "train", workers=0)
    first = open_store(f"{own.url}/{NAME}")
    kept = first.path / "statistics.json"
    before = kept.stat().st_mtime_ns, kept.stat().st_ino
    again = open_store(f"{own.url}/{NAME}")
    assert (kept.stat().st_mtime_ns, kept.stat().st_ino) == before
    wanted = open_store(own.folder / NAME).statistics("s2", "train")
    assert again.statistics("s2", "train") == wanted


def test_what_needs_files_on_this_machine_is_said(web: WebServer) -> None:
    store = open_store(f"{web.url}/{NAME}")
    with pytest.raises(OptionError, match=f"data files of {web.url}/{NAME} are not on this mach"):
        store.data_files()


@pytest.mark.parametrize("staged", [0, 2, 3])
def test_announced_records_come_from_copies_or_from_the_server(
    stacked: Path, tmp_path: Path, staged: int
) -> None:
    """Of a store in shards, some of which are copied already."""
    pytest.importorskip("obstore", reason="obstore is not installed")
    sharded(stacked, tmp_path / "served" / "parts", 3)
    local = open_store(stacked)
    keys = local.keys("s2")
    with serving(tmp_path / "served") as server:
        url = f"{server.url}/parts"
        if staged:
            open_store(url, stage=tmp_path / "stage").stage()
        for path in sorted((tmp_path / "stage").glob("*/*.mdb"))[staged:]:
            path.unlink()
        store = open_store(url, stage=tmp_path / "stage", stage_size=0 if staged < 3 else None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StageUnusable)  # nothing more has room
            records = store.records(keys)
            records.announce(range(len(keys)))
            np.testing.assert_array_equal(records.read(range(len(keys))), local.read_batch(keys))
            records.announce([0, 1])
        store.close()
        with pytest.raises(StoreUnreadable, match="was closed"):
            store.read(keys[0])


OWN_FOLDER = """
import os, sys
from patchpress import open_store
store = open_store(sys.argv[1])
if os.fork() == 0:
    sys.exit(0)  # a child leaves the folder where it is
os.wait()
print(store.path.is_dir(), store.read(store.keys("s2")[0]).any(), store.path)
"""


def test_a_folder_of_small_files_ends_with_its_process(web: WebServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "file")}
    environment.pop("PATCHPRESS_CACHE")
    ended = python(
        "-W", "ignore::DeprecationWarning", "-c", OWN_FOLDER, f"{web.url}/{NAME}", env=environment
    )
    assert ended.code == 0, ended.err
    there, read, folder = ended.out.split()
    assert (there, read) == ("True", "True")
    assert not Path(folder).exists()


NO_ROOM = """
import resource, signal, sys
from patchpress import StoreUnreadable, open_store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    open_store(sys.argv[1])
except StoreUnreadable as error:
    print(error)
"""


def test_a_cache_without_room_is_said(web: WebServer, cache: Path) -> None:
    # Coverage would write a file, too, and may not.
    environment = {n: v for n, v in os.environ.items() if not n.startswith("COVERAGE_")}
    ended = python("-c", NO_ROOM, f"{web.url}/{NAME}", env=environment)
    assert ended.err == ""
    assert re.fullmatch(
        rf"{web.url}/{NAME}/\S+ cannot be kept in {cache}\S+ \(File too large\): make room there, "
        r"or name another folder by PATCHPRESS_CACHE\n",
        ended.out,
    )


REASONS = {
    "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token": (
        "refused", "no credentials were found"
    ),
    "error sending request: kind: Timeout": ("other", "it took too long"),
    "error sending request: dns error": ("other", "the name of the host is not known"),
    "something else\nand its details": ("other", "it was not answered"),
}  # fmt: skip


@pytest.mark.parametrize("text", REASONS)
def test_why_a_request_failed_is_told_in_a_few_words(text: str) -> None:
    found = failure(Exception(text))
    assert (found.kind, found.reason) == REASONS[text]
    assert found.may_pass == (found.kind == "other")


def test_a_path_that_is_none_is_not_asked_for_again() -> None:
    exceptions = pytest.importorskip("obstore.exceptions", reason="obstore is not installed")
    found = failure(exceptions.InvalidPathError("a//b has an empty part\nDebug source"))
    assert not found.may_pass
    assert str(sentence(found, "s3://bucket", "x", 1)) == (
        "s3://bucket cannot be opened: a//b has an empty part"
    )
