"""Lists of names as published, and Parquet tables with a new split column."""

import datetime
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress.converter.commands.rewrite_table import rewrite_table
from patchpress.converter.tables.lists import read_list
from patchpress.converter.tables.name_columns import read_columns
from patchpress.readers.errors import SourceMissing, TableError, TargetError

NAMES = ["S2A_T33UUP_26_57", "S2A_T33UUP_0_0", "S2A_T33UUP_13_13"]
SPLITS = ["test", "train", "validation"]


def file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def rich_table() -> pa.Table:
    """Columns of many types around a split column, with metadata."""
    when = datetime.datetime(2017, 6, 13, 10, 10, 31, tzinfo=datetime.UTC)
    columns: dict[str, Any] = {
        "country": pa.array(["Austria", None, "Kosovo"]).dictionary_encode(),
        "split": pa.array(["a", None, "b"]),
        "patch_id": pa.array(NAMES),
        "labels": pa.array([["b", "a"], [], None]),
        "footprint": pa.array([b"\0\1", None, b""]),
        "epsg": pa.array([32633, None, 0], pa.uint16()),
        "left": pa.array([float("nan"), 1.5, None], pa.float32()),
        "when": pa.array([when, None, when], pa.timestamp("us", "UTC")),
        "box": pa.array([{"x": 1}, None, {"x": None}]),
    }
    return pa.table(columns).replace_schema_metadata({"geo": '{"version": "1.1.0"}'})


def written(path: Path, table: pa.Table, **options: Any) -> Path:
    pq.write_table(table, path, **options)
    return path


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [b"", b"\n", b"\r\n\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_list_is_read_with_any_line_ends(
    tmp_path: Path, end: bytes, last: bytes, mark: bytes
) -> None:
    path = file(tmp_path / "a.txt", mark + end.join([b"b.tif", b"a.tif", b" c "]) + last)
    assert read_list(path) == ["b.tif", "a.tif", "c"]


