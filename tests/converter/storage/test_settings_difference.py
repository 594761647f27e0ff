"""How the settings of a store that was begun differ from those it is to go on with."""

from typing import Any

from patchpress.converter.descriptions.field_names import field_names
from patchpress.converter.storage.settings_difference import differences
from patchpress.converter.storage.shard_file import settings_digest

BEFORE: dict[str, Any] = {
    "patchpress": "0.1.0",
    "layout": "stacked",
    "description": {
        "tables": {"metadata": "metadata.parquet"},
        "modalities": {"s2": {"folder": "S2", "bands": [{"name": "B02", "dtype": "uint16"}]}},
    },
    "path s2": "/data/S2",
}


def now(**changes: Any) -> dict[str, Any]:
    description = {**BEFORE["description"], **changes.pop("description", {})}
    return {**BEFORE, "description": description, **changes}


def test_a_setting_that_was_not_known_then_is_told_as_such() -> None:
    assert differences(BEFORE, now(size="auto")) == ["an older patchpress, which did not know size"]
    s2 = {**BEFORE["description"]["modalities"]["s2"], "any_size": False}
    assert differences(BEFORE, now(description={"modalities": {"s2": s2}})) == [
        "an older patchpress, which did not know modalities.s2.any_size of the description"
    ]


def test_another_version_is_told_as_one() -> None:
    """Its bytes may differ: what it began it finishes, or all begins anew."""
    assert differences(BEFORE, now(patchpress="0.2.0")) == ["patchpress 0.1.0, not 0.2.0"]


def test_what_is_not_set_is_no_difference() -> None:
    later = now(block=None, description={"complete": None})
    assert differences(BEFORE, later) == []
    assert settings_digest(BEFORE) == settings_digest(later)
    assert settings_digest(BEFORE) != settings_digest(now(block="10km"))


def test_what_a_user_added_is_told_as_such() -> None:
    tables = {"metadata": "metadata.parquet", "flagged": "flagged.parquet"}
    assert differences(BEFORE, now(description={"tables": tables})) == [
        "tables.flagged of the description none, not flagged.parquet"
    ]
    assert differences(BEFORE, now(**{"path flagged": "/data/flagged.parquet"})) == [
        "path flagged none, not /data/flagged.parquet"
    ]
    assert differences(BEFORE, now(layout="native")) == ["layout stacked, not native"]


def test_the_fields_of_a_description_are_known() -> None:
    assert {"complete", "any_size", "tables", "bands", "published", "identity"} <= field_names()
