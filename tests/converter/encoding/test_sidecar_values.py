"""Values of JSON files: of several types, null, nested, too large, for columns of every kind."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import Samples, convert, dry_run, open_store, verify
from patchpress.readers.errors import PatchError, SamplesLeftOut
from tests.support.helpers import geotiff, tiny_dataset

NOTES = """
[modalities.a.sidecar]
file = "{name}.json"
columns = { labels = "labels", extra = "extra" }
[labels.labels]
classes = ["sea", "land, dry"]
"""


def tiny(root: Path, notes: list[dict[str, Any]]) -> Path:
    names = [f"p{number}" for number in range(len(notes))]
    path = tiny_dataset(root, {"g": names})
    path.write_text(path.read_text() + NOTES)
    for name, content in zip(names, notes, strict=True):
        text = json.dumps({"labels": ["sea"], "extra": "x"} | content)
        (root / "raw" / "A" / "g" / name / f"{name}.json").write_text(text)
    return path


def column(description: Path, name: str, **options: Any) -> tuple[str, list[Any], list[str]]:
    root = description.parent
    dry_run(description, root / "raw", root / "store", workers=0, **options)
    report = convert(description, root / "raw", root / "store", workers=0, **options)
    assert verify(root / "store").good
    found = open_store(root / "store").table()[name]
    return str(found.type), found.to_pylist(), report.reading


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["a", "b"], "string", ["a", "b"]),
        ([1, 2], "int64", [1, 2]),
        ([1, None, 3], "int64", [1, None, 3]),
        ([1, 2.5], "double", [1.0, 2.5]),
        ([True, False, None], "bool", [True, False, None]),
        (["a", None], "string", ["a", None]),
        ([None, None], "string", [None, None]),
        ([["a"], []], "list<element: string>", [["a"], []]),
        ([[1, 2.5], [3]], "list<element: double>", [[1.0, 2.5], [3.0]]),
        ([[], []], "list<element: string>", [[], []]),
        # of two types
        (["a", ["b", "c"]], "list<element: string>", [["a"], ["b", "c"]]),
        (["12", 13, 1.5, True], "string", ["12", "13", "1.5", "true"]),
        ([True, 1], "string", ["true", "1"]),
        ([["a"], [1], 2.5, None], "list<element: string>", [["a"], ["1"], ["2.5"], None]),
        ([1, [2, 3]], "list<element: int64>", [[1], [2, 3]]),
    ],
)
def test_a_column_has_one_type_whatever_the_files_say(
    tmp_path: Path, values: list[Any], kind: str, expected: list[Any]
) -> None:
    description = tiny(tmp_path, [{"extra": value} for value in values])
    found, there, notes = column(description, "extra")
    assert (found, there) == (kind, expected)
    types = {type(value) for value in values} - {type(None)}
    mixed = len(types) > 1 and types != {int, float}
    assert bool(notes) or not mixed


def test_one_label_among_lists_is_a_list_of_one_and_told(tmp_path: Path) -> None:
    description = tiny(tmp_path, [{}, {"labels": "land, dry"}, {"labels": None}, {"labels": []}])
    _, there, notes = column(description, "labels")
    assert there == [["sea"], ["land, dry"], None, []]
    said = "labels is of several types in the JSON files of a: lists and text, stored as lists of"
    assert notes[0].startswith(said)
    foretold = dry_run(description, tmp_path / "raw", tmp_path / "other", workers=0)
    assert foretold.reading == tuple(notes)
    with pytest.warns(SamplesLeftOut):
        samples = Samples(open_store(tmp_path / "store"))
    assert samples.labels.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert samples.left_out == {"without labels": 1}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an object": (
        {"extra": {"a": 1}},
        "p1.json gives {'a': 1} for extra, which must be text, a num",
    ),
    "lists in lists": ({"extra": [["a"]]}, "for extra, which must be text, a number or a list"),
    "a list of two kinds": ({"extra": ["a", 1]}, "a list must have values of one kind"),
    "null in a list": ({"extra": ["a", None]}, "a list must have values of one kind"),
    "a number too large": ({"extra": 10**30}, "for extra: no 64-bit number"),
    "half a character": ({"extra": "\ud800"}, "for extra, which is no Unicode"),
    "a label that is a number": ({"labels": 3}, "for labels, which must be a label or a list of"),
    "a label in an object": ({"labels": {"a": "sea"}}, "for labels, which must be a label or a"),
    "an unknown label": ({"labels": ["mud"]}, "p1.json: label 'mud' is unknown"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_no_table_can_hold_is_one_patch_that_is_wrong(tmp_path: Path, wrong: str) -> None:
    notes, reason = WRONG[wrong]
    description = tiny(tmp_path, [{}, notes, {}])
    with pytest.raises(PatchError, match=reason):
        convert(description, tmp_path / "raw", tmp_path / "store", workers=0)
    foretold = dry_run(description, tmp_path / "raw", tmp_path / "store", workers=0)
    assert len(foretold.damaged) == 1
    assert reason[:20] in foretold.damaged[0] or "p1.json" in foretold.damaged[0]
    report = convert(description, tmp_path / "raw", tmp_path / "store", workers=0, on_error="skip")
    assert len(report.skipped) == 1
    assert report.records == {"a": 2}
    assert verify(tmp_path / "store").good


def test_numbers_that_are_equal_keep_their_types_over_a_resumed_conversion(tmp_path: Path) -> None:
    """To a dict of Python 1, 1.0 and True are one value."""
    description = tiny(tmp_path, [{"extra": 1}, {"extra": 1.0}, {"extra": 1}])
    assert column(description, "extra")[:2] == ("double", [1.0, 1.0, 1.0])
    (tmp_path / "other").mkdir()
    description = tiny(tmp_path / "other", [{"extra": True}, {"extra": 1}])
    assert column(description, "extra")[:2] == ("string", ["true", "1"])


def test_a_file_that_is_nested_deep_is_an_error_of_its_patch(tmp_path: Path) -> None:
    path = tiny(tmp_path, [{}, {}])
    file = tmp_path / "raw" / "A" / "g" / "p1" / "p1.json"
    file.write_text('{"extra":' * 100_000)
    with pytest.raises(PatchError, match=r"p1\.json is nested too deep"):
        convert(path, tmp_path / "raw", tmp_path / "store", workers=0)


def test_a_file_of_many_keys_ends_in_one_line(tmp_path: Path) -> None:
    path = tiny(tmp_path, [{}])
    file = tmp_path / "raw" / "A" / "g" / "p0" / "p0.json"
    file.write_text(json.dumps(dict.fromkeys(map(str, range(100_000)))))
    with pytest.raises(PatchError, match=r"p0\.json has no key 'labels'; it has 0, 1") as error:
        convert(path, tmp_path / "raw", tmp_path / "store", workers=0)
    assert len(str(error.value)) < 500 + len(str(tmp_path))


def test_a_file_of_megabytes_is_not_parsed(tmp_path: Path) -> None:
    path = tiny(tmp_path, [{}])
    file = tmp_path / "raw" / "A" / "g" / "p0" / "p0.json"
    file.write_text('{"labels":[' + "[]," * 1_000_000 + "[]]}")
    with pytest.raises(PatchError, match=r"p0\.json has 3,0.* bytes"):
        convert(path, tmp_path / "raw", tmp_path / "store", workers=0)


def test_json_beside_patches_that_are_files_is_read_and_not_called_nothing(tmp_path: Path) -> None:
    path = tiny_dataset(tmp_path, {"g": []})
    text = path.read_text().replace("{group}/{name}/{name}_{band}.tif", "{group}/{name}.tif")
    path.write_text(text.replace("[6, 6]", "[12, 12]") + NOTES)
    folder = tmp_path / "raw" / "A" / "g"
    folder.mkdir(parents=True)
    for number in range(3):
        pixels = np.full((2, 12, 12), number, np.uint16)
        geotiff(folder / f"p{number}.tif", pixels)
        (folder / f"p{number}.json").write_text('{"labels": ["sea"], "extra": 1}')
    report = convert(path, tmp_path / "raw", tmp_path / "all", workers=0)
    assert not report.passed_over
    assert open_store(tmp_path / "all").table()["extra"].to_pylist() == [1, 1, 1]
    (folder / "p2.tif").unlink()
    (folder / "p1.txt").write_text("x")
    report = convert(path, tmp_path / "raw", tmp_path / "two", workers=0)
    assert report.passed_over["a"].names == ["g/p1.txt", "g/p2.json"]
