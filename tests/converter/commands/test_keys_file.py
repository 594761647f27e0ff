"""`--keys FILE` of `stats` and `plot`: the rows that a list or a table names."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import open_store
from tests.support.helpers import Ended, command
from tests.support.synthetic import Row

pytestmark = pytest.mark.slow

Command = Callable[..., Ended]


@pytest.fixture
def listed(rows: list[Row], tmp_path: Path) -> tuple[list[str], Path]:
    """Three patches, by names of both sensors, and the file that names them."""
    some = [rows[1], rows[4], rows[6]]
    file = tmp_path / "keys.txt"
    file.write_text(f"{some[1]['patch_id']}\n{some[0]['s1_name']}\n{some[2]['patch_id']}\n")
    return [row["patch_id"] for row in some], file


def options(names: list[str]) -> list[str]:
    return [word for name in names for word in ("--where", f"patch_id={name}")]


def test_statistics_are_of_these_patches(
    stacked: Path, listed: tuple[list[str], Path], tmp_path: Path, patchpress: Command
) -> None:
    names, file = listed
    told = patchpress("stats", stacked, "--keys", file, "--out", tmp_path / "a.json")
    assert (told.code, told.err) == (0, "")
    expected = patchpress("stats", stacked, *options(names), "--out", tmp_path / "b.json")
    assert told.out == expected.out
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    bands = open_store(stacked).read_batch(names)
    assert f"{bands[:, 0].mean(dtype=float):.2f}"[:4] in told.out.replace(",", "")


def test_a_picture_is_of_these_patches(
    stacked: Path, listed: tuple[list[str], Path], tmp_path: Path, patchpress: Command
) -> None:
    names, file = listed
    chosen: list[list[object]] = []
    table = tmp_path / "keys.parquet"
    pq.write_table(pa.table({"patch_id": names}), table)
    pictures = []
    chosen += [["--keys", file], ["--keys", table]]
    for number, words in enumerate(chosen):
        out = tmp_path / f"{number}.png"
        ended = patchpress("plot", stacked, *words, "--flagged", "include", "--out", out)
        assert ended.code == 0, ended.err
        pictures.append(out.read_bytes())
    assert pictures[0] == pictures[1]
    whole = tmp_path / "whole.png"
    assert patchpress("plot", stacked, "--flagged", "include", "--out", whole).code == 0
    assert whole.read_bytes() != pictures[0]


def test_names_that_the_store_lacks_are_told(
    stacked: Path, rows: list[Row], tmp_path: Path
) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(f"{rows[0]['patch_id']}\nnobody\n")
    ended = command("stats", stacked, "--keys", file, "--out", tmp_path / "a.json")
    assert ended.code == 0
    assert "no patch for 1 names" in ended.err
    assert "nobody" in ended.err


@pytest.mark.parametrize(
    ("text", "words", "sentence"),
    [
        (None, [], "there is no file"),
        ("nobody\n", [], "the store has none of the 1 names"),
        ("", [], "keys.txt"),
        (
            "NAME\n",
            ["--where", "patch_id=NAME"],
            "--where patch_id=… and --keys both name rows",
        ),
    ],
)
@pytest.mark.parametrize("name", ["stats", "plot"])
def test_bad_lists_are_one_sentence(
    stacked: Path, rows: list[Row], tmp_path: Path, patchpress: Command,
    text: str | None, words: list[str], sentence: str, name: str,
) -> None:  # fmt: skip
    file, out = tmp_path / "keys.txt", tmp_path / "out.png"
    key = rows[0]["patch_id"]
    if text is not None:
        file.write_text(text.replace("NAME", key))
    asked = [word.replace("NAME", key) for word in words]
    ended = patchpress(name, stacked, "--keys", file, *asked, "--out", out)
    assert ended.code in (1, 2)
    assert sentence in ended.sentence
    assert not out.exists()
