"""Stores in shards of every kind of source: the records, rows and report of a single data file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import convert, open_store
from patchpress.converter.commands.convert_shards import convert_shard
from patchpress.converter.commands.finish import finish_store
from patchpress.converter.storage.report import Report
from tests.converter.sources.test_archive_sources import pack_sen12ms
from tests.support.helpers import folder_bytes
from tests.support.older_sets import SCENE, make_sen12ms

SHARDS = 4
REAL = {
    "bigearthnet-v2": "bigearthnet-v2/sample",
    "bigearthnet-v1": "bigearthnet-v1/sample",
    "eurosat": "others/EuroSAT_MS",
    "uc-merced": "others/UCMerced_LandUse",
    "hydro": "others/Hydro",
    "hyspecnet-11k": "others/HySpecNet-11k",
    "ssl4eo-s12": "others/SSL4EO-S12",
}


def one_by_one(dataset: str, source: Path, store: Path, **options: Any) -> Report:
    """Make a store as a job array does, the last shard first."""
    for number in reversed(range(SHARDS)):
        convert_shard(dataset, source, store, number, shards=SHARDS, workers=0, **options)
    report = finish_store(store)
    assert isinstance(report, Report)
    return report


def what_it_says(report: Report) -> dict[str, object]:
    """A report without what must differ: names, times, and how the records lie."""
    own = ("store", "seconds", "bytes", "shards")
    return {name: value for name, value in vars(report).items() if name not in own}


@pytest.mark.slow
@pytest.mark.parametrize("dataset", REAL)
@pytest.mark.parametrize("options", [{}, {"layout": "native", "compression": "zstd"}], ids=str)
def test_real_samples_have_the_same_records_in_shards(
    shared_data: Path, tmp_path: Path, dataset: str, options: dict[str, Any]
) -> None:
    source = shared_data / REAL[dataset]
    single = convert(dataset, source, tmp_path / "single", workers=0, **options)
    whole = convert(dataset, source, tmp_path / "whole", shards=SHARDS, workers=0, **options)
    array = one_by_one(dataset, source, tmp_path / "array", **options)
    assert folder_bytes(tmp_path / "array") == folder_bytes(tmp_path / "whole")
    assert what_it_says(array) == what_it_says(whole) == what_it_says(single)
    table = "metadata.parquet"
    assert (tmp_path / "whole" / table).read_bytes() == (tmp_path / "single" / table).read_bytes()
    one, several = open_store(tmp_path / "single"), open_store(tmp_path / "whole")
    assert list(several) == list(one)
    for key in one:
        for name, band in one.read_bands(key).items():
            assert np.array_equal(several.read_bands(key)[name], band, equal_nan=True)


@pytest.mark.parametrize("kind", ["s2", "s1", "lc"])
@pytest.mark.slow
def test_a_triplet_that_is_not_whole_is_left_out_of_all_shards(tmp_path: Path, kind: str) -> None:
    """Its files lie in several shards, and of archives only the end tells that one lacks."""
    make_sen12ms(tmp_path / "raw")
    lacking = f"{SCENE}_{kind}_1_p31"
    pack_sen12ms(tmp_path / "raw", tmp_path / "packed", without=(lacking,))
    (tmp_path / "raw" / SCENE / f"{kind}_1" / f"{lacking}.tif").unlink()
    skip: Any = {"on_error": "skip"}
    single = convert("sen12ms", tmp_path / "raw", tmp_path / "single", workers=0, **skip)
    sources = {"folders": tmp_path / "raw", "archives": tmp_path / "packed"}
    for name, source in sources.items():
        options = {"workers": 0, "shards": SHARDS, **skip}
        whole = convert("sen12ms", source, tmp_path / name, **options)
        assert whole.skipped == single.skipped
        assert whole.records == single.records
        assert whole.exit_code == 1
    assert folder_bytes(tmp_path / "archives") == folder_bytes(tmp_path / "folders")
    with pytest.warns(UserWarning, match="read from beginning to end"):
        array = one_by_one("sen12ms", tmp_path / "packed", tmp_path / "array", **skip)
    assert folder_bytes(tmp_path / "array") == folder_bytes(tmp_path / "folders")
    assert array.skipped == single.skipped
    table = "metadata.parquet"
    assert (tmp_path / "array" / table).read_bytes() == (tmp_path / "single" / table).read_bytes()
