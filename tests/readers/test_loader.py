"""`PatchLoader`: its batches, how long they stay valid, where it goes on, what it leaves behind."""

import gc
import json
import os
import pickle
import queue
import signal
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from itertools import cycle, islice, pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import Store, open_store
from patchpress.readers.errors import OptionError, StoreDamaged
from patchpress.readers.loader import PatchLoader
from patchpress.readers.samples import Samples
from tests.support.helpers import made, python
from tests.support.loading import filling, flat, same, stacked_like

BANDS = ["B02", "B05"]


@pytest.fixture
def small(stacked: Path) -> Samples:
    """15 samples of two bands, with keys."""
    return Samples(str(stacked), bands=BANDS, with_key=True)


@pytest.fixture
def samples_of_size(stacked: Path) -> Samples:
    """The same with all bands: more bytes a batch than get new memory each time."""
    return Samples(str(stacked), with_key=True)


def loader_of(samples: Samples, batch: int = 4, **options: Any) -> PatchLoader:
    given: dict[str, Any] = {"batch_size": batch, "output": "numpy", "seed": 0} | options
    return PatchLoader(samples, **given)


def batches(loader: PatchLoader) -> list[Any]:
    """Copies of the batches of a pass."""
    return [tuple(part.copy() for part in batch) for batch in loader]


def seen(loader: PatchLoader, count: int | None = None) -> list[list[str]]:
    """The keys of a pass, batch by batch; it is left after `count` of them."""
    return [keys for *_, keys in islice(loader, count)]


def slowly(samples: Samples, monkeypatch: pytest.MonkeyPatch, mess: bool = False) -> None:
    """Let each fill take a while, in which the buffer holds something else if `mess`."""
    read = Samples.read

    def later(self: Samples, indices: Any, out: Any = None) -> Any:
        if mess:
            for array in out.values():
                array.view(np.uint8)[:] = 255
        time.sleep(0.002)
        return read(self, indices, out)

    monkeypatch.setattr(Samples, "read", later)


def test_batches_of_every_kind_of_store_are_what_store_read_gives(store: Store) -> None:
    loader = PatchLoader(
        store,
        "train",
        batch_size=4,
        shuffle=True,
        seed=3,
        output="numpy",
        with_key=True,
        flagged="include",
    )
    count = 0
    for image, label, keys in loader:
        same(image, np.stack([store.read(key) for key in keys]))
        assert len(label) == len(keys)
        count += len(keys)
    assert (count, len(loader)) == (9, 3)


def test_all_forms_come_as_samples_assembles_them(stacked: Path) -> None:
    store = open_store(stacked)
    choices: list[dict[str, Any]] = [
        {"target": ["labels", "map"], "sample_format": "dict", "with_key": True},
        {"modalities": ["s2", "s1"], "joined": False},
        {"modalities": ["s2", "s1"], "target": None},
    ]
    for choice in choices:
        samples = Samples(store, **choice)
        (batch,) = loader_of(samples, 15)
        single = [samples[k] for k in range(15)]
        same(batch, stacked_like(single))


def test_each_epoch_has_all_samples_in_an_order_of_its_own(small: Samples) -> None:
    loader = loader_of(small, shuffle=True, seed=9)
    first, second = seen(loader), seen(loader)
    assert loader.epoch == 2
    assert sorted(flat(first)) == sorted(flat(second)) == sorted(small.keys(range(15)))
    assert first != second
    again = loader_of(small, shuffle=True, seed=9)
    again.set_epoch(1)
    assert [seen(again), seen(again)] != [first, second]
    again.set_epoch(0)
    assert [seen(again), seen(again)] == [first, second]


def test_without_shuffling_samples_come_as_in_the_table(small: Samples) -> None:
    loader = loader_of(small)
    assert flat(seen(loader)) == flat(seen(loader)) == small.keys(range(15))


def test_a_pass_left_early_is_not_drawn_again(small: Samples) -> None:
    # Whoever takes a few batches an epoch must not see the same ones for ever.
    whole = loader_of(small, shuffle=True)
    wanted = [seen(whole)[:2], seen(whole)[:2], seen(whole)[:2]]
    loader = loader_of(small, shuffle=True)
    assert [seen(loader, 2), seen(loader, 2), seen(loader, 2)] == wanted
    # Nor need the last batch be followed by a look for one more.
    exact = loader_of(small, shuffle=True)
    assert [seen(exact, 4)[:2] for _ in range(3)] == wanted


