"""Dataset descriptions: the built-in ones load, and each mistake names the file and the key."""

import os
import re
from pathlib import Path

import pytest

from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.parse import (
    built_in_descriptions,
    find_description,
    load_description,
    parse_description,
)
from patchpress.converter.descriptions.table_source import TableSource
from patchpress.readers.errors import DescriptionError
from tests.support.helpers import DATASET, TINY

GOOD = TINY.replace("{kind}", "image")
TAIL = """
[tables.metadata]
file = "metadata.parquet"

[splits]
column = "split"
names = ["train", "test"]

[labels.labels]
classes = ["one", "two"]
"""


def described() -> Description:
    return parse_description(GOOD + TAIL, "mine.toml")


@pytest.mark.parametrize("name", built_in_descriptions())
def test_built_in_descriptions_load_under_their_own_name(name: str) -> None:
    assert find_description(name).dataset.name == name


def test_bigearthnet_v2_is_as_published() -> None:
    described = find_description(DATASET)
    assert list(described.modalities) == ["s2", "s1", "map"]
    s2, s1, codes = described.modalities.values()
    names = "B01 B02 B03 B04 B05 B06 B07 B08 B8A B09 B11 B12"
    assert [band.name for band in s2.bands] == names.split()
    assert [band.gsd for band in s2.bands] == [60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 20, 20]
    assert all(band.shape == (1200 / band.gsd, 1200 / band.gsd) for band in s2.bands)
    assert [band.name for band in s1.bands] == ["VV", "VH"]
    assert {band.dtype for band in s1.bands} == {"float32"}
    assert [(band.name, band.dtype, band.shape) for band in codes.bands] == [
        ("Data", "uint16", (120, 120))
    ]
    assert (s2.interpolated, s1.interpolated, codes.interpolated) == (True, True, False)
    assert described.split_names == ("train", "validation", "test")
    assert len(described.classes["labels"]) == 19
    assert described.classes["labels"][:2] == ("Urban fabric", "Industrial or commercial units")
    assert described.dataset.licence == "CDLA-Permissive-1.0"
    assert described.identity == "patch_id"


def test_patterns_match_published_names() -> None:
    fields = {name: m.fields for name, m in find_description(DATASET).modalities.items()}
    s2 = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57"
    s1 = "S1B_IW_GRDH_1SDV_20170612T165809_33UUP_26_57"
    found = re.fullmatch(fields["s2"]["patch_id"], s2)
    assert found is not None
    assert found["product"] == "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
    found = re.fullmatch(fields["s1"]["s1_name"], s1)
    assert found is not None
    assert found["scene"] == "S1B_IW_GRDH_1SDV_20170612T165809"
    assert re.fullmatch(fields["s2"]["patch_id"], s1) is None


def test_a_whole_description_is_read() -> None:
    description = described()
    assert description.tables == {"metadata": TableSource("metadata.parquet")}
    assert (description.split_column, description.split_names) == ("split", ("train", "test"))
    assert description.classes == {"labels": ("one", "two")}


def test_tables_splits_and_labels_may_be_left_out() -> None:
    description = parse_description(GOOD, "mine.toml")
    assert (description.tables, description.split_column, description.classes) == ({}, None, {})


