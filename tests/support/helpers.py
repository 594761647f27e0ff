"""What several test modules share: commands, GeoTIFFs written by GDAL, a tiny dataset."""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import warnings
from mmap import mmap
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import lmdb
import numpy as np
import numpy.typing as npt
import pytest
import rasterio
import xxhash
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from patchpress import Report, convert
from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.encoding.frame import ROOM, frame_size
from patchpress.converter.encoding.tiff import Georeference
from patchpress.converter.sources.patch import Patch
from patchpress.converter.storage.writer import ShardWriter
from patchpress.readers.errors import PatchError
from patchpress.readers.format.sealed import DIGEST, seal

Array = npt.NDArray[Any]
DATASET = "bigearthnet-v2"
# In this process alone, and with two more: starting those takes most of a test's time.
WORKERS = (0, pytest.param(2, marks=pytest.mark.slow))
UTM: dict[str, Any] = {
    "crs": "EPSG:32633",
    "transform": Affine(10, 0, 331_200, 0, -10, 5_331_600),
}


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line that a refused command writes, without its prefix."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("patchpress: "), self.err
        return lines[0].removeprefix("patchpress: ")


def python(*words: object, **options: Any) -> Ended:
    """Run the interpreter to its end."""
    done = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, timeout=300, **options
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def python_with_children(*words: object, seconds: float) -> Ended:
    """Run the interpreter and the processes that it starts, to the end of all of them.

    After so many seconds each of them writes where each of its threads stands, and ends; the code
    is that of SIGABRT then.
    """
    # A group over gloo is found by the name of the machine, which may not be known anywhere.
    environment = os.environ | {"PYTHONFAULTHANDLER": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with subprocess.Popen(
        [sys.executable, *map(str, words)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGABRT)
            out, err = process.communicate()
        return Ended(process.returncode, out, err)


def command(*words: object, **options: Any) -> Ended:
    """Run `patchpress` in a process of its own, to its end."""
    return python("-m", "patchpress", *words, **options)


def made(source: Path, store: Path, **options: Any) -> Report:
    """Convert in this process, without others unless the options ask for workers."""
    return convert(DATASET, source, store, **{"workers": 0} | options)


def described() -> Description:
    """The built-in description that most tests convert by."""
    return find_description(DATASET)


def geotiff(path: Path, bands: Array, *, point: bool = False, **options: Any) -> Path:
    """Let GDAL write bands (count, height, width), with options that it knows; gives the path."""
    count, height, width = bands.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width}
    profile |= {"dtype": bands.dtype.name} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile) as file:
            if point:
                file.update_tags(AREA_OR_POINT="Point")
            file.write(bands)
    return path


def by_rasterio(path: Path | str) -> tuple[Array, Georeference | None]:
    """All bands and the georeference, as GDAL reads them: what the tests compare with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            array = file.read()
            if file.transform.is_identity:
                return array, None  # GDAL says so that there is none
            epsg = file.crs.to_epsg() if file.crs else None
            return array, Georeference(epsg, tuple(file.transform[:6]))


def first_band(path: Path) -> Array:
    """``rasterio.open(path).read(1)``, without a warning if the file has no georeference."""
    array: Array = by_rasterio(path)[0][0]
    return array


def band_files(source: Path, modality: str, name: str) -> dict[str, Path]:
    """Band -> file of one patch in a tree of the published form."""
    folder = described().modalities[modality].folder
    (patch,) = (source / folder).glob(f"*/{name}")
    if modality == "map":
        return {"Data": patch / f"{name}_reference_map.tif"}
    names = [band.name for band in described().modalities[modality].bands]
    return {band: patch / f"{name}_{band}.tif" for band in names}


def patches(source: Path, modality: str) -> list[str]:
    """Names of the patches of a tree, sorted."""
    folder = described().modalities[modality].folder
    return sorted(path.name for path in (source / folder).glob("*/*"))


def packed(source: Path, codec: str = "") -> Path:
    """Replace each folder of a tree by an archive of it; gives `source`."""
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        ending, mode = (f".tar.{codec}", f"w:{codec}") if codec else (".tar", "w")
        with tarfile.open(f"{folder}{ending}", mode) as archive:  # type: ignore[call-overload]
            archive.add(folder, folder.name)
        shutil.rmtree(folder)
    return source


# For a program of a test. `ru_maxrss` begins with what the process had that started this one.
PEAK = """
def peak():
    from pathlib import Path

    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) << 10

"""

# Two bands, one of them coarser: the least that shows what stacking does.
TINY = """
[dataset]
name = "tiny"
version = "1"
title = "Tiny"
licence = "none"
url = "none"
citation = "none"

[modalities.a]
title = "A"
kind = "{kind}"
folder = "A"
path = "{group}/{name}/{name}_{band}.tif"
key = "{name}"
bands = [
    { name = "fine", gsd = 10, dtype = "uint16", shape = [12, 12] },
    { name = "coarse", gsd = 20, dtype = "uint16", shape = [6, 6] },
]

