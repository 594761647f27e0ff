"""Processes that train together: each finds its share by itself, and all have one seed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from patchpress.readers.distributed import Processes, drawn_seed, processes_of
from patchpress.readers.errors import OptionError
from patchpress.readers.loader import PatchLoader
from patchpress.readers.samples import Samples
from tests.support.helpers import python
from tests.support.loading import flat

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")

from torch.utils.data import DataLoader, DistributedSampler, WeightedRandomSampler  # noqa: E402

from patchpress.readers.torch_dataset import PatchDataset  # noqa: E402

# Two real processes over gloo; what each of them sees of two epochs, as JSON.
PROCESS = """
import json, os, sys
import torch
from torch import distributed
from patchpress import PatchLoader
store, rendezvous, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
if options.pop("group", True):
    distributed.init_process_group("gloo", f"file://{rendezvous}", rank=int(os.environ["NUMBER"]),
                                   world_size=2)
if "manual_seed" in options:
    torch.manual_seed(options.pop("manual_seed"))
loader = PatchLoader(store, target=None, with_key=True, bands="B02", **options)
epochs = [[keys for _, keys in loader] for _ in range(2)]
print(json.dumps({"epochs": epochs, "length": len(loader), "repr": repr(loader),
                  "seed": loader.order.seed}))
