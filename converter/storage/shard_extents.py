"""The extents of a store out of those of its shards: nothing of a data file is read again."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.extents import UNKNOWN, Extents
from patchpress.readers.access.extents_file import read_extents
from patchpress.readers.access.keys import KeysInMemory, joined_names
from patchpress.readers.access.scan import HEADERS_KEPT
from patchpress.readers.errors import StoreDamaged
from patchpress.readers.format.manifest import DATA

Reader = Callable[[Path, list[str]], tuple[Extents | None, str]]


def join_extents(store: Path, shards: list[str], read: Reader = read_extents) -> Extents:
    """Extents of all data files of a store; those of each shard lie beside its data file.

    They are the same that `build` makes of the data files.

    Args:
        store: the folder.
        shards: the paths of the data files in it, in the order of the manifest.
        read: `load_extents` if the data files lie elsewhere, and were compared with them there.

    Raises:
        StoreDamaged: a shard has none, or they are not those of its data file.
    """
    known: dict[bytes, int] = {}
    keys, offset, length, numbers, files = [], [], [], [], []
    for path in shards:
        extents = _extents_of(store / path, read)
        keys.append(extents.keys)
        offset.append(extents.offset)
        length.append(extents.length)
        numbers.append(_numbers_in(known, extents))
        files.append({**extents.files[0], "path": path})
    counts = [len(some) for some in keys]
    shard = np.repeat(np.arange(len(shards), dtype=np.uint16), counts)
    all_keys = joined_names(keys)
    order = np.argsort(all_keys, kind="stable")
    # No key is twice, so this is the same order. Of a large data set a copy takes 100 MB.
    if len(shards) > 1:  # those of one ascend already, and may lie in memory that is not ours
        all_keys.sort()
    return Extents(
        names=KeysInMemory(all_keys),
        shard=shard[order],
        offset=np.concatenate(offset)[order],
        length=np.concatenate(length)[order],
        header_number=np.concatenate(numbers)[order],
        headers=tuple(known),
        files=tuple(files),
    )


def _numbers_in(known: dict[bytes, int], extents: Extents) -> npt.NDArray[np.uint16]:
    """The number of each record's header among those of all shards; new ones become known."""
    for header in extents.headers:
        if header not in known and len(known) < HEADERS_KEPT:
            known[header] = len(known)
    numbers = [known.get(header, UNKNOWN) for header in extents.headers]
    own = np.minimum(extents.header_number.astype(np.int64), len(numbers))
    return np.array([*numbers, UNKNOWN], np.uint16)[own]


def _extents_of(data: Path, read: Reader) -> Extents:
    extents, why = read(data.parent, [DATA])
    if extents is None:
        reason = why or "it has no extents"
        raise StoreDamaged(
            f"{data.parent} is not as its conversion wrote it ({reason}): remove the folder, and "
            "make that shard again"
        )
    return extents
