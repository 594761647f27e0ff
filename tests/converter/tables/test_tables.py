"""Official tables with every kind of mistake: one sentence names the file and what is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import convert, open_store
from patchpress.converter.tables.official import check_tables, partner_names
from patchpress.readers.errors import TableError
from tests.support.helpers import described, made, tiny_dataset
from tests.support.synthetic import FLAGGED_TABLE, TABLE

Change = Callable[[Any], Any]


def change(path: Path, edit: Change) -> None:
    pq.write_table(edit(pq.read_table(path)), path)


def with_value(table: Any, column: str, row: int, value: object) -> Any:
    values = table[column].to_pylist()
    values[row] = value
    at = table.column_names.index(column)
    return table.set_column(at, column, pa.array(values, table[column].type))


def as_type(table: Any, column: str, values: Callable[[Any], Any]) -> Any:
    return table.set_column(table.column_names.index(column), column, values(table[column]))


SPOILED: dict[str, tuple[Change, str]] = {
    "no patch_id": (lambda t: t.drop_columns("patch_id"), "no column 'patch_id'.*it has labels"),
    "no labels": (lambda t: t.drop_columns("labels"), "no column 'labels'"),
    "no split": (lambda t: t.drop_columns("split"), "no column 'split'"),
    "no s1_name": (lambda t: t.drop_columns("s1_name"), "no column 's1_name'"),
    "labels are text": (
        lambda t: as_type(t, "labels", lambda c: pa.array([",".join(x.as_py()) for x in c])),
        "list<element: string> in column 'labels', and .* has string: make them the same"),
    "labels are numbers": (
        lambda t: as_type(t, "labels", lambda c: pa.array([[1, 2]] * len(c))),
        "in column 'labels', which must be a list of strings"),
    "split is a number": (
        lambda t: as_type(t, "split", lambda c: pa.array(range(len(c)))),
        "has int64 in column 'split', which must be a string"),
    "unknown label": (
        lambda t: with_value(t, "labels", 1, ["Pastures", "Inland water"]),
        "'Inland water' is none of the classes of bigearthnet-19.*'Inland waters'"),
    "label of no likeness": (
        lambda t: with_value(t, "labels", 1, ["xyz"]), "'xyz' is none of the classes of big"),
    "unknown split": (
        lambda t: with_value(t, "split", 2, "fold 3"),
        "split 'fold 3', which is unknown; there are train, validation, test"),
    "misspelt split": (
        lambda t: with_value(t, "split", 2, "validaton"), "nearest is 'validation'"),
    "no name": (lambda t: with_value(t, "patch_id", 0, None), "1 row without patch_id"),
}  # fmt: skip


@pytest.mark.parametrize("spoiled", SPOILED)
def test_a_spoiled_table_is_refused(raw: Path, tmp_path: Path, spoiled: str) -> None:
    edit, reason = SPOILED[spoiled]
    change(raw / TABLE, edit)
    with pytest.raises(TableError, match=reason) as refused:
        made(raw, tmp_path / "store")
    assert str(raw / TABLE) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_the_patch_of_an_unknown_label_is_named(raw: Path, tmp_path: Path) -> None:
    name = pq.read_table(raw / TABLE)["patch_id"][1].as_py()
    change(raw / TABLE, lambda table: with_value(table, "labels", 1, ["Inland water"]))
    with pytest.raises(TableError, match=name):
        made(raw, tmp_path / "store")


def test_a_patch_twice_in_one_table_is_refused(raw: Path, tmp_path: Path) -> None:
    name = pq.read_table(raw / TABLE)["patch_id"][2].as_py()
    change(raw / TABLE, lambda table: pa.concat_tables([table, table.slice(2, 1)]))
    with pytest.raises(TableError, match=f"patch {name} is in the tables twice") as refused:
        made(raw, tmp_path / "store")
    assert f"({raw / TABLE}):" in str(refused.value)  # and not the other table


def test_a_patch_in_both_tables_is_refused(raw: Path, tmp_path: Path) -> None:
    flagged = pq.read_table(raw / FLAGGED_TABLE)
    change(raw / TABLE, lambda table: pa.concat_tables([table, flagged.slice(0, 1)]))
    with pytest.raises(TableError, match="is in the tables twice"):
        made(raw, tmp_path / "store")


@pytest.mark.parametrize("content", [b"", b"patch_id,labels\n", b"PAR1" + bytes(50) + b"PAR1"])
def test_what_is_no_parquet_is_refused(raw: Path, tmp_path: Path, content: bytes) -> None:
    (raw / TABLE).write_bytes(content)
    with pytest.raises(TableError, match=f"{TABLE} cannot be read as a Parquet table") as refused:
        made(raw, tmp_path / "store")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty, download it again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "it is a Git LFS pointer, f",
        ),
        (b"<!DOCTYPE html><html>", "it is a web page (HTML), download it again"),
        (b"patch_id,labels\n", "it is a text, as CSV is; give the Parquet file"),
        (b"PAR1" + bytes(50), "its end is not there, download it again"),
        (b"\x1f\x8b" + bytes(50), "it is gzip data, unpack it and give the file"),
        (b"PK\x03\x04" + bytes(50), "it is a zip archive, unpack it"),
    ],
)
def test_what_comes_in_the_place_of_a_table_is_called_what_it_is(
    raw: Path, tmp_path: Path, content: bytes, said: str
) -> None:
    (raw / TABLE).write_bytes(content)
    with pytest.raises(TableError) as refused:
        made(raw, tmp_path / "store")
    assert f"{TABLE} cannot be read as a Parquet table: {said}" in str(refused.value)


def test_a_truncated_table_is_refused(raw: Path, tmp_path: Path) -> None:
    data = (raw / TABLE).read_bytes()
    (raw / TABLE).write_bytes(data[: len(data) // 2])
    with pytest.raises(TableError, match=TABLE):
        made(raw, tmp_path / "store")


def test_a_table_with_damaged_pages_is_refused(raw: Path, tmp_path: Path) -> None:
    data = bytearray((raw / TABLE).read_bytes())
    data[4:200] = bytes(196)
    (raw / TABLE).write_bytes(data)
    with pytest.raises(TableError, match=TABLE) as refused:
        made(raw, tmp_path / "store")
    assert "\n" not in str(refused.value)


def test_one_table_may_be_absent(raw: Path, tmp_path: Path) -> None:
    name = pq.read_table(raw / FLAGGED_TABLE)["patch_id"][0].as_py()
    (raw / FLAGGED_TABLE).unlink()
    report = made(raw, tmp_path / "store")
    assert report.absent == ("flagged",)
    assert report.without_row["s2"] == [name]
    # The radar record has a row of its own, because no table names its partner now.
    assert report.rows == 6


def test_a_table_without_rows_is_read(raw: Path, tmp_path: Path) -> None:
    change(raw / FLAGGED_TABLE, lambda table: table.slice(0, 0))
    report = made(raw, tmp_path / "store")
    assert len(report.without_row["s2"]) == 1
    assert f"note: {FLAGGED_TABLE} has no rows" in report.text()


def test_tables_without_any_row_are_read(raw: Path, tmp_path: Path) -> None:
    for name in (TABLE, FLAGGED_TABLE):
        change(raw / name, lambda table: table.slice(0, 0))
    assert len(made(raw, tmp_path / "store").without_row["s2"]) == 5


def test_a_patch_without_labels_keeps_its_empty_list(raw: Path, tmp_path: Path) -> None:
    name = pq.read_table(raw / TABLE)["patch_id"][0].as_py()
    change(raw / TABLE, lambda table: with_value(table, "labels", 0, []))
    made(raw, tmp_path / "store")
    rows = open_store(tmp_path / "store").table(columns=["patch_id", "labels"]).to_pylist()
    assert {"patch_id": name, "labels": []} in rows


@pytest.mark.parametrize("group", [1, 2])
def test_row_groups_do_not_matter(raw: Path, tmp_path: Path, group: int) -> None:
    made(raw, tmp_path / "one")
    pq.write_table(pq.read_table(raw / TABLE), raw / TABLE, row_group_size=group)
    made(raw, tmp_path / "other")
    for name in ("metadata.parquet", "manifest.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_partners_are_those_of_the_rows(raw: Path) -> None:
    rows = pq.read_table(raw / TABLE).to_pylist()
    tables = check_tables(described(), {"metadata": raw / TABLE})
    assert tables.rows == len(rows)
    found = partner_names(tables, {rows[0]["patch_id"], rows[2]["patch_id"]})
    assert found == {
        "patch_id": {rows[0]["patch_id"], rows[2]["patch_id"]},
        "s1_name": {rows[0]["s1_name"], rows[2]["s1_name"]},
    }


def test_a_split_column_may_have_another_name(tmp_path: Path) -> None:
    path = tiny_dataset(tmp_path, {"g": ["p1", "p2"]})
    table = '[tables.m]\nfile = "m.parquet"\n'
    splits = '[splits]\ncolumn = "fold"\nnames = ["train", "test"]\n'
    path.write_text(f"{path.read_text()}\n{table}{splits}")
    rows = pa.table({"name": ["p1", "p2"], "fold": ["train", "test"]})
    pq.write_table(rows, tmp_path / "raw" / "m.parquet")
    convert(str(path), tmp_path / "raw", tmp_path / "store", workers=0)
    store = open_store(tmp_path / "store")
    assert store.keys(split="train") == ["p1"]
    assert store.table(split="test")["name"].to_pylist() == ["p2"]


def test_a_table_that_unfolds_to_more_than_memory_has_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    group = pa.table({"patch_id": pa.repeat(pa.scalar("x"), 1_000_000)})
    with pq.ParquetWriter(path, group.schema) as file:
        for _ in range(11):
            file.write_table(group)
    assert path.stat().st_size < 100_000
    with pytest.raises(TableError, match=r"t.parquet has 11,000,000 rows, and .* are allowed"):
        check_tables(described(), {"metadata": path})
