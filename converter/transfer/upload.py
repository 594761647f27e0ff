"""A finished store to a URL: its files as they are, the manifest last."""

from pathlib import Path

from patchpress.converter.progress import Progress
from patchpress.readers.access.files import open_file
from patchpress.readers.errors import TargetError
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.manifest import (
    EXTENTS,
    MANIFEST,
    MANIFEST_LIMIT,
    METADATA,
    STATISTICS,
    read_manifest,
    to_bytes,
)
from patchpress.readers.format.store_files import require_inside
from patchpress.readers.remote.client import Client
from patchpress.readers.remote.remote_file import identity_at
from patchpress.readers.store import open_store


def upload(store: Path, url: str, progress: Progress, *, overwrite: bool = False) -> bool:
    """Put the files of a finished store below a URL; False if that very store is there already.

    If it was interrupted, the same call goes on: data files that are there are not sent again.

    Args:
        store: the folder.
        url: where its files go; credentials are taken from the environment.
        progress: told of the bytes of each file that is there.
        overwrite: replace another store: its manifest is removed first.

    Raises:
        StoreError: there is no finished store, or it is damaged.
        TargetError: another store is there, or it cannot be written.
        OptionError: a URL that cannot be.
    """
    client = Client(url)
    open_store(store, stage=False).close()  # what is no whole store is said before anything is sent
    manifest = read_manifest(store)
    data = to_bytes(manifest)
    there = client.whole(MANIFEST, MANIFEST_LIMIT)
    if there == data:
        return False
    if there is not None:
        if not overwrite:
            raise TargetError(
                f"{client.name} has another store: choose another URL, or replace it with "
                "--overwrite"
            )
        client.remove(MANIFEST)
    progress.start("sending", manifest.records)
    for shard in manifest.shards:
        path = require_inside(store, shard.path)
        file = open_file(path)
        known = client.find(shard.path)
        if (
            known is None
            or known.size != shard.bytes
            or identity_at(client, shard.path) != Tree(file.pages, path).identity()
        ):
            client.put(shard.path, path)
        progress.advance(shard.records, shard.bytes)
    for name in (METADATA, EXTENTS, STATISTICS):
        if (store / name).exists():
            client.put(name, require_inside(store, name))
        elif client.find(name) is not None:
            client.remove(name)  # of the store that was there
    client.put(MANIFEST, require_inside(store, MANIFEST))
    return True
