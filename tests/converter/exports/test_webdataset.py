"""Tar files of samples: what a store has, as the standard library and webdataset read them."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import OptionError, Store, convert, export_store, open_store
from patchpress.converter.exports.names import FileNames
from tests.conftest import KINDS
from tests.support.helpers import Ended, folder_bytes, radar_with_nan, tiny_dataset
from tests.support.loading import refused

Command = Callable[..., Ended]
Samples = dict[str, dict[str, Any]]


def samples_in(path: Path) -> Samples:
    """Key -> ending -> array or row, of one tar file."""
    found: Samples = {}
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, ending = member.name.partition(".")
            file = tar.extractfile(member)
            assert file is not None
            content = file.read()
            one = json.loads(content) if ending == "json" else np.load(io.BytesIO(content))
            found.setdefault(key, {})[ending] = one
    return found


def all_samples(out: Path) -> Samples:
    return {k: v for path in sorted(out.glob("*.tar")) for k, v in samples_in(path).items()}


def require_equal(store: Store, samples: Samples, rows: list[dict[str, Any]]) -> None:
    assert list(samples) == [row["patch_id"] for row in rows]
    keys = {"s2": "{patch_id}", "s1": "{s1_name}", "map": "{patch_id}_reference_map"}
    for row in rows:
        sample = samples[row["patch_id"]]
        assert sample["json"]["labels"] == row["labels"]
        assert sample["json"]["split"] == row["split"]
        assert sample["json"]["left"] == row["left"]
        has = {f"{name}.npy" for name in keys if row[f"has_{name}"]}
        assert set(sample) == {"json", *has}
        for name, key in keys.items():
            if row[f"has_{name}"]:
                wanted = store.read(key.format(**row))
                np.testing.assert_array_equal(sample[f"{name}.npy"], wanted)
                assert sample[f"{name}.npy"].dtype == wanted.dtype


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_samples_are_the_records(
    stores: dict[tuple[str, str], Path], tmp_path: Path, kind: tuple[str, str]
) -> None:
    store = open_store(stores[kind])
    exported = export_store("webdataset", stores[kind], tmp_path / "out")
    total = 0
    for split in store.manifest.splits:
        rows = store.table(split=split, flagged="exclude").to_pylist()
        require_equal(store, samples_in(tmp_path / "out" / f"{split}-000000.tar"), rows)
        total += len(rows)
    assert exported.rows == total
    flagged = store.manifest.flagged.rows
    assert flagged > 0
    assert any(f"of which the store has {flagged}: --flagged" in note for note in exported.notes)


def test_shards_have_a_size_and_are_listed(stacked: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words: dict[str, Any] = {"modalities": "s2", "split": ["train", "test"], "shard_size": 800_000}
    export_store("webdataset", stacked, out, **words)
    facts = json.loads((out / "export.json").read_bytes())
    files = sorted(path.name for path in out.glob("*.tar"))
    assert sorted(facts["shards"]) == files
    assert len(files) > 2
    for name, count in facts["shards"].items():
        assert len(samples_in(out / name)) == count
        assert (out / name).stat().st_size < 800_000 + 400_000
    store = open_store(stacked)
    assert set(all_samples(out)) == set(store.keys("s2", split=["train", "test"]))
    assert facts["classes"]["labels"] == list(store.manifest.classes["labels"])
    export_store("webdataset", stacked, tmp_path / "again", **words)
    assert folder_bytes(out) == folder_bytes(tmp_path / "again")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_them(stacked: Path, tmp_path: Path) -> None:
    reason = "webdataset is not installed: pip install webdataset"
    wds = pytest.importorskip("webdataset", reason=reason)
    export_store("webdataset", stacked, tmp_path / "out", split="train")
    store = open_store(stacked)
    urls = [str(path) for path in sorted((tmp_path / "out").glob("*.tar"))]
    read = list(wds.WebDataset(urls, shardshuffle=False).decode())
    found = {
        one["__key__"]: {name: one[name] for name in one if not name.startswith("__")}
        for one in read
    }
    require_equal(store, found, store.table(split="train").to_pylist())


def test_nan_stays_and_rows_without_a_split_are_kept(tmp_path: Path) -> None:
    store = open_store(radar_with_nan(tmp_path))
    export_store("webdataset", store.path, tmp_path / "out")
    found = samples_in(tmp_path / "out" / "train-000000.tar")
    assert list(found) == store.keys("a")
    for key, sample in found.items():
        np.testing.assert_array_equal(sample["a.npy"], store.read(key))
        assert sample["json"]["left"] is None


def test_bands_of_records_of_any_size_are_arrays_of_their_own(tmp_path: Path) -> None:
    description = tiny_dataset(tmp_path, {"g": ["p1"]})
    text = description.read_text().replace('kind = "image"', 'kind = "image"\nany_size = true')
    description.write_text(text)
    convert(description, tmp_path / "raw", tmp_path / "store", layout="native", workers=0)
    export_store("webdataset", tmp_path / "store", tmp_path / "out")
    (sample,) = all_samples(tmp_path / "out").values()
    wanted = open_store(tmp_path / "store").read_bands("p1")
    for band in ("fine", "coarse"):
        np.testing.assert_array_equal(sample[f"a.{band}.npy"], wanted[band])


def test_a_dot_in_a_name_is_escaped() -> None:
    names = FileNames(escaped=".")
    assert names.of("S1A.SAFE_3") == "S1A%2ESAFE_3"
    assert names.changed == 1


def test_wrong_options_are_one_sentence(patchpress: Command, stacked: Path, tmp_path: Path) -> None:
    words = ("export", "webdataset", stacked, tmp_path / "out")
    assert "deflate is for geotiff" in patchpress(*words, "--deflate").sentence
    assert "write 200GB, or 500MB" in patchpress(*words, "--shard-size", "big").sentence
    assert "must have 1 byte or more" in patchpress(*words, "--shard-size", "0").sentence
    sentence = refused(
        OptionError, lambda: export_store("geotiff", stacked, tmp_path / "out", shard_size=5)
    )
    assert sentence.startswith("shard size 5 is for webdataset")
    assert sentence.endswith("not for geotiff: leave it out")
    assert not (tmp_path / "out").exists()
