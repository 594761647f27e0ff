"""Patches that are taken out of a tar archive in one piece are those that its headers tell."""

import io
import pickle
import random
import sys
import tarfile
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.memory import CellPool
from patchpress.converter.sources import readahead
from patchpress.converter.sources.archive_names import Archive
from patchpress.converter.sources.archives import ArchiveStream, StreamOptions
from patchpress.converter.sources.files import ArchivedFiles
from patchpress.converter.sources.patch import Patch, ignore_problem
from patchpress.converter.sources.tar import TarStream
from patchpress.converter.sources.unpacker import (
    CHUNKS_AHEAD,
    UNPACKED_AT_ONCE,
    chunk_bytes,
    start_unpackers,
)
from patchpress.readers.errors import PatchError, SourceError
from tests.support.packing import ended

PRODUCT = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
BANDS = [band.name for band in find_description("bigearthnet-v2").modalities["s2"].bands]
SIZES = dict(zip(BANDS, (70, 512, 513, 3000, 1, 512, 0, 900, 1024, 77, 8, 640), strict=True))
FORMATS = {
    "gnu": tarfile.GNU_FORMAT,
    "pax": tarfile.PAX_FORMAT,
    "ustar": tarfile.USTAR_FORMAT,
}
CALLS = 75  # for a patch; with calls for each file it was 97
Files = dict[str, bytes]


def member(name: str, data: bytes, **options: Any) -> bytes:
    """A file of an archive; `options` are the format, and fields of the header."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar_format = options.pop("tar_format", tarfile.GNU_FORMAT)
    for field, value in options.items():
        setattr(info, field, value)
    return info.tobuf(tar_format) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def patch_files(name: str, draw: random.Random, bands: Sequence[str] = BANDS) -> Files:
    """The files of one patch, of the usual sizes."""
    folder = f"{PRODUCT}/{PRODUCT}_{name}"
    return {f"{folder}/{PRODUCT}_{name}_{b}.tif": draw.randbytes(SIZES[b]) for b in bands}


def packed(files: Files, lead: str = "", **options: Any) -> list[bytes]:
    return [member(lead + name, data, **options) for name, data in files.items()]


def read(path: Path, cells: CellPool | None = None) -> tuple[dict[str, Files], list[str]]:
    """Folder of each whole patch -> its files; and the names of those taken in one piece."""
    cells = cells or CellPool(1 << 16, 80)
    modality = find_description("bigearthnet-v2").modalities["s2"]
    problems: list[PatchError] = []
    options = StreamOptions(cells=cells)
    found: dict[str, Files] = {}
    at_once = []
    stream = ArchiveStream([Archive((path,))], [modality], problems.append, options)
    for patch in stream:
        files = patch.archived
        assert isinstance(files, ArchivedFiles)
        sent: ArchivedFiles = pickle.loads(pickle.dumps(files))  # noqa: S301 -- as to a worker
        folder = patch.folder.removeprefix(f"{path}/")
        try:
            opened = sent.open(patch.folder, cells.memory)
        except PatchError:
            continue
        found[folder] = {f"{folder}/{name}": opened.read(name) for name in opened.names()}
        assert all(name.rpartition("/")[2] in files for name in found[folder])
        at_once += [patch.name] * is_run(patch)
    return found, at_once


def is_run(patch: Patch) -> bool:
    assert isinstance(patch.archived, ArchivedFiles)
    return patch.archived.__reduce__()[1][3] is not None  # type: ignore[index]


def by_folder(files: Files) -> dict[str, Files]:
    folders: dict[str, Files] = {}
    for name, data in files.items():
        folders.setdefault(name.rpartition("/")[0], {})[name] = data
    return folders


def as_tarfile_reads(path: Path) -> dict[str, Files]:
    """Folder -> its files, by Python's own reader."""
    with tarfile.open(path) as tar:
        files = {m.name.removeprefix("./"): tar.extractfile(m) for m in tar if m.isfile()}
        return by_folder({name: file.read() for name, file in files.items() if file is not None})


@pytest.mark.parametrize("lead", ["", "./"])
@pytest.mark.parametrize("above", ["", "BigEarthNet-S2/"])
def test_patches_that_lie_alike_are_taken_at_once(tmp_path: Path, lead: str, above: str) -> None:
    """After the first, whether their names have an entry of their own or not."""
    draw = random.Random(1)  # noqa: S311
    names = ["10_10", "10_11", "10_12", "12_70"]
    files = {f"{above}{k}": v for n in names for k, v in patch_files(n, draw).items()}
    path = tmp_path / "a.tar"
    path.write_bytes(ended(packed(files, lead)))
    found, at_once = read(path)
    assert found == as_tarfile_reads(path) == by_folder(files)
    assert at_once == [f"{PRODUCT}_{name}" for name in names[1:]]


