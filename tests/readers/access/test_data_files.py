"""Data files of other formats, damaged ones, and ones that LMDB has open: each is read or named.

With the installed LMDB itself: files of both of its formats, and environments of the process.
"""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from struct import Struct
from typing import Any

import lmdb
import pytest

from patchpress import FormatUnknown, KeyMissing, StoreDamaged, open_store, verify
from patchpress.converter.commands.index import index
from patchpress.readers.access.scan import scan
from patchpress.readers.errors import ExtentsUnusable
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.manifest import EXTENTS, MANIFEST
from patchpress.readers.format.metapages import TREE
from tests.support.helpers import DATASET, python, stored_values

PAGE = 4096
needs_both = pytest.mark.skipif(
    int(lmdb.__version__.split(".")[0]) < 3, reason="py-lmdb 3 is the first with LMDB 1.0"
)


def written_anew(store: Path, **options: Any) -> None:
    """Let LMDB write the records of a store into a new data file."""
    values = stored_values(store)
    (store / "data.mdb").unlink()
    (store / "lock.mdb").unlink(missing_ok=True)
    with (
        closing(lmdb.open(str(store), map_size=1 << 28, lock=False, **options)) as opened,
        opened.begin(write=True) as transaction,
    ):
        for key, value in values.items():
            transaction.put(key.encode(), value)


@pytest.fixture(params=[True, False], ids=["extents", "bare"])
def of_lmdb_1(request: pytest.FixtureRequest, native: Path, tmp_path: Path) -> Path:
    """A store whose data file LMDB 1.0 has written anew."""
    copy = Path(shutil.copytree(native, tmp_path / "store"))
    written_anew(copy, lib_version=1)
    if not request.param:
        (copy / EXTENTS).unlink()
    return copy


def calls(store: Path, dataset: str = DATASET) -> dict[str, Callable[[], object]]:
    """All that opens a data file."""
    data = store / "data.mdb"
    return {
        "open_store": lambda: open_store(store),
        "verify": lambda: verify(store, workers=0),
        "index": lambda: index(store),
        "scan": lambda: scan(data),
        "Tree": lambda: Tree(memoryview(data.read_bytes()), data),
    }


@needs_both
def test_a_file_of_lmdb_1_is_called_so(of_lmdb_1: Path, patchpress: Callable[..., Any]) -> None:
    message = r"data.mdb has LMDB's data format 3, that of LMDB 1.0, .*rewrite -e .*store -E NEW"
    for call in calls(of_lmdb_1).values():
        with pytest.raises(FormatUnknown, match=message):
            call()
    for words in (["verify"], ["index"], ["inspect"]):
        ended = patchpress(*words, of_lmdb_1)
        assert ended.code == 1
        assert "that of LMDB 1.0" in ended.sentence
    (of_lmdb_1 / MANIFEST).unlink()
    ended = patchpress("index", of_lmdb_1, "--dataset", DATASET)
    assert ended.code == 1
    assert "that of LMDB 1.0" in ended.sentence


@needs_both
def test_the_way_out_of_lmdb_1_leads_out(
    of_lmdb_1: Path, native: Path, tmp_path: Path, patchpress: Callable[..., Any]
) -> None:
    ended = python("-m", "lmdb", "rewrite", "-e", of_lmdb_1, "-E", tmp_path / "NEW")
    assert ended.code == 0, ended.err
    (tmp_path / "NEW" / "data.mdb").replace(of_lmdb_1 / "data.mdb")
    assert patchpress("index", of_lmdb_1).code == 0
    assert verify(of_lmdb_1, workers=0).good
    assert stored_values(of_lmdb_1) == stored_values(native)


OTHERS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "before 1.0": (lambda data: data[:20] + b"\2" + data[21:], "format 2, that of a version of"),
    "of the future": (lambda data: data[:20] + b"\7" + data[21:], "data format 7, where a store"),
    "32 bits": (lambda data: data[:12] + data[16:], "another word size or byte order"),
    "big-endian": (
        lambda data: data[:16] + data[16:20][::-1] + data[20:24][::-1] + data[24:],
        "another word size or byte order",
    ),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("with_extents", [True, False], ids=["extents", "bare"])
def test_a_file_of_another_format_or_machine_is_called_so(
    native: Path, tmp_path: Path, other: str, with_extents: bool
) -> None:
    change, message = OTHERS[other]
    copy = Path(shutil.copytree(native, tmp_path / "store"))
    if not with_extents:
        (copy / EXTENTS).unlink()
    data = (copy / "data.mdb").read_bytes()
    pages = [change(data[start : start + PAGE]).ljust(PAGE, b"\0") for start in (0, PAGE)]
    (copy / "data.mdb").write_bytes(b"".join(pages) + data[2 * PAGE :])
    for call in calls(copy).values():
        with pytest.raises(FormatUnknown, match=message):
            call()


