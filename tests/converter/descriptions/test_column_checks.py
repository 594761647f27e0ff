"""Columns and splits that a description may not speak of: refused before anything is read."""

from pathlib import Path

import pytest

from patchpress.converter.descriptions.parse import parse_description
from patchpress.readers.errors import DescriptionError
from tests.support.helpers import TINY, tiny_dataset

KEY = 'key = "{name}"'
SPLITS = '[splits]\ncolumn = "split"\nnames = ["train", "validation", "test"]\n'
LABELS = '[labels.labels]\nclasses = ["sea"]\n'
CODES = '[modalities.m]\ntitle = ""\nkind = "classes"\nfolder = "M"\npath = "{name}.tif"\nkey = "{m_name}"\n'  # noqa: E501


def described(*, keys: str = "", more: str = "", name: str = "a") -> object:
    text = TINY.replace("{kind}", "image").replace(KEY, f"{KEY}\n{keys}")
    return parse_description(text.replace("modalities.a", f"modalities.{name}") + more, "my.toml")


def sidecar(columns: str) -> str:
    return f'[modalities.a.sidecar]\nfile = "{{name}}.json"\ncolumns = {{ {columns} }}\n'


OWN = "a column that a store makes itself: call it otherwise"
WRONG: dict[str, tuple[dict[str, str], str]] = {
    "a column left": (
        {"keys": 'columns = { left = "{group}" }'}, f"columns.left' names 'left', {OWN}"),
    "a column EPSG": ({"keys": 'columns = { EPSG = "{group}" }'}, OWN),
    "a column has_a": ({"keys": 'columns = { has_a = "{group}" }'}, OWN),
    "a sidecar's bounds": (
        {"more": sidecar('bounds = "b"')}, f"sidecar.columns.bounds' names .*{OWN}"),
    "a label a_checksum": ({"more": LABELS.replace("labels.labels", "labels.a_checksum")}, OWN),
    "a flag top": ({"more": '[flags]\ntop = "top.txt"\n'}, f"flags.top' names 'top', {OWN}"),
    "a split column right": ({"more": SPLITS.replace('"split"', '"right"')}, OWN),
    "pairs bottom": (
        {"more": '[pairs]\nfile = "p.csv"\nidentity = "i"\ncolumns = { bottom = "b" }\n'},
        f"pairs.columns.bottom' names 'bottom', {OWN}"),
    "two columns of one name": (
        {"keys": 'columns = { g = "{group}" }', "more": sidecar('g = "g"')},
        "sidecar.columns.g' is filled by the modality's columns, too"),
    "two names that differ by case": (
        {"keys": 'columns = { g = "{group}", G = "{group}" }'},
        "columns.G' differs from the column 'g' in case only"),
    "the key's own column": (
        {"keys": 'columns = { name = "{group}" }'}, "the column of the modality's own names"),
    "labels in the key's column": (
        {"more": LABELS.replace("labels.labels", "labels.name")}, "names patches, so it cannot"),
    "splits in the labels": ({"more": LABELS + SPLITS.replace('"split"', '"labels"')},
                             "splits.column' names 'labels', which holds something else"),
    "a flag in the splits": (
        {"more": SPLITS + '[flags]\nsplit = "f.txt"\n'}, "holds something else"),
    "a flag in a column": (
        {"keys": 'columns = { g = "{group}" }', "more": '[flags]\ng = "f.txt"\n'},
        "flags.g' is a column that holds something else"),
    "a flag that nothing has": (
        {"more": SPLITS + 'flagged = ["cloudyy"]\n[flags]\ncloudy = "f.txt"\n'},
        "names 'cloudyy', which neither a table nor .flags. has; there are cloudy"),
    "a modality rows": ({"name": "rows"}, "modalities.rows' needs another name"),
    "two files of one name": (
        {"more": SPLITS + '[splits.lists]\ntrain = "t.txt"\n[flags]\ntrain = "f.txt"\n'},
        "two files are called 'train'"),
    "val and validation": (
        {"more": SPLITS.replace('"test"', '"val"')}, "'val', which means validation, twice"),
    "two lists of one split": (
        {"more": SPLITS + '[splits.lists]\nval = "v.txt"\nvalidation = "w.txt"\n'},
        "lists.validation' means validation, which has a list already"),
    "a list of no split": (
        {"more": SPLITS + '[splits.lists]\nextra = "v.txt"\n'}, "lists.extra' is none of train"),
    "a rule that makes other splits": (
        {"more": SPLITS.replace('"validation", ', "")
         + '[splits.geographic]\nposition = "(?P<x>1)(?P<y>2)"\ntile_m = 10\npatch_m = 1\n'},
        "geographic.position' makes the split 'validation', which is not in names"),
    "held-out groups without test": (
        {"more": SPLITS.replace(', "test"', "")
         + '[splits.groups]\npattern = "(?P<group>p)"\nhold_out = ["p"]\n'},
        "groups.hold_out' makes the split 'test'"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_it_is_refused_by_its_key(wrong: str) -> None:
    parts, reason = WRONG[wrong]
    with pytest.raises(DescriptionError, match=reason) as refused:
        described(**parts)
    assert str(refused.value).startswith("my.toml: ")
    assert "\n" not in str(refused.value)


def test_other_names_of_standard_splits_become_these() -> None:
    names = '["Train", "val", "Test", "hold out"]'
    found = described(more=SPLITS.replace('["train", "validation", "test"]', names)
                      + '[splits.lists]\nvalid = "v.txt"\ntraining = "t.txt"\n')  # fmt: skip
    assert found.splits.names == ("train", "validation", "test", "hold out")  # type: ignore[attr-defined]
    assert found.splits.lists == {"validation": "v.txt", "train": "t.txt"}  # type: ignore[attr-defined]


def test_a_column_split_is_the_split_without_more_words(tmp_path: Path) -> None:
    found = described(keys='columns = { split = "{group}" }')
    assert found.splits.names == ("train", "validation", "test")  # type: ignore[attr-defined]
    assert tiny_dataset(tmp_path, {}).exists()