def test_shares_of_processes_are_all_samples_together(small: Samples) -> None:
    loaders = [loader_of(small, 2, shuffle=True, rank=r, world_size=3) for r in range(3)]
    keys = [flat(seen(loader)) for loader in loaders]
    assert [len(some) for some in keys] == [5, 5, 5]
    assert sorted(flat(keys)) == sorted(small.keys(range(15)))


def test_drop_last_leaves_out_the_smaller_batch(small: Samples) -> None:
    loader = loader_of(small, drop_last=True)
    assert [len(keys) for keys in seen(loader)] == [4, 4, 4]
    assert len(loader) == 3


@pytest.mark.parametrize(("ahead", "threads"), [(1, 1), (2, 2), (3, 3), (1, 3), (3, 1)])
def test_a_batch_stays_as_long_as_it_is_held(
    small: Samples, monkeypatch: pytest.MonkeyPatch, ahead: int, threads: int
) -> None:
    slowly(small, monkeypatch, mess=True)
    loader = loader_of(small, 2, shuffle=True, ahead=ahead, threads=threads)
    held: deque[Any] = deque(maxlen=3)
    # Over the ends of passes, too, whole ones and one that is left early.
    for count in (None, 3, None):
        for batch in islice(loader, count):
            held.append((batch, tuple(part.copy() for part in batch)))
            time.sleep(0.001)
            for image_and_more, copies in held:
                same(image_and_more[:2], copies[:2])


def test_neighbouring_batches_are_both_valid(small: Samples) -> None:
    wanted = {keys[0]: image for image, _, keys in batches(loader_of(small))}
    for one, two in pairwise(loader_of(small)):
        for image, _, keys in (one, two):
            same(image, wanted[keys[0]])


def test_collected_batches_and_labels_are_right(small: Samples) -> None:
    wanted = batches(loader_of(small, shuffle=True))
    loader = loader_of(small, shuffle=True)
    same(list(loader), wanted)
    loader.set_epoch(0)
    same([label for _, label, _ in loader], [label for _, label, _ in wanted])
    loader.set_epoch(0)
    twice = list(islice(cycle(loader), 2 * len(wanted)))  # which remembers the first time round
    same(twice, wanted + wanted)
    loader.set_epoch(0)
    waiting: queue.Queue[Any] = queue.Queue()

    def produce() -> None:
        for batch in loader:
            waiting.put(batch)

    thread = threading.Thread(target=produce)
    thread.start()
    thread.join()
    same([waiting.get() for _ in wanted], wanted)


def test_memory_is_used_again_and_does_not_grow(samples_of_size: Samples) -> None:
    loader = loader_of(samples_of_size, 2, ahead=3)
    used: set[int] = set()
    for count in (None, 3, 1, None, 0, 8):
        for image, *_ in islice(loader, count):
            used.add(image.ctypes.data)
    # Those that are filled ahead, the one in use, and the one that the loop is just letting go.
    assert len(used) <= 3 + 2


def test_labels_do_not_keep_images(samples_of_size: Samples) -> None:
    loader = loader_of(samples_of_size, 2)
    labels, used = [], set()
    for image, label, _ in loader:
        labels.append(label)
        used.add(image.ctypes.data)
    assert len(labels) == 8
    assert len(used) <= 2 + 2
    assert all(label.base is None for label in labels)


