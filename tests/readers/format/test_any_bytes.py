"""Whatever bytes the files of a store have: what is read is right, or a documented error comes.

Two kinds of bytes: real ones with some changes, with the checksum or digest that is right for them
where the parser compares one, and any at all.
"""

import hashlib
import io
import json
import shutil
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from patchpress import Store, StoreDamaged, open_store, stats
from patchpress.converter.storage.transactions import LMDB_09
from patchpress.readers.access import extents_file as extents_module
from patchpress.readers.access.extents_file import read_extents
from patchpress.readers.errors import FormatUnknown, OptionError, StatisticsStale, StoreError
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.compression import NONE, Decompressor, codec_of
from patchpress.readers.format.manifest import EXTENTS, METADATA, Manifest, read_manifest
from patchpress.readers.format.record import encode, form_in
from patchpress.readers.format.table import read_table
from patchpress.readers.statistics_file import from_bytes

ANY = st.binary(max_size=300)
# A place in the file as a share of it, how many bytes are taken out there, and what is put in.
CHANGES = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 8), st.binary(max_size=8)), min_size=1, max_size=4
)
Changes = list[tuple[float, int, bytes]]
UNHELPFUL = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
again = settings(max_examples=150, suppress_health_check=UNHELPFUL)


def changed(data: bytes, changes: Changes) -> bytes:
    for share, gone, put in changes:
        at = int(share * len(data))
        data = data[:at] + put + data[at + gone :]
    return data


def is_one_sentence(error: Exception) -> None:
    assert str(error)
    assert "\n" not in str(error)


RECORDS = [
    encode({"s2": np.arange(24, dtype=np.uint16).reshape(2, 3, 4)}, {"bands": "a,b"}),
    encode({"B02": np.ones((5, 5), np.float32), "B01": np.zeros((2, 2), np.float32)}),
    encode({}),
]


@again
@given(st.sampled_from(RECORDS), CHANGES, ANY)
def test_records(record: bytes, changes: Changes, other: bytes) -> None:
    for data in (changed(record, changes), other, record[:20] + other):
        try:
            form = form_in(data)
        except StoreDamaged as error:
            is_one_sentence(error)
            continue
        assert form.size == len(data)
        for tensor in form.tensors:
            assert form.array(data, tensor).nbytes == tensor.nbytes


@again
@given(st.sampled_from(RECORDS), CHANGES, ANY, st.integers(0, 400))
def test_compressed_records(record: bytes, changes: Changes, other: bytes, limit: int) -> None:
    import zstandard

    frame = zstandard.ZstdCompressor(write_checksum=True).compress(record)
    for data in (frame, changed(frame, changes), other, frame[:4] + other):
        try:
            found = Decompressor(limit)(data)
        except StoreDamaged as error:
            is_one_sentence(error)
            continue
        if codec_of(data) == NONE:  # a value that is not compressed is the record
            assert found == data
        else:
            assert len(found) <= limit


def test_a_frame_that_promises_more_than_a_record_takes_no_memory() -> None:
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(bytes(64 << 20))
    assert len(bomb) < 10_000
    with pytest.raises(StoreDamaged, match="it promises 67,108,864 bytes, not 1,000"):
        Decompressor(1000)(bomb)


