"""Workers of other versions, and workers that see other disks, are told of before any work."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from benchmarks.cluster.processes import DaskProcesses
from patchpress.converter.cluster.agreement import require_same_sight, require_same_versions
from patchpress.converter.cluster.connection import connected
from patchpress.readers.errors import ClusterError
from tests.support.machines import NO_DASK, ROOT, cluster

pytest.importorskip("distributed", reason=NO_DASK)
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[DaskProcesses]:
    with cluster(tmp_path / "machines", workers=1) as processes:
        yield processes


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A source and a store."""
    source, store = tmp_path / "data" / "source", tmp_path / "out" / "a.store"
    source.mkdir(parents=True)
    store.mkdir(parents=True)
    (source / "metadata.parquet").write_bytes(b"table")
    return source, store


def with_version(folder: Path, name: str, number: str) -> dict[str, str]:
    """An environment in which a package says that it has another version."""
    described = folder / f"{name}-{number}.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def test_workers_of_the_same_version_are_taken(machines: DaskProcesses) -> None:
    machines.add_worker()
    with connected(machines.address, 1) as client:
        client.wait_for_workers(2, timeout=30)
        require_same_versions(client)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("patchpress", f"has patchpress 0.0.1, and this client {version('patchpress')}: give all"),
        ("numpy", f"has numpy 0.0.1, and this client {version('numpy')}: give all"),
    ],
)
def test_a_worker_of_another_version(
    machines: DaskProcesses, tmp_path: Path, name: str, said: str
) -> None:
    machines.add_worker(env=with_version(tmp_path / "other", name, "0.0.1"), cwd=tmp_path)
    with connected(machines.address, 1) as client:
        client.wait_for_workers(2, timeout=30)
        with pytest.raises(ClusterError, match=f"^worker tcp://[0-9.:]+ {said}"):
            require_same_versions(client)


def test_a_worker_with_other_code_of_the_same_version(
    machines: DaskProcesses, tmp_path: Path
) -> None:
    other = tmp_path / "checkout"
    for name in ("converter", "readers"):
        shutil.copytree(ROOT / name, other / "patchpress" / name)
    shutil.copy(ROOT / "patchpress" / "__init__.py", other / "patchpress")
    with (other / "patchpress" / "converter" / "text.py").open("a") as file:
        file.write("# changed\n")
    machines.add_worker(env={"PYTHONPATH": str(other)}, cwd=tmp_path)
    with connected(machines.address, 1) as client:
        client.wait_for_workers(2, timeout=30)
        said = f"has other code of patchpress {version('patchpress')} than this"
        with pytest.raises(ClusterError, match=said):
            require_same_versions(client)


def test_workers_that_see_the_same_are_taken(
    machines: DaskProcesses, places: tuple[Path, Path]
) -> None:
    source, store = places
    with connected(machines.address, 1) as client:
        require_same_sight(client, store, [source, source / "metadata.parquet"], None)
    assert list(store.parent.iterdir()) == [store]


@pytest.mark.parametrize(
    ("hidden", "said"),
    [("data", "does not see .*/data/source"), ("out", "does not see .*/out/a.store")],
)
def test_a_worker_on_another_disk(
    machines: DaskProcesses, tmp_path: Path, places: tuple[Path, Path], hidden: str, said: str
) -> None:
    unshare = ["unshare", "--mount"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a worker on another disk needs root")
    source, store = places
    mount = f'mount -t tmpfs none {tmp_path / hidden} && exec "$@"'
    machines.add_worker(before=[*unshare, "sh", "-c", mount, "sh"])
    with connected(machines.address, 1) as client:
        client.wait_for_workers(2, timeout=30)
        with pytest.raises(ClusterError, match=rf"^worker tcp://[0-9.:]+ {said} \(1 of 2 workers"):
            require_same_sight(client, store, [source, source / "metadata.parquet"], None)
    assert list(store.parent.iterdir()) == [store]


def test_a_scratch_that_is_not_there(
    machines: DaskProcesses, tmp_path: Path, places: tuple[Path, Path]
) -> None:
    source, store = places
    with (
        connected(machines.address, 1) as client,
        pytest.raises(ClusterError, match="may not write .*/none, its scratch: give"),
    ):
        require_same_sight(client, store, [source], tmp_path / "none")
