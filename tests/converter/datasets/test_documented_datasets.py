"""Data sets that are described by documents and loaders: trees of that form, converted as they are.

Every pixel is compared with what rasterio reads. Of Sen1Floods11 one published chip is read, too.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from patchpress import Report, Samples, convert, open_store, verify
from patchpress.converter.descriptions.classes import load_class_list
from patchpress.readers.choice import IGNORED
from patchpress.readers.errors import DescriptionError, PatchError
from tests.support.documented_forms import (
    GASES,
    WORLD_COVER,
    Files,
    make_ben_ge,
    make_copernicus_pretrain,
    make_sen1floods11,
    make_sen12ms_cr,
)
from tests.support.helpers import by_rasterio, stored_values
from tests.support.packing import entries, members, write

SPRING, WINTER = "ROIs1158_spring", "ROIs2017_winter"
SCENES = {SPRING: (1, 31), WINTER: (22,)}  # train, test, validation


def run(name: str, source: Path, store: Path, **options: Any) -> Report:
    return convert(name, source, store, **{"workers": 0} | options)


def assert_pixels(store: Path, files: Files) -> None:
    """Each record of a native store has the bands that rasterio reads, and there are no others."""
    values = stored_values(store)
    assert sorted(values) == sorted(files)
    for key, expected in files.items():
        tensors = list(load(values[key]).items())
        if isinstance(expected, dict):
            found = {band: by_rasterio(path)[0][0] for band, path in expected.items()}
            assert set(found) == set(dict(tensors))
            for band, pixels in tensors:
                np.testing.assert_array_equal(pixels, found[band])
                assert pixels.dtype == found[band].dtype
        else:
            bands = by_rasterio(expected)[0]
            by_name = open_store(store).read_bands(key)
            np.testing.assert_array_equal(np.stack(list(by_name.values())), bands)
            assert {pixels.dtype for pixels in by_name.values()} == {bands.dtype}


@pytest.mark.slow
def test_sen12ms_cr_from_folders_and_from_archives(tmp_path: Path) -> None:
    source = tmp_path / "source"
    files = make_sen12ms_cr(source, SCENES)
    report = run("sen12ms-cr", source, tmp_path / "store", layout="native")
    assert report.records == {"s2": 6, "s2_cloudy": 6, "s1": 6}
    assert "not tried with the published files" in report.text()
    assert_pixels(tmp_path / "store", files)
    for row in open_store(tmp_path / "store").table().to_pylist():
        assert row["s1_name"] == row["patch_id"].replace("_s2_", "_s1_")
        assert row["s2_cloudy_name"] == row["patch_id"].replace("_s2_", "_s2_cloudy_")
        scene = row["patch_id"].split("_")[-2]
        assert row["split"] == {"1": "train", "31": "test", "22": "validation"}[scene]
    for folder in sorted(path for path in source.iterdir()):
        write(
            tmp_path / "packed" / f"{folder.name}.tar.gz",
            entries(source, members(source, folder.name)),
        )
    run("sen12ms-cr", tmp_path / "packed", tmp_path / "from_packed", layout="native")
    assert stored_values(tmp_path / "from_packed") == stored_values(tmp_path / "store")
    assert verify(tmp_path / "from_packed", tmp_path / "packed", workers=0).good


CHIPS = {"Spain_1": "train", "Sri-Lanka_22": "valid", "USA_3": "test", "Bolivia_4": "bolivia"}


@pytest.mark.slow
def test_sen1floods11_with_its_lists_of_two_columns(tmp_path: Path) -> None:
    files = make_sen1floods11(tmp_path / "source", CHIPS)
    report = run("sen1floods11", tmp_path / "source", tmp_path / "store", layout="native")
    assert report.records == {"s1": 4, "s2": 4, "label": 4}
    assert report.passed_over == {}
    assert_pixels(tmp_path / "store", files)
    assert verify(tmp_path / "store", tmp_path / "source", workers=0).good
    rows = {row["patch_id"]: row for row in open_store(tmp_path / "store").table().to_pylist()}
    names = {"train": "train", "valid": "validation", "test": "test", "bolivia": "bolivia"}
    assert {chip: row["split"] for chip, row in rows.items()} == {
        chip: names[name] for chip, name in CHIPS.items()
    }
    assert rows["Sri-Lanka_22"]["event"] == "Sri-Lanka"
    codes = by_rasterio(files["Spain_1_LabelHand"])[0]  # type: ignore[arg-type]
    assert rows["Spain_1"]["water"] == pytest.approx([(codes == 0).mean(), (codes == 1).mean()])


@pytest.mark.slow
def test_sen1floods11_where_the_image_ends_is_nan(tmp_path: Path) -> None:
    files = make_sen1floods11(tmp_path / "source", {"Spain_1": "train"}, nan=True)
    with pytest.raises(PatchError, match=r"NaN.*--nan keep"):
        run("sen1floods11", tmp_path / "source", tmp_path / "store", layout="native")
    run("sen1floods11", tmp_path / "source", tmp_path / "store", layout="native", nan="keep")
    assert_pixels(tmp_path / "store", files)


def test_a_published_chip_of_sen1floods11(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "others" / "sen1floods11"
    report = run("sen1floods11", source, tmp_path / "store", layout="native")
    assert report.records == {"s1": 1, "s2": 1, "label": 1}
    hand = source / "v1.1" / "data" / "flood_events" / "HandLabeled"
    assert_pixels(tmp_path / "store", {path.stem: path for path in hand.rglob("*.tif")})
    store = open_store(tmp_path / "store")
    assert store.manifest.modalities["s2"].bands[8].name == "B8A"
    codes = by_rasterio(hand / "LabelHand" / "Spain_7370579_LabelHand.tif")[0][0]
    assert (codes < 0).any()
    shares = [float((codes == code).mean()) for code in (0, 1)]
    assert store.table()["water"].to_pylist() == [pytest.approx(shares)]
    samples = Samples(store, modalities="s1", target="label")
    np.testing.assert_array_equal(samples[0][1], np.where(codes < 0, IGNORED, codes))


@pytest.mark.slow
def test_ben_ge_beside_its_bigearthnet(tmp_path: Path) -> None:
    source = tmp_path / "source"
    files = make_ben_ge(source)
    report = run("ben-ge", source, tmp_path / "store", layout="native")
    assert report.records == {"s2": 3, "s1": 3, "dem": 3, "esaworldcover": 3}
    assert (report.passed_over, report.without_partner, report.absent) == ({}, {}, ())
    assert_pixels(tmp_path / "store", files)
    classes = load_class_list("esa-worldcover")
    rows = open_store(tmp_path / "store").table().to_pylist()
    assert sorted(row["split"] for row in rows) == ["test", "train", "validation"]
    for row in rows:
        assert row["labels_43"] == ["Pastures", "Water bodies"]
        assert sorted(row["labels"]) == ["Inland waters", "Pastures"]
        codes = by_rasterio(files[f"{row['patch_id']}_esaworldcover"])[0]  # type: ignore[arg-type]
        shares = [float((codes == code).mean()) for code in WORLD_COVER]
        assert row["land_cover_fractions"] == pytest.approx(shares)
        assert row["land_cover"] == classes.names[int(np.argmax(shares))]
    # As published for BigEarthNet v1, under its own names.
    shutil.move(source / "sentinel-2", tmp_path / "BigEarthNet-v1.0")
    shutil.move(source / "sentinel-1", tmp_path / "BigEarthNet-S1-v1.0")
    paths = {"s2": tmp_path / "BigEarthNet-v1.0", "s1": tmp_path / "BigEarthNet-S1-v1.0"}
    run("ben-ge", source, tmp_path / "beside", layout="native", paths=paths)
    assert stored_values(tmp_path / "beside") == stored_values(tmp_path / "store")


@pytest.mark.slow
def test_copernicus_pretrain_from_folders(tmp_path: Path) -> None:
    files = make_copernicus_pretrain(tmp_path / "source")
    report = run("copernicus-pretrain", tmp_path / "source", tmp_path / "store", layout="native")
    one = {"s2_toa": 2, "s1_grd": 2, "s3_olci": 2, "dem": 2}
    assert report.records == one | {f"s5p_{gas}": 4 for gas in GASES}
    assert (report.passed_over, report.without_partner) == ({}, {})
    assert_pixels(tmp_path / "store", files)
    store = open_store(tmp_path / "store")
    assert {row["grid"] for row in store.table(columns=["grid"]).to_pylist()} == {
        "0000007_-0.25_38.50",
        "0000008_-0.25_38.50",
    }
    assert verify(tmp_path / "store", tmp_path / "source", workers=0).good


@pytest.mark.slow
def test_copernicus_pretrain_from_its_chunks(tmp_path: Path) -> None:
    """An archive has some cells of one modality; of a modality there are several archives."""
    source, packed = tmp_path / "source", tmp_path / "packed"
    for chunk, grids in ((1, (7, 8)), (2, (9,))):
        make_copernicus_pretrain(tmp_path / f"chunk{chunk}", grids)
        make_copernicus_pretrain(source, grids)
        for modality in ("s1_grd_utm", "s2_toa_mix", "s3_olci_wgs", "dem_grid_wgs"):
            root = tmp_path / f"chunk{chunk}"
            name = f"{modality}_chunk{chunk:03}.tar.zst"
            write(packed / name, entries(root, members(root, modality)))
        for gas, folder in GASES.items():
            files = members(tmp_path / f"chunk{chunk}", f"s5p_l3_wgs/images/{folder}")
            name = f"s5p_{gas}_wgs_chunk{chunk:03}.tar.zst"
            write(packed / name, entries(tmp_path / f"chunk{chunk}", files))
    report = run("copernicus-pretrain", packed, tmp_path / "store", layout="native")
    one = {"s2_toa": 3, "s1_grd": 3, "s3_olci": 3, "dem": 3}
    assert report.records == one | {f"s5p_{gas}": 6 for gas in GASES}
    assert report.passed_over_in_archives == {}
    assert verify(tmp_path / "store", packed, workers=0).good


def test_groups_of_validation_need_a_pattern_and_are_no_others() -> None:
    from patchpress.converter.descriptions.parse import built_in_descriptions, parse_description

    text = built_in_descriptions()["sen12ms-cr"].read_text()
    twice = text.replace("validation = [\n", 'validation = [\n    "ROIs1158_spring_s2_31",\n')
    with pytest.raises(DescriptionError, match=r"groups.validation' names 'ROIs1158_spring_s2_31'"):
        parse_description(twice, "own.toml")
