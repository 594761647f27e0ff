"""Labels from tables and class indices from maps, against loops over the same values."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from patchpress import Store, open_store
from patchpress.readers.errors import OptionError, StoreDamaged
from patchpress.readers.format.modality import Modality
from patchpress.readers.targets import CodeTable, class_names, label_array
from tests.support.loading import classes_of, hot, rows_in, same

NAMES = ("b", "a", "d", "c")


@pytest.fixture
def opened(stacked: Path) -> Store:
    return open_store(stacked)


def table_of(
    store: Store, codes: dict[str, int | None], order: str = "official", ignored: int = -100
) -> CodeTable:
    modality: Modality = replace(store.manifest.modality("map"), codes={"labels": codes})
    return CodeTable(modality, store.manifest, "labels", order, ignored)


def test_class_namess_are_the_official_one_and_that_of_the_alphabet(opened: Store) -> None:
    official = class_names(opened.manifest, "labels", "official")
    assert official == opened.manifest.classes["labels"]
    assert class_names(opened.manifest, "labels", "alphabetical") == tuple(sorted(official))
    assert official != tuple(sorted(official))  # else the next tests would show nothing


@pytest.mark.parametrize("order", ["official", "alphabetical"])
def test_labels_are_those_of_the_table(opened: Store, order: str) -> None:
    names = class_names(opened.manifest, "labels", order)
    found = label_array(opened.table()["labels"], opened.manifest.classes["labels"], names)
    same(found, np.stack([hot(row["labels"], names) for row in rows_in(opened)]))


@given(st.lists(st.none() | st.lists(st.sampled_from(NAMES)), min_size=1), st.integers(0, 5))
def test_lists_of_names_become_zeros_and_ones(rows: list[list[str] | None], cut: int) -> None:
    kind = pa.list_(pa.string())
    chunks = [pa.array(rows[:cut], kind), pa.array(rows, kind).slice(cut)]
    found = label_array(pa.chunked_array(chunks), NAMES, sorted(NAMES))
    same(found, np.stack([hot(row, sorted(NAMES)) for row in rows]))


@given(st.lists(st.none() | st.sampled_from(NAMES), min_size=1), st.booleans())
def test_one_name_becomes_its_index(rows: list[str | None], dictionary: bool) -> None:
    values = pa.array(rows, pa.string())
    values = values.dictionary_encode() if dictionary else values
    found = label_array(pa.chunked_array([values]), NAMES, sorted(NAMES))
    same(found, np.array([-100 if name is None else sorted(NAMES).index(name) for name in rows]))


def test_parts_of_classes_change_places_with_the_order() -> None:
    values = pa.chunked_array(
        [pa.array([[0.5, 0.25, 0.25, 0], None, [0, 0, 0, 1]], pa.list_(pa.float32()))]
    )
    wanted = [[0.25, 0.5, 0, 0.25], [0, 0, 0, 0], [0, 0, 1, 0]]
    same(label_array(values, NAMES, sorted(NAMES)), np.array(wanted, np.float32))
    with pytest.raises(StoreDamaged, match="4 parts of 3 classes"):
        label_array(values, NAMES[:3], NAMES[:3])


def test_a_label_of_no_class_is_damage() -> None:
    for values in (pa.array(["a", "z"]), pa.array([["a"], ["z"]])):
        with pytest.raises(StoreDamaged, match="the label 'z', which is none"):
            label_array(pa.chunked_array([values]), NAMES, NAMES)


@pytest.mark.parametrize("ignored", [-100, -1, 19, 255, 2**40, -(2**63) + 1])
def test_codes_become_indices_and_others_are_ignored(opened: Store, ignored: int) -> None:
    keys = opened.keys("map")
    codes = opened.read_batch(keys)[:, 0]
    modality = opened.manifest.modality("map")
    table = CodeTable(modality, opened.manifest, "labels", "official", ignored)
    found = np.empty(codes.shape, np.int64)
    table.apply(codes, found, keys)
    same(found, np.stack([classes_of(opened, key, ignored=ignored) for key in keys]))
    assert (found == ignored).any()


def test_maps_follow_the_alphabetical_order(opened: Store) -> None:
    key = opened.keys("map")[0]
    codes = opened.read(key)
    table = CodeTable(
        opened.manifest.modality("map"), opened.manifest, "labels", "alphabetical", -1
    )
    found = np.empty(codes.shape, np.int64)
    table.apply(codes, found, [key])
    names = opened.manifest.classes["labels"]
    official = classes_of(opened, key, ignored=-1)
    for index, name in enumerate(names):
        assert (found[0][official == index] == table.names.index(name)).all()
    assert (found[0][official == -1] == -1).all()
    assert table.names == tuple(sorted(names))


@given(arrays(np.uint16, (2, 3, 4), elements=st.sampled_from([3, 7, 500, 65535])))
def test_one_array_serves_as_index_and_as_result(codes: Any) -> None:
    manifest = _Listed()
    known = {3: 1, 7: 0, 500: None, 65535: 2}
    modality = Modality.__new__(Modality)
    object.__setattr__(modality, "codes", {"labels": {str(c): i for c, i in known.items()}})
    table = CodeTable(modality, manifest, "labels", "official", -5)  # type: ignore[arg-type]
    found = np.empty(codes.shape, np.int64)
    table.apply(codes, found, ["a", "b"])
    want = [-5 if known[int(code)] is None else known[int(code)] for code in codes.flat]
    assert found.ravel().tolist() == want


class _Listed:
    classes = {"labels": NAMES}  # noqa: RUF012


@pytest.mark.parametrize("code", [0, 110, 113, 998, 1000, 65_535])
def test_an_unknown_code_is_damage_and_names_the_record(opened: Store, code: int) -> None:
    known: dict[str, int | None] = {"111": 0, "112": 1, "999": None}
    table = table_of(opened, known)
    codes = np.full((3, 4, 4), 112, np.uint16)
    codes[1, 2, 3] = code
    with pytest.raises(StoreDamaged, match=rf"the map 'second' has the code {code}, which"):
        table.apply(codes, np.empty(codes.shape, np.int64), ["first", "second", "third"])


def test_what_cannot_be_is_said_in_a_sentence(opened: Store) -> None:
    manifest, maps = opened.manifest, opened.manifest.modality("map")

    def said(ask: Any) -> str:
        with pytest.raises(OptionError) as error:
            ask()
        return str(error.value)

    assert said(lambda: class_names(manifest, "label", "official")) == (
        "the store has no labels 'label'; label columns there: labels"
    )
    assert said(lambda: class_names(manifest, "labels", "random")) == (
        "there is no class order 'random'; choose official or alphabetical"
    )
    assert said(lambda: CodeTable(maps, manifest, "igbp", "official", -1)) == (
        "the codes of 'map' are no classes of 'igbp'; they are of labels"
    )
    said(lambda: CodeTable(replace(maps, codes={}), manifest, "labels", "official", -1))
    assert "the ignore index 3 is the class" in said(
        lambda: CodeTable(maps, manifest, "labels", "official", 3)
    )
    for wrong in (None, 255.0, "255", 2**63, -(2**63)):
        assert f"not {wrong!r}" in said(
            lambda wrong=wrong: CodeTable(maps, manifest, "labels", "official", wrong)
        )
