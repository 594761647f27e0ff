"""`to_device`: batches of a loader on a device, as `normalize` gives them, in own memory."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import open_store
from patchpress.readers.errors import BandMissing, OptionError
from patchpress.readers.loader import PatchLoader
from patchpress.readers.normalize import normalize
from patchpress.readers.samples import Samples
from patchpress.readers.statistics import Statistics, joined
from tests.support.loading import filling, made_up_statistics, refused, same

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")

from torch.utils.data import DataLoader  # noqa: E402

from patchpress.readers.device import to_device  # noqa: E402
from patchpress.readers.torch_dataset import PatchDataset  # noqa: E402

BOTH = {"modalities": ["s2", "s1"], "joined": False}


@pytest.fixture
def path(stacked: Path) -> str:
    return str(stacked)


@pytest.fixture
def s2(path: str) -> Statistics:
    return made_up_statistics(open_store(path), "s2")


@pytest.fixture
def s1(path: str) -> Statistics:
    return made_up_statistics(open_store(path), "s1")


def loader_of(path: str, **choice: Any) -> PatchLoader:
    return PatchLoader(path, batch_size=4, shuffle=True, seed=1, **choice)


@pytest.mark.parametrize("how", ["standard", "range"])
def test_batches_are_normalised_and_stay(path: str, s2: Statistics, how: str) -> None:
    loader = loader_of(path, target=["labels", "map"], with_key=True)
    held = list(to_device(loader, "cpu", s2, how=how))
    samples = loader.samples
    everything = samples.keys(range(15))
    assert sorted(key for *_, keys in held for key in keys) == sorted(everything)
    for image, label, mask, keys in held:
        read = samples.read([everything.index(key) for key in keys])
        wanted = normalize(torch.from_numpy(read["image"]), s2, how=how)
        assert torch.equal(image, wanted)
        same((label, mask), (read["label"], read["mask"]))


@pytest.mark.parametrize("dtype", [None, "float32"])
def test_without_statistics_images_become_float32_of_their_own(path: str, dtype: Any) -> None:
    loader = loader_of(path, dtype=dtype, with_key=True, target=None)
    for image, keys in list(to_device(loader, "cpu")):
        wanted = np.stack([loader.samples.store.read(key) for key in keys])
        same(image, wanted.astype(np.float32))


def test_each_modality_has_its_own_statistics(path: str, s2: Statistics, s1: Statistics) -> None:
    loader = loader_of(path, **BOTH, sample_format="dict")
    wanted = [{name: batch[name].clone() for name in ("image_s2", "image_s1")} for batch in loader]
    loader.set_epoch(0)
    for batch, stored in zip(to_device(loader, "cpu", {"s1": s1, "s2": s2}), wanted, strict=True):
        assert torch.equal(batch["image_s2"], normalize(stored["image_s2"], s2))
        assert torch.equal(batch["image_s1"], normalize(stored["image_s1"], s1))


def test_statistics_are_picked_and_joined_as_the_bands_are(
    path: str, s2: Statistics, s1: Statistics
) -> None:
    # All bands in another order: the shapes would fit, and every band be wrong.
    bands = list(reversed(s2.band_names))
    cases: list[tuple[dict[str, Any], Any, Statistics]] = [
        ({"bands": bands}, s2, s2.pick(bands)),
        ({"bands": "rgb"}, s2, s2.pick(["B04", "B03", "B02"])),
        ({"bands": "rgb"}, {"s1": s1, "s2": s2}, s2.pick(["B04", "B03", "B02"])),
        ({"modalities": "s1"}, {"s2": s2, "s1": s1}, s1),
        ({"modalities": ["s1", "s2"]}, {"s2": s2, "s1": s1}, joined(s1, s2)),
        ({"modalities": ["s2", "s1"]}, joined(s2, s1), joined(s2, s1)),
        ({"modalities": ["s1", "s2"]}, joined(s2, s1), joined(s1, s2)),
    ]
    for choice, given, wanted in cases:
        loader = loader_of(path, target=None, **choice)
        stored = next(iter(loader)).clone()
        loader.set_epoch(0)
        assert torch.equal(next(iter(to_device(loader, "cpu", given))), normalize(stored, wanted))


def test_a_loader_gives_tensors_on_memory_that_is_used_again(path: str) -> None:
    choice: dict[str, Any] = {"target": ["labels", "map"], "with_key": True}
    tensors = loader_of(path, **choice)
    arrays = loader_of(path, output="numpy", **choice)
    places = set()
    for _ in range(2):
        for found, wanted in zip(tensors, arrays, strict=True):
            same(found, wanted)
            assert all(type(part) is torch.Tensor for part in found[:3])
            places.add(found[0].data_ptr())
    assert len(places) <= 4  # ahead, in use, and just being let go


def test_a_pass_left_early_leaves_no_thread(path: str) -> None:
    loader = loader_of(path, target=None)
    for _ in to_device(loader, "cpu"):
        break
    assert filling() == []
    assert sum(map(len, to_device(loader, "cpu"))) == 15
    assert loader.epoch == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_batches_on_a_gpu_are_those_of_the_cpu(path: str, s2: Statistics) -> None:
    for pinned in (True, False):
        loader = loader_of(path, pin_memory=pinned)
        wanted = list(to_device(loader, "cpu", s2))
        loader.set_epoch(0)
        held = list(to_device(loader, "cuda", s2))
        for (image, label), (other, same_label) in zip(held, wanted, strict=True):
            assert torch.allclose(image.cpu(), other)
            assert torch.equal(label.cpu(), same_label)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_memory_is_not_filled_again_while_it_is_copied_from(path: str) -> None:
    loader = loader_of(path, target=None)
    busy = torch.randn(4096, 4096, device="cuda")
    copies = []
    for image in loader:
        for _ in range(20):  # so that the copy has to wait for the GPU
            busy = busy @ busy * 1e-3
        copies.append(image.to("cuda", non_blocking=True))
        del image
    loader.set_epoch(0)
    for image, copied in zip(loader, copies, strict=True):
        assert torch.equal(image, copied.cpu())


DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
    ),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_state_counts_what_was_handed_out(path: str, device: str, stop: int) -> None:
    whole = [keys for _, keys in to_device(loader_of(path, target=None, with_key=True), device)]
    first = to_device(loader_of(path, target=None, with_key=True), device)
    for number, (_, keys) in enumerate(first, 1):
        assert keys == whole[number - 1]
        if number == stop:
            state = first.state_dict()
            assert (state["epoch"], state["batch"]) == (0, stop)
            break
    again = to_device(loader_of(path, target=None, with_key=True), device)
    again.load_state_dict(state)
    assert [keys for _, keys in again] == whole[stop:]


def test_a_batch_drawn_ahead_is_not_counted(path: str) -> None:
    # What the way to a GPU does, which draws one batch more than it hands out.
    loader = loader_of(path, target=None)
    drawn = loader.draw()
    ahead = [next(drawn), next(drawn)]
    passing = loader.counted(iter([*ahead, *drawn]))
    next(passing)
    assert loader.state_dict()["batch"] == 1
    assert len([*passing]) == 3
    assert loader.epoch == 1


def test_what_cannot_be_is_said_in_a_sentence(path: str, s2: Statistics, s1: Statistics) -> None:
    def said(kind: Any, loader: PatchLoader, *given: Any, **options: Any) -> str:
        with pytest.raises(kind) as error:
            next(iter(to_device(loader, "cpu", *given, **options)))
        return str(error.value)

    numpy = PatchLoader(path, batch_size=4, output="numpy")
    assert said(OptionError, numpy) == (
        "to_device moves torch tensors: make the loader with output='torch'"
    )
    apart = loader_of(path, **BOTH)
    assert said(OptionError, apart, s2) == (
        "images are not joined: give statistics by modality (s2, s1)"
    )
    assert said(OptionError, apart, {"s2": s2}) == (
        "there are no statistics of 's1' among those given: s2"
    )
    assert "no band 'VV'" in said(BandMissing, loader_of(path, modalities="s1"), s2)
    assert "'best'" in said(OptionError, loader_of(path), s2, how="best")


def test_anything_but_a_loader_is_said_in_a_sentence(path: str, s2: Statistics) -> None:
    data = PatchDataset(path)
    others: list[Any] = [DataLoader(data, 4), data, path, to_device(loader_of(path), "cpu")]
    for other in others:
        assert refused(OptionError, lambda other=other: to_device(other, "cpu")) == (
            f"to_device takes a PatchLoader, not {type(other).__name__}: move the batches of "
            "others by their own way (image.to(device)) and give them to patchpress.normalize"
        )
    done = PatchLoader(loader_of(path).samples.normalized(s2))
    assert refused(OptionError, lambda: to_device(done, "cpu", s2)) == (
        "these samples are normalised already: leave the statistics out"
    )


@pytest.mark.parametrize("other", [1000.0, ["s2"], {"s2": 1.5}, "train"], ids=repr)
def test_what_is_no_statistics_is_said_in_a_sentence(path: str, other: Any) -> None:
    kind = "float" if isinstance(other, dict) else type(other).__name__
    said = (
        "statistics must be what store.statistics('s2', 'train') gives (of several modalities, a "
        f"dict of them by modality), not {kind}"
    )
    assert refused(OptionError, lambda: to_device(loader_of(path), "cpu", other)) == said
    assert refused(OptionError, lambda: Samples(path).normalized(other)) == said
    if not isinstance(other, dict):
        zeros = np.zeros((12, 2, 2), np.float32)
        assert refused(OptionError, lambda: normalize(zeros, other)) == said


@pytest.mark.parametrize("name", ["num_workers", "collate_fn", "prefetch_factor"])
@pytest.mark.parametrize("kind", [PatchLoader, PatchDataset, Samples])
def test_keywords_of_a_data_loader_are_told_as_such(path: str, kind: Any, name: str) -> None:
    assert refused(OptionError, lambda: kind(path, **{name: 2})) == (
        f"{name!r} is a keyword of torch's DataLoader, which takes a PatchDataset; "
        f"{kind.__name__} has no such keyword (a PatchLoader reads in `threads`)"
    )


@pytest.mark.parametrize("kind", [PatchLoader, PatchDataset])
def test_a_transform_that_is_none_is_said_in_a_sentence(path: str, kind: Any) -> None:
    assert refused(OptionError, lambda: kind(path, transform="flip")) == (
        "transform must be a function, not 'flip'"
    )


def test_batches_on_a_device_say_what_they_are(path: str, s2: Statistics) -> None:
    lines = repr(to_device(loader_of(path), "cpu", s2)).splitlines()
    assert lines[0] == "<Batches on cpu, images float32, normalised, of"
    assert "\n".join(lines[1:]) == f"{loader_of(path)!r}>"
    assert "normalised" not in repr(to_device(loader_of(path), "cpu"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_in_a_sentence(path: str) -> None:
    for device in ("cuda", "cuda:1", torch.device("cuda", 0)):
        assert refused(OptionError, lambda device=device: to_device(loader_of(path), device)) == (
            f"torch cannot use the GPU {str(device)!r} here; it sees none: give 'cpu'"
        )
    assert refused(OptionError, lambda: to_device(loader_of(path), "gpu")).startswith(
        "'gpu' is no device of torch: "
    )
    assert refused(OptionError, lambda: loader_of(path, pin_memory=True)) == (
        "memory cannot be pinned if torch sees no GPU: leave pin_memory out"
    )


def test_memory_on_a_cpu_is_used_again_and_held_batches_stay(path: str, s2: Statistics) -> None:
    batches = to_device(loader_of(path, target=None), "cpu", s2)
    places = {image.data_ptr() for _ in range(4) for image in batches}
    assert len(places) <= 5  # ahead, in use, just being let go, and kept between passes
    held = list(batches)
    kept = [image.clone() for image in held]
    for _ in batches:
        pass
    assert all(torch.equal(image, copy) for image, copy in zip(held, kept, strict=True))


def test_samples_name_the_bands_of_each_image(path: str) -> None:
    samples = Samples(path, modalities=["s2", "s1"], bands=["B02", "VH"])
    assert samples.image_bands["image"] == {"s2": ("B02",), "s1": ("VH",)}
