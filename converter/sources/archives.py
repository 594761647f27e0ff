"""The patches of published archives, which are read once and never unpacked to the disk."""

import logging
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.memory import CellPool
from patchpress.converter.sources.acquisitions import PlacesInArchive
from patchpress.converter.sources.archive_names import Archive
from patchpress.converter.sources.assembly import PatchAssembler
from patchpress.converter.sources.contents import content
from patchpress.converter.sources.match import ModalityPaths
from patchpress.converter.sources.md5 import require_md5
from patchpress.converter.sources.passed_over import PassedOver
from patchpress.converter.sources.patch import Patch, Problem
from patchpress.converter.sources.tar import TarStream
from patchpress.converter.sources.unpacker import Unpacker
from patchpress.readers.errors import SourceError

_log = logging.getLogger(__name__)


def every_patch(patch: Patch) -> bool:
    """Every patch is wanted."""
    return True


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """Which patches of archives are read, and how."""

    takes: Callable[[Patch], bool] = every_patch
    """Whether a patch is wanted; the files of others are not read."""
    reads: Callable[[Patch], bool] = every_patch
    """Whether a wanted patch comes with its files, and not only by name."""
    most: Mapping[str, int] | None = None
    """Modality -> how many patches are wanted: after so many, nothing more is read."""
    cells: CellPool | None = None
    """Shared memory for the files; without it each patch has memory of its own."""
    names_only: bool = False
    """Whether patches come without their files."""
    notes_places: bool = False
    """Whether it is noted where the files lie in archives that are not compressed."""
    md5: Mapping[str, str] | None = None
    """File name of an archive -> the MD5 that it must have, if that is checked."""
    unpackers: list[Unpacker] | None = None
    """Idle processes that decompress: a stream takes one while it is read. If there is none, the
    stream decompresses in a thread."""


class ArchiveStream:
    """The patches of one or more modalities out of archives, one archive after the other.

    Each archive is read once, from front to back.
    """

    def __init__(
        self,
        archives: Sequence[Archive],
        modalities: Sequence[ModalitySource],
        on_problem: Problem,
        options: StreamOptions,
        folders: Collection[str] = (),
        absent: Collection[str] = (),
    ) -> None:
        """Prepare to read; no archive is opened yet.

        Args:
            archives: in the order in which they are read.
            modalities: those whose patches are wanted.
            on_problem: called with the error of each patch in a wrong folder.
            options: which patches are read, and how.
            folders: those of all modalities of the dataset, as in `ModalityPaths`.
            absent: names of the folders of modalities that are wanted and not found anywhere else.

        Raises:
            SourceError: a modality that cannot be read out of archives.
        """
        self.archives, self.modalities = archives, modalities
        self._on_problem, self._options = on_problem, options
        self._paths, self._absent = ModalityPaths(modalities, folders), absent
        for path in self._paths:
            if path.modality.sidecar and not path.pattern.is_folder_a_patch:
                raise SourceError(
                    f"{archives[0].path}: patches of {path.modality.name} are single files with "
                    "JSON beside them, which are not read out of archives: unpack it"
                )
        self.passed_over: dict[str, PassedOver] = {}
        """Archive -> its files that belong to no patch, after it was read."""
        self.come: list[tuple[str, array[int]]] = []
        """Each archive so far with the hashes of the keys of its patches, to tell those twice."""
        self.leftovers: list[str] = []
        """A sentence for each archive that other bytes follow, after it was read."""
        self._finished = 0  # bytes of the archives that were read to their end
        self._stream: TarStream | None = None

    @property
    def size(self) -> int:
        """Bytes of all archives on the disk."""
        return sum(archive.size for archive in self.archives)

    @property
    def consumed(self) -> int:
        """How many of these bytes have been read, those read ahead included."""
        return self._finished + (self._stream.consumed if self._stream else 0)

    def __iter__(self) -> Generator[Patch, None, None]:
        """Patches in the order in which they become complete; closing this closes the archives.

        Raises:
            SourceError: an archive is damaged, ends early, is another dataset's, has another MD5
                than published, or has the files of a patch too far apart.
        """
        unpackers = self._options.unpackers
        unpacker = unpackers.pop() if unpackers else None
        try:
            yield from self._patches(unpacker)
        finally:
            if unpackers is not None and unpacker is not None:
                unpackers.append(unpacker)

    def _patches(self, unpacker: Unpacker | None) -> Generator[Patch, None, None]:
        come = Counter[str]()
        places = PlacesInArchive(self.modalities, self._on_problem)
        self._finished = 0
        self.passed_over, self.leftovers, self.come = {}, [], []
        for archive in self.archives:
            if self._has_enough(come):
                return
            _log.info(
                "reading %s, decompressed in a %s",
                archive.path,
                "process of its own" if unpacker else "thread",
            )
            md5 = self._options.md5 is not None
            with closing(
                TarStream(archive.files, md5=md5, window=archive.window, unpacker=unpacker)
            ) as stream:
                self._stream = stream
                self._paths.enter(archive.path)
                assembler = PatchAssembler(
                    stream,
                    self._paths,
                    self._on_problem,
                    takes=self._options.takes,
                    reads=self._options.reads,
                    cells=self._options.cells,
                    names_only=self._options.names_only,
                    notes_places=self._options.notes_places,
                    absent=self._absent,
                )
                keys = array("q")
                self.come.append((str(archive.path), keys))
                for patch in places(assembler):
                    keys.append(hash(patch.key))
                    yield patch
                    come[patch.modality] += 1
                    if self._has_enough(come):
                        return
                if assembler.passed_over:
                    self.passed_over[archive.path.name] = assembler.passed_over
                assembler.require_patches()
                self._note_end(stream)
                if self._options.md5 is not None:
                    for path, digest in stream.digests().items():
                        require_md5(path, digest, self._options.md5[path.name])
            self._stream = None
            self._finished += archive.size

    def _note_end(self, stream: TarStream) -> None:
        """Note what comes after the end of an archive."""
        if stream.archives > 1:
            _log.info("%s: read %d archives one after the other", stream.path, stream.archives)
        if stream.leftover is not None:
            count, start = stream.leftover
            found = content(start)
            looks = f", which look like {found.name}," if found is not None else ""
            self.leftovers.append(
                f"{stream.path} has {count:,} bytes after its end{looks} that are not read"
            )

    def _has_enough(self, come: Counter[str]) -> bool:
        """Whether all wanted patches have come; an MD5 is taken of the whole archive anyway."""
        most = self._options.most
        if most is None or self._options.md5 is not None:
            return False
        return all(come[modality.name] >= most[modality.name] for modality in self.modalities)
