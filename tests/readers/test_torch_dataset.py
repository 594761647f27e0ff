"""`PatchDataset` in stock DataLoaders: every batch is what `Store.read` gives, and stays so."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import Store, convert, open_store
from patchpress.readers.errors import OptionError, StoreDamaged
from patchpress.readers.samples import Samples
from tests.support.helpers import runs
from tests.support.loading import classes_of, hot, rows_in, same, stacked_like
from tests.support.published_forms import TREES

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")

from torch.utils.data import (  # noqa: E402
    BatchSampler,
    ConcatDataset,
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Subset,
    WeightedRandomSampler,
    default_collate,
    get_worker_info,
    random_split,
)

from patchpress.readers.slots import SLOTS_KEPT  # noqa: E402
from patchpress.readers.torch_dataset import PatchDataset, SampleList  # noqa: E402

# Forking beside threads, as a stock DataLoader does by default.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
BANDS = ["B02", "B05"]


@pytest.fixture
def data(stacked: Path) -> PatchDataset:
    """15 samples (image of two bands, labels, key)."""
    return PatchDataset(str(stacked), bands=BANDS, dtype=None, with_key=True)


def by_hand(data: PatchDataset, keys: Any) -> tuple[Any, Any]:
    """Image and labels of some keys, by `Store.read` and the table."""
    store = data.samples.store
    labels = {row["patch_id"]: row["labels"] for row in rows_in(store)}
    images = np.stack([store.read(key, BANDS) for key in keys])
    return images, np.stack([hot(labels[key], data.classes) for key in keys])


def checked(data: PatchDataset, batches: Any) -> list[str]:
    """All keys of some batches (image, label, keys), which are compared."""
    found: list[str] = []
    for image, label, keys in batches:
        same((image, label), by_hand(data, keys))
        found.extend(keys)
    return found


def keys_of(data: PatchDataset) -> list[str]:
    return data.samples.keys(range(len(data)))


def test_samples_of_every_kind_of_store_are_what_store_read_gives(store: Store) -> None:
    data = PatchDataset(store, "val", dtype=None, with_key=True)
    for index, row in enumerate(rows_in(store, "validation")):
        same(
            data[index],
            (store.read(row["patch_id"]), hot(row["labels"], data.classes), row["patch_id"]),
        )
    assert len(data) == 3


@pytest.mark.parametrize("index", [-15, 4, np.int32(4), np.uint8(14), torch.tensor(4)])
def test_an_index_may_be_any_whole_number(data: PatchDataset, index: Any) -> None:
    assert data[index][2] == keys_of(data)[int(index)]
    same(data[index][:2], tuple(part[0] for part in by_hand(data, [data[index][2]])))
    assert data.__getitems__([index, 0])[0][2] == data[index][2]


@pytest.mark.parametrize("index", [15, -16, 10**12])
def test_an_index_beyond_the_end_is_an_index_error(data: PatchDataset, index: int) -> None:
    for ask in (lambda: data[index], lambda: data.__getitems__([0, index])):
        with pytest.raises(IndexError, match=f"there is no sample {index}: there are 15"):
            ask()
    assert [key for *_, key in data] == keys_of(data)  # which is how iteration ends


@pytest.mark.parametrize("index", [1.0, "3", None, {1}])
def test_an_index_is_a_whole_number(data: PatchDataset, index: Any) -> None:
    with pytest.raises(TypeError, match="integer"):
        data[index]


@pytest.mark.parametrize("collate", ["whole", "default"])
@pytest.mark.parametrize("held", [True, False], ids=["held", "let go"])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_are_what_store_read_gives(
    data: PatchDataset, workers: int, held: bool, collate: str
) -> None:
    loader = DataLoader(
        data,
        4,
        shuffle=True,
        num_workers=workers,
        collate_fn=data.collate if collate == "whole" else None,
    )
    batches: Any = list(loader) if held else loader
    assert sorted(checked(data, batches)) == keys_of(data)
    if held:
        assert sorted(checked(data, batches)) == keys_of(data)


def test_batches_reach_the_loop_from_spawned_workers(data: PatchDataset) -> None:
    loader = DataLoader(
        data,
        2,
        num_workers=1,
        collate_fn=data.collate,
        multiprocessing_context="spawn",
        persistent_workers=True,
    )
    assert checked(data, list(loader)) == keys_of(data)
    assert checked(data, loader) == keys_of(data)


CHOICES: list[dict[str, Any]] = [
    {"target": None},
    {"target": "map"},
    {"target": ["labels", "map"], "sample_format": "dict", "with_key": True},
    {"sample_format": "dict"},
    {"modalities": ["s2", "s1"], "dtype": "float32"},
    {"modalities": ["s2", "s1"], "joined": False, "bands": "10m"},
    {"modalities": ["s1", "s2"], "joined": False, "sample_format": "dict", "target": "map"},
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_every_form_is_collated_as_torch_does(stacked: Path, choice: Any) -> None:
    choice = {"dtype": None} | choice
    data = PatchDataset(str(stacked), **choice)
    wanted = default_collate([data[k] for k in range(15)])
    (whole,) = DataLoader(data, 15, collate_fn=data.collate)
    (default,) = DataLoader(data, 15)
    for found in (whole, default):
        same_tensors(found, wanted)
    single = Samples(str(stacked), **choice)
    same(whole, single[:15])


def same_tensors(found: Any, wanted: Any) -> None:
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for name in wanted:
            same_tensors(found[name], wanted[name])
    elif isinstance(wanted, list) and not isinstance(wanted[0], str):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same_tensors(one, other)
    elif isinstance(wanted, list):
        assert list(found) == wanted
    else:
        assert found.dtype == wanted.dtype
        assert torch.equal(found, wanted)


def test_maps_are_class_indices(stacked: Path) -> None:
    data = PatchDataset(str(stacked), "test", target="map", ignore_index=255, with_key=True)
    for _, mask, key in data:
        same(mask, classes_of(data.samples.store, f"{key}_reference_map", ignored=255))


def test_one_label_a_patch_is_a_number(tmp_path: Path) -> None:
    TREES["eurosat"].write(tmp_path / "raw")
    convert("eurosat", tmp_path / "raw", tmp_path / "store", workers=0)
    data = PatchDataset(str(tmp_path / "store"), bands="rgb")
    rows = rows_in(open_store(tmp_path / "store"))
    wanted = [data.classes.index(row["label"]) for row in rows]
    assert [int(label) for _, label in data] == wanted
    for collate in (data.collate, None):
        (batch,) = DataLoader(data, 3, collate_fn=collate)
        same(batch[1], np.array(wanted))


SEVERAL = [
    [3, 1, 2],
    (3, 1, 2),
    np.array([3, 1, 2]),
    torch.tensor([3, 1, 2]),
    [-12, np.int32(1), torch.tensor(2)],
    range(3, 0, -1),
    slice(3, 0, -1),
]


@pytest.mark.parametrize("indices", SEVERAL, ids=repr)
def test_several_indices_give_a_batch(data: PatchDataset, indices: Any) -> None:
    numbers = [3, 2, 1] if isinstance(indices, (range, slice)) else [3, 1, 2]
    batch = data[indices]
    assert batch[2] == [keys_of(data)[k] for k in numbers]
    assert checked(data, [batch]) == batch[2]
    with pytest.raises(IndexError, match="there is no sample 15"):
        data[[1, 15]]
    with pytest.raises(IndexError, match="whole numbers, not float64"):
        data[[1.0]]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_sampler_asks_for_whole_batches(data: PatchDataset, workers: int) -> None:
    batches = BatchSampler(RandomSampler(data), 4, drop_last=False)
    loader = DataLoader(data, None, sampler=batches, num_workers=workers)
    found = list(loader)
    assert sorted(checked(data, found)) == keys_of(data)
    assert [len(keys) for *_, keys in found] == [4, 4, 4, 3]


def doubled_first(sample: Any) -> Any:
    return (sample[0] * 2, *sample[1:])


def test_transformed_samples_are_stacked_when_several_are_asked_for(stacked: Path) -> None:
    data = PatchDataset(str(stacked), bands=BANDS, transform=doubled_first)
    image, _ = data[[3, 1]]
    plain = PatchDataset(str(stacked), bands=BANDS)
    assert torch.equal(image, plain[[3, 1]][0] * 2)


def test_images_are_float32_unless_they_are_wanted_as_stored(stacked: Path) -> None:
    stored = PatchDataset(str(stacked), dtype=None)[0][0]
    assert stored.dtype == torch.uint16
    impossibles: list[Any] = [lambda: stored + 1, lambda: stored > 0, lambda: stored.flip(-1)]
    for impossible in impossibles:
        with pytest.raises(NotImplementedError, match="UInt16"):
            impossible()
    image = PatchDataset(str(stacked))[0][0]
    assert torch.equal(image, stored.float())
    assert bool((image.flip(-1) + 1 > 0).all())
    assert PatchDataset(str(stacked), dtype="int32")[0][0].dtype == torch.int32
    chosen = Samples(str(stacked))
    assert PatchDataset(chosen)[0][0].dtype == torch.uint16
    assert chosen.as_float().fields[0].dtype == np.float32
    assert chosen.fields[0].dtype == np.uint16


def test_it_shows_what_it_holds(stacked: Path) -> None:
    data = PatchDataset(str(stacked), "train", target=("labels", "map"))
    lines = repr(data).splitlines()
    assert lines[0].startswith("<PatchDataset of 7 samples of bigearthnet-v2, split train")
    assert lines[1].split() == ["image", "(12,", "120,", "120)", "float32"]
    assert lines[3].split() == ["mask", "(120,", "120)", "int64>"]
    assert "<td>(12, 120, 120)</td>" in data._repr_html_()


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize("workers", [0, 1])
def test_labels_that_are_collected_hold_no_images(data: PatchDataset, workers: int) -> None:
    loader = DataLoader(data, 1, num_workers=workers, collate_fn=data.collate)
    labels, used = [], set()
    for image, label, _ in loader:
        labels.append(label)
        used.add(image.data_ptr())
    assert len(used) < SLOTS_KEPT
    same(torch.cat(labels).numpy(), data.samples.labels[:])
    assert not any(label.is_shared() for label in labels)


def places(loader: Any) -> set[int]:
    return {int(image.data_ptr()) for image, *_ in loader}


def test_memory_is_used_again_without_workers(data: PatchDataset) -> None:
    loader = DataLoader(data, 2, collate_fn=data.collate)
    for _ in range(3):
        places(loader)
    assert len(data._slots["image"]._kept) <= 2
    held = list(loader)
    assert len(places(held)) == len(held)
    assert len(data._slots["image"]._kept) == 8


class Counted(PatchDataset):
    """Gives the number of slots that its process has made as a key."""

    def collate_counted(self, samples: Any) -> Any:
        return (
            self.collate(samples)[0],
            len(self._slots["image"]._kept),
            get_worker_info() is not None,
        )


def test_memory_is_used_again_in_a_worker(stacked: Path) -> None:
    data = Counted(str(stacked), bands=BANDS, dtype=None)
    loader = DataLoader(
        data, 1, num_workers=1, collate_fn=data.collate_counted, persistent_workers=True
    )
    slots = [count for _ in range(6) for _, count, _ in loader]
    assert len(slots) == 90
    # Two under way, two in the loop, and one or two that a process has just let go of.
    assert max(slots) < SLOTS_KEPT


@pytest.mark.parametrize("workers", [0, 1])
def test_a_part_that_outlives_its_batch_never_changes(data: PatchDataset, workers: int) -> None:
    loader = DataLoader(data, 1, num_workers=workers, collate_fn=data.collate)
    parts = []
    for number, (image, label, keys) in enumerate(loader):
        kept = [
            image[:, 1:, 5:9],
            image[0],
            image.view(-1)[7:],
            image.permute(0, 3, 1, 2),
            label[0],
        ]
        kept += [image.numpy()[0, 0]]
        parts.append((keys[0], number % len(kept), kept[number % len(kept)]))
        del image, label, kept
    for _ in range(2):
        list(loader)
    for key, number, part in parts:
        image, label = by_hand(data, [key])
        wanted = [
            image[:, 1:, 5:9],
            image[0],
            image.reshape(-1)[7:],
            image.transpose(0, 3, 1, 2),
            label[0],
            image[0, 0],
        ][number]
        assert np.array_equal(np.asarray(part), wanted)


def test_two_loaders_of_one_data_set_do_not_disturb_one_another(data: PatchDataset) -> None:
    loaders = [DataLoader(data, 3, num_workers=n, collate_fn=data.collate) for n in (0, 1)]
    held = []
    for one, two in zip(*loaders, strict=True):
        same(tuple(one[:2]), by_hand(data, two[2]))
        same(tuple(two[:2]), by_hand(data, one[2]))
        held.append((one, two))
    for one, two in held:
        checked(data, [one, two])


def test_workers_are_left_and_begun_again(data: PatchDataset) -> None:
    loader = DataLoader(data, 1, num_workers=1, collate_fn=data.collate, persistent_workers=True)
    held: list[Any] = []
    for count in (3, 1, 15):
        for number, batch in enumerate(loader):
            held.append(batch)
            if number + 1 == count:
                break
    checked(data, held)
    (worker,) = loader._iterator._workers
    del loader
    assert not runs(worker.pid)
    checked(data, held)


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_a_worker_that_dies_is_an_error_and_batches_stay(data: PatchDataset) -> None:
    loader = DataLoader(data, 1, num_workers=1, collate_fn=data.collate)
    passing = iter(loader)
    held = [next(passing) for _ in range(3)]
    (worker,) = passing._workers
    # Which error it is, and after which line, depends on what the process was doing: torch's
    # handler of SIGCHLD raises wherever this process is, a read from the worker what its socket
    # says, or nothing that it was sent last comes.
    with pytest.raises((RuntimeError, OSError, EOFError)):
        os.kill(worker.pid, signal.SIGKILL)
        for _ in range(15):
            held.append(next(passing))
    with suppress(RuntimeError):  # the handler may hear of the death only now
        worker.join()
    checked(data, held)


# ---------------------------------------------------------------- samplers and wrappers


def test_samplers_of_every_kind(data: PatchDataset) -> None:
    def keys(sampler: Any, **options: Any) -> list[str]:
        return checked(data, DataLoader(data, sampler=sampler, collate_fn=data.collate, **options))

    everything = keys_of(data)
    repeats = WeightedRandomSampler([1.0] * 3 + [0.0] * 12, 40, replacement=True)
    assert set(keys(repeats, batch_size=8)) == set(everything[:3])
    shares = [DistributedSampler(data, 2, rank, shuffle=True, seed=3) for rank in (0, 1)]
    assert {key for share in shares for key in keys(share, batch_size=3)} == set(everything)
    batched = BatchSampler(RandomSampler(data), 4, drop_last=True)
    loader = DataLoader(data, batch_sampler=batched, collate_fn=data.collate)
    assert len(checked(data, loader)) == 12


def test_subsets_are_read_as_batches(data: PatchDataset) -> None:
    everything = keys_of(data)
    subset = Subset(data, [9, -1, 3, 3])
    (batch,) = DataLoader(subset, 4, collate_fn=data.collate)
    assert checked(data, [batch]) == [everything[k] for k in (9, -1, 3, 3)]
    for indices in (np.array([2, 5]), torch.tensor([2, 5])):
        (batch,) = DataLoader(Subset(data, indices), 2, collate_fn=data.collate)
        assert checked(data, [batch]) == [everything[2], everything[5]]
    parts = random_split(data, [10, 5], torch.Generator().manual_seed(1))
    found = [checked(data, DataLoader(part, 4, collate_fn=data.collate)) for part in parts]
    assert sorted(found[0] + found[1]) == everything


def test_data_sets_are_concatenated(stacked: Path, data: PatchDataset) -> None:
    other = PatchDataset(str(stacked), "test", bands=BANDS, dtype=None, with_key=True)
    both = ConcatDataset([data, other])
    loader = DataLoader(both, 4, num_workers=1, collate_fn=data.collate)
    assert checked(data, loader) == keys_of(data) + keys_of(other)


# ---------------------------------------------------------------- collate functions of one's own


def scaled(samples: Any) -> Any:
    image, label, keys = PatchDataset.collate(samples)
    return image.float() / 10000, label, keys


def sliced(samples: Any) -> Any:
    image, label, keys = PatchDataset.collate(samples)
    return image[:, :1], label, keys


def restructured(samples: Any) -> Any:
    image, label, keys = PatchDataset.collate(samples)
    return {"x": [image, {"y": label}], "twice": image, "keys": tuple(keys)}


def in_place(samples: Any) -> Any:
    image, label, keys = PatchDataset.collate(samples)
    return image.transpose_(2, 3), label.unsqueeze_(1), keys


last: list[Any] = []


def mixed(samples: Any) -> Any:
    """Keeps the batch before in the worker."""
    batch = PatchDataset.collate(samples)
    last.append(batch)
    before = last.pop(0) if len(last) > 2 else last[0]
    return (*batch, before[0].clone(), before[2])


def untouched(samples: Any) -> Any:
    return samples


def filtered(samples: Any) -> Any:
    """Changes the list that it is given, as a user may, and then asks for a batch."""
    del samples[0]
    return PatchDataset.collate(samples)


@pytest.mark.parametrize("workers", [0, 1])
def test_collate_functions_that_go_on_with_the_batch(data: PatchDataset, workers: int) -> None:
    def batches(function: Any) -> Iterator[tuple[Any, Any, Any]]:
        for batch in list(DataLoader(data, 4, num_workers=workers, collate_fn=function)):
            keys = batch["keys"] if isinstance(batch, dict) else batch[2]
            yield (batch, *by_hand(data, keys))

    last.clear()
    for (image, label, _), wanted, labels in batches(scaled):
        same((image, label), ((torch.from_numpy(wanted).float() / 10000).numpy(), labels))
    for (image, *_), wanted, _ in batches(sliced):
        same(image, wanted[:, :1])
    for batch, wanted, labels in batches(restructured):
        same((batch["x"][0], batch["x"][1]["y"], batch["twice"]), (wanted, labels, wanted))
    for (image, label, _), wanted, labels in batches(in_place):
        assert np.array_equal(image, wanted.swapaxes(2, 3))
        assert np.array_equal(label, labels[:, None])
    for (image, label, _, before, keys), wanted, labels in batches(mixed):
        same((image, label), (wanted, labels))
        same(before, by_hand(data, keys)[0])
    assert last == [] or not workers
    last.clear()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_collate_function_may_give_the_samples_or_change_their_list(
    data: PatchDataset, workers: int
) -> None:
    given = list(DataLoader(data, 4, num_workers=workers, collate_fn=untouched))
    for samples in given:
        for image, label, key in samples:
            wanted, labels = by_hand(data, [key])
            same((image, label), (wanted[0], labels[0]))
    found = checked(data, DataLoader(data, 4, num_workers=workers, collate_fn=filtered))
    assert found == [key for number, key in enumerate(keys_of(data)) if number % 4]


def test_samples_replaced_in_their_dicts_are_those_collated(stacked: Path) -> None:
    for choice in ({"sample_format": "dict"}, {"modalities": ["s2", "s1"], "joined": False}):
        data = PatchDataset(str(stacked), **choice)

        def halved(samples: Any, data: PatchDataset = data) -> Any:
            for sample in samples:
                images = sample if isinstance(sample, dict) else sample[0]
                name = next(iter(images))
                images[name] = images[name].float() / 2
            return data.collate(samples)

        (batch,) = DataLoader(data, 15, collate_fn=halved)
        images = batch if isinstance(batch, dict) else batch[0]
        image = next(iter(images.values()))
        store = data.samples.store
        wanted = np.stack([store.read(key) for key in keys_of(data)])
        assert torch.equal(image, torch.from_numpy(wanted).float() / 2)


# ---------------------------------------------------------------- transforms


def same_again(sample: Any) -> Any:
    return sample


def doubled(sample: Any) -> Any:
    image, label, key = sample
    return image.to(torch.float32) * 2, label, key


def flipped_in_place(sample: Any) -> Any:
    image, label, key = sample
    image.copy_(image.flip(1).clone())
    return image, label, key


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("transform", [same_again, doubled, flipped_in_place])
def test_a_transform_is_applied_to_each_sample_once(
    stacked: Path, transform: Any, workers: int
) -> None:
    choice: dict[str, Any] = {"bands": BANDS, "dtype": None, "with_key": True}
    data = PatchDataset(str(stacked), transform=transform, **choice)
    plain = PatchDataset(str(stacked), **choice)
    wanted = stacked_like(
        tuple(np.asarray(p) if not isinstance(p, str) else p for p in transform(plain[k]))
        for k in range(15)
    )
    for collate in (data.collate, None):
        batches = list(DataLoader(data, 15, num_workers=workers, collate_fn=collate))
        same(tuple(batches[0]), wanted)
    same(tuple(data[3][:2]), (wanted[0][3], wanted[1][3]))


# ---------------------------------------------------------------- the rest

# In a mount namespace of its own, so that nobody else's /dev/shm is small.
SMALL_SHM = """
mount -t tmpfs -o size=1m tmpfs /dev/shm || exit 77
exec "$@"
"""
LOOP = """
import sys
from torch.utils.data import DataLoader
from patchpress import PatchDataset
data = PatchDataset(sys.argv[1])
for batch in DataLoader(data, 8, num_workers=1, collate_fn=data.collate):
    pass
