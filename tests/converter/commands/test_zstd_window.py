"""`--zstd-window`: archives are read whose zstd data asks for more memory than others."""

from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from patchpress import convert, verify
from tests.support.helpers import DATASET, Ended, folder_bytes, made
from tests.support.packing import packed

pytestmark = pytest.mark.slow

Command = Callable[..., Ended]


@pytest.fixture(scope="module")
def wide(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tree` in archives, compressed as `zstd --long=31` does. Never write into it."""
    out = packed(tree, tmp_path_factory.mktemp("wide"), "tar")
    for path in out.glob("*.tar"):
        # A frame whose size is not told has a window as was asked for.
        parameters = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True)
        packing = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        data = packing.compress(path.read_bytes()) + packing.flush()
        assert zstandard.get_frame_parameters(data).window_size == 2 << 30
        path.with_suffix(".tar.zst").write_bytes(data)
        path.unlink()
    return out


@pytest.mark.parametrize("words", [[], ["--dry-run"]])
def test_without_the_option_the_sentence_names_it(
    wide: Path, tmp_path: Path, patchpress: Command, words: list[str]
) -> None:
    done = patchpress("convert", DATASET, wide, tmp_path / "store", *words)
    assert done.code == 1
    assert "give --zstd-window 2GiB, or decompress it with `zstd -d --long=31`" in done.sentence
    assert "download" not in done.sentence
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_with_it_the_store_is_as_of_other_archives(
    tree: Path, wide: Path, tmp_path: Path, workers: int
) -> None:
    made(packed(tree, tmp_path / "usual"), tmp_path / "one")
    convert(DATASET, wide, tmp_path / "two", workers=workers, zstd_window="2GiB")
    one, two = folder_bytes(tmp_path / "one"), folder_bytes(tmp_path / "two")
    assert one.keys() == two.keys()
    for name in ("data.mdb", "metadata.parquet"):
        assert one[name] == two[name]


def test_every_command_that_reads_archives_takes_it(
    wide: Path, tmp_path: Path, patchpress: Command
) -> None:
    store, words = tmp_path / "store", ("--zstd-window", "2GiB")
    assert patchpress("convert", DATASET, wide, store, "--dry-run", *words).code == 0
    assert patchpress("convert", DATASET, wide, store, "--limit", 2, *words).code == 0
    assert patchpress("verify", store, "--against", wide, *words).code == 0
    assert verify(store, wide, zstd_window=2 << 30).good
    refused = patchpress("verify", store, "--against", wide)
    assert refused.code == 1
    assert "give --zstd-window 2GiB" in refused.sentence


def test_a_size_that_is_none_is_the_users_mistake(tmp_path: Path, patchpress: Command) -> None:
    done = patchpress("convert", DATASET, tmp_path, tmp_path / "s", "--zstd-window", "9GiB")
    assert done.code == 2
    assert "zstd-window must be a size such as 2GiB, 1KiB to 2GiB, not '9GiB'" in done.sentence


def test_an_archive_of_another_name_is_recognised(
    wide: Path, tmp_path: Path, patchpress: Command
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.tar.zst").symlink_to(wide / "BigEarthNet-S2.tar.zst")
    done = patchpress("datasets", "--guess", tmp_path / "folder")
    assert done.code == 0
    assert f"--path s2={tmp_path}/folder/mine.tar.zst" in done.out
