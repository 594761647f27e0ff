"""What another program reads of an export, in a process of its own.

Such programs leave shared memory, modules and settings behind, which other tests would meet.
"""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.helpers import python

ROOT = Path(__file__).resolve().parents[2]
Samples = list[dict[str, Any]]

_CHILD = """
import json, sys
import numpy as np
{reader}
plain, arrays = {{}}, {{}}
for name, folder in json.loads(sys.argv[1]).items():
    listed = plain[name] = []
    for number, sample in enumerate(samples(folder)):
        listed.append({{}})
        for column, value in sample.items():
            if hasattr(value, "numpy"):
                value = value.numpy()
            if isinstance(value, (np.ndarray, np.generic)):
                arrays[f"{{name}}|{{number}}|{{column}}"] = value
            else:
                listed[-1][column] = value
np.savez(sys.argv[2] + ".npz", **arrays)
with open(sys.argv[2] + ".json", "w") as file:
    json.dump(plain, file)
"""


def samples_read(
    reader: str, folders: Mapping[str, Path], out: Path, needs: Mapping[str, str]
) -> dict[str, Samples]:
    """Let another program read folders; gives the samples of each by its name.

    Args:
        reader: source of a function `samples(folder)` that gives dicts.
        folders: what it reads.
        out: a file to be written on the way, without ending.
        needs: module -> distribution; the test is skipped if one is not installed.
    """
    for module, distribution in needs.items():
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{distribution} is not installed: make neighbours")
    names = json.dumps({name: str(folder) for name, folder in folders.items()})
    ended = python("-c", _CHILD.format(reader=reader), names, out, cwd=ROOT)
    assert ended.code == 0, ended.err
    found: dict[str, Samples] = json.loads(Path(f"{out}.json").read_bytes())
    with np.load(f"{out}.npz") as arrays:
        for place in arrays.files:
            name, number, column = place.split("|")
            found[name][int(number)][column] = arrays[place]
    return found
