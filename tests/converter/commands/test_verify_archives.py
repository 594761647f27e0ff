"""`verify --against` archives compares every pixel, decoded by another decoder than converting."""

import os
import re
import shutil
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import convert, open_store
from patchpress.converter.commands import verify_pixels as against
from patchpress.converter.commands.verify import verify
from patchpress.converter.commands.verify_pixels import BYTES_IN_TASK, PATCHES_IN_TASK
from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.parse import built_in_descriptions, find_description
from patchpress.converter.encoding import bandreader as plain
from patchpress.converter.planning import limited_patches
from patchpress.converter.sources import assembly, chunks, readahead
from patchpress.converter.sources.archive_names import Archive
from patchpress.converter.sources.files import ArchivedFiles
from patchpress.converter.sources.find_modality import Location
from patchpress.converter.sources.locate import SourceParts
from patchpress.converter.sources.patch import Patch
from patchpress.readers.errors import SourceError
from tests.support.helpers import (
    DATASET,
    WORKERS,
    Ended,
    band_files,
    by_rasterio,
    children,
    command,
    made,
    patches,
)
from tests.support.older_sets import SCENE, make_sen12ms, make_v1
from tests.support.packing import (
    CODECS,
    by_folder,
    counted_reads,
    ended,
    entries,
    entry,
    interleaved,
    members,
    packed,
    split,
    write,
)
from tests.support.synthetic import Row, make_tree

pytestmark = pytest.mark.slow

Command = Callable[..., Ended]
S2, S1, MAPS = "BigEarthNet-S2", "BigEarthNet-S1", "Reference_Maps"


