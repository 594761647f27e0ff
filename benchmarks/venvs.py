"""Environments for peers: one for each file of benchmarks/environments, below the output folder.

A file lists every package of its environment with its version, and nothing else is installed: no
peer can pull in another torch or the clients of five clouds.
"""

import subprocess
import sys
from pathlib import Path

from benchmarks.adapters.protocol import OWN

FILES = Path(__file__).resolve().parent / "environments"
TORCH = "torch==2.13.0"  # installed first and alone: no peer may bring another build


def names() -> list[str]:
    """List the environments that there are files for."""
    return sorted(file.stem for file in FILES.glob("*.txt"))


def python_of(environment: str, out: Path) -> str | None:
    """Give the Python of an environment, or None if it has not been made."""
    if environment == OWN:
        return sys.executable
    python = folder_of(environment, out) / "bin" / "python"
    return str(python) if python.exists() and finished(environment, out) else None


def folder_of(environment: str, out: Path) -> Path:
    """Say where an environment is."""
    return out / "environments" / environment


def finished(environment: str, out: Path) -> bool:
    """Say whether an environment was made, and from the file as it is now."""
    made = folder_of(environment, out) / "made-from.txt"
    wanted = (FILES / f"{environment}.txt").read_text()
    return made.exists() and made.read_text() == wanted


def make_all(out: Path, python: str) -> bool:
    """Make all environments that are not there; say of each how it ended."""
    made = [make(name, out, python) for name in names()]  # a list: each is tried
    return all(made)


def make(environment: str, out: Path, python: str) -> bool:
    """Make one with a Python, anew unless it is finished."""
    if finished(environment, out):
        print(f"{environment}: already made", flush=True)
        return True
    print(f"{environment}: being made", flush=True)
    folder = folder_of(environment, out)
    file = FILES / f"{environment}.txt"
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    steps = (
        [python, "-m", "venv", "--clear", str(folder)],
        [*pip, TORCH],
        [*pip, "--no-deps", "--requirement", str(file)],
    )
    for step in steps:
        status = subprocess.run(step, check=False).returncode
        if status:
            print(f"{environment}: not made, status {status} of {' '.join(step)}", flush=True)
            return False
    (folder / "made-from.txt").write_text(file.read_text())
    print(f"{environment}: made", flush=True)
    return True