"""


def test_a_small_dev_shm_is_said_in_a_sentence(stacked: Path) -> None:
    words = ["unshare", "-m", "sh", "-c", SMALL_SHM, "sh", sys.executable, "-c", LOOP]
    try:
        ended = subprocess.run(
            [*words, str(stacked)], capture_output=True, text=True, timeout=120, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    if "DataLoader" not in ended.stderr and ended.returncode in (1, 77):
        pytest.skip("no mounts are allowed here")
    assert "OptionError" in ended.stderr
    assert "finds no room for 5.5 MB of shared memory" in ended.stderr
    assert "give /dev/shm more room" in ended.stderr


def test_a_data_set_pickles(data: PatchDataset) -> None:
    DataLoader(data, 4, collate_fn=data.collate)
    next(iter(DataLoader(data, 4, collate_fn=data.collate)))
    again = pickle.loads(pickle.dumps(data))  # noqa: S301
    assert checked(data, DataLoader(again, 4, collate_fn=again.collate)) == keys_of(data)


def test_samples_chosen_before_are_taken_as_they_are(stacked: Path) -> None:
    samples = Samples(str(stacked), "test", flagged="include").subset([2, 0])
    data = PatchDataset(samples)
    assert data.samples is samples
    assert data.classes == samples.classes
    for wrong in ({"split": "train"}, {"bands": "rgb"}, {"sample_format": "tuple"}):
        with pytest.raises(OptionError, match="samples are chosen already"):
            PatchDataset(samples, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_record_names_itself(stacked: Path, tmp_path: Path, workers: int) -> None:
    shutil.copytree(stacked, tmp_path / "store")
    store = open_store(stacked)
    key = store.keys("s2")[9]
    file = tmp_path / "store" / "data.mdb"
    place = file.read_bytes().index(store.view(key).tobytes())
    with file.open("r+b") as opened:
        opened.seek(place - 200)
        opened.write(b"\0" * 200)
    data = PatchDataset(str(tmp_path / "store"), dtype=None, with_key=True)
    found: list[str] = []
    passing = iter(DataLoader(data, 4, num_workers=workers, collate_fn=data.collate))
    with pytest.raises(StoreDamaged, match=key):
        for _, _, keys in passing:
            found.extend(keys)
    assert len(found) == 8
    if workers:  # else the collector does so, with its queues closed first, and waits 5 s in vain
        passing._shutdown_workers()


def test_a_batch_is_a_list_of_samples(data: PatchDataset) -> None:
    batch = data.__getitems__([3, 1])
    assert isinstance(batch, SampleList)
    assert isinstance(batch, list)
    assert [key for *_, key in batch] == [data[3][2], data[1][2]]
    assert batch.are_as_read
    batch.reverse()
    assert not batch.are_as_read
    assert checked(data, [data.collate(batch)]) == [data[1][2], data[3][2]]
