"""`Store.records`: found once, read by index, in any process."""

import json
import multiprocessing
import pickle
import shutil
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest

from patchpress import BandMissing, BufferUnfit, GridsDiffer, KeyMissing, Store, open_store
from patchpress.converter.commands.index import index
from patchpress.converter.storage.transactions import LMDB_09
from patchpress.readers.access.extents_file import write_extents
from patchpress.readers.access.scan import build
from patchpress.readers.errors import ExtentsUnusable
from patchpress.readers.format.manifest import EXTENTS
from patchpress.readers.records import Records
from tests.support.helpers import stored_values, write_sealed


def test_they_are_read_by_index(store: Store) -> None:
    keys = store.keys("s2")
    records = store.records(keys, ["B04", "B01"])
    assert len(records) == len(keys)
    assert (records.shape, records.dtype) == ((2, 120, 120), np.dtype("<u2"))
    assert [records.key(index) for index in range(len(records))] == keys
    for indices in ([0], [4, 1, 4], range(15), np.array([14, 0]), np.array([3], np.uint8)):
        some = [keys[index] for index in indices]
        expected = store.read_batch(some, ["B04", "B01"])
        np.testing.assert_array_equal(records.read(indices), expected)
        out = np.empty_like(expected)
        assert records.read(indices, out) is out
        np.testing.assert_array_equal(out, expected)
    records.announce([0, 3])


def test_keys_may_be_any_sequence(store: Store) -> None:
    keys = store.keys("s1")
    expected = store.read_batch(keys)
    several: list[Any] = [keys, tuple(keys), np.array(keys)]
    for some in several:
        np.testing.assert_array_equal(store.records(some).read(range(len(keys))), expected)


def test_what_cannot_be_read_together_is_refused_at_once(store: Store) -> None:
    s2, s1 = store.keys("s2"), store.keys("s1")
    with pytest.raises(BufferUnfit, match="at least one key"):
        store.records([])
    with pytest.raises(BandMissing, match="'B10'"):
        store.records(s2, ["B10"])
    with pytest.raises(KeyMissing, match="nowhere"):
        store.records([*s2, "S2A_of_nowhere"])
    with pytest.raises(GridsDiffer):
        store.records([*s2[:2], s1[0]]).read([0, 1, 2])


def test_another_modality_is_found_without_reading(native: Path) -> None:
    store = open_store(native)
    with pytest.raises(GridsDiffer, match=store.keys("s1")[0]):
        store.records([store.keys("s2")[0], store.keys("s1")[0]])


def test_out_that_does_not_fit_is_refused(store: Store) -> None:
    records = store.records(store.keys("map"))
    for out in (np.empty((1, 1, 120, 120), np.uint16), np.empty((2, 1, 120, 120), np.int16)):
        with pytest.raises(BufferUnfit):
            records.read([0, 1], out)


def test_a_pickle_reads_the_same(store: Store) -> None:
    records = store.records(store.keys("s2"), ["B08"])
    expected = records.read(range(15))
    frozen = pickle.dumps(records)
    assert len(frozen) < 10_000
    thawed: Records = pickle.loads(frozen)  # noqa: S301
    np.testing.assert_array_equal(thawed.read(range(15)), expected)
    assert thawed._reader.path == store.path
    again: Records = pickle.loads(pickle.dumps(thawed))  # noqa: S301
    np.testing.assert_array_equal(again.read([7, 2]), expected[[7, 2]])


def _read(records: Records, indices: list[int]) -> bytes:
    return records.read(indices).tobytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("kind", [("stacked", "none"), ("native", "zstd")], ids="-".join)
@pytest.mark.parametrize("extents", [True, False], ids=["extents", "lmdb"])
def test_another_process_reads_the_same(
    stores: dict[tuple[str, str], Path],
    bare_stores: dict[tuple[str, str], Path],
    method: str,
    kind: tuple[str, str],
    extents: bool,
) -> None:
    store = open_store((stores if extents else bare_stores)[kind])
    records = store.records(store.keys("s1"))
    expected = [_read(records, [index, 0]) for index in range(4)]
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
        assert list(pool.map(_read, [records] * 4, [[n, 0] for n in range(4)])) == expected


def changed(store: Path, *, extra: bool = False) -> None:
    """The same records at other offsets, and extents that say so; with `extra`, one record more."""
    values = list(stored_values(store).items())
    (store / "data.mdb").unlink()
    with (
        lmdb.open(str(store), map_size=1 << 28, **LMDB_09) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in reversed(values):
            transaction.put(key.encode(), value)
        if extra:
            transaction.put(b"A", b"record")
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["shards"][0]["bytes"] = (store / "data.mdb").stat().st_size
    manifest["shards"][0]["records"] += extra
    write_sealed(store / "manifest.json", manifest)
    write_extents(store, build(store, ["data.mdb"]))


@pytest.mark.parametrize("state", ["moved", "gone", "damaged"])
def test_places_hold_for_no_other_data_file(native: Path, tmp_path: Path, state: str) -> None:
    """A pickle that is opened after the extents have changed, or are gone."""
    copy = Path(shutil.copytree(native, tmp_path / "store"))
    store = open_store(copy)
    records = store.records(store.keys("s2"), ["B02"])
    expected = records.read(range(15))
    frozen = pickle.dumps(records)
    values = stored_values(copy)
    if state == "moved":
        changed(copy)
    elif state == "gone":
        (copy / EXTENTS).unlink()
    else:
        (copy / EXTENTS).write_bytes(b"damaged")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtentsUnusable)
        thawed: Records = pickle.loads(frozen)  # noqa: S301
        again: Records = pickle.loads(pickle.dumps(thawed))  # noqa: S301
    assert stored_values(copy) == values
    assert (thawed._reader.extents is not None) == (state == "moved")
    for each in (thawed, again):
        np.testing.assert_array_equal(each.read(range(15)), expected)
        np.testing.assert_array_equal(each.read([14, 0]), expected[[14, 0]])


def test_positions_are_found_anew_where_they_are_others(native: Path, tmp_path: Path) -> None:
    """A pickle of a store that has since been replaced by one of more patches."""
    copy = Path(shutil.copytree(native, tmp_path / "store"))
    records = open_store(copy).records(open_store(copy).keys("s2"), ["B02"])
    expected, keys = records.read(range(15)), [records.key(index) for index in range(15)]
    frozen, before = pickle.dumps(records), records._reader.find(keys)
    changed(copy, extra=True)
    thawed: Records = pickle.loads(frozen)  # noqa: S301
    assert thawed._reader.find(keys) == [int(position) + 1 for position in before]
    np.testing.assert_array_equal(thawed.read(range(15)), expected)


def test_extents_that_come_later_are_used(
    bare_stores: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(bare_stores["stacked", "none"], tmp_path / "store"))
    store = open_store(copy)
    records = store.records(store.keys("map"))
    expected = records.read([5, 0])
    frozen = pickle.dumps(records)
    index(copy)
    thawed: Records = pickle.loads(frozen)  # noqa: S301
    assert thawed._reader.extents is not None
    np.testing.assert_array_equal(thawed.read([5, 0]), expected)
