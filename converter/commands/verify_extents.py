"""The extents beside a store against its data file."""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from patchpress.converter.commands.verify_files import VerifiedFiles
from patchpress.converter.text import first_few
from patchpress.readers.access.extents import Extents
from patchpress.readers.access.extents_file import load_extents, read_extents
from patchpress.readers.access.scan import HeaderList, build
from patchpress.readers.errors import StoreDamaged
from patchpress.readers.store import Store


def extents_problems(
    store: Store,
    headers: HeaderList | None,
    others: Collection[bytes] = (),
    opened: VerifiedFiles | None = None,
) -> list[str]:
    """A sentence if the extents say something else than the data file; none if there are none.

    `headers` are those of the records, as they were read, or None: then they are read again.
    `others` are keys of no records. `opened` are the data files of a store at a URL.
    """
    if store.manifest.in_archives:
        return []  # it has none: its index was compared when it was opened
    files = [shard.path for shard in store.manifest.shards]
    again = f"run `patchpress index {store.path}`"
    opens = None
    if opened is None:
        extents, reason = read_extents(store.path, files)
    else:
        again = "run `patchpress index` on a copy of the store, and put that file there"
        extents, reason = load_extents(store.path, files)
        numbers = {name: number for number, name in enumerate(files)}
        opens = lambda name: opened.open(numbers[name]).file  # noqa: E731
    if extents is None:
        # What shows when a store is opened was told then.
        return [f"{reason}: {again}"] if reason and store.has_extents else []
    try:
        fresh = build(store.path, files, headers, without=others, opens=opens)
    except StoreDamaged as error:
        return [str(error)]
    if len(fresh) != len(extents):
        return [f"the extents have {len(extents):,} of {len(fresh):,} records: {again}"]
    differs = (
        (extents.keys != fresh.keys)
        | (_headers_of(extents) != _headers_of(fresh))
        | (extents.shard != fresh.shard)
        | (extents.offset != fresh.offset)
        | (extents.length != fresh.length)
    )
    positions = np.flatnonzero(differs).tolist()
    if not positions:
        return []
    shown = first_few([fresh.key(position) for position in positions[:4]])
    return [f"the extents are wrong about {len(positions):,} records ({shown}): {again}"]


def _headers_of(extents: Extents) -> npt.NDArray[np.object_]:
    """The header that each record begins with; None if the record itself must be asked."""
    known = np.array([*extents.headers, None], object)
    return known[np.minimum(extents.header_number, len(extents.headers))]
