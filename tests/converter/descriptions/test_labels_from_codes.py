"""Scene labels from code counts: the publishers' rules, on real maps and on random counts."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from patchpress.converter.descriptions.classes import built_in_class_lists, load_class_list
from patchpress.converter.descriptions.labels_from_codes import (
    class_fractions,
    classes_covering,
    classes_present,
    count_classes,
    count_codes,
    largest_class,
    well_labelled,
)
from patchpress.converter.descriptions.parse import find_description
from patchpress.readers.errors import OptionError, PatchError
from patchpress.readers.format.modality import Band

NAMED = load_class_list("bigearthnet-19")
IGBP, SIMPLE = load_class_list("igbp"), load_class_list("igbp-simplified")
COUNTS = st.dictionaries(
    st.sampled_from(sorted(IGBP.codes)), st.integers(0, 65_536), min_size=1
).filter(lambda counts: sum(counts.values()) > 0)


def test_the_real_reference_map_gives_the_labels_of_its_row(shared_data: Path) -> None:
    sample = shared_data / "bigearthnet-v2" / "sample"
    rows = pq.read_table(sample / "metadata.parquet", columns=["patch_id", "labels"]).to_pylist()
    labels = {row["patch_id"]: row["labels"] for row in rows}
    maps = sorted(sample.rglob("*_reference_map.tif"))
    assert len(maps) == 1
    for path in maps:
        with rasterio.open(path) as file:
            codes, counts = np.unique(file.read(1), return_counts=True)
        found, unlabelled = classes_present(dict(zip(codes, counts, strict=True)), NAMED)
        assert found == labels[path.name.removesuffix("_reference_map.tif")]
        assert well_labelled(unlabelled)


def test_every_class_with_one_pixel_is_present_and_the_list_is_alphabetical() -> None:
    counts = {523: 1, 112: 14_000, 111: 1, 999: 100, 122: 298, 244: 0}
    assert classes_present(counts, NAMED) == (["Marine waters", "Urban fabric"], 398 / 14_400)


def test_a_map_without_classes_has_no_labels() -> None:
    assert classes_present({999: 5, 335: 5}, NAMED) == ([], 1.0)


def test_a_quarter_unlabelled_is_too_much() -> None:
    assert well_labelled(3_599 / 14_400)
    assert not well_labelled(3_600 / 14_400)


@pytest.mark.parametrize("counts", [{111: 5, 231 + 256: 3}, {111: 5, 0: 3}])
def test_an_unknown_code_is_an_error_that_names_it(counts: Mapping[int, int]) -> None:
    code = list(counts)[1]
    with pytest.raises(PatchError, match=f"the code {code} in 3 pixels, .* bigearthnet-19"):
        classes_present(counts, NAMED)
    with pytest.raises(PatchError, match=f"the code {code} "):
        class_fractions(counts, NAMED)


def test_a_map_without_pixels_or_with_fewer_than_none_is_an_error() -> None:
    with pytest.raises(PatchError, match="no pixels"):
        class_fractions({1: 0}, IGBP)
    with pytest.raises(PatchError, match="-2 pixels of the code 1"):
        count_classes({1: -2, 2: 3}, IGBP)


@given(COUNTS)
def test_unclassified_pixels_count_in_the_total_only(counts: dict[int, int]) -> None:
    total = sum(counts.values())
    parts = class_fractions(counts, IGBP)
    assert parts == [counts.get(code, 0) / total for code in range(1, 18)]
    assert sum(parts) == pytest.approx(1 - counts.get(255, 0) / total)


@given(COUNTS)
def test_simplified_fractions_are_the_published_sums(counts: dict[int, int]) -> None:
    f = [0.0, *class_fractions(counts, IGBP)]
    sums = [sum(f[1:6]), f[6] + f[7], f[8] + f[9], f[10], f[11], f[12] + f[14], f[13], *f[15:18]]
    assert class_fractions(counts, SIMPLE) == pytest.approx(sums)


@given(COUNTS)
def test_the_single_label_is_the_argmax_or_none(counts: dict[int, int]) -> None:
    parts = class_fractions(counts, IGBP)
    expected = IGBP.names[int(np.argmax(parts))] if any(parts) else None
    assert largest_class(parts, IGBP) == expected


def test_labels_from_a_tenth_on_in_the_official_order() -> None:
    parts = class_fractions({17: 100, 1: 100, 4: 99, 12: 600, 255: 101}, IGBP)
    assert classes_covering(parts, IGBP) == [
        "Evergreen Needleleaf Forests",
        "Croplands",
        "Water Bodies",
    ]
    assert classes_covering(parts, IGBP, threshold=0.6) == ["Croplands"]
    assert classes_covering(parts, IGBP, threshold=1) == []


@pytest.mark.parametrize("threshold", [0, -1, 1.01, float("nan")])
def test_a_threshold_that_means_nothing_is_refused(threshold: float) -> None:
    with pytest.raises(OptionError, match="threshold must be above 0"):
        classes_covering([0.0] * 17, IGBP, threshold)


def test_fractions_of_another_list_are_refused() -> None:
    with pytest.raises(ValueError, match="17 fractions for the 10 classes"):
        largest_class([0.0] * 17, SIMPLE)


@pytest.mark.parametrize("name", built_in_class_lists())
def test_one_pixel_of_each_code_labels_with_every_class(name: str) -> None:
    known = load_class_list(name)
    names, unlabelled = classes_present(dict.fromkeys(known.codes, 1), known)
    assert tuple(names) == known.alphabetical
    assert unlabelled == list(known.codes.values()).count(None) / len(known.codes)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64"])
def test_codes_of_every_dtype_are_counted(dtype: str) -> None:
    """Also negative ones, and those so large that a bin for each smaller one fills the memory."""
    least, most = max(-1, np.iinfo(dtype).min), min(np.iinfo(dtype).max, 4_000_000_000)
    codes = np.array([[least, 0, 1], [1, most, most]], dtype)
    band = Band("Data", 10, dtype, (2, 3))
    modality = replace(find_description("bigearthnet-v2").modalities["map"], bands=(band,))
    expected: dict[int, int] = {}
    for code in codes.ravel().tolist():
        expected[code] = expected.get(code, 0) + 1
    assert count_codes(modality, memoryview(codes.tobytes())) == expected
