"""Whether a conversion goes on where an interrupted one stopped, and what it does not store again.

Nothing that is stored is decoded again, and nothing is read again unless the machine went down
since: then the system may have lost what it still had in memory, and every record is compared with
its checksum first.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xxhash

from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.encoding.frame import PAGE_BYTES, ROOM
from patchpress.converter.progress import Progress
from patchpress.converter.sources.patch import Patch
from patchpress.converter.storage.folder import DecisiveSettings, Target, writing
from patchpress.converter.storage.journal import (
    Entry,
    Journal,
    Line,
    boot,
    has_records,
    sorted_records,
)
from patchpress.converter.storage.ownership import (
    ASIDE,
    SHARD_FILE,
    SHARD_JOURNAL,
    VERSION,
    shard_folders,
)
from patchpress.converter.storage.pages import TRANSACTION, Pages
from patchpress.converter.storage.settings_difference import differences, told
from patchpress.readers.access.disk_order import Announced, records_in_disk_order
from patchpress.readers.access.files import open_file
from patchpress.readers.access.scan import scan
from patchpress.readers.errors import PatchError, SourceError, StoreError, TargetError
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.manifest import DATA, JOURNAL

_log = logging.getLogger(__name__)
JOURNALS = (JOURNAL, SHARD_JOURNAL)


def clear_or_go_on(
    target: Target, settings: DecisiveSettings, *, identities: bool = False
) -> Journal:
    """Make the folder ready: as an interrupted conversion left it, or empty of any earlier store.

    `settings` are the options, the version of this package, the parts of the source and their
    paths. The journal has what is stored already; `identities` as for `Journal`.

    Raises:
        TargetError: the interrupted conversion had other settings; a finished store without
            `overwrite`; the folder cannot be written.
    """
    path, loss = target.store / JOURNAL, ""
    if goes_on(target.store, target.interrupted_settings(), settings):
        journal = Journal(path, identities=identities)
        loss = _cut_to_stored(target.store / DATA, journal)
        if not loss and len(journal):
            _log.info("%s goes on after %d lines of its journal", target.store, len(journal))
            return journal
        journal.close()
    target.clear(settings)
    if loss:
        warnings.warn(f"{loss}: {target.store} begins anew", stacklevel=2)
    return Journal(path, identities=identities)


def continued_journal(folder: Path) -> Journal:
    """The journal of a folder whose data file goes on, cut to what is in that file; or a new one.

    For a shard of a store that is claimed as a whole. If the data file is of no use, it is removed,
    and a warning says so.

    Raises:
        TargetError: the folder cannot be written.
    """
    journal = Journal(folder / JOURNAL)
    loss = _cut_to_stored(folder / DATA, journal) if len(journal) else ""
    if len(journal) and not loss:
        return journal
    journal.close()
    with writing(folder):
        for name in (DATA, JOURNAL):
            (folder / name).unlink(missing_ok=True)
    if loss:
        warnings.warn(f"{loss}: {folder} begins anew", stacklevel=2)
    return Journal(folder / JOURNAL)


def skip_stored(
    patches: Iterable[Patch],
    journal: Journal,
    tell: Callable[[Patch, Encoded | PatchError], None],
    progress: Progress,
) -> Iterator[Patch]:
    """The patches after those that the journal has; `tell` is called with the outcome of each.

    They are compared with the journal one by one, because the source may have changed.

    Raises:
        SourceError: another patch than the journal has.
    """
    stream = iter(patches)
    for line in journal.lines():
        nbytes = 0
        for entry in line.entries:
            patch = next(stream, None)
            require_same(patch, entry, journal)
            if patch is not None:
                tell(patch, entry.result)
            nbytes += 0 if isinstance(entry.result, PatchError) else entry.result.length
        progress.advance(len(line.entries), nbytes)
    yield from stream


def require_same(patch: Patch | None, entry: Entry, journal: Journal) -> None:
    """Make sure that a patch is the one that the journal tells of next.

    Raises:
        SourceError: it is another one, or there is none.
    """
    if patch is None or (patch.modality, patch.key) != (entry.modality, entry.key):
        found = f"{patch.modality} {patch.key}" if patch else "nothing"
        raise SourceError(
            f"the source is not as it was when {journal.path.parent} was begun: it has {found} "
            f"where {entry.modality} {entry.key} came; put it back, or give --overwrite to begin "
            "anew"
        )


def goes_on(store: Path, before: DecisiveSettings | None, settings: DecisiveSettings) -> bool:
    """Whether an interrupted conversion, whose settings were `before`, goes on here.

    If it has stored nothing yet, a conversion with other settings begins anew.

    Raises:
        TargetError: its settings were others; the sentence says which.
    """
    # Older versions left no journal, and did not note their number.
    begun = (store / JOURNAL).exists() or bool(shard_folders(store))
    if before is None or VERSION not in before or not begun:
        return False
    differ = differences(before, settings)
    if not differ:
        return True
    if not has_stored(store):
        _log.info("%s begins anew: nothing is stored, and %s", store, told(differ))
        return False
    raise TargetError(
        f"{store} was begun with {told(differ)}: give the same to go on, or --overwrite to begin "
        "anew"
    )


def has_stored(store: Path) -> bool:
    """Whether a record is stored, in the store itself or in one of its shards."""
    for folder in (store, *(store / name for name in shard_folders(store))):
        if (folder / SHARD_FILE).exists():
            return True
        if any((folder / name).exists() and has_records(folder / name) for name in JOURNALS):
            return True
    return False


class _FileState(NamedTuple):
    """What a data file tells of itself, without a look at its records."""

    size: int = 0
    whole: bool = False
    """Whether it has both meta pages."""
    transaction: int = 0
    """Number of the last transaction, 0 if it has no meta page."""
    entries: int = 0


def _file_state(data: Path) -> _FileState:
    size = 0
    try:
        file = open_file(data)
        size = file.size
        if size:
            tree = Tree(file.pages, data)
            return _FileState(size, tree.is_whole, tree.transaction, tree.entries)
    except StoreError:
        pass  # killed before the file was made or closed, or the machine went down
    return _FileState(size)


def _cut_to_stored(data: Path, journal: Journal) -> str:
    """Remove the lines of the journal whose records are not in the data file.

    Returns why what is there is of no use, or an empty string if it is.
    """
    aside = data.with_name(ASIDE)
    with writing(aside):
        copied = not aside.exists()
        if not copied:
            os.replace(aside, data)
    state = _file_state(data)
    kept, records = 0, 0
    last: Line | None = None
    for line in journal.lines():
        if not _is_stored(line, last, state, copied=copied):
            break
        kept, last = kept + 1, line
        records += sum(isinstance(entry.result, Encoded) for entry in line.entries)
    paged = last is not None and last.paged
    known = (last.mark.transaction if last else 0) or (TRANSACTION if paged else 0)
    unknown = state.transaction > known and (state.whole or not paged)
    if unknown or (paged and state.whole and state.entries != records):
        return f"{journal.path} is damaged, so what {data} holds is not known"
    journal.keep(kept)
    damage = ""
    if last is not None and last.boot != boot():
        in_pages = paged and not state.whole
        damage = _damaged_pages(data, journal) if in_pages else _damage(data, journal)
    if damage:
        return f"the machine went down before all of {data} was on its disk ({damage})"
    return ""


def _is_stored(line: Line, before: Line | None, state: _FileState, *, copied: bool) -> bool:
    """Whether what a line tells of is in the data file; `before` is the line before it.

    `copied` is false if LMDB was to write the records of the file again, and did not end.
    """
    if line.paged:
        # The tree is written after the last record: until then the length tells what is there.
        return state.whole or line.mark.written <= state.size
    if before is not None and before.paged and not (state.whole and copied):
        return False
    return line.mark.transaction <= state.transaction


def _damaged_pages(data: Path, journal: Journal) -> str:
    """What a data file without a tree lacks of what the journal tells; empty if nothing."""
    file = open_file(data)
    pages, written, ahead = Pages(), file.bytes, Announced(file)
    for entry in journal.entries():
        if not isinstance(entry.result, Encoded):
            continue
        number, leaf = pages.add(entry.key.encode(), entry.result.length)
        begin = number * PAGE_BYTES + ROOM
        ahead.reach(begin + entry.result.length)
        record = written[begin : begin + entry.result.length]
        if xxhash.xxh3_64_intdigest(record) != entry.result.checksum:
            return f"record {entry.key} differs from its checksum"
        if leaf is not None and written[leaf.offset : leaf.offset + PAGE_BYTES] != leaf.data:
            return f"its page {leaf.number} is lost"
    return ""


def _damage(data: Path, journal: Journal) -> str:
    """What a data file lacks of what the journal tells; empty if nothing.

    Our own reader looks: LMDB trusts the pages of a file, and crashes if they are damaged.
    """
    expected = sorted_records(journal)
    try:
        found = scan(data)
        Tree(open_file(data).pages, data).check_pages()
    except StoreError as error:
        return str(error)
    if not np.array_equal(found.keys, expected.keys) or (found.length != expected.lengths).any():
        return "it has other records"
    try:
        for position, record in records_in_disk_order(open_file(data), found.offset, found.length):
            if xxhash.xxh3_64_intdigest(record) != expected.checksums[position]:
                return f"record {expected.keys[position].decode()} differs from its checksum"
    except StoreError as error:
        return str(error)
    return ""
