"""The folder of one shard, from its last record until it is finished.

A shard's data file depends on its records alone. So records that did not come in the order of their
keys, or that were taken out again, are written once more, in that order, in a folder of their own
inside the shard's. That folder is made a finished shard first; then its files take their places.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from mmap import mmap
from pathlib import Path

from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.encoding.frame import ROOM, frame_size
from patchpress.converter.sources.patch import Patch
from patchpress.converter.storage.folder import writing
from patchpress.converter.storage.journal import Entry, Journal
from patchpress.converter.storage.ownership import SHARD_FILE, SHARD_JOURNAL, SORTED
from patchpress.converter.storage.shard_file import FinishedShard, write_shard_file
from patchpress.converter.storage.writer import ShardWriter
from patchpress.readers.access.extents_file import write_extents
from patchpress.readers.access.files import open_file
from patchpress.readers.access.scan import build, scan
from patchpress.readers.errors import PatchError
from patchpress.readers.format.manifest import DATA, EXTENTS, JOURNAL, file_digest
from patchpress.readers.format.whole_file import flush_folder

_FLUSHED = 4 << 20  # bytes of records that are handed on together
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
            _write_sorted(folder, writer.journal, sorted_writer)
            sorted_writer.finish()
            journal.append_rest()
        finished = _seal(aside, sorted_writer, shard)
    take_sorted(folder)
    return finished


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


def _write_sorted(folder: Path, journal: Journal, writer: ShardWriter) -> None:
    """Store the records of a shard's data file in the order of their keys."""
    records = scan(folder / DATA)
    places = dict(zip(records.keys.tolist(), range(len(records.keys)), strict=True))
    stored = open_file(folder / DATA).bytes
    pending = 0
    for entry in sorted(journal.entries(), key=lambda entry: entry.key):
        patch = _patch_of(entry)
        if not isinstance(entry.result, Encoded):
            writer.put(patch, entry.result, memoryview(b""))
            continue
        place = places.get(entry.key.encode())
        if place is None:
            continue  # it was taken out again
        length, begin = entry.result.length, int(records.offset[place])
        frame = memoryview(mmap(-1, frame_size(length)))  # direct writes want whole pages
        frame[ROOM : ROOM + length] = stored[begin : begin + length]
        writer.put(patch, entry.result, frame)
        pending += len(frame)
        if pending >= _FLUSHED:
            writer.flush()
            pending = 0


def _patch_of(entry: Entry) -> Patch:
    """What a journal tells of the patch of an entry: names, and no files."""
    return Patch(modality=entry.modality, key=entry.key, name="", identity=entry.identity)


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
