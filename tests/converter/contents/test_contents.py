"""`inspect`: facts against the manifest, the table and the pixels; text at 80 columns and more."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pytest

from patchpress import Store, convert, inspect, open_store
from patchpress.converter.contents.shown import record_text
from tests.support.helpers import Ended
from tests.support.sharding import sharded
from tests.support.synthetic import Row, is_flagged


def test_facts_of_a_store_are_those_of_manifest_and_table(stacked: Path, rows: list[Row]) -> None:
    store, facts = open_store(stacked), inspect(stacked).facts
    assert facts["rows"] == len(store.table())
    assert facts["records"] == len(store)
    assert facts["bytes"] == (stacked / "data.mdb").stat().st_size
    for name, modality in facts["modalities"].items():
        assert modality["records"] == len(store.keys(name))
        assert modality["missing"] == facts["rows"] - modality["records"]
        pixels = sum(a.nbytes for a in _native(store, store.keys(name)[0]))
        assert modality["pixel_bytes"] == modality["records"] * pixels
    table = store.table()
    whole = pc.and_(pc.and_(table["has_s2"], table["has_s1"]), table["has_map"])
    assert facts["complete_rows"] == pc.sum(whole).as_py()
    assert facts["flagged"]["rows"] == sum(is_flagged(row) for row in rows)
    for column, count in facts["flagged"]["columns"].items():
        assert count == sum(bool(row[column]) for row in rows)  # type: ignore[literal-required]


def _native(store: Store, key: str) -> list[npt.NDArray[Any]]:
    """The bands of a stacked record at their own resolution."""
    bands = store.modality_of(key).bands
    return [pixels[:: 120 // b.shape[0], :: 120 // b.shape[1]]
            for pixels, b in zip(store.read(key), bands, strict=True)]  # fmt: skip


def test_classes_are_counted_in_each_split_without_flagged_rows(
    stacked: Path, rows: list[Row]
) -> None:
    facts = inspect(stacked).facts
    classes = facts["classes"]["labels"]
    assert [entry["name"] for entry in classes] == list(
        open_store(stacked).manifest.classes["labels"]
    )
    for entry in classes:
        having = [row for row in rows if entry["name"] in row["labels"]]
        assert entry["rows"] == len(having)
        for split, count in entry["splits"].items():
            assert count == sum(r["split"] == split and not is_flagged(r) for r in having)
    assert sum(entry["rows"] for entry in classes) == sum(len(row["labels"]) for row in rows)


def test_missing_partners_are_told(tree: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for entry in tree.iterdir():
        if entry.name != "BigEarthNet-S1":
            (raw / entry.name).symlink_to(entry)
    scenes = sorted((tree / "BigEarthNet-S1").iterdir())
    (raw / "BigEarthNet-S1").mkdir()
    for scene in scenes[1:]:
        (raw / "BigEarthNet-S1" / scene.name).symlink_to(scene)
    lost = len(list(scenes[0].iterdir()))
    convert("bigearthnet-v2", raw, tmp_path / "store", workers=0)
    contents = inspect(tmp_path / "store")
    rows = contents.facts["rows"]
    assert contents.facts["modalities"]["s1"]["missing"] == lost > 0
    text = contents.text()
    assert f"{rows - lost:,} rows have all modalities; missing: s1 {lost}\n" in text
    assert 'or fill in zeros: missing="zeros"' in text


def test_facts_of_a_record_are_those_of_its_pixels(stacked: Path) -> None:
    store = open_store(stacked)
    for name in store.manifest.modalities:
        key = store.keys(name)[0]
        facts = inspect(stacked, key).facts
        for band, pixels in zip(facts["bands"], store.read(key), strict=True):
            assert np.dtype(pixels.dtype).type(band["min"]) == pixels.min()
            assert np.dtype(pixels.dtype).type(band["max"]) == pixels.max()
            assert band["mean"] == pixels.mean(dtype=float)
            assert band["not_finite"] == 0
        assert facts["row"][f"has_{name}"] is True


@pytest.mark.parametrize("words", [[], ["KEY"]])
def test_json_says_the_same_as_python(
    stacked: Path, patchpress: Callable[..., Ended], words: list[str]
) -> None:
    keys = [open_store(stacked).keys("s1")[0] for _ in words]
    ended = patchpress("inspect", stacked, *keys, "--json")
    assert (ended.code, ended.err) == (0, "")
    told = json.loads(ended.out)
    assert told == json.loads(json.dumps(inspect(stacked, *keys).facts, default=str))  # of dates
    json.loads(ended.out, parse_constant=pytest.fail)  # no NaN, which JSON does not have


def test_pixels_that_are_no_numbers_are_counted() -> None:
    band = {"name": "VV", "gsd": 10, "shape": [2, 2]}
    known = band | {"min": -1.5, "mean": 0.25, "max": 2.0, "not_finite": 1}
    unknown = band | {"min": None, "mean": None, "max": None, "not_finite": 4}
    facts = {"key": "k", "modality": "s1", "dtype": "float32", "bands": [known, unknown], "row": {}}
    lines = record_text(facts).splitlines()
    assert lines[1].split() == ["band", "gsd", "pixels", "min", "mean", "max", "not", "finite"]
    assert lines[2].split()[-4:] == ["-1.5", "0.25", "2.0", "1"]
    assert lines[3].split()[-4:] == ["none", "none", "none", "4"]


def test_numbers_stand_under_one_another(stacked: Path) -> None:
    lines = inspect(stacked).text().splitlines()
    (start,) = [at for at, line in enumerate(lines) if line.split()[:1] == ["class"]]
    assert len({len(line) for line in lines[start : start + 20]}) == 1


def on_a_terminal(*words: object, **environment: str) -> str:
    """What the command prints on a terminal."""
    ours, theirs = pty.openpty()
    inherited = {name: text for name, text in os.environ.items() if name != "COLORTERM"}
    command = [sys.executable, "-m", "patchpress", *map(str, words)]
    with subprocess.Popen(
        command, stdout=theirs, env=inherited | {"TERM": "xterm"} | environment
    ) as process:
        os.close(theirs)
        told = b""
        try:
            while part := os.read(ours, 65_536):
                told += part
        except OSError:  # how Linux says that the other end was closed
            pass
    os.close(ours)
    assert process.returncode == 0
    return told.decode()


@pytest.mark.parametrize("columns", [80, 100, 160])
def test_lines_fit_a_terminal(stacked: Path, columns: int) -> None:
    lines = on_a_terminal("inspect", stacked, COLUMNS=str(columns)).splitlines()
    start = next(at for at, line in enumerate(lines) if line.split()[:1] == ["class"])
    assert max(map(len, lines[start:])) <= columns
    words = {word for line in lines[start:] for word in line.split()}
    assert words >= {"Land", "principally", "occupied", "with", "significant", "areas", "natural"}


@pytest.mark.slow
def test_a_terminal_that_can_shows_a_small_picture(stacked: Path) -> None:
    store = open_store(stacked)
    key = store.keys("map")[0]
    shown = on_a_terminal("inspect", stacked, key, COLORTERM="truecolor")
    lines = [line for line in shown.splitlines() if "\u2580" in line]
    assert len(lines) == 20
    cell = re.compile(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m\u2580")
    pixels = np.array([[list(map(int, one)) for one in cell.findall(line)] for line in lines])
    image = pixels.reshape(20, 40, 2, 3).swapaxes(1, 2).reshape(40, 40, 3)
    codes = store.read(key)[0][::3, ::3]
    for code in np.unique(codes):  # a colour for each class
        assert len(np.unique(image[codes == code], axis=0)) == 1
    for environment in ({}, {"COLORTERM": "truecolor", "NO_COLOR": "1"}):
        assert "\x1b[" not in on_a_terminal("inspect", stacked, key, **environment)


def test_a_hostile_name_moves_no_cursor_in_json(
    stacked: Path, patchpress: Callable[..., Ended]
) -> None:
    ended = patchpress("inspect", stacked, "\x1b[31mnone", "--json")
    assert ended.code == 1
    assert "\x1b" not in ended.err


def test_data_files_that_are_not_there_are_told(
    stacked: Path, tmp_path: Path, patchpress: Callable[..., Ended]
) -> None:
    store = sharded(stacked, tmp_path / "store", 4)
    whole = inspect(store)
    assert whole.facts["absent_shards"] == whole.facts["changed_shards"] == []
    assert "data file" not in whole.text()
    (store / "shards/00001/data.mdb").unlink()
    (store / "shards/00003/data.mdb").unlink()
    with (store / "shards/00002/data.mdb").open("r+b") as file:
        file.truncate(8192)
    facts = inspect(store).facts
    assert facts["absent_shards"] == ["shards/00001/data.mdb", "shards/00003/data.mdb"]
    assert facts["changed_shards"] == ["shards/00002/data.mdb"]
    ended = patchpress("inspect", store)
    assert (ended.code, ended.err) == (0, "")
    assert (
        "  2 data files that the manifest lists cannot be found: shards/00001/data.mdb, "
        "shards/00003/data.mdb; copy the store again\n"
        "  1 data file of another size than the manifest promises: shards/00002/data.mdb; copy "
        "the store again\n"
    ) in ended.out
