"""`merge` of several stores: one store with the records and rows of all of them."""

import os
from collections.abc import Sequence

from patchpress.converter.allocation import large_blocks_given_back
from patchpress.converter.commands.copied import Copied, write_copy
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.progress import Progress
from patchpress.converter.transfer.joining import plan_merge
from patchpress.converter.transfer.plan import check_shards
from patchpress.converter.transfer.source_store import SourceStore
from patchpress.readers.errors import OptionError


def merge_stores(
    stores: Sequence[StrPath],
    out: StrPath,
    *,
    shards: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Copied:
    """Join stores of one dataset to a new store.

    They may have different patches, or different modalities of the same patches. What is stored
    alike in two of them is stored once. If it is interrupted, the same call goes on.

    Args:
        stores: folders of the stores.
        out: folder to write.
        shards: how many data files; 0 for one ``data.mdb``, None for as many as each store has, or
            one if these differ.
        overwrite: replace a finished store.
        progress: told of each chunk of records.

    Raises:
        OptionError: the stores do not fit together; the message says what differs.
        StoreError: one of them is no finished store, or is damaged.
        TargetError: the folder cannot be written, or has something else.
    """
    check_shards(shards)
    if isinstance(stores, (str, os.PathLike)):
        raise OptionError(f"stores must be a list of folders, not {os.fspath(stores)!r}")
    sources = [SourceStore(path) for path in stores]
    if not sources:
        raise OptionError("there is no store to merge")
    folders = [source.path.resolve() for source in sources]
    twice = next(
        (s.name for s, f in zip(sources, folders, strict=True) if folders.count(f) > 1), ""
    )
    if twice:
        raise OptionError(f"{twice} is given twice: name each store once")
    with large_blocks_given_back():
        plan = plan_merge(sources, shards)
    return write_copy(
        local_path(out), os.fspath(out), plan, "merge", None, progress, overwrite=overwrite
    )
