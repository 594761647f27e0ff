"""Writes one data file of a new store, and goes on with one that was interrupted."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.progress import Progress
from patchpress.converter.sources.patch import Patch
from patchpress.converter.storage.journal import Journal
from patchpress.converter.storage.writer import ShardWriter
from patchpress.converter.transfer.frames import FrameReader
from patchpress.converter.transfer.records import StoredRecords
from patchpress.readers.access.scan import HeaderList
from patchpress.readers.errors import TargetError
from patchpress.readers.format.manifest import DATA, Shard


class WrittenFile(NamedTuple):
    """A data file that is on the disk."""

    shard: Shard
    """Its path in the store, and what it holds."""
    headers: HeaderList
    checksums: npt.NDArray[np.uint64]
    """Of each record, as it is stored now."""


def write_data_file(
    folder: Path,
    path: str,
    journal: Journal,
    records: StoredRecords,
    names: list[str],
    reader: FrameReader,
    progress: Progress,
    *,
    paged: bool,
) -> WrittenFile:
    """Store records in the data file of a folder, after those that its journal has already.

    Args:
        folder: of the data file.
        path: of the data file, relative to the store.
        journal: of what is stored.
        records: all that the file is to have.
        names: of the modalities, as `StoredRecords.modality` counts them.
        reader: of the records.
        progress: told of each chunk, and of what is there already.
        paged: as for `ShardWriter`.

    Raises:
        StoreDamaged: a source is damaged.
        TargetError: the folder cannot be written, or has records of another source.
    """
    checksums = records.checksum.copy()
    first = _stored(journal, records, checksums, progress)
    with ShardWriter(folder, journal, paged=paged) as writer:
        for chunk in reader.chunks(records, first):
            nbytes = 0
            for position, length, checksum, frame in chunk.records:
                key = bytes(records.keys[position]).decode()
                patch = Patch(
                    modality=names[records.modality[position]], key=key, name=key, identity=""
                )
                writer.put(patch, Encoded(length, checksum, None), frame)
                checksums[position] = checksum
                nbytes += length
            writer.flush(chunk.release)
            progress.advance(len(chunk.records), nbytes)
        writer.finish()
    size = (folder / DATA).stat().st_size
    return WrittenFile(Shard(path, writer.records, size, writer.digest), writer.headers, checksums)


def _stored(
    journal: Journal, records: StoredRecords, checksums: npt.NDArray[Any], progress: Progress
) -> int:
    """How many records a journal has; `checksums` gets theirs.

    Raises:
        TargetError: they are not those that are to be stored.
    """
    count = 0
    for entry in journal.entries():
        fits = count < len(records) and bytes(records.keys[count]) == entry.key.encode()
        if not fits or not isinstance(entry.result, Encoded):
            raise TargetError(
                f"{journal.path.parent} has other records than are to be stored ({entry.key}): "
                "give --overwrite to begin anew"
            )
        checksums[count] = entry.result.checksum
        count += 1
    if count:
        progress.advance(count, 0)
    return count
