"""Worker processes: forked only if this process has no other thread; either way, same results."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path

import pytest

from patchpress import OptionError, PatchpressError
from patchpress.converter import processes
from patchpress.converter.memory import SharedMemory
from patchpress.converter.processes import in_order, worker_pool
from tests.support.helpers import DATASET, command, folder_bytes, packed, python

pytestmark = pytest.mark.slow

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux processes fork here")


def answer(before: str) -> str:
    """Why a new process must not fork that has done something before."""
    done = python(
        "-c",
        f"""if True:
        {before}
        from patchpress.converter.processes import reason_not_to_fork
        print(reason_not_to_fork())
        """,
        env={name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"},
    )
    assert (done.code, done.err) == (0, "")
    return done.out.strip()


@LINUX
@pytest.mark.parametrize(
    "before",
    ["", "import numpy as np; np.ones((300, 300)) @ np.ones((300, 300))", "import pyarrow"],
)
def test_a_process_without_other_threads_forks(before: str) -> None:
    """The threads of OpenBLAS and jemalloc are made for it."""
    assert answer(before) == ""


NATIVE = "import pyarrow.compute as pc, pyarrow as pa; pa.array([1]); pa.cpu_count(); "
NATIVE += "import pyarrow.parquet as pq, io; f = io.BytesIO(); "
NATIVE += "pq.write_table(pa.table({c: [1] for c in 'ab'}), f); pq.read_table(f)"


@LINUX
@pytest.mark.parametrize(
    "before",
    ["import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
     NATIVE],
    ids=["Python", "pyarrow"],
)  # fmt: skip
def test_a_process_with_other_threads_does_not_fork(before: str) -> None:
    assert "threads" in answer(before)


# No `if __name__ == "__main__"`: a worker that imports this script would start workers, too.
SCRIPT = """
import sys, threading
from importlib.util import spec_from_loader
import pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet as pq
from patchpress import convert, stats, verify

dataset, source, store, table = sys.argv[1:]
print("begun")
end = threading.Event()


def busy() -> None:
    while not end.is_set():
        pc.sum(pq.read_table(table, use_threads=True)["a"])


class Stuck:
    # An import takes a lock. A thread that never finishes one would stop each forked worker that
    # imports the same module.
    def find_spec(self, name, path=None, target=None):
        return spec_from_loader(name, self) if name == "imagecodecs" else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        end.wait()


def importing() -> None:
    import imagecodecs


threads = [threading.Thread(target=busy), threading.Thread(target=importing)]
sys.meta_path.insert(0, Stuck())
for thread in threads:
    thread.start()
try:
    report = convert(dataset, source, store, workers=2)
    assert report.exit_code == 0
    verdict = verify(store, against=source, workers=2)
    assert verdict.good, verdict.text()
    print(verdict.compared, "compared")
    stats(store, "train", workers=2)
finally:
    end.set()
"""


@pytest.mark.parametrize("archives", [False, True], ids=["folders", "archives"])
def test_a_process_with_threads_makes_the_same_store(
    raw: Path, tmp_path: Path, archives: bool
) -> None:
    """As in a notebook, pyarrow is loaded and at work while `convert` is called."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if archives:
        packed(raw, "gz")
    pq.write_table(pa.table({"a": list(range(100_000))}), tmp_path / "t.parquet")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = python(script, DATASET, raw, tmp_path / "ben.store", tmp_path / "t.parquet")
    assert (done.code, done.err) == (0, "")
    assert done.out == "begun\n15 compared\n"
    (tmp_path / "by").mkdir()
    by_command = tmp_path / "by" / "ben.store"
    assert command("convert", DATASET, raw, by_command, "--workers", 2).code == 0
    assert command("stats", by_command, "--split", "train", "--workers", 2).code == 0
    assert folder_bytes(tmp_path / "ben.store") == folder_bytes(by_command)


def doubler(end_at: int) -> Callable[[int], int]:
    return partial(double, end_at)


def double(end_at: int, number: int) -> int:
    if number == end_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


