"""What names mean to a first description."""

import re

import pytest

from patchpress.converter.drafting.words import (
    form,
    has_word,
    instrument_of,
    is_band,
    is_mask,
    is_one_of_many,
    rgb_of,
    s2_number,
    slug,
)


@pytest.mark.parametrize(
    ("names", "expression"),
    [
        (["elm_00", "oak_11"], r"[a-z]+_\d+"),
        (["AnnualCrop_1", "Pasture_300"], r"[A-Za-z]+_\d+"),
        (["0000200", "17"], r"\d+"),
        (["S2A_26_57"], r"[A-Z]+\d+[A-Z]+_\d+_\d+"),
        (["a1", "1a", "aa"], r"\w+"),
        (["a-1", "1"], r"[\w-]+"),
        (["a.b", "1-x"], r"[\w.-]+"),
        (["a b", "1"], r"[\w .-]+"),
        (["a+b", "1"], ".+"),
        (["a+b", "c+d"], r"[a-z]+\+[a-z]+"),
        (["Größe_1"], ".+"),
    ],
)
def test_an_expression_takes_names_of_the_same_form(names: list[str], expression: str) -> None:
    found = form(names)
    assert all(re.fullmatch(found, name) for name in names)
    if expression != ".+":
        assert found == expression


def test_patches_are_told_from_parts() -> None:
    many = ["S2A_MSIL2A_20170613T101031_26_57", "0000200", "33UUP_1", "12", "tile_0043"]
    assert all(is_one_of_many(name) for name in many)
    assert not any(is_one_of_many(name) for name in ("Forest", "s1", "s2c", "Images", "class_b"))
    assert all(
        has_word(n) for n in ("BigEarthNet-S2", "s1", "LabelHand", "masks", "Reference_Maps")
    )
    assert not any(has_word(name) for name in ("Forest", "austria", "Industrial", "Residential"))
    assert instrument_of("BigEarthNet-S1-v1.0") == "s1"


def test_bands_and_masks() -> None:
    assert all(is_band(name) for name in ("B01", "B8A", "band_4", "VV", "nir", "Oa21"))
    assert not any(is_band(name) for name in ("Forest", "B", "labels", "20m"))
    assert is_mask("labels")
    assert is_mask("x", "label_masks")
    assert not is_mask("image", "s2")
    assert [s2_number(n) for n in ("B01", "B8A", "B08A", "b4", "Red", "B99")] == [
        "B1", "B8A", "B8A", "B4", "", ""
    ]  # fmt: skip
    assert rgb_of(["B02", "B03", "B04"]) == ["B04", "B03", "B02"]
    assert rgb_of(["red", "Green", "BLUE", "nir"]) == ["red", "Green", "BLUE"]
    assert rgb_of(["VV", "VH"]) == []
    assert slug("My data (2)") == "my_data_2"
    assert slug("///") == "image"
