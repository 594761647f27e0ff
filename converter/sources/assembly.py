"""The files of one archive put together to patches, each of which is given on when it is complete.

The files of a patch may come in any order, and those of some patches may be mixed (`WINDOW`).
"""

from collections.abc import Callable, Collection, Iterable, Iterator

from patchpress.converter.memory import CellPool
from patchpress.converter.sources.files import ArchivedFiles, largest_file
from patchpress.converter.sources.match import FolderMatch, ModalityPath, ModalityPaths
from patchpress.converter.sources.partial_patch import PartialPatch, PatchRuns
from patchpress.converter.sources.passed_over import PassedOver, has_hidden_part, is_hidden
from patchpress.converter.sources.patch import (
    Patch,
    Problem,
    file_patch,
    folder_patch,
    misplaced,
    name_problem,
    no_patch,
    undescribed,
)
from patchpress.converter.sources.tar import TarStream
from patchpress.converter.sources.tar_run import ReadFile
from patchpress.readers.errors import SourceError

WINDOW = 64  # patches that may wait for files at a time; archives as published need one
FOREIGN = 10_000  # files without a patch among them tell that an archive is another dataset's


class PatchAssembler:
    """Puts together the patches of one archive; iterated once."""

    def __init__(
        self,
        stream: TarStream,
        paths: ModalityPaths,
        on_problem: Problem,
        *,
        takes: Callable[[Patch], bool],
        reads: Callable[[Patch], bool],
        cells: CellPool | None,
        names_only: bool,
        notes_places: bool = False,
        absent: Collection[str] = (),
    ) -> None:
        """Take the options as in `StreamOptions`; `on_problem` is told of misplaced patches.

        `absent` are the folders of modalities that the source has nowhere else.
        """
        self._absent = absent
        self._stream, self._paths, self._on_problem = stream, paths, on_problem
        self._takes, self._reads = takes, reads
        self._cells, self._names_only = cells, names_only
        self._noted_as = str(stream.path) if notes_places else ""
        self._largest = {path.modality.name: largest_file(path.modality) for path in paths}
        self.passed_over = PassedOver()
        """Files that belong to no patch, so far."""
        self._has_patches = False
        # Both have the patches that wait for files, or for the end of their folder.
        self._partial: dict[tuple[str, str], PartialPatch] = {}  # by modality and folder
        self._by_folder: dict[str, list[PartialPatch]] = {}
        self._complete: list[PartialPatch] = []
        self._given_up: set[tuple[str, str]] = set()  # modality and folder
        self._misplaced: set[str] = set()  # folders
        self._runs = PatchRuns(stream)
        self._above, self._is_above_hidden = "", False  # the folder in which the last patch lay

    def __iter__(self) -> Iterator[Patch]:
        """The wanted patches, each when all its files have come; at the end those that lack some.

        Raises:
            SourceError: as `ArchiveStream`.
        """
        folder = ""
        in_folder = list[PartialPatch]()
        for path, size in self._stream:
            new_folder, _, name = path.rpartition("/")
            if new_folder != folder:
                # Not before, because a band too many may come after the last file of a patch.
                yield from self._give_complete()
                folder, in_folder = new_folder, self._by_folder.get(new_folder, [])
            if len(in_folder) == 1 and name in in_folder[0].missing:  # most often
                partial: PartialPatch | None = in_folder[0]
            else:
                partial = next((one for one in in_folder if name in one.missing), None)
            if partial is None:
                partial = self._patch_of(folder, name)
                in_folder = self._by_folder.get(folder, [])
                if partial is not None and partial.patch.date:
                    yield from self._give_other_places(partial.patch)
                if partial is not None and self._runs.take(partial, name, size):
                    self._stream.last_patch = partial.patch.key
                    self._complete.append(partial)
                    continue
            if partial is None:
                continue
            self._read_file(partial, name, size)
            if name not in partial.missing:  # a band too many
                partial.read = None
                continue
            partial.missing.remove(name)
            if not partial.missing:
                self._stream.last_patch = partial.patch.key
                self._complete.append(partial)
                self._runs.learn(partial)
                if not partial.path.pattern.is_folder_a_patch:
                    yield from self._give_complete()
            elif len(self._partial) > WINDOW:
                yield from self._give_up_oldest()
        yield from self._give_complete()
        for partial in list(self._partial.values()):
            if self._give(partial):
                yield partial.patch

    def require_patches(self) -> None:
        """Refuse an archive without any patch: it is another dataset's.

        Raises:
            SourceError: the message shows what the archive holds and what is expected.
        """
        if not self._has_patches:
            modalities = {path.modality.name: path.modality for path in self._paths}
            raise no_patch(self._stream.path, holds=self._example(), modalities=modalities.values())

    def _example(self) -> str:
        """The path of a file that belongs to no patch; empty if there is none."""
        found = self.passed_over
        if found.names:
            return found.names[0]
        return f"{found.hidden:,} hidden files" if found.hidden else ""

    def _read_file(self, partial: PartialPatch, name: str, size: int) -> None:
        """Read the file that came last from the archive, if the files of its patch are wanted."""
        if partial.read is not None:
            blocks = tuple(self._stream.blocks)
            partial.read.append(ReadFile(name, size, self._stream.position, blocks))
        files = partial.patch.archived
        if not isinstance(files, ArchivedFiles):  # those of patches that are not wanted
            return
        if size > self._largest[partial.patch.modality]:
            partial.read = None
            files.fault = f"{partial.patch.folder}/{name} has {size:,} bytes, far more than usual"
        elif name in partial.names:
            if files.places is not None:
                files.places.files[name] = self._stream.position, size
            self._stream.read_into(files.add(name, size))
        else:
            files.add(name, 0)  # a band too many: its name is enough to refuse the patch

    def _patch_of(self, folder: str, name: str) -> PartialPatch | None:
        """The patch of a file that no patch waits for: a new one, or one with a band too many.

        None if the file belongs to no patch, or to one that is misplaced.

        Raises:
            SourceError: the patch has that file already, or was given up before.
        """
        if is_hidden(name) or self._is_in_hidden(folder):
            self.passed_over.hidden += 1
            return None
        for match in self._paths.matching(folder):
            if match.disagreement is not None:
                self._report_misplaced(folder, match.disagreement)
            elif match.path.pattern.is_folder_a_patch:
                partial = self._patch_in_folder(match, folder, name)
                if partial is not None:
                    return partial
            else:
                found = match.path.pattern.match_file(name, match.known)
                if found is None:
                    continue
                if found.disagreement is not None:
                    path = f"{self._stream.path}/{folder}/{name}"
                    self._on_problem(misplaced(path, found.disagreement))
                    return None
                self._has_patches = True
                if match.path.pattern.is_flat:
                    return self._patch_beside_others(match, found.fields, folder, name)
                fields = match.known | found.fields
                patch = file_patch(match.path.modality, fields, self._path(folder), name)
                problem = name_problem(patch)
                if problem is not None:
                    self._on_problem(problem)
                    return None
                return self._begin(match.path, folder, patch)
        other = self._paths.other_modality(folder)
        if other is not None:
            self.passed_over.others += other in self._absent
        elif folder not in self._misplaced:
            self._ignore(f"{folder}/{name}" if folder else name)
        return None

    def _is_in_hidden(self, folder: str) -> bool:
        above, _, name = folder.rpartition("/")
        if above != self._above:
            self._above, self._is_above_hidden = above, has_hidden_part(above)
        return self._is_above_hidden or is_hidden(name)

    def _patch_in_folder(self, match: FolderMatch, folder: str, name: str) -> PartialPatch | None:
        """The patch that a folder is, if the file is one of its own; it may be the first of them.

        Raises:
            SourceError: as `_patch_of`.
        """
        path, key = match.path, (match.path.modality.name, folder)
        partial = self._partial.get(key)
        if partial is None:
            patch = folder_patch(path.modality, path.pattern, match.known, self._path(folder))
            problem = name_problem(patch)
            if problem is not None:
                if folder not in self._misplaced:
                    self._misplaced.add(folder)
                    self._on_problem(problem)
                return None
            partial = self._begin(path, folder, patch)
            is_new = True
        else:
            patch, is_new = partial.patch, False
        if path.is_file(name, patch) if is_new else name in partial.names:
            if not is_new:
                raise SourceError(f"{self._stream.path} has {folder}/{name} twice: repack it")
        elif not path.is_part(name, patch.before, patch.after):
            return None
        if is_new:
            self._add(key, partial)
        return partial

    def _patch_beside_others(
        self, match: FolderMatch, fields: dict[str, str], folder: str, name: str
    ) -> PartialPatch | None:
        """A patch whose files lie in one folder with those of others; this is its first file.

        Raises:
            SourceError: as `_patch_of`.
        """
        path, part = match.path, fields.pop(match.path.pattern.part)
        known = match.known | fields
        patch = folder_patch(path.modality, path.pattern, known, self._path(folder))
        problem = name_problem(patch)
        if part not in path.files:
            problem = undescribed(patch.path(name), path.modality)
        if problem is not None:
            self._on_problem(problem)
            return None
        partial = self._begin(path, folder, patch)
        partial.shares_folder = True
        if partial.key in self._partial:
            raise SourceError(f"{self._stream.path} has {folder}/{name} twice: repack it")
        self._add(partial.key, partial)
        return partial

    def _path(self, folder: str) -> str:
        """A folder of the archive, as patches and sentences name it."""
        return f"{self._stream.path}/{folder}"

    def _report_misplaced(self, folder: str, disagreement: str) -> None:
        if folder not in self._misplaced:
            self._misplaced.add(folder)
            self._on_problem(misplaced(self._path(folder), disagreement))

    def _begin(self, path: ModalityPath, folder: str, patch: Patch) -> PartialPatch:
        """A patch of which no file has come."""
        is_wanted = self._takes(patch)
        if is_wanted and not self._names_only and self._reads(patch):
            cell = self._cells.take() if self._cells is not None else None
            patch.receive(ArchivedFiles(cell, self._noted_as))
        return PartialPatch(
            patch=patch,
            path=path,
            folder=folder,
            is_wanted=is_wanted,
            read=[] if path.pattern.is_folder_a_patch and self._runs.are_tried else None,
        )

    def _add(self, key: tuple[str, str], partial: PartialPatch) -> None:
        """Let a patch wait for its files.

        Raises:
            SourceError: it was given up before.
        """
        if key in self._given_up:
            raise SourceError(
                f"{self._stream.path} has the files of {partial.folder} more than {WINDOW} patches "
                "apart: unpack it and give the folder"
            )
        self._has_patches = True
        self._partial[key] = partial
        self._by_folder.setdefault(partial.folder, []).append(partial)

    def _give_other_places(self, patch: Patch) -> Iterator[Patch]:
        """Give on what other places of a modality with several dates have: these follow each other.

        An acquisition that lacks a file would come after its place else.
        """
        for partial in list(self._partial.values()):
            is_other = partial.patch.modality == patch.modality and partial.patch.key != patch.key
            if is_other and self._give(partial):
                yield partial.patch

    def _give_complete(self) -> Iterable[Patch]:
        if not self._complete:
            return ()
        complete, self._complete = self._complete, []
        return [partial.patch for partial in complete if self._give(partial)]

    def _give(self, partial: PartialPatch) -> bool:
        """Wait for no more files of a patch; tells whether it is wanted."""
        key = partial.key
        if self._partial.get(key) is partial:
            del self._partial[key]
            in_folder = self._by_folder[partial.folder]
            in_folder.remove(partial)
            if not in_folder:
                del self._by_folder[partial.folder]
        return partial.is_wanted

    def _give_up_oldest(self) -> Iterable[Patch]:
        """Give on the patch that has waited longest for a file, as one that lacks this file."""
        key, oldest = next((key, one) for key, one in self._partial.items() if one.missing)
        self._given_up.add(key)
        files = oldest.patch.in_memory
        if files is not None and not files.fault:
            files.fault = (
                f"{oldest.patch.folder}/{min(oldest.missing)} is missing, or lies more than "
                f"{WINDOW} patches behind the first file of its patch: then unpack the archive and "
                "give the folder"
            )
        return [oldest.patch] if self._give(oldest) else []

    def _ignore(self, path: str) -> None:
        self.passed_over.add(path)
        if self.passed_over.unmatched >= FOREIGN:
            self.require_patches()