@pytest.fixture(
    params=[pytest.param("", marks=LINUX, id="forked"), pytest.param("asked", id="spawned")]
)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to start workers, whatever threads this process has."""
    monkeypatch.setattr(processes, "reason_not_to_fork", lambda: request.param)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("count", [0, 2])
def test_results_come_in_the_order_of_the_tasks(count: int) -> None:
    with worker_pool(count, doubler, -1, work="doubling") as submit:
        results = in_order(range(20), submit, lambda under_way: under_way >= 3)
        assert list(results) == [(number, 2 * number) for number in range(20)]


@pytest.mark.usefixtures("way")
def test_a_worker_that_dies_is_one_sentence() -> None:
    with (
        pytest.raises(PatchpressError, match="a doubling process died .* fewer --workers"),
        worker_pool(2, doubler, 3, work="doubling") as submit,
    ):
        list(in_order(range(20), submit, lambda under_way: under_way >= 3))


def end_at_once(code: int) -> Callable[[int], int]:
    os._exit(code)


@pytest.mark.usefixtures("way")
def test_workers_that_cannot_begin_are_one_sentence() -> None:
    with (
        pytest.raises(PatchpressError, match="a doubling process died"),
        # A function of a module: what measures coverage puts another in the place of os._exit.
        worker_pool(2, end_at_once, 1, work="doubling"),
    ):
        raise AssertionError("they cannot have begun")


def large() -> Callable[[int], bytes]:
    return bytes


@pytest.mark.usefixtures("way")
def test_an_error_ends_workers_that_are_sending_results() -> None:
    """Killed in the middle of a result, they must not keep anybody waiting for its rest."""
    for _ in range(3):
        with pytest.raises(KeyError), worker_pool(2, large, work="sending") as submit:
            waiting = [submit(64 << 20) for _ in range(4)]
            wait(waiting, timeout=0.05)
            raise KeyError


@pytest.mark.usefixtures("way")
def test_memory_is_shared_with_workers() -> None:
    memory = SharedMemory(10_000)
    with worker_pool(2, Writer, memory, work="writing") as submit:
        for place in (0, 4_000, 9_999):
            assert submit(place).result() == place
            assert memory.view[place] == 7
    memory.free()
    assert not any(memory.view)


class Writer:
    def __init__(self, memory: SharedMemory) -> None:
        self.memory = memory

    def __call__(self, place: int) -> int:
        self.memory.view[place] = 7
        return place


def test_no_more_items_are_under_way_than_wanted() -> None:
    taken = 0

    def submit(item: int) -> "Future[int]":
        nonlocal taken
        taken += 1
        future: Future[int] = Future()
        future.set_result(item)
        return future

    for done, (item, result) in enumerate(in_order(range(10), submit, lambda n: n >= 4), start=1):
        assert item == result == done - 1
        assert taken - done < 4


def started_by_a_daemon(source: Path, store: Path) -> None:
    from patchpress import convert

    try:
        convert(DATASET, source, store, workers=1)
    except OptionError as error:
        (store.parent / "said").write_text(str(error))


def test_a_daemon_may_not_start_workers_and_is_told_so(raw: Path, tmp_path: Path) -> None:
    """A process of `multiprocessing.Pool` is a daemon."""
    process = multiprocessing.get_context("spawn").Process(
        target=started_by_a_daemon, args=(raw, tmp_path / "store"), daemon=True
    )
    process.start()
    process.join()
    assert "workers 0" in (tmp_path / "said").read_text()


def test_memory_that_may_not_be_a_file_is_for_forked_workers_only() -> None:
    """As ``ulimit -f`` has it; anonymous memory is not a file."""
    done = python(
        "-c",
        """if True:
        import pickle, resource
        from patchpress import OptionError
        from patchpress.converter.memory import SharedMemory
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        memory = SharedMemory(2 << 20)
        memory.view[-1] = 1
        try:
            pickle.dumps(memory)
        except OptionError as error:
            print(error)
        memory.free()
        print(memory.view[-1])
        """,
    )
    assert done.err == ""
    assert "workers 0" in done.out.splitlines()[0]
    assert done.out.splitlines()[1] == "0"
