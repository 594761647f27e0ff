"""A copy of many records takes little more memory than what tells of them."""

from pathlib import Path

import lmdb
import numpy as np
import pytest

from patchpress import index
from patchpress.readers.format.record import encode
from tests.support.helpers import PEAK, python

pytestmark = pytest.mark.slow

ROWS = 60_000
MOST = 420
"""Bytes a record that the process may take: its key, its place and its row, for a moment twice."""
DESCRIPTION = r"""
[dataset]
name = "tiny"
version = "1"
title = "Two modalities of one pixel"
licence = "-"
url = "-"
citation = "-"

[modalities.a]
title = "A"
kind = "image"
folder = "A"
path = "{name}_a/{name}_a_{band}.tif"
key = "{name}_a"
fields = { name = 'S2.+_\d{6}' }
bands = [{ name = "B02", gsd = 10, dtype = "uint16", shape = [1, 1] }]

[modalities.b]
title = "B"
kind = "image"
folder = "B"
path = "{name}_b/{name}_b_{band}.tif"
key = "{name}_b"
fields = { name = 'S2.+_\d{6}' }
bands = [{ name = "VV", gsd = 10, dtype = "float32", shape = [1, 1] }]
"""
PROGRAM = (
    "import patchpress.converter.startup\nimport sys\n"
    + PEAK
    + """
from patchpress import copy_store
from patchpress.converter.allocation import note_command

note_command()
few, many, out, wishes = sys.argv[1:]
copy_store(few, out + "-few", **eval(wishes))
before = peak()
copied = copy_store(many, out, **eval(wishes))
print(copied.manifest.records, peak() - before)
"""
)


def made_of(folder: Path, rows: int) -> Path:
    """A store of so many rows with both modalities, and names as long as those of Sentinel-2."""
    store = folder / f"{rows}"
    store.mkdir()
    (folder / "tiny.toml").write_text(DESCRIPTION)
    a = encode({"B02": np.full((1, 1), 7, np.uint16)})
    b = encode({"VV": np.full((1, 1), 7, np.float32)})
    with (
        lmdb.open(str(store), map_size=1 << 28, lock=False) as environment,
        environment.begin(write=True) as transaction,
    ):
        for number in range(rows):
            name = f"S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_{number:06}"
            transaction.put(f"{name}_a".encode(), a, append=True)
            transaction.put(f"{name}_b".encode(), b, append=True)
    index(store, folder / "tiny.toml")
    return store


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("memory")
    return made_of(folder, 100), made_of(folder, ROWS)


@pytest.mark.parametrize("wishes", ["{}", "{'fraction': 0.9}", "{'shards': 4}"])
def test_a_copy_of_many_records(both: tuple[Path, Path], tmp_path: Path, wishes: str) -> None:
    done = python("-c", PROGRAM, *both, tmp_path / "out", wishes)
    assert done.code == 0, done.err
    records, taken = map(int, done.out.split())
    assert records >= ROWS
    assert taken < MOST * records, f"{taken / records:.0f} bytes a record"