def test_a_list_of_two_columns_is_the_first(tmp_path: Path) -> None:
    path = file(tmp_path / "a.csv", b"s2_a,s1_a\r\ns2_b,s1_b\r\n")
    assert read_list(path) == ["s2_a", "s2_b"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a\nb\na\n", "lists a twice"),
        (b"a,x\nb,y\na,z\n", "lists a twice"),
        (b"a,b,c\n", "line 1 has not one name or two: 'a,b,c'"),
        (b"a\n,,b\n", "line 2 has no name"),
        (b"name\n", "has no names"),
        (b"", "has no names"),
        (b"\r\n\r\n", "has no names"),
        (b"\xff\xfe\x00", "is no text"),
        (b"PAR1\0\0", "is no text"),
    ],
)
def test_a_list_that_is_none_is_an_error(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(TableError, match=problem) as caught:
        read_list(file(tmp_path / "list.csv", content))
    assert "list.csv" in str(caught.value)


def test_a_file_or_table_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    for read in (read_list, rewrite_table):
        with pytest.raises(SourceMissing, match="there is no"):
            read(tmp_path / "absent")
    with pytest.raises(TableError, match="cannot be read"):
        read_list(tmp_path)


def test_the_split_column_is_replaced_and_nothing_else_changes(tmp_path: Path) -> None:
    before = written(tmp_path / "a.parquet", rich_table(), row_group_size=2, compression="gzip")
    read = pq.read_table(before)
    out = tmp_path / "b.parquet"
    assert rewrite_table(before, out) == {"test": 1, "train": 1, "validation": 1}
    after = pq.read_table(out)
    assert after.schema.equals(read.schema, check_metadata=True)
    assert after["split"].to_pylist() == SPLITS
    assert repr(after.drop_columns("split").to_pylist()) == repr(
        read.drop_columns("split").to_pylist()
    )
    metadata = pq.read_metadata(out)
    assert [metadata.row_group(n).num_rows for n in range(2)] == [2, 1]
    assert metadata.row_group(0).column(0).compression == "GZIP"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


def test_without_a_split_column_one_is_added_last(tmp_path: Path) -> None:
    table = rich_table().drop_columns("split")
    path = written(tmp_path / "a.parquet", table, compression="none")
    rewrite_table(path)
    after = pq.read_table(path)
    assert after.column_names == [*table.column_names, "split"]
    assert after["split"].to_pylist() == SPLITS


@pytest.mark.parametrize("kind", [pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_the_type_of_the_split_column_stays(tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table({"patch_id": NAMES, "split": pa.array([None] * 3, kind)})
    path = written(tmp_path / "a.parquet", table)
    before = pq.read_schema(path).field("split").type  # older pyarrow numbers categories by int32
    rewrite_table(path)
    after = pq.read_table(path)
    assert after.schema.field("split").type == before
    assert after["split"].to_pylist() == SPLITS


def test_any_strategy_will_do_and_rows_without_a_split_are_not_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", pa.table({"name": NAMES}))
    counts = rewrite_table(
        path, strategy=lambda names: pa.array(["x", None, "x"]), identity="name", column="fold"
    )
    assert counts == {"x": 2}
    assert pq.read_table(path)["fold"].to_pylist() == ["x", None, "x"]


def test_a_table_without_rows_stays_one(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", rich_table().slice(0, 0))
    assert rewrite_table(path) == {}
    assert pq.read_table(path).schema.equals(rich_table().schema)


def test_the_official_tables_come_out_as_they_were(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "bigearthnet-v2"
    rows = 0
    for path in sorted(folder.glob("*.parquet")):
        counts = rewrite_table(path, tmp_path / path.name)
        assert pq.read_table(tmp_path / path.name).equals(pq.read_table(path), check_metadata=True)
        rows += sum(counts.values())
    assert rows == 549_488


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"name": ["a_1_2"]}, "no column 'patch_id' to split by; it has name"),
        ({"patch_id": [1]}, "int64 in column 'patch_id', which must be strings"),
        ({"patch_id": ["a_1_2"], "split": [1]}, "int64 in column 'split'"),
        ({"patch_id": ["a_1_2", "b"]}, "'b' has no column and row in it"),
        ({"patch_id": ["a_1_2", "a_91_0"]}, "column 91, row 0 is outside"),
    ],
)
def test_a_table_that_cannot_be_split_stays_as_it_was(
    tmp_path: Path, table: dict[str, list[Any]], problem: str
) -> None:
    path = written(tmp_path / "a.parquet", pa.table(table), row_group_size=1)
    before = path.read_bytes()
    with pytest.raises(TableError, match=problem) as caught:
        rewrite_table(path)
    assert "a.parquet" in str(caught.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_doubled_columns_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(NAMES)] * 3, ["patch_id", "split", "split"])
    with pytest.raises(TableError, match="two columns 'split'"):
        rewrite_table(written(tmp_path / "a.parquet", table))


def test_a_damaged_table_leaves_nothing_behind(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", rich_table(), compression="zstd")
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(content)
    for bad in (path, file(tmp_path / "text.parquet", b"patch_id\n")):
        with pytest.raises(TableError, match="cannot be read as a Parquet table"):
            rewrite_table(bad, tmp_path / "out.parquet")
    assert not list(tmp_path.glob("out*"))


def test_a_path_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", rich_table())
    (tmp_path / "folder").mkdir()
    for out in (tmp_path / "absent" / "b", path / "b", tmp_path / "folder"):
        with pytest.raises(TargetError, match=r"cannot be written .* give another --out"):
            rewrite_table(path, out)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.parquet", "folder"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", rich_table())
    link = tmp_path / "link.parquet"
    link.symlink_to(path)
    rewrite_table(link)
    assert link.is_symlink()
    assert pq.read_table(path)["split"].to_pylist() == SPLITS


def test_lists_and_csv_tables_of_gigabytes_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.touch()
    os.truncate(path, 1 << 40)  # takes no room
    with pytest.raises(TableError, match=r"train.csv has 1.1 TB, .* are allowed for a list"):
        read_list(path)
    with pytest.raises(TableError, match=r"train.csv has 1.1 TB, .* are allowed for a CSV table"):
        read_columns(path, ["a"])
