"""SQL over the table of a store: rows as the table has them, and files that other commands take."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from patchpress import Samples, copy_store, open_store, query
from patchpress.converter.contents.rows_shown import rows_text
from patchpress.readers.errors import OptionError, SelectionEmpty, TargetError
from patchpress.readers.format.manifest import METADATA
from tests.support.helpers import Ended, folder_bytes
from tests.support.loading import refused, rows_in

Command = Callable[..., Ended]
NAMES = "SELECT patch_id FROM patches WHERE country = 'Austria' ORDER BY patch_id"

WEST = "SELECT patch_id FROM patches WHERE BBOX.xmax <= {}"


@pytest.fixture
def duckdb() -> None:
    pytest.importorskip("duckdb", reason="DuckDB is not installed: pip install duckdb")


def in_austria(path: Path) -> list[str]:
    return sorted(
        row["patch_id"] for row in rows_in(open_store(path)) if row["country"] == "Austria"
    )


@pytest.mark.usefixtures("duckdb")
def test_rows_are_those_of_the_table(stacked: Path) -> None:
    found = query(stacked, "SELECT * FROM patches").table
    there = pq.read_table(stacked / METADATA).drop_columns(["geometry", "bbox"])
    assert found.to_pylist() == there.to_pylist()
    counted = query(stacked, "SELECT split, count(*) AS n FROM patches GROUP BY split").table
    rows = rows_in(open_store(stacked))
    assert dict(zip(*counted.to_pydict().values(), strict=True)) == {
        split: sum(row["split"] == split for row in rows)
        for split in ("train", "validation", "test")
    }
    pastures = query(
        stacked, "SELECT patch_id FROM patches WHERE list_contains(labels, 'Pastures')"
    )
    assert sorted(pastures.table["patch_id"].to_pylist()) == sorted(
        row["patch_id"] for row in rows if "Pastures" in row["labels"]
    )


@pytest.mark.usefixtures("duckdb")
def test_footprints_are_there_if_they_are_named(stacked: Path) -> None:
    boxes = pq.read_table(stacked / METADATA, columns=["patch_id", "bbox"]).to_pylist()
    east = sorted(box["bbox"]["xmax"] for box in boxes)[len(boxes) // 2]
    found = query(stacked, WEST.format(east)).table
    assert sorted(found["patch_id"].to_pylist()) == sorted(
        box["patch_id"] for box in boxes if box["bbox"]["xmax"] <= east
    )
    shown = query(stacked, "SELECT geometry FROM patches LIMIT 1").text(80)
    assert "93 bytes" in shown


@pytest.mark.usefixtures("duckdb")
def test_names_are_taken_by_copy_and_samples(
    patchpress: Command, stacked: Path, tmp_path: Path
) -> None:
    file, wanted = tmp_path / "names.txt", in_austria(stacked)
    ended = patchpress("query", stacked, NAMES, "--out", file)
    assert (ended.code, ended.out, ended.err) == (0, f"{file}: {len(wanted)} rows\n", "")
    assert file.read_text().splitlines() == wanted
    copy_store(stacked, tmp_path / "part.store", keys=file)
    assert sorted(open_store(tmp_path / "part.store").keys("s2")) == wanted
    samples = Samples(stacked, where={"patch_id": file.read_text().split()})
    assert samples.keys() == wanted
    names = query(stacked, NAMES).table["patch_id"].to_pylist()
    assert Samples(stacked, where={"patch_id": names}).keys() == wanted


@pytest.mark.usefixtures("duckdb")
def test_all_columns_are_written_as_parquet_and_csv(stacked: Path, tmp_path: Path) -> None:
    sql = "SELECT patch_id, labels, epsg FROM patches ORDER BY patch_id"
    wanted = query(stacked, sql, out=tmp_path / "rows.parquet").table
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == wanted.to_pylist()
    query(stacked, sql, out=tmp_path / "rows.csv")
    rows = csv.read_csv(tmp_path / "rows.csv").to_pylist()
    assert [row["labels"].split("; ") for row in rows] == wanted["labels"].to_pylist()
    assert [row["epsg"] for row in rows] == wanted["epsg"].to_pylist()


@pytest.mark.usefixtures("duckdb")
def test_values_that_csv_does_not_know_are_text_or_refused(stacked: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    query(stacked, "SELECT ['x', NULL, 'y'] AS a, {'k': 1} AS b, [[1], [2]] AS c", out=file)
    (row,) = csv.read_csv(file).to_pylist()
    assert row == {"a": "x; ; y", "b": '{"k": 1}', "c": "[[1], [2]]"}
    for name in ("days.csv", "days.parquet"):
        file = tmp_path / name
        days = "SELECT patch_id, INTERVAL 1 DAY AS days FROM patches"
        sentence = refused(OptionError, lambda days=days, file=file: query(stacked, days, out=file))
        assert sentence.startswith(f"{file} cannot hold these values (")
        assert "as in CAST(a AS VARCHAR); patch_id has string, days has month_day" in sentence
        assert not file.exists()


@pytest.mark.usefixtures("duckdb")
def test_a_table_fits_the_terminal(patchpress: Command, stacked: Path) -> None:
    found = query(stacked, "SELECT patch_id, country, labels, epsg FROM patches")
    for width in (60, 80, 200):
        assert max(map(len, found.text(width).splitlines())) <= width
    assert found.text(60, most=3).splitlines()[-1] == "(15 rows, the first 3 are shown)"
    whole = query(stacked, "SELECT * FROM patches")
    lines = whole.text(70).splitlines()
    assert max(map(len, lines[:-1])) <= 70
    shown = lines[0].split()
    hidden = lines[-1].partition("for lack of room: ")[2].split(", ")
    assert [*shown, *hidden[:-1], hidden[-1].rstrip(")")] == whole.table.column_names
    ended = patchpress("query", stacked, "SELECT count(*) AS n FROM patches", "--rows", 5)
    assert ended.out.split() == ["n", "15", "(1", "row)"]
    # In a file or pipe no value is cut.
    assert in_austria(stacked)[0] in patchpress("query", stacked, NAMES).out
    assert rows_text(found.table.slice(0, 0), 80).endswith("(0 rows)")


@pytest.mark.usefixtures("duckdb")
@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT contry FROM patches", 'Binder Error: Referenced column "contry" not found'),
        ("SELECT * FROM patch", "Table with name patch does not exist!"),
        ("SELEC 1", "Parser Error: syntax error at or near"),
        ("", "a query is one SELECT over patches, the rows of the store; this is nothing"),
        ("DROP TABLE patches", "this is DROP"),
        ("COPY patches TO 'out.csv'", "this is COPY"),
        ("SELECT 1; SELECT 2", "this is SELECT, SELECT"),
        ("SELECT 'a'::int FROM patches", "Conversion Error: Could not convert string 'a' to INT32"),
        ("SELECT * FROM 'nothing.csv'", "a query reads patches, the rows of the store, and no"),
        ("SELECT * FROM read_text('/etc/hostname')", "and no file besides: write rows with --out"),
        ("SELECT * FROM glob('/etc/*')", "and no file besides"),
        ("SELECT * FROM 'https://example.org/a.parquet'", "and no file besides"),
        ("SELECT * FROM table_of_python", "Table with name table_of_python does not exist"),
        ("SELECT epsg, epsg FROM patches", "gives two columns 'epsg': call one otherwise, as in"),
        ("SELECT $a FROM patches", "parameter"),
    ],
)
def test_a_mistake_is_one_sentence(stacked: Path, sql: str, said: str) -> None:
    before = folder_bytes(stacked)
    table_of_python = pq.read_table(stacked / METADATA)
    assert len(table_of_python)
    assert said in refused(OptionError, lambda: query(stacked, sql))
    assert folder_bytes(stacked) == before


@pytest.mark.usefixtures("duckdb")
def test_what_cannot_be_written_is_refused(stacked: Path, tmp_path: Path) -> None:
    file, before = tmp_path / "names.txt", folder_bytes(stacked)
    sentence = refused(OptionError, lambda: query(stacked, "SELECT epsg FROM patches", out=file))
    assert sentence.startswith("the first column of the query, 'epsg', has int32 and no names")
    sentence = refused(
        OptionError, lambda: query(stacked, "SELECT CAST(NULL AS VARCHAR) AS a", out=file)
    )
    assert sentence == "None in column 'a' is no name that a line can hold"
    none = "SELECT patch_id FROM patches WHERE country = 'Narnia'"
    sentence = refused(SelectionEmpty, lambda: query(stacked, none, out=file))
    assert sentence == f"the query gives no row, so that {file} would be empty"
    inside = refused(OptionError, lambda: query(stacked, NAMES, out=stacked / METADATA))
    assert inside.endswith("would lie in the store itself: give another --out")
    assert "cannot be written" in refused(
        TargetError, lambda: query(stacked, NAMES, out=tmp_path / "none" / "names.txt")
    )
    assert not file.exists()
    assert folder_bytes(stacked) == before


def test_without_duckdb_the_way_out_is_told(stacked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "duckdb", None)
    sentence = refused(OptionError, lambda: query(stacked, NAMES))
    assert sentence.endswith("which is not installed: pip install duckdb")
