"""The folder of one shard, from its last record until it is finished.

A shard's data file depends on its records alone. So records that did not come in the order of their
keys, or that were taken out again, are written once more, in that order, in a folder of their own
inside the shard's. That folder is made a finished shard first; then its files take their places.
"""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.storage.folder import writing
from patchpress.converter.storage.journal import Journal
from patchpress.converter.storage.key_order import Told, write_in_key_order
from patchpress.converter.storage.ownership import SHARD_FILE, SHARD_JOURNAL, SORTED
from patchpress.converter.storage.shard_file import (
    FinishedShard,
    require_journal,
    write_shard_file,
)
from patchpress.converter.storage.writer import ShardWriter
from patchpress.readers.access.extents_file import write_extents
from patchpress.readers.access.scan import build
from patchpress.readers.errors import PatchError
from patchpress.readers.format.manifest import DATA, EXTENTS, JOURNAL, file_digest
from patchpress.readers.format.whole_file import flush_folder

FINISHED_FILES = (DATA, EXTENTS, SHARD_JOURNAL, SHARD_FILE)
"""The files of a finished shard; the last says that it is one."""


def seal_shard(
    folder: Path, writer: ShardWriter, shard: FinishedShard, *, paged: bool
) -> FinishedShard:
    """Make a finished shard of a folder whose records are all stored.

    Args:
        folder: of the shard, which is claimed.
        writer: which has finished.
        shard: what is known of it; what its files tell is filled in.
        paged: let records that are written again be written in pages, as for `ShardWriter`.

    Raises:
        TargetError: the folder cannot be written.
    """
    writer.journal.append_rest()
    if writer.in_key_order:
        return _seal(folder, writer, shard)
    aside = folder / SORTED
    with writing(folder):
        _remove_sorted(folder)
        aside.mkdir()
    with Journal(aside / JOURNAL, identities=True) as journal:
        with ShardWriter(aside, journal, paged=paged) as sorted_writer:
            write_in_key_order([(folder, writer.journal)], sorted_writer)
            sorted_writer.finish()
            journal.append_rest()
        finished = _seal(aside, sorted_writer, shard)
    take_sorted(folder)
    return finished


def join_parts(
    folder: Path,
    parts: Sequence[tuple[Path, FinishedShard]],
    shard: FinishedShard,
    *,
    paged: bool,
    left_out: Collection[str] = (),
    twice: Callable[[str, int, int], PatchError],
    tell: Told | None = None,
) -> FinishedShard:
    """Make one finished shard of several that have other patches of it.

    Its files are those of a shard that was made of all patches in one pass.

    Args:
        folder: of the new shard, which is made.
        parts: folders of finished shards, and what they say.
        shard: what is known of it; what its files tell is filled in.
        paged: as for `ShardWriter`.
        left_out: as for `write_in_key_order`.
        twice: as for `write_in_key_order`.
        tell: as for `write_in_key_order`.

    Raises:
        StoreDamaged: a part is not as it was written.
        TargetError: the folder cannot be written.
        PatchError: what `twice` raises.
    """
    with writing(folder):
        folder.mkdir()
    with ExitStack() as stack:
        opened = []
        for part, known in parts:
            require_journal(part, known)
            opened.append((part, stack.enter_context(Journal(part / SHARD_JOURNAL))))
        journal = stack.enter_context(Journal(folder / JOURNAL, identities=True))
        writer = stack.enter_context(ShardWriter(folder, journal, paged=paged))
        write_in_key_order(opened, writer, left_out=left_out, twice=twice, tell=tell)
        writer.finish()
        journal.append_rest()
        return _seal(folder, writer, shard)


def bring_back_journal(folder: Path) -> None:
    """Give the journal its first name, if a process was killed just before the shard was finished.

    Raises:
        TargetError: the folder cannot be written.
    """
    if (folder / SHARD_JOURNAL).exists() and not (folder / SHARD_FILE).exists():
        with writing(folder):
            os.replace(folder / SHARD_JOURNAL, folder / JOURNAL)


def errors_in(folder: Path) -> Iterator[PatchError]:
    """The error of each patch that a finished shard lacks, as its journal tells."""
    with Journal(folder / SHARD_JOURNAL) as journal:
        for entry in journal.entries():
            if isinstance(entry.result, PatchError):
                yield entry.result


def take_sorted(folder: Path) -> None:
    """Let the files of a finished shard in `SORTED` take their places, if there is one.

    What is there of one that is not finished is removed. A process that is killed meanwhile, or
    another that goes on, ends with the same files.

    Raises:
        StoreDamaged, TargetError: as `read_shard_file`; the folder cannot be written.
    """
    aside = folder / SORTED
    if not aside.is_dir():
        return
    if not (aside / SHARD_FILE).exists():
        with writing(folder):
            _remove_sorted(folder)
        return
    with writing(folder):
        for name in FINISHED_FILES:
            if (aside / name).exists():
                os.replace(aside / name, folder / name)
                flush_folder(folder)
        (folder / JOURNAL).unlink(missing_ok=True)
        _remove_sorted(folder)


def _remove_sorted(folder: Path) -> None:
    aside = folder / SORTED
    if aside.is_dir():
        for path in aside.iterdir():
            path.unlink()
        aside.rmdir()


def _seal(folder: Path, writer: ShardWriter, shard: FinishedShard) -> FinishedShard:
    left_out = sum(not isinstance(entry.result, Encoded) for entry in writer.journal.entries())
    with writing(folder):
        write_extents(folder, build(folder, [DATA], writer.headers))
        with open(folder / JOURNAL, "rb") as journal:
            os.fsync(journal.fileno())
        os.replace(folder / JOURNAL, folder / SHARD_JOURNAL)
        flush_folder(folder)
    finished = replace(
        shard,
        records=writer.records,
        left_out=left_out,
        bytes=(folder / DATA).stat().st_size,
        content=writer.digest,
        journal=file_digest(folder / SHARD_JOURNAL),
    )
    write_shard_file(folder, finished)
    return finished
