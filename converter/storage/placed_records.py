"""Where the records of patches lie in archives: found, compared, and written as an index.

A record is made as a conversion makes it. Then it is put together once more, as readers will, from
the bytes of the archive; only if both are the same is it noted. So no patch whose files lie or look
otherwise than others can ever give wrong pixels.
"""

import os
from array import array
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.encoding.pieces import (
    WAY_OUT,
    BandPieces,
    PackedPiece,
    moved,
    pieces_of,
)
from patchpress.converter.sources.file_run import ArchivePlaces
from patchpress.converter.sources.files import ArchivedFiles
from patchpress.converter.sources.patch import Patch
from patchpress.converter.sources.zip_files import ZippedFiles
from patchpress.readers.access.archive_index import (
    MOST_PLACEMENTS,
    ArchiveIndex,
    IndexedArchive,
)
from patchpress.readers.access.archives import identity_of
from patchpress.readers.access.files import DataFile, open_file
from patchpress.readers.access.keys import KeysInMemory
from patchpress.readers.errors import PatchError, SourceError, StoreDamaged
from patchpress.readers.format.manifest import ContentDigest
from patchpress.readers.format.placement import Packed, Placement, PlainPiece, Spans
from patchpress.readers.format.record import header_of, parse_header

_TRIED = (
    4  # placements of patches with files of the same sizes that are tried before a TIFF is read
)

_Alike = tuple[str, tuple[tuple[str, int, int], ...]]
"""What patches have in common that may share a placement: modality, and of each file the rest of
its name, its first byte after that of the first file, and its bytes."""


class _Placed(NamedTuple):
    archive: int
    offset: int
    placement: int
    spans: Spans


