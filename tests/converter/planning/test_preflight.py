"""A store that cannot fit is refused before anything is written; one that may fit never is."""

import os
import re
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from patchpress import ConvertOptions, open_store
from patchpress.converter.options import Codec, Layout, OnError
from patchpress.converter.planning.limited_patches import find_limited_patches
from patchpress.converter.planning.request import prepare_request
from patchpress.converter.planning.selection import select_patches
from patchpress.converter.planning.space import RoomNeeded
from patchpress.converter.storage.disk import RecordSizes, data_bytes, disk_of
from patchpress.converter.text import size
from tests.support.helpers import DATASET, Ended, made, packed
from tests.support.published_forms import TREES
from tests.support.small_disk import on_small_disk

pytestmark = pytest.mark.slow


def need(source: Path, dataset: str = DATASET, **options: Any) -> RoomNeeded:
    asked = prepare_request(dataset, source, source.parent / "store", ConvertOptions(**options))
    tables = asked.checked_tables()
    first = find_limited_patches(asked.description, asked.parts, tables, asked.options.limit)
    chosen = select_patches(asked.description, asked.parts, first, lambda error: None)
    return RoomNeeded(asked, chosen, tables)


def least(source: Path, dataset: str = DATASET, **options: Any) -> int:
    found = need(source, dataset, **options)
    return found.least_bytes(found.request.options.layout)


def stored(source: Path, store: Path, **options: Any) -> int:
    """Bytes of data.mdb."""
    made(source, store, **options)
    return (store / "data.mdb").stat().st_size


@pytest.mark.parametrize("layout", ["stacked", "native"])
def test_the_least_is_what_a_store_takes(
    tree: Path, stores: dict[tuple[str, str], Path], layout: str
) -> None:
    size = (stores[layout, "none"] / "data.mdb").stat().st_size
    assert 0.99 * size < least(tree, layout=layout) <= size


@pytest.mark.parametrize("options", [{"limit": 4}, {"modalities": ("s1",)}, {"on_error": "skip"}])
def test_the_least_is_of_what_is_taken(tree: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    size = stored(tree, tmp_path / "store", **options)
    assert 0.94 * size < least(tree, **options) <= size


@pytest.mark.parametrize("length", [200, 1000, 3000, 5000, 40_000])
def test_the_least_counts_pages_as_lmdb_does(tmp_path: Path, length: int) -> None:
    """Small values are stored beside their keys, large ones on pages of their own."""
    import lmdb

    with lmdb.open(str(tmp_path), map_size=1 << 28) as file, file.begin(write=True) as transaction:
        for number in range(2000):
            transaction.put(f"patch-{number:06}".encode(), bytes(length), append=True)
    used = (tmp_path / "data.mdb").stat().st_size
    estimate = data_bytes([RecordSizes(2000, [length], 12)])
    wasted = 0.3 if length < 2000 else 0.01  # a page with few nodes has free bytes at its end
    assert (1 - wasted) * used <= estimate <= used


def test_archives_take_what_the_tables_name_and_no_more_than_they_hold(
    raw: Path, tmp_path: Path
) -> None:
    size = stored(raw, tmp_path / "store")
    packed(raw)
    assert 0.6 * size < least(raw) <= size


def test_tables_that_name_more_than_an_archive_holds_are_not_believed(
    raw: Path, tmp_path: Path
) -> None:
    kept = sorted((raw / "BigEarthNet-S2").glob("*/*"))[:2]
    with tarfile.open(tmp_path / "some.tar", "w") as archive:
        for path in kept:
            archive.add(path, path.relative_to(raw))
    options: dict[str, Any] = {"modalities": ("s2",), "paths": {"s2": tmp_path / "some.tar"}}
    size = stored(raw, tmp_path / "store", **options)
    assert pq.read_metadata(raw / "metadata.parquet").num_rows == 4
    assert 0.3 * size < least(raw, **options) <= size


def test_archives_without_a_table_are_not_guessed_at(raw: Path) -> None:
    packed(raw)
    for name in ("metadata.parquet", "metadata_for_patches_with_snow_cloud_or_shadow.parquet"):
        (raw / name).unlink()
    assert least(raw) < 100_000


def test_what_only_its_end_tells_is_not_guessed_at(raw: Path, tmp_path: Path) -> None:
    assert least(raw, compression=Codec.zstd) == 0
    source = TREES["uc-merced"].write(tmp_path / "odd")
    assert least(source, "uc-merced", layout=Layout.native) < 100_000
    assert least(source, "uc-merced", on_error=OnError.skip, size="keep") < 100_000
    # Stacked: patches of another size are an error, or are brought to the usual one.
    assert least(source, "uc-merced", size="keep") > 500_000
    assert least(source, "uc-merced") > 500_000


def test_disks_are_known_by_their_kind(tmp_path: Path) -> None:
    here = disk_of(tmp_path / "not" / "there" / "yet")
    system = os.statvfs(tmp_path)
    assert here.free <= here.most <= system.f_blocks * system.f_frsize
    assert here.most > 0
    if Path("/proc/self/mountinfo").exists():
        assert not disk_of(Path("/proc/store")).plain


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0.0 kB"),
        (86_016, "86.0 kB"),
        (1.4e6, "1.4 MB"),
        (190.26e9, "190.3 GB"),
        (999.94e6, "999.9 MB"),
        (999.96e6, "1.0 GB"),
        (2e12, "2.0 TB"),
    ],
)
def test_sizes_are_for_people(nbytes: float, text: str) -> None:
    assert size(nbytes) == text


