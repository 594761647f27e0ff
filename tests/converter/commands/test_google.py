"""Stores in Google Cloud Storage, read from `fake-gcs-server`, a real server of the protocol."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from patchpress import PatchLoader, open_store
from patchpress.readers.errors import StoreMissing

if TYPE_CHECKING:
    from tests.support.gcs_server import Gcs

pytest.importorskip("obstore", reason="obstore is not installed")
pytestmark = pytest.mark.slow
HTTP = {"client_options": {"allow_http": True}}


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Gcs]":
    from tests.support.gcs_server import NO_FAKE_GCS, fake_gcs, gcs_server

    program = fake_gcs()
    if program is None:
        pytest.skip(NO_FAKE_GCS)
    with gcs_server(program, tmp_path_factory.mktemp("gcs")) as server:
        yield server


def test_a_store_is_read_there(
    gcs: "Gcs", stacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHPRESS_CACHE", str(tmp_path / "cache"))
    for name, value in gcs.environment.items():
        monkeypatch.setenv(name, value)
    url = gcs.upload(stacked, "some/ben.store")
    here, there = open_store(stacked), open_store(url, storage_options=HTTP)
    for name in here.manifest.modalities:
        keys = here.keys(name)
        np.testing.assert_array_equal(there.read_batch(keys), here.read_batch(keys))
    (images, _), *_ = PatchLoader(there, batch_size=4, output="numpy")
    assert len(images) == 4
    staged = open_store(url, storage_options=HTTP, stage=tmp_path / "stage")
    staged.stage()
    key = here.keys("s2")[0]
    np.testing.assert_array_equal(staged.read(key), here.read(key))
    with pytest.raises(StoreMissing, match="there is no store at gs://bucket/nothing"):
        open_store("gs://bucket/nothing", storage_options=HTTP)
