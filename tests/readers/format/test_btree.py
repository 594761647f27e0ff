"""Where the values lie in an LMDB data file, against what lmdb's own cursor gives."""

import random
import shutil
from contextlib import closing
from pathlib import Path
from struct import Struct
from typing import Any

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchpress import StoreDamaged
from patchpress.converter.storage.transactions import LMDB_09
from patchpress.readers.format.btree import Tree, _as_number

PAGE = 4096
META_AT = Struct("<16x24x48x40xQ")  # of a meta page: the page number of the root of the main tree
FREE_FLAGS = Struct("<H")
Records = dict[bytes, bytes]


def opened(folder: Path, **options: Any) -> Any:
    return closing(lmdb.open(str(folder), **({"map_size": 1 << 26} | LMDB_09 | options)))


def written(folder: Path, records: Records, *, commits: int = 1) -> Path:
    """The data file of a new environment with these records, in so many transactions."""
    pairs = list(records.items())
    with opened(folder) as environment:
        for number in range(commits):
            with environment.begin(write=True) as transaction:
                for key, value in pairs[number::commits]:
                    transaction.put(key, value)
    return folder / "data.mdb"


def by_cursor(folder: Path) -> list[tuple[bytes, bytes]]:
    with opened(folder) as environment, environment.begin() as transaction:
        return [(bytes(key), bytes(value)) for key, value in transaction.cursor()]


def tree_of(file: Path) -> Tree:
    return Tree(memoryview(file.read_bytes()), file)


def by_pages(file: Path) -> list[tuple[bytes, bytes]]:
    data = file.read_bytes()
    values = Tree(memoryview(data), file).values()
    return [(v.key, data[v.offset : v.offset + v.length]) for v in values]


