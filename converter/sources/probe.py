"""Looks for patches where none were expected: in folders of other names, and inside archives.

Only the first few names are looked at, so that it is quick; what is found is a guess.
"""

import os
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

from patchpress.converter.descriptions.description import Description, ModalitySource
from patchpress.converter.descriptions.patterns import PathPattern, match_name
from patchpress.converter.sources.archive_names import Archive, archive_name, is_one_of
from patchpress.converter.sources.compression import WIDEST
from patchpress.converter.sources.embedded_tables import tables_in
from patchpress.converter.sources.folders import entries, patterns_of
from patchpress.converter.sources.match import last_name
from patchpress.converter.sources.passed_over import has_hidden_part, is_hidden
from patchpress.converter.sources.tar import TarStream
from patchpress.converter.sources.zip_opened import zip_directory
from patchpress.readers.errors import PatchpressError

NAMES = 2000  # in a folder, at most
LISTINGS = 60  # folders that are looked into for one modality, at most
MEMBERS = 200  # files of an archive, at most
BYTES = 128 << 20  # of an archive, at most, on the disk and unfolded: no window takes more, either
# Paths that no data set has. A description that takes them takes all, so that it tells nothing.
_ANYTHING = (["qzx.tif"], ["qzx", "qzx.tif"], ["qzx", "qzx", "qzx.tif"])


class Folders:
    """Folders that are looked at, each listed once."""

    def __init__(self) -> None:
        self._listed: dict[Path, list[str]] = {}
        self._left = 0  # listings for the modality that is looked for

    def names(self, folder: Path) -> list[str]:
        """The first names in a folder, without hidden ones; none if it cannot be listed."""
        if folder not in self._listed:
            try:
                with os.scandir(folder) as found:
                    names = sorted(entry.name for entry in islice(found, NAMES))
            except OSError:
                names = []
            self._listed[folder] = [name for name in names if not is_hidden(name)]
        return self._listed[folder]

    def folders(self, folder: Path) -> list[Path]:
        """The folders in a folder."""
        return [folder / name for name in self.names(folder) if (folder / name).is_dir()]

    def files(self, folder: Path) -> list[Path]:
        """The files in a folder."""
        return [folder / name for name in self.names(folder) if (folder / name).is_file()]

    def has_patch(self, description: Description, modality: ModalitySource, root: Path) -> bool:
        """Whether a folder has a patch of a modality, as far as the first names tell."""
        self._left = LISTINGS
        for pattern in patterns_of(modality):
            known = self._descend(modality, pattern, root, 0, {})
            if known is not None and _has_known_labels(description, modality, known):
                return True
        return False

    def _descend(
        self,
        modality: ModalitySource,
        pattern: PathPattern,
        folder: Path,
        depth: int,
        known: dict[str, str],
    ) -> dict[str, str] | None:
        """The fields of the first patch under a folder; None if none is found."""
        self._left -= 1
        if self._left < 0:
            return None
        names = self.names(folder)
        if depth == len(pattern.folders):
            if pattern.is_folder_a_patch:
                before, after = pattern.around_part(known)
                parts = modality.files_of(apart=pattern.apart)
                files = {f"{before}{part.name}{after}" for part in parts}
                return known if files & set(names) else None
            for name in names:
                match = pattern.match_file(name, known)
                if match is not None and match.disagreement is None:
                    return known | match.fields
            return None
        for name in names:
            match = match_name(pattern.folders[depth], name, known)
            if match is None or match.disagreement is not None or not (folder / name).is_dir():
                continue
            below = known | match.fields
            found = self._descend(modality, pattern, folder / name, depth + 1, below)
            if found is not None or self._left < 0:
                return found
        return None


def _has_known_labels(
    description: Description, modality: ModalitySource, known: dict[str, str]
) -> bool:
    """Whether labels that the path tells are classes of the data set."""
    classes = description.classes
    return all(
        template.format_map(known) in classes[column]
        for column, template in modality.columns.items()
        if column in classes
    )


def takes_anything(modality: ModalitySource) -> bool:
    """Whether a modality's paths fit files of any name, so that they tell nothing."""
    return any(
        pattern.claims(path, is_folder=False)
        for pattern in patterns_of(modality)
        for path in _ANYTHING
    )


def parts_by_name(
    description: Description, folder: Path, folders: Folders, *, archives_too: bool = True
) -> list[str]:
    """The modalities that a folder has where the description expects them, or in archives.

    Archives are known by their names, and not opened.
    """
    archives: dict[str, str] = {}
    for file in _entries(folder) if archives_too else ():
        name = archive_name(file)
        if name is not None and (folder / file).is_file():
            archives.setdefault(name.stem, f"{file}, …" if name.part else file)
    found = []
    for modality in description.modalities.values():
        packed = [file for stem, file in archives.items() if is_one_of(stem, modality.archives)]
        if folders.has_patch(description, modality, folder / modality.folder):
            found.append(modality.name)
        elif tables := tables_in(modality, folder):
            more = ", …" if len(tables) > 1 else ""
            found.append(f"{modality.name} ({tables[0].relative_to(folder)}{more})")
        elif packed:
            found.append(f"{modality.name} ({', '.join(packed)})")
    return found


def _entries(folder: Path) -> list[str]:
    try:
        return entries(folder)
    except PatchpressError:
        return []


def first_files(archive: Archive, *, is_zip: bool = False) -> list[str]:
    """The paths of the first files in an archive; those before damage, none if it is no archive."""
    paths: list[str] = []
    try:
        if is_zip:
            found = zip_directory([str(file) for file in archive.files]).first_paths(MEMBERS)
            return [path for path in found if not has_hidden_part(path)]
        with closing(TarStream(archive.files, window=WIDEST, most=BYTES)) as stream:
            for member in islice(stream, MEMBERS):
                if not has_hidden_part(member.path):
                    paths.append(member.path)
    except PatchpressError:
        pass
    return paths


def modalities_of(description: Description, paths: Sequence[str]) -> dict[str, int]:
    """The modalities of which an archive with these files seems to have patches.

    Each with how many names of a path its description tells.
    """
    found: dict[str, int] = {}
    for modality in description.modalities.values():
        depth = max((_depth(modality, path) for path in paths), default=0)
        if depth and not takes_anything(modality):
            found[modality.name] = depth
    # If modalities have the same paths, the folder of one among the names tells which it is.
    names = {name for path in paths for name in path.split("/")}
    named = {
        name: depth
        for name, depth in found.items()
        if last_name(description.modalities[name].folder) in names
    }
    return named or found


def _depth(modality: ModalitySource, path: str) -> int:
    """How many names of a path one of the modality's own paths takes; 0 if it does not fit."""
    names = path.split("/")
    for pattern in patterns_of(modality):
        depth = len(pattern.folders) + 1
        if len(names) < depth or not pattern.claims(names[-depth:], is_folder=False):
            continue
        parts = modality.files_of(apart=pattern.apart)
        endings = tuple(f"{part.name}{pattern.after}" for part in parts)
        if not pattern.apart or names[-1].endswith(endings):
            return depth
    return 0
