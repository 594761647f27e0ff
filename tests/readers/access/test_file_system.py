"""On a network disk a store is read directly, by large requests, unless a mode is asked for."""

import os
import pickle
from pathlib import Path

import pytest

from patchpress import open_store
from patchpress.readers.access import file_system
from patchpress.readers.access.file_system import file_system_of, is_network
from tests.support.requests import counted_reads

LINE = "36 35 {device} / {place} rw,relatime shared:1 - {kind} server:/data rw,vers=4.2\n"


def mounted(kind: str, path: Path, listing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the list of mounts say that a path is on a file system of some kind."""
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    listing.write_text(
        LINE.format(device="999:1", place="/other", kind="ext4")
        + LINE.format(device=number, place="/data", kind=kind)
    )
    monkeypatch.setattr(file_system, "MOUNTS", listing)


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        *((kind, True) for kind in ("nfs", "nfs4", "lustre", "cifs", "smb3", "beegfs", "gpfs")),
        *((kind, True) for kind in ("ceph", "9p", "virtiofs", "fuse", "fuse.sshfs")),
        *((kind, False) for kind in ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "fuseblk", "")),
    ],
)
def test_a_store_is_read_as_its_file_system_wants(
    stacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, network: bool
) -> None:
    assert is_network(kind) == network
    mounted(kind or "none", stacked, tmp_path / "mounts", monkeypatch)
    store = open_store(stacked)
    keys = store.keys("s2")[:4]
    for _ in range(400 if network else 0):  # a local disk is trusted to have all in memory then
        store.read_batch(keys)
    with counted_reads() as counted:
        store.read_batch(keys)
    assert len(counted) >= 4  # a local one is read before it is trusted, too
    assert ("read directly" in repr(store)) == network
    assert store.reads_how.startswith(f"on {kind or 'none'}: ")


def test_a_mode_that_is_asked_for_is_taken(
    stacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted("nfs4", stacked, tmp_path / "mounts", monkeypatch)
    store = open_store(stacked, mode="map")
    store.read_batch(store.keys("s2")[:4])  # opens and looks at the file
    with counted_reads() as counted:
        store.read_batch(store.keys("s2")[:4])
    assert not len(counted)
    assert store.reads_how == "on nfs4: copied from a map"


def test_another_process_looks_for_itself(
    stacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pickled store is its path and options: a worker may have other mounts."""
    mounted("nfs4", stacked, tmp_path / "mounts", monkeypatch)
    pickled = pickle.dumps(open_store(stacked))
    monkeypatch.undo()
    assert "nfs4" not in pickle.loads(pickled).reads_how  # noqa: S301


def test_a_system_that_does_not_tell_is_a_local_one(
    stacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_system, "MOUNTS", tmp_path / "none")
    assert file_system_of(stacked) == ""
    assert "unknown kind" in open_store(stacked).reads_how
    (tmp_path / "odd").write_text("not a list\n\n1 2 3\n")
    monkeypatch.setattr(file_system, "MOUNTS", tmp_path / "odd")
    assert file_system_of(stacked) == ""
    assert file_system_of(tmp_path / "absent") == ""


def test_this_system_tells(stacked: Path) -> None:
    if not file_system.MOUNTS.exists():
        pytest.skip("only Linux lists its mounts so")
    assert file_system_of(stacked)
