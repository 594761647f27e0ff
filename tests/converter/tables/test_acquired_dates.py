"""The column that tells when each patch was acquired: of names, of columns, and of every way in."""

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import (
    PatchLoader,
    convert,
    copy_store,
    index,
    merge_stores,
    open_store,
    split_store,
)
from patchpress.readers.errors import DescriptionError
from tests.support.helpers import Ended, tiny_dataset
from tests.support.older_sets import make_v1
from tests.support.synthetic import Row

Command = Callable[..., Ended]
NAMES = ["p_20200105", "p_20200229", "p_20201340", "q"]
OF_NAMES = 'date = { name = "p_(?P<date>.+)", format = "%Y%m%d" }\n'


def described(root: Path, line: str, names: list[str] = NAMES) -> Path:
    """A small data set whose description has one line more."""
    path = tiny_dataset(root, {"g": names})
    text = path.read_text().replace("name = 'p\\d+'", "name = '\\w+'")
    path.write_text(text.replace("bands = [", line + "bands = [", 1))
    return path


def test_a_name_tells_the_date_and_what_is_none_is_counted(tmp_path: Path) -> None:
    path = described(tmp_path, OF_NAMES)
    report = convert(path, tmp_path / "raw", tmp_path / "store", workers=0)
    table = open_store(tmp_path / "store").table()
    assert table.schema.field("a_date").type == pa.timestamp("ms")
    assert table["a_date"].to_pylist() == [
        datetime(2020, 1, 5),
        datetime(2020, 2, 29),
        None,
        None,
    ]
    said = [note for note in report.reading if "a_date" in note]
    assert said == [
        "a_date is null for 2 patches, since their names tell none there: p_20201340, q"
    ]


VALUES: list[tuple[Any, str, Any]] = [
    (pa.array(["2020-01-05T10:11:12", "2020-01-05T10:11:12+02:00", "x", None]), "", "text"),
    (pa.array([date(2020, 1, 5), date(1969, 12, 31), None, None]), "", "days"),
    (
        pa.array([datetime(2020, 1, 5, 1, 2, 3, 999_000), datetime(1960, 1, 1), None, None]),
        "",
        "timestamps",
    ),
    (
        pa.array(
            [datetime(2020, 1, 5, 1, tzinfo=timezone(timedelta(hours=3))), None, None, None],
            pa.timestamp("ns", "Europe/Berlin"),
        ),
        "",
        "with a zone",
    ),
    (pa.array([20200105, 20200230, 7, None]), 'format = "%Y%m%d"', "numbers"),
]
EXPECTED = {
    "text": [datetime(2020, 1, 5, 10, 11, 12), datetime(2020, 1, 5, 8, 11, 12), None, None],
    "days": [datetime(2020, 1, 5), datetime(1969, 12, 31), None, None],
    "timestamps": [datetime(2020, 1, 5, 1, 2, 3), datetime(1960, 1, 1), None, None],
    "with a zone": [datetime(2020, 1, 4, 22), None, None, None],
    "numbers": [datetime(2020, 1, 5), None, None, None],
}


@pytest.mark.parametrize(("values", "form", "kind"), VALUES, ids=[kind for *_, kind in VALUES])
def test_a_column_of_a_table_tells_the_date(
    tmp_path: Path, values: pa.Array, form: str, kind: str
) -> None:
    keys = ", ".join(filter(None, ['column = "taken"', form]))
    path = described(tmp_path, f"date = {{ {keys} }}\n")
    path.write_text(path.read_text() + '\n[tables.metadata]\nfile = "table.parquet"\n')
    rows = pa.table({"name": NAMES, "taken": values})
    pq.write_table(rows, tmp_path / "raw" / "table.parquet")
    convert(path, tmp_path / "raw", tmp_path / "store", workers=0)
    table = open_store(tmp_path / "store").table()
    column = next(name for name in table.column_names if name.endswith("_date"))
    assert table[column].to_pylist() == EXPECTED[kind]
    assert table["taken"].to_pylist() == rows["taken"].to_pylist()  # as the source has it