def staying(path: Path, spare: int, kept: int) -> tuple[dict[str, Files], int]:
    """What `read` finds while a process decompresses, and how many patches stay where they lie.

    With so many chunks to hold, while so many patches are kept.
    """
    cells = CellPool(1 << 18, kept + 80, room=chunk_bytes(1, CHUNKS_AHEAD + spare))
    chunks = CHUNKS_AHEAD + spare
    unpackers = start_unpackers(1, cells.shared, cells.room_start, chunks)
    modality = find_description("bigearthnet-v2").modalities["s2"]
    options = StreamOptions(cells=cells, unpackers=list(unpackers))
    found: dict[str, Files] = {}
    waiting = deque[Patch]()
    stayed = 0

    def finish(patch: Patch) -> None:
        nonlocal stayed
        files = patch.archived
        assert isinstance(files, ArchivedFiles)
        sent: ArchivedFiles = pickle.loads(pickle.dumps(files))  # noqa: S301 -- as to a worker
        opened = sent.open(patch.folder, cells.memory)
        folder = patch.folder.removeprefix(f"{path}/")
        found[folder] = {f"{folder}/{name}": opened.read(name) for name in opened.names()}
        run = ArchivedFiles.__reduce__(files)[1][3]  # type: ignore[index]
        stayed += run is not None and run.start >= cells.room_start

    try:
        for patch in ArchiveStream([Archive((path,))], [modality], ignore_problem, options):
            waiting.append(patch)
            if len(waiting) > kept:
                finish(waiting.popleft())
        while waiting:
            finish(waiting.popleft())
    finally:
        unpackers[0].kill()
    return found, stayed


@pytest.mark.parametrize("kept", [0, 5, 60])
def test_patches_stay_where_they_were_decompressed(tmp_path: Path, kept: int) -> None:
    """As long as other chunks can take the place of theirs; more than that are copied."""
    draw = random.Random(9)  # noqa: S311
    files = Files()
    for number in range(10, 70):
        one = patch_files(f"10_{number}", draw)
        files |= {name: draw.randbytes(32 * len(data)) for name, data in one.items()}
    path = tmp_path / "a.tar"
    path.write_bytes(ended(packed(files)))
    assert path.stat().st_size > 3 * UNPACKED_AT_ONCE
    wanted = by_folder(files)
    found, none_stayed = staying(path, spare=0, kept=kept)
    assert found == wanted
    assert none_stayed == 0
    found, some_stayed = staying(path, spare=2, kept=kept)
    assert found == wanted
    found, all_stayed = staying(path, spare=40, kept=kept)
    assert found == wanted
    # All but the first, and those that begin in one chunk and end in another.
    assert all_stayed >= 59 - path.stat().st_size // UNPACKED_AT_ONCE
    assert some_stayed == all_stayed if kept == 0 else 0 < some_stayed <= all_stayed
    assert kept < 60 or some_stayed < all_stayed


