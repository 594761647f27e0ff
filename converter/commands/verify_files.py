"""The data files that `verify` reads: of a folder, or at a URL."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from patchpress.readers.access.archived_records import ShardOfArchives
from patchpress.readers.access.files import ReadsFile
from patchpress.readers.access.shards import Shards
from patchpress.readers.errors import StoreDamaged
from patchpress.readers.format.btree import Tree, Value
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.remote.client import Client
from patchpress.readers.remote.data_file import RemoteDataFile, remote_data_files
from patchpress.readers.remote.small_files import fetch_small


class ReadsTree(Protocol):
    """What is asked of the tree of a data file."""

    def checked_values(self) -> Sequence[Value]:
        """Every value in the order of the keys, after each page was compared."""
        ...

    def is_value_head(self, head: memoryview, offset: int, length: int) -> bool:
        """Whether these bytes lie before a value of so many bytes."""
        ...

    def wrong_head(self, offset: int) -> StoreDamaged:
        """The error of a value before which others lie."""
        ...


class OpenFile(Protocol):
    """A data file and its tree."""

    @property
    def file(self) -> ReadsFile:
        """Its bytes."""
        ...

    @property
    def tree(self) -> ReadsTree:
        """Its records by key.

        Raises:
            StoreDamaged: it has no whole tree.
        """
        ...


class VerifiedFiles(Protocol):
    """The data files of a store, by shard."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def open(self, number: int) -> OpenFile:
        """One of them.

        Raises:
            StoreError: it is not there, not as long as the manifest says, or another one.
        """
        ...


class FilesOf(Protocol):
    """Opens the data files in any process."""

    def __call__(self) -> VerifiedFiles:
        """Open them."""
        ...


def files_of(store: Path, manifest: Manifest, url: str | None) -> FilesOf:
    """What opens the data files of a store; `url` with what is secret in it, if it is at one."""
    if url is not None:
        return partial(_FilesAtUrl, url)
    if manifest.in_archives:
        return partial(ShardOfArchives, store, manifest)
    return partial(Shards, store, manifest.shards, readahead=True)


class _OpenAtUrl(NamedTuple):
    file: RemoteDataFile
    tree: Tree


class _FilesAtUrl:
    """The data files of a store at a URL."""

    def __init__(self, url: str) -> None:
        self._small = fetch_small(Client(url))
        self._files = remote_data_files(self._small)
        self._open: dict[int, _OpenAtUrl] = {}

    def __len__(self) -> int:
        return len(self._files)

    def open(self, number: int) -> _OpenAtUrl:
        if number not in self._open:
            file = self._files[number]
            tree = Tree(file, file.path)  # type: ignore[arg-type]  # it is named in messages alone
            tree.require_whole()
            self._open = {number: _OpenAtUrl(file, tree)}  # shards are read one after another
        return self._open[number]
