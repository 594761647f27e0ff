"""Records of finished data files written once more, in the order of their keys."""

from collections.abc import Callable, Collection, Iterator, Sequence
from mmap import mmap
from pathlib import Path
from typing import NamedTuple

import xxhash

from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.encoding.frame import ROOM, frame_size
from patchpress.converter.sources.patch import Patch
from patchpress.converter.storage.journal import Entry, Journal
from patchpress.converter.storage.writer import ShardWriter
from patchpress.readers.access.files import DataFile, open_file
from patchpress.readers.access.scan import scan
from patchpress.readers.errors import PatchError, StoreDamaged
from patchpress.readers.format.manifest import DATA

_FLUSHED = 4 << 20  # bytes of records that are handed on together

Told = Callable[[int, int], None]
"""Called with how many patches more are done, and the bytes of their records."""


class _Stored(NamedTuple):
    """The records of one data file."""

    file: DataFile
    places: dict[bytes, int]
    """Key -> where its record begins."""


def write_in_key_order(
    parts: Sequence[tuple[Path, Journal]],
    writer: ShardWriter,
    *,
    left_out: Collection[str] = (),
    twice: Callable[[str, int, int], PatchError] | None = None,
    tell: Told | None = None,
) -> None:
    """Store the records of some data files in the order of their keys; the caller finishes.

    Patches that have no record because of an error are noted again.

    Args:
        parts: folders, each with its journal. Of a key that several have, the first one's is taken.
        writer: of the new file.
        left_out: identities of patches whose records are not stored.
        twice: makes the error of a patch that two parts have, of its key and their numbers; if
            None, that of the writer is taken.
        tell: called with each piece of work that is done.

    Raises:
        StoreDamaged: a record differs from its checksum, or cannot be read.
        TargetError: the folder of the writer cannot be written.
        PatchError: what `twice` raises.
    """
    stored = [_stored(folder) for folder, _ in parts]
    pending = count = 0
    before = ("", 0)
    for entry, number in _entries([journal for _, journal in parts]):
        count += 1
        patch = Patch(modality=entry.modality, key=entry.key, name="", identity=entry.identity)
        if not isinstance(entry.result, Encoded):
            writer.put(patch, entry.result, memoryview(b""))
            continue
        begin = stored[number].places.get(entry.key.encode())
        if begin is None or (left_out and entry.identity in left_out):
            continue  # it was taken out again, or is now
        if twice is not None and entry.key == before[0]:
            writer.put(patch, twice(entry.key, before[1], number), memoryview(b""))
            continue
        before = entry.key, number
        frame = _frame(stored[number].file, begin, entry, entry.result)
        writer.put(patch, entry.result, frame)
        pending += len(frame)
        if pending >= _FLUSHED:
            writer.flush()
            if tell is not None:
                tell(count, pending)
            pending = count = 0
    if tell is not None:
        tell(count, pending)


def _stored(folder: Path) -> _Stored:
    records = scan(folder / DATA)
    places = dict(zip(records.keys.tolist(), records.offset.tolist(), strict=True))
    return _Stored(open_file(folder / DATA, readahead=True), places)


def _entries(journals: Sequence[Journal]) -> Iterator[tuple[Entry, int]]:
    """All entries in the order of their keys, each with the number of its journal."""
    found = [(entry, number) for number, one in enumerate(journals) for entry in one.entries()]
    found.sort(key=lambda pair: pair[0].key)  # those of one key stay in the order of the journals
    yield from found


def _frame(file: DataFile, begin: int, entry: Entry, record: Encoded) -> memoryview:
    """The frame of a record, in memory of its own: direct writes want whole pages."""
    frame = memoryview(mmap(-1, frame_size(record.length)))
    value = frame[ROOM : ROOM + record.length]
    file.read_into([value], begin, record.length)
    if xxhash.xxh3_64_intdigest(value) != record.checksum:
        raise StoreDamaged(
            f"record {entry.key!r} of {file.path} differs from its checksum: check the disk, "
            f"remove {file.path.parent}, and run the same command again"
        )
    return frame
