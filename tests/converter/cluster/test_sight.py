"""What a worker says of the disks and the packages that it sees, as it is asked on itself."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from patchpress.converter.cluster.on_worker import CODE, Visible, difference, look


@pytest.fixture
def visible(tmp_path: Path) -> Visible:
    (tmp_path / "token").write_text("word")
    (tmp_path / "table").write_bytes(b"12345")
    (tmp_path / "scratch").mkdir()
    return Visible(
        token=str(tmp_path / "token"),
        content="word",
        folder=str(tmp_path),
        scratch=str(tmp_path / "scratch"),
        sources=[(str(tmp_path / "table"), 5), (str(tmp_path), None)],
    )


WORKER = SimpleNamespace(local_directory="/nowhere")


def test_a_worker_that_sees_the_same_says_nothing(visible: Visible) -> None:
    assert look(visible, WORKER) == []


def test_each_thing_that_differs_is_said(visible: Visible, tmp_path: Path) -> None:
    table = str(tmp_path / "table")
    other = replace(visible, sources=[(table, 6), (f"{table}.2", None)], content="another")
    assert look(other, WORKER) == [
        f"sees another file at {table}",
        f"does not see {table}.2",
        f"does not see {tmp_path}",
    ]
    assert look(replace(visible, token=f"{table}.3"), WORKER) == [f"does not see {tmp_path}"]
    assert look(replace(visible, scratch=None), WORKER) == ["may not write /nowhere, its scratch"]


def test_a_folder_that_may_not_be_written_is_said(
    visible: Visible, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: path != visible.folder)
    assert look(visible, WORKER) == [f"may not write {tmp_path}"]


def test_the_first_difference_of_versions_is_told() -> None:
    here = {"patchpress": "2", CODE: "abc", "numpy": "1"}
    assert difference({**here, "numpy": "3"}, here) == "numpy 3, and this client 1"
    assert difference({"patchpress": "2", CODE: "abc"}, here) == "numpy nothing, and this client 1"
    assert difference({**here, CODE: "x"}, here) == "other code of patchpress 2 than this client"
    assert difference({**here, "more": "1"}, here) == "other packages than this client"
