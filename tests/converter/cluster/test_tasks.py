"""Tasks through a real scheduler: results, progress, errors, and workers that die."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.cluster.processes import DaskProcesses
from patchpress.converter.cluster.connection import connected
from patchpress.converter.cluster.tasks import run_tasks
from patchpress.readers.errors import ClusterError, SourceError
from tests.converter.cluster.tasks_for_tests import Steps, take_steps
from tests.support.machines import NO_DASK, ROOT, cluster, with_root

pytest.importorskip("distributed", reason=NO_DASK)
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


class Counted:
    """Progress that adds up."""

    def __init__(self) -> None:
        self.done = self.bytes = 0

    def start(self, stage: str, total: int | None, unit: str = "records") -> None:
        """Do nothing."""

    def advance(self, count: int, nbytes: int, /, share: float | None = None) -> None:
        """Add."""
        assert count > 0
        self.done += count
        self.bytes += nbytes


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[DaskProcesses]:
    with cluster(tmp_path / "machines", workers=2) as processes:
        yield processes


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds, for at most half a minute."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_every_task_is_done_and_told_of(machines: DaskProcesses, tmp_path: Path) -> None:
    progress = Counted()
    items = {number: Steps(str(tmp_path), f"t{number}", 5 * number) for number in range(10)}
    with connected(machines.address, 2) as client:
        found = set(run_tasks(client, take_steps, items.items(), progress, what="task"))
    assert found == {f"T{number}" for number in range(10)}
    assert (progress.done, progress.bytes) == (225, 2250)


def test_a_task_whose_worker_is_killed_is_done_again(
    machines: DaskProcesses, tmp_path: Path
) -> None:
    progress = Counted()
    items = {n: Steps(str(tmp_path), f"t{n}", 30, dies=n == 1) for n in range(4)}
    with connected(machines.address, 2) as client:
        found = set(run_tasks(client, take_steps, items.items(), progress, what="task"))
    assert (tmp_path / "t1.died").exists()
    assert found == {f"T{n}" for n in range(4)}
    assert progress.done == 120


def test_an_error_of_a_task_is_raised_and_ends_the_others(
    machines: DaskProcesses, tmp_path: Path
) -> None:
    items = {0: Steps(str(tmp_path), "long", 1000), 1: Steps(str(tmp_path), "bad", 10, fails=True)}
    with connected(machines.address, 2) as client:
        with pytest.raises(SourceError, match="^bad is not as described$"):
            list(run_tasks(client, take_steps, items.items(), Counted(), what="task"))
        until((tmp_path / "long.ended").exists)
    assert "nobody waits" in (tmp_path / "long.ended").read_text()


def test_a_client_that_is_killed_ends_its_tasks(machines: DaskProcesses, tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text(
        "from patchpress.converter.cluster.connection import connected\n"
        "from patchpress.converter.cluster.tasks import run_tasks\n"
        "from patchpress.converter.progress import NoProgress\n"
        "from tests.converter.cluster.tasks_for_tests import Steps, take_steps\n"
        f"with connected({machines.address!r}, 2) as client:\n"
        f"    items = {{0: Steps({str(tmp_path)!r}, 'long', 1000)}}\n"
        "    list(run_tasks(client, take_steps, items.items(), NoProgress(), what='task'))\n"
    )
    client = subprocess.Popen([sys.executable, script], cwd=ROOT, env=with_root())
    until((tmp_path / "long.begun").exists)
    client.kill()
    client.wait()
    until((tmp_path / "long.ended").exists)
    assert "nobody waits" in (tmp_path / "long.ended").read_text()


def test_a_scheduler_that_is_lost_is_said(machines: DaskProcesses, tmp_path: Path) -> None:
    items = {n: Steps(str(tmp_path), f"t{n}", 20 if n < 2 else 1000) for n in range(4)}
    with connected(machines.address, 2) as client:
        results = run_tasks(client, take_steps, items.items(), Counted(), what="shard")
        next(results)
        assert machines.scheduler is not None
        machines.scheduler.kill()
        with pytest.raises(ClusterError, match="^the scheduler is gone: each shard that is fin"):
            list(results)