def test_two_passes_at_a_time_do_not_disturb_one_another(
    small: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowly(small, monkeypatch, mess=True)
    loader = loader_of(small, 3, shuffle=True)
    for pair in zip(loader, loader, strict=True):
        for image, label, keys in pair:
            numbers = [small.keys(range(15)).index(key) for key in keys]
            out = {f.name: np.empty((len(keys), *f.shape), f.dtype) for f in small.fields}
            wanted = Samples.read(small, numbers, out)
            same((image, label), (wanted["image"], wanted["label"]))


def test_a_loader_serves_several_threads(small: Samples) -> None:
    loader = loader_of(small, 2)
    wanted = small.read(range(15))["image"]
    wrong: list[object] = []

    def check() -> None:
        for _ in range(5):
            number = 0
            for image, *_ in loader:
                if not np.array_equal(image, wanted[number : number + len(image)]):
                    wrong.append(number)
                number += len(image)

    threads = [threading.Thread(target=check) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("drawn", [0, 1, 2, 3, 4, 5, 6, 8, 9])
def test_a_state_goes_on_after_the_last_batch_drawn(small: Samples, drawn: int) -> None:
    loader = loader_of(small, shuffle=True, seed=2)
    wanted = seen(loader) + seen(loader) + seen(loader)
    first = loader_of(small, shuffle=True, seed=2)
    ahead = (batch for _ in range(3) for batch in first)
    assert [batch[-1] for batch in islice(ahead, drawn)] == wanted[:drawn]
    state = json.loads(json.dumps(first.state_dict()))
    ahead.close()
    assert first.state_dict() == state
    second = loader_of(small, shuffle=True, seed=2)
    second.load_state_dict(state)
    assert second.state_dict() == state
    assert [batch[-1] for _ in range(3 - drawn // 4) for batch in second] == wanted[drawn:]


def test_set_epoch_keeps_the_place_that_was_loaded(small: Samples) -> None:
    # As in every loop that begins an epoch with set_epoch.
    loader = loader_of(small, shuffle=True)
    loader.set_epoch(2)
    wanted = seen(loader)
    other = loader_of(small, shuffle=True)
    other.set_epoch(2)
    seen(other, 3)
    again = loader_of(small, shuffle=True)
    again.load_state_dict(other.state_dict())
    again.set_epoch(again.epoch)
    assert seen(again) == wanted[3:]
    again.load_state_dict(other.state_dict())
    again.set_epoch(1)
    assert len(seen(again)) == 4
    again.set_epoch(2)
    assert seen(again) == wanted


def test_of_two_passes_the_state_is_that_of_the_last_draw(small: Samples) -> None:
    loader = loader_of(small, shuffle=True)
    first, second = iter(loader), iter(loader)
    places = []
    for passing in (first, first, second, first, second):
        next(passing)
        state = loader.state_dict()
        places.append((state["epoch"], state["batch"]))
    assert places == [(0, 1), (0, 2), (1, 1), (0, 3), (1, 2)]


def test_a_state_goes_on_in_another_process(stacked: Path, small: Samples) -> None:
    loader = loader_of(small, shuffle=True, seed=4)
    wanted = seen(loader)
    loader.set_epoch(0)
    seen(loader, 2)
    text = (
        "import json, sys; from patchpress.readers.loader import PatchLoader; "
        "loader = PatchLoader(sys.argv[1], batch_size=4, bands=['B02', 'B05'], with_key=True, "
        "shuffle=True, seed=4, output='numpy'); "
        "loader.load_state_dict(json.loads(sys.argv[2])); "
        "print(json.dumps([keys for *_, keys in loader]))"
    )
    ended = python("-c", text, stacked, json.dumps(loader.state_dict()))
    assert json.loads(ended.out) == wanted[2:], ended.err


def test_a_state_is_of_no_rank(small: Samples) -> None:
    # A checkpoint has that of one process, and all load it.
    one, two = (loader_of(small, 2, rank=r, world_size=2, shuffle=True) for r in (0, 1))
    wanted = seen(two)
    seen(one, 2)
    two.set_epoch(0)
    two.load_state_dict(one.state_dict())
    assert seen(two) == wanted[2:]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"batch_size": 3}, "batch_size 4, this loader 3"),
        ({"seed": 1}, "seed 0, this loader 1"),
        ({"shuffle": False}, "shuffle True, this loader False"),
        ({"drop_last": True}, "drop_last False, this loader True"),
        ({"world_size": 2, "rank": 0}, "world_size 1, this loader 2"),
    ],
)
def test_a_state_of_another_order_is_refused(small: Samples, other: Any, said: str) -> None:
    first = loader_of(small, shuffle=True)
    seen(first, 1)
    with pytest.raises(OptionError, match=said):
        loader_of(small, **{"shuffle": True} | other).load_state_dict(first.state_dict())


@pytest.mark.parametrize("other", [{"batch_size": 3}, {"drop_last": True}, {"world_size": 2}])
def test_at_the_beginning_of_an_epoch_the_batches_may_be_others(
    small: Samples, other: dict[str, Any]
) -> None:
    first = loader_of(small, shuffle=True)
    seen(first)
    options = {"shuffle": True, "rank": 0, "world_size": 1} | other
    wanted = loader_of(small, **options)
    wanted.set_epoch(1)
    found = loader_of(small, **options)
    found.load_state_dict(first.state_dict())
    assert seen(found) == seen(wanted)
    assert found.epoch == 2


