"""Conversions by the workers of a real Dask scheduler: the same bytes as by one process."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cluster.processes import DaskProcesses
from patchpress import ClusterError, OptionError, PatchError, convert, verify
from patchpress.converter.cluster import connection
from patchpress.converter.cluster.scratch import scratch_folder
from patchpress.converter.commands import cluster_task, convert_cluster
from patchpress.converter.commands.convert_shards import convert_shard
from patchpress.converter.commands.finish import finish_store
from patchpress.converter.commands.make_shards import make_listed_shard, make_shard
from patchpress.converter.commands.missing import missing_shards
from patchpress.converter.commands.shard_maker import ShardMaker
from patchpress.converter.options import convert_options
from patchpress.converter.planning.request import prepare_request
from patchpress.converter.planning.shard_patches import ShardPatches
from patchpress.converter.storage.report import Report
from tests.support.helpers import (
    DATASET,
    children,
    command,
    folder_bytes,
    made,
    packed,
    patches,
    runs,
)
from tests.support.machines import NO_DASK, ROOT, Networks, cluster, trap

pytest.importorskip("distributed", reason=NO_DASK)
pytestmark = pytest.mark.filterwarnings("ignore")
SHARDS = 5


@pytest.fixture(scope="module")
def sharded(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of `tree` made by the pool. Never write to it."""
    store = tmp_path_factory.mktemp("sharded") / "store"
    made(tree, store, shards=SHARDS)
    return store


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[DaskProcesses]:
    """A scheduler; tests add the workers."""
    with cluster(tmp_path / "machines", workers=0) as processes:
        yield processes


def by(machines: DaskProcesses, source: Path, store: Path, **options: Any) -> Report:
    return convert(
        DATASET, source, store, scheduler=machines.address, **{"shards": SHARDS} | options
    )


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds, for at most a minute."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def nothing_left(*folders: Path) -> None:
    """No task has left anything in these folders, nor beside the store."""
    for folder in folders:
        assert not [path for path in folder.rglob("*") if "patchpress-task" in path.name]
        assert not list(folder.rglob("*.token"))


# What a task is made of, without a scheduler.


def test_a_listed_shard_has_the_bytes_of_one_that_looks_for_its_patches(
    tree: Path, tmp_path: Path
) -> None:
    asked = convert_options({"workers": 0, "shards": 3})
    request = prepare_request(DATASET, tree, tmp_path / "store", asked)
    with ShardMaker(request) as maker:
        maker.choose(tmp_path / "store", rehearse=True)
        listed = [pickle.loads(pickle.dumps(maker.listed(number))) for number in range(3)]  # noqa: S301
    for number, its in enumerate(listed):
        make_shard(request, number, tmp_path / "looked" / str(number))
        make_listed_shard(request, number, tmp_path / "listed" / str(number), its)
    assert folder_bytes(tmp_path / "listed") == folder_bytes(tmp_path / "looked")


def test_patches_cross_the_wire_as_they_are(tree: Path, tmp_path: Path) -> None:
    asked = convert_options({"workers": 0, "shards": 1})
    request = prepare_request(DATASET, tree, tmp_path / "store", asked)
    with ShardMaker(request) as maker:
        maker.choose(tmp_path / "store", rehearse=False)
        listed = maker.listed(0)
        found = list(listed)
    assert [patch.key for patch in found] == sorted(
        key for name in ("s2", "s1", "map") for key in _keys(tree, name)
    )
    odd = replace(found[0], folder="/data/\udcff \n \u2028 \x85 \"'", name="a\nb")
    again = ShardPatches.of([odd, *found[1:]], listed.source)
    assert list(pickle.loads(pickle.dumps(again))) == [odd, *found[1:]]  # noqa: S301


def _keys(tree: Path, modality: str) -> list[str]:
    ending = "_reference_map" if modality == "map" else ""
    return [name + ending for name in patches(tree, modality)]


