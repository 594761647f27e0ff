"""The benchmarks of many workers: the model's arithmetic, and tasks through a real scheduler."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.cluster import model
from benchmarks.report import markdown
from tests.support.helpers import python

ROOT = Path(__file__).parents[2]
WORK = model.Work("a set", patches=1000, folders=2, files=10, source=1e9, store=2e9, shards=8)
MACHINES = model.Machines(
    nodes=2, cores=2, shared_read=1e8, shared_write=1e8, shared_opens=100, shared_names=500,
    node=1e8, scratch=1e9,
)  # fmt: skip
COSTS = model.Costs(encode=0.1, encode_bytes=1e6, walk=0.01, task=0.5, start=3, row=0.001)


def test_each_resource_takes_as_long_as_it_has_work() -> None:
    assert model.seconds(WORK, MACHINES, COSTS) == pytest.approx(
        {
            "list of the source": 1000 * 0.01 + 2 * 1000 / 500,
            # 2,000 times 0.1 s on four cores, each of which begins twice.
            "CPU": 2000 * 0.1 / 4 + 2 * 3,
            "shared disk, files": 1000 * 10 / 100,
            "shared disk, bytes": 20,
            "network of a node": 3e9 / 1e8 / 2,
            "scratch of a node": 1,
            "scheduler": 4,
            "join of the table": 1,
        }
    )


def test_more_workers_than_shards_do_not_help() -> None:
    few, many = (replace(MACHINES, nodes=4), replace(MACHINES, nodes=64))
    assert model.seconds(WORK, few, COSTS)["CPU"] == model.seconds(WORK, many, COSTS)["CPU"]


def test_the_busiest_worker_decides_if_shards_cannot_be_shared_out_evenly() -> None:
    found = model.seconds(replace(WORK, shards=5), MACHINES, COSTS)
    assert found["CPU"] == pytest.approx(2000 * 0.1 * 2 / 5 + 2 * 3)


def test_the_client_lists_before_all_else_and_joins_after_it() -> None:
    assert model.total(model.seconds(WORK, MACHINES, COSTS)) == pytest.approx(14 + 100 + 1)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.44, "0.4 s"), (35.2, "35 s"), (720, "12 min"), (12_600, "3.5 h")],
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert model.duration(seconds) == said


@pytest.mark.parametrize("work", [model.BIGEARTHNET, model.SCENES])
def test_the_document_has_the_table_that_is_computed(work: model.Work) -> None:
    table = markdown(model.table(work)).split("\n\n", 1)[1].strip()
    page = (ROOT / "docs" / "cluster.md").read_text()
    assert table in page, "run `python -m benchmarks.cluster model`"


@pytest.mark.slow
def test_tasks_of_no_work_run_through_a_scheduler() -> None:
    pytest.importorskip("distributed", reason="dask is not installed")
    words = ("tasks", "--tasks", 50, "--window", 20, "--workers", 1)
    ended = python("-m", "benchmarks.cluster", *words, cwd=ROOT)
    assert ended.code == 0, ended.err
    assert "| 50    | 1       | 20 at once" in ended.out
