"""Which patch a file of an archive belongs to, as far as its path tells."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.descriptions.expressions import Expression
from patchpress.converter.descriptions.patterns import PathPattern, band_pattern, match_name


@dataclass(frozen=True, slots=True)
class ModalityPath:
    """One of the paths that patches of a modality may have."""

    modality: ModalitySource
    pattern: PathPattern
    folder: str
    """The last name of the modality's folder; `.` if it has no folder of its own."""
    band: Expression
    """What the name of a band looks like."""

    def is_band_file(self, name: str, before: str, after: str) -> bool:
        """Whether a file has the name of a band, also of one that the description does not have.

        The file of a band is called ``before + band + after``.
        """
        return (
            self.pattern.has_band
            and name.startswith(before)
            and name.endswith(after)
            and self.band.fullmatch(name, len(before), len(name) - len(after)) is not None
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
        self._paths = [
            ModalityPath(
                modality=modality,
                pattern=PathPattern(path, modality),
                folder=last_name(modality.folder),
                band=band_pattern(modality),
            )
            for modality in modalities
            for path in modality.paths
        ]

    def __iter__(self) -> Iterator[ModalityPath]:
        return iter(self._paths)

    def matching(self, folder: str) -> Iterator[FolderMatch]:
        """The paths whose folders are the last ones of `folder`, whatever was packed above them."""
        names = folder.split("/") if folder else []
        modality_folder = self._modality_folder(names)
        for path in self._paths:
            depth = len(path.pattern.folders)
            if depth > len(names) or modality_folder not in (None, path.folder):
                continue
            match = _match_folders(path, names[len(names) - depth :])
            if match is not None:
                yield match

    def other_modality(self, folder: str) -> str | None:
        """The folder of a modality that is not looked for, if `folder` lies in it; else None."""
        found = self._modality_folder(folder.split("/"))
        return None if any(found == path.folder for path in self._paths) else found

    def _modality_folder(self, names: Sequence[str]) -> str | None:
        """The modality's folder among these names, if the archive holds several modalities."""
        return next((name for name in reversed(names) if name in self._folders), None)


def _match_folders(path: ModalityPath, names: Sequence[str]) -> FolderMatch | None:
    """Match as many names of folders as the path has."""
    known: dict[str, str] = {}
    disagreement = None
    for pattern, name in zip(path.pattern.folders, names, strict=True):
        match = match_name(pattern, name, known)
        if match is None:
            return None
        disagreement = disagreement or match.disagreement
        known |= match.fields
    return FolderMatch(path, known, disagreement)


def last_name(folder: str) -> str:
    """The last name of a path."""
    return folder.rpartition("/")[2]
