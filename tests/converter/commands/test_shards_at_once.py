"""Shards made by processes at the same time, killed ones, and jobs of an array."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from patchpress import convert
from patchpress.converter.commands.convert_shards import convert_shard
from patchpress.converter.commands.finish import finish_store
from patchpress.converter.commands.missing import missing_shards
from patchpress.converter.commands.which_shard import Sharding, shards_of_size, which_shard
from patchpress.converter.options import ConvertKeywords
from patchpress.readers.errors import OptionError, TargetError
from patchpress.readers.format.shard_rule import shard_folder
from tests.support.helpers import DATASET, command, folder_bytes, made
from tests.support.killed_at import KILLED, digest
from tests.support.synthetic import make_tree

ROOT = Path(__file__).parents[3]
KILLED_AT = Path(__file__).parents[2] / "support" / "killed_at.py"
WORDS = ["--shards", "2", "--workers", "0"]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A tree of two patches."""
    make_tree(tmp_path / "small", n=2, flagged=0)
    return tmp_path / "small"


def killed(plan: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """What each kill of a plan ended in."""
    path = folder / "plan.json"
    path.write_text(json.dumps(plan))
    done = subprocess.run(
        [sys.executable, KILLED_AT, path], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_a_merge_that_is_killed_is_finished_by_the_next(small: Path, tmp_path: Path) -> None:
    store, template = tmp_path / "store", tmp_path / "template"
    made(small, tmp_path / "whole", shards=2)
    for number in range(2):
        convert_shard(DATASET, small, store, number, shards=2, workers=0)
    shutil.copytree(store, template)
    words = ["merge", str(store)]
    plan = {
        "store": str(store),
        "template": str(template),
        "run": words,
        "again": [words],
        "step": 3,
    }
    ends = killed(plan, tmp_path)
    assert [end["codes"] for end in ends] == [[KILLED, 0]] * (len(ends) - 1) + [[0]]
    assert len(ends) > 7
    assert {end["digest"] for end in ends} == {digest(tmp_path / "whole")}


@pytest.mark.slow
def test_a_conversion_to_shards_that_is_killed_goes_on(small: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    made(small, tmp_path / "whole", shards=2)
    words = ["convert", DATASET, str(small), str(store), *WORDS]
    plan = {
        "store": str(store),
        "template": None,
        "run": words,
        "again": [words],
        "first": 5,
        "step": 11,
    }
    *ends, last = killed(plan, tmp_path)
    assert last["codes"] == [0]
    for end in ends:  # at the very end the store is finished, and the next run says so
        assert end["codes"] in ([KILLED, 0], [KILLED, 2])
    assert sum(end["codes"] == [KILLED, 0] for end in ends) > len(ends) // 2
    assert {end["digest"] for end in (*ends, last)} == {digest(tmp_path / "whole")}


@pytest.mark.slow
def test_processes_that_begin_at_once_share_a_store(raw: Path, tmp_path: Path) -> None:
    """Each shard is begun by two processes; a second one is refused, or finds it there."""
    made(raw, tmp_path / "whole", shards=3)
    store = tmp_path / "store"
    words = ["convert", DATASET, str(raw), str(store), "--shards", "3", "--workers", "0"]
    jobs = [
        subprocess.Popen(
            [sys.executable, "-m", "patchpress", *words, "--shard", str(number)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1, 2, 0, 1, 2)
    ]
    for job in jobs:
        out, err = job.communicate(timeout=300)
        if job.returncode:
            assert (job.returncode, out) == (2, "")
            assert re.search(r"another process is writing .*/shards/0000\d: wait", err), err
    assert missing_shards(store) == []
    finish_store(store)
    assert folder_bytes(store) == folder_bytes(tmp_path / "whole")


def test_while_a_shard_is_made_nobody_finishes_or_replaces_the_store(
    raw: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    for number in range(2):
        convert_shard(DATASET, raw, store, number, shards=2, workers=0)
    before = folder_bytes(store)
    with (store / "unfinished.json").open() as marker:
        fcntl.flock(marker, fcntl.LOCK_SH)
        with pytest.raises(TargetError, match="another process is writing"):
            finish_store(store)
        with pytest.raises(TargetError, match="another process is writing"):
            made(raw, store, shards=2, overwrite=True)
        assert convert_shard(DATASET, raw, store, 0, shards=2, workers=0).was_there
    assert folder_bytes(store) == before


def test_without_locks_each_process_makes_a_shard_in_a_folder_of_its_own(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(raw, tmp_path / "whole", shards=2)

    def refused(file: int, kind: int) -> None:
        raise OSError(37, "No locks available")  # ENOLCK

    monkeypatch.setattr("fcntl.flock", refused)
    store = tmp_path / "store"
    left = store / "shards" / ".00001.0123456789abcdef"  # of a run that was killed
    for number in range(2):
        report = convert_shard(DATASET, raw, store, number, shards=2, workers=0)
        assert not report.was_there
        left.mkdir(exist_ok=True)
        (left / "data.mdb").write_bytes(b"cut")
    assert convert_shard(DATASET, raw, store, 0, shards=2, workers=0).was_there
    with pytest.warns(UserWarning, match="has no locks"):
        finish_store(store)
    assert folder_bytes(store) == folder_bytes(tmp_path / "whole")


ARRAY = {
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_ARRAY_TASK_COUNT": "40",
    "SLURM_ARRAY_TASK_MIN": "0",
    "SLURM_ARRAY_TASK_MAX": "39",
}


def test_a_job_array_tells_the_shard_and_their_number(tmp_path: Path) -> None:
    store = tmp_path / "store"
    found = which_shard(store, None, None, ARRAY)
    assert (found.shards, found.shard) == (40, 3)
    assert found.told == (
        f"shard 3 of 40 of {store}, from SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT "
        "(unset SLURM_ARRAY_TASK_ID to make a whole store)"
    )
    assert which_shard(store, 50, 7, ARRAY) == Sharding(50, 7)
    assert which_shard(store, 50, None, ARRAY).told.startswith(f"shard 3 of 50 of {store}, from")
    assert which_shard(store, 50, None, {}) == Sharding(50, None)
    assert which_shard(store, None, None, {}) == Sharding(None, None)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"SLURM_ARRAY_TASK_COUNT": "2"}, "of the 2 tasks 0 to 39 does not tell how many shards"),
        ({"SLURM_ARRAY_TASK_MIN": "1"}, "of the 40 tasks 1 to 39 does not tell how many shards"),
        ({"SLURM_ARRAY_TASK_ID": "x"}, "SLURM_ARRAY_TASK_ID is 'x', and no number"),
        ({"SLURM_ARRAY_TASK_COUNT": ""}, "shard 3 of how many"),
    ],
)
def test_an_array_that_does_not_tell_the_number_of_shards_is_refused(
    tmp_path: Path, changed: dict[str, str], sentence: str
) -> None:
    with pytest.raises(OptionError, match=sentence):
        which_shard(tmp_path / "store", None, None, ARRAY | changed)


def test_an_array_of_the_missing_shards_takes_their_number_from_the_store(
    raw: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    convert_shard(DATASET, raw, store, 0, shards=5, workers=0)
    few = ARRAY | {"SLURM_ARRAY_TASK_COUNT": "1", "SLURM_ARRAY_TASK_MIN": "3"}
    found = which_shard(store, None, None, few)
    assert (found.shards, found.shard) == (5, 3)
    assert "as the store was begun, from SLURM_ARRAY_TASK_ID (unset" in found.told
    with pytest.raises(OptionError, match="there is no shard 9: of 5 they are 0 to 4"):
        which_shard(store, None, 9, {})


def test_a_size_of_shards_gives_their_number(raw: Path, tmp_path: Path) -> None:
    store, options = tmp_path / "store", ConvertKeywords(workers=0)
    found = shards_of_size(DATASET, raw, store, "2MB", options, {})
    assert found.shard is None
    report = made(raw, store, shards=found.shards)
    assert report.bytes / (found.shards or 1) <= 2e6
    assert report.bytes / ((found.shards or 1) - 1) > 2e6
    with pytest.raises(OptionError, match="shard-size must be a size such as 2GiB"):
        shards_of_size(DATASET, raw, store, "large", options, {})
    with pytest.raises(OptionError, match="is for one process, and this is one of a job array"):
        shards_of_size(DATASET, raw, store, "2MB", options, ARRAY)


@pytest.mark.slow
def test_a_dry_run_tells_the_shards(raw: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    words = ["convert", DATASET, raw, store, "--dry-run"]
    ended = command(*words, "--shards", 4)
    assert re.search(r"\n  shards +4, of about [\d.,]+ .B on average\n", ended.out)
    assert "in parallel, shard by shard: the folders of s2, s1, map" in ended.out
    convert_shard(DATASET, raw, store, 0, shards=4, workers=0)
    again = command(*words, "--shards", 4)
    assert re.search(r"\n  goes on +\d records are stored already\n", again.out), again.out
    other = command(*words, "--shards", 5)
    assert (other.code, "was begun with shards 4, not 5" in other.err) == (2, True)


def test_a_limit_takes_the_same_patches_in_every_shard(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "whole", shards=2, limit=2)
    for number in range(2):
        convert_shard(DATASET, raw, tmp_path / "store", number, shards=2, limit=2, workers=0)
    finish_store(tmp_path / "store")
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")


def test_a_probe_of_a_conversion_that_was_killed_is_no_other_thing(
    raw: Path, tmp_path: Path
) -> None:
    single, store = tmp_path / "single", tmp_path / "store"
    convert_shard(DATASET, raw, store, 1, shards=2, workers=0)
    for folder in (single, store / shard_folder(0)):
        folder.mkdir()
        (folder / "unfinished.json").write_bytes(b"")
        (folder / "probe.mdb").write_bytes(b"")
    convert(DATASET, raw, single, workers=0)
    convert(DATASET, raw, store, workers=0, shards=2)
    assert not list(tmp_path.rglob("probe.mdb"))


@pytest.mark.slow
def test_the_script_of_the_documentation_makes_a_store(raw: Path, tmp_path: Path) -> None:
    """As a shell loop of independent processes; of the first round one task dies."""
    page = (ROOT / "docs" / "cluster.md").read_text()
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", page, re.DOTALL)
    path, store = tmp_path / "shards.sh", tmp_path / "ben.store"
    path.write_text(script)
    made(raw, tmp_path / "whole", shards=4)
    binary = tmp_path / "bin"
    binary.mkdir()
    (binary / "patchpress").write_text(f'#!/bin/sh\nexec {sys.executable} -m patchpress "$@"\n')
    (binary / "patchpress").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{binary}:{os.environ['PATH']}",
        "SOURCE": str(raw),
        "STORE": str(store),
        "SHARDS": "4",
        "SLURM_CPUS_PER_TASK": "1",
    }

    def array(numbers: list[int]) -> list[int]:
        jobs = [
            subprocess.Popen(
                ["bash", path],
                env=environment | {"SLURM_ARRAY_TASK_ID": str(number)},
                stdout=subprocess.DEVNULL,
            )
            for number in numbers
        ]
        return [job.wait(timeout=300) for job in jobs]

    assert array([0, 2]) == [0, 0]
    printed = command("missing", store)
    assert (printed.code, printed.out) == (0, "1,3\n")
    assert array([1, 3]) == [0, 0]
    assert command("missing", store).out == ""
    assert command("merge", store).code == 0
    assert folder_bytes(store) == folder_bytes(tmp_path / "whole")
