"""`patchpress stage`, `bench --stage`, and what the environment does to other commands."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from patchpress import open_store, stage
from patchpress.readers.staging.options import STAGE
from tests.support.helpers import Ended, command
from tests.support.sharding import sharded


@pytest.fixture(scope="module")
def parts(stores: dict[tuple[str, str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sharded(stores["stacked", "none"], tmp_path_factory.mktemp("parts") / "store", 3)


def test_a_store_is_staged_once_and_found_by_a_job(
    parts: Path, tmp_path: Path, patchpress: Callable[..., Ended]
) -> None:
    for _ in range(2):
        ended = patchpress("stage", parts, tmp_path)
        assert ended.code == 0, ended.err
        assert f"{parts}: 3 shards, " in ended.out
        assert ended.out.endswith(f", staged in {tmp_path}\n")
    with open_store(parts, stage=tmp_path) as store:
        assert all(tmp_path in path.parents for path in store.data_files())
    assert stage(parts, tmp_path).text() == ended.out.strip()


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["{store}", "{tmp}", "--size", "5kB"], 2, "there is no room in {tmp} for shards/00000"),
        (
            ["{store}", "{tmp}", "--size", "5XB"],
            2,
            "'5XB' of a stage is no number of bytes",
        ),
        (
            ["{store}", "{tmp}/file/stage"],
            2,
            "cannot be made (Not a directory); name another folder",
        ),
        (["{store}", "$NOWHERE/stage"], 2, "the environment variable NOWHERE, which is not set"),
        (["{store}", ""], 2, "a word of the command is empty after {store}: is the variable"),
        (["{store}", "{store}/stage"], 2, "lies in the store {store} itself"),
        (["{tmp}", "{tmp}/stage"], 1, "there is no store at {tmp}"),
    ],
)
def test_what_cannot_be_staged_is_one_sentence(
    parts: Path,
    tmp_path: Path,
    patchpress: Callable[..., Ended],
    words: list[str],
    code: int,
    sentence: str,
) -> None:
    (tmp_path / "file").touch()
    names = {"store": parts, "tmp": tmp_path}
    ended = patchpress("stage", *(word.format(**names) for word in words))
    assert (ended.code, ended.out) == (code, "")
    assert sentence.format(**names) in ended.err.splitlines()[-1]


@pytest.mark.slow
def test_a_store_is_measured_where_it_is_staged(
    parts: Path, tmp_path: Path, patchpress: Callable[..., Ended]
) -> None:
    out = tmp_path / "bench.json"
    words = ("--seconds", 0.01, "--batch", 4, "--out", out, "--stage", tmp_path / "stage")
    ended = patchpress("bench", parts, *words)
    assert ended.code == 0, ended.err
    assert ended.out.startswith(f"s2, one process, staged in {tmp_path / 'stage'}\n")
    assert len(list(tmp_path.glob("stage/*/*.mdb"))) == 3
    assert all(one["patches"] > 0 for one in json.loads(out.read_text()) if not one["reason"])


def test_commands_that_look_at_a_store_read_the_store(parts: Path, tmp_path: Path) -> None:
    environment = {**os.environ, STAGE: str(tmp_path / "stage")}
    ended = command("inspect", parts, open_store(parts).keys("s2")[0], env=environment)
    assert ended.code == 0, ended.err
    assert not (tmp_path / "stage").exists()