def convert(raw: Path, disk: Path, *options: object) -> tuple[object, ...]:
    return ("convert", DATASET, raw, disk / "store", "--workers", 0, *options)


def assert_refused(ended: Ended, *parts: str) -> None:
    assert (ended.code, ended.out) == (2, "")
    for part in ("needs at least", "are free on its disk", *parts):
        assert part in ended.sentence


def test_a_store_that_cannot_fit_is_refused_and_nothing_is_written(
    raw: Path, tmp_path: Path, disk: Path
) -> None:
    nbytes = stored(raw, tmp_path / "whole")
    ended, names = on_small_disk(disk, int(0.98 * nbytes), *convert(raw, disk))
    assert_refused(ended, "make room", "--compression blosc2", "--layout native (at least 1.6 MB)")
    assert_refused(ended, "--limit or --modality", str(disk / "store"), size(nbytes))
    assert names == []


def test_what_is_proposed_helps(raw: Path, tmp_path: Path, disk: Path) -> None:
    room = int(0.85 * stored(raw, tmp_path / "whole"))
    for options in (["--compression", "blosc2"], ["--layout", "native"], ["--limit", 2]):
        ended, names = on_small_disk(disk, room, *convert(raw, disk, *options))
        assert (ended.code, ended.err) == (0, ""), options
        assert "manifest.json" in names
    ended, _ = on_small_disk(disk, room, *convert(raw, disk))
    assert_refused(ended)


def test_archives_are_refused_by_the_tables(raw: Path, disk: Path) -> None:
    packed(raw, codec="gz")
    ended, names = on_small_disk(disk, 256 << 10, *convert(raw, disk))
    assert_refused(ended)
    assert names == []


def test_a_store_that_is_replaced_makes_room(raw: Path, tmp_path: Path, disk: Path) -> None:
    nbytes = stored(raw, tmp_path / "whole")
    again = f'"$@" --overwrite && cp -r "$disk/store" {tmp_path / "kept"}'
    ended, _ = on_small_disk(disk, int(1.3 * nbytes), *convert(raw, disk), more=again)
    assert (ended.code, ended.err) == (0, "")
    assert len(open_store(tmp_path / "kept")) == 15


def test_a_store_that_is_not_replaced_for_want_of_room_stays_whole(
    raw: Path, tmp_path: Path, disk: Path
) -> None:
    native = stored(raw, tmp_path / "native", layout="native")
    again = f'"$@" --layout stacked --overwrite; cp -r "$disk/store" {tmp_path / "kept"}'
    words = convert(raw, disk, "--layout", "native")
    ended, _ = on_small_disk(disk, int(1.2 * native), *words, more=again)
    assert "needs at least" in ended.sentence
    assert re.search(r"beside the 1\.\d MB that are there already", ended.sentence)
    assert len(open_store(tmp_path / "kept")) == 15


def test_an_interrupted_conversion_needs_room_for_the_rest_alone(
    raw: Path, tmp_path: Path, disk: Path
) -> None:
    """A damaged patch stops the conversion half way; then there is room for the rest, or not."""
    nbytes = stored(raw, tmp_path / "whole")
    last = max((raw / "BigEarthNet-S2").glob("*/*/*_B03.tif"))
    whole = last.read_bytes()
    last.write_bytes(whole[:-5])
    (tmp_path / "saved").write_bytes(whole)
    script = tmp_path / "again.sh"
    script.write_text(f"""
        "$@" 2> /dev/null
        head -c {nbytes} /dev/zero > {disk}/other 2> /dev/null
        cp {tmp_path}/saved {last}; "$@"; code=$?
        ls {disk}/store > {tmp_path}/left
        truncate -s {int(0.3 * nbytes)} {disk}/other
        "$@" && cp -r {disk}/store {tmp_path}/kept
        exit $code
    """)
    words = convert(raw, disk)
    ended, _ = on_small_disk(disk, int(1.5 * nbytes), *words, before=("sh", script))
    assert ended.code == 2
    assert "make room and run the same command again" in ended.sentence
    assert "--compression" not in ended.sentence
    assert {"unfinished.json", "unfinished.records"} <= set((tmp_path / "left").read_text().split())
    assert len(open_store(tmp_path / "kept")) == 15
