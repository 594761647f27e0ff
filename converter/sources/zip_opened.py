"""The directories of zip archives: each is read once, whoever asks, as long as it is the same."""

from collections.abc import Sequence
from weakref import WeakValueDictionary

from patchpress.converter.sources.archive_names import Archive
from patchpress.converter.sources.zip_bytes import Identity, ZipBytes
from patchpress.converter.sources.zip_directory import ZipDirectory

MOST_KEPT = 1 << 18
"""Files of directories that are kept for whoever asks next: 40 MB or so."""
_Key = tuple[tuple[str, ...], tuple[Identity, ...]]
_known: "WeakValueDictionary[_Key, ZipDirectory]" = WeakValueDictionary()
_kept: list[ZipDirectory] = []  # so that small ones are not forgotten; the last one last


def zip_directory(files: Sequence[str]) -> ZipDirectory:
    """The directory of an archive of these files; of one that is as it was, that of before.

    Raises:
        SourceMissing, SourceError: as `ZipDirectory`.
    """
    opened = ZipBytes(files)
    directory = _known.get((opened.files, opened.identity))
    if directory is None:
        directory = ZipDirectory(files)
        _known[directory.files, directory.identity] = directory
    _keep(directory)
    return directory


def _keep(directory: ZipDirectory) -> None:
    kept, files = [directory], len(directory)
    for other in reversed(_kept):
        if other is not directory and files + len(other) <= MOST_KEPT:
            files += len(other)
            kept.append(other)
    _kept[:] = reversed(kept) if len(directory) <= MOST_KEPT else _kept


class ZipDirectories:
    """The directories of archives, each read when it is first needed, and kept."""

    def __init__(self) -> None:
        self._read: dict[Archive, ZipDirectory] = {}

    def of(self, archive: Archive) -> ZipDirectory:
        """The directory of an archive.

        Raises:
            SourceMissing, SourceError: as `ZipDirectory`.
        """
        if archive not in self._read:
            self._read[archive] = zip_directory([str(file) for file in archive.files])
        return self._read[archive]
