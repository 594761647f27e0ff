"""WebDataset: tar files of samples, ``KEY.MODALITY.npy`` for each record and ``KEY.json``."""

import io
import tarfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from patchpress.converter.exports.exported import Written
from patchpress.converter.exports.names import FileNames
from patchpress.converter.exports.samples import (
    absent_notes,
    arrays_of_row,
    as_json,
    grid_notes,
    split_notes,
    splits_of,
)
from patchpress.converter.exports.selection import ExportSelection
from patchpress.converter.progress import Progress
from patchpress.readers.errors import OptionError

_ABSENT = "rows without {name}, which have no file of it, so that no batch has them beside others"


def export_webdataset(
    selection: ExportSelection, folder: Path, progress: Progress, *, shard_size: int
) -> Written:
    """Write rows as samples of WebDataset, those of each split in tar files of their own.

    Args:
        selection: the rows.
        folder: an empty one, which is filled.
        progress: told of each patch.
        shard_size: bytes after which a tar file ends.

    Raises:
        OptionError: modalities whose names differ only in case, which its readers do not tell
            apart.
        StoreDamaged: a record differs from its checksum.
    """
    _require_names(selection)
    names, written = FileNames(escaped="."), Written()
    shards: dict[str, _Shards] = {}
    try:
        for rows in selection.batches():
            columns = rows.table.to_pylist()
            for number, prefix in enumerate(splits_of(selection, rows)):
                key = names.of(rows.names[number])
                target = shards.setdefault(prefix, _Shards(folder, prefix, shard_size))
                before = written.bytes
                target.begin_sample()
                for ending, pixels in arrays_of_row(selection, rows, number, written).items():
                    target.add(f"{key}.{ending}.npy", _as_npy(pixels))
                target.add(f"{key}.json", as_json(columns[number]))
                progress.advance(1, written.bytes - before)
    finally:
        for one in shards.values():
            one.close()
    written.shards = {name: count for one in shards.values() for name, count in one.counts.items()}
    written.files = len(written.shards)
    absent = absent_notes(selection, written, _ABSENT)
    written.notes = [*split_notes(selection), *absent, *names.note(), *grid_notes(selection)]
    return written


def _require_names(selection: ExportSelection) -> None:
    seen: dict[str, str] = {}
    for name in selection.modalities:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise OptionError(
                f"modalities {other} and {name} differ only in case, which readers of WebDataset "
                "do not tell apart: leave one out (--modality)"
            )


def _as_npy(pixels: npt.NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(pixels), allow_pickle=False)
    return file.getvalue()


class _Shards:
    """The tar files of one split, one after another."""

    def __init__(self, folder: Path, prefix: str, size: int) -> None:
        self._folder, self._prefix, self._size = folder, prefix, size
        self._file: BinaryIO | None = None
        self._tar: tarfile.TarFile | None = None
        self._name = ""
        self.counts: dict[str, int] = {}
        """Name of a file -> samples."""

    def begin_sample(self) -> None:
        """Count a sample; it begins a new file if the last one is full."""
        if self._tar is None or self._tar.offset >= self._size:
            self.close()
            self._name = f"{self._prefix}-{len(self.counts):06}.tar"
            self.counts[self._name] = 0
            file = (self._folder / self._name).open("xb")
            self._file = file
            self._tar = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.GNU_FORMAT)
        self.counts[self._name] += 1

    def add(self, name: str, content: bytes) -> None:
        """Add a file of the sample that was begun."""
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), 0o644
        if self._tar is not None:
            self._tar.addfile(info, io.BytesIO(content))

    def close(self) -> None:
        """End the file that is open."""
        if self._tar is not None:
            self._tar.close()
        if self._file is not None:
            self._file.close()
        self._tar = self._file = None
