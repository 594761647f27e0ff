"""The extents beside a store: where its records lie, or a warning; never a wrong byte."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save

from patchpress import KeyMissing, Store, StoreDamaged, open_store
from patchpress.converter.storage.transactions import LMDB_09
from patchpress.readers.access.extents import UNKNOWN, Extents
from patchpress.readers.access.extents_file import load_extents, read_extents, write_extents
from patchpress.readers.access.scan import HEADERS_KEPT, HeaderList, build, scan
from patchpress.readers.errors import ExtentsUnusable
from patchpress.readers.format.manifest import EXTENTS
from patchpress.readers.format.record import encode, header_of
from tests.support.helpers import made, stored_values, write_sealed
from tests.support.synthetic import make_tree

DATA = ["data.mdb"]


def loaded(store: Path) -> Extents:
    extents, reason = read_extents(store, DATA)
    assert reason == ""
    assert extents is not None
    return extents


@pytest.fixture
def copy(native: Path, tmp_path: Path) -> Path:
    """A store to be damaged."""
    return Path(shutil.copytree(native, tmp_path / "store"))


def resized(store: Path) -> None:
    """Let the manifest know the new size of the data file."""
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["shards"][0]["bytes"] = (store / "data.mdb").stat().st_size
    write_sealed(store / "manifest.json", manifest)


def test_they_say_where_each_value_lies(stores: dict[tuple[str, str], Path]) -> None:
    for (_, codec), path in stores.items():
        extents, data = loaded(path), (path / "data.mdb").read_bytes()
        values = stored_values(path)
        assert [extents.key(position) for position in range(len(extents))] == list(values)
        for position, value in enumerate(values.values()):
            start, length = int(extents.offset[position]), int(extents.length[position])
            assert data[start : start + length] == value
            number = int(extents.header_number[position])
            if codec != "none":
                assert number == UNKNOWN
            else:
                assert extents.headers[number] == header_of(value)


def test_made_anew_they_are_those_that_converting_wrote(
    stores: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    for path in stores.values():
        write_extents(tmp_path, build(path, DATA))
        assert (tmp_path / EXTENTS).read_bytes() == (path / EXTENTS).read_bytes()


def written(store: Path) -> None:
    with (
        lmdb.open(str(store), map_size=1 << 28, **LMDB_09) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"A_new_one", b"value")
        transaction.delete(b"A_new_one")
        first = next(bytes(key) for key, _ in transaction.cursor())
        transaction.put(first, bytes(transaction.get(first) or b""))


def compacted(store: Path) -> None:
    (store / "other").mkdir()
    with lmdb.open(str(store), readonly=True, lock=False) as environment:
        environment.copy(str(store / "other"), compact=True)
    (store / "other" / "data.mdb").replace(store / "data.mdb")
    (store / "other").rmdir()


def grown(store: Path) -> None:
    with (store / "data.mdb").open("ab") as file:
        file.write(bytes(4096))


CHANGES: dict[str, Callable[[Path], None]] = {
    "written": written,
    "compacted": compacted,
    "grown": grown,
}


@pytest.mark.parametrize("change", CHANGES)
def test_of_a_changed_data_file_they_are_not_used(copy: Path, change: str) -> None:
    before = stored_values(copy)
    CHANGES[change](copy)
    resized(copy)
    assert stored_values(copy) == before
    with pytest.warns(ExtentsUnusable, match="another data.mdb.*patchpress index"):
        store = open_store(copy)
    assert not store.has_extents
    assert_right(store, before)


def assert_right(store: Store, values: dict[str, bytes]) -> None:
    """Records as the stored bytes say, by way of the bands alone and together."""
    keys = store.keys("s2")
    for key in keys[:3]:
        pixels = values[key]
        for band, array in store.read_bands(key).items():
            assert array.tobytes() in pixels, (key, band)
    batch = store.read_batch(keys)
    assert all((row == store.read(key)).all() for key, row in zip(keys, batch, strict=True))


@pytest.mark.parametrize("other", [("stacked", "none"), ("native", "zstd")], ids="-".join)
def test_of_another_data_file_they_are_not_used(
    stores: dict[tuple[str, str], Path], copy: Path, other: tuple[str, str]
) -> None:
    for name in ("data.mdb", "manifest.json", "metadata.parquet"):
        shutil.copyfile(stores[other] / name, copy / name)
    with pytest.warns(ExtentsUnusable, match="another data.mdb"):
        store = open_store(copy)
    key = store.keys("s2")[0]
    np.testing.assert_array_equal(store.read(key), open_store(stores[other]).read(key))


def test_of_a_data_file_with_other_patches_they_are_not_used(copy: Path, tmp_path: Path) -> None:
    make_tree(tmp_path / "tree", n=12, flagged=3, seed=9)
    made(tmp_path / "tree", tmp_path / "other", layout="native")
    shutil.copyfile(copy / EXTENTS, tmp_path / "other" / EXTENTS)
    with pytest.warns(ExtentsUnusable, match="another data.mdb"):
        open_store(tmp_path / "other")


def test_a_copy_of_the_data_file_has_the_same_extents(copy: Path) -> None:
    (copy / "data.mdb").rename(copy / "moved")
    shutil.copyfile(copy / "moved", copy / "data.mdb")
    assert open_store(copy).has_extents


def test_no_flipped_bit_goes_unseen(copy: Path) -> None:
    data = bytearray((copy / EXTENTS).read_bytes())
    draw = random.Random(2)  # noqa: S311
    header = len(header_of(bytes(data)))
    offsets = sorted({*range(0, header, 3), *draw.sample(range(header, len(data)), 700)})
    for offset in offsets:
        bit = 1 << draw.randrange(8)
        data[offset] ^= bit
        (copy / EXTENTS).write_bytes(data)
        extents, reason = read_extents(copy, DATA)
        assert extents is None, offset
        assert "extents.safetensors" in reason
        data[offset] ^= bit
    (copy / EXTENTS).write_bytes(data)
    assert loaded(copy)


def test_an_offset_that_leads_to_another_record_is_no_wrong_byte(copy: Path) -> None:
    """Records of one header whose offsets differ in one bit: their headers would not tell."""
    right = {key: open_store(copy).read(key) for key in open_store(copy).keys("map")}
    extents = loaded(copy)
    offset = extents.offset.copy()
    one, other = (extents.positions([key])[0] for key in list(right)[:2])
    offset[one] = offset[other]
    start = (copy / EXTENTS).read_bytes().index(extents.offset.tobytes())
    data = bytearray((copy / EXTENTS).read_bytes())
    data[start : start + offset.nbytes] = offset.tobytes()
    (copy / EXTENTS).write_bytes(data)
    with pytest.warns(ExtentsUnusable, match="checksum"):
        store = open_store(copy)
    for key, array in right.items():
        np.testing.assert_array_equal(store.read(key), array)


def test_a_cut_or_foreign_file_is_not_used(copy: Path) -> None:
    data = (copy / EXTENTS).read_bytes()
    parts = [data[:end] for end in (0, 7, 8, 100, len(data) // 2, len(data) - 1)]
    others = [data + b"\0", b"{}", bytes(1000), encode({"keys": np.zeros(3, np.uint8)})]
    for content in parts + others:
        (copy / EXTENTS).write_bytes(content)
        with pytest.warns(ExtentsUnusable):
            store = open_store(copy)
        assert not store.has_extents
    (copy / EXTENTS).unlink()
    (copy / EXTENTS).mkdir()
    with pytest.warns(ExtentsUnusable):
        open_store(copy)


def column_with(column: Any, value: int) -> Any:
    changed = column.copy()
    changed[3] = value
    return changed


LIES: dict[str, Callable[[Extents], Extents]] = {
    "an offset": lambda e: replace(e, offset=column_with(e.offset, 1 << 62)),
    "an offset that wraps": lambda e: replace(e, offset=column_with(e.offset, (1 << 64) - 5)),
    "a length": lambda e: replace(e, length=column_with(e.length, 1 << 40)),
    "a length of another header": lambda e: replace(
        e, length=column_with(e.length, int(e.length[3]) - 1)
    ),
    "a shard": lambda e: replace(e, shard=column_with(e.shard, 1)),
    "a form": lambda e: replace(e, header_number=column_with(e.header_number, 99)),
    "shorter": lambda e: replace(e, header_number=e.header_number[:-1]),
    "no files": lambda e: replace(e, files=()),
    "a file without a size": lambda e: replace(e, files=({"path": "data.mdb"},)),
}


@pytest.mark.parametrize("lie", LIES)
def test_positions_that_cannot_be_are_refused_whatever_the_checksum(copy: Path, lie: str) -> None:
    changed = LIES[lie](loaded(copy))
    (copy / EXTENTS).unlink()
    try:
        write_extents(copy, changed)
    except ValueError:  # it cannot even be written
        return
    extents, reason = read_extents(copy, DATA)
    assert extents is None
    assert reason


def test_a_record_longer_than_the_manifest_allows_is_refused(copy: Path) -> None:
    longest = int(loaded(copy).length.max())
    assert load_extents(copy, DATA, longest)[0] is not None
    assert load_extents(copy, DATA, longest // 2) == (
        None,
        f"{copy / EXTENTS} cannot be used (it names a record of more than {longest // 2:,} bytes)",
    )


def test_a_store_without_them_is_read_without_a_word(
    bare_stores: dict[tuple[str, str], Path],
) -> None:
    for path in bare_stores.values():
        assert read_extents(path, DATA) == (None, "")
        assert not open_store(path).has_extents


def test_a_file_that_is_cut_under_an_open_store_is_named(copy: Path) -> None:
    """Under a map the process would end."""
    store = open_store(copy)
    keys = store.keys("s2")
    known = store.read(keys[0])
    with (copy / EXTENTS).open("r+b") as file:
        file.truncate(100)
    np.testing.assert_array_equal(store.read(keys[0]), known)  # it was searched before
    for ask in (lambda: store.read(keys[1]), lambda: keys[1] in store, lambda: store.read("x")):
        with pytest.raises(StoreDamaged, match="it ended at byte .*: check its disk, and open"):
            ask()
    with pytest.warns(ExtentsUnusable):
        np.testing.assert_array_equal(open_store(copy).read(keys[0]), known)


STRANGE: list[Any] = ["", " ", "\0", "x" * 600, "\udc80", "é", None, 7, 1.5, b"bytes", (), [], {}]


def test_positions_of_odd_keys(copy: Path) -> None:
    extents = loaded(copy)
    names = list(stored_values(copy))
    strange = [*STRANGE, names[0] + "\0", names[0][:-1], names[0] + "x", names[0].encode()]
    for key in strange:
        assert extents.positions([key]) == [-1]
    mixed = [names[3], *strange, names[3], names[-1]]
    expected = [3, *[-1] * len(strange), 3, len(names) - 1]
    assert extents.positions(mixed) == expected == extents.positions(mixed)
    assert extents.positions([]) == []
    assert extents.positions(names) == list(range(len(names)))
    assert extents.positions(list(np.array(names))) == list(range(len(names)))


@pytest.mark.parametrize("key", [key for key in STRANGE if not isinstance(key, float)], ids=repr)
def test_a_key_that_is_none_is_missing(store: Store, key: Any) -> None:
    name = store.keys("s2")[0]
    for read in (store.read, store.view, store.modality_of, store.read_bands):
        with pytest.raises(KeyMissing):
            read(key)
    for keys in ([key], [name, key], [key, name]):
        with pytest.raises(KeyMissing):
            store.read_batch(keys)
        with pytest.raises(KeyMissing):
            store.records(keys)


def test_extents_of_nothing(tmp_path: Path) -> None:
    lmdb.open(str(tmp_path), **LMDB_09).close()
    write_extents(tmp_path, build(tmp_path, DATA))
    extents = loaded(tmp_path)
    assert len(extents) == 0
    assert extents.positions(["a", ""]) == [-1, -1]


def test_records_of_several_data_files_are_found_in_one_order(tmp_path: Path) -> None:
    shards = [f"shards/{number:05}/data.mdb" for number in range(3)]
    values = {f"key{number:03}": bytes([number]) * (50 * number + 1) for number in range(90)}
    for number, shard in enumerate(shards):
        folder = tmp_path / shard
        folder.parent.mkdir(parents=True)
        with (
            lmdb.open(str(folder.parent), **LMDB_09) as environment,
            environment.begin(write=True) as transaction,
        ):
            for key in list(values)[number::3]:
                transaction.put(key.encode(), values[key])
    write_extents(tmp_path, build(tmp_path, shards))
    extents, reason = read_extents(tmp_path, shards)
    assert (reason, extents is not None) == ("", True)
    assert extents is not None
    assert [extents.key(position) for position in range(len(extents))] == list(values)
    assert extents.shard.tolist() == [0, 1, 2] * 30
    for position, value in enumerate(values.values()):
        data = (tmp_path / shards[extents.shard[position]]).read_bytes()
        start = int(extents.offset[position])
        assert data[start : start + int(extents.length[position])] == value
    assert read_extents(tmp_path, shards[:2])[0] is None
    assert read_extents(tmp_path, shards[::-1])[0] is None


def test_a_key_with_a_zero_byte_at_its_end_is_no_name(tmp_path: Path) -> None:
    with (
        lmdb.open(str(tmp_path), **LMDB_09) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"key\0", b"value")
        transaction.put(b"other", b"value")
    found = scan(tmp_path / "data.mdb")
    assert (found.keys.tolist(), found.nameless) == ([b"other"], (b"key\0",))
    assert not len(found.without([b"other"]).keys)


def test_headers_are_noted_as_far_as_they_are_few() -> None:
    headers = HeaderList()
    records = [encode({"a": np.zeros(n, np.uint8)}) for n in range(1, HEADERS_KEPT + 11)]
    for record in [*records, *records]:
        headers.add(memoryview(record))
    column = headers.numbers.tolist()
    known = [*range(HEADERS_KEPT), *[UNKNOWN] * 10]
    assert column == known + known
    assert headers.known == tuple(header_of(record) for record in records[:HEADERS_KEPT])


def test_records_that_are_none_have_no_form() -> None:
    headers = HeaderList()
    whole = encode({"a": np.zeros(9, np.uint8)})
    for record in (whole, whole[:-1], whole + b"\0", b"", b"\x28\xb5\x2f\xfd", bytes(200)):
        headers.add(memoryview(record))
    assert headers.numbers.tolist() == [0, *[UNKNOWN] * 5]


def test_other_records_than_just_written_are_refused(native: Path) -> None:
    with pytest.raises(StoreDamaged, match="45 records, not the 0"):
        build(native, DATA, HeaderList())


def test_writing_is_whole_or_not_at_all(copy: Path) -> None:
    before = (copy / EXTENTS).read_bytes()
    broken = replace(loaded(copy), files=({"path": object()},))
    with pytest.raises(TypeError):
        write_extents(copy, broken)
    assert (copy / EXTENTS).read_bytes() == before
    assert not list(copy.glob("*.partial"))


def test_the_file_is_plain_safetensors(stores: dict[tuple[str, str], Path]) -> None:
    """By the library's own reader: the arrays that ours reads, and its notes."""
    for path in stores.values():
        extents = loaded(path)
        arrays = load_file(path / EXTENTS)
        assert arrays.keys() == {"keys", "offset", "length", "shard", "form"}
        width = extents.keys.dtype.itemsize
        assert arrays["keys"].shape == (len(extents), width)
        assert arrays["keys"].tobytes() == extents.keys.tobytes()
        for name in ("offset", "length", "shard"):
            np.testing.assert_array_equal(arrays[name], getattr(extents, name))
        np.testing.assert_array_equal(arrays["form"], extents.header_number)
        with safe_open(path / EXTENTS, framework="np") as file:
            notes = file.metadata()
        assert (notes["format"], notes["version"]) == ("patchpress-extents", "1")
        assert json.loads(notes["files"]) == [dict(entry) for entry in extents.files]


def test_its_bytes_are_those_that_safetensors_writes_but_for_the_order_of_the_notes(
    native: Path,
) -> None:
    ours = (native / EXTENTS).read_bytes()
    with safe_open(native / EXTENTS, framework="np") as file:
        theirs = save(load_file(native / EXTENTS), file.metadata())
    length = int.from_bytes(ours[:8], "little")
    assert theirs[:8] == ours[:8]
    assert theirs[8 + length :] == ours[8 + length :]
    one, other = (json.loads(data[8 : 8 + length]) for data in (ours, theirs))
    assert one == other
    assert list(one) == list(other)
