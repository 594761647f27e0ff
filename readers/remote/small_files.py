"""The small files of a store at a URL, in a cache folder: manifest, table, extents, statistics.

The folder is named by the digest of the manifest, which has the digest of the table; so what lies
there is of that very store, wherever it is read from. It may be removed at any time.
"""

import hashlib
import logging
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from patchpress.readers.access.extents_file import load_extents
from patchpress.readers.access.locks import Lock
from patchpress.readers.errors import (
    StoreDamaged,
    StoreMissing,
    StoreUnfinished,
    StoreUnreadable,
)
from patchpress.readers.format.manifest import (
    EXTENTS,
    MANIFEST,
    MANIFEST_LIMIT,
    MARKER,
    METADATA,
    STATISTICS,
    Manifest,
    file_digest,
    from_bytes,
)
from patchpress.readers.format.shown_paths import call
from patchpress.readers.format.whole_file import whole_file, write_whole
from patchpress.readers.remote.cache_folder import CACHE, cached_folder, make_room
from patchpress.readers.remote.client import Client

_log = logging.getLogger(__name__)

STATISTICS_LIMIT = 64 << 20  # bytes


class SmallFiles(NamedTuple):
    """The small files of a store, which stay as long as `lock` lives."""

    client: Client
    folder: Path
    manifest: Manifest
    lock: Lock | None


def fetch_small(client: Client) -> SmallFiles:
    """The small files of a store, from the cache or fetched into it.

    Raises:
        StoreMissing: there is no store at the URL.
        StoreUnfinished: there are files, but no manifest.
        StoreDamaged, FormatUnknown: a file is not what it should be.
        StoreUnreadable: access is refused, requests fail, or there are no extents.
    """
    data = client.whole(MANIFEST, MANIFEST_LIMIT)
    if data is None:
        raise _no_manifest(client)
    manifest = from_bytes(data, f"{client.name}/{MANIFEST}")
    folder, lock = cached_folder(hashlib.sha256(data).hexdigest()[:32])
    call(folder, client.name)
    work: list[Future[None]] = [
        client.background(lambda: _bring_table(client, folder, manifest)),
        client.background(lambda: _bring_statistics(client, folder)),
    ]
    _bring_extents(client, folder, manifest)
    for future in work:
        future.result()
    small = SmallFiles(client, folder, manifest, lock)
    with suppress(OSError):
        if (folder / MANIFEST).read_bytes() == data:
            return small
    write_whole(folder / MANIFEST, data)
    make_room()
    return small


def _no_manifest(client: Client) -> StoreMissing | StoreUnfinished:
    if client.find(MARKER) is not None:
        return StoreUnfinished(
            f"{client.name} has no {MANIFEST}: its conversion did not end; run the same "
            "`patchpress convert` again, and it goes on where it stopped"
        )
    return StoreMissing(f"there is no store at {client.name}: it has no {MANIFEST}")


def _bring_table(client: Client, folder: Path, manifest: Manifest) -> None:
    path = folder / METADATA
    with suppress(OSError):
        if file_digest(path) == manifest.metadata_digest:
            return
    _bring(client, METADATA, path)
    if file_digest(path) != manifest.metadata_digest:
        path.unlink()
        raise StoreDamaged(
            f"{client.name}/{METADATA} is not the file that was written with the manifest: copy "
            "the store there again"
        )


def _bring_extents(client: Client, folder: Path, manifest: Manifest) -> None:
    if manifest.in_archives:
        raise StoreUnreadable(
            f"{client.name} reads its pixels in archives on the disk where they were indexed, so "
            "nobody reads it at a URL: send a copy there (`patchpress copy STORE URL`)"
        )
    shards = [shard.path for shard in manifest.shards]
    if load_extents(folder, shards, manifest.record_limit)[0] is not None:
        return
    if not _bring(client, EXTENTS, folder / EXTENTS, optional=True):
        raise StoreUnreadable(
            f"{client.name} has no {EXTENTS}, without which records at a URL are not found: run "
            "`patchpress index` on a copy of the store, and put that file there"
        )
    extents, reason = load_extents(folder, shards, manifest.record_limit)
    if extents is None:
        (folder / EXTENTS).unlink()
        reason = reason.replace(str(folder / EXTENTS), f"{client.name}/{EXTENTS}")
        raise StoreDamaged(
            f"{reason}: run `patchpress index` on a copy of the store, and put that file there"
        )


def _bring_statistics(client: Client, folder: Path) -> None:
    """Those that are there now: they are made after the store, and perhaps made anew."""
    data = client.whole(STATISTICS, STATISTICS_LIMIT)
    path = folder / STATISTICS
    if data is None:
        path.unlink(missing_ok=True)
        return
    with suppress(OSError):
        if path.read_bytes() == data:
            return
    write_whole(path, data)


def _bring(client: Client, name: str, path: Path, *, optional: bool = False) -> bool:
    """Fetch a file; False if there is none, which is an error unless it is optional."""
    known = client.find(name)
    if known is None:
        if optional:
            return False
        raise StoreDamaged(
            f"{client.name}/{name} is absent though the manifest lists it: copy the store again"
        )
    _log.info("%s/%s is fetched: %d bytes", client.name, name, known.size)
    try:
        with whole_file(path) as file:
            client.copy_to(name, file, known)
    except OSError as error:
        if isinstance(error, StoreUnreadable | StoreMissing):
            raise
        raise StoreUnreadable(
            f"{client.name}/{name} cannot be kept in {path.parent} ({error.strerror}): make room "
            f"there, or name another folder by {CACHE}"
        ) from None
    return True
