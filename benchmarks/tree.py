"""The raw tree that all contestants start from: given, or made by tests/support/synthetic.py."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TABLE = "metadata.parquet"
FLAGGED_TABLE = "metadata_for_patches_with_snow_cloud_or_shadow.parquet"


@dataclass(frozen=True)
class RawModality:
    """Where one modality of BigEarthNet v2 lies, and how its files and records are called."""

    name: str
    folder: str
    bands: dict[str, str]  # tensor name -> end of its file's name, in the sensor's order
    key_suffix: str = ""  # what a record's key has after the name of the patch


@dataclass(frozen=True)
class RawPatch:
    """What becomes one record: its key, its modality and its files in band order."""

    key: str
    modality: str
    files: tuple[tuple[str, Path], ...]


S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
MODALITIES = {
    "s2": RawModality("s2", "BigEarthNet-S2", {band: band for band in S2_BANDS}),
    "s1": RawModality("s1", "BigEarthNet-S1", {"VV": "VV", "VH": "VH"}),
    "map": RawModality("map", "Reference_Maps", {"Data": "reference_map"}, "_reference_map"),
}


def find_patches(root: Path, modality: str) -> list[RawPatch]:
    """List one modality's patches, sorted by key; their files are named without a look at them."""
    found = MODALITIES[modality]
    folders = sorted(root.joinpath(found.folder).glob("*/*"), key=lambda folder: folder.name)
    return [
        RawPatch(
            folder.name + found.key_suffix,
            modality,
            tuple((b, folder / f"{folder.name}_{end}.tif") for b, end in found.bands.items()),
        )
        for folder in folders
    ]


def synthetic_tree(out: Path, n: int, seed: int) -> Path:
    """Give a synthetic tree of n + n / 8 patches under ``out``, made unless it is there."""
    root = out / f"tree-{n}-{seed}"
    if not (root / FLAGGED_TABLE).exists():  # the last file to be written
        if root.exists():
            raise SystemExit(f"{root} is not complete: delete it and start again")
        maker = [sys.executable, "-m", "tests.support.synthetic"]
        options = ["--out", str(root.resolve()), "--n", str(n), "--seed", str(seed)]
        subprocess.run([*maker, *options], check=True, cwd=REPOSITORY)
    return root


def warm(path: Path) -> None:
    """Read a file, or every file below a folder, so that it is in the page cache for everyone."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb", buffering=0) as opened:
                while opened.read(1 << 20):
                    pass
