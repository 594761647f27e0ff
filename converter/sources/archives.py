"""Archives to patches: the files of a stream, gathered by patch and given on when they are whole.

Files may come in any order inside a patch, and patches may be interleaved as far as the window
reaches; nothing is unpacked to the disk.
"""

from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.descriptions.patterns import disagreement
from patchpress.converter.memory import CellPool
from patchpress.converter.sources.files import ArchivedFiles
from patchpress.converter.sources.locate import Archive
from patchpress.converter.sources.match import Form, Forms
from patchpress.converter.sources.md5 import require
from patchpress.converter.sources.patch import Patch, Problem, misplaced, patch_of
from patchpress.converter.sources.tar import TarStream
from patchpress.converter.sources.unpacker import Unpacker
from patchpress.readers.errors import SourceError

WINDOW = 64  # patches begun and not yet whole; archives as published need one
FOREIGN = 10_000  # files without any patch among them: it is another archive
HEAD = 4096  # bytes that a file has beside its pixels, or a file of labels at most, usually
FILES_MARGIN = 4  # the files of a patch may have so many times the bytes of its pixels


def every_patch(patch: Patch) -> bool:
    """Every patch is wanted."""
    return True


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """Which patches of archives are read, and how."""

    takes: Callable[[Patch], bool] = every_patch
    """Whether a patch is wanted; the files of others are not read."""
    most: Mapping[str, int] | None = None
    """Modality -> how many patches are wanted: after so many, nothing more is read."""
    cells: CellPool | None = None
    """Shared memory for the files; without it each patch has memory of its own."""
    names_only: bool = False
    """Whether patches come without their files."""
    md5: Mapping[str, str] | None = None
    """File name of an archive -> the MD5 that it must have, if that is checked."""
    unpackers: list[Unpacker] | None = None
    """Idle processes that decompress: a stream takes one while it is read. If there is none, it
    decompresses in a thread."""


@dataclass(slots=True)
class _Begun:
    """A patch some of whose files have come."""

    patch: Patch
    form: Form
    wanted: bool
    names: frozenset[str]
    missing: set[str]


def files_size(modality: ModalitySource) -> int:
    """Bytes that the files of one patch have at most, usually."""
    pixels = sum(
        np.dtype(band.dtype).itemsize * band.shape[0] * band.shape[1] for band in modality.bands
    )
    return (2 if modality.any_size else 1) * pixels + HEAD * (len(modality.bands) + 1)


class ArchiveStream:
    """The patches of one or more modalities out of archives, one archive after the other.

    Each archive is read once, from front to back. What belongs to no patch is counted in `ignored`.
    """

    def __init__(
        self,
        archives: Sequence[Archive],
        modalities: Sequence[ModalitySource],
        problem: Problem,
        wish: StreamOptions,
        folders: Collection[str] = (),
    ) -> None:
        """`folders` are those of all modalities of the dataset: what lies in another's is its."""
        self.archives, self.modalities = archives, modalities
        self._problem, self._wish = problem, wish
        self._forms = Forms(modalities, folders)
        for form in self._forms:
            if form.modality.sidecar and not form.path.is_folder_a_patch:
                raise SourceError(
                    f"{archives[0].path}: patches of {form.modality.name} are single files with "
                    "JSON beside them, which are not read out of archives: unpack it"
                )
        self.ignored: dict[str, int] = {}
        """Archive -> files of it that belong to no patch."""
        self._before = 0
        self._stream: TarStream | None = None

    @property
    def size(self) -> int:
        """Bytes of all archives on the disk."""
        return sum(archive.size for archive in self.archives)

    @property
    def consumed(self) -> int:
        """How many of them have been read."""
        return self._before + (self._stream.consumed if self._stream else 0)

    def __iter__(self) -> Generator[Patch, None, None]:
        """Patches in the order in which they become whole; closing the iterator closes the archive.

        Raises:
            SourceError: an archive is damaged, ends early, is another dataset's, has another MD5
                than published, or has the files of a patch too far apart.
        """
        unpackers = self._wish.unpackers
        unpacker = unpackers.pop() if unpackers else None
        try:
            yield from self._patches(unpacker)
        finally:
            if unpackers is not None and unpacker is not None:
                unpackers.append(unpacker)

    def _patches(self, unpacker: Unpacker | None) -> Iterator[Patch]:
        come = Counter[str]()
        self._before = 0
        md5 = self._wish.md5 is not None
        for archive in self.archives:
            if self._enough(come):
                return
            with TarStream(archive.files, md5=md5, unpacker=unpacker) as stream:
                self._stream = stream
                gathering = _Gathering(stream, self._forms, self._problem, self._wish)
                for patch in gathering:
                    yield patch
                    come[patch.modality] += 1
                    if self._enough(come):
                        return
                if gathering.ignored:
                    self.ignored[archive.path.name] = gathering.ignored
                gathering.require_patches()
                if self._wish.md5 is not None:
                    for path, digest in stream.digests().items():
                        require(path, digest, self._wish.md5[path.name])
            self._stream = None
            self._before += archive.size

    def _enough(self, come: Counter[str]) -> bool:
        most = self._wish.most
        if most is None or self._wish.md5 is not None:
            return False
        return all(come[m.name] >= most[m.name] for m in self.modalities)


