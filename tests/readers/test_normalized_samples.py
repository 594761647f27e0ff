"""Samples that are normalised as they are read: what `normalize` makes of what is stored."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import PatchLoader, Store, open_store
from patchpress.readers.errors import OptionError
from patchpress.readers.format.manifest import METADATA
from patchpress.readers.normalize import normalize
from patchpress.readers.samples import Samples
from patchpress.readers.statistics import Statistics, joined
from tests.support.loading import made_up_statistics, refused, same, with_table


@pytest.fixture
def opened(stacked: Path) -> Store:
    return open_store(stacked)


@pytest.mark.parametrize("how", ["standard", "range"])
def test_samples_are_normalised_as_they_are_read(opened: Store, how: str) -> None:
    s2, s1 = made_up_statistics(opened, "s2"), made_up_statistics(opened, "s1")
    cases: list[tuple[dict[str, Any], Any, Statistics]] = [
        ({}, s2, s2),
        ({"bands": "rgb"}, s2, s2.pick(["B04", "B03", "B02"])),
        ({"modalities": "s1"}, s1, s1),
        ({"modalities": ["s1", "s2"]}, {"s2": s2, "s1": s1}, joined(s1, s2)),
        ({"modalities": ["s2", "s1"], "bands": ["VH", "B8A", "B02"]}, {"s2": s2, "s1": s1},
         joined(s2.pick(["B8A", "B02"]), s1.pick(["VH"]))),
    ]  # fmt: skip
    for choice, given, of_image in cases:
        samples = Samples(opened, **choice)
        found = samples.normalized(given, how=how)
        assert found.fields[0].dtype == np.float32
        assert samples.fields[0].dtype == samples.read([0])["image"].dtype  # these stay as they are
        wanted = normalize(samples.read(range(15))["image"], of_image, how=how)
        same(found.read(range(15))["image"], wanted)
        same(found.subset([3, 1]).read([0, 1])["image"], wanted[[3, 1]])
        again = pickle.loads(pickle.dumps(found))  # noqa: S301
        same(again.read([2])["image"], wanted[[2]])
        assert found.digest == samples.digest
    apart = Samples(opened, modalities=["s2", "s1"], joined=False)
    found = apart.normalized({"s1": s1, "s2": s2}, how=how).read(range(9))
    for name, statistics in (("s1", s1), ("s2", s2)):
        stored = apart.read(range(9))[f"image_{name}"]
        same(found[f"image_{name}"], normalize(stored, statistics, how=how))


def test_samples_are_normalised_once(opened: Store) -> None:
    s2 = made_up_statistics(opened, "s2")
    samples = Samples(opened).normalized(s2)
    assert refused(OptionError, lambda: samples.normalized(s2)) == (
        "these samples are normalised already: leave the statistics out"
    )
    assert "how must be standard or range" in refused(
        OptionError, lambda: Samples(opened).normalized(s2, how="best")
    )
    only_cast = Samples(opened).normalized(None)
    same(only_cast.read([1])["image"], Samples(opened).read([1])["image"].astype(np.float32))
    assert "normalised by s2, train" in repr(samples)


def test_a_column_whose_name_begins_with_image_is_no_image(stacked: Path, tmp_path: Path) -> None:
    shutil.copytree(stacked, tmp_path / "store")
    table = pq.read_table(stacked / METADATA)
    with_table(
        tmp_path / "store",
        table.append_column("image_date", pa.array(range(len(table)), pa.int64())),
    )
    opened = open_store(tmp_path / "store")
    samples = Samples(opened, columns="image_date")
    assert list(samples.image_bands) == ["image"]
    found = samples.normalized(made_up_statistics(opened, "s2"))
    assert [field.name for field in found.fields] == ["image", "label", "image_date"]


def test_loaders_and_data_sets_take_normalised_samples(opened: Store) -> None:
    statistics = made_up_statistics(opened, "s2")
    samples = Samples(opened, "train", bands="rgb")
    done = samples.normalized(statistics)
    stored = samples.read(range(len(samples)))
    wanted = normalize(stored["image"], statistics.pick(["B04", "B03", "B02"]))
    found = list(PatchLoader(done, batch_size=3, output="numpy"))
    same(np.concatenate([image for image, _ in found]), wanted)
    same(np.concatenate([label for _, label in found]), stored["label"])
    assert "float32" in repr(PatchLoader(done, batch_size=3, output="numpy"))
    pytest.importorskip("torch", reason="torch is not installed")
    from torch.utils.data import DataLoader

    from patchpress import PatchDataset

    data = PatchDataset(done)
    for collate in (data.collate, None):
        found = list(DataLoader(data, 3, collate_fn=collate))
        same(np.concatenate([image.numpy() for image, _ in found]), wanted)
