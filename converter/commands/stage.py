"""`stage`: copies the data files of a store to a disk of this machine, before a job reads them."""

import os
import warnings
from dataclasses import dataclass

from patchpress.converter.paths import StrPath, shown_place
from patchpress.converter.progress import NoProgress, Progress
from patchpress.converter.text import size as as_text
from patchpress.readers.errors import OptionError, StageUnusable
from patchpress.readers.store import open_store

MIB = 1 << 20


@dataclass(frozen=True)
class Staged:
    """What `stage` did."""

    store: str
    shards: int
    nbytes: int
    reads_from: str
    """Where the store is read from now on, in words."""

    def text(self) -> str:
        """The same in a line."""
        shards = "shard" if self.shards == 1 else "shards"
        return f"{self.store}: {self.shards:,} {shards}, {as_text(self.nbytes)}, {self.reads_from}"


def stage(
    store: StrPath,
    folder: StrPath,
    *,
    size: int | str | None = None,
    progress: Progress | None = None,
) -> Staged:
    """Copy the data files of a store to a folder, from which `open_store(..., stage=folder)` reads.

    Copies that are there already are not made again. Another process may do the same meanwhile:
    each is made by one of them.

    Args:
        store: folder of a finished store.
        folder: on a disk of this machine; environment variables in it are expanded.
        size: the most bytes that all copies in it take, also as text: ``200GB``; by default what
            leaves 10 GiB of the disk free, or a twentieth of it, if that is less.
        progress: told of bytes as they are copied.

    Raises:
        StoreError: there is no finished store, or it changes meanwhile.
        OptionError: a folder or a size that cannot be.
        TargetError: there is no room for all, or the folder cannot be written.
    """
    if not os.fspath(folder):  # as a `Path` it would be this folder
        raise OptionError("the folder to stage in has no name: name one on a disk of this machine")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StageUnusable)  # what is wrong is an error here
        opened = open_store(store, stage=folder, stage_size=size)
    with opened:
        if opened.manifest.in_archives:
            raise OptionError(
                f"{store} reads its pixels in archives, which are not staged: copy it to that disk "
                f"(`patchpress copy {store} {folder}/NAME`)"
            )
        shards = opened.manifest.shards
        nbytes = sum(shard.bytes for shard in shards)
        progress = progress or NoProgress()
        progress.start("staging", -(-nbytes // MIB), "MiB")
        opened.stage(_in_mib(progress))
        return Staged(shown_place(store), len(shards), nbytes, opened.reads_from)


class _in_mib:  # noqa: N801 -- it is called as a function
    """Tells progress of bytes in whole MiB."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._bytes = progress, 0

    def __call__(self, nbytes: int) -> None:
        before, self._bytes = self._bytes // MIB, self._bytes + nbytes
        self._progress.advance(self._bytes // MIB - before, nbytes)
