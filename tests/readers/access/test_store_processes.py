"""One store in threads, after forks, in new processes, by pickles, in read-only folders."""

import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.context import BaseContext
from pathlib import Path

import numpy as np
import pytest

from patchpress import Store, StoreDamaged, StoreMissing, open_store
from tests.support.helpers import python

pytestmark = pytest.mark.slow

HEAVY = ["rasterio", "typer", "torch", "dask", "distributed", "pandas", "pyarrow", "matplotlib"]
HEAVY += ["imagecodecs", "rich", "xxhash", "patchpress.converter"]


def digest(store: Store, key: str) -> bytes:
    return store.read(key).tobytes()


def expected(store: Store) -> list[bytes]:
    return [digest(store, key) for key in store.keys("s2")]


def test_a_pickled_store_is_small_and_reads_the_same(store: Store) -> None:
    before = expected(store)
    frozen = pickle.dumps(store)
    assert len(frozen) < 1000
    thawed = pickle.loads(frozen)  # noqa: S301
    assert (thawed.path, thawed.manifest) == (store.path, store.manifest)
    assert expected(thawed) == before


def test_a_pickle_of_a_store_that_is_gone_is_refused(stacked: Path, tmp_path: Path) -> None:
    shutil.copytree(stacked, tmp_path / "store")
    frozen = pickle.dumps(open_store(tmp_path / "store"))
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(StoreMissing):
        pickle.loads(frozen)  # noqa: S301


def test_two_stores_of_one_path_read_side_by_side(store: Store) -> None:
    other = open_store(store.path)
    for key in store.keys("s1"):
        assert store.read(key).tobytes() == other.read(key).tobytes()
    del other
    assert expected(store) == expected(open_store(store.path))


def test_a_path_written_otherwise_is_the_same_store(store: Store, tmp_path: Path) -> None:
    before = expected(store)
    (tmp_path / "link").symlink_to(store.path)
    assert expected(open_store(tmp_path / "link")) == before
    assert expected(open_store(os.path.relpath(store.path))) == before


def test_a_copy_of_a_store_is_a_store_of_its_own(store: Store, tmp_path: Path) -> None:
    before = expected(store)
    copy = open_store(shutil.copytree(store.path, tmp_path / "copy"))
    assert expected(copy) == before


def test_threads_read_the_same(store: Store) -> None:
    before = expected(store)
    keys = store.keys("s2")
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(digest, [store] * len(keys), keys)) == before
            batches = pool.map(store.read_batch, [keys] * 8)
            assert all(
                b"".join(a.tobytes() for a in batch) == b"".join(before) for batch in batches
            )


def test_many_threads_one_after_another_leave_nothing_behind(store: Store) -> None:
    key = store.keys("s1")[0]
    before = store.read(key).tobytes()
    for _ in range(300):
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(digest, store, key).result() == before


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("opened", [False, True], ids=["before reading", "after reading"])
def test_a_fork_reads_the_same(store: Store, opened: bool) -> None:
    keys = store.keys("s2")
    fresh = open_store(store.path)
    before = expected(fresh if opened else store)
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
        assert list(pool.map(digest, [fresh] * len(keys), keys)) == before
    assert expected(fresh) == before


def _in_child(store: Store, key: str, answer: "multiprocessing.Queue[bytes]") -> None:
    answer.put(store.read(key).tobytes())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_process_is_given_a_store(stacked: Path, method: str) -> None:
    store = open_store(stacked)
    key = store.keys("s1")[0]
    before = digest(store, key)
    context: BaseContext = multiprocessing.get_context(method)
    answer: multiprocessing.Queue[bytes] = context.Queue()
    child = context.Process(target=_in_child, args=(store, key, answer))  # type: ignore[attr-defined]
    child.start()
    assert answer.get(timeout=60) == before
    child.join()
    assert child.exitcode == 0
    answer.close()
    answer.join_thread()
    assert digest(store, key) == before


READ = """
import sys
from patchpress import open_store
store = open_store(sys.argv[1])
print(len(store), sum(int(store.read(key).astype(float).sum()) for key in store.keys("s2")))
"""


def test_a_folder_without_write_permission_is_read(stacked: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(stacked, tmp_path / "store"))
    wanted = python("-c", READ, copy)
    assert wanted.code == 0
    (copy / "lock.mdb").unlink(missing_ok=True)
    for path in (*copy.iterdir(), copy):
        path.chmod(0o555 if path == copy else 0o444)
    assert python("-c", READ, copy) == wanted
    assert not (copy / "lock.mdb").exists()
    copy.chmod(0o755)


def test_a_read_only_disk_is_read(stacked: Path) -> None:
    if not shutil.which("unshare"):
        pytest.skip("there is no unshare to mount a read-only disk with")
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 77; '
    script += '! touch "$1/x" 2>/dev/null || exit 77; exec "$2" -c "$3" "$1"'
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]
    done = subprocess.run(
        [*words, str(stacked), sys.executable, READ], capture_output=True, text=True, timeout=120
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("this machine does not let a test mount a read-only disk")
    assert done.stdout == python("-c", READ, stacked).out
    assert done.stderr == ""


def test_importing_the_readers_is_light() -> None:
    code = f"""
import sys
from patchpress import open_store
print([name for name in {HEAVY} if name in sys.modules])
"""
    assert python("-c", code).out == "[]\n"


def test_reading_records_is_light_too(stacked: Path) -> None:
    code = """
import sys
from patchpress import open_store
store = open_store(sys.argv[1])
store.read(sys.argv[2])
print([name for name in sys.argv[3:] if name in sys.modules])
"""
    key = open_store(stacked).keys("s2")[0]
    assert python("-c", code, stacked, key, *HEAVY).out == "[]\n"


def test_a_table_needs_no_more_than_pyarrow(stacked: Path) -> None:
    code = """
import sys
from patchpress import open_store
open_store(sys.argv[1]).table(split="val")
print([name for name in sys.argv[2:] if name in sys.modules])
"""
    # pyarrow itself imports pandas, if it is installed, to see whether a value is one of its own.
    heavy = [name for name in HEAVY if name != "pandas"]
    assert python("-c", code, stacked, *heavy).out == "['pyarrow']\n"


@pytest.mark.parametrize("change", [-1, 1, -4096])
def test_a_data_file_of_another_length_is_refused(
    stacked: Path, tmp_path: Path, change: int
) -> None:
    copy = Path(shutil.copytree(stacked, tmp_path / "store"))
    data = (copy / "data.mdb").read_bytes()
    (copy / "data.mdb").write_bytes(data[:change] if change < 0 else data + bytes(change))
    with pytest.raises(StoreDamaged, match="data.mdb"):
        open_store(copy)


def test_reading_writes_nothing_into_the_folder(stacked: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(stacked, tmp_path / "store"))
    before = {path.name: path.stat().st_mtime_ns for path in copy.iterdir()}
    store = open_store(copy)
    assert np.any(store.read_batch(store.keys("s2")))
    store.table()
    assert {path.name: path.stat().st_mtime_ns for path in copy.iterdir()} == before
