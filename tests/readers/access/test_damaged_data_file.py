"""Damaged data files end in a sentence, never in a signal: mutants are read in a child process."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from struct import Struct

import pytest

from patchpress import convert, open_store
from patchpress.readers.format.manifest import EXTENTS
from patchpress.readers.format.metapages import PAGE
from tests.support.helpers import Ended, python, tiny_dataset

pytestmark = pytest.mark.slow

SIZE = 4096
META_BYTES = range(160)
Change = tuple[int, bytes]
"""Where bytes of the data file are replaced, and by what; `b""` cuts the file there."""

# Reads a store in every way, with one change of its data file after another. Whatever is raised
# must be of ours; a signal would end the process.
EVERY_WAY = """
import json, os, shutil, sys, warnings
from dataclasses import replace
from pathlib import Path
from patchpress import KeyMissing, PatchpressError, index, open_store, verify
from patchpress.readers.access import reader
from patchpress.readers.format.manifest import read_manifest, write_manifest

warnings.simplefilter("ignore")
reader.NAMES_COMPARED = 0  # a missing key is compared with its neighbours in the tree
source, changes, modes = Path(sys.argv[1]), json.loads(sys.stdin.read()), sys.argv[2].split()
data = (source / "data.mdb").read_bytes()
told = found = wrong = 0
shutil.copytree(source, "store", ignore=shutil.ignore_patterns("data.mdb"))
keys = open_store(source).keys()
right = [open_store(source).read(key).tobytes() for key in keys]

def missing(store):
    for name in ("nothing", "zzz", keys[0] + "x"):
        assert name not in store
        try:
            store.read(name)
        except KeyMissing:
            pass

def called(call):
    global told, found, wrong
    try:
        answer = call()
    except PatchpressError as error:
        assert "\\n" not in str(error), error
        told += 1
        return None
    found += 1
    wrong += answer is False
    return answer

def ways(path):
    for mode in modes:
        store = called(lambda: open_store(path, mode=mode, checksums=True))
        if store is None:
            continue
        yield lambda: [key in store for key in keys]
        yield lambda: missing(store)
        for key, expected in zip(keys, right):
            yield lambda: store.read(key).tobytes() == expected
            yield lambda: store.read_batch([key]).tobytes() == expected
            yield lambda: store.read_bands(key) is not None
            yield lambda: store.view(key, store.modality_of(key).band_names[0]).sum() >= 0
    yield lambda: verify(path, workers=0).text()
    yield lambda: index(path)

before = {path.name: path.read_bytes() for path in Path("store").iterdir()}
for offset, content in changes:
    shutil.rmtree("store")  # new files: the process has the ones before open
    os.mkdir("store")
    content = bytes.fromhex(content)
    after = data[offset + len(content) :] if content else b""
    Path("store", "data.mdb").write_bytes(data[:offset] + content + after)
    for name, other in before.items():
        Path("store", name).write_bytes(other)
    if not content:  # the manifest promises no more: then only the tree leads beyond the end
        manifest = read_manifest(Path("store"))
        shards = (replace(manifest.shards[0], bytes=max(offset, 1)),)
        write_manifest(Path("store"), replace(manifest, shards=shards))
    for call in ways(Path("store")):
        called(call)
print(json.dumps([told, found, wrong]))
"""


def read_in_every_way(store: Path, folder: Path, changes: list[Change], modes: str) -> Ended:
    folder.mkdir()
    pairs = json.dumps([(offset, content.hex()) for offset, content in changes])
    return python("-c", EVERY_WAY, store, modes, input=pairs, cwd=folder)


def tree_pages(data: bytes) -> list[int]:
    """First bytes of the pages of branches and leaves."""
    header = Struct("<QHH")
    pages = []
    for start in range(2 * SIZE, len(data), SIZE):
        number, _, flags = header.unpack_from(data, start)
        if number == start // SIZE and flags in (1, 2):
            pages.append(start)
    return pages


def large_value_pages(data: bytes) -> list[int]:
    """First bytes of the pages at which a value begins that has pages of its own."""
    header = Struct("<QHH")
    return [
        start
        for start in range(2 * SIZE, len(data), SIZE)
        if header.unpack_from(data, start) == (start // SIZE, 0, 4)
    ]


def mutants(data: bytes, count: int) -> Iterator[Change]:
    """Changes of meta pages, page headers, node pointers, nodes, and counts of large values."""
    draw = random.Random(11)  # noqa: S311
    pages, large = tree_pages(data), large_value_pages(data)
    branches = [start for start in pages if data[start + 10] == 1]
    for number in range(count):
        kind = ("meta", "header", "pointer", "node", "large", "branch")[number % 6]
        if kind == "meta" or not pages:
            offset = draw.choice((0, SIZE)) + draw.choice(META_BYTES)
        elif kind == "large" and large:
            offset = draw.choice(large) + draw.randrange(PAGE.size)
        else:
            start = draw.choice(branches if kind == "branch" and branches else pages)
            lower = int.from_bytes(data[start + 12 : start + 14], "little")
            pointer = start + draw.randrange(PAGE.size, max(lower, PAGE.size + 1), 2)
            offset = {
                "header": start + draw.randrange(PAGE.size),
                "pointer": pointer,
                "large": pointer,
            }.get(kind, 0)
            if not offset:
                node = int.from_bytes(data[pointer : pointer + 2], "little")
                offset = start + min(node + draw.randrange(8), SIZE - 8)
        width = draw.choice((1, 2, 4, 8))
        yield offset, draw.choice((draw.randbytes(width), b"\xff" * width, b"\0" * width))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose records lie in the leaves of a tree of two levels, without extents."""
    root = tmp_path_factory.mktemp("small")
    toml = tiny_dataset(root, {"g": [f"p{number}" for number in range(60)]})
    convert(toml, root / "raw", root / "store", workers=0)
    (root / "store" / EXTENTS).unlink()
    return root / "store"