def test_scratch_of_a_task_whose_process_died_is_removed(tmp_path: Path) -> None:
    script = (
        "import os\n"
        "from pathlib import Path\n"
        "from patchpress.converter.cluster.scratch import scratch_folder\n"
        f"with scratch_folder(Path({str(tmp_path)!r})) as folder:\n"
        "    (folder / 'data.mdb').write_bytes(b'x')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    (dead,) = tmp_path.iterdir()
    with scratch_folder(tmp_path) as one, scratch_folder(tmp_path) as two:
        assert not dead.exists()
        assert one.is_dir()
        assert two.is_dir()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scheduler": "local"}, "a scheduler gives each worker a shard at a time: give shards"),
        ({"scratch": "folder", "shards": 2}, "scratch is for a scheduler's workers, or for"),
    ],
)
def test_options_that_need_each_other(
    tree: Path, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(OptionError, match=said):
        convert(DATASET, tree, tmp_path / "store", **options)


def test_one_shard_here_and_a_scheduler_exclude_each_other(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--shard 1 makes one shard here, and --scheduler lets"):
        convert_shard(DATASET, tree, tmp_path / "store", 1, shards=2, scheduler="local")


def test_no_scheduler_leaves_nothing(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT", 0.5)
    with pytest.raises(ClusterError, match=r"^no scheduler answers at tcp://127\.0\.0\.1:9: start"):
        convert(DATASET, tree, tmp_path / "store", shards=2, scheduler="tcp://127.0.0.1:9")
    assert list(tmp_path.iterdir()) == []


# With a scheduler.


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{}, {"layout": "native", "compression": "zstd"}, {"modalities": ["s2"], "limit": 4}],
    ids=["stacked", "native zstd", "limit"],
)
def test_pool_job_array_and_cluster_give_the_same_bytes(
    machines: DaskProcesses, tree: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    pool = convert(DATASET, tree, tmp_path / "pool" / "store", shards=SHARDS, workers=2, **options)
    for number in (3, 0, 4, 1, 2):
        array = tmp_path / "array" / "store"
        convert_shard(DATASET, tree, array, number, shards=SHARDS, workers=0, **options)
    finish_store(array)
    machines.add_worker()
    machines.add_worker()
    report = by(machines, tree, tmp_path / "dask" / "store", **options)
    assert folder_bytes(tmp_path / "dask" / "store") == folder_bytes(array)
    assert folder_bytes(array) == folder_bytes(tmp_path / "pool" / "store")
    for one in (report, pool):
        one.seconds, one.store = 0.0, ""
    assert report == pool
    nothing_left(tmp_path)
    assert verify(tmp_path / "dask" / "store").good


@pytest.mark.slow
@pytest.mark.parametrize(
    ("event", "at", "scratch"),
    [
        ("open", "/data.mdb", "of the worker"),
        ("open", "/shard.json", "given"),
        ("os.rename", "/shards/", "of the worker"),
        ("open", "/shards/.", "on another disk"),
        ("shutil.rmtree", "patchpress-task-", "on another disk"),
    ],
    ids=["begun", "before its end", "before it is moved", "while it is copied", "moved"],
)
def test_a_worker_that_is_killed(
    machines: DaskProcesses,
    tree: Path,
    tmp_path: Path,
    sharded: Path,
    event: str,
    at: str,
    scratch: str,
) -> None:
    """Whenever it is, its shard is made by another, and nothing of its own stays."""
    options: dict[str, Any] = {}
    if scratch == "given":
        options["scratch"] = tmp_path / "scratch"
    elif scratch == "on another disk":
        options["scratch"] = Path("/dev/shm") / f"patchpress-test-{os.getpid()}"  # noqa: S108
    if options:
        options["scratch"].mkdir()
    try:
        words, sprung = trap(tmp_path, event, at, "kill")
        killed = machines.add_worker(*words)
        store = tmp_path / "store"
        machines.add_worker()
        by(machines, tree, store, **options)
        until(lambda: killed.poll() is not None)
        assert sprung.exists()
        assert killed.returncode == -signal.SIGKILL
        assert folder_bytes(store) == folder_bytes(sharded)
        assert not list(store.rglob(".*"))
    finally:
        if scratch == "on another disk":
            shutil.rmtree(options["scratch"])


@pytest.mark.slow
def test_ctrl_c_ends_it_and_the_same_command_goes_on(
    machines: DaskProcesses, tree: Path, tmp_path: Path, sharded: Path
) -> None:
    store = tmp_path / "store"
    words, sprung = trap(tmp_path, "open", "/3/shard.json", "sleep")
    stuck = machines.add_worker(*words)
    line = ["convert", DATASET, tree, store, "--shards", SHARDS, "--scheduler", machines.file]
    process = subprocess.Popen(
        [sys.executable, "-m", "patchpress", *map(str, line)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(sprung.exists)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    *others, sentence = err.splitlines()
    assert sentence == (
        "patchpress: interrupted: run the same command again to go on from where it stopped"
    )
    assert [line for line in others if not line.startswith("dashboard: ")] == []
    assert out == ""
    left = missing_shards(store)
    assert 3 in left
    assert len(left) < SHARDS
    stuck.kill()
    stuck.wait()
    before = {path: path.stat().st_mtime_ns for path in store.rglob("data.mdb")}
    machines.add_worker()
    ended = command(*line, cwd=ROOT)
    assert ended.code == 0, ended.err
    assert folder_bytes(store) == folder_bytes(sharded)
    # What was finished was not made again.
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    assert len(before) == SHARDS - len(left)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_of_this_machine_end_with_the_command(
    tree: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """A terminal sends Ctrl-C to all of its processes; a kill reaches the command alone."""
    store = tmp_path / "store"
    line = ["convert", DATASET, tree, store, "--shards", 500, "--scheduler", "local"]
    process = subprocess.Popen(
        [sys.executable, "-m", "patchpress", *map(str, line), "--workers", "2"],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    until(lambda: len(list(store.glob("shards/*/shard.json"))) > 2)
    workers = [child for child in children(process.pid) if runs(child)]
    assert len(workers) >= 2
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        dashboard, sentence = err.splitlines()
        assert dashboard.startswith("dashboard: ")
        assert sentence.startswith("patchpress: interrupted: run the same command again to go on")
    else:
        process.kill()
        process.wait()
    until(lambda: not any(runs(worker) for worker in workers))


@pytest.mark.slow
def test_a_scheduler_that_is_lost_and_another_one(
    machines: DaskProcesses, tree: Path, tmp_path: Path, sharded: Path
) -> None:
    store = tmp_path / "store"
    words, sprung = trap(tmp_path, "open", "/2/shard.json", "sleep")
    stuck = machines.add_worker(*words)
    line = ["convert", DATASET, tree, store, "--shards", SHARDS, "--scheduler"]
    process = subprocess.Popen(
        [sys.executable, "-m", "patchpress", *map(str, line), machines.address],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(sprung.exists)
    assert machines.scheduler is not None
    machines.scheduler.kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.splitlines()[-1] == (
        "patchpress: the scheduler is gone: each shard that is finished stays; start a scheduler, "
        "and run the same command again"
    )
    stuck.kill()
    assert command(*line, "local", cwd=ROOT).code == 0
    assert folder_bytes(store) == folder_bytes(sharded)


@pytest.mark.slow
def test_a_damaged_patch_stops_it_or_is_left_out_as_by_the_pool(
    machines: DaskProcesses, raw: Path, tmp_path: Path
) -> None:
    name = patches(raw, "s2")[0]
    (band,) = raw.glob(f"BigEarthNet-S2/*/{name}/*_B03.tif")
    band.write_bytes(band.read_bytes()[:1000])
    machines.add_worker()
    with pytest.raises(PatchError, match="_B03.tif.*; --on-error skip leaves such patches out$"):
        by(machines, raw, tmp_path / "dask" / "store")
    # The shard with it is done again; what it lacks is told as the pool tells it.
    report = by(machines, raw, tmp_path / "dask" / "store", on_error="skip")
    pool = made(raw, tmp_path / "pool" / "store", shards=SHARDS, on_error="skip")
    assert report.exit_code == 1
    assert report.skipped == pool.skipped
    assert folder_bytes(tmp_path / "dask" / "store") == folder_bytes(tmp_path / "pool" / "store")


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"workers": 2}], ids=["alone", "processes of its own"])
def test_one_archive_is_one_pass_of_one_worker(
    machines: DaskProcesses,
    tree: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, Any],
) -> None:
    shutil.copytree(tree, tmp_path / "packed")
    source = packed(tmp_path / "packed")
    machines.add_worker()
    machines.add_worker()
    by(machines, source, tmp_path / "dask" / "store", modalities=["s1"], **options)
    said = capsys.readouterr().err.splitlines()
    assert (
        "archives are read from beginning to end (s1): one worker makes all 5 shards in one pass, "
        "and the others have nothing to do"
    ) in said
    made(tree, tmp_path / "pool" / "store", shards=SHARDS, modalities=["s1"])
    assert folder_bytes(tmp_path / "dask" / "store") == folder_bytes(tmp_path / "pool" / "store")


@pytest.mark.slow
def test_a_worker_that_may_not_start_processes_says_so(
    machines: DaskProcesses, tree: Path, tmp_path: Path
) -> None:
    machines.add_worker("--nanny")
    with pytest.raises(OptionError, match="is a daemon of multiprocessing.*: give workers 0"):
        by(machines, tree, tmp_path / "store", workers=2)


@pytest.mark.slow
def test_workers_of_several_threads_are_told_of(
    tree: Path, tmp_path: Path, sharded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with DaskProcesses(tmp_path / "machines", threads=3) as machines:
        machines.add_worker()
        by(machines, tree, tmp_path / "store")
    assert (
        "1 of 1 workers have 3 threads, which share one Python: start them with --nthreads 1 "
        "--nworkers N to use N cores"
    ) in capsys.readouterr().err.splitlines()
    assert folder_bytes(tmp_path / "store") == folder_bytes(sharded)


@pytest.mark.slow
def test_relative_paths_mean_what_they_mean_to_the_client(
    machines: DaskProcesses, tree: Path, tmp_path: Path, sharded: Path
) -> None:
    machines.add_worker()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "source").symlink_to(tree)
    line = ["convert", DATASET, "source", "store", "--shards", SHARDS]
    ended = command(
        *line, "--scheduler", machines.address, cwd=tmp_path / "here",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert folder_bytes(tmp_path / "here" / "store") == folder_bytes(sharded)


@pytest.mark.slow
def test_workers_in_networks_of_their_own_share_the_disk_alone(
    tree: Path, tmp_path: Path, sharded: Path
) -> None:
    """Each has its own network, shared memory and scratch; the store is reached by its path."""
    with Networks() as networks:
        try:
            nets = [networks.add(name) for name in ("one", "two")]
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("networks of their own need root and iproute2")
        with cluster(tmp_path / "machines", workers=0, host="0.0.0.0") as machines:  # noqa: S104
            port = machines.address.rpartition(":")[2]
            for number, (words, host) in enumerate(nets):
                scratch = machines.folder / f"worker-{number}"
                scratch.mkdir()
                apart = (
                    f'mount -t tmpfs none /dev/shm && mount -t tmpfs none {scratch} && exec "$@"'
                )
                machines.add_worker(
                    before=[*words, "unshare", "--mount", "sh", "-c", apart, "sh"],
                    scheduler=f"tcp://{host}:{port}",
                )
            report = convert(
                DATASET, tree, tmp_path / "store", shards=SHARDS,
                scheduler=f"tcp://127.0.0.1:{port}",
            )  # fmt: skip
            logs = [machines.log(f"worker-{number}") for number in (0, 1)]
    assert report.exit_code == 0
    assert folder_bytes(tmp_path / "store") == folder_bytes(sharded)
    assert all("10.199." in log for log in logs)


@pytest.mark.slow
def test_a_worker_of_another_version_is_told_and_nothing_is_left(
    machines: DaskProcesses, tree: Path, tmp_path: Path
) -> None:
    from tests.converter.cluster.test_agreement import with_version

    machines.add_worker(env=with_version(tmp_path / "other", "patchpress", "0.0.1"), cwd=tmp_path)
    ended = command("convert", DATASET, tree, tmp_path / "store", "--shards", SHARDS,
                    "--scheduler", machines.address, cwd=ROOT)  # fmt: skip
    assert ended.code == 2
    told = f"has patchpress 0.0.1, and this client {version('patchpress')}"
    assert told in ended.err.splitlines()[-1]
    assert not (tmp_path / "store").exists()


def test_only_plain_values_go_over_the_wire(tree: Path, tmp_path: Path) -> None:
    """A worker needs this package alone to understand a task: no function, no open file."""
    import pickletools

    asked = convert_options({"workers": 0, "shards": 2})
    request = convert_cluster._request_for_workers(
        DATASET, tree, tmp_path / "store", asked, is_local=False
    )
    with ShardMaker(request) as maker:
        maker.choose(tmp_path / "store", rehearse=True)
        task = cluster_task.ShardTask(request, tmp_path / "store", None, (0,), maker.listed(0))
    data = pickle.dumps(task)
    strings: list[str] = []
    for code, value, _ in pickletools.genops(data):
        if isinstance(value, str):
            strings.append(value)
        assert code.name != "GLOBAL"
    modules = {text for text in strings if text.startswith(("patchpress.", "distributed", "dask"))}
    assert modules
    assert all(name.startswith(("patchpress.converter.", "patchpress.readers."))
               for name in modules)  # fmt: skip
    assert pickle.loads(data) == task  # noqa: S301
    assert len(data) < 20_000
