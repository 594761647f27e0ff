"""Libraries in C that a process preloads, built when a test needs one."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest


@cache
def built(name: str, what: str) -> Path:
    """The library of ``NAME.c`` beside this module; the test is skipped where it cannot be built.

    Args:
        name: of the source, without its ending.
        what: what it makes, for the reason of the skip, as in ``a slow disk is made``.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or os.uname().sysname != "Linux":
        pytest.skip(f"{what} by a library that gcc builds, on Linux")
    library = Path(mkdtemp(prefix=f"patchpress-{name}-")) / f"{name}.so"
    source = Path(__file__).with_name(f"{name}.c")
    words = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
    subprocess.run(words, check=True)
    return library
