"""Where the tests of memory make their control group, in made trees of both versions of cgroups."""

import os
from pathlib import Path

import pytest

from tests.support.small_memory import memory_group

GROUP = "user.slice/session"


def tree(root: Path, controls: dict[str, str], *, procs: bool = True) -> Path:
    """A folder as version 2 mounts it: of each group what it lets those below it limit."""
    for name, kinds in controls.items():
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.subtree_control").write_text(kinds)
        if procs:
            (folder / "cgroup.procs").touch()
    return root


def says(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def made_in(groups: Path, own: Path) -> tuple[str, str, str]:
    """(folder of the group that is made, its limit, what it is set to)."""
    before = set(groups.rglob("*"))
    with memory_group("test", groups, own) as group:
        group.allow(150 << 20)
        group.join()
        made = sorted(set(groups.rglob("*")) - before)
        folder, files = made[0], made[1:]
        (limit,) = (file for file in files if file.name != "cgroup.procs")
        told = limit.read_text()
        assert (folder / "cgroup.procs").read_text() == "0"
        for file in files:  # those of a real group go with it
            file.unlink()
    assert set(groups.rglob("*")) == before
    return str(folder.relative_to(groups)), limit.name, told


@pytest.mark.parametrize(
    ("controls", "place"),
    [
        ({"": "cpu memory", "user.slice": "memory", GROUP: "cpu memory pids"}, GROUP),
        ({"": "cpu memory", "user.slice": "cpu memory", GROUP: ""}, "user.slice"),
        ({"": "memory", "user.slice": "", GROUP: "cpu"}, ""),
    ],
    ids=["its own", "the one above", "the root"],
)
def test_the_nearest_group_of_version_2_that_limits_memory(
    tmp_path: Path, controls: dict[str, str], place: str
) -> None:
    groups = tree(tmp_path / "groups", controls)
    own = says(tmp_path / "own", f"0::/{GROUP}")
    wanted = str(Path(place) / "patchpress-test")
    assert made_in(groups, own) == (wanted, "memory.max", str(150 << 20))


def test_version_1(tmp_path: Path) -> None:
    groups = tmp_path / "groups"
    (groups / "memory" / "job").mkdir(parents=True)
    own = says(tmp_path / "own", "5:cpu,cpuacct:/x", "4:memory:/job", "0::/")
    wanted = ("memory/job/patchpress-test", "memory.limit_in_bytes", str(150 << 20))
    assert made_in(groups, own) == wanted


@pytest.mark.parametrize(
    "controls", [{"": "cpu", GROUP: "pids"}, {"": "cpu memory_none"}], ids=["none", "another word"]
)
def test_a_tree_without_a_limit_on_memory_skips_and_is_left_as_it_is(
    tmp_path: Path, controls: dict[str, str]
) -> None:
    """Version 2 beside version 1: its group `/` is a plain folder, where a file limits nothing."""
    groups = tree(tmp_path / "groups", controls)
    own = says(tmp_path / "own", "4:memory:/not/there", f"0::/{GROUP}")
    before = set(groups.rglob("*"))
    with pytest.raises(pytest.skip.Exception), memory_group("test", groups, own):
        pass
    assert set(groups.rglob("*")) == before


@pytest.mark.skipif(not os.geteuid(), reason="root may write to every file")
def test_a_group_that_this_process_may_not_leave_skips(tmp_path: Path) -> None:
    groups = tree(tmp_path / "groups", {"": "memory"})
    (groups / "cgroup.procs").chmod(0o444)
    with (
        pytest.raises(pytest.skip.Exception),
        memory_group("test", groups, says(tmp_path / "own", "0::/")),
    ):
        pass
