"""What columns unfold to is told before they are decoded, whatever the footer says of them."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress.readers.format import parquet_bounds
from patchpress.readers.format.parquet_bounds import Unfolds, read_bounded
from patchpress.readers.format.table_file import allowed_bytes

LONG = "x" * 300_000
ROWS = 20_000
ALLOWED = 100 << 20


def written(path: Path, table: pa.Table, **options: Any) -> Path:
    pq.write_table(table, path, compression="zstd", store_schema=False, **options)
    return path


def read(path: Path, columns: list[str] | None = None, allowed: int = ALLOWED) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return read_bounded(file, path, range(file.num_row_groups), columns, allowed)


def repeated(values: list[str], count: int = ROWS) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array(values))


def listed(values: pa.Array, each: int = 1) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(range(0, len(values) + 1, each), pa.int32()), values)


BOMBS = {
    "text": repeated([LONG]),
    "lists": listed(repeated([LONG])),
    "one list": listed(repeated([LONG]), ROWS),
    "lists of lists": listed(listed(repeated([LONG]))),
    "numbers of a category": repeated(["a" * 50_000, "b"]),
    "text in a struct": pa.StructArray.from_arrays([repeated([LONG])], ["a"]),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_value_that_is_repeated_often_is_refused_unread(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path / "a.parquet", pa.table({"a": BOMBS[kind], "b.c": BOMBS[kind]}))
    assert path.stat().st_size < 400_000
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(Unfolds) as error:
        read(path)
    assert error.value.nbytes > ALLOWED
    with pytest.raises(Unfolds):
        read(path, ["b.c"])
    assert pa.default_memory_pool().max_memory() - before < 10 << 20


@pytest.mark.slow
def test_values_that_begin_like_the_one_before_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    values = pa.array([f"{LONG}{number % 7}" for number in range(2_000)])
    path = written(
        tmp_path / "a.parquet",
        pa.table({"a": values}),
        use_dictionary=False,
        column_encoding={"a": "DELTA_BYTE_ARRAY"},
    )
    del values
    before = pa.total_allocated_bytes()
    with pytest.raises(Unfolds):
        read(path)
    assert pa.total_allocated_bytes() - before < ALLOWED
    names = pa.table({"a": [f"patch_{number:06}" for number in range(ROWS)]})
    written(path, names, use_dictionary=False, column_encoding={"a": "DELTA_BYTE_ARRAY"})
    assert read(path).equals(names)


def test_columns_that_are_not_asked_for_do_not_count(tmp_path: Path) -> None:
    small = pa.array(range(ROWS))
    path = written(tmp_path / "a.parquet", pa.table({"a": BOMBS["text"], "b": small}))
    assert read(path, ["b"]).column("b").to_pylist() == small.to_pylist()


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_usual_tables_are_read_as_they_are(tmp_path: Path, version: str, dictionary: bool) -> None:
    table = pa.table(
        {
            "name": [f"patch_{number:06}" for number in range(ROWS)],
            "labels": [["Sea", "Pastures"][: number % 3] for number in range(ROWS)],
            "split": ["train", None, "test", "train"] * (ROWS // 4),
            "number": [number / 7 for number in range(ROWS)],
            "flag": [True, False] * (ROWS // 2),
        }
    )
    path = written(
        tmp_path / "a.parquet",
        table,
        data_page_version=version,
        use_dictionary=dictionary,
        row_group_size=7_000,
        data_page_size=4_096,
    )
    assert read(path).equals(table)
    with pytest.raises(Unfolds):
        read(path, allowed=100_000)
    empty = written(tmp_path / "b.parquet", table.slice(0, 0))
    assert read(empty).equals(table.slice(0, 0))


def zigzag(number: int) -> bytes:
    """A whole number in Thrift's compact protocol."""
    number, out = number << 1, bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def with_promise(path: Path, nbytes: int) -> Path:
    """The file whose first page says that it unfolds to so many bytes; all else is as it was."""
    data = bytearray(path.read_bytes())
    with path.open("rb") as file:
        header, length = parquet_bounds._header(file, 4)
    said = b"".join(b"\x15" + zigzag(header[5][field]) for field in (1, 2, 3, 4))
    sizes = b"\x15" + zigzag(nbytes) + b"\x15" + zigzag(header[3])
    forged = b"\x15" + zigzag(header[1]) + sizes + b"\x2c" + said + b"\0"
    rest = length - len(forged) - 3  # a field that nobody knows, instead of the statistics
    assert 0 <= rest < 128
    data[4 : 4 + length] = forged + b"\xa8" + bytes([rest]) + bytes(rest) + b"\0"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("rows", [ROWS, 400_000])