# Mistake -> (text of the description, text that replaces it, text that the error must have)
MISTAKES = {
    "unknown key at the top": ("[dataset]", "colour = 1\n[dataset]", "'colour'"),
    "unknown key of the dataset": ('url = "none"', 'url = "none"\nsize = 1', "'dataset.size'"),
    "unknown key of a modality": ('title = "A"', 'title = "A"\nsize = 1', "'modalities.a.size'"),
    "unknown key of a band": ("gsd = 20,", "gsd = 20, unit = 1,", "modalities.a.bands[1].unit"),
    "unknown key of a table": ('"metadata.parquet"', '"m"\nrows = 3', "'tables.metadata.rows'"),
    "flagged is no list": ('column = "split"', 'column = "split"\nflagged = 1', "splits.flagged"),
    "default is no bool": ("classes =", 'default = "yes"\nclasses =', "'labels.labels.default'"),
    "unknown key of the splits": ('column = "split"', 'column = "split"\nx = 1', "'splits.x'"),
    "unknown key of labels": ("classes =", "x = 1\nclasses =", "'labels.labels.x'"),
    "missing name": ('name = "tiny"', "", "'dataset.name'"),
    "missing title": ('title = "A"', "", "'modalities.a.title'"),
    "missing gsd": ("gsd = 20, ", "", "modalities.a.bands[1].gsd"),
    "missing fields": ("[modalities.a.fields]", "[other]", "'modalities.a.path' has the field"),
    "name is a number": ('name = "tiny"', "name = 3", "'dataset.name'"),
    "rgb is a number": ('folder = "A"', 'folder = "A"\nrgb = 3', "'modalities.a.rgb'"),
    "rgb of another band": ('folder = "A"', 'folder = "A"\nrgb = ["red"]', "'modalities.a.rgb'"),
    "wavelength is text": ("gsd = 20", 'gsd = 20, wavelength = "red"', ".wavelength"),
    "wavelength is below 0": ("gsd = 20", "gsd = 20, wavelength = -1", "must be nanometres of one"),
    "wavelength of many": ("gsd = 20", "gsd = 20, count = 2, wavelength = 500", "not 500"),
    "gsd is a string": ("gsd = 20", 'gsd = "20"', "modalities.a.bands[1].gsd"),
    "gsd is true": ("gsd = 20", "gsd = true", "modalities.a.bands[1].gsd"),
    "gsd is nothing": ("gsd = 20", "gsd = 0", "modalities.a.bands[1].gsd"),
    "shape is a string": ("shape = [6, 6]", 'shape = "6x6"', "modalities.a.bands[1].shape"),
    "shape has one side": ("shape = [6, 6]", "shape = [6]", "modalities.a.bands[1].shape"),
    "shape has a zero": ("shape = [6, 6]", "shape = [6, 0]", "modalities.a.bands[1].shape"),
    "a folder above": ('folder = "A"', 'folder = "../A"', "'modalities.a.folder'"),
    "a folder anywhere": ('folder = "A"', 'folder = "/A"', "'modalities.a.folder'"),
    "a path that leads out": ("{group}/", "../{group}/", "'modalities.a.path'"),
    "a table anywhere": ('"metadata.parquet"', '"/metadata.parquet"', "'tables.metadata.file'"),
    "a table above": ('"metadata.parquet"', '"a/../../m.parquet"', "'tables.metadata.file'"),
    "shape is enormous": (
        "shape = [6, 6]", "shape = [1000000000, 1000000000]", "modalities.a.bands[1].shape"),
    "a billion bands": ("gsd = 20,", "gsd = 20, count = 1000000000,", "bands[1].count"),
    "a pattern with a huge repeat": ("'p\\d+'", "'p{99999999999999}'", "a.fields.name"),
    "shape does not divide": ("shape = [6, 6]", "shape = [5, 6]", "modalities.a.bands"),
    "dtype is none of NumPy's": ('gsd = 20, dtype = "uint16"', 'gsd = 20, dtype = "u16"', ".dtype"),
    "dtypes differ": ('gsd = 20, dtype = "uint16"', 'gsd = 20, dtype = "uint8"', "one dtype"),
    "a band twice": ('name = "coarse"', 'name = "fine"', "'fine' twice"),
    "a class twice": ('["one", "two"]', '["one", "one"]', "'one' twice"),
    "no classes": ('["one", "two"]', "[]", "'labels.labels.classes'"),
    "classes are numbers": ('["one", "two"]', "[1, 2]", "'labels.labels.classes'"),
    "another kind": ('kind = "image"', 'kind = "sound"', "'sound'"),
    "a bad pattern": ("'p\\d+'", "'p(\\d+'", "'modalities.a.fields.name'"),
    "a path with an unknown field": ("{group}/", "{place}/", "{place}"),
    "a path without bands": ("{name}_{band}.tif", "{name}.tif", "{band}"),
    "a path with an open brace": ("{group}/", "{group/", "'modalities.a.path'"),
    "a key with an open brace": ('key = "{name}"', 'key = "{name"', "'modalities.a.key'"),
    "a key without a field": ('key = "{name}"', 'key = "name"', "'modalities.a.key'"),
    "a key of another field": ('key = "{name}"', 'key = "{place}"', "'modalities.a.key'"),
    "a column with an open brace": (
        'folder = "A"', 'folder = "A"\ncolumns = { x = "{name" }', "'modalities.a.columns.x'"),
    "a column with a brace around nothing": (
        'folder = "A"', 'folder = "A"\ncolumns = { x = "{}" }', "'modalities.a.columns.x'"),
    "a sidecar of another field": (
        'folder = "A"', 'folder = "A"\nsidecar = { file = "{group}.json" }',
        "'modalities.a.sidecar.file' has the field {group}, not {name}"),
    "a field twice in one name": (
        "{name}/{name}_", "{group}{name}/{name}_", "'modalities.a.path'"),
    "a table named as a modality": ("[tables.metadata]", "[tables.a]", "modality 'a'"),
    "no modality": (
        GOOD[GOOD.index("[modalities.a]") :], "[modalities]\n", "'modalities' must describe"),
    "no band": (
        GOOD[GOOD.index("bands = [") : GOOD.index("[modalities.a.fields]")],
        "bands = []\n", "'modalities.a.bands' must list at least one band"),
    "bands in folders": (
        "{name}/{name}_{band}", "{band}/{name}_{band}", "{band} in the file's name only"),
    "tiles smaller than patches": (
        "[labels.labels]",
        "[splits.geographic]\nposition = '(?P<x>1)(?P<y>2)'\ntile_m = 1\npatch_m = 10\n"
        "[labels.labels]",
        "'splits.geographic.patch_m' and tile_m must be metres, the tile's the larger"),
    "a position without y": (
        "[labels.labels]",
        "[splits.geographic]\nposition = '(?P<x>1)'\ntile_m = 10\npatch_m = 1\n[labels.labels]",
        "'splits.geographic.position' has no group named 'y'"),
    "groups by no expression": (
        "[labels.labels]", "[splits.groups]\npattern = '(?P<group>p'\n[labels.labels]",
        "'splits.groups.pattern' is no regular expression"),
    "groups held out of none": (
        "[labels.labels]", "[splits.groups]\nhold_out = ['p1']\n[labels.labels]",
        "'splits.groups.hold_out' needs a pattern"),
    "a class list of nobody": (
        'classes = ["one", "two"]', 'class_list = "corinne"',
        "'labels.labels.class_list' is unknown (there is no class list 'corinne'"),
    "a rule of nobody": (
        'classes = ["one", "two"]', 'classes = ["one"]\nrule = "most"\nfrom = "a"',
        "'labels.labels.rule' must be one of"),
    "a rule from nothing": (
        'classes = ["one", "two"]', 'class_list = "igbp"\nrule = "multi"', "belong together"),
    "a rule from an image": (
        'classes = ["one", "two"]', 'class_list = "igbp"\nrule = "multi"\nfrom = "a"',
        "'labels.labels.from' must name a modality of kind classes, not 'a'"),
    "codes of an image": (
        'classes = ["one", "two"]', 'class_list = "igbp"\nmap = "a"',
        "'labels.labels.map' must name a modality of kind classes, not 'a'"),
    "labels mapped from none above": (
        'classes = ["one", "two"]', 'class_list = "igbp"\nrule = "mapped"\nfrom = "other"',
        "'labels.labels.from' must name a label column above, not 'other'"),
    "two defaults": (
        'classes = ["one", "two"]',
        'classes = ["one"]\ndefault = true\n[labels.more]\nclasses = ["x"]\ndefault = true',
        "'labels.more.default' is true for two label columns"),
    "a rule without codes": (
        'classes = ["one", "two"]',
        'classes = ["one"]\n[labels.more]\nclasses = ["x"]\nrule = "mapped"\nfrom = "labels"',
        "'labels.more.class_list' is missing: the rule needs its codes"),
    "a map of nobody": (
        'classes = ["one", "two"]', 'class_list = "igbp"\nmap = "none"',
        "'labels.labels.map' must name a modality of kind classes, not 'none'"),
    "an md5 that is none": (
        "[splits]", '[md5]\n"A.tar" = "0123"\n[splits]',
        "'md5.A.tar' must be 32 hexadecimal digits, not '0123'"),
    "two modalities of the same files": (
        "[tables.metadata]",
        GOOD[GOOD.index("[modalities.a]") :].replace(
            "modalities.a", "modalities.b").replace('"{name}"', '"{name}_b"') + "[tables.metadata]",
        "'modalities.b.path' takes the same files as a: {group}/{name}/{name}_{band}.tif"),
    "lists in lists": ('url = "none"', 'url = "none"\nx = ' + "[" * 5_000, "too deep"),
    "no TOML": ('name = "tiny"', "name = tiny", "line 3"),
    "a key twice": ('name = "tiny"', 'name = "tiny"\nname = "tiny"', "line 4"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_with_file_and_key(mistake: str) -> None:
    old, new, named = MISTAKES[mistake]
    text = GOOD + TAIL
    if mistake == "a field twice in one name":
        text = text.replace("name = 'p\\d+'", "name = '(?P<group>\\w+)p\\d+'")
    assert text.count(old) >= 1
    with pytest.raises(DescriptionError) as refused:
        parse_description(text.replace(old, new, 1), "mine.toml")
    sentence = str(refused.value)
    assert sentence.startswith("mine.toml: ")
    assert named in sentence
    assert "\n" not in sentence


def test_a_description_without_modalities_is_refused() -> None:
    with pytest.raises(DescriptionError, match="modalities"):
        parse_description(GOOD.partition("[modalities")[0], "mine.toml")


def test_a_description_of_ones_own_is_found_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert find_description(str(path)) == load_description(path)


@pytest.mark.parametrize("kind", ["absent", "folder", "bytes"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mine.toml"
    if kind == "folder":
        path.mkdir()
    elif kind == "bytes":
        path.write_bytes(b"\xff\xfe")
    with pytest.raises(DescriptionError, match=r"mine\.toml"):
        find_description(str(path))


def test_an_unknown_dataset_lists_those_there_are() -> None:
    with pytest.raises(DescriptionError, match=DATASET):
        find_description("bigearthnet-v9")


def test_a_description_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    path.touch()
    os.truncate(path, 1 << 40)  # takes no room
    with pytest.raises(DescriptionError, match=r"large.toml .* more than 16 MB"):
        find_description(str(path))
