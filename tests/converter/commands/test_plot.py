"""Pictures of records with infinities, NaN, one value, or nothing: never blank, never a warning."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from patchpress import convert, inspect, stats
from patchpress.converter.commands.plot import _stretch, plot
from tests.support.helpers import Array, geotiff, tiny_dataset


def stretched(values: object, dtype: str = "float64") -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return _stretch(np.array(values, dtype))


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


@pytest.mark.parametrize(
    "value", [np.nan, -np.inf, np.inf, 3.0], ids=["NaN", "-inf", "inf", "constant"]
)
def test_records_of_no_numbers_are_drawn_and_inspected_without_a_warning(
    tmp_path: Path, value: float
) -> None:
    pytest.importorskip("matplotlib", reason="plot needs matplotlib")
    own = tiny_dataset(tmp_path, {"g": ["p1"]})
    own.write_text(own.read_text().replace("uint16", "float32"))
    for file in tmp_path.glob("raw/A/g/p1/*.tif"):
        size = 12 if "fine" in file.name else 6
        geotiff(file, np.full((1, size, size), value, np.float32))
    store = tmp_path / "store"
    convert(own, tmp_path / "raw", store, workers=0, nan="keep")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plot(store, out=tmp_path / "p.png").stat().st_size
        assert "p1" in inspect(store, "p1").text()
        assert stats(store, workers=0)
