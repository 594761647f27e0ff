"""Single flipped bits over all files of a store: found by `verify`, or where nobody ever looks.

With checksums no flip gives a wrong pixel, and none ends a process. The flips are made in a child
process, so that a signal would show.
"""

import json
from pathlib import Path

import pytest

from patchpress import convert, stats
from tests.support.helpers import python, tiny_dataset

# For each flip: what verify says, and what is read with checksums. A flip that verify does not find
# must leave all as it was, also for LMDB itself.
FLIPS = """
import json, random, shutil, sys, warnings
from pathlib import Path
import lmdb
from patchpress import PatchpressError, open_store, verify

source, count, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
warnings.simplefilter("ignore")
draw = random.Random(seed)
files = {path.name: path.read_bytes() for path in sorted(source.iterdir()) if path.is_file()}
engine = {"lib_version": 0} if int(lmdb.__version__.split(".")[0]) >= 3 else {}

def by_lmdb(folder):
    with lmdb.open(str(folder), readonly=True, lock=False, **engine) as environment:
        with environment.begin() as transaction:
            return list(transaction.cursor())

def facts(store):
    return store.manifest, store.table(), [store.statistics("a", split) for split in (None,)]

opened = open_store(source)
keys = opened.keys()
right = {key: opened.read(key).tobytes() for key in keys}
before, stored = facts(opened), by_lmdb(source)
found = dict.fromkeys(files, 0)
unseen = dict.fromkeys(files, 0)
wrong = []
for number in range(count):
    # Half of them in the data file, the others over the files beside it.
    name = "data.mdb" if number % 2 else draw.choice(list(files))
    at, bit = draw.randrange(len(files[name])), 1 << draw.randrange(8)
    folder = Path(f"flip{number}")
    folder.mkdir()
    for other, data in files.items():
        if other == name:
            data = data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
        (folder / other).write_bytes(data)
    try:
        mode = ("map", "direct", "auto")[number % 3]
        store = open_store(folder, mode=mode, checksums=True)
        for key in keys:
            for read in (store.read, lambda key: store.read_batch([key])[0], store.view):
                try:
                    if read(key).tobytes() != right[key]:
                        wrong.append((name, at, bit, key))
                except PatchpressError as error:
                    assert "\\n" not in str(error)
    except PatchpressError as error:
        assert "\\n" not in str(error)
    try:
        good = verify(folder, workers=0).good
    except PatchpressError:
        good = False
    found[name] += not good
    unseen[name] += good
    if good:
        assert by_lmdb(folder) == stored, (name, at, bit)
        assert facts(open_store(folder)) == before, (name, at, bit)
    shutil.rmtree(folder)
print(json.dumps([found, unseen, wrong]))
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 60 records with all files that one can have."""
    root = tmp_path_factory.mktemp("small")
    toml = tiny_dataset(root, {"g": [f"p{number}" for number in range(60)]})
    convert(toml, root / "raw", root / "store", workers=0)
    stats(root / "store", workers=0)
    assert len(list((root / "store").iterdir())) == 5
    return root / "store"


def flipped(store: Path, folder: Path, count: int, seed: int) -> tuple[dict[str, int], ...]:
    ended = python("-c", FLIPS, store, count, seed, cwd=folder)
    assert ended.code == 0, ended.err
    found, unseen, wrong = json.loads(ended.out)
    assert wrong == []
    assert {name for name, number in unseen.items() if number} <= {"data.mdb"}
    return found, unseen


def test_flipped_bits_are_found_or_lie_where_nobody_looks(small: Path, tmp_path: Path) -> None:
    found, _ = flipped(small, tmp_path, 40, 1)
    assert sum(found.values()) > 30


@pytest.mark.slow
def test_a_thousand_flipped_bits_are_found_or_lie_where_nobody_looks(
    small: Path, tmp_path: Path
) -> None:
    found, unseen = flipped(small, tmp_path, 1000, 2)
    assert sum(found.values()) + sum(unseen.values()) == 1000
    assert sum(found.values()) > 850
    assert all(found.values())
