"""`Normalize` gives what `normalize` gives, pickles, and goes where the model goes."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress.converter.commands.stats import compute
from patchpress.readers.errors import BandMissing, BufferUnfit, OptionError
from patchpress.readers.loader import PatchLoader
from patchpress.readers.normalize import normalize
from patchpress.readers.statistics import Statistics
from tests.support.loading import same

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")

from patchpress.readers.normalize_module import Normalize  # noqa: E402
from patchpress.readers.torch_dataset import PatchDataset  # noqa: E402

RGB = ["B04", "B03", "B02"]


@pytest.fixture(scope="module")
def statistics(stores: dict[tuple[str, str], Path]) -> Statistics:
    return compute(stores["stacked", "none"], None, ["s2"], workers=0)[0].pick(RGB)


@pytest.mark.parametrize("way", [{}, {"how": "range"}, {"how": "range", "low": 2, "high": 98}])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 5, 4), (6, 3, 5, 4)])
def test_it_gives_what_normalize_gives(
    statistics: Statistics, way: dict[str, Any], dtype: str, shape: tuple[int, ...]
) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, shape).astype(dtype)
    images = torch.from_numpy(pixels)
    wanted = normalize(images, statistics, **way)
    for module in (Normalize(statistics, **way), again(Normalize(statistics, **way))):
        same(module(images), np.asarray(wanted))
        assert torch.equal(images, torch.from_numpy(pixels))  # what was given stays as it was


def test_a_dict_by_modality_normalises_a_tensor_of_several(statistics: Statistics) -> None:
    """The bands of each stand in the tensor in the order of the dict."""
    pixels = torch.from_numpy(np.random.default_rng(2).integers(0, 255, (2, 5, 4, 4), np.uint16))
    coarse = statistics.pick(["B02", "B04"])
    by_modality = {"coarse": coarse, "s2": statistics}
    parts = [normalize(pixels[:, :2], coarse), normalize(pixels[:, 2:], statistics)]
    wanted = torch.cat(parts, 1).numpy()
    same(normalize(pixels, by_modality), wanted)
    same(Normalize(by_modality)(pixels), wanted)
    for wrong in ({}, {"s2": 1}):
        with pytest.raises(OptionError, match="statistics"):
            normalize(pixels, wrong)  # type: ignore[arg-type]


def again(module: Normalize) -> Normalize:
    found: Normalize = pickle.loads(pickle.dumps(module))  # noqa: S301
    return found


def test_samples_and_batches_keep_all_but_the_images(stacked: Path, statistics: Statistics) -> None:
    module = Normalize(statistics)
    plain = PatchDataset(str(stacked), bands=RGB, with_key=True)
    for form in ("tuple", "dict"):
        data = PatchDataset(
            str(stacked), bands=RGB, with_key=True, transform=module, sample_format=form
        )
        image, label, key = data[4] if form == "tuple" else data[4].values()
        same(image, np.asarray(normalize(plain[4][0], statistics)))
        same(label, np.asarray(plain[4][1]))
        assert key == plain[4][2]
    loader = PatchLoader(str(stacked), batch_size=15, bands=RGB, transform=module)
    (batch,) = loader
    same(batch[0], np.stack([np.asarray(module(plain[k][0])) for k in range(15)]))


def test_it_works_in_worker_processes(stacked: Path, statistics: Statistics) -> None:
    data = PatchDataset(str(stacked), bands=RGB, transform=Normalize(statistics), target=None)
    loader = torch.utils.data.DataLoader(
        data, 5, num_workers=1, multiprocessing_context="spawn", collate_fn=data.collate
    )
    found = torch.cat(list(loader))
    same(found, np.stack([np.asarray(data[k]) for k in range(15)]))


def test_it_moves_and_is_saved_with_a_model(statistics: Statistics) -> None:
    model = torch.nn.Sequential(Normalize(statistics), torch.nn.Conv2d(3, 2, 1))
    assert set(model.state_dict()) == {"0.shift", "0.scale", "1.weight", "1.bias"}
    assert [buffer.device.type for buffer in model.to("meta").buffers()] == ["meta"] * 2
    assert list(Normalize(statistics).parameters()) == []
    assert repr(Normalize(statistics)) == "Normalize(s2, all, 3 bands, how='standard')"
    # Two modules, and the statistics, do not share what one of them moves or changes.
    one, two = Normalize(statistics), Normalize(statistics)
    one.shift.zero_()
    assert two.shift.any()
    assert Normalize(statistics).shift.any()


def test_what_cannot_be_normalised_is_one_sentence(statistics: Statistics) -> None:
    module = Normalize(statistics)
    with pytest.raises(BufferUnfit, match="4, 5, 5.*of 3 bands"):
        module(torch.zeros((4, 5, 5)))
    for wrong in ([1], {"label": 1}, None, np.zeros((3, 4, 4))):
        with pytest.raises(BufferUnfit, match="Normalize takes a tensor, a dict with 'image'"):
            module(wrong)
    with pytest.raises(OptionError, match="statistics must be what .* gives .*, not tuple"):
        Normalize((1, 2))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="'minmax'"):
        Normalize(statistics, how="minmax")
    with pytest.raises(BandMissing):
        Normalize(statistics.pick(["B99"]))
