"""A band is found by any publisher's spelling of its name."""

from pathlib import Path

import numpy as np
import pytest

from patchpress import Samples, convert, open_store, stats
from patchpress.readers.errors import BandMissing
from patchpress.readers.format.modality import Band, Compression, Modality
from tests.support.published_forms import TREES


def modality(*names: str) -> Modality:
    bands = tuple(Band(name, 10, "uint16", (4, 4)) for name in names)
    return Modality("m", "", "image", "{k}", "native", "nearest", Compression(), bands, 0)


@pytest.mark.parametrize(
    ("there", "asked", "found"),
    [
        (["B08", "B08A"], "B8A", "B08A"),
        (["B08", "B8A"], "B08A", "B8A"),
        (["B1", "B10", "B8"], "B01", "B1"),
        (["B1", "B10", "B8"], "B010", "B10"),
        (["B01", "B10"], "B1", "B01"),
        (["vv", "vh"], "VH", "vh"),
        (["Red", "red"], "Red", "Red"),
        (["Red", "red"], "RED", None),
        (["B1", "B01"], "B001", None),
        (["B08", "B8A"], "B8", "B08"),
        (["B08", "B8A"], "B80", None),
    ],
)
def test_zeros_in_front_and_case_make_no_difference(
    there: list[str], asked: str, found: str | None
) -> None:
    assert modality(*there).band_named(asked) == found


def test_both_spellings_of_eurosats_last_band_read_it(tmp_path: Path) -> None:
    source = TREES["eurosat"].write(tmp_path / "source")
    convert("eurosat", source, tmp_path / "store", workers=0)
    store = open_store(tmp_path / "store")
    key = store.keys()[0]
    last = store.read(key)[-1]
    for name in ("B8A", "B08A", "b8a"):
        np.testing.assert_array_equal(store.read(key, [name])[0], last)
        np.testing.assert_array_equal(store.read(key, name)[0], last)
        np.testing.assert_array_equal(store.view(key, name), last)
        np.testing.assert_array_equal(store.read_bands(key, [name])[name], last)
        samples = Samples(store, bands=[name, "B2"], target=None)
        np.testing.assert_array_equal(samples[0][0], last)
    (counted,) = stats(tmp_path / "store", workers=0)
    assert counted.pick(["B8A", "B1"]).band_names == ("B08A", "B01")
    with pytest.raises(BandMissing, match="no band 'B8B'"):
        store.read(key, ["B8B"])
