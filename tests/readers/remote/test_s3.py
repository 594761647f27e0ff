import logging
import pickle
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import PatchLoader, Samples, Store, open_store
from patchpress.converter.commands.stats import stats
from patchpress.readers.access.extents_file import read_extents, write_extents
from patchpress.readers.errors import (
    KeyMissing,
    OptionError,
    StatisticsMissing,
    StoreDamaged,
    StoreMissing,
    StoreUnfinished,
    StoreUnreadable,
    ViewImpossible,
)
from patchpress.readers.remote import range_fetcher
from tests.conftest import KINDS
from tests.support.helpers import Ended, python
from tests.support.sharding import sharded

pytest.importorskip("obstore", reason="obstore is not installed")

from tests.support.s3_server import S3, SECRET

pytestmark = pytest.mark.slow

Uploaded = Callable[[Path], str]


@pytest.fixture
def uploaded(s3: S3, tmp_path: Path) -> Uploaded:
    """Put a store on the server; gives its URL."""
    return lambda folder: s3.upload(folder, f"{tmp_path.name}/{folder.name}")


def opened(s3: S3, url: str, **options: Any) -> Store:
    return open_store(url, storage_options=s3.options, **options)


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301 -- our own


def same(one: Store, other: Store) -> None:
    for name in other.manifest.modalities:
        keys = other.keys(name)
        assert one.keys(name) == keys
        mixed = [*keys[::-2], *keys[1::3], keys[0], keys[0]]
        np.testing.assert_array_equal(one.read_batch(mixed), other.read_batch(mixed))
        np.testing.assert_array_equal(one.read(keys[1]), other.read(keys[1]))


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_store_reads_the_same_as_from_a_disk(
    kind: tuple[str, str], stores: dict[tuple[str, str], Path], s3: S3, uploaded: Uploaded
) -> None:
    local, there = open_store(stores[kind]), opened(s3, uploaded(stores[kind]))
    same(there, local)
    keys = local.keys("s2")
    for bands in ("rgb", "20m", ["B12", "B01"], ["B09"]):
        np.testing.assert_array_equal(there.read_batch(keys, bands), local.read_batch(keys, bands))
        records = there.records(keys, bands)
        np.testing.assert_array_equal(
            records.read([3, 1, 1]), local.read_batch([keys[3], keys[1], keys[1]], bands)
        )
    assert there.table("train").equals(local.table("train"))
    assert keys[0] in there
    assert "no such key" not in there
    assert there.url == f"s3://bucket/{there.url.split('bucket/')[1]}" if there.url else False
    for name, array in there.read_bands(keys[0]).items():
        np.testing.assert_array_equal(array, local.read_bands(keys[0])[name])


@pytest.mark.parametrize("shards", [1, 3])
def test_a_sharded_store_does_too(
    shards: int, stacked: Path, tmp_path: Path, s3: S3, uploaded: Uploaded
) -> None:
    path = sharded(stacked, tmp_path / f"of-{shards}", shards)
    same(opened(s3, uploaded(path)), open_store(path))


@pytest.mark.parametrize(
    "choice", [{}, {"modalities": ("s1", "s2")}, {"target": ("labels", "map")}]
)
def test_a_loader_gives_the_same_batches(
    choice: dict[str, Any], stacked: Path, s3: S3, uploaded: Uploaded
) -> None:
    there = opened(s3, uploaded(stacked))
    options: dict[str, Any] = {"batch_size": 2, "shuffle": True, "seed": 7, "output": "numpy"}
    for _ in range(2):
        found = PatchLoader(there, "train", **options, **choice)
        wanted = PatchLoader(stacked, "train", **options, **choice)
        for one, other in zip(found, wanted, strict=True):
            for array, expected in zip(one, other, strict=True):
                np.testing.assert_array_equal(array, expected)


def test_records_are_compared_with_their_checksums(
    stacked: Path, tmp_path: Path, s3: S3, uploaded: Uploaded
) -> None:
    path = Path(shutil.copytree(stacked, tmp_path / "flipped"))
    keys = open_store(path).keys("s2")
    extents, _ = read_extents(path, ["data.mdb"])
    assert extents is not None
    (position,) = extents.positions([keys[2]])
    at = int(extents.offset[position] + extents.length[position]) - 5
    data = bytearray((path / "data.mdb").read_bytes())
    data[at] ^= 1
    (path / "data.mdb").write_bytes(data)
    store = opened(s3, uploaded(path), checksums=True)
    same_as = open_store(stacked)
    np.testing.assert_array_equal(store.read_batch(keys[3:]), same_as.read_batch(keys[3:]))
    with pytest.raises(StoreDamaged, match=f"record '{keys[2]}' has the checksum"):
        store.read_batch(keys)
    assert pickled(store).read(keys[3]).any()
    assert opened(s3, store.url or "").read_batch(keys).any()  # nobody asked


