"""Tables as many programs write them: joined by name, in plain types, beside our own columns."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import Report, Samples, Store, convert, dry_run, open_store, verify
from patchpress.readers.errors import TableError
from tests.support.helpers import made, tiny_dataset
from tests.support.synthetic import FLAGGED_TABLE, TABLE

SPLITS = '[splits]\ncolumn = "split"\nnames = ["train", "validation", "test"]\n'
LABELS = '[labels.labels]\nclasses = ["sea", "land, dry"]\n'


def tiny(root: Path, *tables: Any, more: str = LABELS + SPLITS) -> Path:
    """Two patches and their tables; gives the path of the description."""
    path = tiny_dataset(root, {"g": ["p1", "p2"]})
    for number, table in enumerate(tables):
        pq.write_table(table, root / "raw" / f"t{number}.parquet")
        more += f'[tables.t{number}]\nfile = "t{number}.parquet"\n'
    path.write_text(f"{path.read_text()}\n{more}")
    return path


def names_of(store: Store, *words: Any, **choice: Any) -> list[str]:
    """The names of the samples that are chosen."""
    found: list[str] = Samples(store, *words, **choice).table()["name"].to_pylist()
    return found


def rows(**columns: Any) -> Any:
    given = {
        "name": ["p1", "p2"],
        "labels": [["sea"], ["land, dry", "sea"]],
        "split": ["train", "test"],
    }
    return pa.table(given | columns)


def stored(description: Path) -> tuple[Report, Store]:
    root = description.parent
    report = convert(description, root / "raw", root / "store", workers=0)
    assert verify(root / "store").good
    return report, open_store(root / "store")


@pytest.mark.parametrize(
    "column", ["epsg", "left", "bounds", "has_a", "a_checksum", "EPSG", "Has_A", "A_CHECKSUM"]
)
def test_a_column_that_is_called_as_one_of_ours_is_kept_under_another_name(
    tmp_path: Path, column: str
) -> None:
    description = tiny(tmp_path, rows(**{column: [1, 2]}))
    said = f"column {column} of t0.parquet is kept as source_{column}: a store has a column"
    foretold = dry_run(description, tmp_path / "raw", tmp_path / "store", workers=0)
    assert said in foretold.text()
    report, store = stored(description)
    assert f"note: {said}" in report.text()
    table = store.table()
    assert len(set(table.column_names)) == len(table.column_names)
    assert table[f"source_{column}"].to_pylist() == [1, 2]
    assert table["epsg"].to_pylist() == [32633, 32633]
    assert names_of(store, "train", target="labels", columns=("bounds",)) == ["p1"]


@pytest.mark.parametrize("column", ["epsg", "left", "s2_checksum", "has_s2"])
def test_an_official_table_with_such_a_column_converts(
    raw: Path, tmp_path: Path, column: str
) -> None:
    for name in (TABLE, FLAGGED_TABLE):
        table = pq.read_table(raw / name)
        pq.write_table(table.append_column(column, pa.array(range(len(table)))), raw / name)
    report = made(raw, tmp_path / "store")
    assert f"column {column} of {TABLE}, {FLAGGED_TABLE} is kept as source_{column}: " in (
        report.text()
    )
    assert verify(tmp_path / "store").good
    names = open_store(tmp_path / "store").table().column_names
    assert [name for name in names if name.startswith("source_")] == [f"source_{column}"]
    assert len(set(names)) == len(names)


def test_a_name_that_is_taken_gets_one_more_word(tmp_path: Path) -> None:
    _, store = stored(tiny(tmp_path, rows(epsg=[1, 2], source_epsg=[3, 4])))
    table = store.table()
    assert table["source_epsg"].to_pylist() == [3, 4]
    assert table["source_source_epsg"].to_pylist() == [1, 2]


def test_columns_that_differ_by_case_only_are_told_apart(tmp_path: Path) -> None:
    report, store = stored(
        tiny(tmp_path, rows(Split=["x", "y"], country=["A", "B"], COUNTRY=[1, 2]))
    )
    assert store.table()["source_Split"].to_pylist() == ["x", "y"]
    assert store.table()["source_COUNTRY"].to_pylist() == [1, 2]
    assert store.table()["country"].to_pylist() == ["A", "B"]
    said = "column Split of t0.parquet is kept as source_Split: it differs from split in case only"
    assert said in report.text()
    assert "it differs from country in case only" in report.text()


def test_a_needed_column_in_another_case_is_read(tmp_path: Path) -> None:
    table = rows().rename_columns(["Name", "LABELS", "Split"])
    report, store = stored(tiny(tmp_path, table))
    assert "column Name of t0.parquet is read as name" in report.text()
    assert store.keys(split="train") == ["p1"]
    assert store.table()["labels"].to_pylist() == [["sea"], ["land, dry", "sea"]]


def test_a_column_twice_is_refused_before_a_pixel_is_read(tmp_path: Path) -> None:
    table = rows()
    twice = pa.Table.from_arrays([*table.columns, table["split"]], [*table.column_names, "split"])
    description = tiny(tmp_path, twice)
    for run in (convert, dry_run):
        with pytest.raises(TableError, match=r"t0.parquet has two columns 'split': rename one"):
            run(description, tmp_path / "raw", tmp_path / "store", workers=0)
    assert not (tmp_path / "store" / "data.mdb").exists()


def large(table: Any) -> Any:
    return table.cast(pa.schema([(f.name, _large(f.type)) for f in table.schema]))


def _large(kind: Any) -> Any:
    return pa.large_list(pa.large_string()) if pa.types.is_list(kind) else pa.large_string()


def views(table: Any) -> Any:
    """As Polars writes it."""
    if int(pa.__version__.partition(".")[0]) < 21:
        pytest.skip("pyarrow before 21 reads views of text, and cannot write them")
    kinds = {"labels": pa.large_list(pa.string_view())}
    names = table.column_names
    return pa.table(
        {c: pa.array(table[c].to_pylist(), kinds.get(c, pa.string_view())) for c in names}
    )


def categories(table: Any) -> Any:
    for column in ("split", "country", "name"):
        at = table.schema.get_field_index(column)
        table = table.set_column(at, column, table[column].dictionary_encode())
    return table


FORMS: dict[str, Callable[[Any], Any]] = {
    "as pyarrow writes it": lambda table: table,
    "large text and lists": large,
    "views of text": views,
    "categories": categories,
    "in another order": lambda table: table.select(table.column_names[::-1]),
    "with the index of pandas": lambda t: t.append_column("__index_level_0__", [[4, 5]]),
    "lists of fixed size": lambda t: t.set_column(
        1, "labels", pa.array([["sea"], ["land, dry"]], pa.list_(pa.string(), 1))
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_text_and_lists_are_read_in_each_form(tmp_path: Path, form: str) -> None:
    table = FORMS[form](rows(country=["A", "B"]))
    report, store = stored(tiny(tmp_path, table))
    found = store.table()
    kinds = {name: str(found.schema.field(name).type) for name in ("name", "split", "country")}
    assert set(kinds.values()) == {"string"}
    assert pa.types.is_list(found.schema.field("labels").type)
    assert found["country"].to_pylist() == ["A", "B"]
    assert names_of(store, "test", where={"country": "B"}) == ["p2"]
    assert names_of(store, where={"labels": "land, dry"}, columns="country") == ["p2"]
    assert ("index of pandas" in report.text()) is ("pandas" in form)


@pytest.mark.parametrize("first", FORMS)
def test_two_tables_of_different_programs_are_one(tmp_path: Path, first: str) -> None:
    both = rows(country=["A", "B"])
    description = tiny(
        tmp_path, FORMS[first](both).slice(0, 1), FORMS["views of text"](both).slice(1)
    )
    _, store = stored(description)
    assert store.table()["country"].to_pylist() == ["A", "B"]
    assert store.keys(split="test") == ["p2"]


def test_a_column_that_one_table_lacks_is_null_in_its_rows_and_told(
    raw: Path, tmp_path: Path
) -> None:
    table = pq.read_table(raw / FLAGGED_TABLE)
    pq.write_table(table.drop_columns("country"), raw / FLAGGED_TABLE)
    flagged = table["patch_id"][0].as_py()
    report = made(raw, tmp_path / "store")
    assert f"{FLAGGED_TABLE} has no column country, as {TABLE} has: its rows have no value" in (
        report.text()
    )
    found = open_store(tmp_path / "store").table(columns=["patch_id", "country"]).to_pylist()
    assert [row["patch_id"] for row in found if row["country"] is None] == [flagged]


def test_a_column_that_only_the_second_table_has_comes_last(tmp_path: Path) -> None:
    more = rows(clouds=[0.5, 0.25])
    _, store = stored(tiny(tmp_path, rows().slice(0, 1), more.slice(1)))
    assert store.table()["clouds"].to_pylist() == [None, 0.25]
    assert store.table().column_names[:4] == ["name", "labels", "split", "clouds"]


WHEN = datetime.datetime(2017, 6, 13, 10)


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (pa.array([None]), pa.array(["x"]), "string"),
        (pa.array([1], pa.int8()), pa.array([300], pa.int64()), "int64"),
        (pa.array([1], pa.int64()), pa.array([0.5]), "double"),
        (
            pa.array([WHEN], pa.timestamp("ns")),
            pa.array([WHEN], pa.timestamp("us")),
            "timestamp[ns]",
        ),
        (pa.array([None]), pa.array([None]), "null"),
    ],
)
def test_types_that_fit_together_become_one(
    tmp_path: Path, one: Any, other: Any, kind: str
) -> None:
    tables = [rows().slice(at, 1).append_column("extra", c) for at, c in enumerate((one, other))]
    _, store = stored(tiny(tmp_path, *tables))
    assert str(store.table().schema.field("extra").type) == kind
    assert store.table()["extra"].to_pylist() == [one[0].as_py(), other[0].as_py()]


def test_types_that_do_not_fit_are_refused_by_column_and_file(tmp_path: Path) -> None:
    tables = [rows().slice(at, 1).append_column("extra", [[c]]) for at, c in enumerate((1, "x"))]
    description = tiny(tmp_path, *tables)
    with pytest.raises(TableError, match=r"t1.parquet has string in column 'extra', and .*t0.parq"):
        convert(description, tmp_path / "raw", tmp_path / "store", workers=0)


def test_a_needed_column_without_any_value_is_read(tmp_path: Path) -> None:
    table = rows(labels=pa.nulls(2), split=pa.nulls(2))
    report, store = stored(tiny(tmp_path, table))
    assert store.table()["labels"].to_pylist() == [None, None]
    assert "splits             none" in report.text()


def test_a_day_may_be_asked_for_as_text(tmp_path: Path) -> None:
    when = pa.array([WHEN, WHEN + datetime.timedelta(1)], pa.timestamp("us"))
    _, store = stored(tiny(tmp_path, rows(when=when)))
    assert names_of(store, where={"when": "2017-06-13 10:00:00"}, target=None) == ["p1"]
    assert names_of(store, where={"when": WHEN}, target=None) == ["p1"]


def test_what_patches_tell_fills_the_rows_of_a_table_that_lacks_it(tmp_path: Path) -> None:
    description = tiny(tmp_path, rows())
    text = description.read_text()
    description.write_text(
        text.replace('key = "{name}"', 'key = "{name}"\ncolumns = { g = "{group}" }')
    )
    _, store = stored(description)
    assert store.table()["g"].to_pylist() == ["g", "g"]


def test_a_flag_is_false_in_rows_that_no_table_has(raw: Path, tmp_path: Path) -> None:
    """Other programs compute ``~table["contains_cloud_or_shadow"]``, which nulls forbid."""
    table = pq.read_table(raw / TABLE)
    pq.write_table(table.slice(1), raw / TABLE)
    report = made(raw, tmp_path / "store")
    assert report.without_row
    found = open_store(tmp_path / "store").table()
    for column in ("contains_cloud_or_shadow", "contains_seasonal_snow"):
        assert found[column].null_count == 0
    assert found["labels"].null_count > 0


def test_tables_that_pandas_writes(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(rows().to_pydict() | {"country": pandas.Categorical(["A", "B"])})
    description = tiny(tmp_path, rows())
    for written in (frame, frame.iloc[[1, 0]], frame.set_index("name")):
        written.to_parquet(tmp_path / "raw" / "t0.parquet")
        convert(description, tmp_path / "raw", tmp_path / "store", workers=0, overwrite=True)
        store = open_store(tmp_path / "store")
        assert names_of(store, where={"country": "A"}) == ["p1"]


def test_tables_that_polars_writes(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars", reason="Polars is not installed")
    frame = polars.DataFrame(rows(country=["A", "B"]).to_pydict())
    kinds = {"country": polars.Enum(["A", "B"]), "split": polars.Categorical}
    frame.cast(kinds).write_parquet(tmp_path / "polars.parquet")
    description = tiny(tmp_path, rows())
    (tmp_path / "polars.parquet").rename(tmp_path / "raw" / "t0.parquet")
    _, store = stored(description)
    assert names_of(store, "train", where={"country": "A"}) == ["p1"]


@pytest.mark.parametrize("form", [pa.int8(), pa.float64(), pa.uint32()])
def test_flags_may_be_ones_and_zeros(raw: Path, tmp_path: Path, form: Any) -> None:
    made(raw, tmp_path / "plain")
    for name in (TABLE, FLAGGED_TABLE):
        table = pq.read_table(raw / name)
        at = table.schema.get_field_index("contains_seasonal_snow")
        flags = table["contains_seasonal_snow"].cast(pa.int8()).cast(form)
        pq.write_table(table.set_column(at, "contains_seasonal_snow", flags), raw / name)
    made(raw, tmp_path / "store")
    assert open_store(tmp_path / "store").table().equals(open_store(tmp_path / "plain").table())
    table = pq.read_table(raw / TABLE)
    wrong = pa.array(range(len(table)))
    at = table.schema.get_field_index("contains_seasonal_snow")
    pq.write_table(table.set_column(at, "contains_seasonal_snow", wrong), raw / TABLE)
    with pytest.raises(TableError, match="has 2 in column 'contains_seasonal_snow', which must"):
        made(raw, tmp_path / "store", overwrite=True)


def test_a_flag_that_one_table_lacks_is_told(raw: Path, tmp_path: Path) -> None:
    table = pq.read_table(raw / TABLE)
    pq.write_table(table.drop_columns("contains_seasonal_snow"), raw / TABLE)
    report = made(raw, tmp_path / "store")
    assert f"{TABLE} has no column contains_seasonal_snow, as {FLAGGED_TABLE} has" in report.text()
