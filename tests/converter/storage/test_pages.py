"""Data files written in pages: LMDB reads them, copies them, and goes on with them."""

import os
import random
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpress.converter.encoding.frame import PAGE_BYTES, SMALLEST, frame_size, pages_of
from patchpress.converter.storage.pagedfile import PagedFile
from patchpress.converter.storage.pages import Pages, is_closed, put_head
from patchpress.readers.access.files import open_file
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.metapages import PAGE
from tests.support.helpers import framed

Items = list[tuple[bytes, bytes]]


def items_of(count: int, key_length: int, seed: int = 0) -> Items:
    """Ascending keys of one length, values of many."""
    draw = random.Random(seed)  # noqa: S311
    return [
        (b"%0*d" % (key_length, number), draw.randbytes(SMALLEST + draw.randrange(7000)))
        for number in range(count)
    ]


def write(folder: Path, items: Items, map_size: int = 1 << 30) -> Path:
    """The folder of a data file with these records, written in pages."""
    folder.mkdir()
    pages = Pages()
    with (folder / "data.mdb").open("wb") as file:

        def put(number: int, page: bytes | memoryview) -> None:
            file.seek(number * PAGE_BYTES)
            file.write(page)

        for key, value in items:
            number, leaf = pages.add(key, len(value))
            if leaf is not None:
                put(*leaf)
            frame = framed(memoryview(value))
            put_head(frame, number)
            put(number, frame)
        last, metas = pages.finish(map_size)
        for page in last:
            put(*page)
        put(0, metas)
    assert (folder / "data.mdb").stat().st_size == pages.end * PAGE_BYTES
    return folder


def opened(folder: Path, **options: bool) -> "lmdb.Environment":
    return lmdb.open(str(folder), lock=False, map_size=1 << 30, **options)


def by_lmdb(environment: "lmdb.Environment") -> Items:
    with environment.begin() as transaction:
        return [(bytes(key), bytes(value)) for key, value in transaction.cursor()]


# (records, bytes of a key): about as many as one leaf or one branch holds, for keys that are short,
# as long as usual, and the longest.
SHAPES = [
    *((count, 5) for count in (0, 1, 2, 3, 150, 151, 152, 153, 154)),
    *((count, 59) for count in (53, 54, 55, 56, 107, 108, 2_900)),
    *((count, 511) for count in (6, 7, 8, 9, 48, 49, 50, 51, 400)),
]


@pytest.mark.parametrize(("count", "key_length"), SHAPES)
def test_lmdb_reads_every_value(tmp_path: Path, count: int, key_length: int) -> None:
    items = items_of(count, key_length)
    folder = write(tmp_path / "a", items)
    with opened(folder, readonly=True) as environment:
        assert by_lmdb(environment) == items
        with environment.begin() as transaction:
            assert transaction.stat()["entries"] == count
            for key, value in items:
                assert transaction.get(key) == value
            assert transaction.get(b"~") is None


@pytest.mark.parametrize(("count", "key_length"), SHAPES)
def test_every_page_has_one_owner(tmp_path: Path, count: int, key_length: int) -> None:
    items = items_of(count, key_length)
    path = write(tmp_path / "a", items) / "data.mdb"
    data = memoryview(path.read_bytes())
    tree = Tree(data, path)
    found = [(v.key, bytes(data[v.offset : v.offset + v.length])) for v in tree.values()]
    assert found == items
    tree.check_pages()
    assert is_closed(path)


@pytest.mark.parametrize(("count", "key_length"), [s for s in SHAPES if s[0] > 2])
def test_a_compact_copy_by_lmdb_has_them_all(tmp_path: Path, count: int, key_length: int) -> None:
    """It refuses a file with pages that neither the tree nor a value has."""
    items = items_of(count, key_length)
    (tmp_path / "copy").mkdir()
    with opened(write(tmp_path / "a", items)) as environment:
        environment.copy(str(tmp_path / "copy"), compact=True)
    with opened(tmp_path / "copy", readonly=True) as environment:
        assert by_lmdb(environment) == items


