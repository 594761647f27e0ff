"""A modality's folder to patches, in one fixed order, checked as far as names go."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.descriptions.patterns import PathPattern, disagreement
from patchpress.converter.sources.patch import Patch, Problem, misplaced, patch_of
from patchpress.readers.errors import SourceError


class Walk:
    """All patches of one modality under a folder, in the order of their names.

    Entries that are no patches are passed over and counted in `ignored`. After a walk, `ascending`
    tells whether the keys came in ascending order.
    """

    def __init__(self, modality: ModalitySource, root: Path, problem: Problem) -> None:
        self.modality, self.root, self._problem = modality, root, problem
        self._paths = [PathPattern(path, modality.fields) for path in modality.paths]
        self.ignored = 0
        self.first_ignored = ""
        self.ascending = True

    def __iter__(self) -> Iterator[Patch]:
        """Patches folder by folder; within a folder by name."""
        last = ""
        for path in self._paths:
            for patch in self._descend(path, str(self.root), 0, {}):
                self.ascending &= patch.key >= last
                last = patch.key
                yield patch

    def _descend(
        self, path: PathPattern, folder: str, depth: int, known: dict[str, str]
    ) -> Iterator[Patch]:
        if depth == len(path.folders):
            yield from self._files(path, folder, known)
            return
        last = depth + 1 == len(path.folders)
        for name, fields in self._matching(path.folders[depth], folder, known):
            # Where the last folder is a patch it is opened for its files anyway; a stat a patch
            # would cost as much as reading a band.
            if (last and path.is_folder_a_patch) or os.path.isdir(f"{folder}/{name}"):
                yield from self._descend(path, f"{folder}/{name}", depth + 1, known | fields)
            else:
                self._ignore(f"{folder}/{name}")

    def _files(self, path: PathPattern, folder: str, known: dict[str, str]) -> Iterator[Patch]:
        """The patch that a folder is, or the patches whose files it holds."""
        if path.is_folder_a_patch:
            after = path.after.format_map(known) if path.has_band else ""
            yield self._patch(folder, path.before.format_map(known), after, known)
            return
        for name, fields in self._matching(path.file, folder, known):
            yield self._patch(folder, name, "", known | fields)

    def _matching(
        self, pattern: re.Pattern[str], folder: str, known: dict[str, str]
    ) -> Iterator[tuple[str, dict[str, str]]]:
        """Entries of a folder that match, with their fields, in the order of their names."""
        for name in entries(folder):
            match = pattern.fullmatch(name)
            if match is None:
                self._ignore(f"{folder}/{name}")
                continue
            fields = match.groupdict()
            wrong = disagreement(known, fields)
            if wrong is None:
                yield name, fields
            else:
                self._problem(misplaced(f"{folder}/{name}", wrong))

    def _ignore(self, path: str) -> None:
        # What one form of a path passes over may be a patch of another, or of another modality.
        if len(self._paths) == 1 and self.modality.folder != ".":
            self.ignored += 1
        self.first_ignored = self.first_ignored or path

    def _patch(self, folder: str, before: str, after: str, known: dict[str, str]) -> Patch:
        return patch_of(self.modality, known, folder, before, after)


def entries(folder: str | Path) -> list[str]:
    """The names in a folder, sorted.

    Raises:
        SourceError: it may not be read.
    """
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise SourceError(f"{folder} cannot be read ({error.strerror})") from None
