"""Stores at URLs: on a server of S3's protocol, and on a plain web server."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.web_server import WebServer, serving

if TYPE_CHECKING:
    from tests.support.s3_server import S3


@pytest.fixture(scope="session")
def s3() -> "Iterator[S3]":
    pytest.importorskip("obstore", reason="obstore is not installed")
    pytest.importorskip("moto", reason="moto is not installed")
    from tests.support.s3_server import s3_server

    with s3_server() as server:
        yield server


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where small files are kept: a new one for each test."""
    monkeypatch.setenv("PATCHPRESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def web(stores: dict[tuple[str, str], Path]) -> Iterator[WebServer]:
    """A web server of all stores, by `LAYOUT-COMPRESSION`."""
    pytest.importorskip("obstore", reason="obstore is not installed")
    with serving(stores["stacked", "none"].parent) as server:
        yield server


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting before a request is made again."""
    monkeypatch.setattr("patchpress.readers.remote.client.PAUSES", (0.0, 0.0))