@pytest.mark.parametrize(("count", "key_length"), [s for s in SHAPES if s[0] > 2])
def test_lmdb_goes_on_with_the_file(tmp_path: Path, count: int, key_length: int) -> None:
    """It changes, removes and adds values, and uses their pages again."""
    items = items_of(count, key_length)
    expected = dict(items)
    draw = random.Random(count)  # noqa: S311
    with opened(write(tmp_path / "a", items)) as environment:
        for _ in range(4):
            with environment.begin(write=True) as transaction:
                for key in draw.sample(sorted(expected), max(len(expected) // 4, 1)):
                    if draw.random() < 0.5:
                        assert transaction.delete(key)
                        del expected[key]
                    else:
                        expected[key] = draw.randbytes(draw.choice([10, 3000, 9000]))
                        transaction.put(key, expected[key])
                for _ in range(10):
                    key = b"%08x" % draw.getrandbits(32)
                    expected[key] = draw.randbytes(5000)
                    transaction.put(key, expected[key])
        assert by_lmdb(environment) == sorted(expected.items())
    path = tmp_path / "a" / "data.mdb"
    Tree(memoryview(path.read_bytes()), path).check_pages()


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("pages", [1, 2, 300])
def test_a_value_takes_the_pages_that_lmdb_gives_it(tmp_path: Path, pages: int, over: int) -> None:
    length = pages * PAGE_BYTES - 16 + over
    assert pages_of(length) == pages + (over > 0)
    assert frame_size(length) == pages_of(length) * PAGE_BYTES
    with (
        opened(tmp_path / "l", subdir=True) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"k", bytes(length))
        assert transaction.stat()["overflow_pages"] == pages_of(length)
    with (
        opened(write(tmp_path / "p", [(b"k", bytes(length))]), readonly=True) as environment,
        environment.begin() as transaction,
    ):
        assert transaction.stat()["overflow_pages"] == pages_of(length)


def test_lmdb_reads_values_whose_length_needs_more_than_two_bytes(tmp_path: Path) -> None:
    draw = random.Random(1)  # noqa: S311
    lengths = (1 << 16, 70_001, 140_003, (1 << 24) + 5)
    items = [(b"%d" % number, draw.randbytes(length)) for number, length in enumerate(lengths)]
    folder = write(tmp_path / "pages", items)
    with opened(folder, readonly=True) as environment:
        assert by_lmdb(environment) == items
    data = (folder / "data.mdb").read_bytes()
    values = Tree(memoryview(data), folder).values()
    assert [(v.key, data[v.offset : v.offset + v.length]) for v in values] == items


def test_the_statistics_are_those_of_lmdb(tmp_path: Path) -> None:
    items = items_of(2_900, 59)
    with opened(write(tmp_path / "a", items), readonly=True) as environment:
        mine = environment.stat()
    with opened(tmp_path / "b") as environment:
        with environment.begin(write=True) as transaction:
            for key, value in items:
                transaction.put(key, value, append=True)
        theirs = environment.stat()
    for what in ("psize", "depth", "entries", "overflow_pages", "leaf_pages"):
        assert mine[what] == theirs[what]


def test_values_under_the_smallest_would_lie_in_the_tree(tmp_path: Path) -> None:
    """`SMALLEST` is right: LMDB may keep smaller values in a leaf."""
    for length, pages in ((SMALLEST, 1), (2000, 0)):
        with (
            opened(tmp_path / str(length)) as environment,
            environment.begin(write=True) as transaction,
        ):
            transaction.put(b"k", bytes(length))
            assert transaction.stat()["overflow_pages"] == pages


def test_a_file_without_its_meta_pages_is_not_closed(tmp_path: Path) -> None:
    path = write(tmp_path / "a", items_of(60, 59)) / "data.mdb"
    whole = path.read_bytes()
    for lacking in (bytes(8192) + whole[8192:], whole[:4096] + bytes(4096) + whole[8192:],
                    bytes(4096) + whole[4096:], b""):  # fmt: skip
        (tmp_path / "b").write_bytes(lacking)
        assert not is_closed(tmp_path / "b")
    assert not is_closed(tmp_path / "absent")


@given(st.sets(st.binary(min_size=1, max_size=511), max_size=90), st.integers(0, 5000))
def test_any_keys_in_order(
    tmp_path_factory: pytest.TempPathFactory, keys: set[bytes], more: int
) -> None:
    items = [(key, key[:1] * (SMALLEST + more)) for key in sorted(keys)]
    folder = write(tmp_path_factory.mktemp("any") / "a", items)
    with opened(folder, readonly=True) as environment:
        assert by_lmdb(environment) == items


@pytest.mark.slow
def test_pages_beyond_64_thousand_are_found(tmp_path: Path) -> None:
    """Their numbers need more than two bytes: a file of 2.5 GB, holes all but for the tree."""
    keys = [b"%0400d" % number for number in range(64)]
    length, pages, expected = 40 << 20, Pages(), []
    path = tmp_path / "data.mdb"
    with path.open("wb") as file:

        def put(number: int, page: bytes) -> None:
            file.seek(number * PAGE_BYTES)
            file.write(page)

        for key in keys:
            number, leaf = pages.add(key, length)
            if leaf is not None:
                put(*leaf)
            expected.append((key, number * PAGE_BYTES + PAGE.size, length))
        last, metas = pages.finish(1 << 32)
        for page in last:
            put(*page)
        put(0, metas)
    assert pages.end > 10 << 16
    tree = Tree(open_file(path).pages, path)
    assert [(v.key, v.offset, v.length) for v in tree.values()] == expected
    assert [tree.find(key) for key in keys] == list(tree.values())
    with (
        lmdb.open(str(tmp_path), lock=False, readonly=True, map_size=1 << 32) as environment,
        environment.begin(buffers=True) as transaction,
    ):
        for key in keys:  # LMDB reads no pages of a value but its first
            found = transaction.get(key)
            assert found is not None
            assert len(found) == length


@pytest.mark.parametrize("durable", [True, False, None])
def test_a_data_file_is_on_the_disk_when_its_tree_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool | None
) -> None:
    flushed, real = [], os.fsync

    def fsync(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    pages = Pages()
    file = PagedFile(tmp_path / "data.mdb", pages)
    try:
        for key, value in items_of(20, 100):
            file.put(key, len(value), framed(memoryview(value)))
        options = {} if durable is None else {"durable": durable}
        file.close_tree(**options)
    finally:
        file.close()
    if durable is False:
        assert flushed == []
    else:
        assert flushed[-1] == pages.end * PAGE_BYTES == (tmp_path / "data.mdb").stat().st_size
