"""Data files of a store at a URL that are staged: where they come from, and those that came."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from patchpress.readers.access.nearby import Nearby
from patchpress.readers.access.shards import Shards
from patchpress.readers.format.manifest import Shard
from patchpress.readers.remote.client import Client
from patchpress.readers.remote.remote_file import RemoteFile


class RemoteSource:
    """The data files of a store at a URL, as `readers.staging` copies them."""

    def __init__(self, client: Client, files: Mapping[str, RemoteFile]) -> None:
        """Take the files by their paths in the store."""
        self._client, self._files = client, files

    @property
    def name(self) -> str:
        """The URL, without credentials."""
        return self._client.name

    def identity(self, path: str) -> str:
        """What `Tree.identity` says of a data file: the extents have it, so nothing is asked."""
        return self._files[path].identity

    def copy_to(
        self, path: str, size: int, target: int, progress: Callable[[int], None] | None = None
    ) -> None:
        """Write a whole data file into an open file, from its beginning.

        Raises:
            StoreError: it cannot be read, or has another size.
            OSError: the target cannot be written.
        """
        with os.fdopen(os.dup(target), "wb") as file:
            file.seek(0)
            self._client.copy_to(path, file, self._files[path].known, progress)


class OpensStage(Protocol):
    """What finds or makes copies of data files from any place; it can be pickled."""

    def from_source(self, source: RemoteSource, shards: Sequence[Shard]) -> Nearby:
        """The copies of a store's data files."""
        ...


class StagedShards(Shards):
    """The copies of a store's data files, and nothing else: there are no files on this machine."""

    def __init__(self, folder: Path, shards: Sequence[Shard], copies: Nearby) -> None:
        super().__init__(folder, shards, nearby=copies)
        self._copies = copies
        self._lacking: set[int] = set()

    def has(self, number: int) -> bool:
        """Whether there is a copy; if there is none, it is wanted from now on."""
        if self._copies.stirred:
            came = self._copies.refresh()
            self._take_up(came)
            self._lacking.difference_update(came)
        if number in self._open:
            return True
        if number in self._lacking:
            return False
        if self._copies.open(number) is None:
            self._lacking.add(number)
            return False
        return True

    def _require_folders(self) -> None:
        """Look for none."""
