"""`Shards`: the data files of a store, each opened when it is first needed, and so many at most.

A store may have more shards than a process may have files. So those that were not used for longest
are let go when there are too many, of all stores of the process together. Nothing is closed that
somebody reads: a file and its map are closed when nothing refers to them any more.
"""

import os
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from operator import itemgetter
from pathlib import Path

from patchpress.readers.access.files import UNTRACKED, open_file
from patchpress.readers.access.nearby import Nearby
from patchpress.readers.access.open_shard import TRUSTED, OpenShard, overwritten
from patchpress.readers.errors import (
    StoreDamaged,
    StoreMissing,
    StoreUnreadable,
    cannot_read,
)
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.manifest import Shard
from patchpress.readers.format.shard_rule import SHARDS, shard_folder
from patchpress.readers.format.store_files import require_inside

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None  # type: ignore[assignment]

DESCRIPTORS = 1 if UNTRACKED else 2
"""That an open data file takes: its own, and in older versions of Python one of its map."""
MOST_OPEN = 4096
"""However many descriptors there are: each map is one more that the kernel keeps account of."""

_stores: "weakref.WeakSet[Shards]" = weakref.WeakSet()
_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _fresh_lock())


class Shards:
    """The data files of one store; safe in threads and after a fork."""

    def __init__(
        self,
        store: Path,
        shards: Sequence[Shard],
        *,
        readahead: bool = False,
        nearby: Nearby | None = None,
    ) -> None:
        """Open nothing yet, but make sure that no folder of a shard lacks.

        Copies that are `nearby` are opened instead of the store's files, as soon as they are there.

        Raises:
            StoreDamaged: one does.
        """
        self._store, self._shards, self._readahead = store, shards, readahead
        self._nearby = nearby
        self._open: dict[int, OpenShard] = {}
        # Of each that was open once: (file, size and time, identity).
        self._known: dict[int, tuple[tuple[int, int], tuple[int, int], str | None]] = {}
        if len(shards) > 1:
            self._require_folders()
            with _lock:  # a store that has one file keeps it
                _stores.add(self)

    def __len__(self) -> int:
        return len(self._shards)

    def open(self, number: int) -> OpenShard:
        """A shard's data file, as it was when it was opened first.

        Raises:
            StoreDamaged: it is not there, not as long as the manifest says, or was written to.
            FormatUnknown: it has the format of another LMDB.
            StoreUnreadable: there are no file descriptors left.
        """
        if self._nearby is not None and self._nearby.stirred:
            self._take_up(self._nearby.refresh())
        shard = self._open.get(number)
        if shard is None:
            shard = self._opened(number)
        shard.check()
        return shard

    def mapped(self, number: int) -> OpenShard:
        """The same, with its file mapped.

        Raises:
            StoreDamaged, FormatUnknown, StoreUnreadable: as `open`.
        """
        shard = self.open(number)
        try:
            shard.file.map  # noqa: B018 -- made when it is asked for
        except StoreUnreadable:
            if not _let_go(0):
                raise
            shard.file.map  # noqa: B018
        return shard

    def check(self) -> None:
        """Make sure of all that are open.

        Raises:
            StoreDamaged: one was written to.
        """
        for shard in list(self._open.values()):
            shard.check_again()

    def close(self) -> None:
        """Let go of all of them."""
        with _lock:
            self._open.clear()

    def path(self, number: int) -> Path:
        """Where the data file of a shard lies.

        Raises:
            StoreDamaged: outside of the store.
        """
        return require_inside(self._store, self._shards[number].path)

    def _opened(self, number: int) -> OpenShard:
        _make_room()
        try:
            shard = self._checked(number)
        except StoreUnreadable:  # no descriptors: perhaps there are some without those of others
            if not _let_go(0):
                raise
            shard = self._checked(number)
        # The system gives the lowest number that is free: a high one says that few are left, which
        # others than us may need, too.
        if shard.file.descriptor > _descriptors() * 3 // 4:
            _let_go(_count() // 2)
        with _lock:
            return self._open.setdefault(number, shard)

    def _checked(self, number: int) -> OpenShard:
        """A shard's data file, newly opened, and compared with the manifest and what it was."""
        known = self._known.get(number)
        path = self._store / self._shards[number].path if known else self.path(number)
        try:
            near = self._nearby and self._nearby.open(number)
            file = near or open_file(path, readahead=self._readahead)
        except StoreMissing:
            raise _absent(path) from None
        shard = OpenShard(file, trusted=TRUSTED if len(self._shards) > 1 else 0)
        if known and known[:2] == (shard.inode, shard.seen):
            shard.identity = known[2]
            return shard
        expected = self._shards[number].bytes
        if file.size:
            # A file of another format is told as such, whatever its size; damage shows when read.
            with suppress(StoreDamaged):
                Tree(file.pages, path)
        if file.size != expected:
            raise StoreDamaged(
                f"{path} has {file.size} bytes where the manifest promises {expected}: copy the "
                "store again, or if another program compacted or changed it run "
                f"`patchpress index {self._store}`"
            )
        if known and known[2] != shard.identity:
            raise overwritten(path)
        self._known[number] = shard.inode, shard.seen, shard.identity
        return shard

    def _take_up(self, numbers: Sequence[int]) -> None:
        """Let some shards be opened anew, since there are copies of them now."""
        with _lock:
            for number in numbers:
                self._open.pop(number, None)

    def _require_folders(self) -> None:
        """Look at the names of the folders, and at nothing in them: there may be thousands."""
        folder = self._store / SHARDS
        try:
            there = set(os.listdir(folder))
        except FileNotFoundError:
            there = set()
        except OSError as error:
            raise cannot_read(folder, error) from None
        wanted = [shard_folder(number) for number in range(len(self._shards))]
        absent = [path for name in wanted if (path := self._store / name).name not in there]
        if absent:
            raise _absent(absent[0], len(absent) - 1)


def most_open() -> int:
    """How many shards may be open in this process: those take half of its descriptors."""
    return max(min(_descriptors() // 2 // DESCRIPTORS, MOST_OPEN), 1)


def _descriptors() -> int:
    """How many files this process may have open."""
    if resource is None:
        return 512
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


def _absent(path: Path, more: int = 0) -> StoreDamaged:
    others = f", and so are {more:,} others" if more else ""
    return StoreDamaged(
        f"{path} is absent though the manifest lists it{others}: copy the store again"
    )


def _make_room() -> None:
    """Let go of some if as many are open as may be: many at once, since that is as quick."""
    most = most_open()
    if _count() >= most:
        _let_go(most * 3 // 4)


def _count() -> int:
    with _lock:
        return sum(len(store._open) for store in _stores)


def _let_go(left: int) -> bool:
    """Let go of those that were not used for longest, until so many are left; whether of any."""
    with _lock:
        ages = [
            (shard.used, number, store._open)
            for store in _stores
            for number, shard in store._open.items()
        ]
        ages.sort(key=itemgetter(0), reverse=True)
        for _, number, shards in ages[left:]:
            del shards[number]
        return len(ages) > left


def _fresh_lock() -> None:
    """A thread that held the lock at a fork is not there to release it in the child."""
    global _lock
    _lock = threading.Lock()
