"""Rows of a table after records were added to its store, or removed."""

import pyarrow as pa

from patchpress.converter.commands.changed_table import rows_by_name, with_new_rows, without_records

TABLE = pa.table(
    {
        "patch_id": ["a", "b", None],
        "place": ["north", None, "south"],
        "has_s2": [True, False, True],
        "s2_checksum": ["1", None, "3"],
    }
)


def test_rows_are_found_by_the_names_that_there_are() -> None:
    assert rows_by_name(TABLE, "patch_id") == {"a": 0, "b": 1}
    assert rows_by_name(TABLE, "s1_name") == {}


def test_a_row_that_is_there_takes_what_it_lacks_and_keeps_what_it_has() -> None:
    new = pa.table(
        {
            "patch_id": ["b", "a"],
            "place": ["east", "west"],
            "has_s2": [True, False],
            "s2_checksum": ["2", None],
            "another": ["x", "y"],
        }
    )
    found = with_new_rows(TABLE, new, ["s2"], "patch_id")
    assert found.to_pylist() == [
        {"patch_id": "a", "place": "north", "has_s2": True, "s2_checksum": "1"},
        {"patch_id": "b", "place": "east", "has_s2": True, "s2_checksum": "2"},
        {"patch_id": None, "place": "south", "has_s2": True, "s2_checksum": "3"},
    ]


def test_a_row_that_is_new_comes_after_the_others() -> None:
    new = pa.table(
        {"patch_id": ["c"], "place": ["west"], "has_s2": [True], "s2_checksum": pa.array(["4"])}
    )
    found = with_new_rows(TABLE, new, ["s2"], "patch_id").to_pylist()
    assert {"patch_id": "c", "place": "west", "has_s2": True, "s2_checksum": "4"} in found
    assert [row for row in found if row["patch_id"] != "c"] == TABLE.to_pylist()


def test_a_row_without_its_record_stays() -> None:
    found = without_records(TABLE, {"s2": "patch_id"}, {"s2": ["a"]}).to_pylist()
    assert found[0] == {"patch_id": "a", "place": "north", "has_s2": False, "s2_checksum": None}
    assert found[1:] == TABLE.to_pylist()[1:]
