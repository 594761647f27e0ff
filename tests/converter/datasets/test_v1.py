"""BigEarthNet v1: flat folders, labels in JSON files, splits and flags in lists."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import Report, convert, open_store, verify
from patchpress.readers.errors import PatchError, TableError
from tests.support.helpers import by_rasterio
from tests.support.older_sets import DROPPED, labels_43, make_v1
from tests.support.synthetic import Row

S2, S1 = "BigEarthNet-v1.0", "BigEarthNet-S1-v1.0"


def converted(source: Path, store: Path, **options: Any) -> Report:
    return convert("bigearthnet-v1", source, store, **{"workers": 0} | options)


@pytest.fixture(scope="module")
def v1(made_tree: tuple[Path, list[Row]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree, rows = made_tree
    return make_v1(tmp_path_factory.mktemp("v1"), tree, rows)


@pytest.fixture
def damaged(made_tree: tuple[Path, list[Row]], tmp_path: Path) -> Path:
    tree, rows = made_tree
    return make_v1(tmp_path / "v1", tree, rows[:2])


@pytest.fixture(scope="module")
def table(v1: Path, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    store = tmp_path_factory.mktemp("v1store") / "store"
    converted(v1, store)
    return open_store(store).table()


def test_every_band_is_that_of_its_file(v1: Path, tmp_path: Path) -> None:
    for layout in ("stacked", "native"):
        converted(v1, tmp_path / layout, layout=layout)
        verdict = verify(tmp_path / layout, v1, workers=0)
        assert verdict.good, verdict.problems
        assert verdict.compared == len(list((v1 / S2).iterdir())) + len(list((v1 / S1).iterdir()))


def test_labels_of_both_lists(table: pa.Table, rows: list[Row]) -> None:
    given = {row["s2v1_name"]: sorted(row["labels"]) for row in rows}
    for row in table.to_pylist():
        if row["labels_43"] == [DROPPED]:
            assert row["labels"] == []
        else:
            assert sorted(row["labels"]) == given[row["patch_id"]]
            assert row["labels_43"] == labels_43(row["labels_43"] and given[row["patch_id"]])
    assert sum(row["labels"] == [] for row in table.to_pylist()) == 1


def test_pairs_and_tiles_come_from_the_sentinel_1_side(table: pa.Table, rows: list[Row]) -> None:
    partners = {row["s2v1_name"]: row["s1_name"] for row in rows}
    for row in table.to_pylist():
        assert row["s1_name"] == partners[row["patch_id"]]
        assert row["tile"] == row["s1_name"].split("_")[5]
    assert all(table["has_s1"].to_pylist())


def test_without_sentinel_1_there_is_no_tile(v1: Path, tmp_path: Path) -> None:
    converted(v1, tmp_path / "store", modalities=("s2",))
    assert "tile" not in open_store(tmp_path / "store").table().column_names


def test_a_mapping_table_names_partners_that_are_not_there(
    v1: Path, tmp_path: Path, rows: list[Row]
) -> None:
    pairs = tmp_path / "pairs.parquet"
    names = {"s1_name": [r["s1_name"] for r in rows], "s2_name": [r["s2v1_name"] for r in rows]}
    pq.write_table(pa.table(names), pairs)
    converted(v1, tmp_path / "store", modalities=("s2",), paths={"pairs": pairs})
    found = open_store(tmp_path / "store").table(columns=["patch_id", "s1_name"]).to_pylist()
    expected = dict(zip(names["s2_name"], names["s1_name"], strict=True))
    assert {row["patch_id"]: row["s1_name"] for row in found} == expected


def write_lists(folder: Path, rows: list[Row], *, pairs: bool) -> dict[str, Path]:
    """Official lists of the first names, each with one that is not there."""
    paths = {}
    for at, split in enumerate(("train", "validation", "test")):
        row = rows[at]
        line = f"{row['s2v1_name']},{row['s1_name']}" if pairs else row["s2v1_name"]
        other = "S2A_MSIL2A_20170101T000000_0_0" + (",S1" if pairs else "")
        paths[split] = folder / f"{split}.csv"
        text = f"{line}\r\n" + (f"{other}\r\n" if split == "train" else "")
        paths[split].write_text(text, newline="")
    return paths


@pytest.mark.parametrize("pairs", [False, True])
def test_splits_from_lists_of_one_or_two_columns(
    v1: Path, tmp_path: Path, rows: list[Row], *, pairs: bool
) -> None:
    lists = write_lists(tmp_path, rows, pairs=pairs)
    report = converted(v1, tmp_path / "store", paths=lists)
    table = open_store(tmp_path / "store").table(columns=["patch_id", "split"]).to_pylist()
    found = {row["patch_id"]: row["split"] for row in table}
    expected = [found[row["s2v1_name"]] for row in rows[:4]]
    assert expected == ["train", "validation", "test", None]
    assert report.listed_without_pixels == {"train": ["S2A_MSIL2A_20170101T000000_0_0"]}


def test_flags_from_lists(v1: Path, tmp_path: Path, rows: list[Row]) -> None:
    snow = tmp_path / "snow.csv"
    snow.write_text(rows[2]["s2v1_name"] + "\n")
    converted(v1, tmp_path / "store", paths={"contains_seasonal_snow": snow})
    table = open_store(tmp_path / "store").table()
    flagged = table.filter(table["contains_seasonal_snow"])["patch_id"].to_pylist()
    assert flagged == [rows[2]["s2v1_name"]]
    assert "contains_cloud_or_shadow" not in table.column_names


def test_the_geographic_split_needs_no_list(v1: Path, tmp_path: Path, rows: list[Row]) -> None:
    converted(v1, tmp_path / "store", split="geographic")
    table = open_store(tmp_path / "store").table(columns=["patch_id", "split"]).to_pylist()
    expected = {row["s2v1_name"]: row["split"] for row in rows}
    assert {row["patch_id"]: row["split"] for row in table} == expected


def test_a_patch_in_two_splits_is_refused(v1: Path, tmp_path: Path, rows: list[Row]) -> None:
    lists = write_lists(tmp_path, rows, pairs=False)
    lists["test"].write_text(rows[0]["s2v1_name"] + "\n")
    with pytest.raises(TableError, match=rows[0]["s2v1_name"]):
        converted(v1, tmp_path / "store", paths=lists)
    assert not (tmp_path / "store" / "manifest.json").exists()


def sidecars(source: Path) -> list[Path]:
    return sorted((source / S2).glob("*/*.json"))


def test_a_sidecar_that_does_not_parse_names_its_file(damaged: Path, tmp_path: Path) -> None:
    file = sidecars(damaged)[0]
    file.write_text(file.read_text()[:-5])
    with pytest.raises(PatchError, match=file.name):
        converted(damaged, tmp_path / "store")


def test_a_missing_sidecar_names_its_file(damaged: Path, tmp_path: Path) -> None:
    file = sidecars(damaged)[1]
    file.unlink()
    report = converted(damaged, tmp_path / "store", on_error="skip")
    assert report.exit_code == 1
    assert len(report.skipped) == 1
    assert file.name in report.skipped[0]


def test_an_unknown_label_suggests_the_nearest(damaged: Path, tmp_path: Path) -> None:
    file = sidecars(damaged)[0]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"labels": ["Pasturez"]}))
    with pytest.raises(PatchError, match=r"'Pasturez'.*Pastures"):
        converted(damaged, tmp_path / "store")


def test_a_spelling_variant_becomes_the_canonical_name(damaged: Path, tmp_path: Path) -> None:
    for file in (damaged / S1).glob("*/*.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"labels": ["rice  FIELDS"]}))
    converted(damaged, tmp_path / "store", modalities=("s1",))
    assert open_store(tmp_path / "store").table()["labels_43"].to_pylist()[0] == ["Rice fields"]


def test_real_patches_have_their_bands_labels_and_splits(shared_data: Path, tmp_path: Path) -> None:
    lists = shared_data / "bigearthnet-v1"
    paths = {"train": lists / "train.csv", "validation": lists / "val.csv"}
    report = converted(
        lists / "sample", tmp_path / "store", paths=paths | {"test": lists / "test.csv"}
    )
    assert report.records == {"s2": 46, "s1": 42}
    store = open_store(tmp_path / "store")
    assert verify(tmp_path / "store", lists / "sample", workers=0).good
    conversion = json.loads((lists / "label_indices.json").read_text())
    old, new = list(conversion["original_labels"]), list(conversion["BigEarthNet-19_labels"])
    groups = conversion["label_conversion"]
    split_of: dict[str, str] = {}
    for split, path in (paths | {"test": lists / "test.csv"}).items():
        split_of |= dict.fromkeys(path.read_text().split(), split)
    for row in store.table().to_pylist():
        name = row["patch_id"]
        file = lists / "sample" / S2 / name / f"{name}_labels_metadata.json"
        assert row["labels_43"] == json.loads(file.read_text())["labels"]
        codes = {old.index(label) for label in row["labels_43"]}
        assert set(row["labels"]) == {new[i] for i, g in enumerate(groups) if codes & set(g)}
        assert row["split"] == split_of.get(name)
    key = store.keys("s1")[0]
    found, _ = by_rasterio(lists / "sample" / S1 / key / f"{key}_VV.tif")
    assert store.read(key, ["VV"]).tobytes() == found.tobytes()


def test_labels_that_differ_between_modalities_are_told(v1: Path, tmp_path: Path) -> None:
    source = tmp_path / "v1"
    shutil.copytree(v1, source)
    radar = sorted((source / S1).rglob("*.json"))
    for path, labels in zip(radar, (["Pastures"], None), strict=False):
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"labels": labels}))
    report = converted(source, tmp_path / "store")
    (said,) = report.reading
    patch = json.loads(radar[0].read_text())["corresponding_s2_patch"]
    assert said == (
        "labels_43 of s1 is another than that of the modality before it in 1 row "
        f"(first: {patch}), which is kept"
    )
    table = open_store(tmp_path / "store").table(columns=["patch_id", "labels_43"])
    kept = {row["patch_id"]: row["labels_43"] for row in table.to_pylist()}
    assert kept[patch] != ["Pastures"]
