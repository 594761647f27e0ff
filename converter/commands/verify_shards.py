"""What lies where the shards of a store are, and is none of them."""

import os
from contextlib import suppress

from patchpress.converter.text import first_few, several
from patchpress.readers.format.shard_rule import ONE_FILE, SHARDS
from patchpress.readers.store import Store


def stray_files(store: Store) -> list[str]:
    """A sentence about data files and folders that the manifest does not list."""
    if store.url is not None:
        return []  # other objects below a URL are nobody's business
    listed = [shard.path for shard in store.manifest.shards]
    stray = []
    if ONE_FILE not in listed and os.path.lexists(store.path / ONE_FILE):
        stray.append(ONE_FILE)
    with suppress(FileNotFoundError, NotADirectoryError):
        known = {path.split("/")[1] for path in listed if "/" in path}
        there = sorted(set(os.listdir(store.path / SHARDS)) - known)
        stray += [f"{SHARDS}/{name}" for name in there]
    if not stray:
        return []
    return [
        f"{first_few(stray)} of {store.path}: the manifest lists no such shard, so no reader uses "
        f"what is there ({several(len(stray), 'name')}); remove it, or copy the store again"
    ]
