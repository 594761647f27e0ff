"""Codes of maps have the official colours of their nomenclature."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from patchpress import open_store
from patchpress.converter.descriptions.classes import load_class_list, parse_class_list
from patchpress.converter.pictures.class_colours import NO_CLASS, OTHERS, classes_of
from patchpress.readers.errors import DescriptionError

# From the legend of the European Environment Agency.
CORINE = {111: (230, 0, 77), 211: (255, 255, 168), 311: (128, 255, 0), 523: (230, 242, 255)}


def test_a_map_is_painted_in_the_official_colours(stores: dict[tuple[str, str], Path]) -> None:
    manifest = open_store(stores["stacked", "none"]).manifest
    classes = classes_of(manifest.modality("map"), manifest)
    painted = classes.paint(np.array([list(CORINE)], np.uint16))
    assert [tuple(pixel) for pixel in painted[0].tolist()] == list(CORINE.values())
    assert classes.name_of(211) == "211  Non-irrigated arable land"
    assert classes.colour_of(999) == NO_CLASS
    assert classes.name_of(999) == "999  no class"


def test_every_class_of_the_two_nomenclatures_has_a_colour_of_its_own() -> None:
    for name in ("corine-2018", "igbp", "igbp-simplified"):
        known = load_class_list(name)
        assert set(known.colours) == set(known.names)
        assert len(set(known.colours.values())) == len(known.names)


def test_the_same_class_has_the_same_colour_in_both_lists_of_corine() -> None:
    one, other = load_class_list("corine-2018"), load_class_list("corine-43")
    for name, colour in other.colours.items():
        (code,) = other.codes_of(name)
        assert one.colours[one.codes[code] or ""] == colour


def test_classes_of_no_nomenclature_have_colours_by_their_order(
    stores: dict[tuple[str, str], Path],
) -> None:
    manifest = open_store(stores["stacked", "none"]).manifest
    own = replace(manifest.modality("map"), codes={"labels": {"7": 0, "8": 1, "9": None}})
    classes = classes_of(own, manifest)
    assert [classes.colour_of(code) for code in (7, 8, 9)] == [*OTHERS[:2], NO_CLASS]
    assert classes.name_of(7) == f"7  {manifest.classes['labels'][0]}"
    assert classes.name_of(5) == "5  no class known"


def test_a_colour_that_is_none_is_an_error() -> None:
    text = """
[class_list]
name = "one"
title = "One"
code_scheme = "one"
unclassified = []
[[classes]]
name = "Pond"
codes = [1]
colour = "blue"
"""
    with pytest.raises(DescriptionError, match=r"colour' must be as in #E6004D, not 'blue'"):
        parse_class_list(text, "one.toml")
    assert parse_class_list(text.replace("blue", "#0000ff"), "one.toml").colours == {
        "Pond": "#0000FF"
    }
