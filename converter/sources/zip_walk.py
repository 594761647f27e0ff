"""The patches of a modality in zip archives, found by the archives' directories."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from operator import attrgetter

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.sources.acquisitions import places_in_folders
from patchpress.converter.sources.archive_names import Archive
from patchpress.converter.sources.files import largest_file
from patchpress.converter.sources.match import FolderMatch, ModalityPaths
from patchpress.converter.sources.order_of_keys import OrderOfKeys
from patchpress.converter.sources.passed_over import PassedOver, has_hidden_part, hidden_among
from patchpress.converter.sources.patch import (
    Patch,
    Problem,
    file_patch,
    folder_patch,
    ignore_problem,
    misplaced,
    name_problem,
    undescribed,
)
from patchpress.converter.sources.side_files import files_beside, some_beside
from patchpress.converter.sources.zip_directory import ZipDirectory
from patchpress.converter.sources.zip_found import FoundFiles
from patchpress.converter.sources.zip_opened import ZipDirectories

MOST_KEPT = 10_000
"""Patches that a walk keeps for the next one over the same archives: 30 MB or so."""


@dataclass(frozen=True, kw_only=True)
class ZipNeighbours:
    """Who else has files in the archives of a modality."""

    folders: Collection[str] = ()
    """Those of all modalities of the dataset, as in `ModalityPaths`."""
    absent: Collection[str] = ()
    """Names of the folders of modalities that are wanted and not found anywhere else."""
    others: Sequence[ModalitySource] = ()
    """Modalities that have patches in the same archives."""
    is_part: Callable[[str], bool] = field(default=lambda name: False)
    """Whether a file of this name is a table or a list."""
    counts: bool = True
    """Whether it is this modality that counts what is nobody's."""


