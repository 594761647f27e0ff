"""Which patch a file of an archive belongs to, as far as its path tells."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.descriptions.expressions import Expression
from patchpress.converter.descriptions.patterns import PathPattern, match_name, part_pattern
from patchpress.converter.sources.archive_names import archive_name, is_one_of
from patchpress.converter.sources.patch import Patch


@dataclass(frozen=True, slots=True)
class ModalityPath:
    """One of the paths that patches of a modality may have."""

    modality: ModalitySource
    pattern: PathPattern
    folder: str
    """The last name of the modality's folder; `.` if it has no folder of its own."""
    files: tuple[str, ...]
    """The names of the files of a patch; one that is empty if it is a single file."""
    part: Expression
    """What the name of a band, or of a file with several, looks like."""

    def names_of(self, patch: Patch) -> frozenset[str]:
        """The names of the files that a patch must have."""
        sidecar = self.modality.sidecar_of(patch.name)
        return frozenset([*map(patch.file, self.files), *[sidecar] * bool(sidecar)])

    def is_file(self, name: str, patch: Patch) -> bool:
        """Whether a file is one of `names_of`, in less time if no other is asked about."""
        before, after = patch.before, patch.after
        is_named = after and name.startswith(before) and name.endswith(after)
        if is_named and name[len(before) : len(name) - len(after)] in self.files:
            return True
        return name in self.names_of(patch)

    def is_part(self, name: str, before: str, after: str) -> bool:
        """Whether a file has the name of a band's file, also of one that is in no description.

        Such a file is called ``before + part + after``.
        """
        return (
            self.pattern.apart
            and name.startswith(before)
            and name.endswith(after)
            and self.part.fullmatch(name, len(before), len(name) - len(after)) is not None
        )


class FolderMatch(NamedTuple):
    """A path whose folders match the folder of a file."""

    path: ModalityPath
    known: dict[str, str]
    """The fields that the names of the folders tell."""
    disagreement: str | None
    """The first field that a folder has otherwise than the folders above it, if there is one."""


class ModalityPaths:
    """All paths of the modalities that are looked for in an archive."""

    def __init__(self, modalities: Sequence[ModalitySource], folders: Collection[str] = ()) -> None:
        """Take the paths of `modalities`.

        `folders` are the folders of all modalities of the dataset. What lies in such a folder
        belongs to its modality only, also if paths of other modalities match.
        """
        self._folders = frozenset(last_name(folder) for folder in folders) - {"."}
        self._paths = [_path(modality, path) for modality in modalities for path in modality.paths]
        self._above: str | None = None  # the folder in which the last one was
        self._matches_above: list[FolderMatch] = []
        self._archive = ""  # its name without ending

    def enter(self, archive: Path) -> None:
        """What is asked from now on lies in this archive.

        An archive stands for the folder of its name, if it is called as one of the modality's
        archives and lacks just that folder inside.
        """
        name = archive_name(archive.name)
        self._archive, self._above = name.stem if name is not None else "", None

    def __iter__(self) -> Iterator[ModalityPath]:
        return iter(self._paths)

    def matching(self, folder: str) -> list[FolderMatch]:
        """The paths whose folders are the last ones of `folder`, whatever was packed above them.

        What the folders above tell is kept for the next call: patches of one scene follow another.
        """
        above, _, name = folder.rpartition("/")
        if not folder or name in self._folders:
            return self._match(folder, 0)
        if above != self._above:
            self._matches_above = self._match(above, 1)
            self._above = above
        found = []
        for path, known, disagreement in self._matches_above:
            if path.pattern.folders:
                match = match_name(path.pattern.folders[-1], name, known)
                if match is None:
                    continue
                known, disagreement = known | match.fields, disagreement or match.disagreement
            found.append(FolderMatch(path, known, disagreement))
        return found

    def _match(self, folder: str, left: int) -> list[FolderMatch]:
        """The paths whose folders, but for so many at the end, are the last ones of `folder`."""
        names = folder.split("/") if folder else []
        modality_folder = self._modality_folder(names)
        found = []
        for path in self._paths:
            depth = len(path.pattern.folders)
            if modality_folder not in (None, path.folder):
                continue
            inside = names
            if depth == len(names) + left + 1 and is_one_of(self._archive, path.modality.archives):
                inside = [self._archive, *names]
            if depth > len(inside) + left:
                continue
            patterns = path.pattern.folders[: max(depth - left, 0)]
            match = _match_folders(path, patterns, inside[len(inside) - len(patterns) :])
            if match is not None:
                found.append(match)
        return found

    def other_modality(self, folder: str) -> str | None:
        """The folder of a modality that is not looked for, if `folder` lies in it; else None."""
        found = self._modality_folder(folder.split("/"))
        return None if any(found == path.folder for path in self._paths) else found

    def _modality_folder(self, names: Sequence[str]) -> str | None:
        """The modality's folder among these names, if the archive holds several modalities."""
        return next((name for name in reversed(names) if name in self._folders), None)


def _path(modality: ModalitySource, path: str) -> ModalityPath:
    pattern = PathPattern(path, modality)
    return ModalityPath(
        modality=modality,
        pattern=pattern,
        folder=last_name(modality.folder),
        files=tuple(file.name for file in modality.files_of(apart=pattern.apart)),
        part=part_pattern(modality),
    )


def _match_folders(
    path: ModalityPath, patterns: Sequence[Expression], names: Sequence[str]
) -> FolderMatch | None:
    """Match names of folders, one for each expression."""
    known: dict[str, str] = {}
    disagreement = None
    for pattern, name in zip(patterns, names, strict=True):
        match = match_name(pattern, name, known)
        if match is None:
            return None
        disagreement = disagreement or match.disagreement
        known |= match.fields
    return FolderMatch(path, known, disagreement)


def last_name(folder: str) -> str:
    """The last name of a path."""
    return folder.rpartition("/")[2]
