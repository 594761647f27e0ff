"""A small program of a user, as strict type checkers read it; a test checks and runs it.

Each annotation is what a user may count on: a public name that loses its type fails the check.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt

import patchpress
from patchpress import (
    Exported,
    FinishedBefore,
    FirstDescription,
    PatchError,
    PatchpressError,
    QueryResult,
    Report,
    Samples,
    ShardReport,
    Statistics,
    Store,
    convert,
    convert_shard,
    describe,
    dry_run,
    export_store,
    inspect,
    open_store,
    query,
    stats,
    verify,
)

Array = npt.NDArray[Any]


def converted(source: Path, store: Path) -> int:
    """Convert, and count the records."""
    report = convert("bigearthnet-v2", source, store, workers=0)
    assert_type(report, Report)
    assert_type(report.records, dict[str, int])
    assert_type(report.exit_code, int)
    assert_type(report.text(), str)
    assert_type(verify(store, against=source, workers=0).good, bool)
    return sum(report.records.values())


def one_shard(source: Path, store: Path) -> ShardReport | FinishedBefore:
    """A task of a job array."""
    assert_type(dry_run("bigearthnet-v2", source, store).text(), str)
    return convert_shard("bigearthnet-v2", source, store, 0, shards=4)


def read(path: Path) -> tuple[Array, Array]:
    """One patch, and a batch of the training split."""
    with open_store(path) as store:
        assert_type(store, Store)
        keys = store.keys("s2", split="train")
        assert_type(keys, list[str])
        assert_type(store.manifest.splits, Mapping[str, Mapping[str, int]])
        assert_type(store.manifest.modalities["s2"].shape, tuple[int, int, int])
        assert_type(store.url, str | None)
        image = store.read(keys[0])
        assert_type(image, Array)
        assert_type(store.read_bands(keys[0], bands=["B04"]), dict[str, Array])
        stats(path, "train", workers=0)
        statistics = store.statistics("s2", "train")
        assert_type(statistics, Statistics)
        assert_type(statistics.mean(["B04"]), Array)
        batch = store.read_batch(keys, bands="rgb", out=None)
        return image, batch


def chosen(store: Store) -> Samples:
    """Samples of a split, without a pixel read."""
    samples = Samples(store, "train", target="labels", bands={"s2": "rgb"})
    assert_type(len(samples), int)
    assert_type(samples.keys(), list[str])
    assert_type(samples.labels, Array)
    assert_type(samples.classes, tuple[str, ...])
    return samples.subset([0, 1])


def asked(path: Path, out: Path) -> None:
    """Facts about a store, its table in SQL, and files for another program."""
    assert_type(inspect(path).text(), str)
    assert_type(stats(path), list[Statistics])
    rows = query(path, "SELECT patch_id FROM patches")
    assert_type(rows, QueryResult)
    assert_type(rows.file, Path | None)
    exported = export_store("geotiff", path, out, split="train")
    assert_type(exported, Exported)
    assert_type(exported.records, Mapping[str, int])
    first = describe(path.parent / "folder")
    assert_type(first, FirstDescription)
    assert_type(first.toml, str)


def main(source: Path, work: Path) -> None:
    """What the program does if it runs: convert, and read."""
    count = converted(source, work / "store")
    image, batch = read(work / "store")
    try:
        open_store(work / "store").read("nothing")
    except PatchError:
        raise
    except PatchpressError as error:
        assert_type(str(error), str)
    assert_type(image.dtype, np.dtype[Any])
    print(patchpress.__file__, count, image.shape, batch.shape)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
