"""A finished store that gets another table and manifest, and is killed meanwhile."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import lmdb
import pytest

from patchpress import index, open_store, verify
from patchpress.readers.errors import StoreDamaged
from patchpress.readers.format.manifest import DATA, MANIFEST, METADATA
from tests.support.helpers import folder_bytes, made
from tests.support.killed_at import KILLED, digest
from tests.support.loading import refused
from tests.support.synthetic import make_tree

pytestmark = pytest.mark.slow

KILLED_AT = Path(__file__).parents[2] / "support" / "killed_at.py"
SPLIT = ["--split", "geographic", "--block", "10km"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of six patches."""
    make_tree(tmp_path / "raw", n=6, flagged=0)
    made(tmp_path / "raw", tmp_path / "store", modalities=["s2", "s1"])
    return tmp_path / "store"


def killed(store: Path, words: list[str], again: list[str]) -> list[dict[str, Any]]:
    """What each kill of `index` ended in, after it ran again."""
    template = Path(shutil.copytree(store, store.with_name("template")))
    before = ["index", str(store)]
    plan = {"store": str(store), "template": str(template), "run": [*before, *words],
            "again": [[*before, *again]]}  # fmt: skip
    path = store.with_name("plan.json")
    path.write_text(json.dumps(plan))
    done = subprocess.run(
        [sys.executable, KILLED_AT, path], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("again", [SPLIT, []], ids=["again", "index"])
def test_splits_that_were_killed_are_mended(store: Path, again: list[str]) -> None:
    before = digest(store)
    ends = killed(store, SPLIT, again)
    assert [end["codes"] for end in ends] == [[KILLED, 0]] * (len(ends) - 1) + [[0]]
    assert len(ends) > 6
    whole = ends[-1]["digest"]
    assert {end["digest"] for end in ends} == ({whole} if again else {whole, before})
    assert verify(store, workers=0).good


def test_changes_of_records_that_were_killed_are_mended(store: Path) -> None:
    with lmdb.open(str(store), map_size=1 << 30, lock=False) as file, file.begin(write=True) as at:
        assert at.delete(open_store(store).keys("s1")[0].encode())
    ends = killed(store, [], [])
    assert [end["codes"] for end in ends] == [[KILLED, 0]] * (len(ends) - 1) + [[0]]
    assert len({end["digest"] for end in ends}) == 1
    assert verify(store, workers=0).good


def test_a_reader_between_both_names_the_way_out(store: Path) -> None:
    old = folder_bytes(store)
    index(store, split="geographic", block="10km")
    new = folder_bytes(store)
    waiting = store / f"{MANIFEST}.0123456789abcdef.partial"
    waiting.write_bytes(new[MANIFEST])
    (store / MANIFEST).write_bytes(old[MANIFEST])
    sentence = refused(StoreDamaged, lambda: open_store(store).table())
    assert "run `patchpress index` on it if that was interrupted" in sentence
    assert verify(store, workers=0).good is False
    index(store)
    assert folder_bytes(store) == new
    # One that is of no table there, or not whole, was not begun.
    for left in (old[MANIFEST], new[MANIFEST][:-20], b""):
        waiting.write_bytes(left)
        index(store)
        assert folder_bytes(store) == new
    assert (store / METADATA).exists()
    assert (store / DATA).exists()
