"""The types that pandas, Polars and others give to text and lists, as the plain ones."""

from typing import Any

import pyarrow as pa
import pytest

from patchpress.readers.format.arrow_kinds import plain, plain_table, plain_type

TEXT = ["Sea", None, "Pastures", "Sea"]
LISTS = [["Sea", "Pastures"], None, [], ["Sea"]]


class Named(pa.ExtensionType):
    """Text under a name of its own, as other programs declare it."""

    def __init__(self, storage: pa.DataType) -> None:
        super().__init__(storage, "tests.named")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, _: bytes) -> "Named":
        return cls(storage)


def named(array: pa.Array) -> pa.Array:
    return pa.ExtensionArray.from_storage(Named(array.type), array)


CATEGORIES = pa.dictionary(pa.int32(), pa.string())
KINDS: dict[str, tuple[Any, list[Any], pa.DataType]] = {
    "plain text": (pa.array(TEXT), TEXT, pa.string()),
    "long text": (pa.array(TEXT, pa.large_string()), TEXT, pa.string()),
    "views of text": (pa.array(TEXT, pa.string_view()), TEXT, pa.string()),
    "categories": (pa.array(TEXT).dictionary_encode(), TEXT, pa.string()),
    "text of a name": (named(pa.array(TEXT)), TEXT, pa.string()),
    "long text of a name": (named(pa.array(TEXT, pa.large_string())), TEXT, pa.string()),
    "long bytes": (pa.array([b"a", None], pa.large_binary()), [b"a", None], pa.binary()),
    "views of bytes": (pa.array([b"a", None], pa.binary_view()), [b"a", None], pa.binary()),
    "lists": (pa.array(LISTS), LISTS, pa.list_(pa.string())),
    "long lists": (
        pa.array(LISTS, pa.large_list(pa.large_string())), LISTS, pa.list_(pa.string())
    ),
    "lists of categories": (pa.array(LISTS, pa.list_(CATEGORIES)), LISTS, pa.list_(pa.string())),
    "pairs of text": (
        pa.array([["a", "b"]], pa.list_(pa.string(), 2)), [["a", "b"]], pa.list_(pa.string())
    ),
    "pairs of numbers": (
        pa.array([[1.0, 2.0]], pa.list_(pa.float64(), 2)),
        [[1.0, 2.0]],
        pa.list_(pa.float64(), 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("chunked", [False, True])
def test_values_stay_and_the_type_becomes_plain(name: str, chunked: bool) -> None:
    values, wanted, kind = KINDS[name]
    given = pa.chunked_array([values, values]) if chunked else values
    found = plain(given)
    assert found.type == plain_type(values.type) == kind
    assert found.to_pylist() == (wanted * 2 if chunked else wanted)
    if values.type == kind:
        assert found is given


def test_a_table_keeps_its_columns_in_their_order_and_what_is_plain_already() -> None:
    table = pa.table(
        {"name": pa.array(TEXT), "labels": pa.array(LISTS, pa.large_list(pa.string_view())),
         "split": pa.array(TEXT).dictionary_encode(), "number": [1, 2, 3, 4]}
    )  # fmt: skip
    found = plain_table(table)
    assert found.to_pylist() == table.to_pylist()
    wanted = [pa.string(), pa.list_(pa.string()), pa.string(), pa.int64()]
    assert (found.column_names, found.schema.types) == (table.column_names, wanted)
    assert plain_table(found) is found