class ZipWalk:
    """All patches of one modality in archives, with the places of their files.

    They come archive by archive, folder by folder, in the order of the names.
    """

    def __init__(
        self,
        archives: Sequence[Archive],
        modality: ModalitySource,
        on_problem: Problem,
        directories: ZipDirectories,
        neighbours: ZipNeighbours,
    ) -> None:
        """Say what is looked for, and where; no archive is opened yet.

        `on_problem` is called with the error of each patch in a wrong folder.
        """
        self.modality, self.root = modality, archives[0].path
        self._archives, self._on_problem = archives, on_problem
        self._directories, self._neighbours = directories, neighbours
        self._paths = ModalityPaths([modality], neighbours.folders)
        self._others = ModalityPaths(neighbours.others)
        self._largest = largest_file(modality)
        self.passed_over = PassedOver()
        self.passed_over_in_archives: dict[str, PassedOver] = {}
        self.notes: list[str] = []
        self.first_ignored = ""
        self._order = OrderOfKeys(self.root)
        self._now = PassedOver()  # of the archive that is walked
        self._kept: list[Patch] | None = None  # all, if they are few, for the next walk
        self._before: list[Patch] | None = None  # those of the walk before

    @property
    def ascending(self) -> bool:
        """Whether the keys came in ascending order.

        Raises:
            RuntimeError: no iteration has come to its end.
        """
        return self._order.ascending

    def again(self) -> "ZipWalk":
        """The same walk once more, without a word about what it has reported."""
        walk = ZipWalk(
            self._archives, self.modality, ignore_problem, self._directories, self._neighbours
        )
        walk._before, walk._order = self._kept, self._order
        return walk

    def __iter__(self) -> Iterator[Patch]:
        """The patches.

        Raises:
            SourceError: an archive is damaged, encrypted, or packed in a way that is not read.
            PatchError: what `on_problem` raises.
        """
        if self._before is not None:
            yield from self._before
            return
        kept = list[Patch]()
        self.passed_over_in_archives, self.notes = {}, []
        found: Iterable[Patch] = self._found()
        if self.modality.is_dated:
            if len(self._archives) > 1:  # each may have acquisitions of the same place
                found = sorted(found, key=attrgetter("key"))
            found = places_in_folders(found, self.modality, self._on_problem)
        for patch in self._order.watched(found):
            if len(kept) <= MOST_KEPT:
                kept.append(patch)
            yield patch
        self._kept = kept if len(kept) <= MOST_KEPT else None

    def _found(self) -> Iterator[Patch]:
        """The patches of all archives."""
        for archive in self._archives:
            directory = self._directories.of(archive)
            self._paths.enter(archive.path)
            self._others.enter(archive.path)
            self._now, patches = PassedOver(), 0
            for patch in self._patches(directory):
                patches += 1
                yield patch
            self._note(directory, patches)

    def _patches(self, directory: ZipDirectory) -> Iterator[Patch]:
        found = FoundFiles(directory, self._largest)
        for folder in directory.folders():
            if has_hidden_part(folder.path):
                self._now.hidden += len(folder.names)
                continue
            files = dict(zip(folder.names, count(folder.start)))
            hidden = hidden_among(folder.names)
            self._now.hidden += len(hidden)
            for name in hidden:
                del files[name]
            place = f"{directory.path}/{folder.path}" if folder.path else str(directory.path)
            left = files
            for match in self._paths.matching(folder.path):
                if match.disagreement is not None:
                    self._on_problem(misplaced(place, match.disagreement))
                    left = {}
                elif match.path.pattern.is_folder_a_patch:
                    patch = self._folder_patch(match, found, place, files)
                    if patch is not None:
                        yield patch
                        left = {}
                elif match.path.pattern.is_flat:
                    left = dict(left)
                    yield from self._patches_side_by_side(match, found, place, left)
                else:
                    left = dict(left)
                    yield from self._file_patches(match, found, place, left)
            if left:
                self._ignore(folder.path, left)

    def _folder_patch(
        self, match: FolderMatch, found: FoundFiles, place: str, files: dict[str, int]
    ) -> Patch | None:
        """The patch that a folder is; None if none of its files is of the modality.

        It has all files of the folder: one that is too many is told, and others may tell more.
        """
        path, modality = match.path, self.modality
        patch = folder_patch(modality, path.pattern, match.known, place)
        if not any(patch.file(name) in files for name in path.files):
            sidecar = modality.sidecar_of(patch.name)
            before, after = patch.before, patch.after
            if sidecar not in files and not any(path.is_part(n, before, after) for n in files):
                return None
        return self._named(found, patch, files, lambda: self._expected(match, patch))

    def _expected(self, match: FolderMatch, patch: Patch) -> set[str]:
        """The files that are read of a patch, and those that are if they are there."""
        names = {patch.file(name) for name in match.path.files}
        beside = {other for name in names for other in files_beside(name)}
        return names | beside | {self.modality.sidecar_of(patch.name)}

    def _patches_side_by_side(
        self, match: FolderMatch, found: FoundFiles, place: str, left: dict[str, int]
    ) -> Iterator[Patch]:
        """The patches of several files each in one folder; the files are removed from `left`."""
        pattern, files = match.path.pattern, dict(left)
        whole: dict[str, tuple[Patch, dict[str, int]]] = {}
        side_files = some_beside(files)
        for name, number in files.items():
            told = pattern.match_file(name, match.known)
            if told is None:
                continue
            del left[name]
            if told.disagreement is not None:
                self._on_problem(misplaced(f"{place}/{name}", told.disagreement))
                continue
            part = told.fields.pop(pattern.part)
            patch = folder_patch(self.modality, pattern, match.known | told.fields, place)
            if part not in match.path.files:
                self._on_problem(undescribed(patch.path(name), self.modality))
                continue
            own = whole.setdefault(patch.before, (patch, {}))[1]
            own[name] = number
            own.update((one, files[one]) for one in _beside(name, side_files))
        for patch, own in whole.values():
            self._add_sidecar(patch, own, files, left)
            named = self._named(found, patch, own, lambda: own)  # noqa: B023 -- called at once
            if named is not None:
                yield named

    def _file_patches(
        self, match: FolderMatch, found: FoundFiles, place: str, left: dict[str, int]
    ) -> Iterator[Patch]:
        """The patches that are files of a folder; these are removed from `left`."""
        modality = self.modality
        side_files = some_beside(left)
        files = dict(left) if modality.sidecar is not None or side_files else left
        for name, number in list(left.items()):
            told = match.path.pattern.match_file(name, match.known)
            if told is None:
                continue
            del left[name]
            if told.disagreement is not None:
                self._on_problem(misplaced(f"{place}/{name}", told.disagreement))
                continue
            patch = file_patch(modality, match.known | told.fields, place, name)
            own = {name: number, **{one: files[one] for one in _beside(name, side_files)}}
            self._add_sidecar(patch, own, files, left)
            whole = self._named(found, patch, own, lambda: own)  # noqa: B023 -- called at once
            if whole is not None:
                yield whole

    def _add_sidecar(
        self, patch: Patch, own: dict[str, int], files: dict[str, int], left: dict[str, int]
    ) -> None:
        """Give a patch its JSON file, if there is one."""
        sidecar = self.modality.sidecar_of(patch.name)
        if sidecar and sidecar in files:
            own[sidecar] = files[sidecar]
            left.pop(sidecar, None)

    def _named(
        self,
        found: FoundFiles,
        patch: Patch,
        files: dict[str, int],
        expected: Callable[[], Collection[str]],
    ) -> Patch | None:
        """A patch that was just made, with its files; None if its names cannot be stored."""
        problem = name_problem(patch)
        if problem is not None:
            self._on_problem(problem)
            return None
        zipped = found.files(files)
        if found.are_odd:
            read = expected()
            zipped.fault = found.fault({n: at for n, at in files.items() if n in read}, patch)
        patch.receive(zipped)
        return patch

    def _ignore(self, folder: str, left: Collection[str]) -> None:
        """Count files that are no patch's, if they are nobody else's."""
        other = self._paths.other_modality(folder)
        if other is not None:
            self._now.others += len(left) * (other in self._neighbours.absent)
            return
        for name in left:
            if self._is_others(folder, name):
                continue
            path = f"{folder}/{name}" if folder else name
            self.first_ignored = self.first_ignored or path
            if self._neighbours.counts and not self._neighbours.is_part(name):
                self._now.add(path)

    def _is_others(self, folder: str, name: str) -> bool:
        """Whether a file is of another modality that has patches in the same archives."""
        for match in self._others.matching(folder):
            pattern = match.path.pattern
            if pattern.is_folder_a_patch or pattern.match_file(name, match.known) is not None:
                return True
        return False

    def _note(self, directory: ZipDirectory, patches: int) -> None:
        """Note what is to be told of an archive that was walked to its end."""
        if self._now and self._neighbours.counts:
            self.passed_over_in_archives[directory.path.name] = self._now
        if not patches:
            holds = f"only {self.first_ignored} and the like" if len(directory) else "nothing"
            self.notes.append(
                f"{directory.path} has no patch of {self.modality.name}: it holds {holds}"
            )
        if not self._neighbours.counts:
            return
        if directory.leftover:
            self.notes.append(
                f"{directory.path} has {directory.leftover:,} bytes after its end that are not read"
            )
        if directory.untold:
            self.notes.append(
                f"{directory.path} does not tell the encoding of {directory.untold:,} names, such "
                f"as {directory.untold_name}"
            )


def _beside(name: str, side_files: frozenset[str]) -> list[str]:
    """Those of some files that may have the georeference of an image."""
    return [one for one in files_beside(name) if one in side_files] if side_files else []
