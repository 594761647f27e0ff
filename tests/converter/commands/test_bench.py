"""`bench` measures what it says; no test depends on how fast that is."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from patchpress import open_store
from patchpress.converter.commands.bench import (
    BenchReport,
    Measurement,
    Reading,
    drop_from_cache,
    measure,
)
from patchpress.converter.commands.bench_bound import bound_sentence
from tests.support.helpers import Ended

pytestmark = pytest.mark.slow

SECONDS = "0.01"


def test_every_way_is_measured_warm_and_cold(
    stacked: Path, tmp_path: Path, patchpress: Callable[..., Ended]
) -> None:
    out = tmp_path / "bench.json"
    ended = patchpress("bench", stacked, "--seconds", SECONDS, "--batch", 4, "--out", out)
    assert ended.code == 0, ended.err
    found = json.loads(out.read_text())
    ways = [(one["cache"], one["case"], one["mode"]) for one in found]
    once = [("single", "auto"), ("batch", "auto"), ("batch", "map"), ("batch", "direct")]
    assert ways == [(c, *way) for c in ("warm", "cold") for way in [*once, ("loader", "auto")]]
    for one in found:
        assert one["reason"] or one["patches"] > 0
        if not one["reason"]:
            assert one["asked"] == one["patches"] * 345_600
    lines = ended.out.splitlines()
    assert len(lines) == 3 + len(found)
    assert "one process, on " in lines[0]  # the file system, and how it is read
    assert "a step that takes longer than" in lines[-1]
    assert "ms a batch of 256 never waits" in lines[-1]


@pytest.mark.parametrize("case", ["single", "batch"])
def test_warm_reads_ask_the_disk_for_nothing(stacked: Path, case: str) -> None:
    reading = Reading(modality="s2", case=case, mode="map", cache="warm", batch=4)
    found = measure(stacked, reading, 0.01)
    assert found.patches > 0
    assert found.fetched == 0


def test_a_cold_batch_reads_what_was_asked_and_little_more(stacked: Path, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    copy.mkdir()
    for file in stacked.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    if drop_from_cache([copy / "data.mdb"]):
        pytest.skip("this file system does not let go of its cache (tmpfs?)")
    os.sync()
    # A cold measurement ends when every record was read once, whatever the time.
    reading = Reading(modality="s2", case="batch", mode="direct", cache="cold", batch=5)
    found = measure(copy, reading, 1e9)
    assert found.patches == len(open_store(copy).keys("s2"))
    if not found.fetched:
        pytest.skip("this system does not count what a process has from disks")
    assert found.fetched <= 1.1 * found.asked + 200_000  # the table and the extents, too


def test_what_could_not_be_measured_says_why() -> None:
    one = Measurement(
        modality="s2",
        case="batch",
        mode="auto",
        cache="cold",
        batch=64,
        patches=0,
        seconds=0.0,
        asked=0,
        fetched=0,
        reason="someone else reads it",
    )
    assert "someone else reads it" in BenchReport([one]).text()


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--modality", "s9"], 1, "no modality 's9'; it has s2, s1, map"),
        (["--batch", "0"], 2, "a batch must have 1 record or more, not 0"),
        (["--seconds", "-1"], 2, "seconds must be a number above 0, not -1.0"),
        (["--seconds", "inf"], 2, "seconds must be a number above 0, not inf"),
    ],
)
def test_wrong_questions_are_refused(
    stacked: Path, patchpress: Callable[..., Ended], words: list[str], code: int, sentence: str
) -> None:
    ended = patchpress("bench", stacked, *words)
    assert ended.code == code
    assert sentence in ended.sentence


def test_no_store_is_one_sentence(tmp_path: Path, patchpress: Callable[..., Ended]) -> None:
    ended = patchpress("bench", tmp_path / "none")
    assert (ended.code, "no store" in ended.sentence) == (1, True)


def test_what_bounds_training_is_one_sentence() -> None:
    assert bound_sentence(12_000, None) == (
        "your loader gives 12,000 patches/s: a step that takes longer than 21 ms a batch of 256 "
        "never waits, and a shorter one is bound by the loader"
    )
    said = bound_sentence(32_000, 2_000)
    assert "32,000 patches/s from memory and 2,000 from the disk" in said
    assert "longer than 8.0 ms a batch of 256 never waits while the store fits into memory" in said
    assert "one longer than 128 ms never" in said
    assert "from the disk as from memory" in bound_sentence(10_000, 9_500)


def test_without_a_measured_loader_nothing_is_claimed() -> None:
    measured = Measurement(
        modality="s2", case="loader", mode="auto", cache="warm", batch=4, patches=0, seconds=0,
        asked=0, fetched=0, reason="it could not be read",
    )  # fmt: skip
    assert "is not known" in BenchReport([measured]).bound()