def test_mutants_of_a_tree_with_branches_end_in_sentences(small: Path, tmp_path: Path) -> None:
    data = (small / "data.mdb").read_bytes()
    assert sum(data[start + 10] == 1 for start in tree_pages(data)) >= 1
    ended = read_in_every_way(small, tmp_path / "run", list(mutants(data, 300)), "auto")
    assert ended.code == 0, ended.err
    told, found, wrong = json.loads(ended.out)
    assert (told > 100, found > 1000, wrong) == (True, True, 0)


@pytest.mark.slow
def test_mutants_of_a_tree_with_large_values_end_in_sentences(native: Path, tmp_path: Path) -> None:
    data = (native / "data.mdb").read_bytes()
    assert len(large_value_pages(data)) > 20
    changes = list(mutants(data, 60))
    ended = read_in_every_way(native, tmp_path / "run", changes, "map auto direct")
    assert ended.code == 0, ended.err
    told, found, wrong = json.loads(ended.out)
    assert (told > 10, found > 1000, wrong) == (True, True, 0)


def test_a_file_cut_at_any_page_ends_in_sentences(small: Path, tmp_path: Path) -> None:
    size = (small / "data.mdb").stat().st_size
    changes = [(end, b"") for end in (1, 100, *range(SIZE, size, SIZE), size - 1)]
    ended = read_in_every_way(small, tmp_path / "run", changes, "auto")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)[2] == 0


CUT_WHILE_OPEN = """
import os, sys
from patchpress import StoreDamaged, open_store
store = open_store(sys.argv[1], mode=sys.argv[2])
keys = store.keys("s2")
records = store.records(keys[:-1])
before = store.read_batch(keys[:-1])
assert keys[0] in store
os.truncate(sys.argv[1] + "/data.mdb", int(sys.argv[3]))
for call in (
    lambda: store.read(keys[0]),
    lambda: store.read(keys[-1]),
    lambda: store.read_batch(keys),
    lambda: store.read_bands(keys[0]),
    lambda: store.view(keys[0], "B02"),
    lambda: records.read([0, 1]),
    lambda: store.modality_of(keys[0]),
):
    try:
        call()
    except StoreDamaged as error:
        assert "it was cut since it was opened" in str(error), error
    else:
        raise SystemExit("a file that was cut was read")
print(before.shape[0])
"""


@pytest.mark.parametrize("size", [0, 3 * SIZE, -SIZE])
@pytest.mark.parametrize("way", ["map", "auto", "direct", "bare"])
def test_a_file_that_is_cut_while_it_is_open_ends_in_a_sentence(
    native: Path, tmp_path: Path, way: str, size: int
) -> None:
    copy = Path(shutil.copytree(native, tmp_path / "store"))
    if way == "bare":
        (copy / EXTENTS).unlink()
    end = size if size >= 0 else (copy / "data.mdb").stat().st_size + size
    mode = "auto" if way == "bare" else way
    ended = python("-c", CUT_WHILE_OPEN, copy, mode, end)
    assert (ended.code, ended.out) == (0, "14\n"), ended.err


def test_a_store_of_few_records_has_a_tree_that_is_searched(small: Path) -> None:
    store = open_store(small)
    assert not store.has_extents
    assert len(store) == 60


FAILING_DISK = """
import errno, os, sys
from patchpress import StoreDamaged, open_store, verify
from patchpress.readers.access import files

store = open_store(sys.argv[1], mode=sys.argv[2])
keys = store.keys()
store.read(keys[0])
real = os.pread, os.preadv
def fails(descriptor, *arguments):
    if os.readlink(f"/proc/self/fd/{descriptor}").endswith("data.mdb"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return real[0](descriptor, *arguments)
os.pread = os.preadv = fails
for call in (
    lambda: store.read(keys[1]),
    lambda: store.read_batch(keys[1:2]),
    lambda: open_store(sys.argv[1], mode=sys.argv[2]),
    lambda: verify(sys.argv[1], workers=0),
):
    try:
        call()
    except StoreDamaged as error:
        assert "Input/output error" in str(error) and "check its disk" in str(error), error
    else:
        raise SystemExit("nothing was told")
"""


@pytest.mark.parametrize("way", ["direct", "bare"])
def test_a_disk_that_fails_ends_in_a_sentence(native: Path, tmp_path: Path, way: str) -> None:
    """As far as records are not copied from the map."""
    copy = Path(shutil.copytree(native, tmp_path / "store"))
    if way == "bare":
        (copy / EXTENTS).unlink()
    ended = python("-c", FAILING_DISK, copy, "auto" if way == "bare" else way)
    assert ended.code == 0, ended.err
