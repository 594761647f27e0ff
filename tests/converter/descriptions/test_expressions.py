"""Expressions of descriptions: the language of `re`, and an end to those that have none."""

import pickle
import re

import pytest

from patchpress.converter.descriptions.expressions import expression
from patchpress.converter.descriptions.parse import built_in_descriptions, load_description
from patchpress.readers.errors import DescriptionError

ENDLESS = ("(a+)+b", "(a|a)*b", r"(\w+\s?)*!", "(?:a|aa)+b?!", r"(.*)(.*)(.*)(.*)(.*)(.*)(.*)x")


@pytest.mark.slow
@pytest.mark.parametrize("text", ENDLESS)
def test_an_expression_without_an_end_is_stopped(text: str) -> None:
    found = expression(text, limited=True)
    try:
        assert (
            found.fullmatch("a" * 60 + "c!b!xy") is None
        )  # that engine sees at once that there is no end
    except DescriptionError as error:
        assert text in str(error)
        assert "\n" not in str(error)


def test_one_that_was_stopped_is_named_with_the_way_out() -> None:
    text = r"(?:a|aa)+b?!"
    with pytest.raises(DescriptionError) as stopped:
        expression(text, limited=True).fullmatch("a" * 60 + "c!")
    assert repr(text) in str(stopped.value)
    assert "more than 1 s" in str(stopped.value)


@pytest.mark.parametrize("limited", [True, False])
def test_both_engines_find_the_same(limited: bool) -> None:
    found = expression(r"(?P<tile>T\d{2}\w{3})_(?P<x>\d+)_(?P=x)", limited=limited)
    match = found.fullmatch("T33UUP_7_7")
    assert match is not None
    assert match.groupdict() == {"tile": "T33UUP", "x": "7"}
    assert found.fullmatch("T33UUP_7_8") is None
    again = pickle.loads(pickle.dumps(found))  # noqa: S301 -- our own
    assert again.fullmatch("T33UUP_7_7") is not None


@pytest.mark.parametrize("limited", [True, False])
def test_what_is_no_expression_is_an_error_of_re(limited: bool) -> None:
    with pytest.raises(re.error):
        expression("(", limited=limited)


def test_descriptions_of_the_package_are_not_slowed_down() -> None:
    for path in built_in_descriptions().values():
        modalities = load_description(path).modalities.values()
        assert not any(modality.limited for modality in modalities)
