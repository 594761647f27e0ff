"""`merge` of several stores: together they are the store that one conversion makes."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import (
    OptionError,
    StoreMissing,
    StoreUnfinished,
    copy_store,
    merge_stores,
    open_store,
    split_store,
    verify,
)
from patchpress.converter.transfer.source_store import SourceStore
from patchpress.readers.format.manifest import (
    EXTENTS,
    METADATA,
    file_digest,
    read_manifest,
    write_manifest,
)
from tests.conftest import KINDS
from tests.support.helpers import Ended, band_files, folder_bytes, made, packed, patches

pytestmark = pytest.mark.slow

SAME = ("data.mdb", METADATA, EXTENTS)


def parts(whole: Path, root: Path) -> list[Path]:
    """Three stores, one a split, flagged rows included."""
    for split in ("test", "train", "validation"):
        copy_store(whole, root / split, split=split, flagged="include")
    return [root / "test", root / "train", root / "validation"]


def require_same(out: Path, whole: Path) -> None:
    """Make sure that a merged store is the one that its parts were taken from."""
    ours, theirs = folder_bytes(out), folder_bytes(whole)
    assert [name for name in SAME if ours[name] != theirs[name]] == []
    one, two = read_manifest(out), read_manifest(whole)
    options = dict(one.options)
    assert options.pop("merged") in (2, 3)
    options.pop("copied", None)  # of stores that were parts
    assert replace(one, options=options) == two
    verdict = verify(out)
    assert verdict.good, verdict.text()


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_parts_with_other_patches(
    stores: dict[tuple[str, str], Path], tmp_path: Path, kind: tuple[str, str]
) -> None:
    merge_stores(parts(stores[kind], tmp_path), tmp_path / "out")
    require_same(tmp_path / "out", stores[kind])


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_parts_with_other_modalities(
    stores: dict[tuple[str, str], Path], tmp_path: Path, kind: tuple[str, str]
) -> None:
    """Each part has a row for each patch, and together they have one."""
    for modality in ("s1", "map", "s2"):
        copy_store(stores[kind], tmp_path / modality, modalities=modality)
    merged = merge_stores([tmp_path / n for n in ("map", "s1", "s2")], tmp_path / "out")
    require_same(tmp_path / "out", stores[kind])
    assert merged.notes == ("30 rows of patches that another store has, too: one each",)


def test_modalities_that_were_converted_apart(tree: Path, tmp_path: Path) -> None:
    made(tree, tmp_path / "whole")
    for modality in ("s1", "s2", "map"):
        made(tree, tmp_path / modality, modalities=modality)
    merge_stores([tmp_path / n for n in ("s1", "map", "s2")], tmp_path / "out")
    ours, theirs = folder_bytes(tmp_path / "out"), folder_bytes(tmp_path / "whole")
    assert [name for name in SAME if ours[name] != theirs[name]] == []


def test_archives_that_several_machines_converted(raw: Path, tmp_path: Path) -> None:
    """A machine an archive, in shards: the data files are those of one pass over all archives."""
    source = packed(raw, "gz")
    made(source, tmp_path / "whole", shards=3, on_error="skip")
    for modality in ("s1", "s2", "map"):
        made(source, tmp_path / modality, modalities=modality, shards=3, on_error="skip")
    merge_stores([tmp_path / n for n in ("s1", "s2", "map")], tmp_path / "out", shards=3)
    ours, theirs = folder_bytes(tmp_path / "out"), folder_bytes(tmp_path / "whole")
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == ["manifest.json"]


def test_what_two_stores_have_is_stored_once(stacked: Path, tmp_path: Path) -> None:
    copy_store(stacked, tmp_path / "one", split=["train", "test"], flagged="include")
    copy_store(stacked, tmp_path / "two", split=["test", "val"], flagged="include")
    merged = merge_stores([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    require_same(tmp_path / "out", stacked)
    rows = open_store(stacked).manifest.splits["test"]["rows"]
    assert merged.notes == (
        f"{rows} rows of patches that another store has, too: one each",
        f"{3 * rows} records in more than one store, with the same checksum: stored once",
    )


@pytest.mark.parametrize("shards", [None, 0, 5])
def test_sharded_stores(stacked: Path, tmp_path: Path, shards: int | None) -> None:
    split_store(stacked, tmp_path / "whole", shards=3)
    copied = parts(tmp_path / "whole", tmp_path)
    merge_stores(copied, tmp_path / "out", shards=shards)
    if shards is None:
        split_store(stacked, tmp_path / "expected", shards=3)
    else:
        split_store(stacked, tmp_path / "expected", shards=shards)
    ours, theirs = folder_bytes(tmp_path / "out"), folder_bytes(tmp_path / "expected")
    assert ours.keys() == theirs.keys()
    assert [n for n in ours if ours[n] != theirs[n]] == ["manifest.json"]
    assert verify(tmp_path / "out").good


def test_stores_of_different_numbers_of_shards(stacked: Path, tmp_path: Path) -> None:
    copied = parts(stacked, tmp_path)
    split_store(copied[0], tmp_path / "sharded", shards=2)
    merged = merge_stores([tmp_path / "sharded", *copied[1:]], tmp_path / "out")
    require_same(tmp_path / "out", stacked)
    assert any("different numbers of shards" in note for note in merged.notes)


def changed(store: Path, table: pa.Table) -> None:
    """Replace the table of a store, and note that in its manifest."""
    pq.write_table(table, store / METADATA)
    digest = file_digest(store / METADATA)
    write_manifest(store, replace(read_manifest(store), metadata_digest=digest))


def test_columns_that_one_store_lacks_are_told(stacked: Path, tmp_path: Path) -> None:
    one, two, three = parts(stacked, tmp_path)
    table = open_store(two).table().drop_columns(["country"])
    changed(two, table)
    merged = merge_stores([one, two, three], tmp_path / "out")
    store = open_store(tmp_path / "out")
    assert merged.notes == (f"{two} has no column country: null in rows that only it has",)
    assert store.table()["country"].null_count == len(table)
    assert verify(tmp_path / "out").good


def test_rows_that_disagree_are_refused(stacked: Path, tmp_path: Path) -> None:
    copy_store(stacked, tmp_path / "one", modalities="s1")
    copy_store(stacked, tmp_path / "two", modalities="s2")
    table = open_store(tmp_path / "two").table()
    at = table.column_names.index("country")
    changed(tmp_path / "two", table.set_column(at, "country", pa.array(["Moon"] * len(table))))
    with pytest.raises(OptionError, match=r"has country '\w+' there, and 'Moon' here"):
        merge_stores([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_columns_of_other_types_are_refused(stacked: Path, tmp_path: Path) -> None:
    one, two, _ = parts(stacked, tmp_path)
    table = open_store(two).table()
    at = table.column_names.index("country")
    changed(two, table.set_column(at, "country", pa.array(range(len(table)))))
    with pytest.raises(OptionError, match="column 'country' has the type string there, and int64"):
        merge_stores([one, two], tmp_path / "out")


def test_other_pixels_of_one_name_are_refused(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "one")
    name = patches(raw, "s2")[1]
    files = band_files(raw, "s2", name)
    shutil.copyfile(files["B02"], files["B03"])
    made(raw, tmp_path / "two")
    with pytest.raises(OptionError, match=rf"have different records '{name}' \(1 such name\)"):
        merge_stores([tmp_path / "one", tmp_path / "two"], tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layout": "native"}, "layout of s2 is stacked there, and native here"),
        ({"compression": "zstd"}, "compression of s2 is none there, and zstd here"),
        ({"resampling": "bilinear"}, "resampling of s2 is nearest there, and bilinear here"),
    ],
)
def test_stores_that_are_stored_in_other_ways(
    tree: Path, stacked: Path, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    made(tree, tmp_path / "two", **options)
    with pytest.raises(OptionError) as raised:
        merge_stores([stacked, tmp_path / "two"], tmp_path / "out")
    assert f"{stacked} and {tmp_path / 'two'} do not fit together: {said}" in str(raised.value)
    assert not (tmp_path / "out").exists()


def with_manifest(store: Path, **fields: Any) -> Path:
    write_manifest(store, replace(read_manifest(store), **fields))
    return store


def test_other_bands_classes_and_datasets(stacked: Path, tmp_path: Path) -> None:
    copy_store(stacked, tmp_path / "rgb", modalities="s2", bands="rgb")
    with pytest.raises(OptionError, match=r"bands of s2 is B01, .* and B04, B03, B02 "):
        merge_stores([stacked, tmp_path / "rgb"], tmp_path / "out")
    other = Path(shutil.copytree(stacked, tmp_path / "other"))
    manifest = read_manifest(stacked)
    with_manifest(other, dataset=replace(manifest.dataset, version="3"))
    with pytest.raises(OptionError, match=r"the version of the dataset is 2\.0\.0 there, and 3"):
        merge_stores([stacked, other], tmp_path / "out")
    names = tuple(reversed(manifest.classes["labels"]))
    with_manifest(other, dataset=manifest.dataset, classes={"labels": names})
    with pytest.raises(OptionError, match="the classes of 'labels' is"):
        merge_stores([stacked, other], tmp_path / "out")


def test_what_is_no_store(stacked: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreMissing):
        merge_stores([stacked, tmp_path / "none"], tmp_path / "out")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "data.mdb").write_bytes(b"")
    with pytest.raises(StoreUnfinished):
        merge_stores([stacked, tmp_path / "begun"], tmp_path / "out")
    with pytest.raises(OptionError, match="is given twice"):
        merge_stores([stacked, stacked], tmp_path / "out")
    with pytest.raises(OptionError, match="must be a list of folders"):
        merge_stores(str(stacked), tmp_path / "out")
    with pytest.raises(OptionError, match="no store to merge"):
        merge_stores([], tmp_path / "out")


def test_the_command(stacked: Path, tmp_path: Path, patchpress: Callable[..., Ended]) -> None:
    ended = patchpress("merge", *parts(stacked, tmp_path), tmp_path / "out")
    assert ended.code == 0, ended.err
    require_same(tmp_path / "out", stacked)
    keys = open_store(stacked).keys("s1")
    store = open_store(tmp_path / "out")
    theirs = open_store(stacked).read_batch(keys)
    assert np.array_equal(store.read_batch(keys), theirs, equal_nan=True)


def test_tables_are_joined_column_by_column(
    stacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All columns of all stores at once take more memory than all of their records."""

    def all_columns(_: SourceStore) -> None:
        raise AssertionError("a whole table is in memory")

    asked: list[int] = []
    columns = SourceStore.columns

    def some_columns(self: SourceStore, names: Any) -> Any:
        found = columns(self, names)
        asked.append(found.num_columns)
        return found

    copy_store(stacked, tmp_path / "radar", modalities="s1")
    copy_store(stacked, tmp_path / "others", modalities=["s2", "map"])
    monkeypatch.setattr(SourceStore, "table", property(all_columns))
    monkeypatch.setattr(SourceStore, "columns", some_columns)
    merge_stores([tmp_path / "radar", tmp_path / "others"], tmp_path / "merged")
    assert max(asked) == 3  # presence, key and checksum of a modality
    require_same(tmp_path / "merged", stacked)
