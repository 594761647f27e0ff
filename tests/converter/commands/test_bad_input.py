"""Bad input ends in one sentence on stderr and an exit code, and no store looks finished."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.helpers import (
    DATASET,
    Ended,
    band_files,
    command,
    first_band,
    folder_bytes,
    patches,
)
from tests.support.synthetic import TABLE, tiff

Command = Callable[..., Ended]


def band(raw: Path, name: str = "B05", index: int = 1) -> Path:
    return band_files(raw, "s2", patches(raw, "s2")[index])[name]


def empty(raw: Path) -> None:
    shutil.rmtree(raw)
    raw.mkdir()


def another(raw: Path) -> None:
    empty(raw)
    (raw / "BigEarthNet-v1.0" / "S2A_MSIL2A_20170613T101031_26_57").mkdir(parents=True)


def extra(raw: Path) -> None:
    shutil.copy(band(raw), str(band(raw)).replace("B05", "B10"))


def truncated(raw: Path) -> None:
    band(raw).write_bytes(band(raw).read_bytes()[:-100])


def dtype(raw: Path) -> None:
    band(raw).write_bytes(tiff(first_band(band(raw)).astype("float32"), 32633, 300_000, 5_400_000))


def size(raw: Path) -> None:
    band(raw).write_bytes(tiff(first_band(band(raw))[:20, :20], 32633, 300_000, 5_400_000))


def ground(raw: Path) -> None:
    band(raw).write_bytes(tiff(first_band(band(raw)), 32601, 5, 5))


def misplaced(raw: Path) -> None:
    first, second, *_ = sorted((raw / "BigEarthNet-S2").iterdir())
    patch = next(first.iterdir())
    patch.rename(second / patch.name)


def label(raw: Path) -> None:
    table = pq.read_table(raw / TABLE)
    labels = [*table["labels"].to_pylist()[:-1], ["Inland water"]]
    at = table.column_names.index("labels")
    pq.write_table(
        table.set_column(at, "labels", pa.array(labels, table["labels"].type)), raw / TABLE
    )


def column(raw: Path) -> None:
    pq.write_table(pq.read_table(raw / TABLE).drop_columns("split"), raw / TABLE)


def twice(raw: Path) -> None:
    table = pq.read_table(raw / TABLE)
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), raw / TABLE)


# Name -> what is done to a good tree, and what the sentence must name.
SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a missing source": (shutil.rmtree, "does not exist"),
    "an empty source": (empty, "holds nothing"),
    "another dataset": (another, "BigEarthNet-v1.0"),
    "a missing band": (lambda raw: band(raw).unlink(), "B05.tif is missing"),
    "an extra band": (extra, "B10.tif"),
    "a truncated band": (truncated, "B05.tif is truncated"),
    "an empty band": (lambda raw: band(raw).write_bytes(b""), "B05.tif"),
    "another dtype": (dtype, "B05.tif is float32, not uint16"),
    "another size": (size, "20 x 20"),
    "other ground": (ground, "B05.tif covers EPSG:32601"),
    "a patch in a wrong folder": (misplaced, "wrong folder"),
    "an unknown label": (label, "Inland water"),
    "a missing column": (column, "'split'"),
    "a row twice": (twice, "twice"),
    "no table": (lambda raw: (raw / TABLE).write_text("patch_id"), TABLE),
}


@pytest.mark.parametrize("spoiled", SPOILED)
def test_a_bad_source_is_one_sentence_and_exit_code_1(
    raw: Path, tmp_path: Path, patchpress: Command, spoiled: str
) -> None:
    spoil, named = SPOILED[spoiled]
    spoil(raw)
    ended = patchpress("convert", DATASET, raw, tmp_path / "store", "--workers", 0)
    assert (ended.code, ended.out) == (1, "")
    assert named in ended.sentence
    assert not (tmp_path / "store" / "manifest.json").exists()


@pytest.mark.parametrize("spoiled", ["a truncated band", "an empty source", "an unknown label"])
def test_workers_make_no_difference(raw: Path, tmp_path: Path, spoiled: str) -> None:
    spoil, named = SPOILED[spoiled]
    spoil(raw)
    ended = command("convert", DATASET, raw, tmp_path / "store", "--workers", 2)
    assert (ended.code, ended.out) == (1, "")
    assert named in ended.sentence
    assert not (tmp_path / "store" / "manifest.json").exists()


def finished(raw: Path, store: Path) -> None:
    command("convert", DATASET, raw, store, "--workers", 0, "--limit", 1)


def foreign(raw: Path, store: Path) -> None:
    store.mkdir()
    (store / "thesis.tex").write_text("precious")


def a_file(raw: Path, store: Path) -> None:
    store.write_text("precious")


TARGETS: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "finished": (finished, "--overwrite"),
    "foreign": (foreign, "thesis.tex"),
    "a file": (a_file, "is a file"),
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_bad_target_is_one_sentence_and_exit_code_2(
    raw: Path, tmp_path: Path, patchpress: Command, target: str
) -> None:
    make, named = TARGETS[target]
    (tmp_path / "place").mkdir()
    make(raw, tmp_path / "place" / "store")
    before = folder_bytes(tmp_path / "place")
    ended = patchpress("convert", DATASET, raw, tmp_path / "place" / "store", "--workers", 0)
    assert (ended.code, ended.out) == (2, "")
    assert named in ended.sentence
    assert folder_bytes(tmp_path / "place") == before


@pytest.mark.parametrize("place", ["file/store", "\0store"])
def test_a_place_that_cannot_be_written_is_one_sentence(
    raw: Path, tmp_path: Path, patchpress: Command, place: str
) -> None:
    (tmp_path / "file").write_text("")
    ended = patchpress("convert", DATASET, raw, tmp_path / place, "--workers", 0)
    assert (ended.code, ended.out) == (2, "")
    assert "store" in ended.sentence.lower()


# Words after `convert`, and what the sentence must name; exit code 2, as the command is wrong.
WRONG: dict[str, tuple[list[str], str]] = {
    "unknown dataset": (["bigearthnet-v9", "raw", "store"], "bigearthnet-v9"),
    "no such description": (["mine.toml", "raw", "store"], "mine.toml"),
    "unknown modality": ([DATASET, "raw", "store", "--modality", "s3"], "s3"),
    "unknown layout": ([DATASET, "raw", "store", "--layout", "round"], "round"),
    "unknown option": ([DATASET, "raw", "store", "--colour", "red"], "--colour"),
    "unknown part": ([DATASET, "raw", "store", "--path", "s3=x"], "s3"),
    "path without name": ([DATASET, "raw", "store", "--path", "folder"], "NAME=PATH"),
    "no number": ([DATASET, "raw", "store", "--workers", "many"], "many"),
    "negative workers": ([DATASET, "raw", "store", "--workers", "-1"], "-1"),
    "limit of nothing": ([DATASET, "raw", "store", "--limit", "0"], "limit"),
    "level too high": ([DATASET, "raw", "store", "--level", "99"], "99"),
    "options that exclude each other": (
        [DATASET, "raw", "store", "--layout", "native", "--resampling", "cubic"], "native"),
    "no store": ([DATASET, "raw"], "STORE"),
    "too much": ([DATASET, "raw", "store", "more"], "more"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_command_is_one_sentence_and_exit_code_2(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patchpress: Command, wrong: str
) -> None:
    monkeypatch.chdir(tmp_path)
    words, named = WRONG[wrong]
    ended = patchpress("convert", *words)
    assert (ended.code, ended.out) == (2, "")
    assert named in ended.sentence
    assert not (tmp_path / "store").exists()


def test_an_unknown_command_is_one_sentence(patchpress: Command) -> None:
    ended = patchpress("transmogrify")
    assert (ended.code, ended.out) == (2, "")
    assert "transmogrify" in ended.sentence


def test_a_part_that_is_not_where_it_should_be(
    raw: Path, tmp_path: Path, patchpress: Command
) -> None:
    path = f"s1={tmp_path / 'nowhere'}"
    ended = patchpress("convert", DATASET, raw, tmp_path / "store", "--path", path)
    assert (ended.code, ended.out) == (1, "")
    assert "nowhere" in ended.sentence
