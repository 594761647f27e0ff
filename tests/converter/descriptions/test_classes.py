"""Class lists: compared with the publishers' tables; other spellings; files with mistakes."""

import csv
import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchpress.converter.descriptions.classes import (
    ClassList,
    built_in_class_lists,
    load_class_list,
    parse_class_list,
)
from patchpress.readers.errors import DescriptionError, TableError

HEAD = '[class_list]\nname = "my"\ntitle = "Mine"\ncode_scheme = "own"\nunclassified = [0]\n'
WATER = '[[classes]]\nname = "Water"\ncodes = [1, 2]\nvariants = ["Open water"]\n'
MOORS = "Moors, heathland and sclerophyllous vegetation"
LAND = '[[classes]]\nname = "Land"\ncodes = [3]\n'


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def by_index(names: dict[str, int]) -> tuple[str, ...]:
    return tuple(sorted(names, key=names.__getitem__))


def test_each_built_in_list_is_named_as_its_file() -> None:
    sizes = {name: len(load_class_list(name).names) for name in built_in_class_lists()}
    assert list(sizes.items()) == [
        ("bigearthnet-19", 19),
        ("corine-2018", 44),
        ("corine-43", 43),
        ("esa-worldcover", 11),
        ("igbp", 17),
        ("igbp-simplified", 10),
        ("seasonet", 33),
        ("sen1floods11", 2),
    ]
    assert [load_class_list(name).name for name in sizes] == list(sizes)


def test_43_and_19_names_and_their_mapping_are_the_official_ones(shared_data: Path) -> None:
    official = json.loads((shared_data / "bigearthnet-v1" / "label_indices.json").read_text())
    old, new = load_class_list("corine-43"), load_class_list("bigearthnet-19")
    assert old.names == by_index(official["original_labels"])
    assert new.names == by_index(official["BigEarthNet-19_labels"])
    expected: dict[str, str | None] = dict.fromkeys(old.names)
    for target, sources in enumerate(official["label_conversion"]):
        expected |= {old.names[source]: new.names[target] for source in sources}
    assert old.mapping_to(new) == expected
    assert list(expected.values()).count(None) == 11


def test_corine_codes_lead_to_the_official_classes_and_indices(shared_data: Path) -> None:
    rows = table(shared_data / "clc_to_ben19.csv")
    corine, old = load_class_list("corine-2018"), load_class_list("corine-43")
    new = load_class_list("bigearthnet-19")
    assert len(rows) == 45
    for known in (corine, old, new):
        assert set(known.codes) == {int(row["clc_code"]) for row in rows}
    for row in rows:
        code = int(row["clc_code"])
        name = new.codes[code]
        assert (name or "UNLABELED") == row["ben19_name"]
        assert (str(new.index(name)) if name else "") == row["ben19_official_index"]
        indexed = str(new.alphabetical.index(name)) if name else ""
        assert indexed == row["ben19_alphabetical_index"]
        assert corine.codes[code] == (
            None if code == 999 else corine.canonical_name(row["clc_name"])
        )
        first = old.codes[code]
        assert (str(old.index(first)) if first else "") == row["ben43_index"]
        assert first is None or first == row["clc_name"]


def test_igbp_and_its_simplified_scheme_are_the_official_ones(shared_data: Path) -> None:
    rows = table(shared_data / "sen12ms_igbp.csv")
    full, simplified = load_class_list("igbp"), load_class_list("igbp-simplified")
    assert full.names == tuple(row["igbp_name"] for row in rows)
    mapping = full.mapping_to(simplified)
    for row in rows:
        assert full.codes[int(row["igbp"])] == row["igbp_name"]
        assert simplified.codes[int(row["igbp"])] == row["simplified_name"]
        assert simplified.index(row["simplified_name"]) == int(row["simplified"]) - 1
        assert mapping[row["igbp_name"]] == row["simplified_name"]
    assert set(full.codes) == set(simplified.codes) == {*range(1, 18), 255}
    assert full.codes[255] is simplified.codes[255] is None


def test_labels_of_all_real_v1_patches_are_among_the_43(shared_data: Path) -> None:
    files = sorted((shared_data / "bigearthnet-v1" / "sample").rglob("*_labels_metadata.json"))
    assert len(files) == 88
    for path in files:
        for name in json.loads(path.read_text())["labels"]:
            assert load_class_list("corine-43").canonical_name(name) == name


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("Transitional woodland/shrub", "Transitional woodland, shrub"),
        ("transitional woodland / shrub ", "Transitional woodland, shrub"),
        ("Transitional woodland-shrub", "Transitional woodland, shrub"),
        ("ARABLE LAND", "Arable land"),
        ("Beaches,dunes,sands", "Beaches, dunes, sands"),
        ("Moors, heathland, and sclerophyllous vegetation", MOORS),
    ],
)
def test_a_variant_is_known_by_its_canonical_name(spelling: str, name: str) -> None:
    known = load_class_list("bigearthnet-19")
    assert known.canonical_name(spelling) == name
    assert known.names[known.index(spelling)] == name


