"""Folders for the Hugging Face Hub: what a store has, as Parquet and as `datasets` read it."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import Store, StoreDamaged, convert, export_store, open_store
from patchpress.converter.exports.hub_card import licence_facts, size_category
from patchpress.converter.exports.hub_columns import feature_of, table_columns
from patchpress.converter.exports.hub_pixels import nested_lists
from patchpress.converter.exports.hub_splits import SplitNames
from patchpress.converter.exports.yaml_text import yaml_text
from patchpress.readers.format.manifest import Dataset
from tests.support.dated import DATES, described, write_optical, write_radar
from tests.support.helpers import DATASET, Ended, folder_bytes, radar_with_nan, tiny_dataset
from tests.support.hub_readers import read_apart
from tests.support.loading import refused

Command = Callable[..., Ended]
KEYS = {"s2": "{patch_id}", "s1": "{s1_name}", "map": "{patch_id}_reference_map"}


def tables_of(out: Path) -> dict[str, pa.Table]:
    """Split -> the rows of its files."""
    found: dict[str, list[pa.Table]] = {}
    for path in sorted((out / "data").iterdir()):
        found.setdefault(path.name.split("-")[0], []).append(pq.read_table(path))
    return {split: pa.concat_tables(some) for split, some in found.items()}


def array_of(value: pa.Scalar, dtype: Any) -> Any:
    """Lists in lists, as long as each other, as an array."""
    flat, shape = value.values, [len(value.values)]
    while pa.types.is_list(flat.type):
        shape.append(len(flat[0]))
        flat = flat.flatten()
    found = flat.to_numpy().reshape(shape)
    assert found.dtype == dtype
    return found


def front_of(out: Path) -> dict[str, Any]:
    """The YAML of a card."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    front: dict[str, Any] = yaml.safe_load((out / "README.md").read_text().split("---\n")[1])
    return front


def require_equal(store: Store, split: str, found: pa.Table) -> None:
    rows = store.table(split=split).to_pylist()
    names = list(store.manifest.classes["labels"])
    assert found["key"].to_pylist() == [row["patch_id"] for row in rows]
    for number, row in enumerate(rows):
        told = found["labels"][number].as_py()
        assert [names[one] for one in told] == row["labels"]
        assert found["left"][number].as_py() == row["left"]
        for name, key in KEYS.items():
            if not row[f"has_{name}"]:
                assert found[name][number].as_py() is None
                continue
            wanted = store.read(key.format(**row))
            got = array_of(found[name][number], wanted.dtype)
            np.testing.assert_array_equal(got, wanted)
        picture = found["image"][number].as_py()
        assert picture["path"] == f"{row['patch_id']}.png"
        assert imagecodecs.png_decode(picture["bytes"]).shape == (120, 120, 3)


@pytest.mark.parametrize("kind", [("stacked", "none"), ("native", "blosc2")], ids="-".join)
def test_rows_are_those_of_the_store(
    stores: dict[tuple[str, str], Path], tmp_path: Path, kind: tuple[str, str]
) -> None:
    store, out = open_store(stores[kind]), tmp_path / "out"
    exported = export_store("hf", stores[kind], out, split=["validation", "test"])
    tables = tables_of(out)
    assert set(tables) == {"validation", "test"}
    for split, found in tables.items():
        require_equal(store, split, found)
    assert exported.rows == sum(map(len, tables.values()))
    assert not (out / "data" / "validation-00000.parquet").exists()


