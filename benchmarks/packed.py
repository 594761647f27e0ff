"""The same patches from warm folders, zips and tar archives: how fast each becomes a store."""

import os
import shutil
import subprocess
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmarks.archive import convert_command, pack, same_files
from benchmarks.process import ended, turned, watched
from benchmarks.report import CaseTable
from benchmarks.tree import FLAGGED_TABLE, MODALITIES, TABLE, find_patches, warm

FOLDERS, STORED, DEFLATED = "warm folders", "a zip, stored", "a zip, Deflate"
TAR, ZSTD = "a tar", "a .tar.zst"
NOTES = (
    "Sentinel-2 of the tree, native layout. The files are in the page cache in whatever form."
    " Medians; contestants take turns, each in a fresh process.",
    "Two times are given: until the command ended, and until `sync` had written what was left.",
    "Compared first: all files of all stores, byte for byte.",
)  # fmt: skip


@dataclass(frozen=True)
class PackedTrial:
    """The runs of one form of the source."""

    name: str
    patches: int
    ended: tuple[float, ...]
    """Seconds until the command had ended."""
    on_disk: tuple[float, ...]
    """Seconds until all it wrote was on the disk."""


def run(tree: Path, out: Path, workers: int, rounds: int) -> CaseTable:
    """Pack Sentinel-2 in each way, compare the stores, then time them in turns."""
    sources = {
        FOLDERS: tree,
        STORED: zipped(tree, out / "zip-stored", zipfile.ZIP_STORED),
        DEFLATED: zipped(tree, out / "zip-deflate", zipfile.ZIP_DEFLATED),
        ZSTD: pack(tree, out / "archives"),
    }
    sources[TAR] = unfolded(sources[ZSTD], out / "tar")
    work = out / "from-packed"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    commands = {
        name: convert_command(source, work / f"{number}.store", "native", workers)
        for number, (name, source) in enumerate(sources.items())
    }
    for name, source in sources.items():
        warm(source)
        watched(commands[name])
    for number in range(1, len(sources)):
        same_files(work / "0.store", work / f"{number}.store", sorted(os.listdir(work / "0.store")))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sources}
    names = list(sources)
    for turn in range(rounds):
        for name in turned(names, turn):
            shutil.rmtree(work)
            work.mkdir()
            warm(sources[name])
            times[name].append(ended(commands[name]))
    shutil.rmtree(work)
    patches = len(find_patches(tree, "s2"))
    trials = [PackedTrial(name, patches, *zip(*times[name], strict=True)) for name in names]
    title = f"Converting {patches} patches (s2) in each form, {workers} workers"
    head = ("source", "patches/s", "s until ended", "s until on disk, best - worst")
    rows = tuple(row(trial) for trial in trials)
    return CaseTable("packed", title, NOTES, head, rows, tuple(asdict(t) for t in trials))


def row(trial: PackedTrial) -> tuple[str, ...]:
    """Give one line of the table."""
    return (
        trial.name,
        f"{trial.patches / median(trial.on_disk):,.0f}",
        f"{median(trial.ended):.2f}",
        f"{median(trial.on_disk):.2f}, {min(trial.on_disk):.2f} - {max(trial.on_disk):.2f}",
    )


def zipped(tree: Path, folder: Path, method: int) -> Path:
    """Pack Sentinel-2 of a tree as one zip, unless it is packed; give the folder."""
    name = MODALITIES["s2"].folder
    files = sorted(str(path.relative_to(tree)) for path in (tree / name).rglob("*.tif"))
    stamp = f"{tree.resolve()} {len(files)}\n"
    noted = folder / f"{name}.txt"
    if noted.exists() and noted.read_text() == stamp:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for table in (TABLE, FLAGGED_TABLE):
        shutil.copyfile(tree / table, folder / table)
    with zipfile.ZipFile(folder / f"{name}.zip", "w", method) as archive:
        for file in files:
            archive.writestr(zipfile.ZipInfo(file), (tree / file).read_bytes(), method)
    noted.write_text(stamp)
    return folder


def unfolded(packed: Path, folder: Path) -> Path:
    """The same archive, no longer compressed; gives its folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for table in (TABLE, FLAGGED_TABLE):
        shutil.copyfile(packed / table, folder / table)
    archive = f"{MODALITIES['s2'].folder}.tar"
    subprocess.run(
        ["zstd", "-dq", str(packed / f"{archive}.zst"), "-o", str(folder / archive)], check=True
    )
    return folder