@pytest.fixture(scope="module")
def tree_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A data file of two levels, with large values, written in several transactions."""
    folder = tmp_path_factory.mktemp("tree")
    with lmdb.open(str(folder), map_size=1 << 24, **LMDB_09) as environment:
        for step in range(3):
            with environment.begin(write=True) as transaction:
                for number in range(step, 150, 3):
                    transaction.put(f"key{number:03}".encode(), bytes(number * 61 % 5000))
    return (folder / "data.mdb").read_bytes()


@again
@given(CHANGES, ANY, st.sampled_from([0, 4096, 8192]))
def test_data_files(tree_file: bytes, changes: Changes, other: bytes, start: int) -> None:
    keys = [f"key{number:03}".encode() for number in range(0, 151, 10)]
    same = changed(tree_file, changes)
    shifted = tree_file[:start] + changed(tree_file[start : start + 4096], changes)[:4096]
    for data in (same, shifted.ljust(start + 4096, b"\0") + tree_file[start + 4096 :], other):
        for call in (
            lambda tree: list(tree.values()),
            lambda tree: [tree.find(key) for key in keys],
            lambda tree: tree.near(b"key07", 20) and None,
            lambda tree: tree.check_pages(),
        ):
            try:
                values = call(Tree(memoryview(data), Path("data.mdb")))
            except (StoreDamaged, FormatUnknown) as error:
                is_one_sentence(error)
                continue
            for value in values or ():
                assert value is None or value.offset + value.length <= len(data)


@given(
    st.dictionaries(st.binary(min_size=1, max_size=500), st.integers(0, 9000), max_size=60),
    st.lists(st.binary(min_size=1, max_size=511), max_size=5),
    st.integers(1, 4),
)
@settings(max_examples=60)
def test_lmdb_and_our_own_reader_agree(
    tmp_path_factory: pytest.TempPathFactory,
    records: dict[bytes, int],
    strangers: list[bytes],
    commits: int,
) -> None:
    """Every key, value and neighbour, of trees of up to three levels and values of every size."""
    folder = tmp_path_factory.mktemp("agree")
    with lmdb.open(str(folder), map_size=1 << 26, **LMDB_09) as environment:
        for step in range(commits):
            with environment.begin(write=True) as transaction:
                for key, size in list(records.items())[step::commits]:
                    transaction.put(key, key[:1] * size)
        with environment.begin(write=True) as transaction:
            for key in list(records)[::5]:
                transaction.delete(key)
        data = (folder / "data.mdb").read_bytes()
        tree = Tree(memoryview(data), folder)
        tree.check_pages()
        with environment.begin() as transaction:
            for key in [*records, *strangers]:
                value, found = transaction.get(key), tree.find(key)
                assert (found is None) == (value is None)
                if found is not None:
                    assert data[found.offset : found.offset + found.length] == value
            cursor = transaction.cursor()
            for key in strangers:
                from_it = []
                if cursor.set_range(key):
                    from_it = [bytes(k) for k in cursor.iternext(values=False)][:3]
                before = [k for k in sorted(set(records) - set(list(records)[::5])) if k < key]
                assert tree.near(key, 3) == [*from_it, *before[::-1][:3]]
    shutil.rmtree(folder)


@again
@given(CHANGES, ANY, st.booleans())
def test_extents(
    stacked: Path, tmp_path: Path, changes: Changes, other: bytes, resealed: bool
) -> None:
    """Also with the checksum that is right for them, as a stranger may write it."""
    shards = ["data.mdb"]
    store = tmp_path / "store"
    if not store.exists():
        shutil.copytree(stacked, store)
    real = (stacked / EXTENTS).read_bytes()
    header = int.from_bytes(real[:8], "little") + 8
    for data in (changed(real, changes), real[:header] + changed(real[header:], changes), other):
        (store / EXTENTS).unlink()
        (store / EXTENTS).write_bytes(with_checksum(data) if resealed else data)
        found, reason = read_extents(store, shards)
        assert (found is None) == bool(reason)
        if found is not None:
            ends = found.offset + found.length
            assert int(ends.max()) <= (store / "data.mdb").stat().st_size
            with_extents = open_store(store, checksums=True)
            assert_right(with_extents, open_store(stacked))


def with_checksum(data: bytes) -> bytes:
    """The file with the CRC-32 of its content, if it is still a safetensors file."""
    try:
        form = form_in(data)
        files, forms = json.loads(form.metadata["files"]), json.loads(form.metadata["forms"])
        crc = zlib.crc32(json.dumps(files).encode())
        for part in (*(text.encode("latin-1") for text in forms), data[len(form.header) :]):
            crc = zlib.crc32(part, crc)
        return data.replace(form.metadata["crc32"].encode(), f"{crc:08x}".encode(), 1)
    except (StoreDamaged, ValueError, KeyError, TypeError, AttributeError):
        return data


def assert_right(store: Store, expected: Store) -> None:
    for key in expected.keys()[:3]:
        try:
            found = store.read(key)
        except StoreError as error:
            is_one_sentence(error)
            continue
        np.testing.assert_array_equal(found, expected.read(key))


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@again
@given(CHANGES, ANY)
def test_tables(stacked: Path, tmp_path: Path, changes: Changes, other: bytes) -> None:
    """With the digest that is right for them."""
    real, manifest = (stacked / METADATA).read_bytes(), read_manifest(stacked)
    for data in (changed(real, changes), real[:-200] + changed(real[-200:], changes), other):
        (tmp_path / METADATA).write_bytes(data)
        try:
            table = read_table(tmp_path, replace(manifest, metadata_digest=digest_of(data)))
        except StoreDamaged as error:
            is_one_sentence(error)
            continue
        assert len(table) == manifest.rows


def table_of(stacked: Path, tmp_path: Path, edit: Any) -> tuple[Path, Manifest]:
    """A table that was changed, and a manifest that says that it is the right one."""
    pq.write_table(edit(pq.read_table(stacked / METADATA)), tmp_path / METADATA)
    digest = digest_of((tmp_path / METADATA).read_bytes())
    return tmp_path, replace(read_manifest(stacked), metadata_digest=digest)


def column(name: str, values: Any) -> Any:
    return lambda t: t.set_column(t.column_names.index(name), name, pa.array(values(len(t))))


TABLES = {
    "no column that says what is there": (
        lambda t: t.drop_columns("has_s2"), "it has no column 'has_s2'",
    ),
    "a struct": (
        column("has_s2", lambda n: [{"a": 1}] * n), "its column 'has_s2' must be bool, not struct",
    ),
    "text of numbers": (
        column("patch_id", lambda n: list(range(n))), "'patch_id' must be text, not int64",
    ),
    "flags of text": (
        column("contains_seasonal_snow", lambda n: ["no"] * n), "snow' must be bool, not string",
    ),
    "a column twice": (
        lambda t: t.append_column("split", t["split"]), "has a column 'split' twice",
    ),
    "a row more": (
        lambda t: pa.concat_tables([t, t.slice(0, 1)]), "16 rows where the manifest counts 15",
    ),
    "no row": (lambda t: t.slice(0, 0), "0 rows where the manifest counts 15"),
    "no column": (lambda t: t.select([]), "0 rows where the manifest counts 15"),
}  # fmt: skip


@pytest.mark.parametrize("edit", TABLES)
def test_tables_of_another_kind_are_told_by_their_column(
    stacked: Path, tmp_path: Path, edit: str
) -> None:
    do, sentence = TABLES[edit]
    folder, manifest = table_of(stacked, tmp_path, do)
    with pytest.raises(StoreDamaged, match=sentence) as raised:
        read_table(folder, manifest, "train", None, "s2")
    is_one_sentence(raised.value)
    with pytest.raises(OptionError, match="no column 'countri'; nearest is 'country'"):
        read_table(stacked, read_manifest(stacked), None, ["countri"])


def test_a_table_that_unfolds_to_millions_of_rows_is_not_unfolded(
    stacked: Path, tmp_path: Path
) -> None:
    folder, manifest = table_of(
        stacked, tmp_path, lambda t: pa.table({"a": pa.nulls(20_000_000, pa.int8())})
    )
    assert (tmp_path / METADATA).stat().st_size < 1 << 20
    with pytest.raises(StoreDamaged, match="20,000,000 rows where the manifest counts 15"):
        read_table(folder, manifest)
    wide = io.BytesIO()
    pq.write_table(pa.table({"a": ["x" * 6_000_000] * 15}), wide, use_dictionary=False,
                   compression="zstd")  # fmt: skip
    (tmp_path / METADATA).write_bytes(wide.getvalue())
    manifest = replace(manifest, metadata_digest=digest_of(wide.getvalue()))
    with pytest.raises(StoreDamaged, match=r"unfolds to 90,\d+,\d+ bytes of 15 rows"):
        read_table(folder, manifest)


def test_a_value_that_many_rows_share_is_not_unfolded(stacked: Path, tmp_path: Path) -> None:
    numbers = pa.array([0] * 15, pa.int32())
    folder, manifest = table_of(
        stacked,
        tmp_path,
        lambda t: t.append_column("a", pa.DictionaryArray.from_arrays(numbers, ["x" * 20_000_000])),
    )
    assert (tmp_path / METADATA).stat().st_size < 2 << 20
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(StoreDamaged, match=r"unfolds to \d+,\d+,\d+ bytes or more of 15 rows"):
        read_table(folder, manifest)
    assert pa.default_memory_pool().max_memory() - before < 100 << 20
    assert read_table(folder, manifest, "train", ["patch_id"]).num_rows  # without that column


@pytest.fixture(scope="module")
def counted(
    stores: dict[tuple[str, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[bytes, Manifest]:
    """The bytes of statistics.json, and the manifest beside it."""
    store = stores["stacked", "none"]
    file = tmp_path_factory.mktemp("statistics") / "statistics.json"
    stats(store, "train", out=file, workers=0)
    return file.read_bytes(), read_manifest(store)


def sealed(text: bytes) -> bytes:
    head = text + b",\n"
    return head + f' "digest": "{digest_of(head)}"\n}}\n'.encode()


@again
@given(CHANGES, ANY)
def test_statistics(counted: tuple[bytes, Manifest], changes: Changes, other: bytes) -> None:
    real, manifest = counted
    text = b"\n".join(real.split(b"\n")[:-3]).removesuffix(b",")
    assert sealed(text) == real
    for data in (changed(real, changes), sealed(changed(text, changes)), other, sealed(other)):
        try:
            entries = from_bytes(data, manifest, Path("statistics.json"), "stats")
        except (StoreDamaged, StatisticsStale) as error:
            is_one_sentence(error)
            continue
        for entry in entries.values():
            assert entry.band_names == manifest.modalities[entry.modality].band_names
            assert np.isfinite(entry.mean(dtype=float)).all() or len(changes)


def test_no_flipped_bit_of_statistics_goes_unnoticed(counted: tuple[bytes, Manifest]) -> None:
    real, manifest = counted
    for at in range(0, len(real), 17):
        data = bytearray(real)
        data[at] ^= 1 << at % 8
        with pytest.raises(StoreDamaged, match=r"as it was written \(.*\): remove it and run `x`"):
            from_bytes(bytes(data), manifest, Path("statistics.json"), "x")


NUMBERS = ("1e999", "Infinity", "NaN", "1" + "0" * 400, '"1.5"', "true", "[1]", "{}")


@pytest.mark.parametrize("number", NUMBERS)
def test_statistics_that_are_no_numbers_are_told(
    counted: tuple[bytes, Manifest], number: str
) -> None:
    real, manifest = counted
    text = b"\n".join(real.split(b"\n")[:-3]).removesuffix(b",")
    at = text.index(b'"mean": ') + len(b'"mean": ')
    end = text.index(b",", at)
    data = sealed(text[:at] + number.encode() + text[end:])
    with pytest.raises(StoreDamaged, match=r"mean must be a number|is no number of JSON") as raised:
        from_bytes(data, manifest, Path("statistics.json"), "x")
    is_one_sentence(raised.value)


def test_the_checksum_of_extents_is_made_here_as_there(stacked: Path) -> None:
    real = (stacked / EXTENTS).read_bytes()
    assert with_checksum(real) == real
    assert form_in(real).metadata["version"] == extents_module.VERSION