def test_a_state_of_other_samples_is_refused_though_they_are_as_many(stacked: Path) -> None:
    validation, test = (Samples(str(stacked), name, flagged="include") for name in ("val", "test"))
    assert len(validation) == len(test)
    with pytest.raises(OptionError, match="the state has selection"):
        loader_of(test).load_state_dict(loader_of(validation).state_dict())


@pytest.mark.parametrize("change", [{"epoch": None}, {"batch": 4}, {"batch": -1}, {"batch": "1"}])
def test_a_state_that_is_none_is_refused(small: Samples, change: Any) -> None:
    loader = loader_of(small)
    with pytest.raises(OptionError, match="where an epoch has 4 batches"):
        loader.load_state_dict(loader.state_dict() | change)
    with pytest.raises(OptionError, match="the state has samples None, this loader 15"):
        loader.load_state_dict({})


@pytest.mark.slow
def test_nothing_is_left_of_a_pass_that_ends_early(
    small: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowly(small, monkeypatch)
    loader = loader_of(small, 1, ahead=3, threads=3)
    for _ in loader:
        assert filling()
        break
    assert filling() == []
    passing = iter(loader)
    next(passing)
    assert filling()
    del passing
    gc.collect()
    assert filling() == []
    holder: list[Any] = [iter(loader)]
    next(holder[0])
    holder.append(holder)  # a cycle that only the collector finds
    del holder
    gc.collect()
    assert filling() == []
    assert sum(map(len, seen(loader))) == 15


def test_a_loader_that_is_gone_leaves_no_memory(small: Samples) -> None:
    loader = loader_of(small)
    arrays = [weakref.ref(buffer) for buffer in (image for image, *_ in islice(loader, 2))]
    seen(loader)
    del loader
    gc.collect()
    assert [array() for array in arrays] == [None, None]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_damaged_record_reaches_the_loop_and_names_itself(
    tree: Path, tmp_path: Path, threads: int
) -> None:
    made(tree, tmp_path / "store", modalities=("s2",))
    store = open_store(tmp_path / "store")
    key = store.keys("s2")[9]
    place = (tmp_path / "store" / "data.mdb").read_bytes().index(store.view(key).tobytes())
    with (tmp_path / "store" / "data.mdb").open("r+b") as file:
        file.seek(place - 200)
        file.write(b"\0" * 200)  # the end of its header
    loader = PatchLoader(
        open_store(tmp_path / "store"),
        batch_size=4,
        output="numpy",
        with_key=True,
        threads=threads,
    )
    drawn: list[Any] = []
    with pytest.raises(StoreDamaged, match=key):
        drawn.extend(keys for *_, keys in loader)
    assert len(drawn) == 2
    assert filling() == []
    assert loader.state_dict()["batch"] == 2
    with pytest.raises(StoreDamaged, match=key):
        seen(loader)


def test_an_interrupted_loop_leaves_no_thread(
    small: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    slowly(small, monkeypatch)
    loader = loader_of(small, 1, ahead=3)
    # A shell lets processes in its background ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            for _ in loader:
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert filling() == []
    assert sum(map(len, seen(loader))) == 15


def forked(work: Callable[[], bool]) -> bool:
    """Whether `work` is true in a forked child."""
    child = os.fork()
    if not child:
        signal.alarm(30)  # a child that hangs ends
        os._exit(0 if work() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_during_a_pass_has_its_own(small: Samples) -> None:
    loader = loader_of(small, 2, shuffle=True)
    passing = iter(loader)
    drawn = [next(passing)[-1] for _ in range(3)]

    def child() -> bool:
        loader.set_epoch(0)
        own = seen(loader)
        try:
            next(passing)
        except OptionError as error:
            return own[:3] == drawn and "forked process" in str(error)
        return False

    assert forked(child)
    assert len([*passing]) == 5


def test_a_program_may_end_during_a_pass(stacked: Path) -> None:
    text = (
        "import sys; from patchpress.readers.loader import PatchLoader; "
        "passing = iter(PatchLoader(sys.argv[1], batch_size=1, output='numpy', ahead=3)); "
        "next(passing)"
    )
    assert python("-c", text, stacked) == (0, "", "")


def test_a_loader_pickles_without_its_memory(small: Samples) -> None:
    loader = loader_of(small, shuffle=True, seed=8)
    seen(loader)
    passing = iter(loader)
    next(passing)
    data = pickle.dumps(loader)
    assert len(data) < 20_000
    wanted = seen(loader)
    again = pickle.loads(data)  # noqa: S301
    assert seen(again) == wanted
    del passing


def sums(loader: PatchLoader) -> list[int]:
    return [int(image.sum()) for image, *_ in loader]


def test_a_loader_works_in_a_spawned_process(small: Samples) -> None:
    loader = loader_of(small, shuffle=True)
    wanted = sums(loader)
    loader.set_epoch(0)
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(sums, (loader,)) == wanted


def test_without_torch_there_are_numpy_arrays(
    small: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(OptionError, match="torch is not installed: .* or give output='numpy'"):
        PatchLoader(small)
    assert sum(map(len, seen(loader_of(small)))) == 15


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": "train"}, "batch_size must be a whole number, not 'train'"),
        ({"output": "jax"}, "there is no output 'jax'; choose torch or numpy"),
        ({"ahead": 0}, "ahead must be 1 or more, not 0"),
        ({"threads": "2"}, "threads must be 1 or more, not '2'"),
        ({"pin_memory": True}, "pinned memory is torch's: give output='torch'"),
        ({"split": "train"}, "samples are chosen already: give split and choice to Samples"),
        ({"bands": "rgb"}, "samples are chosen already: give split and choice to Samples"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(small: Samples, options: Any, said: str) -> None:
    with pytest.raises(OptionError) as error:
        loader_of(small, **options)
    assert str(error.value) == said
    for wrong in (-1, 1.5, None):
        with pytest.raises(OptionError, match="an epoch must be 0 or more"):
            loader_of(small).set_epoch(wrong)  # type: ignore[arg-type]


# ---------------------------------------------------------------- samplers, seeds, transforms


class EveryOther:
    """A sampler without a generator, as users write them."""

    def __init__(self, count: int) -> None:
        self.count, self.epochs = count, []  # type: ignore[var-annotated]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Any:
        return iter(np.random.permutation(self.count).tolist())

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)


def keys_of(samples: Samples, numbers: Any) -> list[str]:
    return [samples.key(int(number)) for number in numbers]


@pytest.mark.parametrize("indices", [[3, 3, 14, 0, 1], np.array([2, 5, -1]), range(4)], ids=str)
def test_a_sampler_may_be_a_list(small: Samples, indices: Any) -> None:
    loader = loader_of(small, 2, sampler=indices)
    assert flat(seen(loader)) == flat(seen(loader)) == keys_of(small, indices)
    assert len(loader) == -(-len(indices) // 2)


def test_a_sampler_draws_anew_for_each_epoch_under_the_seed(small: Samples) -> None:
    sampler = EveryOther(15)
    loader = loader_of(small, sampler=sampler, seed=3)
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    first, second = seen(loader), seen(loader)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]
    assert sorted(flat(first)) == sorted(flat(second))
    assert first != second
    assert sampler.epochs == [0, 1]
    again = loader_of(small, sampler=EveryOther(15), seed=3)
    assert [seen(again), seen(again)] == [first, second]
    assert seen(loader_of(small, sampler=EveryOther(15), seed=4)) != first


def test_processes_share_what_a_sampler_draws(small: Samples) -> None:
    shares = [
        flat(seen(loader_of(small, 2, sampler=EveryOther(15), rank=rank, world_size=2)))
        for rank in (0, 1)
    ]
    assert [len(share) for share in shares] == [8, 8]
    assert set(flat(shares)) == set(small.keys())


def test_with_a_sampler_a_state_goes_on_in_the_middle_of_an_epoch(small: Samples) -> None:
    whole = loader_of(small, sampler=EveryOther(15))
    wanted = [*seen(whole), *seen(whole)]
    first = loader_of(small, sampler=EveryOther(15))
    seen(first)
    seen(first, 2)
    state = json.loads(json.dumps(first.state_dict()))
    again = loader_of(small, sampler=EveryOther(15))
    again.load_state_dict(state)
    assert again.state_dict() == state
    assert seen(again) == wanted[6:]


class Drifting(EveryOther):
    """Has a generator of its own, that nobody can put back."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.random = np.random.default_rng()

    def __iter__(self) -> Any:
        return iter(self.random.permutation(self.count).tolist())


def test_a_sampler_that_draws_others_is_refused_in_the_middle_of_an_epoch(small: Samples) -> None:
    first = loader_of(small, sampler=Drifting(15))
    seen(first, 2)
    again = loader_of(small, sampler=Drifting(15))
    again.load_state_dict(first.state_dict())
    with pytest.raises(OptionError, match="give it no generator of its own"):
        seen(again)
    with pytest.raises(OptionError, match="sampler 'Drifting', this loader ''"):
        loader_of(small).load_state_dict(first.state_dict())


def drawing(samples: Samples, **options: Any) -> list[list[str]]:
    return seen(PatchLoader(samples, batch_size=4, output="numpy", **options))


def test_numpy_gives_the_seed_if_nobody_has_imported_torch(
    small: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    orders = []
    for seed in (1, 1, 2):
        np.random.seed(seed)
        orders.append(drawing(small, shuffle=True))
    assert orders[0] == orders[1] != orders[2]
    loader = PatchLoader(small, shuffle=True, output="numpy")
    assert f"seed {loader.order.seed} (from NumPy)" in repr(loader)
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    drawing(small)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]


def test_a_seed_that_was_not_given_comes_with_the_state(small: Samples) -> None:
    first = PatchLoader(small, batch_size=4, shuffle=True, output="numpy")
    wanted = seen(first)
    first.set_epoch(0)
    seen(first, 2)
    again = PatchLoader(small, batch_size=4, shuffle=True, output="numpy")
    again.load_state_dict(first.state_dict())
    assert seen(again) == wanted[2:]
    assert seen(again) == seen(first)


def test_a_transform_gets_each_batch(small: Samples) -> None:
    def negative(batch: Any) -> Any:
        image, label, keys = batch
        return -image.astype(np.float32), label, keys

    plain = batches(loader_of(small))
    for (image, label, keys), wanted in zip(
        loader_of(small, transform=negative), plain, strict=True
    ):
        same((image, label), (-wanted[0].astype(np.float32), wanted[1]))
        assert keys == wanted[2]


def test_a_loader_shows_what_it_gives(small: Samples) -> None:
    loader = loader_of(small, shuffle=True, drop_last=True, rank=1, world_size=2)
    assert repr(loader).splitlines() == [
        f"<PatchLoader of {small.summary()}",
        "  1 batches an epoch of 4 samples, a last smaller one left out, shuffled, seed 0",
        "  in process 1 of 2",
        "  numpy",
        "  image  (4, 2, 120, 120)  uint16",
        "  label  (4, 19)           float32>",
    ]
    plain = loader_of(small, 64)
    assert "1 batches an epoch of 64 samples, in the order of the table" in repr(plain)
    assert "(15, 2, 120, 120)" in repr(plain)
    drawn = loader_of(small, sampler=EveryOther(15))
    assert "drawn by EveryOther, seed 0" in repr(drawn)
    assert "<td>(4, 2, 120, 120)</td>" in loader._repr_html_()
    assert "shuffled, seed 0" in loader._repr_html_()


def test_frameworks_find_a_sampler_with_set_epoch(small: Samples) -> None:
    loader = loader_of(small, shuffle=True)
    wanted = [seen(loader) for _ in range(3)]
    loader.sampler.set_epoch(1)
    numbers = list(loader.sampler)
    assert len(loader.sampler) == 15
    assert seen(loader) == wanted[1]
    assert keys_of(small, numbers) == flat(wanted[1])


def test_a_loader_has_no_batch_by_number(small: Samples) -> None:
    with pytest.raises(OptionError, match="iterate over it, or give a stock DataLoader a Patch"):
        loader_of(small)[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"shuffle": True, "sampler": [1]}, "a sampler decides the order: leave shuffle out"),
        (
            {"sampler": iter([1])},
            "a sampler must say how many it gives: list_iterator has no length",
        ),
        (
            {"rank": 1},
            "rank 1 and world_size None belong together: give both, or none to have those of "
            "torch.distributed",
        ),
    ],
)
def test_samplers_and_processes_that_cannot_be(small: Samples, options: Any, said: str) -> None:
    with pytest.raises(OptionError) as error:
        loader_of(small, **options)
    assert str(error.value) == said


@pytest.mark.parametrize("sampler", [["a"], [1.5], [[1, 2]], []], ids=str)
def test_a_sampler_gives_whole_numbers(small: Samples, sampler: Any) -> None:
    with pytest.raises((OptionError, IndexError)):
        seen(loader_of(small, sampler=sampler))
    with pytest.raises(IndexError, match="there is no sample 15"):
        seen(loader_of(small, sampler=[15]))
