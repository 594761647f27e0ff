"""Values of every kind become 0 to 1: never blank, never a warning."""

import warnings

import numpy as np
import pytest

from patchpress.converter.pictures.stretch import Stretch
from patchpress.converter.pictures.stretch import stretched as stretched_together
from tests.support.helpers import Array


def stretched(values: object, dtype: str = "float64") -> Array:
    band = np.array(values, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Stretch.over([band]).apply(band)


def test_infinities_do_not_take_part() -> None:
    random = np.random.default_rng(1).normal(-10, 3, (64, 64))
    band = random.copy()
    band[:32], band[32], band[33] = -np.inf, np.inf, np.nan
    found = stretched(band, "float32")
    assert (found.min(), found.max()) == (0, 1)
    assert (found[:34] == 0).all()
    assert len(np.unique(found[34:])) > 1000


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_pixels_of_one_value_are_grey(dtype: str) -> None:
    assert (stretched([[7, 7], [7, 7]], dtype) == 0.5).all()


def test_few_pixels_are_seen() -> None:
    band = np.zeros((64, 64))
    band[0, 0] = 100
    assert (stretched(band)[0, 0], stretched(band)[1, 1]) == (1, 0)
    band[:] = np.nan
    assert (stretched(band) == 0).all()
    band[5, 5] = 3
    assert stretched(band)[5, 5] == 0.5
    band[5, 6] = 7
    assert (stretched(band)[5, 5], stretched(band)[5, 6]) == (0, 1)


@pytest.mark.parametrize("largest", [3.4e38, 1.7e308, 1e-300])
def test_numbers_of_every_size_are_stretched(largest: float) -> None:
    found = stretched([[-largest, 0], [largest, largest / 2]])
    np.testing.assert_allclose(found[0], [0, 0.5], atol=0.05)


def test_one_stretch_is_that_of_all_patches() -> None:
    dark, bright = np.zeros((10, 10), np.uint16), np.full((20, 20), 1000, np.uint16)
    stretch = Stretch.over([dark, bright])
    assert (stretch.low, stretch.high) == (0, 1000)
    assert (stretch.apply(dark) == 0).all()
    assert (stretch.apply(bright) == 1).all()


def test_the_range_is_told_in_the_values_as_stored() -> None:
    assert Stretch(212, 1630).text() == "212 to 1,630"
    assert Stretch(-17.42, -4.95).text() == "-17.4 to -4.95"
    assert Stretch.over([np.full((2, 2), np.nan)]).text() == "no finite pixel"
    assert Stretch(3, 3).text() == "3 alone"


def test_a_pixel_that_is_nan_in_one_channel_has_no_colour() -> None:
    channels = [np.array([[1, np.nan, 3]]), np.array([[3, 3, np.inf]]), np.array([[3, 1, 1]])]
    found = stretched_together(channels, [Stretch(0, 4)] * 3)
    np.testing.assert_array_equal(found[:, 0, 0], [0.25, 0.75, 0.75])
    assert (found[:, 0, 1] == 0).all()
    np.testing.assert_array_equal(found[:, 0, 2], [0.75, 0, 0.25])


def test_channels_of_whole_numbers_are_stretched_together() -> None:
    found = stretched_together([np.array([[1, 2]], np.uint16)], [Stretch(0, 4)])
    np.testing.assert_array_equal(found, [[[0.25, 0.5]]])
