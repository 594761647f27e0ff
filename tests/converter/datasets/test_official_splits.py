"""Official lists of splits beside the patches, and labels in one JSON: read as published.

The trees are those that the generators of a published loader make for its tests.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from patchpress import Report, Samples, convert, open_store, verify
from patchpress.readers.errors import TableError
from tests.support.helpers import by_rasterio, stored_values

GENERATED = "peers/torchgeo"


def run(name: str, source: Path, store: Path, **options: Any) -> Report:
    asked: dict[str, Any] = {"workers": 0, "layout": "native"}
    return convert(name, source, store, **asked | options)


def tree(shared_data: Path, name: str) -> Path:
    path = shared_data / GENERATED / name
    if not path.is_dir():
        pytest.skip(f"the made-up tree of {name} is not beside the repository")
    return path


def assert_pixels(store: Path, files: dict[str, Path]) -> None:
    """The records are these files, band for band, as rasterio reads them."""
    values = stored_values(store)
    assert sorted(values) == sorted(files)
    for key, path in files.items():
        tensors = load(values[key])
        order = [band.name for m in open_store(store).manifest.modalities.values()
                 for band in m.bands if set(m.band_names) == set(tensors)]  # fmt: skip
        found = np.stack([tensors[name] for name in dict.fromkeys(order)])
        np.testing.assert_array_equal(found, by_rasterio(path)[0])


def splits_of(store: Path) -> dict[str, str | None]:
    rows = open_store(store).table(columns=["patch_id", "split"])
    return dict(zip(rows["patch_id"].to_pylist(), rows["split"].to_pylist(), strict=True))


@pytest.mark.parametrize("packed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_treesatai(shared_data: Path, tmp_path: Path, packed: bool) -> None:
    source = tree(shared_data, "treesatai")
    if packed:
        read = tmp_path / "packed"
        shutil.copytree(source / "labels", read / "labels")
        for name in ("train_filenames.lst", "test_filenames.lst"):
            shutil.copy(source / name, read)
        for name in ("s1", "s2", "aerial"):
            shutil.make_archive(str(read / name), "tar", source, name)
    else:
        read = source
    report = run("treesatai", read, tmp_path / "store")
    assert report.labels == [("shares, labels", "the tables", 10)]
    suffixes = {"s2": "", "s1": "_s1", "aerial": "_aerial"}
    assert_pixels(
        tmp_path / "store",
        {
            path.stem + suffix: path
            for folder, suffix in suffixes.items()
            for path in (source / folder / "60m").glob("*.tif")
        },
    )
    store = open_store(tmp_path / "store")
    published = json.loads((source / "labels/TreeSatBA_v9_60m_multi_labels.json").read_text())
    rows = store.table(columns=["patch_id", "shares", "labels"]).to_pylist()
    assert len(rows) == len(published) == 10
    for row in rows:
        expected = dict(published[f"{row['patch_id']}.tif"])
        named = zip(store.manifest.classes["shares"], row["shares"], strict=True)
        assert {name: share for name, share in named if share} == expected
        assert set(row["labels"]) == set(expected)
    lists = {
        f"{name}.tif": split
        for split in ("train", "test")
        for name in map(str.strip, (source / f"{split}_filenames.lst").read_text().split())
        for name in [name.removesuffix(".tif")]
    }
    assert splits_of(tmp_path / "store") == {
        name.removesuffix(".tif"): split for name, split in lists.items()
    }
    assert Samples(store, "test", target="shares").labels.sum() == pytest.approx(1)
    assert verify(tmp_path / "store", against=read, dataset="treesatai").good


def test_treesatai_with_200_m_takes_the_other_folders(shared_data: Path, tmp_path: Path) -> None:
    source = tree(shared_data, "treesatai")
    other = tmp_path / "other"
    shutil.copytree(source / "labels", other / "labels")
    shutil.copytree(source / "aerial", other / "aerial")
    for name in ("s1", "s2"):
        shutil.copytree(source / name / "60m", other / name / "200m")
    run("treesatai-200m", other, tmp_path / "store", layout="stacked")
    assert open_store(tmp_path / "store").manifest.modalities["s2"].shape == (12, 20, 20)
    assert open_store(tmp_path / "store").manifest.modalities["s2"].records == 10


EUROSAT = "ds/images/remote_sensing/otherDatasets/sentinel_2/tif"


@pytest.mark.parametrize(
    ("name", "folder", "files", "options"),
    [
        ("eurosat", "eurosat", "ds/**/*.tif", {}),
        ("uc-merced", "ucmerced", "**/*.tif", {}),
        ("uc-merced", "ucmerced/UCMerced_LandUse", "**/*.tif", {}),
        ("hyspecnet-11k", "hyspecnet/hyspecnet-11k", "patches/*.TIF", {"size": "pad"}),
    ],
)
def test_trees_with_lists_that_are_all_the_same_have_no_splits(
    shared_data: Path, tmp_path: Path, name: str, folder: str, files: str, options: dict[str, str]
) -> None:
    source = tree(shared_data, folder)
    layout = "stacked" if options else "native"
    report = run(name, source, tmp_path / "store", layout=layout, **options)
    assert open_store(tmp_path / "store").manifest.splits == {}
    if source.name != "UCMerced_LandUse":
        assert any("are the same list: they tell no splits" in note for note in report.reading)
    paths = {p.stem.removesuffix("-SPECTRAL_IMAGE"): p for p in sorted(source.glob(files))}
    if layout == "native":
        assert_pixels(tmp_path / "store", paths)
    for key, path in paths.items() if layout == "stacked" else ():
        bands = by_rasterio(path)[0]
        stored = open_store(tmp_path / "store")[key]
        np.testing.assert_array_equal(stored[:, : bands.shape[1], : bands.shape[2]], bands)


def test_lists_of_eurosat_name_jpegs_and_may_be_the_spatial_ones(
    shared_data: Path, tmp_path: Path
) -> None:
    published = tree(shared_data, "eurosat")
    source = tmp_path / "source"
    for number in range(1, 5):
        for label in ("AnnualCrop", "Forest"):
            (source / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(
                published / EUROSAT / label / f"{label}_1.tif",
                source / label / f"{label}_{number}.tif",
            )
    parts = {"train": (1, 2), "val": (3,), "test": (4,)}
    for split, numbers in parts.items():
        for kind, names in (("", numbers), ("spatial-", [5 - n for n in numbers])):
            lines = [f"{label}_{n}.jpg\n" for n in names for label in ("AnnualCrop", "Forest")]
            (source / f"eurosat-{kind}{split}.txt").write_text("".join(lines))
    run("eurosat", source, tmp_path / "store")
    expected = {f"{label}_{n}": s for s, ns in parts.items() for n in ns
                for label in ("AnnualCrop", "Forest")}  # fmt: skip
    found = splits_of(tmp_path / "store")
    assert found == {n: "validation" if s == "val" else s for n, s in expected.items()}
    paths = {s: source / f"eurosat-spatial-{s}.txt" for s in parts}
    run("eurosat", source, tmp_path / "other", paths=paths)
    spatial = splits_of(tmp_path / "other")
    assert (spatial["Forest_4"], spatial["Forest_2"], spatial["Forest_1"]) == (
        "train",
        "validation",
        "test",
    )
    # One list of each scheme: a patch that is in two of them is an error, not a guess.
    with pytest.raises(TableError, match="AnnualCrop_3 is in train and in validation"):
        run("eurosat", source, tmp_path / "mixed", paths={"train": paths["train"]})


def test_lists_of_hyspecnet_are_paths_of_other_files(shared_data: Path, tmp_path: Path) -> None:
    published = tree(shared_data, "hyspecnet/hyspecnet-11k")
    source = tmp_path / "source"
    names = [path.name.removesuffix("-SPECTRAL_IMAGE.TIF")
             for path in sorted((published / "patches").glob("*.TIF"))]  # fmt: skip
    for name in names:
        tile = name.rpartition("-Y")[0]
        folder = source / "patches" / tile / name
        folder.mkdir(parents=True)
        file = f"{name}-SPECTRAL_IMAGE.TIF"
        shutil.copy(published / "patches" / file, folder / file)
    lists = source / "splits/easy"
    lists.mkdir(parents=True)
    for split, name in zip(("train", "test"), names, strict=True):
        tile = name.rpartition("-Y")[0]
        (lists / f"{split}.csv").write_text(f"{tile}/{name}/{name}-DATA.npy\n")
    run("hyspecnet-11k", source, tmp_path / "store", layout="stacked", size="pad")
    assert splits_of(tmp_path / "store") == dict(zip(names, ("train", "test"), strict=True))
