"""How near test is to train: the curves of a picture are the distances of every pair."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from patchpress import index, open_store, plot
from patchpress.converter.pictures.asked import PictureAsked
from patchpress.converter.pictures.choice import RowsAsked
from patchpress.converter.pictures.distances import distances_to_train_page
from patchpress.converter.tables.neighbours import distance_km
from patchpress.readers.errors import OptionError
from patchpress.readers.format.manifest import METADATA
from patchpress.readers.ground import degrees_of
from tests.converter.pictures.conftest import all_text, check_texts
from tests.support.helpers import made, tiny_dataset
from tests.support.loading import refused
from tests.support.synthetic import make_tree


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 30 patches with other splits than its source. Never write into it."""
    root = tmp_path_factory.mktemp("distances")
    make_tree(root / "raw", n=30, flagged=0)
    made(root / "raw", root / "store", modalities=["s2"])
    index(root / "store", split="geographic", block="10km", shares="0.5,0.2,0.3", seed=1)
    return root / "store"


def asked_of(path: Path, **wishes: object) -> PictureAsked:
    return PictureAsked(store=open_store(path), place="some/one.store", **wishes)  # type: ignore[arg-type]


def by_hand(path: Path, column: str) -> list[float]:
    rows = pq.read_table(path / METADATA).to_pylist()
    places = {"train": [], "test": [], "validation": []}  # type: dict[str, list[list[float]]]
    for row in rows:
        x, y = (row["left"] + row["right"]) / 2, (row["bottom"] + row["top"]) / 2
        found = degrees_of(row["epsg"], np.array([x]), np.array([y]))
        assert found is not None
        places[row[column]].append([float(found[0][0]), float(found[1][0])])
    train = np.array(places["train"])
    return [
        float(distance_km(np.broadcast_to(p, train.shape), train).min()) for p in places["test"]
    ]


def test_curves_are_distances_to_the_nearest_of_train(path: Path) -> None:
    page = distances_to_train_page(asked_of(path))
    by_chance, source, own = page.figure.axes[0].lines
    for line, column in ((own, "split"), (source, "source_split")):
        wanted = np.sort(by_hand(path, column))
        x = np.asarray(line.get_xdata())[1:-1]
        np.testing.assert_allclose([x[0], x[-1]], [max(wanted[0], x.min()), wanted[-1]], rtol=1e-6)
        median = float(np.median(wanted))
        assert f"median {median:.3g} km" in all_text(page)
    assert len(by_chance.get_xdata()) == len(own.get_xdata())
    text = all_text(page)
    assert "30 patches. For each patch of test the distance" in text
    assert "split, by blocks of 10km: median" in text
    assert "if each patch were drawn by itself: median" in text
    check_texts(page)


def test_another_column_may_be_compared_with(path: Path) -> None:
    text = all_text(distances_to_train_page(asked_of(path, by="split")))
    assert "source_split" not in text
    assert "source_split: median" in all_text(distances_to_train_page(asked_of(path)))


def test_what_has_no_distances_is_one_sentence(
    asked: Callable[..., PictureAsked], path: Path, tmp_path: Path
) -> None:
    only = RowsAsked(split="train")
    sentence = refused(OptionError, lambda: distances_to_train_page(asked_of(path, rows=only)))
    assert sentence.startswith("among the patches chosen of some/one.store none with a place")
    for column in ("country", "labels", "epsg"):
        sentence = refused(
            OptionError, lambda c=column: distances_to_train_page(asked_of(path, by=c))
        )
        assert sentence.startswith(f"column {column!r} says of no patches with a place that they")
    own = tiny_dataset(tmp_path, {"g": ["p1"]})
    from patchpress import convert

    convert(own, tmp_path / "raw", tmp_path / "store", workers=0)
    sentence = refused(
        OptionError,
        lambda: plot(tmp_path / "store", out=tmp_path / "p.png", picture="distances"),
    )
    assert "has no splits: `patchpress index` with --split geographic gives it some" in sentence
