"""The shards of a store: opened late, few at a time, and each mistake in them is one sentence."""

import multiprocessing
import os
import pickle
import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from patchpress import KeyMissing, Store, StoreDamaged, open_store
from patchpress.readers.access.extents_file import read_extents, write_extents
from patchpress.readers.access.fetcher import Mode
from patchpress.readers.access.shards import Shards, most_open
from patchpress.readers.errors import ExtentsUnusable
from patchpress.readers.format.manifest import EXTENTS
from patchpress.readers.format.shard_rule import shard_of, shard_path
from tests.support.helpers import python
from tests.support.sharding import sharded

SHARDS = 4


@pytest.fixture(scope="module")
def wide(stores: dict[tuple[str, str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 45 records and as many shards, of which many are empty. Never write into it."""
    return sharded(stores["native", "none"], tmp_path_factory.mktemp("wide") / "store", 45)


@pytest.fixture(params=[True, False], ids=["extents", "bare"])
def copy(
    request: pytest.FixtureRequest,
    sharded_stores: dict[tuple[str, str, str], Path],
    tmp_path: Path,
) -> Path:
    """A store of 4 shards, with extents and without, to be damaged."""
    found = Path(shutil.copytree(sharded_stores["native", "none", "shards"], tmp_path / "store"))
    if not request.param:
        (found / EXTENTS).unlink()
    return found


def shards_of(store: Store) -> Shards:
    return store._reader._shards


def in_shard(store: Store, number: int, modality: str = "s2") -> list[str]:
    """The keys of a shard, by the rule."""
    count = len(store.manifest.shards)
    return [key for key in store.keys(modality) if shard_of(key, count) == number]


def test_a_shard_is_opened_when_it_is_first_read(copy: Path) -> None:
    store = open_store(copy)
    assert shards_of(store)._open == {}
    (key, *_) = in_shard(store, 2)
    store.read(key)
    assert list(shards_of(store)._open) == [2]
    store.close()
    assert shards_of(store)._open == {}


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("most", [1, 3, 20])
def test_few_files_are_open_and_none_is_closed_under_a_reader(
    wide: Path, native: Path, mode: Mode, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patchpress.readers.access.shards.most_open", lambda: most)
    monkeypatch.setattr("patchpress.readers.access.extents_fetcher.most_open", lambda: most)
    single, store = open_store(native), open_store(wide, mode=mode)
    keys = single.keys("s2") + single.keys("s2")[::-1]
    expected = single.read_batch(keys)
    views = {key: store.view(key, "B02") for key in keys}

    def read(_: int) -> int:
        np.testing.assert_array_equal(store.read_batch(keys), expected)
        return len(shards_of(store)._open)

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(read, range(12))) <= most + 4  # threads that open at the same time
    for key, view in views.items():
        np.testing.assert_array_equal(view, single.read_bands(key, "B02")["B02"])


def test_the_files_of_all_stores_count_together(
    wide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patchpress.readers.access.shards.most_open", lambda: 5)
    one, other = open_store(wide), open_store(wide)
    for key in one:
        assert np.array_equal(one.read(key), other.read(key), equal_nan=True)
        assert len(shards_of(one)._open) + len(shards_of(other)._open) <= 5


def test_half_of_the_descriptors_are_for_shards() -> None:
    code = "import resource; from patchpress.readers.access.shards import most_open, DESCRIPTORS\n"
    code += "for n in (256, 64, 3):\n"
    code += "    resource.setrlimit(resource.RLIMIT_NOFILE, (n, 256))\n"
    code += "    print(most_open() * DESCRIPTORS)"
    assert python("-c", code).out.split() in (["128", "32", "2"], ["128", "32", "1"])
    assert most_open() > 1


MANY = """
import os, resource, sys
from concurrent.futures import ThreadPoolExecutor
from patchpress import open_store
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
held = [os.open("/dev/null", os.O_RDONLY) for _ in range(int(sys.argv[3]))]
one = open_store(sys.argv[1])
for mode in sys.argv[4:]:
    many = open_store(sys.argv[2], mode=mode)
    keys = one.keys("s1")
    assert len(many.manifest.shards) == 1000
    for key in many.manifest.shards:
        many._reader._shards.mapped(int(key.path.split("/")[1]))
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(many.read_batch, [keys] * 8):
            assert found.tobytes() == one.read_batch(keys).tobytes()
print(len(os.listdir("/proc/self/fd")) < 256)
"""


@pytest.mark.slow
@pytest.mark.parametrize("held", [0, 150, 225])
def test_a_thousand_shards_are_read_with_256_descriptors(
    native: Path, tmp_path: Path, held: int
) -> None:
    many = sharded(native, tmp_path / "many", 1000)
    ended = python("-c", MANY, native, many, held, *Mode)
    assert ended.out == "True\n", ended.err
    (many / EXTENTS).unlink()
    ended = python("-c", MANY, native, many, held, "auto")
    assert ended.out == "True\n", ended.err


def test_a_pickled_store_of_many_shards_is_small_and_reads(wide: Path) -> None:
    store = open_store(wide)
    keys = store.keys("s2")
    expected = store.read_batch(keys)
    assert len(pickle.dumps(store)) < 1000
    thawed, records = pickle.loads(pickle.dumps((store, store.records(keys))))  # noqa: S301
    np.testing.assert_array_equal(thawed.read_batch(keys), expected)
    np.testing.assert_array_equal(records.read(range(len(keys))), expected)


def _bytes(store: Store, key: str) -> bytes:
    return store.read(key).tobytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_the_same(wide: Path, method: str) -> None:
    store = open_store(wide)
    keys = store.keys("s2")
    expected = [_bytes(store, key) for key in keys]
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
        assert list(pool.map(_bytes, [store] * len(keys), keys)) == expected


def test_extents_of_another_data_file_are_told_and_not_used_for_it(
    copy: Path, native: Path
) -> None:
    if not (copy / EXTENTS).exists():
        pytest.skip("without extents there are no stale ones")
    extents, _ = read_extents(copy, [shard_path(number) for number in range(SHARDS)])
    assert extents is not None
    files = list(extents.files)
    files[1] = {**files[1], "identity": "0" * 64}
    offset = np.where(extents.shard == 1, 4096, extents.offset)
    write_extents(copy, replace(extents, files=tuple(files), offset=offset))
    single, store = open_store(native), open_store(copy)
    keys = single.keys("s2")
    with pytest.warns(ExtentsUnusable, match=r"made from another shards/00001/data.mdb.*index"):
        found = store.read_batch(keys)
    np.testing.assert_array_equal(found, single.read_batch(keys))
    for mode in Mode:
        store = open_store(copy, mode=mode)
        with pytest.warns(ExtentsUnusable):
            np.testing.assert_array_equal(store.read_batch(keys), found)
        for key in in_shard(store, 1):
            np.testing.assert_array_equal(store.read(key), single.read(key))
            np.testing.assert_array_equal(store.view(key, "B02"), single.view(key, "B02"))


def test_extents_of_another_size_are_not_used_at_all(copy: Path) -> None:
    if not (copy / EXTENTS).exists():
        pytest.skip("without extents there are no stale ones")
    extents, _ = read_extents(copy, [shard_path(number) for number in range(SHARDS)])
    assert extents is not None
    files = list(extents.files)
    files[3] = {**files[3], "bytes": files[3]["bytes"] + 4096}
    write_extents(copy, replace(extents, files=tuple(files)))
    with pytest.warns(ExtentsUnusable, match=r"made from another shards/00003/data.mdb"):
        assert not open_store(copy).has_extents


def changed(path: Path) -> None:
    """Change a number that nobody reads, and that tells a file from others."""
    with path.open("r+b") as file:
        file.seek(16 + 8)  # LMDB's address of its map
        number = file.read(1)[0]
        file.seek(16 + 8)
        file.write(bytes([number ^ 1]))


def lost_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4096)


def longer(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(4096))


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def piped_folder(path: Path) -> None:
    shutil.rmtree(path.parent)
    os.mkfifo(path.parent)


def linked_out(path: Path) -> None:
    outside = path.parents[3] / "elsewhere"
    path.parent.rename(outside)
    path.parent.symlink_to(outside)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "lost": (Path.unlink, "data.mdb is absent though the manifest lists it: copy the store again"),
    "cut": (cut, r"data.mdb has \d+ bytes where the manifest promises \d+: copy the store again"),
    "longer": (longer, r"data.mdb has \d+ bytes where the manifest promises"),
    "piped": (piped, "data.mdb is a pipe and no file"),
    "folder": (folder, "data.mdb is a folder and no file"),
    "piped folder": (piped_folder, r"data.mdb cannot be read \(Not a directory\)"),
    "linked out": (linked_out, "is a link that leads out of the store"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_shard_is_one_sentence_when_it_is_read(copy: Path, what: str) -> None:
    damage, sentence = DAMAGE[what]
    damage(copy / shard_path(1))
    store = open_store(copy)
    for key in in_shard(store, 0) + in_shard(store, 2):
        assert store.read(key).any()
    calls: list[Callable[[], object]] = [
        lambda: store.read(in_shard(store, 1)[0]),
        lambda: store.read_batch(store.keys("s2")),
        lambda: store.view(in_shard(store, 1)[0], "B02"),
        lambda: open_store(copy, checksums=True).read_batch(store.keys("s2")),
    ]
    for call in calls:
        with pytest.raises(StoreDamaged, match=sentence) as error:
            call()
        assert "shards/00001" in str(error.value)
        assert "\n" not in str(error.value)


def test_a_folder_that_lacks_is_told_when_the_store_is_opened(copy: Path) -> None:
    lost_folder(copy / shard_path(1))
    sentence = "shards/00001 is absent though the manifest lists it: copy the store again"
    with pytest.raises(StoreDamaged, match=sentence):
        open_store(copy)
    lost_folder(copy / shard_path(3))
    with pytest.raises(StoreDamaged, match="shards/00001 is absent.*, and so are 1 others: copy"):
        open_store(copy)
    shutil.rmtree(copy / "shards")
    with pytest.raises(StoreDamaged, match="shards/00000 is absent.*, and so are 3 others: copy"):
        open_store(copy)


def test_a_shard_that_is_replaced_while_it_is_closed_is_noticed(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patchpress.readers.access.shards.most_open", lambda: 1)
    store = open_store(copy)
    keys = store.keys("s2")
    expected = store.read_batch(keys)
    path = copy / shard_path(1)
    os.utime(path, ns=(1, 1))  # has another time, as after `touch`, and the same content
    np.testing.assert_array_equal(store.read_batch(keys), expected)
    shutil.copy(path, tmp_path / "same")
    (tmp_path / "same").replace(path)
    np.testing.assert_array_equal(store.read_batch(keys), expected)
    shutil.copy(path, tmp_path / "other")
    changed(tmp_path / "other")
    (tmp_path / "other").replace(path)
    with pytest.raises(StoreDamaged, match="shards/00001/data.mdb was overwritten since it was"):
        store.read_batch(keys)


@pytest.mark.parametrize("mode", ["auto", "map", "direct"])
def test_a_shard_that_is_written_or_cut_while_it_is_open_is_noticed(copy: Path, mode: str) -> None:
    if mode != "auto" and not (copy / EXTENTS).exists():
        pytest.skip("a mode needs extents")
    store = open_store(copy, mode=mode)
    keys = store.keys("s2")
    store.read_batch(keys)
    changed(copy / shard_path(2))
    time.sleep(0.02)  # for so long the time of a shard is trusted
    with pytest.raises(StoreDamaged, match="shards/00002/data.mdb was overwritten since"):
        store.read_batch(keys)
    changed(copy / shard_path(2))  # as it was before
    store = open_store(copy, mode=mode)
    store.read_batch(store.keys("s1"))
    cut(copy / shard_path(2))  # noticed at once: to read what is lost ends the process
    with pytest.raises(StoreDamaged, match="shards/00002/data.mdb ended at .*was cut since"):
        store.read_batch(store.keys("s1"))


def test_a_missing_key_is_no_record_of_any_shard(copy: Path) -> None:
    store = open_store(copy)
    keys = store.keys("s2")
    assert "nothing" not in store
    assert all(key in store for key in keys)
    for call in (store.read, store.view, store.modality_of):
        with pytest.raises(KeyMissing, match=f"no record '{keys[3]}x'; nearest .*{keys[3]}"):
            call(keys[3] + "x")


def test_a_missing_key_of_a_large_store_is_compared_with_its_neighbours(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patchpress.readers.access.reader.NAMES_COMPARED", 0)
    store = open_store(copy)
    key = store.keys("s2")[3]
    with pytest.raises(KeyMissing, match=re.escape(key)):
        store.read(key + "x")
    for far in ("zzz", "A", "x" * 600, "\udc80", ""):
        with pytest.raises(KeyMissing, match="no record"):
            store.read(far)
