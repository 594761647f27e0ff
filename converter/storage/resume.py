"""Whether a conversion goes on where an interrupted one stopped, and how it passes over the rest.

Nothing of what is stored is read or decoded again, unless the machine went down since: then what
the system still had in memory may be lost, and every record is compared with its checksum first.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from pathlib import Path

import numpy as np
import xxhash

from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.encoding.frame import PAGE_BYTES, ROOM
from patchpress.converter.progress import Progress
from patchpress.converter.sources.patch import Patch
from patchpress.converter.storage.folder import Asked, Target
from patchpress.converter.storage.journal import Journal, boot, in_key_order
from patchpress.converter.storage.pages import CLOSING, Pages
from patchpress.readers.access.files import open_file
from patchpress.readers.access.scan import scan
from patchpress.readers.errors import PatchError, SourceError, StoreError, TargetError
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.manifest import DATA, JOURNAL

VERSION = "patchpress"  # the entry of what was asked that says by which version


def begin(target: Target, asked: Asked) -> Journal:
    """Make the store ready for the conversion that is asked for: as it was left, or empty.

    `asked` is all that decides what is stored, by names that a user knows: options, the version of
    this package, parts of the source and where they lie. The journal has what is stored already.

    Raises:
        TargetError: an interrupted conversion was asked for something else; a finished store; the
            folder cannot be written.
    """
    path, left = target.store / JOURNAL, ""
    if goes_on(target.store, target.asked(), asked):
        journal = Journal(path)
        left = _left(target.store / DATA, journal)
        if not left and len(journal):
            return journal
        journal.close()
    target.clear(asked)
    if left:
        warnings.warn(f"{left}: the conversion begins anew", stacklevel=2)
    return Journal(path)


def pass_over(
    patches: Iterable[Patch],
    journal: Journal,
    tell: Callable[[Patch, Encoded | PatchError], None],
    progress: Progress,
) -> Iterator[Patch]:
    """The patches that the journal does not have; `tell` gets the outcome of each one before.

    They are compared one by one, as the source's may have changed.

    Raises:
        SourceError: another patch than the journal has.
    """
    stream = iter(patches)
    for line in journal.lines():
        nbytes = 0
        for entry in line.entries:
            patch = next(stream, None)
            if patch is None or (patch.modality, patch.key) != (entry.modality, entry.key):
                found = f"{patch.modality} {patch.key}" if patch else "nothing"
                raise SourceError(
                    f"the source is not as it was when {journal.path.parent} was begun: it has "
                    f"{found} where {entry.modality} {entry.key} came; put it back, or give "
                    "--overwrite to begin anew"
                )
            tell(patch, entry.result)
            nbytes += 0 if isinstance(entry.result, PatchError) else entry.result.length
        progress.advance(len(line.entries), nbytes)
    yield from stream


def goes_on(store: Path, before: Asked | None, asked: Asked) -> bool:
    """Whether an interrupted conversion, which was asked for the same, goes on here.

    Raises:
        TargetError: it was asked for something else.
    """
    # Older versions left no journal, and did not note which they were.
    if before is None or VERSION not in before or not (store / JOURNAL).exists():
        return False
    differ = [
        f"{name.replace('_', '-')} {_shown(before.get(name))}, not {_shown(asked.get(name))}"
        for name in {**before, **asked}
        if before.get(name) != asked.get(name)
    ]
    if differ:
        raise TargetError(
            f"{store} was begun with {', '.join(differ)}: give the same to go on, or --overwrite "
            "to begin anew"
        )
    return True


def _shown(value: object) -> object:
    return "none" if value is None else value


def _left(data: Path, journal: Journal) -> str:
    """Cut the journal to what is in the data file; gives why the two are of no use, if they are."""
    paged = [line.written for line in takewhile(lambda line: line.paged, journal.lines())]
    size, commits, whole = 0, 0, False
    try:
        file = open_file(data)
        size = file.size
        if size:
            tree = Tree(file.bytes, data)
            commits, whole = tree.transaction, tree.is_whole
    except StoreError:
        pass  # killed before it was made or closed, or the machine went down
    if paged and not whole:
        # Pages of our own making, with no tree above them yet: each line came behind its pages.
        stored = sum(end <= size for end in paged)
    else:
        stored = commits + (len(paged) - CLOSING if paged else 0)
    if stored > len(journal):
        return f"{journal.path} is damaged, so what {data} holds is not known"
    journal.keep(stored)
    last, damage = journal.last, ""
    if last and last.boot != boot():
        damage = _damage(data, journal) if whole or not paged else _damaged_pages(data, journal)
    if damage:
        return f"the machine went down before all of {data} was on its disk ({damage})"
    return ""


def _damaged_pages(data: Path, journal: Journal) -> str:
    """What a data file without a tree lacks of what the journal says; empty where it is whole."""
    pages, bytes_ = Pages(), open_file(data).bytes
    for entry in journal.entries():
        if not isinstance(entry.result, Encoded):
            continue
        number, leaf = pages.add(entry.key.encode(), entry.result.length)
        at = number * PAGE_BYTES + ROOM
        if xxhash.xxh3_64_intdigest(bytes_[at : at + entry.result.length]) != entry.result.checksum:
            return f"record {entry.key} differs from its checksum"
        if leaf is not None:
            begin = leaf[0] * PAGE_BYTES
            if bytes_[begin : begin + PAGE_BYTES] != leaf[1]:
                return f"its page {leaf[0]} is lost"
    return ""


def _damage(data: Path, journal: Journal) -> str:
    """What a data file lacks of what the journal says; empty where it is whole.

    Read by our own means: LMDB trusts its pages, and crashes where they are damaged.
    """
    expected = in_key_order(journal)
    try:
        found = scan(data)
        Tree(open_file(data).bytes, data).check_pages()
    except StoreError as error:
        return str(error)
    if not np.array_equal(found.keys, expected.keys) or (found.length != expected.lengths).any():
        return "it has other records"
    bytes_ = open_file(data).bytes
    for at, length, checksum, key in zip(
        found.offset.tolist(),
        found.length.tolist(),
        expected.checksums.tolist(),
        expected.keys.tolist(),
        strict=True,
    ):
        if xxhash.xxh3_64_intdigest(bytes_[at : at + length]) != checksum:
            return f"record {key.decode()} differs from its checksum"
    return ""
