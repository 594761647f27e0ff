"""Reading without what only Linux has: by a process in which these names are not there."""

import shutil
from pathlib import Path

import pytest

from tests.support.helpers import python

READ = """
import hashlib, mmap, os, pickle, sys, warnings

def without(module, *names):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)

system = sys.argv[1]
if system != "linux":
    advice = [name for name in dir(os) if name.startswith(("POSIX_FADV", "RWF_"))]
    without(os, "posix_fadvise", "preadv", "sched_getaffinity", *advice)
if system == "windows":
    sys.modules["resource"] = sys.modules["fcntl"] = None
    without(os, "pread", "register_at_fork", "O_CLOEXEC", "O_DIRECT", "fork")
    mapped = [name for name in dir(mmap) if name.startswith(("MADV_", "MAP_", "PROT_"))]
    without(mmap, *mapped)
elif system == "macos":
    import resource
    without(resource, "RUSAGE_THREAD")

from patchpress import open_store

for mode in ("auto", "map", "direct"):
    for readahead in (False, True):
        if mode != "auto" and not os.path.exists(sys.argv[2] + "/extents.safetensors"):
            continue
        store = open_store(sys.argv[2], mode=mode, readahead=readahead)
        found = hashlib.sha256()
        for modality in ("s2", "s1", "map"):
            keys = store.keys(modality)
            bands = [None, store.manifest.modalities[modality].band_names[::-1][:3]]
            for names in bands:
                records = store.records(keys, names)
                records.announce(range(len(keys)))
                found.update(store.read_batch(keys, names))
                found.update(records.read([3, 1]))
                found.update(store.read(keys[0], names))
            found.update(*store.read_bands(keys[2], keys and names[:1]).values())
            assert keys[0] in store and "none" not in store
        assert len(pickle.loads(pickle.dumps(store))) == len(store)
        print(found.hexdigest())
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", [("native", "none"), ("stacked", "none"), ("native", "zstd")])
@pytest.mark.parametrize("with_extents", [True, False], ids=["extents", "lmdb"])
def test_every_system_reads_the_same(
    stores: dict[tuple[str, str], Path],
    bare_stores: dict[tuple[str, str], Path],
    kind: tuple[str, str],
    with_extents: bool,
) -> None:
    path = (stores if with_extents else bare_stores)[kind]
    expected = python("-c", READ, "linux", path)
    assert expected.code == 0, expected.err
    assert len(set(expected.out.split())) == 1
    for system in ("macos", "windows"):
        assert python("-W", "error", "-c", READ, system, path) == expected, system


CUT = (
    READ.split("for mode in")[0]
    + """
import shutil
store = open_store(sys.argv[2], mode="direct")
keys = store.keys("s2")
store.read_batch(keys)
os.truncate(sys.argv[2] + "/data.mdb", os.path.getsize(sys.argv[2] + "/data.mdb") // 2)
try:
    store.read_batch(keys)
except ValueError as error:
    print(error)
"""
)


def test_a_cut_file_is_damaged_without_preadv_too(native: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(native, tmp_path / "store")
    ended = python("-c", CUT, "windows", copy)
    assert "was cut since it was opened" in ended.out, ended.err