class PlacedRecords:
    """Notes the records of all patches; `put` and `remove` are as those of a `ShardWriter`."""

    def __init__(
        self,
        modalities: Mapping[str, ModalitySource],
        twice: Callable[[Patch], PatchError],
    ) -> None:
        """`twice` makes the error of a patch whose key is there already."""
        self._modalities, self._twice = modalities, twice
        self._archives: dict[str, int] = {}
        self._files: list[DataFile] = []
        self._numbers: dict[tuple[object, ...], int] = {}
        self._placements: list[Placement] = []
        self._alike: dict[_Alike, list[int]] = {}
        self._keys: dict[str, int] = {}
        self._archive, self._placement = array("H"), array("H")
        self._offset, self._first, self._spans = array("Q"), array("Q"), array("Q")
        self._checksums = array("Q")

    def __len__(self) -> int:
        return len(self._keys)

    def put(
        self, patch: Patch, result: Encoded | PatchError, record: memoryview
    ) -> Encoded | PatchError:
        """Note where the pixels of a patch lie; returns what became of it.

        Args:
            patch: the patch.
            result: what is known of its record, or its error.
            record: its bytes.
        """
        if isinstance(result, PatchError):
            return result
        if patch.key in self._keys:
            return self._twice(patch)
        try:
            placed = self._place(patch, result, record)
        except PatchError as error:
            return error
        self._keys[patch.key] = len(self._archive)
        self._archive.append(placed.archive)
        self._offset.append(placed.offset)
        self._placement.append(placed.placement)
        self._first.append(len(self._spans) // 2)
        for span in placed.spans:
            self._spans.extend(span)
        self._checksums.append(result.checksum)
        return result

    def remove(self, keys: Iterable[str]) -> None:
        """Forget some records."""
        for key in keys:
            self._keys.pop(key, None)

    def index(self, store: Path) -> tuple[ArchiveIndex, str]:
        """The index for a store in that folder, and the digest over keys and checksums.

        Raises:
            SourceError: an archive changed while it was read.
        """
        ordered = sorted((key.encode(), at) for key, at in self._keys.items())
        order = np.array([at for _, at in ordered], np.int64)
        digest = ContentDigest()
        checksums = np.frombuffer(self._checksums, np.uint64)[order].tolist()
        for (key, _), checksum in zip(ordered, checksums, strict=True):
            digest.add(key.decode(), checksum)
        index = ArchiveIndex(
            names=KeysInMemory(np.array([key for key, _ in ordered], "S")),
            archive=np.frombuffer(self._archive, np.uint16)[order],
            offset=np.frombuffer(self._offset, np.uint64)[order],
            placement=np.frombuffer(self._placement, np.uint16)[order],
            first=np.frombuffer(self._first, np.uint64)[order],
            spans=np.array(self._spans, np.uint64).reshape(-1, 2),
            placements=tuple(self._placements),
            archives=tuple(self._indexed(store)),
        )
        return index, digest.text()

    def _indexed(self, store: Path) -> Iterable[IndexedArchive]:
        for path, file in zip(self._archives, self._files, strict=True):
            if os.stat(path).st_size != file.size:
                raise SourceError(
                    f"{path} changed while it was read: let it be whole, and run the same command "
                    "again"
                )
            yield IndexedArchive(path_in_index(store, Path(path)), file.size, identity_of(file))

    def _place(self, patch: Patch, encoded: Encoded, record: memoryview) -> _Placed:
        """Where the record of a patch lies.

        Raises:
            PatchError: it cannot be read there.
        """
        places = _places_of(patch)
        number = self._number_of(places.archive)
        data = self._files[number].map
        modality = self._modalities[patch.modality]
        files = modality.files_of(apart=patch.apart)
        there = [(file, *places.files[patch.file(file.name)]) for file in files]
        start = min(at for _, at, _ in there)
        alike = patch.modality, tuple((file.name, at - start, size) for file, at, size in there)
        for placement in self._alike.get(alike, ())[:_TRIED]:
            if self._is_same(placement, data, start, (), encoded, record):
                return _Placed(number, start, placement, ())
        bands: dict[str, BandPieces] = {}
        for file, at, size in there:
            name = patch.path(patch.file(file.name))
            try:
                found = pieces_of(data[at : at + size].tobytes())
            except PatchError as error:
                raise PatchError(f"{name} {error}") from None
            if len(found) != len(file.bands):
                raise PatchError(f"{name} has another number of bands: {WAY_OUT}")
            for band, pieces in zip(file.bands, found, strict=True):
                bands[band] = _from(pieces, at - start)
        placement, spans = self._placement_of(patch, header_of(record), bands)
        if not self._is_same(placement, data, start, spans, encoded, record):
            raise PatchError(
                f"{patch.folder} has pixels that lie otherwise than its files say, so they cannot "
                f"be read in their place: {WAY_OUT}"
            )
        if not spans:
            known = self._alike.setdefault(alike, [])
            if placement not in known:
                known.insert(0, placement)
        return _Placed(number, start, placement, spans)

    def _placement_of(
        self, patch: Patch, header: bytes, bands: Mapping[str, BandPieces]
    ) -> tuple[int, Spans]:
        """The number of a placement, and where the packed pieces of the record lie."""
        pieces: list[PlainPiece] = []
        packed: list[Packed] = []
        spans: list[tuple[int, int]] = []
        for tensor in parse_header(header).tensors:
            for piece in bands[tensor.name]:
                if isinstance(piece, PackedPiece):
                    packed.append(piece.packed)
                    spans.append((piece.offset, piece.nbytes))
                else:
                    pieces.append(piece)
        if pieces and packed:
            raise PatchError(
                f"{patch.folder} has some files deflated and others not, which is not read in "
                f"place: {WAY_OUT}"
            )
        pieces = moved(pieces, 0)
        known = header, tuple(pieces), tuple(packed)
        number = self._numbers.get(known)
        if number is None:
            number = len(self._placements)
            if number >= MOST_PLACEMENTS:
                raise SourceError(
                    f"{patch.folder}: the files of more than {MOST_PLACEMENTS:,} patches lie in "
                    f"as many different ways, which is too much for an index: {WAY_OUT}"
                )
            self._numbers[known] = number
            self._placements.append(Placement(*known))
        return number, spans

    def _is_same(
        self,
        number: int,
        data: npt.NDArray[np.uint8],
        start: int,
        spans: Spans,
        encoded: Encoded,
        record: memoryview,
    ) -> bool:
        """Whether a placement gives the bytes of a record."""
        placement = self._placements[number]
        header = placement.header
        if placement.size != encoded.length or record[: len(header)].tobytes() != header:
            return False
        if start + placement.span[1] > len(data):
            return False
        again = np.empty(placement.size, np.uint8)
        try:
            placement.fill(data, start, spans, again)
        except StoreDamaged:
            return False
        return xxhash.xxh3_64_intdigest(again.data) == encoded.checksum

    def _number_of(self, archive: str) -> int:
        number = self._archives.get(archive)
        if number is None:
            number = self._archives[archive] = len(self._archives)
            self._files.append(open_file(Path(archive), readahead=True))
        return number


def _places_of(patch: Patch) -> ArchivePlaces:
    """Where the files of a patch lie.

    Raises:
        PatchError: a file is compressed in its archive.
    """
    files = patch.archived
    if isinstance(files, ZippedFiles):
        return files.stored_places()
    if isinstance(files, ArchivedFiles) and files.places is not None:
        return files.places
    raise PatchError(f"{patch.folder} lies in no archive, so that nothing is read in its place")


def _from(pieces: BandPieces, by: int) -> BandPieces:
    """Pieces of a file, counted from the first byte of the patch."""
    plain = [one for one in pieces if isinstance(one, PlainPiece)]
    packed = [one for one in pieces if isinstance(one, PackedPiece)]
    return moved(plain, by) or [one._replace(offset=one.offset + by) for one in packed]


def path_in_index(store: Path, archive: Path) -> str:
    """The path of an archive as the index has it: relative if it lies beside the store."""
    # A folder above may be a link, which `..` does not lead back through.
    real, folder = archive.parent.resolve() / archive.name, store.resolve()
    if real.parent == folder.parent:
        return f"../{real.name}"
    if real.parent == folder:
        return real.name
    return str(real)
