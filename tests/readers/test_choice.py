"""Which rows and bands: filters, sets of bands, and what is said of those that are not there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from patchpress import Store, open_store
from patchpress.readers import rows as module
from patchpress.readers.access.bands import bands_of
from patchpress.readers.choice import bands_by_modality
from patchpress.readers.errors import BandMissing, OptionError, SelectionEmpty
from patchpress.readers.rows import Rows, rows_of
from patchpress.readers.samples import Samples
from tests.support.loading import refused, rows_in

S2 = "B01, B02, B03, B04, B05, B06, B07, B08, B8A, B09, B11, B12"


@pytest.fixture
def opened(stacked: Path) -> Store:
    return open_store(stacked)


def names(rows: Rows) -> list[str]:
    found: list[str] = rows.table["patch_id"].to_pylist()
    return found


def selected(store: Store, split: Any, where: Any) -> Rows:
    return rows_of(store.path, store.manifest, split, where)


def by_hand(store: Store, keep: Callable[[dict[str, Any]], bool]) -> list[str]:
    return [row["patch_id"] for row in rows_in(store) if keep(row)]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, None),
        ("all", None),
        ("rgb", ("B04", "B03", "B02")),
        ("10m", ("B02", "B03", "B04", "B08")),
        ("20m", ("B05", "B06", "B07", "B8A", "B11", "B12")),
        ("60m", ("B01", "B09")),
        ("60.0m", ("B01", "B09")),
        ("B8A", ("B8A",)),
        (["B04", "B02"], ("B04", "B02")),
        (("B04", "B04"), ("B04", "B04")),
    ],
)
def test_bands_by_name_and_by_set(opened: Store, asked: Any, found: Any) -> None:
    assert bands_of(opened.manifest.modality("s2"), asked) == found


@pytest.mark.parametrize(
    "asked", ["B44", "RGB", "m", "²m", "1.0.m", "", ["B04", "B44"], [4], ["rgb"]]
)
def test_bands_that_are_not_there_are_answered_with_those_that_are(
    opened: Store, asked: Any
) -> None:
    said = refused(BandMissing, lambda: bands_of(opened.manifest.modality("s2"), asked))
    assert S2 in said
    assert str(asked if isinstance(asked, str) else asked[-1]) in said


def test_a_set_without_bands_says_which_samplings_there_are(opened: Store) -> None:
    s1, s2 = opened.manifest.modality("s1"), opened.manifest.modality("s2")
    said = refused(BandMissing, lambda: bands_of(s2, "15m"))
    assert said == f"modality 's2' has no bands '15m'; it has {S2} (10m, 20m, 60m)"
    assert refused(BandMissing, lambda: bands_of(s1, "rgb")).endswith("it has VV, VH (10m)")
    assert "no band at all" in refused(BandMissing, lambda: bands_of(s2, []))


def test_bands_of_several_modalities(opened: Store) -> None:
    both = [opened.manifest.modality(name) for name in ("s2", "s1")]
    wanted: list[tuple[Any, Any]] = [
        (None, {"s2": None, "s1": None}),
        ("10m", {"s2": ("B02", "B03", "B04", "B08"), "s1": ("VV", "VH")}),
        (["VH", "B08", "B02"], {"s2": ("B08", "B02"), "s1": ("VH",)}),
        ({"s2": "rgb"}, {"s2": ("B04", "B03", "B02"), "s1": None}),
        ({"s2": ["B01"], "s1": "VV"}, {"s2": ("B01",), "s1": ("VV",)}),
    ]
    for asked, found in wanted:
        assert bands_by_modality(both, asked) == found
    assert bands_by_modality(both[:1], {"s2": "B01"}) == {"s2": ("B01",)}
    assert "'B99'" in refused(BandMissing, lambda: bands_by_modality(both, ["B99", "VV"]))
    said = refused(OptionError, lambda: bands_by_modality(both, ["B02"]))
    assert said == "none of the bands B02 is of 's1': leave it out"
    refused(OptionError, lambda: bands_by_modality(both, []))
    said = refused(OptionError, lambda: bands_by_modality(both, {"s3": "B01"}))
    assert said == "bands of 's3' were asked for, but only s2, s1 is read"
    refused(OptionError, lambda: bands_by_modality(both[:1], {"s1": "VV"}))


def test_val_and_validation_are_one(opened: Store) -> None:
    assert names(selected(opened, "val", None)) == names(selected(opened, "validation", None))
    assert len(selected(opened, "val", None)) == 3
    assert len(selected(opened, None, None)) == 15


FOREST, WATERS = "Mixed forest", "Inland waters"
FILTERS: list[tuple[Any, Callable[[dict[str, Any]], bool]]] = [
    ({}, lambda row: True),
    ({"country": "Serbia"}, lambda row: row["country"] == "Serbia"),
    ({"country": ["Serbia", "Finland"]}, lambda row: row["country"] in ("Serbia", "Finland")),
    ({"country": {"Serbia"}}, lambda row: row["country"] == "Serbia"),
    ({"country": np.array(["Serbia", "X"])}, lambda row: row["country"] == "Serbia"),
    ({"country": pa.array(["Serbia"])}, lambda row: row["country"] == "Serbia"),
    ({"country": ("Serbia", None)}, lambda row: row["country"] == "Serbia"),
    ({"contains_cloud_or_shadow": False}, lambda row: not row["contains_cloud_or_shadow"]),
    ({"contains_seasonal_snow": np.bool_(False)}, lambda row: not row["contains_seasonal_snow"]),
    ({"epsg": 32634}, lambda row: row["epsg"] == 32634),
    ({"epsg": np.int64(32634)}, lambda row: row["epsg"] == 32634),
    ({"labels": FOREST}, lambda row: FOREST in row["labels"]),
    ({"labels": [FOREST, WATERS]}, lambda row: bool({FOREST, WATERS} & set(row["labels"]))),
    (
        {"labels": WATERS, "country": ["Portugal", "Serbia"]},
        lambda row: WATERS in row["labels"] and row["country"] in ("Portugal", "Serbia"),
    ),
    (pc.field("country") == "Serbia", lambda row: row["country"] == "Serbia"),
    (
        (pc.field("epsg") != 32634) & ~pc.field("contains_seasonal_snow"),
        lambda row: row["epsg"] != 32634 and not row["contains_seasonal_snow"],
    ),
]


@pytest.mark.parametrize(("where", "keep"), FILTERS, ids=lambda value: str(value)[:40])
def test_filters_are_those_done_by_hand(
    opened: Store, where: Any, keep: Callable[[dict[str, Any]], bool]
) -> None:
    wanted = by_hand(opened, keep)
    assert wanted
    assert names(selected(opened, None, where)) == wanted
    assert Samples(opened, where=where).keys(range(len(wanted))) == wanted


def test_filters_hold_within_a_split(opened: Store) -> None:
    wanted = [row["patch_id"] for row in rows_in(opened, "train") if row["country"] == "Finland"]
    assert wanted
    assert names(selected(opened, "train", {"country": "Finland"})) == wanted


def test_labels_are_found_in_a_table_of_many_pieces(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Rows in several chunks, some of them slices, and rows without labels.
    rows = opened.table()
    labels = rows["labels"].to_pylist()
    labels[2], labels[7] = None, []
    chunks = [pa.array(labels[:4]), pa.array(labels[:9]).slice(4), pa.array(labels[9:])]
    place = rows.column_names.index("labels")
    pieces = rows.set_column(place, "labels", pa.chunked_array(chunks))
    monkeypatch.setattr(module, "read_table", lambda *_: pieces)
    for name in opened.manifest.classes["labels"]:
        wanted = [
            row["patch_id"]
            for row, some in zip(rows.to_pylist(), labels, strict=True)
            if some and name in some
        ]
        if wanted:
            assert names(selected(opened, None, {"labels": name})) == wanted


def test_what_selects_nothing_says_what_there_is(opened: Store) -> None:
    def ask(where: Any, split: str | None = None) -> str:
        return refused(SelectionEmpty, lambda: Samples(opened, split, where=where))

    assert ask({"country": "Atlantis"}) == (
        "no patch has 'Atlantis' in column 'country'; there are Austria, Portugal, Serbia, Finland"
    )
    assert "of split 'val'" in ask({"country": "Austria"}, "val")
    assert "no patch has [] in column 'country'" in ask({"country": []})
    assert "None" in ask({"country": None})
    assert "there are others" in ask({"left": 0.5})
    assert ask(pc.field("epsg") == 1).startswith("no row of 15 fulfils (epsg == 1)")
    said = refused(SelectionEmpty, lambda: Samples(opened, "holdout"))
    assert said.endswith("splits there: train, validation, test")
    assert "s2, s1, map" in refused(SelectionEmpty, lambda: Samples(opened, modalities="s3"))


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"land": "Serbia"}, "the table has no column 'land'; it has patch_id, labels"),
        ({"contains_seasonal_snow": "no"}, "has bool, so 'no' is never in it"),
        ({"contains_seasonal_snow": 0}, "has bool, so 0 is never in it"),
        ({"country": 5}, "has string, so 5 is never in it"),
        ({"country": {"a": 1}}, "so {'a': 1} is never in it"),
        ({"epsg": 2**70}, "is never in it"),
        ({"labels": "Mixed forrest"}, "nearest are 'Mixed forest'"),
        (
            {"labels": ["Mixed forest", "Xyzzy"]},
            "'Xyzzy' is no class of column 'labels'; there are",
        ),
        ("country == 'Serbia'", "where must be a mapping of columns to values, or a pyarrow"),
        (["country"], "where must be a mapping"),
        (pc.field("land") == "x", "columns: patch_id, labels"),
        (pc.field("country"), "cannot be applied"),
        (pc.field("epsg") == "x", "cannot be applied"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_filter_that_cannot_be_is_said_in_a_sentence(
    opened: Store, where: Any, said: str
) -> None:
    assert said in refused(OptionError, lambda: selected(opened, None, where))
