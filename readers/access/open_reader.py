"""`open_reader`: the reader of a store in a folder, whatever its records lie in."""

from pathlib import Path

from patchpress.readers.access.nearby import OpensNearby
from patchpress.readers.access.reader import RecordReader, mode_of
from patchpress.readers.format.manifest import read_manifest


def open_reader(
    path: Path,
    *,
    mode: str,
    readahead: bool,
    checksums: bool,
    nearby: OpensNearby | None = None,
) -> RecordReader:
    """The reader of a store whose records lie in data files of its own, or in archives elsewhere.

    Raises:
        StoreError, OptionError: as `open_store`.
    """
    mode_of(mode)
    manifest = read_manifest(path)
    if manifest.in_archives:
        # Loaded if there is one: most stores have data files.
        from patchpress.readers.access.archive_records import ArchiveRecordReader

        return ArchiveRecordReader(
            path, manifest, mode=mode, readahead=readahead, checksums=checksums, nearby=nearby
        )
    return RecordReader(
        path,
        mode=mode,
        readahead=readahead,
        checksums=checksums,
        nearby=nearby,
        manifest=manifest,
    )
