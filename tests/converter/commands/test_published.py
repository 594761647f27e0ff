"""Whether all patches are there that were published, and known defects, told by every command."""

import json
import shutil
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio

from patchpress import convert, dry_run, open_store, verify
from patchpress.converter.descriptions.parse import built_in_descriptions, find_description
from patchpress.readers.errors import DescriptionError
from tests.support.helpers import command, tiny_dataset
from tests.support.older_sets import make_sen12ms

COUNTED = """
[published]
source = "a page"
together = {count}

[published.patches]
a = {count}
"""
DEFECT = """
[[defects]]
patches = ["p2"]
what = "its first band is of another place"
source = "the publisher's page"
"""
PLACE = "ROIs1868_summer"
BROKEN = f"{PLACE}_s2_146_p202"


def own(root: Path, *more: str) -> Path:
    path = tiny_dataset(root, {"g": ["p1", "p2", "p3"]})
    path.write_text(path.read_text() + "".join(more))
    return path


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (3, "  as published       all 3 patches: a"),
        (5, "  as published       a: 3 of 5, 2 lack"),
        (2, "  as published       a: 3, 1 more than 2"),
    ],
)
def test_a_line_says_whether_all_is_there(tmp_path: Path, count: int, told: str) -> None:
    path = own(tmp_path, COUNTED.format(count=count))
    assert told in dry_run(path, tmp_path / "raw", tmp_path / "store").text().splitlines()
    report = convert(path, tmp_path / "raw", tmp_path / "store", workers=0)
    assert told in report.text().splitlines()
    assert report.published == {"a": (3, count), "together": (3, count)}


def test_nothing_is_said_if_the_first_few_are_wanted_or_no_number_is_known(tmp_path: Path) -> None:
    path = own(tmp_path, COUNTED.format(count=3))
    told = [dry_run(path, tmp_path / "raw", tmp_path / "one", limit=1).text()]
    told.append(convert(path, tmp_path / "raw", tmp_path / "one", workers=0, limit=1).text())
    path.write_text(path.read_text().partition("\n[published]")[0])
    told.append(convert(path, tmp_path / "raw", tmp_path / "two", workers=0).text())
    assert all("published" not in text for text in told)


def test_each_modality_and_the_pairs_are_counted(raw: Path, tmp_path: Path) -> None:
    patch = next((raw / "BigEarthNet-S1").glob("*/*"))
    shutil.rmtree(patch)
    report = convert("bigearthnet-v2", raw, tmp_path / "store", workers=0)
    lines = [line for line in report.text().splitlines() if "as published" in line]
    assert lines == [
        "  as published       s2: 5 of 549,488, 549,483 lack",
        "  as published       s1: 4 of 549,488, 549,484 lack",
        "  as published       map: 5 of 549,488, 549,483 lack",
        "  as published       with all modalities: 4 of 549,488, 549,484 lack",
    ]
    report = convert("bigearthnet-v2", raw, tmp_path / "s2", workers=0, modalities="s2")
    assert report.published == {"s2": (5, 549_488)}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
def test_a_known_defect_is_left_out_counted_and_told(tmp_path: Path, packed: bool) -> None:
    path, source, store = own(tmp_path, COUNTED.format(count=3), DEFECT), tmp_path / "raw", "store"
    (source / "A" / "g" / "p2" / "p2_fine.tif").write_bytes(b"broken")
    if packed:
        (tmp_path / "packed").mkdir()
        with tarfile.open(tmp_path / "packed" / "A.tar", "w") as archive:
            archive.add(source / "A", "A")
        source = tmp_path / "packed"
    told = [
        "  as published       all 3 patches, of which 1 known to be damaged: a",
        "  left out as known defects of the data set: 1",
        "    p2: its first band is of another place",
    ]
    forecast = dry_run(path, source, tmp_path / store)
    assert (forecast.damaged, forecast.modalities["a"].patches) == ([], 2)
    assert set(told) <= set(forecast.text().splitlines())
    report = convert(path, source, tmp_path / store, workers=0)
    assert (report.exit_code, report.records) == (0, {"a": 2})
    assert set(told) <= set(report.text().splitlines())
    beside = json.loads((tmp_path / "store.report.json").read_text())
    assert beside["defects"] == ["p2: its first band is of another place"]
    assert list(open_store(tmp_path / store)) == ["p1", "p3"]
    assert verify(tmp_path / store, source, dataset=path, workers=0).problems == []


@pytest.fixture
def summer(tmp_path: Path) -> Path:
    """Two triplets of the published names, one of which has NaN in Sentinel-1, as published."""
    make_sen12ms(tmp_path / "made", scenes=(1,), patches=2)
    for file in sorted((tmp_path / "made").rglob("*.tif")):
        patch = {"p30": "p202", "p31": "p203"}[file.stem.rpartition("_")[2]]
        kind = file.stem.split("_")[-3]
        target = tmp_path / "raw" / PLACE / f"{kind}_146" / f"{PLACE}_{kind}_146_{patch}.tif"
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(
            tmp_path / "raw" / PLACE / "s1_146" / f"{PLACE}_s1_146_p202.tif", "r+"
        ) as file:
            array = file.read()
            array[0, 5] = np.nan
            file.write(array)
    return tmp_path / "raw"


def test_the_damaged_triplet_of_sen12ms_does_not_stop_the_default(
    summer: Path, tmp_path: Path
) -> None:
    ended = command("convert", "sen12ms", summer, tmp_path / "store", "--workers", 0)
    assert ended.code == 0, ended.err
    assert f"    {BROKEN}: its Sentinel-1 image has NaN" in ended.out
    assert "s2: 1 of 180,662, 180,660 lack" in ended.out
    assert verify(tmp_path / "store", summer, workers=0).problems == []
    report = convert("sen12ms", summer, tmp_path / "kept", workers=0, nan="keep")
    assert (report.records, report.defects) == ({"s2": 2, "s1": 2, "lc": 2}, [])
    assert verify(tmp_path / "kept", summer, workers=0).problems == []


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (COUNTED.format(count=0), "published.patches.a' must be a number of patches, not 0"),
        (COUNTED.format(count=3).replace("a = 3", "b = 3"), "patches.b' is none of a"),
        (DEFECT.replace("what", "why"), r"defects\[0\].what' is missing"),
        (DEFECT + "who = 1\n", r"defects\[0\].who' is unknown"),
    ],
)
def test_wrong_numbers_and_defects_are_refused(tmp_path: Path, more: str, reason: str) -> None:
    with pytest.raises(DescriptionError, match=reason):
        find_description(own(tmp_path, more))


def test_built_in_numbers_have_a_source() -> None:
    told = {
        name: find_description(name).published
        for name in built_in_descriptions()
        if find_description(name).published
    }
    assert {"bigearthnet-v1", "bigearthnet-v2", "sen12ms", "eurosat", "uc-merced"} <= set(told)
    assert all(published and published.source for published in told.values())
