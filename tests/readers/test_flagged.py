"""A split is what its publisher recommends; flagged rows are one option away."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import SplitBy, Store, convert, open_store, verify
from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.options import FlaggedChoice
from patchpress.converter.tables.metadata import flagged_counts, split_counts
from patchpress.readers.errors import OptionError, SelectionEmpty, TableError
from patchpress.readers.format.manifest import Manifest, file_digest
from patchpress.readers.format.table import FLAGGED, read_table
from patchpress.readers.rows import named_selection, rows_of
from patchpress.readers.samples import Samples
from tests.support.helpers import Ended, made, write_sealed
from tests.support.older_sets import make_v1
from tests.support.synthetic import FLAGGED_TABLE, TABLE, Row, is_flagged

V2 = "bigearthnet-v2"
OFFICIAL = {"train": 237_871, "validation": 122_342, "test": 119_825}
WITH_FLAGGED = {"train": 272_544, "validation": 139_577, "test": 137_367}


@pytest.fixture
def opened(stacked: Path) -> Store:
    return open_store(stacked)


def names(table: pa.Table) -> list[str]:
    found: list[str] = table["patch_id"].to_pylist()
    return found


def expected(rows: list[Row], split: Any, flagged: str | None) -> list[str]:
    splits = [split] if isinstance(split, str) else split
    choice = flagged or ("include" if split is None else "exclude")
    keep = {"exclude": (False,), "include": (False, True), "only": (True,)}[choice]
    return [
        row["patch_id"]
        for row in rows
        if (splits is None or row["split"] in splits) and is_flagged(row) in keep
    ]


@pytest.mark.parametrize("flagged", [None, "exclude", "include", "only"])
@pytest.mark.parametrize(
    "split", [None, "train", "test", ["train", "test"], ("test", "validation")]
)
def test_a_split_is_the_recommended_one_everywhere(
    store: Store, rows: list[Row], split: Any, flagged: str | None
) -> None:
    wanted = expected(rows, split, flagged)
    assert wanted
    assert names(store.table(split, flagged=flagged)) == wanted
    assert store.keys("s2", split, flagged=flagged) == wanted
    samples = Samples(store, split, flagged=flagged)
    assert samples.keys(range(len(samples))) == wanted
    whole = expected(rows, split, "include")
    left = len(whole) - len(wanted) if flagged != "only" else 0
    assert samples.left_out == ({"flagged": left} if left else {})


def test_the_published_numbers_are_those_of_the_official_tables(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / V2
    files = sorted(folder.glob("*.parquet"))
    assert len(files) == 2
    table = pa.concat_tables([pq.read_table(file) for file in files])
    manifest = described(find_description(V2), table)
    pq.write_table(table, tmp_path / "metadata.parquet")
    object.__setattr__(manifest, "metadata_digest", file_digest(tmp_path / "metadata.parquet"))
    for flagged, counts in ((None, OFFICIAL), ("exclude", OFFICIAL), ("include", WITH_FLAGGED)):
        for split, count in counts.items():
            assert len(read_table(tmp_path, manifest, split, ["patch_id"], None, flagged)) == count
            assert manifest.count(split, flagged=flagged or "exclude") == count
    assert len(read_table(tmp_path, manifest, list(OFFICIAL), ["split"])) == 480_038
    assert len(read_table(tmp_path, manifest, None, ["split"], flagged="only")) == 69_450
    assert len(read_table(tmp_path, manifest, None, ["split"])) == 549_488


def described(description: Description, table: pa.Table) -> Manifest:
    """A manifest that has what the choice of rows needs, for a table without pixels."""
    manifest = Manifest.__new__(Manifest)
    for name, value in {
        "modalities": {},
        "rows": len(table),
        "splits": split_counts(description, table, ()),
        "split_column": description.split_column,
        "flagged": flagged_counts(description, table, ()),
    }.items():
        object.__setattr__(manifest, name, value)
    return manifest


def test_the_official_lists_of_v1_have_no_flagged_patch(shared_data: Path) -> None:
    folder = shared_data / "bigearthnet-v1"

    def listed(name: str) -> set[str]:
        return set((folder / name).read_text().split())

    description = find_description("bigearthnet-v1")
    assert set(description.flag_columns) == set(description.flags)
    flagged = set().union(*(listed(file) for file in description.flags.values()))
    assert len(flagged) == 61_707 + 9_280
    assert description.splits is not None
    split = set().union(*(listed(file) for file in description.splits.lists.values()))
    assert len(split) == 519_284
    assert not split & flagged


def test_the_manifest_counts_both(opened: Store, rows: list[Row]) -> None:
    manifest = opened.manifest
    assert manifest.flagged.columns == ("contains_seasonal_snow", "contains_cloud_or_shadow")
    assert manifest.flagged.rows == 3
    for split in manifest.splits:
        for what in ("rows", "s1", "s2", "map"):
            for flagged in ("exclude", "include", "only"):
                wanted = len(expected(rows, split, flagged))
                assert manifest.count(split, what, flagged) == wanted


def test_a_table_without_flags_has_nothing_to_leave_out(opened: Store, rows: list[Row]) -> None:
    bare = replace(opened.manifest, flagged=replace(opened.manifest.flagged, columns=(), rows=0))
    assert names(read_table(opened.path, bare, "train")) == expected(rows, "train", "include")
    with pytest.raises(SelectionEmpty, match="none of the 9 rows selected is flagged"):
        rows_of(opened.path, bare, "train", None, "only")


def test_the_command_has_the_same_words() -> None:
    assert tuple(FlaggedChoice) == FLAGGED


def test_what_leaves_nothing_says_the_way_out(opened: Store) -> None:
    hazy = {"contains_cloud_or_shadow": True}
    with pytest.raises(SelectionEmpty) as error:
        Samples(opened, "train", where=hazy)
    assert str(error.value) == (
        "all 1 rows selected are flagged (contains_seasonal_snow, contains_cloud_or_shadow), so "
        "their publisher does not recommend them: give flagged='include' to have them"
    )
    assert len(Samples(opened, "train", where=hazy, flagged="include")) == 1
    assert len(Samples(opened, where=hazy)) == 1  # without a split nothing is left out
    with pytest.raises(OptionError, match="one of exclude, include, only, not 'no'"):
        Samples(opened, "train", flagged="no")
    with pytest.raises(OptionError, match="flagged must be one of"):
        opened.table("train", flagged="no")


@pytest.mark.parametrize("split", [3, ["train", 3], b"train", {"train": 1}])
def test_a_split_is_a_name_or_several(opened: Store, split: Any) -> None:
    with pytest.raises(OptionError, match="split must be a name such as 'train', a list of names"):
        opened.table(split)


def test_several_splits_are_named_as_one_is(opened: Store) -> None:
    both = opened.table(["val", "train"])
    assert set(both["split"].to_pylist()) == {"train", "validation"}
    assert names(both) == sorted(names(both))  # in the order of the table
    with pytest.raises(SelectionEmpty, match="split 'fold'; splits there: train, val"):
        opened.table(["train", "fold"])
    with pytest.raises(SelectionEmpty, match="an empty list; splits there: train, val"):
        opened.table([])


def test_samples_stand_for_a_split(opened: Store) -> None:
    samples = Samples(opened, "train").subset([4, 1, 6])
    keys = samples.keys(range(3))
    assert names(opened.table(samples)) == keys
    assert opened.keys("s2", samples) == keys
    radar = Samples(opened, samples, modalities="s1", target=None)
    assert radar.keys(range(3)) == opened.table(samples)["s1_name"].to_pylist()
    np.testing.assert_array_equal(radar.row_numbers, samples.row_numbers)


def test_samples_of_another_store_stand_for_nothing(
    opened: Store, tree: Path, tmp_path: Path
) -> None:
    made(tree, tmp_path / "store", modalities=("s2",), limit=9)
    other = Samples(tmp_path / "store")
    for ask in (
        lambda: opened.table(other),
        lambda: opened.keys("s2", other),
        lambda: Samples(opened, other),
        lambda: opened.statistics("s2", other),
    ):
        with pytest.raises(OptionError, match="these samples are of another store"):
            ask()


def test_rows_that_are_a_whole_split_are_known(opened: Store) -> None:
    def named(*choice: Any, **options: Any) -> tuple[Any, Any]:
        return named_selection(opened.path, opened.manifest, Samples(opened, *choice, **options))

    assert named("train") == ("train", None)
    assert named("train", flagged="include") == ("train", "include")
    assert named() == (None, None)
    some = Samples(opened, "train").subset([0, 2])
    assert named_selection(opened.path, opened.manifest, some) == (some, None)


def test_convert_and_inspect_show_both_counts(
    tree: Path, tmp_path: Path, patchpress: Callable[..., Ended]
) -> None:
    ended = patchpress("convert", V2, tree, tmp_path / "store", "--workers", 0)
    assert ended.code == 0
    told = [line.split() for line in ended.out.splitlines()]
    assert ["split", "train", "7,", "and", "2", "flagged"] in told
    assert ["split", "validation", "3"] in told
    foretold = patchpress("convert", V2, tree, tmp_path / "other", "--workers", 0, "--dry-run")
    assert ["split", "train", "7,", "and", "2", "flagged"] in [
        line.split() for line in foretold.out.splitlines()
    ]
    shown = patchpress("inspect", tmp_path / "store").out
    assert (
        "  3 rows are flagged (contains_seasonal_snow 2, contains_cloud_or_shadow 1): not "
        "recommended by the publisher\n" in shown
    )
    rows = [line.split() for line in shown.splitlines()]
    assert ["train", "7", "7", "7", "7"] in rows  # recommended ones
    assert ["train,", "flagged", "2", "2", "2", "2"] in rows
    assert ["validation", "3", "3", "3", "3"] in rows


@pytest.mark.parametrize("split", ["official", "geographic"])
def test_lists_and_another_rule_leave_out_the_same_patches(
    made_tree: tuple[Path, list[Row]], tmp_path: Path, split: str
) -> None:
    """As v1 has it: flags in lists, and patches of them in no official list."""
    tree, rows = made_tree
    source = make_v1(tmp_path / "v1", tree, rows)
    flagged = [row["s2v1_name"] for row in rows if is_flagged(row)]
    clear = [row["s2v1_name"] for row in rows if not is_flagged(row)]
    for name, listed in (("train", clear[:8]), ("val", clear[8:10]), ("test", clear[10:])):
        (source / f"{name}.csv").write_text("\n".join(listed))
    (source / "patches_with_seasonal_snow.csv").write_text("\n".join(flagged[:2]))
    (source / "patches_with_cloud_and_shadow.csv").write_text("\n".join(flagged[2:]))
    report = convert("bigearthnet-v1", source, tmp_path / "store", workers=0, split=SplitBy(split))
    store = open_store(tmp_path / "store")
    assert store.manifest.flagged.rows == len(flagged) == 3
    for name in store.manifest.splits:
        found = names(store.table(name))
        assert not set(found) & set(flagged)
        whole = names(store.table(name, flagged="include"))
        assert (found == whole) == (split == "official" or not set(whole) & set(flagged))
    assert bool(report.flagged) == (split == "geographic")
    listed = [name for part in store.manifest.splits for name in names(store.table(part))]
    if split == "official":
        assert sorted(listed) == sorted(clear)


def test_verify_counts_flagged_rows_too(stacked: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(stacked, tmp_path / "store"))
    content = json.loads((copy / "manifest.json").read_text())
    content["flagged"]["splits"]["train"]["rows"] = 5
    write_sealed(copy / "manifest.json", content)
    problems = verify(copy, workers=0).problems
    assert problems == ["split train has 2 flagged rows where the manifest counts 5"]
    content["flagged"]["columns"].append("contains_fog")
    write_sealed(copy / "manifest.json", content)
    problems = verify(copy, workers=0).problems
    assert "metadata.parquet has no column 'contains_fog', which flags rows" in problems


def test_a_table_whose_flags_are_no_bools_is_refused(raw: Path, tmp_path: Path) -> None:
    for name in (TABLE, FLAGGED_TABLE):
        table = pq.read_table(raw / name)
        at = table.column_names.index("contains_seasonal_snow")
        text = table["contains_seasonal_snow"].cast(pa.string())
        pq.write_table(table.set_column(at, "contains_seasonal_snow", text), raw / name)
    with pytest.raises(TableError, match="string in column 'contains_seasonal_snow', which"):
        made(raw, tmp_path / "store")
