"""Several archives through real workers of Dask: each is read by one, and shards are joined."""

import shutil
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cluster.processes import DaskProcesses
from patchpress import PatchError, Report, SourceError, convert, verify
from patchpress.converter.commands.convert_cluster import _request_for_workers
from patchpress.converter.options import convert_options
from patchpress.converter.planning.pieces import pieces_of
from tests.converter.sources.test_archive_sources import pack_sen12ms
from tests.support.dated import DATES, FOLDERS, described, write_optical
from tests.support.helpers import DATASET, folder_bytes, made, patches
from tests.support.machines import NO_DASK, cluster, trap
from tests.support.older_sets import SCENE, make_sen12ms
from tests.support.packing import by_folder, packed

pytest.importorskip("distributed", reason=NO_DASK)
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
SHARDS = 3


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[DaskProcesses]:
    """A scheduler with two workers."""
    with cluster(tmp_path / "machines", workers=2) as processes:
        yield processes


def by(
    machines: DaskProcesses, source: Path, store: Path, dataset: str = DATASET, **options: Any
) -> Report:
    return convert(dataset, source, store, scheduler=machines.address, shards=SHARDS, **options)


def backwards(names: list[str]) -> list[str]:
    """The last patch first."""
    return [name for group in reversed(by_folder(names)) for name in group]


def said(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [n for n in capsys.readouterr().err.splitlines() if "archive" in n]
    return line


@pytest.mark.parametrize("options", [{}, {"layout": "native", "compression": "zstd"}], ids=str)
def test_archives_in_parallel_give_the_bytes_of_the_pool(
    machines: DaskProcesses,
    tree: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, Any],
) -> None:
    source = packed(tree, tmp_path / "packed")
    pool = convert(DATASET, tree, tmp_path / "pool" / "store", shards=SHARDS, workers=0, **options)
    store = tmp_path / "dask" / "store"
    report = by(machines, source, store, **options)
    line = said(capsys)
    assert line.startswith("3 archives in parallel (BigEarthNet-S2.tar")
    assert line.endswith(
        "each archive is one stream, which one worker reads from beginning to end; then the shards "
        "are joined from their parts, in parallel, too"
    )
    assert folder_bytes(store) == folder_bytes(tmp_path / "pool" / "store")
    assert not list(store.rglob(".*"))
    assert report.records == pool.records
    assert report.skipped == pool.skipped
    assert verify(store, tree, workers=0).good
    both = [machines.log(f"worker-{number}") for number in (0, 1)]
    assert all(both)


