"""The converter without what only Linux has: processes in which these names are not there."""

import os
from pathlib import Path

import pytest

from tests.support.helpers import DATASET, command, folder_bytes, python

WINDOWS = """
import os, sys
sys.modules["resource"] = sys.modules["fcntl"] = None
for name in ("fork", "register_at_fork", "pread", "preadv", "posix_fadvise", "sched_getaffinity"):
    delattr(os, name)
"""
# Libraries ask for the system when they are imported, and are those of this one.
MACOS = """
import asyncio, fcntl, mmap, multiprocessing.context, multiprocessing.util, os, resource, sys
import sysconfig, tempfile, lmdb, numpy, pyarrow, rasterio
sysconfig.get_config_vars()
sys.platform = "darwin"
for module, names in (
    (os, "memfd_create posix_fadvise posix_fallocate O_DIRECT sched_getaffinity copy_file_range"),
    (os, " ".join(name for name in dir(os) if name.startswith(("POSIX_FADV", "RWF_", "SCHED_")))),
    (resource, "RUSAGE_THREAD prlimit"),
    (mmap, "MADV_REMOVE MADV_DONTFORK MADV_HUGEPAGE MAP_POPULATE"),
    (fcntl, "F_OFD_SETLK F_OFD_GETLK F_OFD_SETLKW F_SETPIPE_SZ F_GETPIPE_SZ F_ADD_SEALS"),
):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
"""


def test_on_windows_the_command_ends_in_a_sentence() -> None:
    code = "from patchpress.converter.cli import main; main()"
    ended = python("-c", WINDOWS + code)
    assert (ended.code, ended.out) == (2, "")
    (line,) = ended.err.splitlines()
    assert line.startswith("patchpress: the command needs Linux or macOS (Python's modules fcntl ")
    assert "from patchpress import open_store" in line


def test_on_windows_a_function_that_is_not_there_says_so(native: Path) -> None:
    code = (
        "import patchpress, sys\n"
        "print(len(patchpress.open_store(sys.argv[1])))\n"
        "try: patchpress.convert\n"
        "except ImportError as error: print(error)\n"
    )
    ended = python("-c", WINDOWS + code, native)
    assert ended.code == 0, ended.err
    count, sentence = ended.out.splitlines()
    assert int(count) > 0
    assert sentence.startswith("patchpress.convert needs Python's module ")
    assert "open_store, Samples and the loaders read a store here" in sentence


@pytest.mark.slow
def test_on_windows_loaders_read(native: Path) -> None:
    torch = "try: import torch\nexcept ModuleNotFoundError: torch = None\n"  # has its own Windows
    code = (
        "from patchpress import PatchLoader\n"
        "(batch, *_) = PatchLoader(sys.argv[1], batch_size=2, target=None, output='numpy')\n"
        "print(batch.shape)\n"
        "if torch:\n"
        "    from patchpress import PatchDataset, to_device\n"
        "    PatchDataset(sys.argv[1])[0], next(iter(to_device(PatchLoader(sys.argv[1]), 'cpu')))\n"
    )
    ended = python("-c", torch + WINDOWS + code, native)
    assert (ended.code, ended.out) == (0, "(2, 12, 120, 120)\n"), ended.err


@pytest.mark.slow
def test_without_the_calls_of_linux_a_conversion_gives_the_same_bytes(
    tree: Path, tmp_path: Path
) -> None:
    """Those that macOS lacks are taken away from all processes; macOS itself may differ in more."""
    here = command("convert", DATASET, tree, tmp_path / "here", "--workers", "2")
    assert here.code == 0, here.err
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(MACOS)
    paths = [str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    there = command("convert", DATASET, tree, tmp_path / "there", "--workers", "2",
                    env=environment)  # fmt: skip
    assert (there.code, there.err) == (0, here.err)
    assert folder_bytes(tmp_path / "there") == folder_bytes(tmp_path / "here")
    ended = command("verify", tmp_path / "there", "--against", tree, env=environment)
    assert ended.code == 0, ended.err