def assert_same(folder: Path) -> None:
    """Every value where the cursor finds it, by walking and by searching."""
    expected = by_cursor(folder)
    file = folder / "data.mdb"
    assert by_pages(file) == expected
    tree = tree_of(file)
    assert tree.entries == len(expected)
    there = {value.key: value for value in tree.values()}
    for key in [key for key, _ in expected][:: max(len(expected) // 50, 1)]:
        assert tree.find(key) == there[key]
        for stranger in (key + b"\0", key[:-1], key[:-1] + bytes([key[-1] ^ 1])):
            assert tree.find(stranger) == there.get(stranger)
    assert tree.find(b"") is None
    assert tree.find(b"\xff" * 600) is None


def values_of(sizes: list[int], width: int = 8) -> Records:
    draw = random.Random(3)  # noqa: S311
    return {
        f"{number:0{width}}".encode(): draw.randbytes(size) for number, size in enumerate(sizes)
    }


SHAPES: dict[str, Records] = {
    "nothing": {},
    "one key": {b"k": b"v"},
    "an empty value": {b"k": b"", b"l": b"x"},
    "one big value": {b"k": bytes(100_000)},
    "keys of every length": {b"k" * n: str(n).encode() for n in range(1, 512)},
    "values inside of their pages": values_of([n % 1500 for n in range(400)]),
    "values at the edge of a page": values_of(list(range(1980, 2060)) + list(range(4040, 4120))),
    "big values": values_of([5_000 + 611 * n for n in range(40)]),
    "two levels": values_of([40] * 300),
    "three levels": values_of([4] * 900, width=200),
    "four levels": values_of([4] * 2000, width=500),
    "bytes of every kind": {bytes([a, b]): bytes([b]) for a in range(256) for b in (0, 1, 255)},
}


MIXED = values_of([n * 97 % 7000 for n in range(120)], width=120)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("commits", [1, 7])
def test_every_value_lies_where_the_cursor_finds_it(
    tmp_path: Path, shape: str, commits: int
) -> None:
    written(tmp_path, SHAPES[shape], commits=commits)
    assert_same(tmp_path)


def test_the_shapes_have_the_levels_they_claim(tmp_path: Path) -> None:
    for levels, shape in ((2, "two levels"), (3, "three levels"), (4, "four levels")):
        written(tmp_path / shape, SHAPES[shape])
        with opened(tmp_path / shape) as environment:
            assert environment.stat()["depth"] == levels


def test_each_transaction_is_seen_by_its_own_meta_page(tmp_path: Path) -> None:
    identities = []
    for number in range(6):
        written(tmp_path, {f"k{number}".encode(): bytes(number * 900)})
        assert_same(tmp_path)
        assert tree_of(tmp_path / "data.mdb").transaction == number + 1
        identities.append(tree_of(tmp_path / "data.mdb").identity())
    assert len(set(identities)) == 6


def test_deleted_and_replaced_records_leave_no_trace(tmp_path: Path) -> None:
    records = values_of([n * 37 % 9000 for n in range(300)])
    written(tmp_path, records, commits=5)
    for step in range(4):
        with opened(tmp_path) as environment, environment.begin(write=True) as transaction:
            for number, key in enumerate(records):
                if number % 5 == step:
                    transaction.delete(key)
                elif number % 7 == step:
                    transaction.put(key, b"new" * (number + step))
        assert_same(tmp_path)
    with opened(tmp_path) as environment, environment.begin(write=True) as transaction:
        for key in records:
            transaction.delete(key)
    assert_same(tmp_path)
    assert by_pages(tmp_path / "data.mdb") == []


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("shape", ["nothing", "big values", "four levels"])
def test_a_copied_environment_is_read(tmp_path: Path, compact: bool, shape: str) -> None:
    written(tmp_path / "one", SHAPES[shape], commits=3)
    (tmp_path / "two").mkdir()
    with opened(tmp_path / "one") as environment:
        environment.copy(str(tmp_path / "two"), compact=compact)
    assert_same(tmp_path / "two")
    assert by_cursor(tmp_path / "two") == by_cursor(tmp_path / "one")


def test_a_sparse_file_as_long_as_its_map_is_read(tmp_path: Path) -> None:
    with opened(tmp_path, writemap=True) as environment, environment.begin(write=True) as t:
        for key, value in SHAPES["big values"].items():
            t.put(key, value)
    assert (tmp_path / "data.mdb").stat().st_size == 1 << 26
    assert_same(tmp_path)


@settings(max_examples=60)
@given(
    st.dictionaries(st.binary(min_size=1, max_size=60), st.binary(max_size=3000), max_size=40),
    st.integers(1, 4),
    st.sets(st.integers(0, 39)),
)
def test_any_records_are_found(
    tmp_path_factory: pytest.TempPathFactory, records: Records, commits: int, gone: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    written(folder, records, commits=commits)
    with opened(folder) as environment, environment.begin(write=True) as transaction:
        for number, key in enumerate(records):
            if number in gone:
                transaction.delete(key)
    assert_same(folder)
    shutil.rmtree(folder)


def test_a_named_database_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path, max_dbs=1) as environment:
        environment.open_db(b"inner", dupsort=True)
    with pytest.raises(StoreDamaged, match="named databases"):
        by_pages(tmp_path / "data.mdb")


@pytest.mark.parametrize("flags", [0x02, 0x04, 0x08], ids=["backwards", "duplicates", "numbers"])
def test_a_database_of_other_keys_is_refused(tmp_path: Path, flags: int) -> None:
    """MDB_REVERSEKEY, MDB_DUPSORT, MDB_INTEGERKEY: py-lmdb cannot set them on the main database."""
    data = bytearray(written(tmp_path, MIXED).read_bytes())
    for start in (0, PAGE):
        data[start + 16 + 24 + 48 + 4] |= flags
    with pytest.raises(StoreDamaged, match="not plain"):
        Tree(memoryview(data), tmp_path / "data.mdb")


@pytest.mark.slow
@given(st.binary(max_size=300) | st.binary(min_size=8192, max_size=8300))
def test_any_bytes_are_no_data_file(data: bytes) -> None:
    with pytest.raises(StoreDamaged):
        Tree(memoryview(data), Path("data.mdb"))


def outcome(data: bytes) -> list[tuple[bytes, bytes]] | None:
    """What is read, all of it inside of the file; None for StoreDamaged; nothing else."""
    try:
        tree = Tree(memoryview(data), Path("data.mdb"))
        tree.identity()
        values = list(tree.values())
        for key in MIXED:
            tree.find(key)
    except StoreDamaged as error:
        assert "\n" not in str(error)
        return None
    assert all(value.offset + value.length <= len(data) for value in values)
    return [(v.key, data[v.offset : v.offset + v.length]) for v in values]


def test_a_file_cut_at_any_page_is_damaged_or_whole(tmp_path: Path) -> None:
    file = written(tmp_path, MIXED, commits=4)
    data, right = file.read_bytes(), by_cursor(tmp_path)
    found = [outcome(data[:end]) for end in range(0, len(data), PAGE)]
    assert all(each in (None, right) for each in found)
    assert found[0] is found[1] is found[2] is None
    for end in (1, 100, PAGE - 1, PAGE + 100, len(data) - 1, len(data) - PAGE - 1):
        assert outcome(data[:end]) in (None, right)


def tree_pages(data: bytes) -> list[int]:
    """First bytes of the pages of branches and leaves, also of those that are free."""
    header = Struct("<QHH")
    found = []
    for start in range(2 * PAGE, len(data), PAGE):
        number, _, flags = header.unpack_from(data, start)
        if number == start // PAGE and flags in (1, 2):
            found.append(start)
    return found


@pytest.mark.slow
def test_flipped_bits_are_damage_or_the_answer_and_never_an_end_without_word(
    tmp_path: Path,
) -> None:
    file = written(tmp_path, MIXED, commits=4)
    data = file.read_bytes()
    # The headers of meta and tree pages wholly, then bytes all over them by chance.
    offsets = [start + at for start in (0, PAGE) for at in range(8, 160)]
    pages = tree_pages(data)
    assert len(pages) > 3
    offsets += [start + at for start in pages[:6] for at in range(16)]
    draw = random.Random(5)  # noqa: S311
    offsets += [draw.choice(pages) + draw.randrange(PAGE) for _ in range(600)]
    copy = bytearray(data)
    damaged = 0
    for offset in offsets:
        bit = 1 << draw.randrange(8)
        copy[offset] ^= bit
        damaged += outcome(bytes(copy)) is None
        copy[offset] ^= bit
    assert damaged > 100
    assert bytes(copy) == data


def test_a_page_that_is_its_own_child_has_an_end(tmp_path: Path) -> None:
    file = written(tmp_path, SHAPES["four levels"])
    data = bytearray(file.read_bytes())
    tree = Tree(memoryview(bytes(data)), file)
    root = next(p // PAGE for p in tree_pages(bytes(data)) if tree._root == p // PAGE)
    start = root * PAGE
    (lower,) = Struct("<H").unpack_from(data, start + 12)
    for index in range((lower - 16) // 2):
        (node,) = Struct("<H").unpack_from(data, start + 16 + 2 * index)
        Struct("<HHH").pack_into(data, start + node, root & 0xFFFF, root >> 16, 0)
    changed = Tree(memoryview(bytes(data)), file)
    with pytest.raises(StoreDamaged):
        list(changed.values())
    with pytest.raises(StoreDamaged):
        changed.find(b"0")


@pytest.mark.parametrize("more", [1, 7, 60_000])
def test_a_tree_that_is_said_to_be_deeper_than_it_is(tmp_path: Path, more: int) -> None:
    file = written(tmp_path, MIXED)
    data = bytearray(file.read_bytes())
    for page in (0, 1):
        at = page * PAGE + 16 + 24 + 48 + 6  # the depth of the main tree
        depth = int.from_bytes(data[at : at + 2], "little")
        data[at : at + 2] = (depth + more).to_bytes(2, "little")
    tree = Tree(memoryview(bytes(data)), file)
    for look in (lambda: tree.find(next(iter(MIXED))), lambda: list(tree.values())):
        with pytest.raises(StoreDamaged, match="depth|not what it should be"):
            look()


def test_many_keys_of_one_large_value_are_damage(tmp_path: Path) -> None:
    """Else a copy of a small file would take as much as all of them together."""
    names = [f"{number:02}".encode() for number in range(20)]
    file = written(tmp_path, {name: bytes(20_000) for name in names})
    data = bytearray(file.read_bytes())
    first = b""
    for name in names:
        at = data.rindex(b"\x01\0\x02\0" + name)  # flags of a big value, a key of two bytes
        first = first or bytes(data[at + 6 : at + 14])  # the page where the value begins
        data[at + 6 : at + 14] = first
    tree = Tree(memoryview(bytes(data[: 30 * PAGE])), file)
    with pytest.raises(StoreDamaged, match="its records together are larger than the file"):
        list(tree.values())


def free_lists(folder: Path) -> None:
    """Records that come and go, so that there are free pages, and pages that were freed twice."""
    draw = random.Random(5)  # noqa: S311
    written(folder, {f"{n:04}".encode(): draw.randbytes(n * 37 % 9000) for n in range(300)})
    with opened(folder) as environment:
        for number in range(40):
            with environment.begin(write=True) as transaction:
                for _ in range(5):
                    transaction.delete(f"{draw.randrange(300):04}".encode())
                transaction.put(f"{number * 7:04}".encode(), draw.randbytes(number * 411))


@pytest.mark.parametrize("shape", SHAPES)
def test_pages_of_a_sound_file_have_one_owner(tmp_path: Path, shape: str) -> None:
    tree_of(written(tmp_path, SHAPES[shape], commits=7)).check_pages()


def test_every_page_of_a_file_has_an_owner(tmp_path: Path) -> None:
    free_lists(tmp_path)
    tree_of(tmp_path / "data.mdb").check_pages()


def test_a_lost_page_of_a_tree_is_found(tmp_path: Path) -> None:
    """Of that of the free pages, too, which reading records never sees."""
    free_lists(tmp_path)
    data = (tmp_path / "data.mdb").read_bytes()
    keys = [key for key, _ in by_pages(tmp_path / "data.mdb")]
    unseen = 0
    for offset in range(2 * PAGE, len(data), PAGE):
        lost = data[:offset] + bytes(PAGE) + data[offset + PAGE :]
        tree = Tree(memoryview(lost), tmp_path)
        try:
            found = [value.key for value in tree.values()]
        except StoreDamaged:
            continue
        assert found == keys
        try:
            tree.check_pages()
        except StoreDamaged:
            unseen += 1
    assert unseen >= 2


def test_a_page_with_two_owners_is_found(tmp_path: Path) -> None:
    free_lists(tmp_path)
    data = bytearray((tmp_path / "data.mdb").read_bytes())
    tree = tree_of(tmp_path / "data.mdb")
    (value,) = [v for v in tree.values() if v.length > PAGE][:1]
    taken = (value.offset // PAGE).to_bytes(8, "little")
    lists = [
        tree._value(page.bytes, page.number, node)
        for page in tree._pages(tree._newest.free, _as_number)
        if page.is_leaf
        for node in page.nodes
    ]
    lists = [one for one in lists if one.length > 8]
    data[lists[0].offset + 8 : lists[0].offset + 16] = taken
    with pytest.raises(StoreDamaged, match="is used twice"):
        Tree(memoryview(bytes(data)), tmp_path).check_pages()


def test_each_meta_page_and_the_root_are_of_the_identity(tmp_path: Path) -> None:
    """A store's extents belong to one data file: whatever wrote another one changed one of them."""
    file = written(tmp_path, MIXED, commits=2)
    data = file.read_bytes()
    first = tree_of(file).identity()
    root = META_AT.unpack_from(data, PAGE * (tree_of(file).transaction % 2))[0]
    for place in (PAGE - 1, 2 * PAGE - 1, (root + 1) * PAGE - 1):
        changed = bytearray(data)
        changed[place] ^= 1  # the end of the page: nothing is there that is looked at
        assert Tree(memoryview(bytes(changed)), file).identity() != first


@pytest.mark.parametrize("flags", [0x00, 0x0C, 0x18])
def test_lists_of_free_pages_must_be_of_numbers(tmp_path: Path, flags: int) -> None:
    file = written(tmp_path, MIXED)
    changed = bytearray(file.read_bytes())
    for page in (0, 1):
        FREE_FLAGS.pack_into(changed, page * PAGE + 16 + 24 + 4, flags)
    with pytest.raises(StoreDamaged, match="say of the free pages what cannot be"):
        Tree(memoryview(bytes(changed)), file).check_pages()


@pytest.mark.parametrize("more", range(2, 9))
def test_the_page_number_of_a_big_value_lies_inside_its_page(tmp_path: Path, more: int) -> None:
    file = written(tmp_path, {b"k": bytes(100_000)})
    data = bytearray(file.read_bytes())
    place = data.rindex(b"\x01\0\x01\0k")  # flags of a big value, a key of one byte
    assert place % PAGE + 5 + 8 in (PAGE, PAGE - 1)  # the last thing of its page, but for padding
    data[place + 2] += more
    with pytest.raises(StoreDamaged, match="beyond its page"):
        list(Tree(memoryview(bytes(data)), file).values())


@pytest.mark.parametrize("more", [1, 2, 3, 1 << 40])
def test_a_list_of_free_pages_that_is_cut_is_found(tmp_path: Path, more: int) -> None:
    file = written(tmp_path, MIXED, commits=3)
    tree = tree_of(file)
    (page, *_) = tree._pages(tree._newest.free, _as_number)
    value = tree._value(page.bytes, page.number, page.nodes[-1])
    data = bytearray(file.read_bytes())
    count = int.from_bytes(data[value.offset : value.offset + 8], "little")
    assert value.length == 8 * (count + 1)
    data[value.offset : value.offset + 8] = (count + more).to_bytes(8, "little")
    with pytest.raises(StoreDamaged, match="a list of its free pages is cut"):
        Tree(memoryview(bytes(data)), file).check_pages()


def test_neighbours_in_a_deep_tree(tmp_path: Path) -> None:
    """Long keys: seven of them to a page, so that there are branches of branches of branches."""
    names = [f"{number:0450}".encode() for number in range(0, 1_400, 2)]
    file = written(tmp_path, dict.fromkeys(names, b"v"))
    with opened(tmp_path) as environment:
        assert environment.stat()["depth"] >= 4
    tree = tree_of(file)
    for number in (-1, *range(0, 1_400, 37), 1_399, 5_000):
        key = f"{number:0450}".encode() if number >= 0 else b"-"
        wanted = [name for name in names if name >= key], [name for name in names if name < key]
        for count in (0, 1, 20):
            assert tree.near(key, count) == [*wanted[0][:count], *wanted[1][::-1][:count]]
        found = tree.find(key)
        assert (found is not None) == (key in names)


def test_pages_that_are_promised_have_a_limit(tmp_path: Path) -> None:
    """Free pages may lie beyond the end, but who counts pages takes memory for each of them."""
    data = bytearray(written(tmp_path, values_of([3000] * 20)).read_bytes())
    pages = len(data) // PAGE
    most = 2 * pages + (1 << 20)
    for meta in (0, PAGE):
        last = int.from_bytes(data[meta + 136 : meta + 144], "little")
        assert 2 <= last + 1 <= pages
    for promised, taken in ((most, True), (most + 1, False), (1 << 62, False)):
        for meta in (0, PAGE):
            data[meta + 136 : meta + 144] = promised.to_bytes(8, "little")
        tree = Tree(memoryview(bytes(data)), tmp_path)
        if taken:
            tree.check_pages()
            continue
        with pytest.raises(StoreDamaged, match=f"it promises {promised + 1:,} pages, and"):
            tree.check_pages()


def test_a_value_that_reaches_beyond_its_page_is_damage(tmp_path: Path) -> None:
    """By one byte and by many: the bytes after a page are another page's."""
    data = bytearray(written(tmp_path, {b"key": b"v" * 51}).read_bytes())
    at = data.rindex(b"key")
    room = PAGE - (at + len(b"key")) % PAGE
    assert 51 <= room <= 52
    data += bytes(64 * PAGE)  # the file goes on

    def of_size(size: int) -> Tree:
        data[at - 8 : at - 4] = size.to_bytes(4, "little")
        return Tree(memoryview(bytes(data)), tmp_path)

    for size in (0, 1, room):
        assert [value.length for value in of_size(size).values()] == [size]
    for size in (*range(room + 1, room + 300), 4096, 65_535, 1 << 31):
        for ask in (lambda tree: list(tree.values()), lambda tree: tree.find(b"key")):
            with pytest.raises(StoreDamaged, match="record b'key' reaches beyond its page"):
                ask(of_size(size))