class _Gathering:
    """The patches of one archive."""

    def __init__(
        self, stream: TarStream, forms: Forms, problem: Problem, wish: StreamOptions
    ) -> None:
        self._stream, self._forms = stream, forms
        self._largest = {
            form.modality.name: FILES_MARGIN * files_size(form.modality) for form in forms
        }
        self._problem, self._wish = problem, wish
        self.ignored = 0
        self._first_ignored = ""
        self._found = 0
        self._begun: dict[tuple[str, str], _Begun] = {}
        self._owners: dict[str, list[_Begun]] = {}  # by folder
        self._whole: list[_Begun] = []
        self._given_up: set[tuple[str, str]] = set()
        self._misplaced: set[str] = set()

    def __iter__(self) -> Iterator[Patch]:
        here, owners = "", list[_Begun]()
        for path, size in self._stream:
            folder, _, name = path.rpartition("/")
            if folder != here:
                # Only now: a band too many may come behind the last that is expected.
                yield from self._give_whole()
                here, owners = folder, self._owners.get(folder, [])
            begun = next((one for one in owners if name in one.missing), None)
            if begun is None:
                begun = self._owner(folder, name)
                owners = self._owners.get(folder, [])
            if begun is None:
                continue
            self._take(begun, name, size)
            if name not in begun.missing:
                continue
            begun.missing.remove(name)
            if begun.missing:
                if len(self._begun) > WINDOW:
                    yield from self._give_up_oldest()
                continue
            self._stream.last_patch = begun.patch.key
            self._whole.append(begun)
            if not begun.form.path.is_folder_a_patch:
                yield from self._give_whole()
        yield from self._give_whole()
        for begun in list(self._begun.values()):
            yield from self._give(begun)

    def require_patches(self) -> None:
        """Refuse an archive without any patch: it is another dataset's.

        Raises:
            SourceError: the message shows what it holds and what is expected.
        """
        if not self._found:
            paths = [path for m in {f.modality.name: f.modality for f in self._forms}.values()
                     for path in m.paths]  # fmt: skip
            raise SourceError(
                f"{self._stream.path} has no patch: it holds {self._first_ignored or 'nothing'} "
                f"where {' or '.join(paths)} is expected"
            )

    def _take(self, begun: _Begun, name: str, size: int) -> None:
        """Read a file of a patch, if its contents are wanted."""
        contents = begun.patch.archived
        if contents is None:
            return
        if size > self._largest[begun.patch.modality]:
            contents.fault = f"{begun.patch.folder}/{name} has {size:,} bytes, far more than usual"
        elif name in begun.names:
            self._stream.read_into(contents.add(name, size))
        else:
            contents.add(name, 0)  # a band too many: that it is there says all

    def _owner(self, folder: str, name: str) -> _Begun | None:
        """The patch of a file that none is waiting for: a new one, or one with a band too many.

        Raises:
            SourceError: its patch has that file already, or was given up before.
        """
        for form, known, wrong in self._forms.of(folder):
            if wrong is not None:
                self._tell_misplaced(folder, wrong)
                continue
            if not form.path.is_folder_a_patch:
                match = form.path.file.fullmatch(name)
                if match is None:
                    continue
                wrong = disagreement(known, match.groupdict())
                if wrong is None:
                    self._found += 1
                    return self._begin(form, folder, name, "", known | match.groupdict())
                self._problem(misplaced(f"{self._stream.path}/{folder}/{name}", wrong))
                return None
            before = form.path.before.format_map(known)
            after = form.path.after.format_map(known) if form.path.has_band else ""
            begun = self._begun.get((form.modality.name, folder))
            if begun is None:
                begun = self._begin(form, folder, before, after, known)
                if name in begun.names or form.is_band(before, after, name):
                    self._add(folder, begun)
                    return begun
            elif name in begun.names:
                raise SourceError(f"{self._stream.path} has {folder}/{name} twice: repack it")
            elif form.is_band(before, after, name):
                return begun
        if folder not in self._misplaced and not self._forms.is_anothers(folder):
            self._ignore(f"{folder}/{name}")
        return None

    def _tell_misplaced(self, folder: str, wrong: str) -> None:
        if folder not in self._misplaced:
            self._misplaced.add(folder)
            self._problem(misplaced(f"{self._stream.path}/{folder}", wrong))

    def _begin(
        self, form: Form, folder: str, before: str, after: str, known: dict[str, str]
    ) -> _Begun:
        """A patch none of whose files has come."""
        modality = form.modality
        patch = patch_of(modality, known, f"{self._stream.path}/{folder}", before, after)
        names = [f"{before}{band.name}{after}" for band in modality.bands] if after else [before]
        if modality.sidecar is not None:
            names.append(modality.sidecar.file.replace(f"{{{modality.key_column}}}", patch.name))
        wanted = self._wish.takes(patch)
        if wanted and not self._wish.names_only:
            cells = self._wish.cells
            patch = replace(patch, archived=ArchivedFiles(cells.take() if cells else None))
        return _Begun(patch, form, wanted, frozenset(names), set(names))

    def _add(self, folder: str, begun: _Begun) -> None:
        place = (begun.patch.modality, folder)
        if place in self._given_up:
            raise SourceError(
                f"{self._stream.path} has the files of {folder} more than {WINDOW} patches apart: "
                "unpack it and give the folder"
            )
        self._found += 1
        self._begun[place] = begun
        self._owners.setdefault(folder, []).append(begun)

    def _give_whole(self) -> Iterator[Patch]:
        whole, self._whole = self._whole, []
        for begun in whole:
            yield from self._give(begun)

    def _give(self, begun: _Begun) -> Iterator[Patch]:
        """Let go of a patch, and give it on where it is wanted."""
        folder = begun.patch.folder.removeprefix(f"{self._stream.path}/")
        if self._begun.pop((begun.patch.modality, folder), None) is not None:
            self._owners[folder].remove(begun)
            if not self._owners[folder]:
                del self._owners[folder]
        if begun.wanted:
            yield begun.patch

    def _give_up_oldest(self) -> Iterator[Patch]:
        """Give on the patch that waits longest for a file, as one that lacks it."""
        place, oldest = next((p, b) for p, b in self._begun.items() if b.missing)
        self._given_up.add(place)
        if oldest.patch.archived is not None and not oldest.patch.archived.fault:
            oldest.patch.archived.fault = (
                f"{oldest.patch.folder}/{min(oldest.missing)} is missing, or lies more than "
                f"{WINDOW} patches behind the first file of its patch: then unpack the archive and "
                "give the folder"
            )
        yield from self._give(oldest)

    def _ignore(self, path: str) -> None:
        self.ignored += 1
        self._first_ignored = self._first_ignored or path
        if self.ignored >= FOREIGN:
            self.require_patches()
