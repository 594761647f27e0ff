"""Missing modalities, filled in, in torch's data sets, on devices and under Lightning."""

from pathlib import Path
from typing import Any

import pytest

from patchpress import PatchLoader, Store, open_store
from patchpress.readers.samples import Samples
from tests.readers.test_missing import BOTH, gaps  # noqa: F401 -- a fixture
from tests.support.loading import made_up_statistics, same

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")

from torch.utils.data import DataLoader  # noqa: E402

from patchpress.readers.device import to_device  # noqa: E402
from patchpress.readers.torch_dataset import PatchDataset  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::patchpress.readers.errors.SamplesLeftOut")
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.fixture
def opened(gaps: Path) -> Store:  # noqa: F811
    return open_store(gaps)


def statistics_of(store: Store) -> dict[str, Any]:
    return {name: made_up_statistics(store, name) for name in ("s1", "s2")}


@pytest.mark.parametrize("collated", ["own", "default"])
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_stock_loader_gives_present(opened: Store, collated: str, workers: int) -> None:
    data = PatchDataset(opened, target=("labels", "map"), **BOTH)
    collate = {"collate_fn": data.collate} if collated == "own" else {}
    batches = list(DataLoader(data, 4, num_workers=workers, **collate))
    for begin, batch in zip(range(0, len(data), 4), batches, strict=True):
        same(tuple(batch), data.samples[begin : begin + 4])
    assert batches[0][3].dtype == torch.bool
    same(tuple(data[4]), data.samples[4])


@pytest.mark.parametrize("choice", [{}, {"joined": False}, {"sample_format": "dict"}], ids=str)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
def test_on_a_device_what_lacks_is_zeros(opened: Store, choice: Any, device: str) -> None:
    statistics = statistics_of(opened)
    loader = PatchLoader(opened, batch_size=4, **BOTH, **choice)
    found = list(to_device(loader, device, statistics))
    wanted = Samples(opened, **BOTH, **choice).normalized(statistics)
    for begin, batch in zip(range(0, 9, 4), found, strict=True):
        close(batch, wanted[begin : begin + 4])


@pytest.mark.parametrize("joined", [True, False])
def test_the_way_of_a_gpu_gives_the_same(opened: Store, joined: bool) -> None:
    """Stored pixels are moved, and normalised there; here on a CPU, by torch, too."""
    statistics = statistics_of(opened)
    loader = PatchLoader(opened, batch_size=4, **BOTH, joined=joined)
    batches = to_device(loader, "cpu", statistics)
    batches._filler = None
    wanted = Samples(opened, **BOTH, joined=joined).normalized(statistics)
    for begin, batch in zip(range(0, 9, 4), batches, strict=True):
        close(batch, wanted[begin : begin + 4])


def close(found: Any, wanted: Any) -> None:
    """Assert equal up to the last bits of float32, which devices round as they do."""
    if isinstance(wanted, dict):
        for name in wanted:
            close(found[name], wanted[name])
    elif isinstance(wanted, tuple):
        for one, other in zip(found, wanted, strict=True):
            close(one, other)
    else:
        right = torch.from_numpy(wanted)
        assert torch.allclose(found.cpu().to(right.dtype), right, rtol=1e-6, atol=1e-6)
        assert torch.equal(found.cpu() == 0, right == 0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("choice", [{}, {"joined": False}, {"sample_format": "dict"}], ids=str)
def test_under_lightning_too(opened: Store, choice: Any) -> None:
    pytest.importorskip("lightning.pytorch", reason="Lightning is not installed")
    from patchpress.readers.lightning import PatchDataModule

    statistics = statistics_of(opened)
    data = PatchDataModule(
        opened, batch_size=4, statistics=statistics, train=None, **BOTH, **choice
    )  # fmt: skip
    data.setup("fit")
    samples = data.samples["train"]
    batch = samples[:]  # as stored: without a trainer, it is finished after it was moved
    tensors = data.on_after_batch_transfer(tensor_of(batch), 0)
    close(tensors, Samples(opened, **BOTH, **choice).normalized(statistics)[:])


def tensor_of(batch: Any) -> Any:
    if isinstance(batch, dict):
        return {name: tensor_of(value) for name, value in batch.items()}
    if isinstance(batch, tuple):
        return tuple(map(tensor_of, batch))
    return torch.from_numpy(batch)
