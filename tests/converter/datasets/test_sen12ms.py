"""SEN12MS: triplets of files with many bands, labels from land cover, splits by scene."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from patchpress import Report, convert, inspect, open_store, verify
from patchpress.converter.descriptions.classes import load_class_list
from patchpress.readers.errors import OptionError, PatchError
from tests.support.helpers import by_rasterio
from tests.support.older_sets import SCENE, make_sen12ms


def converted(source: Path, store: Path, **options: Any) -> Report:
    return convert("sen12ms", source, store, **{"workers": 0} | options)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sen12ms")
    make_sen12ms(root)
    return root


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    make_sen12ms(tmp_path / "raw", scenes=(1,), patches=2)
    return tmp_path / "raw"


def rewrite(path: Path, change: Any) -> None:
    """Change the pixels of a file, and nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "r+") as file:
            file.write(change(file.read()))


@pytest.mark.parametrize("layout", ["stacked", "native"])
def test_every_band_is_that_of_its_file(source: Path, tmp_path: Path, layout: str) -> None:
    report = converted(source, tmp_path / "store", layout=layout)
    assert report.records == {"s2": 4, "s1": 4, "lc": 4}
    assert verify(tmp_path / "store", source, workers=0).good
    store = open_store(tmp_path / "store")
    for key in store:
        kind = key.split("_")[2]
        found, _ = by_rasterio(
            source / SCENE / key.rsplit("_", 1)[0].removeprefix(f"{SCENE}_") / f"{key}.tif"
        )
        assert store.read(key).tobytes() == np.ascontiguousarray(found).tobytes(), (kind, key)


def test_a_row_is_a_triplet(source: Path, tmp_path: Path) -> None:
    converted(source, tmp_path / "store")
    for row in open_store(tmp_path / "store").table().to_pylist():
        assert row["s1_name"] == row["patch_id"].replace("_s2_", "_s1_")
        assert row["lc_name"] == row["patch_id"].replace("_s2_", "_lc_")
        assert row["has_s1"]
        assert row["has_lc"]


def test_labels_follow_from_the_igbp_band(source: Path, tmp_path: Path) -> None:
    converted(source, tmp_path / "store")
    full, simple = load_class_list("igbp"), load_class_list("igbp-simplified")
    groups = [(1, 2, 3, 4, 5), (6, 7), (8, 9), (10,), (11,), (12, 14), (13,), (15,), (16,), (17,)]
    for row in open_store(tmp_path / "store").table().to_pylist():
        scene = row["lc_name"].rsplit("_", 1)[0].removeprefix(f"{SCENE}_")
        igbp = by_rasterio(source / SCENE / scene / f"{row['lc_name']}.tif")[0][0]
        shares = [float((igbp == code).mean()) for code in range(1, 18)]
        assert row["fractions"] == pytest.approx(shares)
        assert row["label"] == full.names[int(np.argmax(shares))]
        assert row["labels"] == [n for n, s in zip(full.names, shares, strict=True) if s >= 0.1]
        coarse = [sum(shares[code - 1] for code in group) for group in groups]
        assert row["fractions_simplified"] == pytest.approx(coarse)
        assert row["label_simplified"] == simple.names[int(np.argmax(coarse))]


def test_inspect_counts_rows_in_which_a_part_is_above_zero(source: Path, tmp_path: Path) -> None:
    converted(source, tmp_path / "store")
    contents, store = inspect(tmp_path / "store"), open_store(tmp_path / "store")
    assert set(contents.facts["parts"]) == {"fractions", "fractions_simplified"}
    for column in contents.facts["parts"]:
        counts = [entry["rows"] for entry in contents.facts["classes"][column]]
        parts = np.array(store.table()[column].to_pylist())
        assert counts == (parts > 0).sum(axis=0).tolist()
        assert sum(counts) >= len(parts)
    assert "parts of 10 classes, rows in which the part is above 0" in contents.text()


def test_hold_out_scenes_are_test_if_there_is_no_list(source: Path, tmp_path: Path) -> None:
    converted(source, tmp_path / "store")
    for row in open_store(tmp_path / "store").table().to_pylist():
        assert row["split"] == ("test" if "_s2_63_" in row["patch_id"] else "train")