[modalities.a.fields]
group = '\\w+'
name = 'p\\d+'
"""


def tiny_dataset(root: Path, groups: dict[str, list[str]], kind: str = "image") -> Path:
    """Write a dataset under `root / "raw"` and its description; gives the description's path."""
    random = np.random.default_rng(7)
    for group, names in groups.items():
        for name in names:
            folder = root / "raw" / "A" / group / name
            folder.mkdir(parents=True)
            for band, size in (("fine", 12), ("coarse", 6)):
                pixels = random.integers(0, 65_536, (1, size, size), np.uint16)
                transform = Affine(120 / size, 0, 0, 0, -120 / size, 120)
                file = folder / f"{name}_{band}.tif"
                geotiff(file, pixels, crs="EPSG:32633", transform=transform)
    path = root / "tiny.toml"
    path.write_text(TINY.replace("{kind}", kind))
    return path


def radar_with_nan(root: Path) -> Path:
    """Make a store of linear radar, 12 x 12 pixels: p1 has a NaN in VV, p2 nothing but NaN."""
    description = tiny_dataset(root, {"g": ["p1", "p2", "p3"]})
    text = description.read_text().replace("uint16", "float32").replace("[6, 6]", "[12, 12]")
    text = text.replace("gsd = 20", "gsd = 10").replace('"fine"', '"VV"').replace("coarse", "VH")
    description.write_text(text)
    random = np.random.default_rng(3)
    for number, name in enumerate(("p1", "p2", "p3")):
        folder = root / "raw" / "A" / "g" / name
        for file in folder.iterdir():
            file.unlink()
        for band in ("VV", "VH"):
            pixels = random.gamma(2, 0.05, (1, 12, 12)).astype(np.float32)
            pixels[:, 5, 7] = np.nan if (number, band) == (0, "VV") else pixels[:, 5, 7]
            pixels[:] = np.nan if number == 1 else pixels
            geotiff(folder / f"{name}_{band}.tif", pixels)
    convert(description, root / "raw", root / "store", nan="keep", workers=0)
    return root / "store"


def folder_bytes(folder: Path) -> dict[str, bytes]:
    """Name -> bytes of all files under a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_sealed(path: Path, content: dict[str, Any]) -> None:
    """Write a manifest or a file of statistics that a test has changed, with its digest."""
    path.write_bytes(seal({name: value for name, value in content.items() if name != DIGEST}))


def stored_values(store: Path) -> dict[str, bytes]:
    """Key -> value of every record, read by lmdb alone, in the order of the keys.

    It reads copies: lmdb opens a path only once in a process, which may be reading the store.
    """
    values: dict[str, bytes] = {}
    for data in list(store.glob("shards/*/data.mdb")) or [store / "data.mdb"]:
        with TemporaryDirectory() as copy:
            shutil.copyfile(data, f"{copy}/data.mdb")
            with (
                lmdb.open(copy, readonly=True, lock=False) as environment,
                environment.begin() as transaction,
            ):
                values |= {bytes(key).decode(): bytes(value) for key, value in transaction.cursor()}
    return dict(sorted(values.items()))


def patch_named(key: str) -> Patch:
    """A patch for tests in which only its name matters."""
    return Patch(modality="a", key=key, name=key, identity="", values=())


def encoded(record: memoryview) -> Encoded:
    """What a worker returns with a record that has neither a georeference nor table values."""
    return Encoded(len(record), xxhash.xxh3_64_intdigest(record), None)


def put(shard: ShardWriter, key: str, record: memoryview) -> Encoded | PatchError:
    """Hand a record to a writer; gives what the writer returns."""
    stored = shard.put(patch_named(key), encoded(record), framed(record))
    shard.flush()
    return stored


def framed(record: memoryview) -> memoryview:
    """A record in memory pages of its own, with room before it, as workers hand it on."""
    memory = memoryview(mmap(-1, frame_size(len(record))))
    memory[ROOM : ROOM + len(record)] = record
    return memory


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid`, but for the resource tracker of multiprocessing.

    It starts with the first process that is spawned, and stays until its parent ends.
    """
    found = []
    for entry in os.listdir("/proc"):
        try:
            stat = Path("/proc", entry, "stat").read_text()
            words = Path("/proc", entry, "cmdline").read_bytes()
        except OSError:
            continue
        if stat.rpartition(")")[2].split()[1] == str(pid) and b"resource_tracker" not in words:
            found.append(int(entry))
    return found


def runs(pid: int) -> bool:
    """Whether a process runs: it is there, and is neither a zombie nor dead."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def processes_gone(processes: list[int], patience: float = 60.0) -> bool:
    """Whether all of these processes end; the kernel may need a moment for that."""
    end = time.monotonic() + patience
    while any(map(runs, processes)) and time.monotonic() < end:
        time.sleep(0.01)
    return not any(map(runs, processes))