def test_a_column_that_no_table_has_is_told(tmp_path: Path) -> None:
    path = described(tmp_path, 'date = { column = "taken" }\n')
    report = convert(path, tmp_path / "raw", tmp_path / "store", workers=0)
    assert not [c for c in open_store(tmp_path / "store").table().column_names if "date" in c]
    assert any("no table has a column 'taken' with the dates of" in note for note in report.reading)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("date = { }\n", ""),
        ('date = { name = "(?P<date>.+)", column = "taken" }\n', "give one of the two"),
        ('date = { format = "%Y" }\n', "give one of the two"),
        ('date = { name = "(.+)" }\n', r"has no group \(\?P<date>…\)"),
        ('date = { name = "(?P<date>" }\n', "is no regular expression"),
        (
            'date = { name = "(?P<date>.+)", format = "year" }\n',
            "is no format of dates|tells no year",
        ),
        ('date = { name = "(?P<date>.+)", format = "%m%d" }\n', "tells no year, month and day"),
        ('date = { name = "(?P<date>.+)", format = "%Y-%m" }\n', "tells no year, month and day"),
        ('date = { name = "(?P<date>.+)", format = "%Y%m%d%d" }\n', "is no format of dates"),
        ('date = { name = "(?P<date>.+)", format = "%H%M" }\n', "tells no year, month and day"),
        ('time = { steps = 2, date = "{group}", format = "%m%d" }\n', "tells no year, as"),
        ('date = { name = "(?P<date>.+)", at = 1 }\n', "date.at' is unknown"),
        (OF_NAMES + 'time = { steps = 2, order = "time-major" }\n', "is for one acquisition"),
    ],
)
def test_a_wrong_key_is_one_sentence(tmp_path: Path, line: str, said: str) -> None:
    path = described(tmp_path, line)
    if not said:
        convert(path, tmp_path / "raw", tmp_path / "store", workers=0)
        return
    with pytest.raises(DescriptionError, match=said):
        convert(path, tmp_path / "raw", tmp_path / "store", workers=0)


def test_a_column_of_that_name_cannot_be_described(tmp_path: Path) -> None:
    path = described(tmp_path, OF_NAMES)
    path.write_text(path.read_text().replace("bands = [", 'columns = { a_date = "x" }\nbands = ['))
    with pytest.raises(DescriptionError, match="a column that a store makes itself"):
        convert(path, tmp_path / "raw", tmp_path / "store", workers=0)


def dates(store: Path) -> dict[str, list[Any]]:
    """The dates of a store."""
    table = open_store(store).table()
    return {name: table[name].to_pylist() for name in table.column_names if name.endswith("_date")}


def test_those_of_bigearthnet_are_in_its_names(native: Path) -> None:
    table = open_store(native).table()
    for name, column in (("patch_id", "s2_date"), ("s1_name", "s1_date")):
        texts = [re.findall(r"\d{8}T\d{6}", one)[0] for one in table[name].to_pylist()]
        expected = [datetime.strptime(text, "%Y%m%dT%H%M%S") for text in texts]
        assert table[column].to_pylist() == expected


def test_of_version_1_the_day_is_taken(tree: Path, rows: list[Row], tmp_path: Path) -> None:
    source = make_v1(tmp_path / "v1", tree, rows[:3])
    convert("bigearthnet-v1", source, tmp_path / "store", workers=0)
    found = dates(tmp_path / "store")
    assert all(one.time() == datetime.min.time() for one in found["s2_date"])
    names = open_store(tmp_path / "store").table()["patch_id"].to_pylist()
    days = [name.split("_")[2][:8] for name in names]
    assert [f"{one:%Y%m%d}" for one in found["s2_date"]] == days


@pytest.mark.slow
def test_every_way_to_a_store_gives_the_same_dates(
    tree: Path, native: Path, tmp_path: Path, patchpress: Command
) -> None:
    expected = dates(native)
    assert all(expected.values())
    convert("bigearthnet-v2", tree, tmp_path / "sharded", layout="native", shards=3)
    copy_store(native, tmp_path / "copied")
    split_store(native, tmp_path / "split", shards=2)
    for modality in ("s2", "s1", "map"):
        copy_store(native, tmp_path / modality, modalities=(modality,))
    merge_stores([tmp_path / "s2", tmp_path / "s1", tmp_path / "map"], tmp_path / "merged")
    lmdb = tmp_path / "lmdb"
    lmdb.mkdir()
    (lmdb / "data.mdb").write_bytes((native / "data.mdb").read_bytes())
    tables = {
        "metadata": tree / "metadata.parquet",
        "flagged": tree / "metadata_for_patches_with_snow_cloud_or_shadow.parquet",
    }
    index(lmdb, "bigearthnet-v2", paths=tables)
    for way in ("sharded", "copied", "split", "merged", "lmdb"):
        assert dates(tmp_path / way) == expected, way
    first = expected["s2_date"][0]
    ended = patchpress(
        "copy", native, tmp_path / "part", "--where", f"s2_date={first:%Y-%m-%d %H:%M:%S}"
    )
    assert ended.code == 0
    assert set(dates(tmp_path / "part")["s2_date"]) == {first}


def test_a_date_that_no_patch_has_is_shown_as_it_is_written(
    native: Path, tmp_path: Path, patchpress: Command
) -> None:
    ended = patchpress("copy", native, tmp_path / "part", "--where", "s2_date=1999-12-31")
    assert ended.code == 1
    assert "no patch has '1999-12-31 00:00:00' in column 's2_date'; there are 20" in ended.sentence


def test_loaders_give_dates_as_a_column(native: Path) -> None:
    loader = PatchLoader(
        native, batch_size=4, target=None, columns=("s2_date",), shuffle=False, output="numpy"
    )
    found = [one for batch in loader for one in batch[-1]["s2_date"]]
    table = open_store(native).table(modality="s2", columns=["s2_date"])
    assert found == table["s2_date"].to_pylist()
