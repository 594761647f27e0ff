"""Splits from lists of numbers of rows, from one JSON, and from lists that are all the same."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pytest

from patchpress import Report, open_store
from patchpress.converter.storage import report as report_module
from patchpress.readers.errors import PatchpressError
from tests.support.ponds import convert_ponds, ponds

ROWS = """
[tables.meta]
file = "meta.csv"
key = "Path"

[splits]
column = "split"
names = ["train", "validation", "test"]
rows_of = "meta"
first_row = 0

[splits.lists]
train = "splits/train.csv"
validation = "splits/val.csv"
test = "splits/test.csv"
"""
NAMES = ROWS.replace('rows_of = "meta"\nfirst_row = 0\n', "").replace(
    '[tables.meta]\nfile = "meta.csv"\nkey = "Path"\n', ""
)


def stored(tmp_path: Path, files: Mapping[str, str], text: str = ROWS) -> Report:
    root = ponds(tmp_path)
    (root / "splits").mkdir(exist_ok=True)
    (root / "meta.csv").write_text("Path,cloud\nx/d.tif,1\nx/c.tif,2\nx/e.tif,3\nx/a.tif,4\n")
    for name, content in files.items():
        (root / name).write_text(content)
    return convert_ponds(root, text, overwrite=True)


def split_of(tmp_path: Path) -> dict[str, str | None]:
    rows = open_store(tmp_path / "store").table(columns=["patch_id", "split"])
    return dict(zip(rows["patch_id"].to_pylist(), rows["split"].to_pylist(), strict=True))


@pytest.mark.parametrize("train", ["0\n3\n", "index\r\n0\r\n3\r\n", "3\n\n0", "\ufeff0\n3\n"])
def test_numbers_of_rows_are_splits(tmp_path: Path, train: str) -> None:
    report = stored(
        tmp_path, {"splits/train.csv": train, "splits/val.csv": "1", "splits/test.csv": "2"}
    )
    assert split_of(tmp_path) == {"a": "train", "b": None, "c": "validation", "d": "train"}
    assert report.listed_without_pixels == {"test": ["x/e.tif"]}
    written = (tmp_path / "store.report.json").read_text()
    content = asdict(report) | {"listed_without_pixels": {"test": ["x/e.tif"]}}
    assert written == json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def test_a_long_list_is_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "_NAMES_AT_ONCE", 2)
    names = ["one", 'tw"o', "thr\\ee", "fünf", "6"]
    report = Report("s", "d", "l", "c", listed_without_pixels={"a": names, "b": []})
    report.write(tmp_path / "report.json")
    expected = json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n"
    assert (tmp_path / "report.json").read_text("utf-8") == expected


def test_rows_may_count_from_1(tmp_path: Path) -> None:
    text = ROWS.replace("first_row = 0", "first_row = 1")
    stored(tmp_path, {"splits/train.csv": "1\n4\n", "splits/val.csv": "2"}, text)
    assert split_of(tmp_path) == {"a": "train", "b": None, "c": "validation", "d": "train"}


@pytest.mark.parametrize(
    ("lists", "sentence"),
    [
        (
            {"train": "0\n4\n"},
            r"train.csv has the row number 4, and .*meta.csv has 4 rows, numbered ",
        ),
        ({"train": "-1\n"}, "train.csv has the row number -1"),
        ({"train": "0\n0\n"}, "train.csv lists the row 0 twice"),
        ({"train": "0\nx\n"}, "train.csv has 'x' in its lines, which must be the number of a row"),
        ({"train": "0\n1.5\n"}, "has '1.5' in its lines"),
        ({"train": "1.0\n2\n"}, "has '1.0' in its lines"),  # no header, which would be a row lost
        ({"train": "1e1\n2\n"}, "has '1e1' in its lines"),
        ({"train": "0\n", "test": "3\n0\n"}, "row 0 .x/d.tif. is in train and in test"),
        ({"train": ""}, "train.csv has no names in it|no numbers"),
    ],
)
def test_numbers_that_are_none_are_one_sentence(
    tmp_path: Path, lists: dict[str, str], sentence: str
) -> None:
    with pytest.raises(PatchpressError, match=sentence) as refused:
        stored(tmp_path, {f"splits/{name}.csv": text for name, text in lists.items()})
    assert "\n" not in str(refused.value)


def test_lists_that_are_all_the_same_tell_no_splits(tmp_path: Path) -> None:
    for text, content in ((ROWS, "0\n1\n"), (NAMES, "a\nb\n")):
        lists = {f"splits/{name}.csv": content for name in ("train", "val", "test")}
        report = stored(tmp_path, lists, text)
        told = [note for note in report.reading if "the same list" in note]
        assert told == [
            "train.csv, val.csv, test.csv are the same list: they tell no splits, and the store "
            "has none"
        ]
        assert open_store(tmp_path / "store").manifest.splits == {}


def test_one_json_file_may_have_the_lists_of_all_splits(tmp_path: Path) -> None:
    text = NAMES
    for name in ("train", "val", "test"):
        text = text.replace(f"splits/{name}.csv", "splits/all.json")
    lists = {"train": ["a", "b.jpg"], "valid": ["c"], "test": ["x/d.tif"]}
    stored(tmp_path, {"splits/all.json": json.dumps(lists)}, text)
    assert split_of(tmp_path) == {"a": "train", "b": "train", "c": "validation", "d": "test"}
    for content, sentence in (
        ('{"train": ["a"]}', "has no list 'validation': it has 'train'"),
        ('{"train": [["a"]], "val": ["b"], "test": ["c"]}', "in the place of a name"),
        ('{"train": ["a"', "all.json is no JSON"),
        ('{"train": ["a", "a"], "val": ["b"], "test": ["c"]}', "lists a twice"),
    ):
        with pytest.raises(PatchpressError, match=sentence):
            stored(tmp_path, {"splits/all.json": content}, text)


def test_a_column_of_a_table_is_the_split_whatever_it_calls_them(tmp_path: Path) -> None:
    text = (
        '[tables.meta]\nfile = "chips.csv"\nkey = "id"\nrename = { split = "subset" }\n'
        '[splits]\ncolumn = "split"\nnames = ["train", "validation", "test"]\n'
    )
    stored(tmp_path, {"chips.csv": "id,subset\na,Train\nb,Valid\nc,TEST\nd,\n"}, text)
    assert split_of(tmp_path) == {"a": "train", "b": "validation", "c": "test", "d": None}
    with pytest.raises(
        PatchpressError, match="gives patch a the split 'pretrain', which is unknown"
    ):
        stored(tmp_path, {"chips.csv": "id,subset\na,pretrain\n"}, text)
