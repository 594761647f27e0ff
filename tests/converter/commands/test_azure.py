"""Stores in Azure Blob Storage, of which `azurite` is a real server of the protocol."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from patchpress import PatchLoader, open_store
from tests.support.helpers import DATASET, Ended, folder_bytes, made

if TYPE_CHECKING:
    from tests.support.azure_server import Azure

pytest.importorskip("obstore", reason="obstore is not installed")
pytestmark = pytest.mark.slow
Command = Callable[..., Ended]


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Azure]":
    from tests.support.azure_server import NO_AZURITE, azure_server, azurite

    program = azurite()
    if program is None:
        pytest.skip(NO_AZURITE)
    with azure_server(program, tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(autouse=True)
def environment(azure: "Azure", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHPRESS_CACHE", str(tmp_path / "cache"))
    for name, value in azure.environment.items():
        monkeypatch.setenv(name, value)


def test_a_store_goes_there_is_read_there_and_comes_back(
    stacked: Path, tmp_path: Path, patchpress: Command
) -> None:
    url = "az://bucket/copied/ben.store"
    ended = patchpress("copy", stacked, url)
    assert ended.code == 0, ended.err
    assert "that very store is there already" in patchpress("copy", stacked, url).out
    here, there = open_store(stacked), open_store(url)
    for name in here.manifest.modalities:
        keys = here.keys(name)
        np.testing.assert_array_equal(there.read_batch(keys), here.read_batch(keys))
    (images, _), *_ = PatchLoader(url, batch_size=4, output="numpy")
    assert len(images) == 4
    assert patchpress("verify", url).out.startswith(f"{url}: good\n")
    assert patchpress("copy", url, tmp_path / "back").code == 0
    assert folder_bytes(tmp_path / "back") == folder_bytes(stacked)
    staged = open_store(url, stage=tmp_path / "stage")
    staged.stage()
    key = here.keys("s2")[0]
    np.testing.assert_array_equal(staged.read(key), here.read(key))


def test_a_conversion_sends_its_shards_there(
    azure: "Azure", tree: Path, tmp_path: Path, patchpress: Command
) -> None:
    url = "az://bucket/made/ben.store"
    words = ["convert", DATASET, tree, url, "--shards", 3, "--scratch", tmp_path, "--workers", 0]
    assert patchpress(*words, "--shard", 1).code == 0
    assert patchpress("missing", url).out == "0,2\n"
    ended = patchpress(*words)
    assert ended.code == 0, ended.err
    made(tree, tmp_path / "store", shards=3)
    assert azure.files("made/ben.store") == folder_bytes(tmp_path / "store")
    again = patchpress(*words)
    assert again.code == 2
    assert f"{url} is a finished store" in again.sentence


def test_what_is_not_there_or_refused_is_told(
    stacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patchpress: Command
) -> None:
    nothing = patchpress("inspect", "az://bucket/nothing")
    assert nothing.code == 1
    assert nothing.sentence.startswith("there is no store at az://bucket/nothing")
    nowhere = patchpress("copy", stacked, "az://no-such-container/x")
    assert nowhere.code == 1
    assert "az://no-such-container/x" in nowhere.sentence
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "b3RoZXI=")
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    refused = patchpress("inspect", "az://bucket/copied/ben.store")
    assert refused.code in (1, 2)
    assert "b3RoZXI" not in refused.err
    assert "az://bucket/copied/ben.store" in refused.sentence
