"""Pictures of records with infinities, NaN, one value, or nothing: never blank, never a warning."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from patchpress import convert, inspect, stats
from patchpress.converter.commands.plot import plot
from tests.support.helpers import geotiff, tiny_dataset


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
