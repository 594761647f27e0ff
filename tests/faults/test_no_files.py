"""Pipes, devices and folders in the place of files: one sentence, and nothing waits for ever."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from patchpress.converter.sources.locate import locate_files
from patchpress.readers.errors import SourceError
from patchpress.readers.format.manifest import MANIFEST
from tests.support.helpers import command, described
from tests.support.packing import packed
from tests.support.synthetic import Row

pytestmark = pytest.mark.slow

KINDS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "zero": lambda path: path.symlink_to("/dev/zero"),
    "random": lambda path: path.symlink_to("/dev/urandom"),
    "null": lambda path: path.symlink_to("/dev/null"),
    "folder": Path.mkdir,
    "loop": lambda path: path.symlink_to(path.name),
    "dangling": lambda path: path.symlink_to("nowhere"),
}
PLACES = ("*_B8A.tif", "*_reference_map.tif", "metadata.parquet", "BigEarthNet-S2.tar.zst")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file_is_named(
    made_tree: tuple[Path, list[Row]], tmp_path: Path, kind: str, place: str
) -> None:
    source, store = tmp_path / "source", tmp_path / "store"
    if ".tar" in place:
        packed(made_tree[0], source)
    else:
        shutil.copytree(made_tree[0], source)
    victim = sorted(source.rglob(place))[0]
    victim.unlink()
    KINDS[kind](victim)
    ended = command("convert", "bigearthnet-v2", source, store, "--workers", 1)
    assert ended.code in (0, 1), ended.err
    if ended.code:
        assert victim.name in ended.sentence
        assert not (store / MANIFEST).exists()
    else:  # left out, which is told
        assert victim.name in ended.out + ended.err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["metadata.parquet", "s2.tar", "s2.zip", "s2.parquet"])
def test_a_path_that_is_no_file_is_named(
    made_tree: tuple[Path, list[Row]], tmp_path: Path, kind: str, place: str
) -> None:
    victim = tmp_path / place
    KINDS[kind](victim)
    name = place.partition(".")[0]
    words = ["convert", "bigearthnet-v2", made_tree[0], tmp_path / "store", "--workers", 1]
    ended = command(*words, "--path", f"{name}={victim}")
    assert ended.code in (1, 2), ended.err
    assert str(victim) in ended.sentence


def test_without_a_source_a_dead_link_is_no_absent_file(tmp_path: Path) -> None:
    link = tmp_path / "metadata.parquet"
    link.symlink_to("nowhere")
    with pytest.raises(SourceError, match=r"metadata\.parquet is a link to what is not there"):
        locate_files(described(), {"metadata": link})
