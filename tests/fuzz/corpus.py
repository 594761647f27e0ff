"""What is kept of fuzzing: for each target one zip of inputs that between them reach all that was
reached, and a folder of inputs that once found a fault.
"""

import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path

_FOLDER = Path(__file__).with_name("corpus")
_TIME = (2020, 1, 1, 0, 0, 0)  # so that the same inputs are the same zip


def kept(name: str) -> list[bytes]:
    """The inputs kept for a target, those that found a fault last."""
    inputs = []
    path = _FOLDER / f"{name}.zip"
    if path.exists():
        with zipfile.ZipFile(path) as file:
            inputs = [file.read(member) for member in sorted(file.namelist())]
    return inputs + [path.read_bytes() for path in sorted(_FOLDER.glob(f"{name}-*.bin"))]


def keep(name: str, inputs: Iterable[bytes]) -> Path:
    """Replace the zip of a target; gives its path."""
    _FOLDER.mkdir(exist_ok=True)
    path = _FOLDER / f"{name}.zip"
    named = {hashlib.sha256(data).hexdigest()[:16]: data for data in inputs}
    with zipfile.ZipFile(path, "w") as file:
        for member, data in sorted(named.items()):
            info = zipfile.ZipInfo(member, _TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, data)
    return path


def unpack(name: str, seeds: Iterable[bytes], folder: Path) -> None:
    """Write the seeds and what is kept of a target into a folder, each under its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in (*seeds, *kept(name)):
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
