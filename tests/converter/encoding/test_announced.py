"""Patches whose files are announced to the disk before they are read: the same stores and words.

Whether files wait depends on the page cache; here the state of waiting ones is set from outside.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from patchpress import convert, verify
from patchpress.converter import side_by_side
from patchpress.converter.side_by_side import SideBySide
from patchpress.converter.sources.files import DiskFiles
from patchpress.converter.sources.opener import MOST_ANNOUNCED, PatchOpener
from patchpress.converter.sources.patch import Patch
from patchpress.converter.sources.zip_directory import ZipDirectory
from patchpress.converter.sources.zip_files import ZippedArchive, ZippedFiles
from patchpress.converter.waiting import Waiting
from patchpress.readers.errors import PatchError
from tests.support.dated import described, write_optical, write_radar
from tests.support.helpers import DATASET, folder_bytes, patches
from tests.support.older_sets import make_sen12ms, make_v1
from tests.support.synthetic import Row
from tests.support.zipping import zipped

MakeTree = Callable[[tuple[Path, list[Row]], Path], tuple[str | Path, Path]]
PLACES = {"a1": ("20200105", "20200403"), "b2": ("20200704",)}


def v2(made_tree: tuple[Path, list[Row]], root: Path) -> tuple[str | Path, Path]:
    return DATASET, made_tree[0]


def v2_damaged(made_tree: tuple[Path, list[Row]], root: Path) -> tuple[str | Path, Path]:
    """A band that is missing, one that is cut, one that is a pipe, one too many."""
    tree = Path(shutil.copytree(made_tree[0], root / "raw"))
    missing, cut, pipe, many = patches(tree, "s2")[::4][:4]
    files = {name: next(tree.glob(f"*/*/{name}/{name}_B03.tif")) for name in (missing, cut, pipe)}
    files[missing].unlink()
    os.truncate(files[cut], 300)
    files[pipe].unlink()
    os.mkfifo(files[pipe])
    folder = next(tree.glob(f"BigEarthNet-S2/*/{many}"))
    shutil.copy(folder / f"{many}_B02.tif", folder / f"{many}_B13.tif")
    return DATASET, tree


def v2_zipped(made_tree: tuple[Path, list[Row]], root: Path) -> tuple[str | Path, Path]:
    return DATASET, zipped(made_tree[0], root / "zips")


def v1(made_tree: tuple[Path, list[Row]], root: Path) -> tuple[str | Path, Path]:
    return "bigearthnet-v1", make_v1(root / "v1", *made_tree)


def flat(made_tree: tuple[Path, list[Row]], root: Path) -> tuple[str | Path, Path]:
    make_sen12ms(root / "flat")
    return "sen12ms", root / "flat"


def dated(made_tree: tuple[Path, list[Row]], root: Path) -> tuple[str | Path, Path]:
    write_optical(root / "dated", PLACES)
    write_radar(root / "dated", PLACES)
    return described(root), root / "dated"


@contextmanager
def announcing() -> Iterator[list[Patch]]:
    """Every item but the first of each process is announced; gives those that were."""
    told = list[Patch]()
    real, announce = SideBySide.__init__, PatchOpener.announce

    def begin(self: Any, *words: Any) -> None:
        real(self, *words)
        self._most, self._how = 32, side_by_side._How.AHEAD
        self._until_trial = 1 << 30

    def noted(self: PatchOpener, patch: Patch, names: Any, nbytes: int) -> None:
        told.append(patch)
        announce(self, patch, names, nbytes)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SideBySide, "__init__", begin)
        patched.setattr(Waiting, "often", lambda self, times: False)
        patched.setattr(PatchOpener, "announce", noted)
        yield told


def opened(root: Path) -> int:
    """How many files and folders of a tree this process has open."""
    paths = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    return sum(path == str(root) or path.startswith(f"{root}/") for path in paths)


@pytest.mark.parametrize("tree", [v2, v2_damaged, v2_zipped, v1, flat, dated])
def test_stores_and_words_are_the_same(
    made_tree: tuple[Path, list[Row]], tmp_path: Path, tree: MakeTree
) -> None:
    dataset, source = tree(made_tree, tmp_path)
    stores, reports, findings = [tmp_path / "alone", tmp_path / "announced"], [], []
    for store in stores:
        options = {"workers": 0, "on_error": "skip", "layout": "native"}
        if store is stores[0]:
            reports.append(convert(dataset, source, store, **options))  # type: ignore[arg-type]
            findings.append(verify(store, against=source, dataset=dataset, workers=0))
            continue
        with announcing() as told:
            reports.append(convert(dataset, source, store, **options))  # type: ignore[arg-type]
        records = sum(reports[1].records.values())
        assert len(told) >= records - len(reports[1].records)
        with announcing() as told:
            findings.append(verify(store, against=source, dataset=dataset, workers=0))
        assert len(told) >= records - len(reports[1].records)
        assert opened(source) <= 3 * (tree is v2_zipped)  # archives stay open
    assert folder_bytes(stores[0]) == folder_bytes(stores[1])
    one, other = ({**vars(report), "seconds": 0, "store": ""} for report in reports)
    assert one == other
    assert len(reports[0].skipped) == (4 if tree is v2_damaged else 0)
    one, other = (vars(found) for found in findings)
    assert str(one).replace("alone", "announced") == str(other)


def test_files_are_opened_once_and_closed(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode() * 9)
    opener, into = PatchOpener(), bytearray(9)
    patch = Patch(modality="m", key="k", name="n", identity="i", folder=str(tmp_path), before="a")
    opener.announce(patch, ["a", "b", "a", "nowhere"], 9)
    opener.announce(patch, ["a", "b"], 9)  # is open already
    assert opened(tmp_path) == 3
    files = opener(patch)
    (tmp_path / "a").unlink()  # it is open
    assert files.readv("a", [into]) == 9
    assert bytes(into) == b"a" * 9
    assert files.read("c") == b"c" * 9
    with pytest.raises(PatchError, match="nowhere cannot be read"):
        files.read("nowhere")
    files.close()
    assert opened(tmp_path) == 0
    opener.announce(patch, ["b", "c"], 9)
    opener.forget()
    assert opened(tmp_path) == 0
    files = opener(patch)
    with pytest.raises(PatchError, match="a cannot be read"):
        files.read("a")
    files.close()


def test_a_patch_of_many_files_holds_few_of_them_open(tmp_path: Path) -> None:
    names = [f"{number:03}" for number in range(3 * MOST_ANNOUNCED)]
    for name in names:
        (tmp_path / name).write_text(name)
    opener = PatchOpener()
    patch = Patch(modality="m", key="k", name="n", identity="i", folder=str(tmp_path))
    opener.announce(patch, names, 9)
    assert opened(tmp_path) == MOST_ANNOUNCED
    files = opener(patch)
    assert [files.read(name).decode() for name in names] == names
    files.close()
    assert opened(tmp_path) == 0


@pytest.mark.parametrize(("files", "announced"), [(1, 8), (2, 5), (7, 2), (15, 1), (30, 1)])
def test_a_place_of_many_acquisitions_holds_few_files_open(
    tmp_path: Path, files: int, announced: int
) -> None:
    names = [str(number) for number in range(files)]
    dates = []
    for number in range(12):
        folder = tmp_path / f"date {number}"
        folder.mkdir()
        for name in names:
            (folder / name).write_text(f"{number} {name}")
        dates.append(
            Patch(
                modality="m",
                key="k",
                name="n",
                identity="i",
                folder=str(folder),
                before=str(number),
            )
        )
    opener = PatchOpener()
    opener.announce_all(dates, lambda patch: names, 9)
    assert opened(tmp_path) == announced * min(1 + files, MOST_ANNOUNCED) <= MOST_ANNOUNCED
    for number, patch in enumerate(dates):
        of_date = opener(patch)
        assert [of_date.read(name).decode() for name in names] == [f"{number} {n}" for n in names]
        of_date.close()
    assert opened(tmp_path) == 0


def test_a_folder_that_is_not_there_is_told_by_who_reads_it(tmp_path: Path) -> None:
    opener = PatchOpener()
    nowhere = str(tmp_path / "nowhere")
    patch = Patch(modality="m", key="k", name="n", identity="i", folder=nowhere)
    opener.announce(patch, ["a"], 9)
    with pytest.raises(PatchError, match="nowhere cannot be opened"):
        opener(patch)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system takes no advice")
@pytest.mark.parametrize("kind", ["folder", "zip", "split zip"])
def test_the_disk_is_told_of_every_byte(
    made_tree: tuple[Path, list[Row]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """Of a file in a zip also of its local header; and of little besides."""
    tree, told = made_tree[0], list[tuple[str, int, int]]()
    real = os.posix_fadvise

    def advise(fd: int, at: int, nbytes: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED
        told.append((os.readlink(f"/proc/self/fd/{fd}"), at, nbytes))
        real(fd, at, nbytes, advice)

    monkeypatch.setattr(os, "posix_fadvise", advise)
    if kind == "folder":
        folder = next(tree.glob("BigEarthNet-S2/*/*"))
        names = sorted(os.listdir(folder))
        largest = max(path.stat().st_size for path in folder.iterdir())
        for step in (1 << 20, 4096):  # a disk that takes little at once is told again
            files = DiskFiles(str(folder))
            files.announce(names, largest, step)
            files.close()
            assert max(nbytes for _, _, nbytes in told) == min(step, largest)
            ends = {str(folder / name): 0 for name in names}
            for path, at, nbytes in told:
                assert at == ends[path]
                ends[path] += nbytes
            assert set(ends.values()) == {largest}
            told.clear()
        return
    archive = zipped(tree, tmp_path / "zips") / "BigEarthNet-S2.zip"
    parts, begins, whole = [archive], [0], archive.read_bytes()
    directory = ZipDirectory([str(archive)])
    found = list(directory.folders())[3]
    places = directory.places[found.start : found.start + len(found.names)]
    if kind == "split zip":  # in the middle of a file of it
        cut = int(places["offset"][5]) + 100
        parts, begins = [tmp_path / "x.001", tmp_path / "x.002"], [0, cut]
        parts[0].write_bytes(whole[:cut])
        parts[1].write_bytes(whole[cut:])
        directory = ZipDirectory([str(path) for path in parts])
    packed = ZippedArchive(directory.files, directory.identity)
    ZippedFiles(packed, tuple(found.names), places.tobytes()).announce()
    covered = set[int]()
    for path, at, nbytes in told:
        start = begins[parts.index(Path(path))] + at
        covered |= set(range(start, start + nbytes))
    wanted = set[int]()
    for place in places.tolist():
        offset, nbytes = place[0], place[1]
        wanted |= set(range(offset, offset + 30 + place[5] + nbytes))
    assert wanted <= covered
    assert len(covered) < 1.1 * len(wanted)
    assert len(told) == len(parts)