@given(st.data(), st.sampled_from(built_in_class_lists()))
def test_case_and_blanks_of_a_name_do_not_matter(data: st.DataObject, listed: str) -> None:
    name = data.draw(st.sampled_from(load_class_list(listed).names))
    blank = st.sampled_from(["", " ", "\t", "\r\n", "\u00a0"])
    letters = [data.draw(st.sampled_from([c.upper(), c.lower()])) + data.draw(blank) for c in name]
    assert load_class_list(listed).canonical_name("".join(letters)) == name


def test_an_unknown_name_is_an_error_that_suggests_the_nearest() -> None:
    with pytest.raises(TableError, match=r"'Broadleaf forest' is none .* is 'Broad-leaved forest'"):
        load_class_list("bigearthnet-19").canonical_name("Broadleaf forest")
    with pytest.raises(TableError, match="there are Forest, Shrubland"):
        load_class_list("igbp-simplified").index("zzzzzzzz")
    with pytest.raises(TableError, match="'Natural grassland' is none"):
        # One of the 43, not of the 19.
        load_class_list("bigearthnet-19").canonical_name("Natural grassland")


def test_lists_without_a_clear_mapping_are_refused() -> None:
    with pytest.raises(TableError, match=r"'Urban fabric' would be Continuous .* and Disc"):
        load_class_list("bigearthnet-19").mapping_to(load_class_list("corine-43"))
    with pytest.raises(TableError, match="corine-level-3, of the other igbp"):
        load_class_list("corine-43").mapping_to(load_class_list("igbp"))
    short = parse_class_list(HEAD + WATER, "short.toml")
    with pytest.raises(TableError, match="my does not know the code 3 of 'Land'"):
        parse_class_list(HEAD + WATER + LAND, "long.toml").mapping_to(short)


def test_a_list_is_loaded_once_and_crosses_a_process_boundary(tmp_path: Path) -> None:
    assert load_class_list("igbp") is load_class_list("igbp")
    copy: ClassList = pickle.loads(pickle.dumps(load_class_list("igbp")))  # noqa: S301
    assert copy == load_class_list("igbp")
    (tmp_path / "my.toml").write_text(HEAD + WATER + LAND)
    own = load_class_list(str(tmp_path / "my.toml"))
    assert own.codes == {0: None, 1: "Water", 2: "Water", 3: "Land"}
    assert own.alphabetical == ("Land", "Water")
    assert own.codes_of("open water") == (1, 2)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD + WATER + "shade = 1\n", r"'classes\[0\].shade' is unknown"),
        ("shade = 1\n" + HEAD + WATER, "'shade' is unknown"),
        (HEAD + "year = 1\n" + WATER, "'class_list.year' is unknown"),
        (HEAD.replace("unclassified", "unknown") + WATER, "'class_list.unclassified' is missing"),
        (HEAD.replace('"Mine"', "3") + WATER, "'class_list.title' must be a string, not 3"),
        (HEAD, "'classes' is missing"),
        ("classes = []\n" + HEAD, "'classes' must list at least one"),
        ("classes = [3]\n" + HEAD, r"\[classes\[0\]\] must be a table, not 3"),
        (HEAD + WATER + WATER, r"'classes\[1\].codes' gives the code 1 a second time"),
        (HEAD + WATER + LAND.replace("Land", "open Water"), "already a spelling of 'Water'"),
        (HEAD + WATER + LAND.replace("Land", " "), r"'classes\[1\].name' has an empty name"),
        (HEAD + LAND.replace("[3]", "[]"), "must list at least one code"),
        (HEAD + LAND.replace("[3]", "[true]"), "must be a list of whole numbers"),
        (HEAD + LAND + "variants = [1]\n", "must be a list of strings"),
        (HEAD + "[[classes\n", r"wrong.toml: .*line 6"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_file_and_key(text: str, problem: str) -> None:
    with pytest.raises(DescriptionError, match=problem) as caught:
        parse_class_list(text, "wrong.toml")
    assert "wrong.toml" in str(caught.value)


def test_a_list_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DescriptionError, match="no class list 'corine': nearest are 'corine-43'"):
        load_class_list("corine")
    with pytest.raises(DescriptionError, match="cannot be read"):
        load_class_list(str(tmp_path / "absent.toml"))
