"""Each command: what it prints to stdout and stderr, and its exit codes."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from patchpress import open_store
from patchpress.converter.descriptions.parse import built_in_descriptions, load_description
from tests.support.helpers import DATASET, Ended, command, python, tiny_dataset
from tests.support.synthetic import FLAGGED_TABLE, TABLE, Row

Command = Callable[..., Ended]
COMMANDS = ["convert", "verify", "inspect", "datasets", "plot", "stats", "bench", "stage", "index"]


def test_patchpress_is_the_command() -> None:
    (script,) = entry_points(group="console_scripts", name="patchpress")
    assert script.value == "patchpress.converter.cli:main"
    installed = Path(sys.executable).with_name("patchpress")
    done = subprocess.run([installed, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stderr == ""


def test_help_names_every_command(patchpress: Command) -> None:
    ended = patchpress("--help")
    assert ended.code == 0
    assert all(name in ended.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(patchpress: Command, name: str) -> None:
    ended = patchpress(name, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert "Usage" in ended.out


def test_convert_prints_its_report_and_nothing_else(raw: Path, tmp_path: Path) -> None:
    ended = command("convert", DATASET, raw, tmp_path / "store", "--workers", 1)
    assert (ended.code, ended.err) == (0, "")
    assert "5 s2, 5 s1, 5 map" in ended.out
    assert "split train" in ended.out
    assert not (tmp_path / "store.report.json").exists()


def test_convert_takes_every_option(raw: Path, tmp_path: Path, patchpress: Command) -> None:
    (raw / TABLE).rename(tmp_path / "rows.parquet")
    ended = patchpress(
        *("convert", DATASET, raw, tmp_path / "store", "--modality", "s2", "--modality", "map"),
        *("--layout", "stacked", "--resampling", "cubic", "--compression", "zstd", "--level", 1),
        *("--workers", 0, "--on-error", "skip", "--limit", 2, "--overwrite"),
        *("--path", f"metadata={tmp_path / 'rows.parquet'}", "--path", f"s2={raw}/BigEarthNet-S2"),
    )
    assert (ended.code, ended.err) == (0, "")
    manifest = open_store(tmp_path / "store").manifest
    assert list(manifest.modalities) == ["s2", "map"]
    s2 = manifest.modalities["s2"]
    assert (s2.records, s2.layout, s2.resampling) == (2, "stacked", "cubic")
    assert (s2.compression.codec, s2.compression.level) == ("zstd", 1)
    assert manifest.modalities["map"].resampling == "nearest"


def test_skipped_patches_are_exit_code_1(raw: Path, tmp_path: Path, patchpress: Command) -> None:
    path = next(raw.rglob("*_B03.tif"))
    path.unlink()
    store = tmp_path / "store"
    ended = patchpress("convert", DATASET, raw, store, "--on-error", "skip", "--workers", 0)
    assert (ended.code, ended.err) == (1, "")
    assert path.name in ended.out
    assert (tmp_path / "store.report.json").is_file()
    assert len(open_store(store)) == 14


def test_converting_without_tables_says_so(raw: Path, tmp_path: Path, patchpress: Command) -> None:
    (raw / TABLE).unlink()
    (raw / FLAGGED_TABLE).unlink()
    ended = patchpress("convert", DATASET, raw, tmp_path / "store", "--workers", 0)
    assert ended.code == 0
    assert "labels: from the codes of map, " in ended.out
    assert "not in the source  metadata, flagged" in ended.out


def test_a_description_of_ones_own_is_converted_and_verified(
    tmp_path: Path, patchpress: Command
) -> None:
    description = tiny_dataset(tmp_path, {"g": ["p1", "p2"]})
    store = tmp_path / "store"
    ended = patchpress("convert", description, tmp_path / "raw", store, "--workers", 0)
    assert (ended.code, ended.err) == (0, "")
    ended = patchpress(
        *("verify", store, "--against", tmp_path / "raw", "--dataset", description, "--workers", 0)
    )
    assert (ended.code, ended.err) == (0, "")


def test_inspect_shows_what_a_store_holds(
    stores: dict[tuple[str, str], Path], patchpress: Command
) -> None:
    for (layout, compression), path in stores.items():
        ended = patchpress("inspect", path)
        assert (ended.code, ended.err) == (0, "")
        for text in ("CDLA-Permissive-1.0", "45 records", "B8A", "VH", "Data", "19 classes"):
            assert text in ended.out
        assert f"layout {layout}" in ended.out
        assert f"compression {compression}" in ended.out
        assert "validation" in ended.out


@pytest.mark.parametrize("modality", ["s2", "s1", "map"])
def test_inspect_shows_a_record_with_its_numbers(
    store_path: Path, rows: list[Row], patchpress: Command, modality: str
) -> None:
    row = rows[2]
    keys = {"s2": row["patch_id"], "s1": row["s1_name"]}
    key = keys.get(modality, f"{row['patch_id']}_reference_map")
    ended = patchpress("inspect", store_path, key)
    assert (ended.code, ended.err) == (0, "")
    store = open_store(store_path)
    for name, pixels in zip(store.modality_of(key).band_names, store.read(key), strict=True):
        (line,) = [line.split() for line in ended.out.splitlines() if line.split()[:1] == [name]]
        assert str(pixels.min()) in line
        assert str(pixels.max()) in line
    assert row["country"] in ended.out
    assert row["split"] in ended.out


@pytest.fixture
def store_path(stacked: Path) -> Path:
    return stacked


def test_inspect_of_a_missing_record_is_one_sentence(
    store_path: Path, rows: list[Row], patchpress: Command
) -> None:
    ended = patchpress("inspect", store_path, rows[0]["patch_id"][:-1])
    assert (ended.code, ended.out) == (1, "")
    assert rows[0]["patch_id"] in ended.sentence


@pytest.mark.parametrize("name", ["inspect", "verify"])
def test_no_store_is_one_sentence(tmp_path: Path, patchpress: Command, name: str) -> None:
    ended = patchpress(name, tmp_path / "nowhere")
    assert (ended.code, ended.out) == (1, "")
    assert "no store" in ended.sentence


def test_an_unfinished_store_is_one_sentence(tmp_path: Path, patchpress: Command) -> None:
    (tmp_path / "unfinished.json").write_bytes(b"{}")
    for name in ("inspect", "verify"):
        ended = patchpress(name, tmp_path)
        assert ended.code == 1
        assert "did not end" in ended.sentence


def test_datasets_lists_what_each_expects(patchpress: Command) -> None:
    ended = patchpress("datasets")
    assert (ended.code, ended.err) == (0, "")
    for name, path in built_in_descriptions().items():
        description = load_description(path)
        assert f"{name}: {description.dataset.title}" in ended.out
        assert all(modality in ended.out for modality in description.modalities)


@pytest.mark.parametrize("name", built_in_descriptions())
def test_a_shown_description_is_a_description(
    tmp_path: Path, patchpress: Command, name: str
) -> None:
    ended = patchpress("datasets", "--show", name)
    assert ended.code == 0
    (tmp_path / "copy.toml").write_text(ended.out)
    assert load_description(tmp_path / "copy.toml") == load_description(
        built_in_descriptions()[name]
    )


def test_an_unknown_description_is_one_sentence(patchpress: Command) -> None:
    ended = patchpress("datasets", "--show", "bigearthnet-v9")
    assert ended.code == 2
    assert DATASET in ended.sentence


def test_verify_is_exit_code_1_for_a_bad_store(
    stacked: Path, tmp_path: Path, patchpress: Command
) -> None:
    copy = Path(shutil.copytree(stacked, tmp_path / "store"))
    data = bytearray((copy / "data.mdb").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "data.mdb").write_bytes(data)
    ended = patchpress("verify", copy)
    assert (ended.code, ended.err) == (1, "")
    assert "BAD" in ended.out


def test_output_that_nobody_reads_is_no_crash() -> None:
    code = "import sys, subprocess; p = subprocess.Popen([sys.executable, '-m', 'patchpress', "
    code += "'datasets'], stdout=subprocess.PIPE, stderr=subprocess.PIPE); p.stdout.close(); "
    code += "print(p.stderr.read().decode(), end=''); p.wait()"
    assert python("-c", code).out == ""


def test_a_path_that_is_given_twice_is_refused(raw: Path, tmp_path: Path) -> None:
    words = ("--path", f"s2={raw}/BigEarthNet-S2", "--path", f"s2={raw}/BigEarthNet-S1")
    ended = command("convert", DATASET, raw, tmp_path / "store", *words)
    assert ended.code == 2
    both = f"({raw}/BigEarthNet-S2 and {raw}/BigEarthNet-S1)"
    assert ended.sentence == f"--path gives s2 twice {both}: leave one of them out"