def test_a_store_can_be_pickled_and_says_no_secret(
    stacked: Path, s3: S3, uploaded: Uploaded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = opened(s3, uploaded(stacked))
    again = pickled(store)
    records = pickled(store.records(store.keys("s2")))
    samples = pickled(Samples(store, "train"))
    np.testing.assert_array_equal(again.read(store.keys("s2")[0]), records.read([0])[0])
    assert samples.read([0])["image"].any()
    told = "".join([repr(again), again._repr_html_(), repr(samples), caplog.text])
    assert SECRET not in told + repr(again._reader._client)
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in store.path.iterdir())


PROCESSES = """
import multiprocessing, os, sys
import numpy as np
from patchpress import open_store

def read(store, keys, name):
    # In a process of its own, with the store of its parent, and with one that it opens.
    again = open_store(sys.argv[1])
    np.save(name, np.concatenate([store.read_batch(keys), again.read_batch(keys)]))
    if os.fork() == 0:  # and once more
        status = store.read_batch(keys).any()
        os._exit(0 if status else 3)
    assert os.wait()[1] == 0

if __name__ == "__main__":
    store = open_store(sys.argv[1])
    keys = store.keys("s2")
    expected = store.read_batch(keys)
    store.records(keys).announce([1, 2])  # requests are under way
    context = multiprocessing.get_context(sys.argv[2])
    names = [f"{sys.argv[3]}-{n}.npy" for n in (1, 2)]
    workers = [context.Process(target=read, args=(store, keys, name)) for name in names]
    for worker in workers:
        worker.start()
    for name, worker in zip(names, workers):
        worker.join(60)
        assert worker.exitcode == 0, worker.exitcode
        found = np.load(name)
        assert (found == np.concatenate([expected, expected])).all()
    assert (store.read_batch(keys) == expected).all()
"""


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_processes_read_by_clients_of_their_own(
    way: str, stacked: Path, tmp_path: Path, s3: S3, uploaded: Uploaded, cache: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(PROCESSES)
    ended = in_environment(s3, cache, script, uploaded(stacked), way, tmp_path / "found")
    assert ended.code == 0, ended.err
    assert ended.err == ""


WORKERS = """
import sys, torch
from torch.utils.data import DataLoader
from patchpress import PatchDataset, PatchLoader

if __name__ == "__main__":
    data = PatchDataset(sys.argv[1], "train")
    expected = [data[index][0] for index in range(len(data))]
    for batches in (
        DataLoader(
            data, 2, num_workers=2, collate_fn=data.collate, multiprocessing_context=sys.argv[2]
        ),
        PatchLoader(sys.argv[1], "train", batch_size=2, dtype="float32"),
    ):
        found = torch.cat([image for image, _ in batches])
        assert torch.equal(found, torch.stack(expected))
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_workers_of_torch_do_too(
    way: str, stacked: Path, tmp_path: Path, s3: S3, uploaded: Uploaded, cache: Path
) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    script = tmp_path / "script.py"
    script.write_text(WORKERS)
    ended = in_environment(s3, cache, script, uploaded(stacked), way)
    assert ended.code == 0, ended.err


def in_environment(s3: S3, cache: Path, *words: object) -> Ended:
    import os

    environment = {**os.environ, **s3.environment, "PATCHPRESS_CACHE": str(cache)}
    return python("-W", "ignore", *words, env=environment)


def test_views_are_impossible(stacked: Path, s3: S3, uploaded: Uploaded) -> None:
    store = opened(s3, uploaded(stacked))
    with pytest.raises(ViewImpossible, match="are not on this machine, so no array lies in them"):
        store.view(store.keys("s2")[0])
    with pytest.raises(KeyMissing, match="nearest"):
        store.view(store.keys("s2")[0][:-1])


@pytest.mark.parametrize("option", [{"mode": "direct"}, {"readahead": True}])
def test_options_for_disks_are_refused(option: Any, s3: S3) -> None:
    with pytest.raises(OptionError, match="is for a store on a disk, and s3://bucket/x is none"):
        opened(s3, "s3://bucket/x", **option)


def test_statistics_are_those_that_are_there_now(
    stacked: Path, tmp_path: Path, s3: S3, uploaded: Uploaded
) -> None:
    path = Path(shutil.copytree(stacked, tmp_path / "counted"))
    url = uploaded(path)
    with pytest.raises(StatisticsMissing, match=f"there is no {url}/statistics.json"):
        opened(s3, url).statistics("s2", "train")
    stats(path, "train", workers=0)
    uploaded(path)
    assert opened(s3, url).statistics("s2", "train") == open_store(path).statistics("s2", "train")
    s3.remove(url.removeprefix("s3://bucket/") + "/statistics.json")
    with pytest.raises(StatisticsMissing):
        opened(s3, url).statistics("s2", "train")


def test_small_files_are_fetched_once(
    stacked: Path, s3: S3, uploaded: Uploaded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    url = uploaded(stacked)
    first = opened(s3, url)
    assert caplog.text.count("is fetched") == 2
    second = opened(s3, url)
    assert caplog.text.count("is fetched") == 2
    assert second.path == first.path
    for name in ("metadata.parquet", "extents.safetensors"):
        # What was damaged in the cache is fetched again.
        (first.path / name).write_bytes(b"other" + (first.path / name).read_bytes()[5:])
    same(opened(s3, url), open_store(stacked))
    assert caplog.text.count("is fetched") == 4


def test_a_cache_that_cannot_be_written_is_said(
    stacked: Path, s3: S3, uploaded: Uploaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("PATCHPRESS_CACHE", str(tmp_path / "file"))
    url = uploaded(stacked)
    with pytest.raises(OptionError, match="is no folder to write to"):
        opened(s3, url)
    monkeypatch.delenv("PATCHPRESS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    same(opened(s3, url), open_store(stacked))  # in a folder that ends with the process


class TestNoStore:
    def test_no_bucket(self, s3: S3) -> None:
        with pytest.raises(StoreMissing, match=r"there is no bucket for s3://nothing/x \(404"):
            opened(s3, "s3://nothing/x")

    def test_no_store(self, s3: S3) -> None:
        with pytest.raises(
            StoreMissing, match=r"there is no store at s3://bucket/nowhere: it has no"
        ):
            opened(s3, "s3://bucket/nowhere")

    def test_an_unfinished_one(self, s3: S3) -> None:
        s3.put("half/unfinished.json", b"{}")
        with pytest.raises(StoreUnfinished, match="its conversion did not end"):
            opened(s3, "s3://bucket/half")

    def test_no_extents(
        self, bare_stores: dict[tuple[str, str], Path], s3: S3, uploaded: Uploaded
    ) -> None:
        with pytest.raises(StoreUnreadable, match=r"has no extents.safetensors.*patchpress index"):
            opened(s3, uploaded(bare_stores["stacked", "none"]))

    def test_no_table(self, stacked: Path, s3: S3, uploaded: Uploaded) -> None:
        url = uploaded(stacked)
        s3.remove(url.removeprefix("s3://bucket/") + "/metadata.parquet")
        with pytest.raises(StoreDamaged, match=f"{url}/metadata.parquet is absent"):
            opened(s3, url)

    def test_no_data(self, stacked: Path, s3: S3, uploaded: Uploaded) -> None:
        url = uploaded(stacked)
        s3.remove(url.removeprefix("s3://bucket/") + "/data.mdb")
        store = opened(s3, url)
        with pytest.raises(StoreMissing, match=f"there is no {url}/data.mdb"):
            store.read(store.keys("s2")[0])


class TestDamage:
    def test_a_manifest_that_is_none(self, s3: S3) -> None:
        s3.put("odd/manifest.json", b"<html>")
        with pytest.raises(StoreDamaged, match=r"s3://bucket/odd/manifest.json is not as it was"):
            opened(s3, "s3://bucket/odd")

    def test_another_table(self, stacked: Path, native: Path, s3: S3, uploaded: Uploaded) -> None:
        url = uploaded(stacked)
        other = (native / "metadata.parquet").read_bytes()
        s3.put(url.removeprefix("s3://bucket/") + "/metadata.parquet", other)
        with pytest.raises(StoreDamaged, match=f"{url}/metadata.parquet is not the file that"):
            opened(s3, url)

    def test_damaged_extents(self, stacked: Path, s3: S3, uploaded: Uploaded) -> None:
        url = uploaded(stacked)
        s3.put(url.removeprefix("s3://bucket/") + "/extents.safetensors", b"nothing")
        with pytest.raises(StoreDamaged, match=f"{url}/extents.safetensors cannot be used"):
            opened(s3, url)

    def test_extents_of_another_file(
        self, stacked: Path, tmp_path: Path, s3: S3, uploaded: Uploaded
    ) -> None:
        from dataclasses import replace

        path = Path(shutil.copytree(stacked, tmp_path / "odd"))
        extents, _ = read_extents(path, ["data.mdb"])
        assert extents is not None
        files = ({**extents.files[0], "identity": "0" * 64},)
        write_extents(path, replace(extents, files=files))
        store = opened(s3, uploaded(path))
        with pytest.raises(StoreDamaged, match="is not the file that the extents beside it"):
            store.read(store.keys("s2")[0])

    def test_a_data_file_of_another_length(self, stacked: Path, s3: S3, uploaded: Uploaded) -> None:
        url = uploaded(stacked)
        name, data = (
            url.removeprefix("s3://bucket/") + "/data.mdb",
            (stacked / "data.mdb").read_bytes(),
        )
        s3.put(name, data[:-4096])
        store = opened(s3, url)
        with pytest.raises(StoreDamaged, match=f"data.mdb has {len(data) - 4096} bytes where"):
            store.read(store.keys("s2")[0])

    def test_a_data_file_that_changed_since(
        self, stacked: Path, s3: S3, uploaded: Uploaded
    ) -> None:
        url = uploaded(stacked)
        name, data = (
            url.removeprefix("s3://bucket/") + "/data.mdb",
            (stacked / "data.mdb").read_bytes(),
        )
        store = opened(s3, url)
        keys = store.keys("s2")
        store.read(keys[0])
        s3.put(name, data[:-1] + b"x")
        with pytest.raises(StoreDamaged, match="has other content: it was written anew since"):
            store.read(keys[0])
        s3.put(name, data[:-4096])
        with pytest.raises(StoreDamaged, match=r"has .* bytes where it had"):
            store.read(keys[0])
        s3.put(name, data)
        assert store.read(keys[0]).any()


def test_access_that_is_refused_is_said(stacked: Path, s3: S3, uploaded: Uploaded) -> None:
    url = uploaded(stacked)
    s3.check_keys(0)
    try:
        with pytest.raises(StoreUnreadable) as error:
            opened(s3, url)
    finally:
        s3.check_keys(None)
    told = str(error.value)
    assert told.startswith(f"access to {url}/manifest.json is refused (403 Forbidden")
    assert "storage_options" in told
    assert SECRET not in told
    with pytest.raises(OptionError) as wrong:
        open_store(url, storage_options={**s3.options, "nonsense": SECRET})
    assert f"{url} cannot be opened (Configuration key: 'nonsense'" in str(wrong.value)
    assert SECRET not in str(wrong.value)


def test_what_was_announced_is_requested_once(
    stacked: Path, s3: S3, uploaded: Uploaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(s3, uploaded(stacked))
    reader: Any = store._reader
    keys, local = store.keys("s2"), open_store(stacked)
    records = store.records(keys)
    records.read([0])
    asked: list[int] = []
    submit = reader._client.submit

    def counted(name: str, start: int, end: int, known: Any) -> Any:
        asked.append(end - start)
        return submit(name, start, end, known)

    monkeypatch.setattr(reader._client, "submit", counted)
    records.announce([3, 5, 5, 1])
    once = sum(asked)
    np.testing.assert_array_equal(
        records.read([5, 3, 1]), local.read_batch([keys[5], keys[3], keys[1]])
    )
    assert sum(asked) == once
    records.read([5])
    assert sum(asked) > once
    # What nobody reads is let go at some time.
    monkeypatch.setattr(range_fetcher, "KEPT", 2 * 12 * 120 * 120 * 2)
    for one, other in pairwise(range(8)):
        records.announce([one, other])
    assert len(reader._ranges._announced._pieces) <= 3
    np.testing.assert_array_equal(records.read(range(8)), local.read_batch(keys[:8]))


@pytest.mark.parametrize("shards", [0, 3])
def test_staged_shards_are_fetched_once_and_then_read(
    shards: int, stacked: Path, tmp_path: Path, s3: S3, uploaded: Uploaded
) -> None:
    path = sharded(stacked, tmp_path / "parts", shards) if shards else stacked
    local, url = open_store(path), uploaded(path)
    store = opened(s3, url, stage=tmp_path / "stage", stage_size="1GB")
    same(store, local)  # whatever has come meanwhile
    store.stage()
    assert store.reads_from == f"staged in {tmp_path / 'stage'}"
    for shard in local.manifest.shards:
        s3.remove(f"{url.removeprefix('s3://bucket/')}/{shard.path}")
    same(store, local)
    same(pickled(store), local)
    key = store.keys("s2")[0]
    np.testing.assert_array_equal(store.view(key), local.view(key))
    again = opened(s3, url, stage=tmp_path / "stage", checksums=True)
    same(again, local)


def test_a_closed_store_says_so(stacked: Path, s3: S3, uploaded: Uploaded) -> None:
    with opened(s3, uploaded(stacked)) as store:
        key = store.keys("s2")[0]
        store.read(key)
    with pytest.raises(StoreUnreadable, match="s3://.* was closed"):
        store.read(key)
