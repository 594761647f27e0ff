"""What is said if there is no scheduler, or none that can work."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from patchpress.converter.cluster import connection
from patchpress.converter.cluster.connection import connected
from patchpress.readers.errors import ClusterError, OptionError
from tests.support.machines import NO_DASK, cluster

pytest.importorskip("distributed", reason=NO_DASK)
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("scheduler", ["nowhere", "tcp://host", "/no/such/file", ""])
def test_what_is_no_scheduler_is_named(scheduler: str) -> None:
    with (
        pytest.raises(OptionError, match="is no address as tcp://HOST:PORT, no file"),
        connected(scheduler, 1),
    ):
        pass


def test_no_scheduler_at_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT", 0.5)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{nobody.getsockname()[1]}"
        with (
            pytest.raises(ClusterError, match=f"^no scheduler answers at {address}: start one"),
            connected(address, 1),
        ):
            pass


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"address": "x"}', "\x00"])
def test_a_file_that_no_scheduler_wrote(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT", 0.5)
    (tmp_path / "scheduler.json").write_text(text)
    with (
        pytest.raises(ClusterError, match="scheduler.json"),
        connected(str(tmp_path / "scheduler.json"), 1),
    ):
        pass


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT", 0.2)
    with (
        pytest.raises(ClusterError, match=r"scheduler\.json is not there after 0 s: start a sched"),
        connected(str(tmp_path / "scheduler.json"), 1),
    ):
        pass


def test_a_file_that_a_scheduler_still_writes(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.touch()
    content = '{"address": "tcp://10.0.0.1:8786"}'
    with ThreadPoolExecutor() as pool:
        found = pool.submit(connection._address, str(file))
        file.write_text(content[:9])
        file.write_text(content)
        assert found.result(30) == "tcp://10.0.0.1:8786"


@pytest.mark.slow
def test_a_scheduler_without_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WORKERS", 0.5)
    with (
        cluster(tmp_path / "machines", workers=0) as machines,
        pytest.raises(ClusterError, match="has no workers after .* s: start some with"),
        connected(machines.address, 1),
    ):
        pass


@pytest.mark.slow
def test_a_file_of_a_scheduler_and_its_dashboard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        cluster(tmp_path / "machines", workers=1) as machines,
        connected(str(machines.file), 1) as client,
    ):
        assert client.submit(sum, [1, 2]).result() == 3
    assert capsys.readouterr().err.startswith("dashboard: http://127.0.0.1:")


@pytest.mark.slow
def test_workers_of_this_machine_are_processes_that_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import os

    with connected("local", 2) as client:
        found = client.run(os.getpid)
        assert len({*found.values(), os.getpid()}) == 3
    for process in found.values():
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    assert capsys.readouterr().err.count("\n") == 1


def test_workers_of_this_machine_do_not_profile_themselves() -> None:
    import dask

    name = "distributed.worker.profile.enabled"
    before = dask.config.get(name)
    with connected("local", 1) as client:
        assert list(client.run(dask.config.get, name).values()) == [False]
    assert dask.config.get(name) == before