"""


def together(store: Path, tmp_path: Path, variables: bool = False, **options: Any) -> list[Any]:
    """What two processes answer that run at the same time."""
    meeting = tmp_path / "meeting"
    meeting.unlink(missing_ok=True)
    words = [sys.executable, "-c", PROCESS, str(store), str(meeting), json.dumps(options)]
    running = []
    for rank in (0, 1):
        names = {"NUMBER": str(rank)}
        if variables:
            names |= {"RANK": str(rank), "WORLD_SIZE": "2"}
        running.append(
            subprocess.Popen(
                words,
                env=os.environ | names,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    ended = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0], ended
    return [json.loads(out.splitlines()[-1]) for out, _ in ended]


def keys(store: Path) -> list[str]:
    return Samples(str(store)).keys()


def test_each_process_of_a_group_gets_its_share(stacked: Path, tmp_path: Path) -> None:
    # 15 samples: the first one of an epoch comes twice.
    one, two = together(stacked, tmp_path, batch_size=3, shuffle=True)
    assert one["length"] == two["length"] == 3
    for first, second in zip(one["epochs"], two["epochs"], strict=True):
        assert len(flat(first)) == len(flat(second)) == 8
        assert set(flat(first)) | set(flat(second)) == set(keys(stacked))
        assert len(set(flat(first)) & set(flat(second))) == 1
    assert one["epochs"][0] != one["epochs"][1]
    assert "in process 1 of 2, by torch.distributed" in two["repr"]


def test_processes_agree_on_a_seed_that_nobody_gave(stacked: Path, tmp_path: Path) -> None:
    one, two = together(stacked, tmp_path, batch_size=4, shuffle=True)
    assert one["seed"] == two["seed"] != 0
    three, four = together(stacked, tmp_path, batch_size=4, shuffle=True, manual_seed=1)
    five, _ = together(stacked, tmp_path, batch_size=4, shuffle=True, manual_seed=1)
    assert three["seed"] == four["seed"] == five["seed"] != one["seed"]


def test_started_by_torchrun_the_variables_say_who_it_is(stacked: Path, tmp_path: Path) -> None:
    one, two = together(
        stacked, tmp_path, variables=True, group=False, batch_size=4, drop_last=True, shuffle=True
    )
    assert len(flat(one["epochs"][0])) == len(flat(two["epochs"][0])) == 4
    assert not set(flat(one["epochs"][0])) & set(flat(two["epochs"][0]))
    assert "in process 0 of 2, by RANK and WORLD_SIZE" in one["repr"]
    assert "seed 0 (fixed, because no process group connects the processes)" in one["repr"]


def test_numbers_that_are_given_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert processes_of(None, None) == Processes(1, 4, "RANK and WORLD_SIZE")
    assert processes_of(0, 1) == Processes(0, 1)
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(OptionError, match="RANK=first and WORLD_SIZE=4 are no numbers"):
        processes_of(None, None)
    monkeypatch.setenv("RANK", "")
    assert processes_of(None, None) == Processes(0, 1)
    with pytest.raises(OptionError, match="rank None and world_size 2 belong together"):
        processes_of(None, 2)


# ---------------------------------------------------------------- seeds and samplers of torch


def epochs(samples: Samples, **options: Any) -> list[list[str]]:
    loader = PatchLoader(samples, batch_size=4, shuffle=True, **options)
    return [keys for *_, keys in loader]


def test_torch_gives_the_seed_as_to_a_stock_loader(stacked: Path) -> None:
    samples = Samples(str(stacked), with_key=True)
    orders = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        orders.append(epochs(samples))
    assert orders[0] == orders[1] != orders[2]
    torch.manual_seed(1)
    assert epochs(samples, output="numpy") == orders[0]
    assert epochs(samples) != epochs(samples)  # each loader draws a seed of its own
    assert epochs(samples, seed=5) == epochs(samples, seed=5)
    loader = PatchLoader(samples, shuffle=True)
    assert f"seed {loader.order.seed} (from torch)" in repr(loader)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    PatchLoader(samples)
    assert torch.equal(torch.get_rng_state(), state)
    assert drawn_seed(Processes(0, 2)) == (
        0,
        "fixed, because no process group connects the processes",
    )


def test_a_weighted_sampler_draws_under_the_seed_and_is_shared(stacked: Path) -> None:
    samples = Samples(str(stacked), with_key=True)
    weights = [1.0] * 5 + [0.0] * 10

    def seen(**options: Any) -> list[list[str]]:
        sampler = WeightedRandomSampler(weights, 12, replacement=True)
        loader = PatchLoader(samples, batch_size=4, sampler=sampler, seed=2, **options)
        return [flat(keys for *_, keys in loader) for _ in range(2)]

    state = torch.get_rng_state()
    first, second = seen()
    assert torch.equal(torch.get_rng_state(), state)
    assert set(first) | set(second) <= set(samples.keys(range(5)))
    assert len(first) == 12
    assert first != second
    assert seen() == [first, second]
    one, two = (seen(rank=rank, world_size=2)[0] for rank in (0, 1))
    assert [pair for both in zip(one, two, strict=True) for pair in both] == first


def test_a_sampler_that_shares_by_itself_is_not_shared_again(stacked: Path) -> None:
    samples = Samples(str(stacked), with_key=True)
    shares = []
    for rank in (0, 1):
        sampler = DistributedSampler(range(15), 2, rank, shuffle=True)
        loader = PatchLoader(samples, sampler=sampler, rank=rank, world_size=2)
        shares.append([flat(keys for *_, keys in loader) for _ in range(2)])
    assert set(shares[0][0]) | set(shares[1][0]) == set(samples.keys())
    assert shares[0][0] != shares[0][1]  # it is told the epoch


def test_a_loader_inside_a_data_loader_is_one_sentence(stacked: Path) -> None:
    wrapped = DataLoader(PatchLoader(str(stacked)), batch_size=None)
    with pytest.raises(OptionError) as error:
        next(iter(wrapped))
    assert str(error.value) == (
        "a PatchLoader gives whole batches one after another, and has none by number: iterate "
        "over it, or give a stock DataLoader a PatchDataset instead"
    )


def brighter(image: Any) -> Any:
    """A random augmentation of the kind that is written for workers."""
    return image + torch.rand(())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_random_augmentation_in_workers_follows_the_seed(stacked: Path) -> None:
    data = PatchDataset(str(stacked), bands="B02", target=None, transform=brighter)

    def images() -> Any:
        loader = DataLoader(data, 4, num_workers=2, shuffle=True, multiprocessing_context="fork")
        return torch.cat(list(loader))

    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(images())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_torch_gives_the_seed_also_if_the_loader_is_what_imports_it(stacked: Path) -> None:
    text = (
        "import sys; from patchpress import PatchLoader; "
        "assert 'torch' not in sys.modules; "
        "print(repr(PatchLoader(sys.argv[1], shuffle=True)))"
    )
    ended = python("-c", text, stacked)
    assert "(from torch)" in ended.out, ended.err