def test_the_card_tells_what_there_is(stacked: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_store("hf", stacked, out, modalities=["s2", "map"], where={"country": "Austria"})
    manifest, front, tables = open_store(stacked).manifest, front_of(out), tables_of(out)
    card = (out / "README.md").read_text()
    assert front["license"] == "cdla-permissive-1.0"
    assert front["pretty_name"] == manifest.dataset.title
    assert front["task_categories"] == ["image-classification", "image-segmentation"]
    assert front["size_categories"] == ["n<1K"]
    told = {one["name"]: one["num_examples"] for one in front["dataset_info"]["splits"]}
    assert told == {split: len(table) for split, table in tables.items()}
    files = front["configs"][0]["data_files"]
    for one in files:
        assert list(out.glob(one["path"]))
    features = {one["name"]: one for one in front["dataset_info"]["features"]}
    assert list(features) == next(iter(tables.values())).column_names
    shape = features["s2"]["dtype"]["array3_d"]
    assert shape == {"shape": [12, 120, 120], "dtype": "uint16"}
    names = features["labels"]["list"]["class_label"]["names"]
    assert names == {str(n): name for n, name in enumerate(manifest.classes["labels"])}
    for text in (manifest.dataset.citation, manifest.dataset.licence, "`B8A` | 20 | 60 x 60"):
        assert text in card
    command = "patchpress export hf stacked-none out --where country=Austria --flagged exclude "
    assert f"{command}--modality s2 --modality map\n" in card
    count = sum(table["labels"].to_pylist().count([]) for table in tables.values())
    assert count == 0
    label = manifest.classes["labels"][2]
    counts = [sum(2 in one for one in table["labels"].to_pylist()) for table in
              (tables[one["split"]] for one in files)]  # fmt: skip
    assert f"| 2 | {label} | {' | '.join(map(str, counts))} |" in card


def test_files_end_after_a_size_and_are_the_same_again(stacked: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words: dict[str, Any] = {"modalities": "s2", "split": "train", "shard_size": "150kB"}
    export_store("hf", stacked, out, **words)
    files = sorted(path.name for path in (out / "data").iterdir())
    count = len(files)
    assert count > 2
    assert files == [f"train-{n:05}-of-{count:05}.parquet" for n in range(count)]
    facts = json.loads((out / "export.json").read_bytes())
    rows = {f"data/{name}": pq.read_metadata(out / "data" / name).num_rows for name in files}
    assert facts["shards"] == rows
    croissant = json.loads((out / "croissant.json").read_bytes())
    digests = {one["contentUrl"]: one["sha256"] for one in croissant["distribution"][1:]}
    assert digests == {name: sha256((out / name).read_bytes()).hexdigest() for name in rows}
    (out / "data").rename(tmp_path / "kept")
    shutil.copytree(tmp_path / "kept", out / "data")
    before = folder_bytes(out)
    export_store("hf", stacked, out, **words, overwrite=True)
    assert folder_bytes(out) == before


def test_nan_stays_and_a_store_without_splits_is_train(tmp_path: Path) -> None:
    store = open_store(radar_with_nan(tmp_path))
    exported = export_store("hf", store.path, tmp_path / "out")
    (found,) = tables_of(tmp_path / "out").values()
    for number, key in enumerate(store.keys("a")):
        wanted = store.read(key)
        np.testing.assert_array_equal(array_of(found["a"][number], np.float32), wanted)
    assert np.isnan(array_of(found["a"][1], np.float32)).all()
    assert found["a"].null_count == 0
    assert "the store has no splits: rows are in 'train'" in exported.notes
    front = front_of(tmp_path / "out")
    assert front["license"] == "other"
    assert front["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*"}]
    assert "task_categories" not in front


def test_records_of_any_size_are_lists(tmp_path: Path) -> None:
    description = tiny_dataset(tmp_path, {"g": ["p1"]})
    text = description.read_text().replace('kind = "image"', 'kind = "image"\nany_size = true')
    description.write_text(text)
    convert(description, tmp_path / "raw", tmp_path / "store", layout="native", workers=0)
    export_store("hf", tmp_path / "store", tmp_path / "out")
    (found,) = tables_of(tmp_path / "out").values()
    wanted = open_store(tmp_path / "store").read_bands("p1")
    for band in ("fine", "coarse"):
        got = array_of(found[f"a_{band}"][0], np.uint16)
        np.testing.assert_array_equal(got, wanted[band])
    told = json.loads(found.schema.metadata[b"huggingface"])["info"]["features"]["a_fine"]
    inner = {"feature": {"dtype": "uint16", "_type": "Value"}, "_type": "List"}
    assert told == {"feature": inner, "_type": "List"}


@pytest.mark.slow
def test_records_of_several_dates_have_four_dimensions(tmp_path: Path) -> None:
    write_optical(tmp_path / "raw", {"a1": DATES, "a2": DATES[:2]})
    write_radar(tmp_path / "raw", {"a1": DATES[:3]})
    convert(described(tmp_path), tmp_path / "raw", tmp_path / "store", workers=0)
    store = open_store(tmp_path / "store")
    exported = export_store("hf", store.path, tmp_path / "out")
    (found,) = tables_of(tmp_path / "out").values()
    for number, name in enumerate(found["key"].to_pylist()):
        wanted = store.read(f"o_{name}")
        np.testing.assert_array_equal(array_of(found["optical"][number], np.uint16), wanted)
    assert found["radar"].is_valid().to_pylist() == [True, False]
    assert "rows without radar, which is null there: 1" in exported.notes
    told = json.loads(found.schema.metadata[b"huggingface"])["info"]["features"]
    assert told["optical"]["_type"] == "Array4D"
    assert told["optical_dates"]["feature"]["dtype"].startswith("timestamp[")
    assert (
        "(step, band, row, column), shape (4, 3, 16, 16)"
        in (tmp_path / "out" / "README.md").read_text()
    )


@pytest.mark.slow
def test_datasets_reads_every_pixel_and_label(raw: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("datasets") is None:
        pytest.skip("datasets is not installed: make neighbours")
    lacking = sorted((raw / "BigEarthNet-S1").glob("*/*"))[0]
    shutil.rmtree(lacking)
    convert(DATASET, raw, tmp_path / "store", workers=0)
    export_store("hf", tmp_path / "store", tmp_path / "out")
    assert int(read_apart("datasets", tmp_path / "store", tmp_path / "out", tmp_path / "c")) == 4


@pytest.mark.slow
def test_mlcroissant_finds_no_error_and_reads_the_records(stacked: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("mlcroissant") is None:
        pytest.skip("mlcroissant is not installed: make neighbours")
    export_store("hf", stacked, tmp_path / "out", split="test", modalities="map")
    rows = len(open_store(stacked).table(split="test"))
    assert int(read_apart("mlcroissant", stacked, tmp_path / "out", tmp_path / "c")) == rows


def test_splits_have_names_that_datasets_takes() -> None:
    names = SplitNames(["train", "val-1", "val 1", "all"])
    assert names.of_rows(["all", "val 1", "train", None]) == ["all_", "val_1_", "train", "no_split"]
    assert names.known == ["train", "val_1", "val_1_", "all_", "no_split"]
    assert names.notes() == [
        "splits with a name that datasets can have: val-1 is val_1, val 1 is val_1_, all is all_",
        "rows without a split are in 'no_split'",
    ]


def test_arrays_of_any_shape_become_lists() -> None:
    arrays = [np.arange(6.0).reshape(2, 3), None, np.zeros((0, 3)), np.full((1, 2), np.nan)]
    found = nested_lists(arrays, 2, "float32")
    assert found.type == pa.list_(pa.list_(pa.float32()))
    assert found[:3].to_pylist() == [[[0, 1, 2], [3, 4, 5]], None, []]
    assert np.isnan(found[3].as_py()).all()
    assert nested_lists([None], 3, "uint8").to_pylist() == [None]


def test_columns_of_the_table_have_types_of_datasets() -> None:
    schema = pa.schema(
        {
            "one": pa.string(),
            "parts": pa.list_(pa.float32()),
            "box": pa.struct({"xmin": pa.float64(), "day": pa.date32()}),
            "at": pa.timestamp("us", "UTC"),
            "odd": pa.map_(pa.string(), pa.int8()),
        }
    )
    columns, others = table_columns(schema, {"one": ("a", "b"), "parts": ("a", "b")})
    assert others == ["odd"]
    assert [column.name for column in columns] == ["one", "parts", "box", "at"]
    assert columns[0].values(pa.chunked_array([["b", None, "a"]])).to_pylist() == [1, None, 0]
    told = refused(StoreDamaged, lambda: columns[0].values(pa.chunked_array([["c"]])))
    assert "the label 'c' in one, which is none of the manifest's classes" in told
    assert columns[1].feature == {
        "feature": {"dtype": "float32", "_type": "Value"},
        "_type": "List",
    }
    assert columns[2].feature["day"] == {"dtype": "date32", "_type": "Value"}
    assert feature_of(pa.timestamp("us", "UTC")) == {
        "dtype": "timestamp[us, tz=UTC]",
        "_type": "Value",
    }


def test_licences_are_those_of_the_hub_or_other() -> None:
    def facts(licence: str, url: str = "https://example.org") -> dict[str, str]:
        return licence_facts(Dataset("n", "1", "t", licence, "c", url))

    assert facts("CC-BY-SA-4.0") == {"license": "cc-by-sa-4.0"}
    assert facts("ODbL-1.0") == {"license": "odbl"}
    assert facts("") == {"license": "unknown"}
    other = {"license": "other", "license_name": "public-domain"}
    assert facts("public domain") == other | {"license_link": "https://example.org"}
    assert facts("Public domain", "none") == other


def test_sizes_are_those_of_the_hub() -> None:
    sizes = {999: "n<1K", 1000: "1K<n<10K", 549_488: "100K<n<1M", 10**9: "n>1B"}
    assert {count: size_category(count) for count in sizes} == sizes


def test_yaml_keeps_odd_texts() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    value = {
        "a": ["no", "yes: 1", "é \U0001f30d", 'a "b" \\', "x\ny\t\x7f", "", "1", "1e3", "- b", "~"],
        "b": {"c": [], "d": {}, "e": [{"f": 1, "g": [{"h": True}, 2.5]}]},
        "null": None,
        "2020-01-01": "2020-01-01",
    }
    assert yaml.safe_load(yaml_text(value)) == value


def test_wrong_options_are_one_sentence(patchpress: Command, stacked: Path, tmp_path: Path) -> None:
    words = ("export", "hf", stacked, tmp_path / "out")
    assert "deflate is for geotiff, not for hf" in patchpress(*words, "--deflate").sentence
    assert "must have 1 byte or more" in patchpress(*words, "--shard-size", "0").sentence
    assert not (tmp_path / "out").exists()