def test_a_page_that_promises_far_more_than_it_has_is_refused(tmp_path: Path, rows: int) -> None:
    """In a table of many rows: as many bytes as so many rows may have."""
    names = pa.table({"a": [f"{'name' * 4}{number:06}" for number in range(rows)]})
    path = written(tmp_path / "a.parquet", names, use_dictionary=False)
    assert read(path, allowed=1 << 32).equals(names)
    forged = with_promise(path, (1 << 31) - 1)
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(Unfolds) as error:
        read(forged, allowed=1 << 32)
    assert error.value.nbytes == (1 << 31) - 1
    assert pa.default_memory_pool().max_memory() - before < 10 << 20


def test_a_small_file_unfolds_to_no_more_than_a_small_one_may(tmp_path: Path) -> None:
    """Many columns, each of pages that alone are no reason to refuse them."""
    columns = {f"c{number}": pa.array(["x" * 3_000] * 1_200) for number in range(20)}
    options = {"use_dictionary": False, "write_statistics": False}
    path = written(tmp_path / "a.parquet", pa.table(columns), **options)
    assert path.stat().st_size < 96_000
    with pytest.raises(Unfolds) as error:
        read(path, allowed=1 << 32)
    assert error.value.allowed == 24 << 20
    assert len(read(path, ["c1", "c2"], allowed=1 << 32)) == 1_200


@pytest.mark.parametrize("folder", ["bigearthnet-v1", "bigearthnet-v2"])
def test_published_tables_have_a_wide_margin(shared_data: Path, folder: str) -> None:
    for path in sorted((shared_data / folder).rglob("*.parquet")):
        with pq.ParquetFile(path) as file:
            groups, rows = range(file.num_row_groups), file.metadata.num_rows
            bounds = parquet_bounds._Bounds(file, path, None, allowed_bytes(rows) // 3)
            with path.open("rb") as opened:
                for number in groups:  # raises nothing
                    bounds.add(opened, number, None)


def test_pages_without_headers_are_damage(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", pa.table({"a": list(range(ROWS))}))
    data = bytearray(path.read_bytes())
    data[4:40] = b"\xff" * 36
    path.write_bytes(data)
    with pytest.raises((pa.ArrowException, OSError)):
        read(path)


def test_headers_of_pages_may_be_long(tmp_path: Path) -> None:
    """They hold the least and the largest value, each of up to 4 KiB."""
    table = pa.table({"a": [f"{'x' * 4_080}{number:06}" for number in range(50)]})
    assert read(written(tmp_path / "a.parquet", table, use_dictionary=False)).equals(table)


# Headers in Thrift's compact protocol: kind, bytes and bytes in the file of a page of data, ...
HEADERS = {
    "nothing but ones": b"\xff" * 36,
    "a number that never ends": b"\x15" + b"\xff" * 35,
    "a number in the place of what the page has": bytes.fromhex("150015021502250200"),
    "a length below zero": bytes.fromhex("150015011502 2c1502 00 00".replace(" ", "")),
    "structs in structs": b"\x1c" * 36,
    "a length beyond the file": bytes.fromhex("18ffffffff0f"),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_headers_that_are_none_are_damage_before_anything_is_decoded(
    tmp_path: Path, header: bytes
) -> None:
    path = written(tmp_path / "a.parquet", pa.table({"a": list(range(ROWS))}))
    data = bytearray(path.read_bytes())
    data[4 : 4 + len(header)] = header
    path.write_bytes(data)
    with pytest.raises(pa.ArrowInvalid, match="the header of a page does not parse"):
        read(path)
