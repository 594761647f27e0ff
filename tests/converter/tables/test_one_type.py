"""Values of records brought to the type that a table has for them."""

from typing import Any

import pyarrow as pa
import pytest

from patchpress.converter.tables.filling import as_official
from patchpress.converter.tables.one_type import as_type

TEXTS = pa.list_(pa.string())
CASES: dict[str, tuple[pa.Array, pa.DataType, list[Any]]] = {
    "the same": (pa.array(["a", None]), pa.string(), ["a", None]),
    "nothing": (pa.nulls(2), TEXTS, [None, None]),
    "text as a list of one": (pa.array(["a", None]), TEXTS, [["a"], None]),
    "a list of one as text": (pa.array([["a"], None]), pa.string(), ["a", None]),
    "true as text": (pa.array([True, None, False]), pa.string(), ["true", None, "false"]),
    "whole numbers as numbers": (pa.array([1, None]), pa.float64(), [1.0, None]),
    "whole numbers as text": (pa.array([1, None]), pa.string(), ["1", None]),
    "numbers in a list": (pa.array([7]), pa.list_(pa.int32()), [[7]]),
}


@pytest.mark.parametrize("name", CASES)
def test_values_take_the_type_that_is_wanted(name: str) -> None:
    values, kind, wanted = CASES[name]
    found = as_type(values, kind)
    assert found.type == kind
    assert found.to_pylist() == wanted


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([["a", "b"]]), pa.string()),
        (pa.array([[]], TEXTS), pa.string()),
        (pa.array(["many"]), pa.int64()),
        (pa.array([1.5]), pa.int64()),
    ],
)
def test_values_that_would_be_changed_are_refused(values: pa.Array, kind: pa.DataType) -> None:
    with pytest.raises(pa.ArrowInvalid):
        as_type(values, kind)


def test_a_column_that_does_not_fit_to_the_table_is_left_out_and_told() -> None:
    official = pa.table({"name": ["a"], "labels": pa.array([["x"]], TEXTS), "year": [2017]})
    new = pa.table({"name": ["b", "c"], "labels": ["y", None], "year": ["late", "early"]})
    notes: list[str] = []
    found = as_official(new, official, notes)
    assert found.schema.types == official.schema.types
    assert found.to_pylist() == [
        {"name": "b", "labels": ["y"], "year": None},
        {"name": "c", "labels": None, "year": None},
    ]
    assert notes == [
        "year has int64 in the tables, and string beside the patches: it is left out in rows that "
        "the tables do not have"
    ]