@pytest.fixture(scope="module")
def archived(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tree` in archives. Never write into it."""
    return packed(tree, tmp_path_factory.mktemp("archived"))


@pytest.mark.parametrize("workers", WORKERS)
def test_every_kind_of_store_is_good(
    stores: dict[tuple[str, str], Path], archived: Path, tmp_path: Path, workers: int
) -> None:
    for kind, path in stores.items():
        store = shutil.copytree(path, tmp_path / "-".join(kind))
        ended = command("verify", store, "--against", archived, "--workers", workers)
        assert (ended.code, ended.err) == (0, "")
        assert "read back         45" in ended.out
        assert "compared with the source  45" in ended.out


@pytest.mark.parametrize("codec", CODECS)
def test_parts_in_any_order_beside_folders_are_compared(
    raw: Path, tmp_path: Path, codec: str
) -> None:
    made(raw, tmp_path / "store")
    packed(raw, tmp_path / "packed", codec, folders=(S1, S2), order=interleaved(3))
    split(tmp_path / "packed" / f"{S2}.{codec}", 3)
    verdict = verify(tmp_path / "store", tmp_path / "packed", workers=0)
    assert verdict.good
    assert verdict.compared == 15


def flipped(data: bytes, place: int = -1) -> bytes:
    """A file with one bit of a pixel changed."""
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(("folder", "file"), [(S2, 17), (S2, 59), (S1, 3)])
@pytest.mark.parametrize("workers", WORKERS)
def test_a_flipped_pixel_is_found_and_its_file_named(
    raw: Path, tmp_path: Path, patchpress: Command, folder: str, file: int, workers: int
) -> None:
    made(raw, tmp_path / "store", layout="native")
    packed(raw, tmp_path / "packed", "tar")
    names = members(raw, folder)
    parts = entries(raw, names)
    parts[file] = entry(names[file], flipped((raw / names[file]).read_bytes()))
    write(tmp_path / "packed" / f"{folder}.tar", parts)
    words = ("--against", tmp_path / "packed", "--workers", workers)
    ended = patchpress("verify", tmp_path / "store", *words)
    assert (ended.code, ended.err) == (1, "")
    assert "BAD, 1 problem\n" in ended.out
    whole = f"{folder}.tar/{names[file].rpartition('/')[0]} {Path(names[file]).name}: band "
    assert whole in ended.out
    assert "differs from the record in 1 pixels" in ended.out


def test_a_code_of_a_compressed_map_is_compared(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "store")
    name = patches(raw, "map")[2]
    path = band_files(raw, "map", name)["Data"]
    pixels, _ = by_rasterio(path)
    other = next(p for p in patches(raw, "map") if p != name)
    path.write_bytes(band_files(raw, "map", other)["Data"].read_bytes())
    differing = int((pixels != by_rasterio(path)[0]).sum())
    assert differing
    packed(raw, tmp_path / "packed")
    verdict = verify(tmp_path / "store", tmp_path / "packed", workers=0)
    assert len(verdict.problems) == 1
    assert f"{name}_reference_map.tif" in verdict.problems[0]
    assert f"{differing:,} pixels" in verdict.problems[0]


@pytest.mark.parametrize("limit", [None, 3])
def test_a_patch_that_the_archive_lacks_is_told(
    raw: Path, tmp_path: Path, limit: int | None
) -> None:
    made(raw, tmp_path / "store", limit=limit)
    packed(raw, tmp_path / "packed", "tar")
    name = open_store(tmp_path / "store").keys("s2")[1]
    names = [path for path in members(raw, S2) if f"/{name}/" not in path]
    write(tmp_path / "packed" / f"{S2}.tar", entries(raw, names))
    verdict = verify(tmp_path / "store", tmp_path / "packed", workers=0)
    assert verdict.problems == [f"1 s2 records have no patch in the source: {name}"]
    assert verdict.compared == verdict.records - 1


def test_a_patch_that_is_not_stored_is_told(raw: Path, tmp_path: Path) -> None:
    packed(raw, tmp_path / "packed")
    name = patches(raw, "s1")[3]
    shutil.rmtree(band_files(raw, "s1", name)["VV"].parent)
    made(raw, tmp_path / "store")
    verdict = verify(tmp_path / "store", tmp_path / "packed", workers=0)
    assert len(verdict.problems) == 1
    assert verdict.problems[0].endswith(f"{name} is not stored")


@pytest.mark.parametrize("how", ["cut", "absent", "oversize"])
def test_a_damaged_patch_is_found(raw: Path, tmp_path: Path, how: str) -> None:
    made(raw, tmp_path / "store")
    packed(raw, tmp_path / "packed", "tar")
    names = members(raw, S2)
    parts = entries(raw, names)
    data = {"cut": (raw / names[30]).read_bytes()[:-1], "oversize": bytes(9 << 20)}
    parts[30:31] = [entry(names[30], data[how])] if how in data else []
    write(tmp_path / "packed" / f"{S2}.tar", parts)
    verdict = verify(tmp_path / "store", tmp_path / "packed", workers=0)
    assert len(verdict.problems) == 1
    assert "cannot be compared: " in verdict.problems[0]
    assert Path(names[30]).name in verdict.problems[0]
    assert verdict.compared == 15


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("codec", CODECS)
def test_an_early_end_is_one_sentence(
    raw: Path, tmp_path: Path, patchpress: Command, codec: str, workers: int
) -> None:
    made(raw, tmp_path / "store")
    packed(raw, tmp_path / "packed", codec)
    data = b"".join(entries(raw, members(raw, S2)))
    path = tmp_path / "packed" / f"{S2}.{codec}"
    path.write_bytes(CODECS[codec](data[: len(data) * 3 // 5]))
    words = ("--against", tmp_path / "packed", "--workers", workers)
    done = patchpress("verify", tmp_path / "store", *words)
    assert (done.code, done.out) == (1, "")
    assert f"{path} ends early: the last whole patch is {patches(raw, 's2')[2]};" in done.sentence
    assert not [t for t in threading.enumerate() if t.name == "patchpress-archive"]
    assert not children(os.getpid())


def test_an_archive_of_another_dataset_is_one_sentence(
    raw: Path, tmp_path: Path, patchpress: Command
) -> None:
    made(raw, tmp_path / "store")
    packed(raw, tmp_path / "packed", "tar")
    write(tmp_path / "packed" / f"{S2}.tar", [entry("other/thing.tif")])
    done = patchpress("verify", tmp_path / "store", "--against", tmp_path / "packed")
    assert done.code == 1
    assert f"{S2}.tar has no patch: it holds other/thing.tif" in done.sentence


def test_a_misplaced_patch_is_told_of_once(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "store")
    packed(raw, tmp_path / "packed", "tar")
    names = members(raw, S2)
    group = by_folder(names)[1]
    product = group[0].split("/")[1]
    parts = entries(raw, [name for name in names if name not in group])
    parts += [entry(name.replace(product, product[:-1] + "X", 1)) for name in group]
    write(tmp_path / "packed" / f"{S2}.tar", parts)
    problems = verify(tmp_path / "store", tmp_path / "packed", workers=0).problems
    assert len(problems) == 2
    assert "lies in the wrong folder" in problems[0]
    assert "have no patch in the source" in problems[1]


@pytest.mark.parametrize("limit", [1, 3, 5])
def test_a_store_of_the_first_patches_is_good(raw: Path, tmp_path: Path, limit: int) -> None:
    packed(raw, tmp_path / "packed")
    made(tmp_path / "packed", tmp_path / "store", limit=limit)
    told = Told()
    verdict = verify(tmp_path / "store", tmp_path / "packed", workers=0, progress=told)
    assert verdict.good
    assert verdict.compared == verdict.records == 3 * limit
    assert [total for total, _ in told.parts] == [3 * limit, 3 * limit]


def test_for_the_first_patches_no_more_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tree(tmp_path / "raw", n=60, flagged=0)
    packed(tmp_path / "raw", tmp_path / "packed", "tar")
    monkeypatch.setattr(limited_patches, "READ_FOR_NAMES", 0)
    made(tmp_path / "packed", tmp_path / "store", limit=2, modalities=("s2",))
    monkeypatch.setattr(readahead, "CHUNKS_AHEAD", 1)
    taken = counted_reads(monkeypatch)
    assert verify(tmp_path / "store", tmp_path / "packed", workers=0).compared == 2
    assert 0 < sum(taken) < (tmp_path / "packed" / f"{S2}.tar").stat().st_size / 2


def test_only_stored_modalities_are_read(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "store", modalities=("s1",))
    packed(raw, tmp_path / "packed", "tar")
    (tmp_path / "packed" / f"{S2}.tar").write_bytes(b"nothing")
    assert verify(tmp_path / "store", tmp_path / "packed", workers=0).compared == 5


def test_an_archive_may_be_named(raw: Path, tmp_path: Path, patchpress: Command) -> None:
    made(raw, tmp_path / "store")
    path = write(tmp_path / "elsewhere.tar", entries(raw, members(raw, S1)))
    shutil.rmtree(raw / S1)
    words = ("--against", raw, "--path", f"s1={path}", "--workers", 0)
    done = patchpress("verify", tmp_path / "store", *words)
    assert (done.code, done.err) == (0, "")
    assert "compared with the source  15" in done.out


def test_v1_and_sen12ms_are_compared(made_tree: tuple[Path, list[Row]], tmp_path: Path) -> None:
    tree, rows = made_tree
    make_v1(tmp_path / "v1", tree, rows[:3])
    folders = {"BigEarthNet-v1.0": "BigEarthNet-S2-v1.0", "BigEarthNet-S1-v1.0": None}
    for folder, name in folders.items():
        path = tmp_path / "v1.packed" / f"{name or folder}.tar.gz"
        write(path, entries(tmp_path / "v1", members(tmp_path / "v1", folder)))
    make_sen12ms(tmp_path / "sen12ms")
    for kind in ("s2", "s1", "lc"):
        names = [n for n in members(tmp_path / "sen12ms", ".") if f"_{kind}_" in n]
        path = tmp_path / "sen12ms.packed" / f"{SCENE}_{kind}.tar.gz"
        write(path, entries(tmp_path / "sen12ms", names))
    for dataset, source, records in (("bigearthnet-v1", "v1", 6), ("sen12ms", "sen12ms", 12)):
        store = tmp_path / f"{source}.store"
        convert(dataset, tmp_path / f"{source}.packed", store, workers=0)
        for form in (source, f"{source}.packed"):
            verdict = verify(store, tmp_path / form, workers=2)
            assert verdict.good, verdict.problems
            assert verdict.compared == records


class Told:
    """A progress that notes each part of a verification."""

    def __init__(self) -> None:
        self.parts: list[tuple[int | None, list[tuple[int, float | None]]]] = []

    def start(self, stage: str, total: int | None, unit: str = "records") -> None:
        self.parts.append((total, []))

    def advance(self, patches: int, nbytes: int, share: float | None = None) -> None:
        self.parts[-1][1].append((patches, share))


def test_progress_tells_the_share_and_then_of_the_records(
    stacked: Path, archived: Path, tree: Path
) -> None:
    told = Told()
    verify(stacked, archived, workers=0, progress=told)
    (total, comparing), (records, reading) = told.parts
    assert (total, records) == (None, 45)
    assert sum(patches for patches, _ in comparing) == sum(patches for patches, _ in reading) == 45
    shares = [share for _, share in comparing if share is not None]
    assert len(shares) == len(comparing)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    for against_, parts in ((tree, 2), (None, 1)):
        told = Told()
        verify(stacked, against_, workers=0, progress=told)
        assert [total for total, _ in told.parts] == [45] * parts
        assert all(sum(count for count, _ in part) == 45 for _, part in told.parts)


@pytest.mark.parametrize("workers", [0, 1])
def test_no_more_is_held_than_the_window(
    stacked: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Memory does not grow with the archive: cells are used again, and nothing is pickled."""
    monkeypatch.setattr(against, "BYTES_IN_TASK", 400_000)
    packed(tree, tmp_path / "packed", "tar")
    for module in (assembly, chunks):
        monkeypatch.setattr(module, "WINDOW", 3)
    spilled: list[str] = []
    add = ArchivedFiles.add

    def noted(contents: ArchivedFiles, name: str, nbytes: int) -> memoryview:
        buffer = add(contents, name, nbytes)
        spilled.extend(contents._own)
        return buffer

    monkeypatch.setattr(ArchivedFiles, "add", noted)
    verdict = verify(stacked, tmp_path / "packed", workers=workers)
    assert (verdict.good, verdict.compared, spilled) == (True, 45, [])


def test_chunks_are_bounded_by_bytes_and_by_patches(archived: Path) -> None:
    def sizes(description: Description, modality: str, *, held: bool) -> set[int]:
        location = Location(None, (Archive((archived,)),)) if held else Location(archived)
        parts = SourceParts({modality: location}, {}, ())
        patch = Patch(modality=modality, key="k", name="k", identity="", values=())
        chunks = list(against._chunking(description, parts).cut([patch] * 400))
        return {len(chunk) for chunk in chunks[:-1]}

    assert sizes(find_description(DATASET), "s2", held=False) == {PATCHES_IN_TASK}
    assert sizes(find_description(DATASET), "map", held=True) == {PATCHES_IN_TASK}
    (found,) = sizes(find_description(DATASET), "s2", held=True)
    assert found < PATCHES_IN_TASK
    assert (found - 1) * 160_000 < BYTES_IN_TASK
    assert sizes(find_description("major-tom-core"), "s2", held=True) == {1}


def test_a_store_of_ones_own_description_is_compared(raw: Path, tmp_path: Path) -> None:
    text = built_in_descriptions()[DATASET].read_text()
    text = re.sub(r'^name = "bigearthnet-v2"', 'name = "mine"', text, flags=re.MULTILINE)
    (tmp_path / "mine.toml").write_text(text)
    packed(raw, tmp_path / "packed")
    mine = str(tmp_path / "mine.toml")
    convert(mine, tmp_path / "packed", tmp_path / "store", workers=0)
    assert verify(tmp_path / "store", tmp_path / "packed", workers=0, dataset=mine).compared == 15


def test_pixels_are_not_decoded_by_the_reader_that_converts(
    stacked: Path, archived: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("the converter's own reader")

    for name in ("read_into", "read_any"):
        monkeypatch.setattr(plain.BandReader, name, refuse)
    assert verify(stacked, archived, workers=0).good
    assert np.prod(open_store(stacked).read(open_store(stacked).keys("s2")[0]).shape) == 172_800


def test_a_link_in_the_archive_is_refused(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "store")
    packed(raw, tmp_path / "packed", "tar")
    parts = entries(raw, members(raw, S2))
    data = ended([*parts[:20], entry("link", kind=tarfile.SYMTYPE), *parts[20:]])
    (tmp_path / "packed" / f"{S2}.tar").write_bytes(data)
    with pytest.raises(SourceError, match="has a link in it"):
        verify(tmp_path / "store", tmp_path / "packed", workers=0)
