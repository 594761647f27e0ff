"""Gives a finished store another table and manifest, which two files cannot become at once.

The new manifest is written first, whole, beside the old one; then the table takes its place, and at
last the manifest. What is killed between them is finished by `finish_replaced`: the manifest that
lies there is the one of the new table.
"""

import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.storage.ownership import remove_half_written
from patchpress.converter.tables.metadata_file import metadata_bytes
from patchpress.readers.access.extents import Extents
from patchpress.readers.access.extents_file import write_extents
from patchpress.readers.errors import PatchpressError
from patchpress.readers.format.manifest import (
    MANIFEST,
    MANIFEST_LIMIT,
    MARKER,
    METADATA,
    Manifest,
    file_digest,
    from_bytes,
    to_bytes,
)
from patchpress.readers.format.whole_file import (
    flush_folder,
    name_when_whole,
    partial_name,
    write_whole,
)

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)


def replace_table(
    store: Path,
    rows: "pa.Table",
    manifest_of: Callable[[str], Manifest],
    extents: Extents | None = None,
) -> None:
    """Write the table, the extents and, last, the manifest of a finished store.

    Args:
        store: its folder.
        rows: the new table.
        manifest_of: gives the new manifest for the digest of the new table.
        extents: the new ones; None if no record changed.

    Raises:
        TableError: readers would refuse the table.
        OSError: the folder cannot be written.
    """
    table = memoryview(metadata_bytes(store / METADATA, rows))
    digest = f"sha256:{hashlib.sha256(table).hexdigest()}"
    manifest = to_bytes(manifest_of(digest))
    waiting = store / partial_name(MANIFEST)
    try:
        with waiting.open("xb") as file:
            file.write(manifest)
            file.flush()
            os.fsync(file.fileno())
        write_whole(store / METADATA, table)
        if extents is not None:
            write_extents(store, extents)
        waiting.replace(store / MANIFEST)
        flush_folder(store)
    except BaseException:
        with suppress(OSError):
            finish_replaced(store)
        raise


def finish_replaced(store: Path) -> None:
    """Finish what a killed process began with `replace_table`, or remove what it had not begun.

    Raises:
        OSError: the folder cannot be written.
    """
    try:
        names = os.listdir(store)
    except OSError:
        return  # whoever reads the store says what is wrong with it
    waiting = [name for name in names if name_when_whole(name) == MANIFEST]
    if not waiting or MANIFEST not in names or MARKER in names:
        return
    table = file_digest(store / METADATA) if METADATA in names else ""
    for name in waiting:
        if _digest_in(store / name) == table:
            (store / name).replace(store / MANIFEST)
            flush_folder(store)
            _log.warning("%s: its table had been replaced, and now its manifest is, too", store)
            break
    remove_half_written(store)


def _digest_in(path: Path) -> str | None:
    """The digest of the table that a manifest is of; None if it is not whole."""
    if not path.is_file() or path.is_symlink() or path.stat().st_size > MANIFEST_LIMIT:
        return None
    try:
        return from_bytes(path.read_bytes(), str(path)).metadata_digest
    except PatchpressError:
        return None
