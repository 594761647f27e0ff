"""`RemoteFile`: one data file at a URL, looked at when it is first needed."""

from pathlib import Path, PurePosixPath

from patchpress.readers.access.extents import Files
from patchpress.readers.errors import FormatUnknown, StoreDamaged
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.manifest import Shard
from patchpress.readers.remote.client import Client, Found

HEAD = 64 << 10  # first bytes that are read at once: the meta pages, and of small files the root


class RemoteFile:
    """A data file of a store at a URL; safe in threads, picklable."""

    def __init__(self, client: Client, shard: Shard, facts: Files) -> None:
        self._client, self._shard = client, shard
        self.name = shard.path
        self._facts = next(entry for entry in facts if entry["path"] == shard.path)
        self._known: Found | None = None

    @property
    def is_known(self) -> bool:
        """Whether it was looked at."""
        return self._known is not None

    @property
    def known(self) -> Found:
        """The file as it was when it was first needed: then it is compared with the extents.

        Raises:
            StoreDamaged: it is not as long as the manifest says, or not that of the extents.
            StoreError: it cannot be read.
        """
        if self._known is None:  # two threads may look at once, and find the same
            self._known = self._compared()
        return self._known

    @property
    def identity(self) -> str:
        """What tells it from any other data file, as `Tree.identity`: as the extents have it."""
        return str(self._facts["identity"])

    def look(self) -> None:
        """Look at it now, as `known` does."""
        _ = self.known

    def _compared(self) -> Found:
        head, found = self._client.first(self.name, HEAD)
        file = f"{self._client.name}/{self.name}"
        if found.size != self._shard.bytes:
            raise StoreDamaged(
                f"{file} has {found.size} bytes where the manifest promises {self._shard.bytes}: "
                "copy the store there again"
            )
        pages = _RemotePages(self._client, self.name, found, head)
        identity = Tree(pages, PurePosixPath(file)).identity()  # type: ignore[arg-type]
        if identity != self._facts["identity"]:
            raise StoreDamaged(
                f"{file} is not the file that the extents beside it were made from: copy the "
                "whole store there again"
            )
        return found


def identity_at(client: Client, name: str) -> str:
    """`Tree.identity` of a file at a URL; empty if it is no data file.

    Raises:
        StoreError: it cannot be read.
    """
    head, found = client.first(name, HEAD)
    pages = _RemotePages(client, name, found, head)
    try:
        return Tree(pages, Path(f"{client.name}/{name}")).identity()
    except (FormatUnknown, StoreDamaged):
        return ""


class _RemotePages:
    """The bytes of a file; slices are requested when they are asked for."""

    def __init__(self, client: Client, name: str, known: Found, head: memoryview) -> None:
        self._client, self._name, self._known, self._head = client, name, known, head

    def __len__(self) -> int:
        return self._known.size

    def __getitem__(self, part: slice) -> memoryview:
        start, stop, _ = part.indices(self._known.size)
        if stop <= len(self._head):
            return self._head[start:stop]
        return self._client.read(self._name, start, stop, self._known)