def test_archives_and_folders_in_parallel(
    machines: DaskProcesses, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = packed(tree, tmp_path / "mixed", folders=("BigEarthNet-S1",))
    by(machines, source, tmp_path / "dask" / "store")
    assert "beside the folders of s2, map, shard by shard: " in said(capsys)
    made(tree, tmp_path / "pool" / "store", shards=SHARDS)
    assert folder_bytes(tmp_path / "dask" / "store") == folder_bytes(tmp_path / "pool" / "store")


def test_archives_in_any_order_and_a_damaged_patch(
    machines: DaskProcesses, raw: Path, tmp_path: Path
) -> None:
    name = patches(raw, "s2")[0]
    (band,) = raw.glob(f"BigEarthNet-S2/*/{name}/*_B03.tif")
    band.write_bytes(band.read_bytes()[:1000])
    source = packed(raw, tmp_path / "packed", "tar", order=backwards)
    with pytest.raises(PatchError, match="_B03.tif.*; --on-error skip leaves such patches out$"):
        by(machines, source, tmp_path / "dask" / "store")
    report = by(machines, source, tmp_path / "dask" / "store", on_error="skip")
    pool = made(source, tmp_path / "pool" / "store", shards=SHARDS, on_error="skip")
    assert folder_bytes(tmp_path / "dask" / "store") == folder_bytes(tmp_path / "pool" / "store")
    for one in (report, pool):
        one.seconds, one.store = 0.0, ""
    assert report == pool
    assert report.exit_code == 1


@pytest.mark.parametrize("kind", ["s2", "lc"])
def test_what_lies_in_other_archives_tells_that_a_triplet_is_not_whole(
    machines: DaskProcesses, tmp_path: Path, kind: str
) -> None:
    make_sen12ms(tmp_path / "raw", scenes=(1, 63, 2))
    lacking = f"{SCENE}_{kind}_1_p31"
    source = pack_sen12ms(tmp_path / "raw", tmp_path / "packed", without=(lacking,))
    store = tmp_path / "dask" / "store"
    with pytest.raises(PatchError, match="_1_p31 has no .*; --on-error skip leaves such patches"):
        by(machines, source, store, "sen12ms")
    report = by(machines, source, store, "sen12ms", on_error="skip")
    pool = convert("sen12ms", source, tmp_path / "pool" / "store", shards=SHARDS, workers=0,
                   on_error="skip")  # fmt: skip
    assert folder_bytes(store) == folder_bytes(tmp_path / "pool" / "store")
    for one in (report, pool):
        one.seconds, one.store = 0.0, ""
    assert report == pool


def test_a_patch_in_two_archives_is_told_as_by_one_pass(
    machines: DaskProcesses, tmp_path: Path
) -> None:
    make_sen12ms(tmp_path / "raw")
    source = pack_sen12ms(tmp_path / "raw", tmp_path / "packed")
    (first,) = source.glob("*_s1.tar.gz")
    again = source / first.name.replace(SCENE, "ROIs1868_summer")
    shutil.copy(first, again)
    store = tmp_path / "dask" / "store"
    with pytest.raises(PatchError, match=f"is there twice, in {first} and in {again}: remove"):
        by(machines, source, store, "sen12ms")
    report = by(machines, source, store, "sen12ms", on_error="skip")
    pool = convert("sen12ms", source, tmp_path / "pool" / "store", shards=SHARDS, workers=0,
                   on_error="skip")  # fmt: skip
    assert len(report.skipped) == len(pool.skipped) == 4
    assert folder_bytes(store) == folder_bytes(tmp_path / "pool" / "store")


@pytest.mark.parametrize(
    ("event", "at"),
    [
        ("open", "/data.mdb"),
        ("os.rename", "/shards/.00001."),
        ("open", "/joined/data.mdb"),
        ("os.rename", "/shards/00001"),
    ],
    ids=["reading", "a part moved", "joining", "a shard moved"],
)
def test_a_worker_that_is_killed_leaves_its_archive_to_another(
    tree: Path, tmp_path: Path, event: str, at: str
) -> None:
    source = packed(tree, tmp_path / "packed")
    with cluster(tmp_path / "machines", workers=0) as machines:
        words, sprung = trap(tmp_path, event, at, "kill")
        killed = machines.add_worker(*words)
        machines.add_worker(*words)  # whichever comes first is killed; the trap springs once
        by(machines, source, tmp_path / "dask" / "store")
        assert sprung.exists()
        codes = {machine.poll() for machine in machines.workers}
        assert -signal.SIGKILL in codes or killed.wait(60) == -signal.SIGKILL
    made(tree, tmp_path / "pool" / "store", shards=SHARDS)
    assert folder_bytes(tmp_path / "dask" / "store") == folder_bytes(tmp_path / "pool" / "store")
    assert not list((tmp_path / "dask" / "store").rglob(".*"))


def test_what_was_read_is_not_read_again(
    machines: DaskProcesses, tree: Path, tmp_path: Path
) -> None:
    """One archive ends too early: the same command goes on with the others, once it is whole."""
    source = packed(tree, tmp_path / "packed")
    (cut,) = source.glob("BigEarthNet-S1.tar*")
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    store = tmp_path / "dask" / "store"
    with pytest.raises(Exception, match="BigEarthNet-S1"):
        by(machines, source, store)
    cut.write_bytes(whole)
    # The pool goes on with the same store, too, and what is in the way is removed.
    shutil.copytree(store, tmp_path / "pooled" / "store")
    by(machines, source, store)
    made(tree, tmp_path / "pool" / "store", shards=SHARDS)
    assert folder_bytes(store) == folder_bytes(tmp_path / "pool" / "store")
    convert(DATASET, source, tmp_path / "pooled" / "store", shards=SHARDS, workers=0)
    assert folder_bytes(tmp_path / "pooled" / "store") == folder_bytes(store)
    assert not list((tmp_path / "pooled" / "store").rglob(".*"))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"workers": 1}, "with --workers 2 or more, archives are read at the same time"),
        (
            {"workers": 2, "limit": 4},
            "with a limit, one archive decides how much is read of the next",
        ),
    ],
)
def test_why_archives_are_one_pass(
    tree: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, Any],
    why: str,
) -> None:
    source, store = packed(tree, tmp_path / "packed"), tmp_path / "dask" / "store"
    convert(DATASET, source, store, shards=SHARDS, scheduler="local", **options)
    assert said(capsys) == (
        "archives are read from beginning to end (s2, s1, map): one worker makes all 3 shards in "
        f"one pass, and the others have nothing to do: {why}"
    )
    made(source, tmp_path / "pool" / "store", shards=SHARDS, limit=options.get("limit"))
    assert folder_bytes(store) == folder_bytes(tmp_path / "pool" / "store")


def test_a_place_with_dates_in_two_archives_is_told(
    machines: DaskProcesses, tmp_path: Path
) -> None:
    write_optical(tmp_path / "raw", {"pond1": DATES[:2], "pond2": DATES[:3], "pond3": DATES[:2]})
    files = sorted((tmp_path / "raw" / "optical").rglob("*.tif"))
    cut = next(at for at, path in enumerate(files) if f"pond2/S_{DATES[1]}" in str(path))
    (tmp_path / "packed").mkdir()
    for number, some in enumerate((files[:cut], files[cut:])):
        with tarfile.open(tmp_path / "packed" / f"optical_{number}.tar", "w") as archive:
            for path in some:
                archive.add(path, path.relative_to(tmp_path / "raw"))
    text = FOLDERS.partition("[modalities.radar]")[0]
    text = text.replace('folder = "optical"', 'folder = "optical"\narchives = ["optical_*"]')
    dataset = str(described(tmp_path, text))
    with pytest.raises(
        PatchError, match=r"^dates of o_pond2 lie in .*_0.tar and in .*_1.tar: unpack"
    ):
        by(machines, tmp_path / "packed", tmp_path / "dask" / "store", dataset)
    with pytest.raises(
        SourceError, match="is of pond2, but other places, or the end of an archive"
    ):
        convert(dataset, tmp_path / "packed", tmp_path / "pool" / "store", shards=2, workers=0)


def test_a_piece_has_one_archive_and_the_modalities_that_it_holds(tmp_path: Path) -> None:
    make_sen12ms(tmp_path / "raw", scenes=(1,), patches=1)
    source = pack_sen12ms(tmp_path / "raw", tmp_path / "packed")
    for archive in sorted(source.iterdir()):
        shutil.copy(archive, source / archive.name.replace(SCENE, "ROIs1970_fall"))
    asked = convert_options({"workers": 0, "shards": 2})
    request = _request_for_workers("sen12ms", source, tmp_path / "store", asked, is_local=False)
    pieces = pieces_of(request)
    assert [list(piece.request.parts.modalities) for piece in pieces] == [
        ["s2"], ["s2"], ["s1"], ["s1"], ["lc"], ["lc"],
    ]  # fmt: skip
    assert len({piece.name for piece in pieces}) == 6
