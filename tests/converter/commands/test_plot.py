"""Pictures of records with infinities, NaN, one value, or nothing: never blank, never a warning."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from patchpress import convert, inspect, stats
from patchpress.converter.commands.plot import plot
from tests.support.helpers import Ended, geotiff, tiny_dataset

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "value", [np.nan, -np.inf, np.inf, 3.0], ids=["NaN", "-inf", "inf", "constant"]
)
def test_records_of_no_numbers_are_drawn_and_inspected_without_a_warning(
    tmp_path: Path, value: float
) -> None:
    pytest.importorskip("matplotlib", reason="plot needs matplotlib")
    own = tiny_dataset(tmp_path, {"g": ["p1"]})
    own.write_text(own.read_text().replace("uint16", "float32"))
    for file in tmp_path.glob("raw/A/g/p1/*.tif"):
        size = 12 if "fine" in file.name else 6
        geotiff(file, np.full((1, size, size), value, np.float32))
    store = tmp_path / "store"
    convert(own, tmp_path / "raw", store, workers=0, nan="keep")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plot(store, out=tmp_path / "p.png").stat().st_size
        assert "p1" in inspect(store, "p1").text()
        assert stats(store, workers=0)


PICTURES = ["sheet", "bands", "brightness", "classes", "places", "distances", "histograms"]


@pytest.mark.parametrize("picture", PICTURES)
def test_every_picture_is_written_in_every_kind_of_file(
    stacked: Path, tmp_path: Path, picture: str
) -> None:
    pytest.importorskip("matplotlib", reason="plot needs matplotlib")
    beginnings = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}
    ending = list(beginnings)[PICTURES.index(picture) % 3]
    file = tmp_path / f"p{ending}"
    assert plot(stacked, out=file, picture=picture) == file  # type: ignore[arg-type]
    data = file.read_bytes()
    assert data.startswith(beginnings[ending])
    plot(stacked, out=file, picture=picture)  # type: ignore[arg-type]
    assert file.read_bytes() == data, "the same picture has the same bytes"


def test_the_command_takes_what_the_function_takes(
    patchpress: Callable[..., Ended], stacked: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="plot needs matplotlib")
    file = tmp_path / "p.png"
    words = ["--split", "train", "--where", "country=Austria", "--seed", 3, "--count", 2]
    ended = patchpress("plot", stacked, "--out", file, *words, "--modality", "s2")
    assert (ended.code, ended.out) == (0, f"{file}\n")
    plot(
        stacked, out=tmp_path / "q.png", split="train", where={"country": "Austria"}, seed=3,
        count=2, modality="s2",
    )  # fmt: skip
    assert file.read_bytes() == (tmp_path / "q.png").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--picture", "clases"], "nearest is 'classes'"),
        (["--split", "tran"], "no patch of the store is in split 'tran'"),
        (["--where", "contry=Austria"], "no column 'contry'; nearest is 'country'"),
        (["--label", "Pasture"], "'Pasture' is no class of column 'labels'; nearest"),
        (["--by", "country"], "by 'country' is for the pictures classes, places, distances and"),
        (["--seed", "-1"], "seed must be 0 or more, not -1"),
        (["--count", "1000"], "--count must be 1 to 100"),
        (["nothing"], "no record 'nothing'|nothing"),
        (["nothing", "--picture", "places"], "picture places takes no keys, and 'nothing' is one"),
        (["a", "b", "--picture", "bands"], "picture bands is of one patch, and 2 keys are given"),
        (["a", "--split", "train"], "'a' names what is drawn: leave split"),
        (["--picture", "statistics"], "patchpress stats"),
        (["--dataset", "none"], "there is no dataset 'none'"),
    ],
)
def test_a_mistake_is_one_sentence(
    patchpress: Callable[..., Ended], stacked: Path, tmp_path: Path, words: list[str], said: str
) -> None:
    pytest.importorskip("matplotlib", reason="plot needs matplotlib")
    ended = patchpress("plot", stacked, "--out", tmp_path / "p.png", *words)
    assert ended.code in (1, 2)
    assert re.search(said, ended.err), ended.err
    assert "Traceback" not in ended.err
    assert not (tmp_path / "p.png").exists()


def test_names_of_others_are_no_formulas(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plot needs matplotlib")
    own = tiny_dataset(tmp_path, {"g": ["p1"]})
    own.write_text(own.read_text().replace('title = "A"', 'title = "$\\\\frac$ \\u202e 日本"'))
    convert(own, tmp_path / "raw", tmp_path / "store", workers=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for picture in ("sheet", "bands", "histograms"):
            plot(tmp_path / "store", out=tmp_path / "p.png", picture=picture)


@pytest.mark.parametrize("name", ["bigearthnet-v1", "bigearthnet-v2"])
@pytest.mark.slow
def test_real_patches_are_drawn(shared_data: Path, tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib", reason="plot needs matplotlib")
    convert(name, shared_data / name / "sample", tmp_path / "store", workers=0)
    for picture in ("sheet", "bands", "classes", "places"):
        plot(tmp_path / "store", out=tmp_path / "p.png", picture=picture)