def calls_of(path: Path) -> int:
    """How many functions of this package are called for the patches of an archive."""
    calls, cells = 0, CellPool(1 << 16, 80)
    modality = find_description("bigearthnet-v2").modalities["s2"]

    def count(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and "patchpress" in frame.f_globals.get("__name__", "")

    stream = ArchiveStream(
        [Archive((path,))], [modality], ignore_problem, StreamOptions(cells=cells)
    )
    sys.setprofile(count)
    try:
        for _ in stream:
            pass
    finally:
        sys.setprofile(None)
    return calls


def test_a_patch_taken_at_once_costs_few_calls(tmp_path: Path) -> None:
    """Its twelve files cost none of their own."""
    draw = random.Random(5)  # noqa: S311
    calls = []
    for most in (20, 60):
        names = [f"10_{number}" for number in range(10, 10 + most)]
        files = {f"BigEarthNet-S2/{k}": v for n in names for k, v in patch_files(n, draw).items()}
        path = tmp_path / f"{most}.tar"
        path.write_bytes(ended(packed(files)))
        assert len(read(path)[1]) == most - 1
        calls.append(calls_of(path))
    assert (calls[1] - calls[0]) / 40 < CALLS


def test_dates_and_owners_may_differ(tmp_path: Path) -> None:
    draw = random.Random(2)  # noqa: S311
    parts, files = [], Files()
    for number in range(10, 16):
        one = patch_files(f"10_{number}", draw)
        files |= one
        parts += [
            member(name, data, mtime=draw.randrange(1 << 30), uid=draw.randrange(1000))
            for name, data in one.items()
        ]
    path = tmp_path / "a.tar"
    path.write_bytes(ended(parts))
    found, at_once = read(path)
    assert found == by_folder(files)
    assert len(at_once) == 5


@pytest.mark.parametrize("seed", range(12))
def test_archives_of_all_kinds_are_as_tarfile_reads_them(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)  # noqa: S311
    monkeypatch.setattr(readahead, "BYTES_AT_ONCE", draw.choice([600, 5000, 20_000, 1 << 20]))
    parts: list[bytes] = []
    whole: dict[str, Files] = {}
    usual = draw.choice(list(FORMATS.values()))
    for number in range(40):
        name = f"{draw.choice('19')}{number % 10}_{number + 10}"
        files = patch_files(name, draw)
        odd = draw.random()
        if odd < 0.1:  # another order
            files = {key: files[key] for key in draw.sample(list(files), len(files))}
        elif odd < 0.2:  # another size
            key = draw.choice(list(files))
            files[key] = draw.randbytes(draw.randrange(2000))
        elif odd < 0.3:  # a band is missing
            del files[draw.choice(list(files))]
        tar_format = usual if draw.random() < 0.9 else draw.choice(list(FORMATS.values()))
        packs = packed(files, tar_format=tar_format, mtime=draw.choice([0, 1, 2.5]))
        if draw.random() < 0.1:  # something else between them
            other = draw.choice([("x.txt", b"abc"), (f"{PRODUCT}/.hidden", bytes(700))])
            packs.insert(draw.randrange(len(packs)), member(*other))
        parts += packs
        if len(files) == len(BANDS):
            whole |= by_folder(files)
    path = tmp_path / "a.tar"
    path.write_bytes(ended(parts))
    found, _ = read(path)
    complete = {folder: files for folder, files in found.items() if len(files) == len(BANDS)}
    assert complete == whole
    theirs = as_tarfile_reads(path)
    assert all(theirs[folder] == files for folder, files in found.items())


def test_a_band_too_many_is_still_noticed(tmp_path: Path) -> None:
    draw = random.Random(3)  # noqa: S311
    files = patch_files("10_10", draw) | patch_files("10_11", draw)
    extra = f"{PRODUCT}/{PRODUCT}_10_11/{PRODUCT}_10_11_B99.tif"
    path = tmp_path / "a.tar"
    path.write_bytes(
        ended([*packed(files), member(extra, b"x" * 9), *packed(patch_files("10_12", draw))])
    )
    found, at_once = read(path)
    assert at_once == [f"{PRODUCT}_10_11", f"{PRODUCT}_10_12"]
    assert extra in found[f"{PRODUCT}/{PRODUCT}_10_11"]


def one_by_one(path: Path) -> dict[str, Files]:
    """Folder -> its files, each read for itself."""
    files = Files()
    with closing(TarStream([path])) as stream:
        for found in stream:
            data = bytearray(found.size)
            stream.read_into(memoryview(data))
            files[found.path] = bytes(data)
    return by_folder(files)


@pytest.mark.parametrize("seed", range(60))
def test_a_header_that_was_changed_is_never_taken_for_another(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is refused file by file is refused at once too; what is taken has the same bytes."""
    draw = random.Random(seed)  # noqa: S311
    monkeypatch.setattr(readahead, "BYTES_AT_ONCE", draw.choice([3000, 1 << 20]))
    parts = [p for n in range(10, 14) for p in packed(patch_files(f"10_{n}", draw))]
    data = bytearray(ended(parts))
    begin = sum(map(len, parts[: len(BANDS)]))
    starts = [begin]
    for part in parts[len(BANDS) :]:
        starts.append(starts[-1] + len(part))
    at = draw.choice(starts[:-1]) + draw.randrange(3 * tarfile.BLOCKSIZE)
    data[at] ^= 1 << draw.randrange(8)
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    try:
        alone = one_by_one(path)
    except SourceError:
        with pytest.raises(SourceError):
            read(path)
        return
    try:
        found, _ = read(path)
    except SourceError:  # the files of a patch are not as they should be
        return
    for folder, files in found.items():
        assert files.items() <= alone[folder].items()


@pytest.mark.parametrize("chunk", [3000, 1 << 20])
def test_an_early_end_is_told_as_ever(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readahead, "BYTES_AT_ONCE", chunk)
    draw = random.Random(5)  # noqa: S311
    first, second, third = (b"".join(packed(patch_files(f"10_{n}", draw))) for n in (11, 12, 13))
    path = tmp_path / "a.tar"
    for cut in (600, 2000, 9000, len(third) - 600):
        path.write_bytes(first + second + third[:cut])
        with pytest.raises(
            SourceError, match=f"ends early: the last whole patch is {PRODUCT}_10_12"
        ):
            read(path)


def test_files_that_do_not_fit_the_cell_have_memory_of_their_own(tmp_path: Path) -> None:
    draw = random.Random(6)  # noqa: S311
    files = {k: v for n in (10, 11, 12) for k, v in patch_files(f"10_{n}", draw).items()}
    path = tmp_path / "a.tar"
    path.write_bytes(ended(packed(files)))
    found, at_once = read(path, CellPool(1 << 12, 80))
    assert found == by_folder(files)
    assert not at_once
    found, at_once = read(path, CellPool(1 << 16, 1))
    assert found == by_folder(files)


def test_patches_that_never_lie_alike_are_no_longer_tried(tmp_path: Path) -> None:
    """As compressed files, whose sizes differ: what was tried in vain costs little."""
    draw = random.Random(7)  # noqa: S311
    files = Files()
    for number in range(10, 90):
        one = patch_files(f"10_{number}", draw)
        last = list(one)[-1]
        one[last] = draw.randbytes(number)
        files |= one
    files |= {k: v for n in range(10, 30) for k, v in patch_files(f"11_{n}", draw).items()}
    out = io.BytesIO(ended(packed(files)))
    path = tmp_path / "a.tar"
    path.write_bytes(out.getvalue())
    found, at_once = read(path)
    assert found == by_folder(files)
    assert not at_once
