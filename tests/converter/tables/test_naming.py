"""Names in tables and lists as people write them: matched if unambiguous, told, else refused."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import Report, convert, dry_run, index, open_store, verify
from patchpress.converter.tables.lists import read_list
from patchpress.converter.tables.naming import respelling
from patchpress.readers.errors import TableError
from tests.support.helpers import DATASET, made, packed, patches, tiny_dataset
from tests.support.synthetic import FLAGGED_TABLE, TABLE

SPLITS = """
[splits]
column = "split"
names = ["train", "validation", "test"]
[splits.lists]
train = "train.txt"
test = "test.txt"
[flags]
cloudy = "cloudy.txt"
"""


def tiny(root: Path, *, more: str = SPLITS, **lists: str | bytes) -> Path:
    """Patches p1 to p4, and lists; gives the path of the description."""
    path = tiny_dataset(root, {"g": ["p1", "p2", "p3", "p4"]})
    path.write_text(path.read_text() + more)
    for name, text in lists.items():
        data = text if isinstance(text, bytes) else text.encode()
        (root / "raw" / f"{name}.txt").write_bytes(data)
    return path


def stored(description: Path, **options: Any) -> tuple[Report, dict[str, str | None]]:
    root = description.parent
    foretold = dry_run(description, root / "raw", root / "store", workers=0, **options)
    report = convert(description, root / "raw", root / "store", workers=0, **options)
    assert verify(root / "store").good
    assert list(foretold.reading) == report.reading
    table = open_store(root / "store").table(columns=["name", "split"])
    return report, dict(zip(*(table[c].to_pylist() for c in ("name", "split")), strict=True))


EXACT: dict[str, str | bytes] = {
    "plain": "p1\np2\n",
    "quoted": '"p1"\n"p2"\n',
    "CRLF and a mark": b"\xef\xbb\xbfp1\r\np2\r\n",
    "UTF-16": "p1\np2\n".encode("utf-16"),
    "a header": "Name\np1\np2\n",
    "a quoted header": '"filename"\n"p1"\n"p2"\n',
    "the index of pandas": ",name\n0,p1\n1,p2\n",
    "a column of labels": "image,label\np1,sea\np2,land\n",
    "the names in the second column": "sea,p1\nland,p2\n",
    "semicolons": "name;label\np1;sea\np2;land\n",
    "tabs": "0\tp1\n1\tp2\n",
    "many columns": 'id,labels,name,x\n1,"a, b",p1,0\n2,"b, c",p2,1\n',
    "commas at the end": "p1,\np2,\n",
    "the line ends of old Macs": "p1\rp2",
}
OTHERWISE = {
    "with an ending": "p1.tif\np2.tif\n",
    "as arrays": "p1.npy\np2.npy\n",
    "with paths": "A/g/p1\nA/g/p2\n",
    "with paths and endings": "./data/A/g/p1.TIF\n/x/p2.tiff\n",
    "with the paths of Windows": "C:\\data\\p1.tif\r\nC:\\data\\p2.tif\r\n",
    "in another case": "P1\nP2\n",
    "in single quotes": "'p1'\n'p2'\n",
    "with a header, quotes and paths": 'path,label\n"a/p1.jpg",x\n"a/p2.jpg",y\n',
}


@pytest.mark.parametrize("form", EXACT)
def test_a_list_is_read_in_each_form(tmp_path: Path, form: str) -> None:
    report, splits = stored(tiny(tmp_path, train=EXACT[form], test="p3\n", cloudy=EXACT[form]))
    assert splits == {"p1": "train", "p2": "train", "p3": "test", "p4": None}
    assert report.reading == []
    assert report.listed_without_pixels == {}
    assert "in no split        1" in report.text()
    cloudy = open_store(tmp_path / "store").table()["cloudy"].to_pylist()
    assert cloudy == [True, True, False, False]


@pytest.mark.parametrize("form", OTHERWISE)
def test_names_in_another_spelling_are_found_and_told(tmp_path: Path, form: str) -> None:
    report, splits = stored(tiny(tmp_path, train=OTHERWISE[form], test="p3\n", cloudy="p4\n"))
    assert splits == {"p1": "train", "p2": "train", "p3": "test", "p4": None}
    (note,) = report.reading
    assert note.startswith("2 names of the list train.txt are found in another spelling: ")
    assert note.endswith(" is 'p1'")
    assert f"note: {note}" in report.text()


def test_names_that_are_not_there_are_counted(tmp_path: Path) -> None:
    lists = {"train": "p1.tif\np7.tif\n", "test": "p3\np8\n"}
    report, splits = stored(tiny(tmp_path, **lists))
    assert splits == {"p1": "train", "p2": None, "p3": "test", "p4": None}
    assert report.listed_without_pixels == {"train": ["p7.tif"], "test": ["p8"]}
    assert "names in the list train without pixels: 1" in report.text()


def test_a_list_of_which_no_name_is_there_is_told(tmp_path: Path) -> None:
    report, _ = stored(tiny(tmp_path, train="p1\n", test="p8\np9\n"))
    assert report.reading == [
        "no name of the list test.txt has pixels: it has 'p8', the source has 'p1'"
    ]


def test_lists_of_which_nothing_matches_are_refused_before_a_pixel_is_read(tmp_path: Path) -> None:
    description = tiny(tmp_path, train="p7\n", test="p8\np9\n")
    said = r"no patch of the source is in .*train.txt, .*test.txt: a name there is 'p7', and in"
    for run in (convert, dry_run):
        with pytest.raises(TableError, match=said):
            run(description, tmp_path / "raw", tmp_path / "store", workers=0)
    assert not (tmp_path / "store" / "data.mdb").exists()
    convert(description, tmp_path / "raw", tmp_path / "store", workers=0, split="none")
    assert verify(tmp_path / "store").good


@pytest.mark.parametrize("which", ["train", "cloudy"])
def test_a_list_of_other_things_is_refused(tmp_path: Path, which: str) -> None:
    description = tiny(tmp_path, **{"test": "p1\n", "train": "p2\n", which: "forest\nsea\n"})
    for run in (convert, dry_run):
        with pytest.raises(
            TableError, match=rf"{which}.txt has no name of .* 'forest', the source"
        ):
            run(description, tmp_path / "raw", tmp_path / "store", workers=0)


def test_a_few_patches_need_not_be_in_the_lists(tmp_path: Path) -> None:
    report, splits = stored(tiny(tmp_path, train="p1\n", test="p3\n"), limit=2)
    assert set(splits.values()) == {None}
    assert len(report.reading) == 2


def test_names_that_may_be_two_stay_as_they_are() -> None:
    known = pa.array(["p1", "P1", "p2", "p3"])
    found = respelling(pa.array(["x/p1.tif", "P2", "p3", "P3"]), known)
    assert found.given.to_pylist() == ["P2"]
    assert found.known.to_pylist() == ["p2"]


def renamed(raw: Path, how: Any, *columns: str) -> None:
    for name in (TABLE, FLAGGED_TABLE):
        table = pq.read_table(raw / name)
        for column in columns:
            at = table.schema.get_field_index(column)
            values = pa.array([how(value) for value in table[column].to_pylist()])
            table = table.set_column(at, column, values)
        pq.write_table(table, raw / name)


SPELLINGS = {
    "an ending": lambda name: f"{name}.tif",
    "a path": lambda name: f"BigEarthNet-S2/x/{name}/",
    "another case": str.lower,
}


@pytest.mark.parametrize("how", SPELLINGS)
def test_a_table_in_another_spelling_is_matched_and_told(
    raw: Path, tmp_path: Path, how: str
) -> None:
    made(raw, tmp_path / "plain")
    renamed(raw, SPELLINGS[how], "patch_id", "s1_name")
    report = made(raw, tmp_path / "store")
    said = [
        note for note in report.reading if "5 names of column patch_id of the tables are" in note
    ]
    assert len(said) == 1
    given, known = said[0].partition(": ")[2].split(" is ")
    assert given == repr(SPELLINGS[how](known.strip("'")))
    assert report.without_row == {}
    assert open_store(tmp_path / "store").table().equals(open_store(tmp_path / "plain").table())
    cut = made(raw, tmp_path / "cut", limit=2)
    if how != "another case":
        assert cut.records == {"s2": 2, "s1": 2, "map": 2}


def test_a_table_of_other_patches_is_refused_before_a_pixel_is_read(
    raw: Path, tmp_path: Path
) -> None:
    renamed(raw, lambda name: f"other_{name}", "patch_id", "s1_name")
    names = "|".join(patches(raw, "s2"))
    said = rf"no patch of the source is in .*{TABLE}, .*: a name there is 'other_.*'({names})'"
    with pytest.raises(TableError, match=said):
        made(raw, tmp_path / "store")
    assert not (tmp_path / "store" / "data.mdb").exists()
    with pytest.raises(TableError, match=said):
        dry_run(DATASET, raw, tmp_path / "store", workers=0)
    with pytest.raises(TableError, match=said):
        made(raw, tmp_path / "store", limit=1)


def test_archives_and_a_table_of_other_patches_end_in_the_same_sentence(
    raw: Path, tmp_path: Path
) -> None:
    renamed(raw, lambda name: f"other_{name}", "patch_id", "s1_name")
    with pytest.raises(TableError, match="a name there is 'other_"):
        made(packed(raw), tmp_path / "store")
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_an_lmdb_and_a_table_of_other_patches(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "native", layout="native")
    (tmp_path / "lmdb").mkdir()
    data = (tmp_path / "native" / "data.mdb").read_bytes()
    (tmp_path / "lmdb" / "data.mdb").write_bytes(data)
    renamed(raw, lambda name: f"{name}.tif", "patch_id", "s1_name")
    report = index(tmp_path / "lmdb", DATASET, paths={"metadata": raw / TABLE})
    assert "column patch_id of the tables are found in another spelling" in report.text()
    renamed(raw, lambda name: f"other_{name}", "patch_id", "s1_name")
    with pytest.raises(TableError, match="a name there is 'other_"):
        index(tmp_path / "lmdb", DATASET, paths={"metadata": raw / TABLE})


def test_two_spellings_of_one_patch_in_a_table_are_refused(raw: Path, tmp_path: Path) -> None:
    table = pq.read_table(raw / TABLE)
    first = table.slice(0, 1)
    name = first["patch_id"][0].as_py()
    for ending in (".tif", ".npy"):
        other = first.set_column(0, "patch_id", pa.array([f"{name}{ending}"]))
        table = pa.concat_tables([table.slice(1) if ending == ".tif" else table, other])
    pq.write_table(table, raw / TABLE)
    with pytest.raises(TableError, match=f"patch {name} is in the tables twice, in two spellings"):
        made(raw, tmp_path / "store")


def test_pairs_in_another_spelling_are_matched(tmp_path: Path) -> None:
    more = '[pairs]\nfile = "pairs.csv"\nidentity = "A"\ncolumns = { partner = "B" }\n'
    description = tiny(tmp_path, more=more)
    (tmp_path / "raw" / "pairs.csv").write_text("A,B\np1.tif,007\np2.tif,008\n")
    report = convert(description, tmp_path / "raw", tmp_path / "store", workers=0)
    assert open_store(tmp_path / "store").table()["partner"].to_pylist()[:3] == ["007", "008", None]
    assert "2 names of pairs.csv are found in another spelling" in report.text()
    (tmp_path / "raw" / "pairs.csv").write_text("A;B\np1;007\n")
    convert(description, tmp_path / "raw", tmp_path / "store", workers=0, overwrite=True)
    assert open_store(tmp_path / "store").table()["partner"].to_pylist()[:2] == ["007", None]
    (tmp_path / "raw" / "pairs.csv").write_text("A,B\nq1,007\n")
    with pytest.raises(
        TableError, match=r"is in .*pairs.csv: a name there is 'q1', and in the sou"
    ):
        convert(description, tmp_path / "raw", tmp_path / "store", workers=0, overwrite=True)


def test_a_real_list_is_read_as_before(shared_data: Path) -> None:
    names = read_list(shared_data / "bigearthnet-v1" / "val.csv")
    assert len(names) == len(set(names)) > 100_000
    assert all(name.startswith("S2") for name in names)


def test_letters_with_accents_are_the_same_in_each_form() -> None:
    whole, parts = "p1\u00e9", "p1e\u0301"  # as most programs write it, and as macOS does
    found = respelling(pa.array([whole]), pa.array([parts]))
    assert found.known.to_pylist() == [parts]
