import logging
from pathlib import Path

import numpy as np
import pytest

from patchpress import open_store
from patchpress.readers.errors import StoreDamaged, StoreMissing, StoreUnreadable
from patchpress.readers.remote import client
from tests.support.web_server import WebServer

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
