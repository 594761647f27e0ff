"""What the numbers depend on: machine, file system, versions."""

import importlib.metadata
import os
import platform
from pathlib import Path

DISTRIBUTIONS = (
    "numpy", "lmdb", "safetensors", "zstandard", "rasterio", "imagecodecs", "pyarrow", "torch",
)  # fmt: skip


def machine(folder: Path) -> dict[str, str]:
    """Describe the machine, and the file system that a folder is on; no host name, no path."""
    return {
        "cpu": field("/proc/cpuinfo", "model name"),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(field('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "filesystem": filesystem(folder),
        "load before": f"{os.getloadavg()[0]:.2f}",  # others at work spoil every number
    }


def versions() -> dict[str, str]:
    """Give the versions of Python and of every library that a contestant may use."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def field(path: str, name: str) -> str:
    """Give the first value of a ``name : value`` line, or "unknown"."""
    for line in Path(path).read_text().splitlines():
        label, _, value = line.partition(":")
        if label.strip() == name:
            return value.strip()
    return "unknown"


def filesystem(folder: Path) -> str:
    """Give the type of the file system that a folder is on, such as ext4."""
    best, kind = -1, "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, this, *_ = line.split()
        if folder.resolve().is_relative_to(mount) and len(mount) >= best:
            best, kind = len(mount), this
    return kind