def test_lists_with_suffix_and_crlf_decide(source: Path, tmp_path: Path) -> None:
    lists = {"train": tmp_path / "train.txt", "test": tmp_path / "test.txt"}
    lists["train"].write_text(f"{SCENE}_s2_63_p30.tif\r\n", newline="")
    lists["test"].write_text(f"{SCENE}_s2_1_p30.tif\r\n", newline="")
    converted(source, tmp_path / "store", paths=lists)
    table = open_store(tmp_path / "store").table(columns=["patch_id", "split"]).to_pylist()
    found = {row["patch_id"].removeprefix(f"{SCENE}_s2_"): row["split"] for row in table}
    assert found == {"1_p30": "test", "1_p31": None, "63_p30": "train", "63_p31": None}


def test_validation_is_drawn_by_whole_scenes(tmp_path: Path) -> None:
    make_sen12ms(tmp_path / "raw", scenes=(1, 2, 3, 63))
    found = []
    for at in range(2):
        store = tmp_path / f"store{at}"
        converted(tmp_path / "raw", store, validation=0.34, seed=5, modalities=("s2",))
        found.append(open_store(store).table(columns=["patch_id", "split"]).to_pylist())
    assert found[0] == found[1]
    scenes: dict[str, set[str]] = {}
    for row in found[0]:
        scenes.setdefault(row["patch_id"].rsplit("_", 1)[0], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in scenes.values())
    assert sorted(s for splits in scenes.values() for s in splits) == [
        "test", "train", "train", "validation",
    ]  # fmt: skip


def test_pixels_that_are_nan_are_found_and_counted(raw: Path, tmp_path: Path) -> None:
    file = raw / SCENE / "s1_1" / f"{SCENE}_s1_1_p30.tif"

    def change(array: Any) -> Any:
        array[1, 3:5, 7] = np.nan
        return array

    rewrite(file, change)
    with pytest.raises(PatchError, match=f"{file.name} has 2 pixels that are NaN"):
        converted(raw, tmp_path / "store")
    report = converted(raw, tmp_path / "kept", nan="keep")
    assert report.exit_code == 0
    stored = open_store(tmp_path / "kept").read(file.stem)
    assert stored.tobytes() == by_rasterio(file)[0].tobytes()
    report = converted(raw, tmp_path / "skipped", on_error="skip")
    assert report.records == {"s2": 2, "s1": 1, "lc": 2}
    assert len(report.skipped) == 1


def test_infinite_decibels_are_no_nan(raw: Path, tmp_path: Path) -> None:
    file = raw / SCENE / "s1_1" / f"{SCENE}_s1_1_p30.tif"

    def change(array: Any) -> Any:
        array[0, 0, :2] = (np.inf, -np.inf)
        return array

    rewrite(file, change)
    assert converted(raw, tmp_path / "store").exit_code == 0


def test_a_damaged_triplet_is_caught(raw: Path, tmp_path: Path) -> None:
    file = raw / SCENE / "s2_1" / f"{SCENE}_s2_1_p31.tif"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(PatchError, match=file.name):
        converted(raw, tmp_path / "store")


def test_a_triplet_without_a_member_is_an_error_before_any_pixel(raw: Path, tmp_path: Path) -> None:
    (raw / SCENE / "lc_1" / f"{SCENE}_lc_1_p30.tif").unlink()
    with pytest.raises(PatchError, match=f"{SCENE}_s2_1_p30 has no lc"):
        converted(raw, tmp_path / "store")
    report = converted(raw, tmp_path / "skipped", on_error="skip")
    assert report.records == {"s2": 1, "s1": 1, "lc": 1}
    assert report.exit_code == 1


def test_an_unknown_code_names_the_file(raw: Path, tmp_path: Path) -> None:
    file = raw / SCENE / "lc_1" / f"{SCENE}_lc_1_p30.tif"

    def change(array: Any) -> Any:
        array[0, 0, 0] = 99
        return array

    rewrite(file, change)
    with pytest.raises(PatchError, match=f"{file.name}.*99"):
        converted(raw, tmp_path / "store")


def test_a_geographic_split_needs_a_tile_grid(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="tile grid"):
        converted(raw, tmp_path / "store", split="geographic")


def test_limit_takes_whole_triplets(source: Path, tmp_path: Path) -> None:
    report = converted(source, tmp_path / "store", limit=2)
    assert report.records == {"s2": 2, "s1": 2, "lc": 2}
