"""`ArchiveRecordReader`: the records of a store of archives, read as those of others."""

import logging
import warnings
from pathlib import Path
from typing import Any, cast

from patchpress.readers.access.archive_fetcher import ArchiveFetcher
from patchpress.readers.access.archived_records import ArchivedRecords
from patchpress.readers.access.extents import Extents
from patchpress.readers.access.fetcher import Fetcher
from patchpress.readers.access.file_system import file_system_of
from patchpress.readers.access.nearby import OpensNearby
from patchpress.readers.access.reader import RecordReader, _Closed, mode_of
from patchpress.readers.errors import PatchpressError, StageUnusable, StoreDamaged, ViewImpossible
from patchpress.readers.format.manifest import Manifest, read_manifest
from patchpress.readers.format.modality import Modality

_log = logging.getLogger(__name__)


class ArchiveRecordReader(RecordReader):
    """The records of one store of archives; safe in threads and after a fork."""

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        *,
        mode: str,
        readahead: bool,
        checksums: bool,
        nearby: OpensNearby | None = None,
    ) -> None:
        """Open a store, as `open_store` says."""
        self.path, self.manifest = path, manifest
        self.mode, self.readahead = mode_of(mode), readahead
        self._opens_nearby, self.nearby = None, None
        if nearby is not None:
            warnings.warn(
                f"{path} reads its pixels in archives, which are not staged: copy the store to "
                "that disk (`patchpress copy`), or the archives",
                StageUnusable,
                stacklevel=5,
            )
        self._records = ArchivedRecords(path, manifest, readahead=readahead)
        self.file_system = file_system_of(self._records.archives.files[0].path)
        self._prepare(checksums=checksums)
        fetcher = ArchiveFetcher(self._records, self._fitting_mode())
        _log.info("%s: records are read in archives, mode %s", path, fetcher.mode)
        self._fetcher = fetcher

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (
            str(self.path),
            str(self.mode),
            self.readahead,
            self._checksums is not None,
        )

    @property
    def extents(self) -> Extents | None:
        """Where the records would lie if they were in one data file."""
        return self._records.index.extents

    def data_files(self) -> list[Path]:
        """The archives."""
        self._records.archives.check()
        return [file.path for file in self._records.archives.files]

    def mapped(self, key: str) -> tuple[memoryview, Modality]:
        """Nothing.

        Raises:
            ViewImpossible: a record in an archive is nowhere as a whole.
            KeyMissing: there is none.
        """
        self.find([key])
        raise ViewImpossible(
            f"record {key!r} lies in an archive, band by band, so no array lies there: use read"
        )

    def explanation(self, error: Exception) -> Exception:
        """What is wrong if a record could not be read: an archive that was changed, or `error`."""
        try:
            self._records.archives.check()
        except StoreDamaged as changed:
            return changed
        if isinstance(error, PatchpressError):
            return error
        return StoreDamaged(
            f"{self.path} cannot be read ({type(error).__name__}: {error}): open the store again, "
            f"or run `patchpress verify {self.path}`"
        )

    def close(self) -> None:
        """Let go of the archives; reading raises StoreUnreadable from now on."""
        self._fetcher = cast("Fetcher", _Closed(self.path))
        self._records.archives.files.clear()


def _reopen(path: str, mode: str, readahead: bool, checksums: bool) -> ArchiveRecordReader:
    folder = Path(path)
    return ArchiveRecordReader(
        folder, read_manifest(folder), mode=mode, readahead=readahead, checksums=checksums
    )
