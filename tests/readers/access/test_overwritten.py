"""A store overwritten while it is open: one sentence, and no pixels of another store."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from patchpress import Store, StoreDamaged, open_store
from patchpress.readers.access.fetcher import Mode
from patchpress.readers.format.manifest import EXTENTS
from tests.support.helpers import made
from tests.support.synthetic import make_tree

SENTENCE = "overwritten since.*open the store again|was cut since it was opened"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the same layout, with more patches and other pixels."""
    folder = tmp_path_factory.mktemp("other")
    make_tree(folder / "tree", n=18, flagged=3, seed=8)
    made(folder / "tree", folder / "store", layout="native")
    return folder / "store"


@pytest.fixture
def copy(native: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(native, tmp_path / "store"))


def overwrite(store: Path, other: Path, *names: str) -> None:
    """As `cp other/* store`: into the same files, which are never shorter than before."""
    for name in names or sorted(path.name for path in other.iterdir() if path.is_file()):
        data = (other / name).read_bytes()
        with (store / name).open("r+b") as file:
            file.write(data)


def reads(store: Store, keys: list[str]) -> dict[str, Callable[[], object]]:
    records = store.records(keys)
    return {
        "read": lambda: [store.read(key) for key in keys],
        "read_bands": lambda: [store.read_bands(key) for key in keys],
        "read_batch": lambda: store.read_batch(keys),
        "records": lambda: records.read(range(len(keys))),
        "view": lambda: [store.view(key, "B02").sum() for key in keys],
        "modality_of": lambda: [store.modality_of(key) for key in keys],
    }


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("what", ["everything", "data.mdb"])
def test_whatever_then_fails_is_one_sentence(
    copy: Path, other: Path, mode: Mode, what: str
) -> None:
    store = open_store(copy, mode=mode)
    keys = store.keys("s2")
    calls = reads(store, keys)
    overwrite(copy, other, *(() if what == "everything" else (what,)))
    failed = 0
    for call in calls.values():
        try:
            call()
        except StoreDamaged as error:
            failed += 1
            assert "again" in str(error)
            assert "\n" not in str(error)
            assert "since it was opened" in str(error)
    assert failed > 0


@pytest.mark.parametrize("mode", list(Mode))
def test_names_of_another_stores_extents_lead_to_no_record(
    copy: Path, other: Path, native: Path, mode: Mode
) -> None:
    store, right = open_store(copy, mode=mode), open_store(native)
    keys, later = store.keys("s2"), store.keys("s1")
    calls = reads(store, keys)
    overwrite(copy, other, EXTENTS)
    for call in calls.values():  # the names were searched before
        call()
    np.testing.assert_array_equal(store.read_batch(keys), right.read_batch(keys))
    for key in later:
        with pytest.raises(StoreDamaged, match=f"{EXTENTS} was {SENTENCE}"):
            store.read(key)


@pytest.mark.parametrize("mode", list(Mode))
def test_training_does_not_go_on_with_another_stores_pixels(
    copy: Path, other: Path, mode: Mode
) -> None:
    """Only the data file, and records that begin as those before: nothing else would tell."""
    store = open_store(copy, mode=mode)
    records = store.records(store.keys("map"))
    expected = records.read(range(15))
    data = bytearray((copy / "data.mdb").read_bytes())
    header = store.manifest.modalities["map"].form.header
    at = data.index(header) + len(header)
    data[at : at + 100] = bytes(100)
    data[16 + 24 + 96 + 8] ^= 6  # the count of transactions in the first meta page
    with (copy / "data.mdb").open("r+b") as file:
        file.write(data)
    os.utime(copy / "data.mdb", ns=(1, 1))
    pixels = expected.copy()
    with pytest.raises(StoreDamaged, match=SENTENCE):
        records.read(range(15), out=pixels)
    np.testing.assert_array_equal(pixels, expected)


def test_a_file_with_a_new_time_is_the_same_file(copy: Path, native: Path) -> None:
    """Some systems delete files that nobody has touched for long, so people touch them."""
    store = open_store(copy)
    records = store.records(store.keys("s1"))
    expected = records.read(range(15))
    for time in range(3):
        os.utime(copy / "data.mdb", ns=(time, time))
        os.utime(copy / EXTENTS, ns=(time, time))
        for _ in range(2):
            np.testing.assert_array_equal(records.read(range(15)), expected)


def test_a_store_that_is_replaced_by_renaming_is_read_on(copy: Path, other: Path) -> None:
    store = open_store(copy)
    keys = store.keys("s2")
    expected = store.read_batch(keys)
    for path in other.iterdir():
        shutil.copyfile(path, copy / f"{path.name}.new")
        (copy / f"{path.name}.new").replace(copy / path.name)
    for _ in range(2):
        np.testing.assert_array_equal(store.read_batch(keys), expected)
    assert len(open_store(copy)) == len(open_store(other))


def test_without_extents_an_error_of_an_overwritten_file_says_so(copy: Path, other: Path) -> None:
    (copy / EXTENTS).unlink()
    store = open_store(copy)
    before = store.read(store.keys("s2")[0])
    assert before.any()
    overwrite(copy, other, "data.mdb")
    with pytest.raises(StoreDamaged, match=SENTENCE):
        for key in store.keys("s2"):
            store.view(key, "B02")
