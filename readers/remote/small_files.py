"""The small files of a store at a URL, in a cache folder: manifest, table, extents, statistics.

The folder is named by the digest of the manifest, which has the digest of the table; so what lies
there is of that very store, wherever it is read from. It may be removed at any time.
"""

import hashlib
import logging
import os
import shutil
import tempfile
import weakref
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

from patchpress.readers.access.extents_file import load_extents
from patchpress.readers.errors import (
    OptionError,
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
from patchpress.readers.remote.client import Client

_log = logging.getLogger(__name__)

CACHE = "PATCHPRESS_CACHE"
"""The environment variable with the cache folder."""
STATISTICS_LIMIT = 64 << 20  # bytes
OWN = 0o700  # permissions: a table may be of data that others must not see


def fetch_small(client: Client) -> tuple[Path, Manifest]:
    """(the folder with the small files of a store, its manifest).

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
    folder = _folder(hashlib.sha256(data).hexdigest()[:32])
    call(folder, client.name)
    work: list[Future[None]] = [
        client.background(lambda: _bring_table(client, folder, manifest)),
        client.background(lambda: _bring_statistics(client, folder)),
    ]
    _bring_extents(client, folder, manifest)
    for future in work:
        future.result()
    with suppress(OSError):
        if (folder / MANIFEST).read_bytes() == data:
            return folder, manifest
    write_whole(folder / MANIFEST, data)
    return folder, manifest


def _no_manifest(client: Client) -> StoreMissing | StoreUnfinished:
    if client.find(MARKER) is not None:
        return StoreUnfinished(
            f"{client.name} has no {MANIFEST}: its conversion did not end; run the same "
            "`patchpress convert` again, and it goes on where it stopped"
        )
    return StoreMissing(f"there is no store at {client.name}: it has no {MANIFEST}")


def _folder(digest: str) -> Path:
    """The folder for a manifest of that digest; one of this process, if no other can be made."""
    given = os.environ.get(CACHE)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    base = Path(os.path.abspath(os.path.expanduser(given or os.path.join(home, "patchpress"))))
    folder = base / "stores" / digest
    try:
        folder.mkdir(OWN, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
        reason = "it cannot be written"
    except OSError as error:
        reason = str(error.strerror)
    if given:
        raise OptionError(f"{CACHE} is {given!r}, but {folder} is no folder to write to ({reason})")
    _log.info("no cache in %s (%s): small files are fetched by each process", base, reason)
    return _own_folder()


def _own_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="patchpress-"))
    process = os.getpid()

    def remove() -> None:
        if os.getpid() == process:
            shutil.rmtree(folder, ignore_errors=True)

    weakref.finalize(_own_folder, remove)
    return folder


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
