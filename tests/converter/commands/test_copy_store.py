"""`copy`: a part of a store is a store that says what it has, reads as the whole, and verifies."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest

from patchpress import (
    BandMissing,
    Copied,
    Layout,
    OptionError,
    Samples,
    SelectionEmpty,
    SourceMissing,
    Store,
    TableError,
    convert,
    copy_store,
    merge_stores,
    open_store,
    split_store,
    stats,
    verify,
)
from patchpress.readers.format.manifest import EXTENTS, METADATA, STATISTICS
from tests.conftest import KINDS
from tests.support.helpers import Ended, folder_bytes, made, tiny_dataset
from tests.support.sharding import sharded
from tests.support.synthetic import TABLE, make_tree

pytestmark = pytest.mark.slow

FILES = ("data.mdb", METADATA, EXTENTS, "manifest.json")


def same(part: Path, whole: Path, bands: dict[str, Any] | None = None) -> Store:
    """Make sure that all that a part has is as it is in the whole; gives the part, opened."""
    verdict = verify(part)
    assert verdict.good, verdict.text()
    store, source = open_store(part, checksums=True), open_store(whole)
    for modality in store.manifest.modalities:
        keys = store.keys(modality)
        assert keys
        ours = store.read_batch(keys)
        theirs = source.read_batch(keys, bands=(bands or {}).get(modality))
        assert np.array_equal(ours, theirs, equal_nan=True)
        assert store.manifest.modalities[modality].records == len(keys)
    assert store.has_extents
    return store


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_whole_copy_has_the_same_bytes(
    stores: dict[tuple[str, str], Path], tmp_path: Path, kind: tuple[str, str]
) -> None:
    copied = copy_store(stores[kind], tmp_path / "out")
    assert folder_bytes(tmp_path / "out") == {
        name: content for name, content in folder_bytes(stores[kind]).items() if name in FILES
    }
    assert isinstance(copied, Copied)
    assert copied.notes == ()


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_without_extents_the_same_is_copied(
    bare_stores: dict[tuple[str, str], Path],
    stores: dict[tuple[str, str], Path],
    tmp_path: Path,
    kind: tuple[str, str],
) -> None:
    copy_store(bare_stores[kind], tmp_path / "out")
    found, whole = folder_bytes(tmp_path / "out"), folder_bytes(stores[kind])
    assert {name: whole[name] for name in FILES} == found


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_a_split_of_one_modality(
    stores: dict[tuple[str, str], Path], tmp_path: Path, kind: tuple[str, str]
) -> None:
    out = tmp_path / "out"
    copied = copy_store(stores[kind], out, split="train", modalities="s2")
    store, source = same(out, stores[kind]), open_store(stores[kind])
    assert store.keys() == source.keys("s2", "train")
    assert list(store.manifest.splits) == ["train"]
    assert store.manifest.splits["train"] == {"rows": len(store), "s2": len(store)}
    assert store.manifest.options["copied"] == "--split train --modality s2"
    flagged = source.manifest.count("train", flagged="only")
    assert flagged
    assert copied.left_out == {"flagged": flagged}
    table, before = store.table(), source.table("train")
    lost = {f"{what}" for name in ("s1", "map") for what in (f"has_{name}", f"{name}_checksum")}
    assert table.column_names == [c for c in before.column_names if c not in lost]
    assert table.equals(before.select(table.column_names))
    assert table.schema.equals(before.select(table.column_names).schema, check_metadata=True)


def test_the_same_choice_gives_the_same_bytes(stacked: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        copy_store(stacked, tmp_path / name, fraction=0.5, seed=3, bands={"s2": "10m"})
    assert folder_bytes(tmp_path / "one") == folder_bytes(tmp_path / "two")


def test_a_share_is_the_one_that_samples_have(stacked: Path, tmp_path: Path) -> None:
    copy_store(stacked, tmp_path / "out", split="train", fraction=0.5, seed=4)
    samples = Samples(open_store(stacked), "train").fraction(0.5, seed=4)
    assert same(tmp_path / "out", stacked).keys("s2") == list(
        samples.table()["patch_id"].to_pylist()
    )


def test_few_of_each_class_are_those_that_samples_have(stacked: Path, tmp_path: Path) -> None:
    copy_store(stacked, tmp_path / "out", per_class=1, seed=4)
    samples = Samples(open_store(stacked)).per_class(1, seed=4)
    store = same(tmp_path / "out", stacked)
    assert store.keys("s2") == list(samples.table()["patch_id"].to_pylist())
    assert len(store.keys("s2")) < len(open_store(stacked).keys("s2"))


def test_rows_by_a_filter_and_chosen_samples(stacked: Path, tmp_path: Path) -> None:
    source = open_store(stacked)
    country = source.table()["country"][0].as_py()
    copy_store(stacked, tmp_path / "one", where={"country": country}, flagged="include")
    store = same(tmp_path / "one", stacked)
    assert set(store.table()["country"].to_pylist()) == {country}
    assert store.manifest.options["copied"] == f"--where country={country} --flagged include"
    samples = Samples(source, "train").subset([2, 0])
    copy_store(stacked, tmp_path / "two", split=samples)
    ours = same(tmp_path / "two", stacked).table()["patch_id"].to_pylist()
    assert ours == sorted(samples.table()["patch_id"].to_pylist())  # in the order of the table


def test_a_part_of_a_part_tells_both_choices(stacked: Path, tmp_path: Path) -> None:
    copy_store(stacked, tmp_path / "one", split="train")
    copy_store(tmp_path / "one", tmp_path / "two", modalities="s1")
    options = same(tmp_path / "two", stacked).manifest.options
    assert options["copied"] == "--split train; --modality s1"


def keys_file(form: str, path: Path, names: list[str]) -> Path:
    """A file with names in one of the forms that --keys takes."""
    if form == "text":
        path.write_text("".join(f"{name}\n" for name in names))
    elif form == "csv":
        pv.write_csv(pa.table({"n": range(len(names)), "patch_id": names}), path)
    else:
        pq.write_table(pa.table({"n": range(len(names)), "patch_id": names}), path)
    return path


@pytest.mark.parametrize("form", ["text", "csv", "parquet"])
def test_patches_that_a_file_names(stacked: Path, tmp_path: Path, form: str) -> None:
    names = open_store(stacked).keys("s2")[1:5]
    file = keys_file(form, tmp_path / "list", [names[2], names[0], "nobody"])
    copied = copy_store(stacked, tmp_path / "out", keys=file)
    assert same(tmp_path / "out", stacked).keys("s2") == [names[0], names[2]]
    assert copied.absent == ("nobody",)
    assert "names that the store does not have: 1" in copied.text()
    options = json.loads((tmp_path / "out" / "manifest.json").read_text())["options"]
    assert options["copied"] == "--keys of 2 rows"  # no path


def test_patches_by_the_keys_of_any_modality(stacked: Path, tmp_path: Path) -> None:
    source = open_store(stacked)
    wanted = [source.keys("s1")[0], source.keys("map")[1], source.keys("s2")[2]]
    copy_store(stacked, tmp_path / "out", keys=wanted)
    rows = source.table().take([0, 1, 2])
    assert same(tmp_path / "out", stacked).table().equals(rows)


def test_named_patches_outside_of_the_split_are_counted(stacked: Path, tmp_path: Path) -> None:
    source = open_store(stacked)
    names = source.keys("s2", "train")[:2] + source.keys("s2", "test")[:1]
    copied = copy_store(stacked, tmp_path / "out", split="train", keys=names)
    assert copied.passed_by == 1
    assert "the rest of the choice leaves out: 1" in copied.text()


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
@pytest.mark.parametrize(
    "bands",
    ["rgb", "10m", ["B8A", "B01"], ["B12", "B02", "B09"], "B05"],
    ids=["rgb", "10m", "coarse", "mixed", "one"],
)
def test_some_bands_have_the_same_pixels(
    stores: dict[tuple[str, str], Path], tmp_path: Path, kind: tuple[str, str], bands: Any
) -> None:
    out, source = tmp_path / "out", open_store(stores[kind])
    copy_store(stores[kind], out, modalities=["s2", "map"], bands={"s2": bands})
    store = open_store(out)
    verdict = verify(out)
    assert verdict.good, verdict.text()
    names = store.manifest.modalities["s2"].band_names
    if bands == "rgb":
        assert names == ("B04", "B03", "B02")
    for key in store.keys("s2"):
        ours, theirs = store.read_bands(key), source.read_bands(key, list(names))
        for name in names:
            step = theirs[name].shape[0] // ours[name].shape[0]
            assert np.array_equal(ours[name], theirs[name][::step, ::step])
            if step > 1:  # the grid is that of the finest band that is left
                assert np.array_equal(np.kron(ours[name], np.ones((step, step))), theirs[name])
        assert store.read(key).shape == store.manifest.modalities["s2"].shape
    for key in store.keys("map"):
        assert np.array_equal(store.read(key), source.read(key))


@pytest.mark.parametrize("layout", list(Layout))
def test_some_bands_are_what_a_conversion_of_them_stores(tmp_path: Path, layout: Layout) -> None:
    """A store of the bands that are left, made from the source, has the same data file."""
    toml = tiny_dataset(tmp_path, {"g": ["p1", "p2", "p3"]})
    convert(toml, tmp_path / "raw", tmp_path / "both", layout=layout, workers=0)
    for kept, lost in (("fine", "coarse"), ("coarse", "fine")):
        root = tmp_path / f"only {kept}"
        shutil.copytree(tmp_path / "raw", root / "raw")
        for file in (root / "raw").rglob(f"*_{lost}.tif"):
            file.unlink()
        lines = [line for line in toml.read_text().splitlines() if f'name = "{lost}"' not in line]
        (root / "tiny.toml").write_text("\n".join(lines))
        convert(root / "tiny.toml", root / "raw", root / "store", layout=layout, workers=0)
        copy_store(tmp_path / "both", root / "copy", bands=[kept])
        for name in ("data.mdb", METADATA):
            assert (root / "copy" / name).read_bytes() == (root / "store" / name).read_bytes()


def test_all_bands_in_their_order_change_nothing(stacked: Path, tmp_path: Path) -> None:
    copy_store(stacked, tmp_path / "out", bands="all", modalities=["map", "s1", "s2"])
    assert folder_bytes(tmp_path / "out") == {
        name: content for name, content in folder_bytes(stacked).items() if name in FILES
    }


def test_interpolated_bands_stay_on_their_grid(tree: Path, tmp_path: Path) -> None:
    made(tree, tmp_path / "whole", resampling="bilinear")
    copy_store(tmp_path / "whole", tmp_path / "out", modalities="s2", bands=["B05", "B04"])
    same(tmp_path / "out", tmp_path / "whole", {"s2": ["B05", "B04"]})
    with pytest.raises(BandMissing, match=r"B05 of 's2' were interpolated .* name B02 or"):
        copy_store(tmp_path / "whole", tmp_path / "no", modalities="s2", bands=["B05"])
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
@pytest.mark.parametrize("shards", [1, 3, 40])
def test_shards_and_back(
    stores: dict[tuple[str, str], Path], tmp_path: Path, kind: tuple[str, str], shards: int
) -> None:
    out, whole = tmp_path / "shards", stores[kind]
    split_store(whole, out, shards=shards)
    store = same(out, whole)
    assert [s.path for s in store.manifest.shards] == [
        f"shards/{number:05}/data.mdb" for number in range(shards)
    ]
    by_lmdb = open_store(sharded(whole, tmp_path / "lmdb", shards)).manifest.shards
    assert [s.digest for s in store.manifest.shards] == [s.digest for s in by_lmdb]
    split_store(out, tmp_path / "again", shards=shards + 1)
    split_store(tmp_path / "again", tmp_path / "back", shards=0)
    assert folder_bytes(tmp_path / "back") == {
        name: content for name, content in folder_bytes(whole).items() if name in FILES
    }


def test_a_sharded_store_stays_sharded(stacked: Path, tmp_path: Path) -> None:
    split_store(stacked, tmp_path / "four", shards=4)
    copy_store(tmp_path / "four", tmp_path / "same")
    assert folder_bytes(tmp_path / "four") == folder_bytes(tmp_path / "same")
    copy_store(tmp_path / "four", tmp_path / "part", split="train")
    assert len(same(tmp_path / "part", stacked).manifest.shards) == 4


@pytest.mark.parametrize("shards", [None, 3])
def test_statistics_of_the_same_data_are_kept(
    stacked: Path, tmp_path: Path, shards: int | None
) -> None:
    source = Path(shutil.copytree(stacked, tmp_path / "source"))
    stats(source, "train", workers=0)
    copied = copy_store(source, tmp_path / "out", shards=shards)
    assert copied.notes == ()
    ours = open_store(tmp_path / "out").statistics("s2", "train")
    assert ours == open_store(source).statistics("s2", "train")


def test_statistics_of_other_data_are_dropped_and_that_is_told(
    stacked: Path, tmp_path: Path
) -> None:
    source = Path(shutil.copytree(stacked, tmp_path / "source"))
    stats(source, "train", workers=0)
    copied = copy_store(source, tmp_path / "out", split="train")
    assert not (tmp_path / "out" / STATISTICS).exists()
    assert any("statistics.json is not copied" in note for note in copied.notes)


def test_rows_without_the_modality_are_counted(tmp_path: Path) -> None:
    make_tree(tmp_path / "raw", n=6, flagged=0)
    gone = sorted((tmp_path / "raw" / "BigEarthNet-S1").glob("*/*"))[:2]
    for folder in gone:
        shutil.rmtree(folder)
    made(tmp_path / "raw", tmp_path / "whole")
    copied = copy_store(tmp_path / "whole", tmp_path / "out", modalities="s1")
    assert copied.left_out == {"without s1": 2}
    assert len(same(tmp_path / "out", tmp_path / "whole")) == 4


def test_rows_of_which_none_has_the_modality_are_one_sentence(tmp_path: Path) -> None:
    make_tree(tmp_path / "raw", n=4, flagged=0)
    (lost,) = list((tmp_path / "raw" / "BigEarthNet-S1").glob("*/*"))[:1]
    shutil.rmtree(lost)
    made(tmp_path / "raw", tmp_path / "whole")
    table = open_store(tmp_path / "whole").table()
    (name,) = [r["patch_id"] for r in table.to_pylist() if r["s1_name"] == lost.name]
    with pytest.raises(SelectionEmpty, match="none of the 1 rows chosen has a record of s1"):
        copy_store(tmp_path / "whole", tmp_path / "out", modalities="s1", keys=[name])


def test_a_share_of_all_is_all(stacked: Path, tmp_path: Path) -> None:
    copy_store(stacked, tmp_path / "out", fraction=1)
    assert open_store(tmp_path / "out").keys() == open_store(stacked).keys()


def test_without_labels_a_share_is_drawn_and_no_classes(tmp_path: Path) -> None:
    description = tiny_dataset(tmp_path, {"g": [f"p{number}" for number in range(20)]})
    convert(str(description), tmp_path / "raw", tmp_path / "whole", workers=0)
    copy_store(tmp_path / "whole", tmp_path / "half", fraction=0.5, seed=2)
    half = open_store(tmp_path / "half").keys()
    assert len(half) == 10
    copy_store(tmp_path / "whole", tmp_path / "again", fraction=0.5, seed=2)
    assert open_store(tmp_path / "again").keys() == half
    with pytest.raises(OptionError, match="the store has no column of labels"):
        copy_store(tmp_path / "whole", tmp_path / "few", per_class=1)


def test_rows_without_any_label_give_none_of_a_class(tmp_path: Path) -> None:
    make_tree(tmp_path / "raw", n=4, flagged=0)
    table = pq.read_table(tmp_path / "raw" / TABLE)
    at = table.schema.get_field_index("labels")
    kind = table.schema.field("labels").type
    emptied = pa.array([[] for _ in range(len(table))], kind)
    pq.write_table(table.set_column(at, "labels", emptied), tmp_path / "raw" / TABLE)
    made(tmp_path / "raw", tmp_path / "whole")
    with pytest.raises(SelectionEmpty, match="none of the 4 rows chosen has labels in 'labels'"):
        copy_store(tmp_path / "whole", tmp_path / "few", per_class=1)


def test_an_empty_split_is_none_of_the_copy(stacked: Path, tmp_path: Path) -> None:
    copy_store(stacked, tmp_path / "out", where={"split": ["train", "test"]})
    manifest = same(tmp_path / "out", stacked).manifest
    assert list(manifest.splits) == ["train", "test"]
    assert set(manifest.flagged.splits) <= {"train", "test"}


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        ({"split": "night"}, SelectionEmpty, "'night'; splits there: train"),
        ({"split": "val", "flagged": "only"}, SelectionEmpty, "is flagged"),
        ({"where": {"labels": "Moon"}}, OptionError, "'Moon' is no class of column 'labels'"),
        ({"where": {"land": "x"}}, OptionError, "has no column 'land'"),
        ({"modalities": "s3"}, SelectionEmpty, "no modality 's3'; it has s2, s1, map"),
        ({"modalities": []}, OptionError, "at least one"),
        ({"bands": "B99"}, BandMissing, "'B99'"),
        ({"bands": ["B04"]}, OptionError, "none of the bands B04 is of 's1'"),
        ({"bands": {"s4": "rgb"}}, OptionError, "bands of 's4' were asked for"),
        ({"fraction": 0}, OptionError, "above 0 and at most 1, not 0"),
        ({"fraction": 1.5}, OptionError, "above 0 and at most 1, not 1.5"),
        ({"fraction": 0.001}, SelectionEmpty, "less than one row"),
        ({"per_class": 0}, OptionError, "1 or more, not 0"),
        ({"per_class": 1, "fraction": 0.5}, OptionError, "not both"),
        ({"per_class": 1, "target": "split"}, OptionError, "no labels 'split'"),
        ({"seed": 3}, OptionError, "seed 3 has no effect"),
        ({"fraction": 0.5, "seed": -1}, OptionError, "a seed must be"),
        ({"keys": []}, OptionError, "the list of keys is empty"),
        ({"keys": ["a", "b"]}, SelectionEmpty, "none of the 2 names in the list of keys"),
        ({"keys": [3]}, OptionError, "not 3"),
        ({"shards": -1}, OptionError, "or 0 for one data file, not -1"),
        ({"shards": 65_537}, OptionError, "1 to 65,536"),
    ],
)
def test_a_choice_that_cannot_be_is_one_sentence(
    stacked: Path, tmp_path: Path, words: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error) as raised:
        copy_store(stacked, tmp_path / "out", **words)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "error", "said"),
    [
        (None, SourceMissing, "there is no file"),
        (b"", TableError, "has no names in it"),
        (b"\xff\xfe\x00\x01\x02", TableError, "no text"),
        (b"a\na\n", TableError, "lists a twice"),
        (b"PAR1 and so on", TableError, "cannot be read as a Parquet table"),
        ("a folder", OptionError, r"cannot be read as a list of keys \(Is a directory\)"),
    ],
)
def test_a_list_of_keys_that_is_none(
    stacked: Path, tmp_path: Path, content: bytes | str | None, error: type[Exception], said: str
) -> None:
    if isinstance(content, str):
        (tmp_path / "list").mkdir()
    elif content is not None:
        (tmp_path / "list").write_bytes(content)
    with pytest.raises(error, match=said):
        copy_store(stacked, tmp_path / "out", keys=tmp_path / "list")


def test_named_patches_of_which_the_split_has_none(stacked: Path, tmp_path: Path) -> None:
    names = open_store(stacked).keys("s2", "test")[:1]
    with pytest.raises(SelectionEmpty, match="none of the 1 patches that the list of keys names"):
        copy_store(stacked, tmp_path / "out", split="train", keys=names)


def test_the_command(stacked: Path, tmp_path: Path, patchpress: Callable[..., Ended]) -> None:
    words = ("--split", "train", "--modality", "s2", "--bands", "B04,B03,B02", "--fraction", 0.5)
    ended = patchpress("copy", stacked, tmp_path / "out", *words, "--seed", 2)
    assert ended.code == 0, ended.err
    assert "rows left out, flagged" in ended.out
    options = same(tmp_path / "out", stacked, {"s2": "rgb"}).manifest.options
    assert options["copied"] == (
        "--split train --modality s2 --bands B04,B03,B02 --fraction 0.5 --seed 2"
    )
    ended = patchpress("copy", stacked, tmp_path / "out", "--shards", 2)
    assert (ended.code, "is a finished store" in ended.sentence) == (2, True)
    ended = patchpress("copy", stacked, tmp_path / "out", "--shards", 2, "--overwrite")
    assert ended.code == 0, ended.err
    same(tmp_path / "out", stacked)
    ended = patchpress("split", tmp_path / "out", tmp_path / "one", "--shards", 0)
    assert ended.code == 0, ended.err
    assert (tmp_path / "one" / "data.mdb").read_bytes() == (stacked / "data.mdb").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--bands", "s2=rgb", "--bands", "B01"), "give a modality to each"),
        (("--bands", "s2=B01", "--bands", "s2=B02"), "names s2 twice"),
        (("--where", "country"), "must be COLUMN=VALUE"),
        (("--fraction", "much"), "'much' is not a number"),
    ],
)
def test_options_that_cannot_be_parsed(
    stacked: Path, tmp_path: Path, patchpress: Callable[..., Ended], words: Any, said: str
) -> None:
    ended = patchpress("copy", stacked, tmp_path / "out", *words)
    assert ended.code == 2
    assert said in ended.sentence


def test_a_part_is_compared_with_the_source_of_the_whole(
    tree: Path, stacked: Path, tmp_path: Path
) -> None:
    copy_store(stacked, tmp_path / "part", split="train", modalities="s2", shards=2)
    copied = open_store(tmp_path / "part")
    assert 0 < len(copied.keys()) < len(open_store(stacked).keys("s2"))
    report = verify(tmp_path / "part", tree)
    assert (report.problems, report.compared) == ([], len(copied.keys()))
    copy_store(stacked, tmp_path / "other", split="test", modalities="s2", shards=2)
    merge_stores([tmp_path / "part", tmp_path / "other"], tmp_path / "both")
    report = verify(tmp_path / "both", tree)
    assert (report.problems, report.compared) == ([], len(open_store(tmp_path / "both").keys()))
