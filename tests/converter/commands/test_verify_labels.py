"""Labels that follow from reference maps: derived if no table gives them, else compared with it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import convert, open_store, verify
from patchpress.readers.errors import TableError
from tests.support.helpers import Ended, made
from tests.support.loading import with_table
from tests.support.older_sets import make_sen12ms
from tests.support.synthetic import FLAGGED_TABLE, TABLE, Row


def relabel(source: Path, change: Callable[[list[list[str]]], list[list[str]]]) -> None:
    """Change the labels of the first table."""
    table = pq.read_table(source / TABLE)
    at = table.schema.get_field_index("labels")
    labels = pa.array(change(table["labels"].to_pylist()), table.schema.field("labels").type)
    pq.write_table(table.set_column(at, table.schema.field("labels"), labels), source / TABLE)


def test_without_tables_labels_follow_from_the_maps(raw: Path, tmp_path: Path) -> None:
    given = [pq.read_table(raw / name) for name in (TABLE, FLAGGED_TABLE)]
    expected = {r["patch_id"]: r["labels"] for table in given for r in table.to_pylist()}
    (raw / TABLE).unlink()
    (raw / FLAGGED_TABLE).unlink()
    report = made(raw, tmp_path / "store", modalities=("s2", "map"))
    assert report.labelled
    found = open_store(tmp_path / "store").table(columns=["patch_id", "labels"]).to_pylist()
    assert {row["patch_id"]: row["labels"] for row in found} == expected


@pytest.mark.parametrize("kind", [("stacked", "none"), ("native", "zstd")])
def test_verify_says_how_the_source_contradicts_itself(
    raw: Path, tmp_path: Path, kind: tuple[str, str]
) -> None:
    relabel(raw, lambda labels: [["Pastures", "Urban fabric"], *labels[1:]])
    made(raw, tmp_path / "store", layout=kind[0], compression=kind[1])
    patch = pq.read_table(raw / TABLE)["patch_id"][0].as_py()
    verdict = verify(tmp_path / "store")
    rows = open_store(tmp_path / "store").table(columns=["patch_id", "labels"]).to_pylist()
    assert {"patch_id": patch, "labels": ["Pastures", "Urban fabric"]} in rows
    assert verdict.good
    assert len(verdict.source) == 1
    # The map has "Beaches, dunes, sands": a name with commas in it.
    assert (
        f"labels of {patch}: only the table has 'Pastures' and 'Urban fabric', "
        in (verdict.source[0])
    )
    assert "only the map has 'Agro-forestry areas' and 'Beaches, dunes, sands'" in verdict.source[0]
    said = verdict.text()
    assert ": good" in said
    assert "BAD" not in said
    assert "the source contradicts itself in 1 row; the store has both as they were " in said


def test_labels_that_were_changed_in_the_store_are_its_own_fault(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "store")
    path = tmp_path / "store" / "metadata.parquet"
    table = pq.read_table(path)
    at = table.schema.get_field_index("labels")
    labels = [["Pastures"], *table["labels"].to_pylist()[1:]]
    field = table.schema.field("labels")
    pq.write_table(table.set_column(at, field, pa.array(labels, field.type)), path)
    verdict = verify(tmp_path / "store")
    assert not verdict.good
    assert verdict.source == []
    assert any("only the table has 'Pastures'" in problem for problem in verdict.problems)


def test_a_label_twice_in_a_row_is_told(raw: Path, tmp_path: Path) -> None:
    relabel(raw, lambda labels: [[*labels[0], labels[0][0]], *labels[1:]])
    made(raw, tmp_path / "store")
    (said,) = verify(tmp_path / "store").source
    assert "the table has 'Agro-forestry areas' twice" in said


def test_verify_is_content_where_table_and_maps_agree(stacked: Path) -> None:
    assert verify(stacked).good


def test_another_spelling_in_the_table_becomes_the_canonical_name(
    raw: Path, tmp_path: Path
) -> None:
    relabel(raw, lambda labels: [[name.upper() for name in row] for row in labels])
    made(raw, tmp_path / "store")
    classes = open_store(tmp_path / "store").manifest.classes["labels"]
    table = open_store(tmp_path / "store").table(columns=["labels"])
    assert {name for row in table["labels"].to_pylist() for name in row} <= set(classes)


def test_an_unknown_label_names_table_patch_and_the_nearest(raw: Path, tmp_path: Path) -> None:
    relabel(raw, lambda labels: [["Arable lamd"], *labels[1:]])
    patch = pq.read_table(raw / TABLE)["patch_id"][0].as_py()
    with pytest.raises(TableError, match=rf"{TABLE}, patch {patch}: .*'Arable lamd'.*Arable land"):
        made(raw, tmp_path / "store")
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_the_geographic_split_is_the_published_one(
    tree: Path, rows: list[Row], tmp_path: Path
) -> None:
    made(tree, tmp_path / "store", split="geographic")
    table = open_store(tmp_path / "store").table()
    assert table.column_names[:4] == ["patch_id", "labels", "split", "country"]
    assert table["split"].to_pylist() == [row["split"] for row in rows]


def test_no_split_on_request(tree: Path, tmp_path: Path) -> None:
    report = made(tree, tmp_path / "store", split="none")
    assert report.splits == {}
    assert "split" not in open_store(tmp_path / "store").table().column_names


def test_split_table_rewrites_only_the_split(
    patchpress: Callable[..., Ended], tree: Path, tmp_path: Path
) -> None:
    original = pq.read_table(tree / TABLE)
    at = original.schema.get_field_index("split")
    wrong = pa.array(["train"] * len(original), original.schema.field("split").type)
    source = tmp_path / "table.parquet"
    pq.write_table(original.set_column(at, original.schema.field("split"), wrong), source)
    ended = patchpress("split-table", source, "--split", "geographic", "--out", tmp_path / "new")
    assert ended.code == 0
    assert pq.read_table(tmp_path / "new").equals(original)


def test_split_table_does_not_replace_its_table_unless_that_is_said(
    patchpress: Callable[..., Ended], tree: Path, tmp_path: Path
) -> None:
    source = tmp_path / "table.parquet"
    shutil.copy(tree / TABLE, source)
    before = source.read_bytes()
    (tmp_path / "link.parquet").symlink_to(source)
    ended = patchpress("split-table", source)
    assert (ended.code, source.read_bytes()) == (2, before)
    assert "give --out FILE, or --in-place" in ended.sentence
    for same in (source, tmp_path / "link.parquet"):
        ended = patchpress("split-table", source, "--out", same)
        assert (ended.code, source.read_bytes()) == (2, before)
        assert "is the table itself" in ended.sentence
    ended = patchpress("split-table", source, "--in-place", "--out", tmp_path / "new")
    assert (ended.code, source.read_bytes()) == (2, before)
    assert "exclude each other" in ended.sentence
    assert patchpress("split-table", source, "--in-place").code == 0
    assert pq.read_table(source).equals(pq.read_table(tree / TABLE))


@pytest.mark.parametrize("name", ["s2", "train"])
def test_guess_needs_a_folder_of_a_known_form(
    patchpress: Callable[..., Ended], tree: Path, tmp_path: Path, name: str
) -> None:
    ended = patchpress("datasets", "--guess", tree)
    assert ended.out.split()[0] == "bigearthnet-v2"
    (tmp_path / name).mkdir()
    assert "no description fits" in patchpress("datasets", "--guess", tmp_path).sentence


FRACTIONS: dict[str, tuple[Callable[[list[float]], list[float]], str]] = {
    "another": (
        lambda found: [found[1], found[0], *found[2:]],
        "the table says that 0 of it is 'Evergreen Needleleaf Forests', the lc says 0.",
    ),
    "one too few": (lambda found: found[:-1], "the table has 16 fractions, the lc has 17"),
}


@pytest.mark.parametrize("change", FRACTIONS)
def test_verify_compares_the_fractions_of_classes(tmp_path: Path, change: str) -> None:
    do, said = FRACTIONS[change]
    make_sen12ms(tmp_path / "raw")
    convert("sen12ms", tmp_path / "raw", tmp_path / "store", workers=0)
    assert verify(tmp_path / "store", workers=0).source == []
    table = pq.read_table(tmp_path / "store" / "metadata.parquet")
    at = table.schema.get_field_index("fractions")
    fractions = table["fractions"].to_pylist()
    assert fractions[0][0] > fractions[0][1] == 0
    fractions[0] = do(fractions[0])
    kind = table.schema.field(at).type
    with_table(
        tmp_path / "store", table.set_column(at, table.schema.field(at), pa.array(fractions, kind))
    )
    (sentence,) = verify(tmp_path / "store", workers=0).source
    assert sentence.startswith(f"fractions of {table['lc_name'][0].as_py()}: {said}")
