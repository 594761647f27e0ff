"""Converting the published archive, compared with only unpacking or only decompressing it."""

import filecmp
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.process import Memory, ended, turned, watched
from benchmarks.report import CaseTable
from benchmarks.tree import FLAGGED_TABLE, MODALITIES, TABLE, find_patches, warm

PATCHPRESS = "Patchpress, {layout} store from the archive"
UNPACK, NOWHERE = "tar, unpacking it", "zstd -dc to nowhere"
NOTES = (
    "BigEarthNet-S2.tar.zst of the tree, packed as published: GNU tar, files only, sorted, zstd -6."
    " It is in the page cache. Medians; contestants take turns.",
    "Each run is a fresh process. Two times are given: until it ended, and until `sync` had written"
    " what was left. Ratios are of the second time; of zstd, which writes nothing, of the first.",
    "Compared first: the stores' files are byte for byte those made from the folders, and what tar"
    " unpacked is byte for byte the tree.",
)  # fmt: skip


@dataclass(frozen=True)
class ArchiveTrial:
    """One contestant's runs on the archive."""

    name: str
    patches: int
    ended: tuple[float, ...]
    """Seconds until the process had ended."""
    on_disk: tuple[float, ...]
    """Seconds until all it wrote was on the disk."""
    memory: Memory


def run(tree: Path, out: Path, workers: int, rounds: int) -> CaseTable:
    """Pack Sentinel-2, compare what all make of it, then time them in turns."""
    for program in ("tar", "zstd"):
        if shutil.which(program) is None:
            raise SystemExit(f"the case archive needs the program {program}: install it")
    packed = pack(tree, out / "archives")
    archive = packed / f"{MODALITIES['s2'].folder}.tar.zst"
    work = out / "from-archive"
    contestants = {
        PATCHPRESS.format(layout=layout): convert_command(packed, work / layout, layout, workers)
        for layout in ("stacked", "native")
    }
    contestants[UNPACK] = ["tar", "-C", str(work / "tar"), "-xf", str(archive)]
    contestants[NOWHERE] = ["sh", "-c", f"exec zstd -dcq '{archive}' > /dev/null"]
    warm(tree)
    warm(archive)
    clear(work)
    memory = {name: watched(command) for name, command in contestants.items()}
    assert_equal(tree, work, workers)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    names = list(contestants)
    for turn in range(rounds):
        for name in turned(names, turn):
            clear(work)
            warm(archive)
            times[name].append(ended(contestants[name]))
    shutil.rmtree(work)
    patches = len(find_patches(tree, "s2"))
    trials = []
    for name in names:
        until_ended, until_on_disk = zip(*times[name], strict=True)
        trials.append(ArchiveTrial(name, patches, until_ended, until_on_disk, memory[name]))
    title = f"Converting the archive of {patches} patches (s2), {workers} workers"
    head = ("contestant", "patches/s", "s until ended", "s until on disk, best - worst", "PSS")
    rows = tuple(row(trial) for trial in trials)
    return CaseTable("archive", title, NOTES, head, rows, tuple(asdict(t) for t in trials))


def row(trial: ArchiveTrial) -> tuple[str, ...]:
    """Give one line of the table."""
    return (
        trial.name,
        f"{trial.patches / median(trial.on_disk):,.0f}",
        f"{median(trial.ended):.2f}",
        f"{median(trial.on_disk):.2f}, {min(trial.on_disk):.2f} - {max(trial.on_disk):.2f}",
        f"{trial.memory.pss / 1e6:,.0f} MB",
    )


def convert_command(source: Path, store: Path, layout: str, workers: int) -> list[str]:
    """Give the command that makes a store of Sentinel-2."""
    return [
        sys.executable, "-m", "patchpress", "convert", "bigearthnet-v2", str(source), str(store),
        "--modality", "s2", "--layout", layout, "--workers", str(workers),
    ]  # fmt: skip


def pack(
    tree: Path, folder: Path, modality: str = "s2", patches: Collection[str] | None = None
) -> Path:
    """Pack a modality of a tree as it is published, unless it is packed; give the folder.

    With `patches`, only folders of these names are packed.
    """
    name = MODALITIES[modality].folder
    files = sorted(
        str(path.relative_to(tree))
        for path in (tree / name).rglob("*.tif")
        if patches is None or path.parent.name in patches
    )
    stamp = f"{tree.resolve()} {len(files)}\n"
    noted = folder / f"{name}.txt"
    if noted.exists() and noted.read_text() == stamp:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for table in (TABLE, FLAGGED_TABLE):
        shutil.copyfile(tree / table, folder / table)
    tar = [
        "tar", "-C", str(tree), "--format=gnu", "--no-recursion", "--owner=0", "--group=0",
        "--numeric-owner", "--mtime=2024-01-01 00:00:00Z", "--null", "-T", "-", "-cf", "-",
    ]  # fmt: skip
    target = folder / f"{name}.tar.zst"
    with (
        subprocess.Popen(tar, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as packing,
        subprocess.Popen(
            ["zstd", "-q", "-6", "-f", "-o", str(target)], stdin=packing.stdout
        ) as pressing,
    ):
        assert packing.stdin is not None
        packing.stdin.write("\0".join(files).encode())
        packing.stdin.close()
    if packing.returncode or pressing.returncode:
        raise SystemExit(f"{target} could not be packed")
    noted.write_text(stamp)
    return folder


def clear(work: Path) -> None:
    """Empty the folder that contestants write to."""
    shutil.rmtree(work, ignore_errors=True)
    (work / "tar").mkdir(parents=True)


def assert_equal(tree: Path, work: Path, workers: int) -> None:
    """Assert that all have made the same of the archive as is made of the folders."""
    for layout in ("stacked", "native"):
        store = work / f"{layout}-of-folders"
        watched(convert_command(tree, store, layout, workers))
        same_files(store, work / layout, sorted(os.listdir(store)))
    name = MODALITIES["s2"].folder
    files = sorted(str(path.relative_to(tree)) for path in (tree / name).rglob("*.tif"))
    same_files(tree, work / "tar", files)


def same_files(one: Path, other: Path, names: Sequence[str]) -> None:
    """Assert that files are in both folders, with the same bytes."""
    _, mismatch, errors = filecmp.cmpfiles(one, other, names, shallow=False)
    assert not mismatch, f"{other} differs in {mismatch[0]}"
    assert not errors, f"{other} lacks {errors[0]}"