def test_one_strange_meta_page_is_damage_and_no_other_format(native: Path, tmp_path: Path) -> None:
    data = bytearray((native / "data.mdb").read_bytes())
    data[20] = 3
    tree = Tree(memoryview(bytes(data)), tmp_path)
    assert not tree.is_whole
    assert len(list(tree.values())) == 45


def test_a_store_is_read_whoever_else_has_it_open(
    native: Path, bare_stores: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    for number, source in enumerate((native, bare_stores["native", "none"])):
        copy = Path(shutil.copytree(source, tmp_path / str(number)))
        with closing(lmdb.open(str(copy), readonly=True, lock=False)) as theirs:
            used(copy)
            assert verify(copy, workers=0).good
            assert theirs.stat()["entries"] == 45
        used(copy)
        assert verify(copy, workers=0).good
        with closing(lmdb.open(str(copy), readonly=True, lock=False)) as theirs:
            assert theirs.stat()["entries"] == 45


def test_reading_loads_no_lmdb(bare_stores: dict[tuple[str, str], Path]) -> None:
    code = "import sys; from patchpress import open_store; s = open_store(sys.argv[1]); "
    code += "print(s.read(s.keys('s2')[0]).shape, 'lmdb' in sys.modules)"
    ended = python("-c", code, bare_stores["native", "none"])
    assert ended.out == "(12, 120, 120) False\n", ended.err


def used(path: Path) -> None:
    """All that a store answers without writing."""
    store = open_store(path)
    keys = store.keys("s2")
    assert keys[0] in store
    assert "nothing" not in store
    with pytest.raises(KeyMissing, match=f"nearest are '{keys[3]}'|'{keys[3]}'"):
        store.read(keys[3] + "x")
    records = store.records(keys)
    records.announce([0])
    assert (records.read([0])[0] == store.read(keys[0])).all()
    assert store.view(keys[0], "B02").shape == (120, 120)
    assert store.modality_of(keys[0]).name == "s2"
    assert len(store.read_bands(keys[0])) == 12
    assert store.read_batch(keys).any()


def test_a_missing_key_of_a_large_store_is_compared_with_its_neighbours(
    native: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(native, tmp_path / "store"))
    monkeypatch.setattr("patchpress.readers.access.reader.NAMES_COMPARED", 0)
    with closing(lmdb.open(str(copy), readonly=True, lock=False)):
        used(copy)
        for far in ("zzz", "A", "x" * 600, "\udc80", ""):
            with pytest.raises(KeyMissing, match="no record"):
                open_store(copy).read(far)


def strange_root(store: Path) -> None:
    """Damage that LMDB does not look at: the number that the root page gives of itself."""
    data = bytearray((store / "data.mdb").read_bytes())
    metas = [Struct("<Q").unpack_from(data, page + 16 + 24 + 2 * TREE.size + 8)[0]
             for page in (0, PAGE)]  # fmt: skip
    newest = PAGE * int(metas[1] > metas[0])
    root = TREE.unpack_from(data, newest + 16 + 24 + TREE.size)[-1]
    data[root * PAGE] ^= 1
    (store / "data.mdb").write_bytes(data)


def test_a_damaged_root_is_told_by_all_that_reads(native: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(native, tmp_path / "store"))
    strange_root(copy)
    with pytest.warns(ExtentsUnusable, match="cannot be compared with its data file"):
        store = open_store(copy)
    assert not store.has_extents
    key = store.keys("s2")[0]
    reads: list[Callable[[], object]] = [
        lambda: key in store,
        lambda: store.read(key),
        lambda: store.view(key, "B02"),
        lambda: index(copy),
    ]
    for read in reads:
        with pytest.raises(StoreDamaged, match=r"page \d+ is not what it should be"):
            read()
    assert "is not what it should be" in verify(copy, workers=0).text()


WITHOUT_DESCRIPTORS = """
import os, resource, sys, warnings
from patchpress import StoreUnreadable, open_store
import lmdb, pyarrow.parquet, pyarrow.compute
first = open_store(sys.argv[1])
keys, right = first.keys("s2"), first.read_batch(first.keys("s2")).tobytes()
del first
limit = 200
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
taken, refused, read = [], 0, 0
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for left in range(12):
    try:
        store = open_store(sys.argv[2])
        assert store.read_batch(store.keys("s2")).tobytes() == right
        store.view(keys[0], "B02")
        read += 1
    except StoreUnreadable as error:
        assert "no file descriptors left" in str(error) and "ulimit" in str(error), error
        refused += 1
    os.close(taken.pop())
print(refused > 0, read > 0)
"""


@pytest.mark.parametrize("with_extents", [True, False], ids=["extents", "bare"])
def test_too_few_file_descriptors_are_no_damage(
    native: Path, tmp_path: Path, with_extents: bool
) -> None:
    copy = Path(shutil.copytree(native, tmp_path / "store"))
    if not with_extents:
        (copy / EXTENTS).unlink()
    ended = python("-W", "error", "-c", WITHOUT_DESCRIPTORS, native, copy)
    assert ended.out == "True True\n", ended.err
