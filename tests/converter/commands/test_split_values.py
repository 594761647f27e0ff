"""Split values, wherever they come from: `val` is validation, and what is no split is refused."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import Samples, Store, convert, dry_run, index, open_store, verify
from patchpress.readers.errors import OptionError, PatchError, SelectionEmpty, TableError
from tests.support.helpers import DATASET, described, made, tiny_dataset
from tests.support.synthetic import TABLE

SPLITS = '[splits]\ncolumn = "split"\nnames = ["train", "validation"]\n'
VALS = ["val", "Val", "VALID", "dev", " validation ", "Development"]


def tiny(root: Path, groups: dict[str, list[str]], *, keys: str = "", more: str = SPLITS) -> Path:
    path = tiny_dataset(root, groups)
    text = path.read_text().replace('key = "{name}"', f'key = "{{name}}"\n{keys}')
    path.write_text(text.replace("'\\w+'", "'[^/]+'") + more)
    return path


def stored(description: Path, **options: Any) -> Store:
    root = description.parent
    convert(description, root / "raw", root / "store", workers=0, **options)
    verdict = verify(root / "store")
    assert verdict.good, verdict.text()
    return open_store(root / "store")


def splits(store: Store) -> dict[str, str | None]:
    table = store.table(columns=["name", "split"])
    return dict(zip(table["name"].to_pylist(), table["split"].to_pylist(), strict=True))


BY_FOLDER = 'columns = { split = "{group}" }'


@pytest.mark.parametrize("val", VALS)
@pytest.mark.parametrize("more", [SPLITS, ""], ids=["splits", "no splits"])
def test_a_folder_called_val_is_validation(tmp_path: Path, val: str, more: str) -> None:
    store = stored(tiny(tmp_path, {"train": ["p1"], val: ["p2"]}, keys=BY_FOLDER, more=more))
    assert splits(store) == {"p1": "train", "p2": "validation"}
    for name in ("val", "validation", "Valid"):
        assert store.keys(split=name) == ["p2"]
        assert len(Samples(store, name, target=None)) == 1
        assert len(Samples(store, where={"split": name}, target=None)) == 1


def test_a_folder_that_is_no_split_is_refused_before_a_pixel_is_read(tmp_path: Path) -> None:
    description = tiny(tmp_path, {"train": ["p1"], "vali": ["p2"]}, keys=BY_FOLDER)
    said = r"p2.* gives the split 'vali', which is unknown; .*validation"
    for run in (convert, dry_run):
        with pytest.raises(PatchError, match=said):
            run(description, tmp_path / "raw", tmp_path / "store", workers=0)
    assert not (tmp_path / "store" / "data.mdb").exists()
    report = convert(description, tmp_path / "raw", tmp_path / "store", workers=0, on_error="skip")
    assert len(report.skipped) == 1
    assert report.exit_code == 1
    assert splits(open_store(tmp_path / "store")) == {"p1": "train"}
    assert verify(tmp_path / "store").good
    foretold = dry_run(description, tmp_path / "raw", tmp_path / "o", workers=0, on_error="skip")
    assert len(foretold.skipped) == 1


def table_of(root: Path, values: list[str | None], more: str, name: str = "split") -> Path:
    description = tiny(root, {"g": ["p1", "p2"]}, more=f'[tables.t]\nfile = "t.parquet"\n{more}')
    pq.write_table(pa.table({"name": ["p1", "p2"], name: values}), root / "raw" / "t.parquet")
    return description


@pytest.mark.parametrize("val", VALS)
@pytest.mark.parametrize("more", [SPLITS, ""], ids=["splits", "no splits"])
def test_val_in_a_table_is_validation(tmp_path: Path, val: str, more: str) -> None:
    description = table_of(tmp_path, ["train", val], more)
    foretold = dry_run(description, tmp_path / "raw", tmp_path / "store", workers=0)
    assert foretold.splits == {"train": 1, "validation": 1}
    assert f"split {val!r} of the tables is read as validation" in foretold.text()
    assert splits(stored(description)) == {"p1": "train", "p2": "validation"}


@pytest.mark.parametrize("more", [SPLITS, ""], ids=["splits", "no splits"])
@pytest.mark.parametrize("column", ["split", "Split"])
def test_a_table_with_another_split_is_refused(tmp_path: Path, more: str, column: str) -> None:
    description = table_of(tmp_path, ["train", "fold 3"], more, column)
    for run in (convert, dry_run):
        with pytest.raises(TableError, match="p2 the split 'fold 3', which is unknown"):
            run(description, tmp_path / "raw", tmp_path / "store", workers=0)


def test_an_empty_text_in_a_table_is_no_split(tmp_path: Path) -> None:
    store = stored(table_of(tmp_path, ["train", ""], SPLITS))
    assert splits(store) == {"p1": "train", "p2": None}


def test_val_in_an_official_table_is_validation(raw: Path, tmp_path: Path) -> None:
    table = pq.read_table(raw / TABLE)
    at = table.schema.get_field_index("split")
    values = ["val", "VALID", "train", "dev"]
    pq.write_table(table.set_column(at, "split", pa.array(values)), raw / TABLE)
    report = made(raw, tmp_path / "store")
    assert report.splits["validation"]["rows"] >= 3
    assert verify(tmp_path / "store").good
    (tmp_path / "native").mkdir()
    made(raw, tmp_path / "native" / "store", layout="native")
    (tmp_path / "lmdb").mkdir()
    data = (tmp_path / "native" / "store" / "data.mdb").read_bytes()
    (tmp_path / "lmdb" / "data.mdb").write_bytes(data)
    adopted = index(tmp_path / "lmdb", DATASET, paths={"metadata": raw / TABLE})
    assert adopted.splits["validation"]["rows"] == 3  # type: ignore[union-attr]


SIDECAR = '[modalities.a.sidecar]\nfile = "{name}.json"\ncolumns = { split = "part" }\n'


def with_notes(root: Path, parts: dict[str, object], more: str = SPLITS) -> Path:
    description = tiny(root, {"g": list(parts)}, more=f"{SIDECAR}{more}")
    for name, part in parts.items():
        (root / "raw" / "A" / "g" / name / f"{name}.json").write_text(json.dumps({"part": part}))
    return description


@pytest.mark.parametrize("val", VALS)
@pytest.mark.parametrize("more", [SPLITS, ""], ids=["splits", "no splits"])
def test_val_in_a_json_file_is_validation(tmp_path: Path, val: str, more: str) -> None:
    store = stored(with_notes(tmp_path, {"p1": "train", "p2": val, "p3": None, "p4": ""}, more))
    assert splits(store) == {"p1": "train", "p2": "validation", "p3": None, "p4": None}


@pytest.mark.parametrize("part", ["fold 3", 3, True, ["train"], {"a": 1}])
def test_a_json_file_with_another_split_is_one_patch_that_is_wrong(
    tmp_path: Path, part: object
) -> None:
    description = with_notes(tmp_path, {"p1": "train", "p2": part})
    with pytest.raises(PatchError, match=r"p2.json gives the split .*, which is unknown"):
        convert(description, tmp_path / "raw", tmp_path / "store", workers=0)
    report = convert(description, tmp_path / "raw", tmp_path / "store", workers=0, on_error="skip")
    assert len(report.skipped) == 1
    assert splits(open_store(tmp_path / "store")) == {"p1": "train"}
    assert verify(tmp_path / "store").good


def test_lists_may_be_called_by_any_name_of_their_split(tmp_path: Path) -> None:
    description = tiny(
        tmp_path, {"g": ["p1", "p2"]}, more=f'{SPLITS}[splits.lists]\nval = "v.txt"\n'
    )
    (tmp_path / "list.txt").write_text("p2\n")
    for name in ("val", "validation", "Valid", "dev"):
        paths = {name: tmp_path / "list.txt"}
        assert splits(stored(description, paths=paths, overwrite=True))["p2"] == "validation"
    with pytest.raises(OptionError, match="gives validation twice"):
        stored(description, paths=dict.fromkeys(("val", "dev"), tmp_path / "list.txt"))


def test_a_wrong_path_is_called_as_the_user_called_it(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--path val=… names no part of bigearthnet-v2"):
        made(tree, tmp_path / "store", paths={"val": tmp_path})
    assert described().splits is not None


def test_a_store_with_a_split_val_is_read_by_each_name(stacked: Path) -> None:
    store = open_store(stacked)
    for name in ("val", "dev", "Validation", "VAL"):
        assert store.keys(split=name) == store.keys(split="validation")
        assert (
            store.table(split=["train", name]).num_rows
            == store.table(split=["train", "validation"]).num_rows
        )
        assert len(Samples(store, where={"split": [name]})) == len(
            Samples(store, where={"split": "validation"})
        )
    with pytest.raises(SelectionEmpty, match="no patch of the store is in split 'evaluation'"):
        store.keys(split="evaluation")
