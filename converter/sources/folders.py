"""The patches of a modality's folder, in one fixed order, checked as far as names tell."""

import os
from collections.abc import Iterator
from pathlib import Path

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.descriptions.expressions import Expression
from patchpress.converter.descriptions.patterns import PathPattern, match_name
from patchpress.converter.sources.patch import (
    Patch,
    Problem,
    file_patch,
    folder_patch,
    misplaced,
    name_problem,
)
from patchpress.readers.errors import SourceError


class Walk:
    """All patches of one modality under a folder, in the order of their names.

    While it is iterated, it counts the entries that are no patches, and calls `on_problem` with
    the error of each patch that lies in a wrong folder.
    """

    def __init__(self, modality: ModalitySource, root: Path, on_problem: Problem) -> None:
        self.modality, self.root, self._on_problem = modality, root, on_problem
        self._patterns = [PathPattern(path, modality) for path in modality.paths]
        self.ignored = 0
        """Entries that are no patches, so far."""
        self.first_ignored = ""
        """The path of the first of them; empty if there is none."""
        self._ascending: bool | None = None

    @property
    def ascending(self) -> bool:
        """Whether the keys came in ascending order.

        Raises:
            RuntimeError: no iteration has come to its end.
        """
        if self._ascending is None:
            raise RuntimeError(f"the order of {self.root} is known after a whole walk")
        return self._ascending

    def __iter__(self) -> Iterator[Patch]:
        """Patches folder by folder; those of a folder by name.

        Raises:
            SourceError: a folder may not be read.
            PatchError: what `on_problem` raises.
        """
        last, ascending = "", True
        for pattern in self._patterns:
            for patch in self._descend(pattern, str(self.root), 0, {}):
                ascending &= patch.key >= last
                last = patch.key
                yield patch
        self._ascending = ascending

    def _descend(
        self, pattern: PathPattern, folder: str, depth: int, known: dict[str, str]
    ) -> Iterator[Patch]:
        """The patches under a folder that is `depth` names below the root."""
        if depth == len(pattern.folders):
            yield from self._patches_in(pattern, folder, known)
            return
        is_last = depth + 1 == len(pattern.folders)
        for name, fields in self._matching(pattern.folders[depth], folder, known):
            path = f"{folder}/{name}"
            # A folder that is a patch is opened later for its files anyway. To ask the system now
            # whether it is a folder would take as long as reading a band.
            if (is_last and pattern.is_folder_a_patch) or os.path.isdir(path):
                yield from self._descend(pattern, path, depth + 1, known | fields)
            else:
                self._ignore(path)

    def _patches_in(
        self, pattern: PathPattern, folder: str, known: dict[str, str]
    ) -> Iterator[Patch]:
        """The patch that a folder is, or the patches whose files it holds."""
        if pattern.is_folder_a_patch:
            yield from self._named(folder_patch(self.modality, pattern, known, folder))
            return
        for name, fields in self._matching(pattern.file, folder, known):
            yield from self._named(file_patch(self.modality, known | fields, folder, name))

    def _named(self, patch: Patch) -> Iterator[Patch]:
        """The patch, unless its names cannot be stored."""
        problem = name_problem(patch)
        if problem is None:
            yield patch
        else:
            self._on_problem(problem)

    def _matching(
        self, pattern: Expression, folder: str, known: dict[str, str]
    ) -> Iterator[tuple[str, dict[str, str]]]:
        """Entries of a folder that match, with their fields, in the order of their names."""
        for name in entries(folder):
            match = match_name(pattern, name, known)
            if match is None:
                self._ignore(f"{folder}/{name}")
            elif match.disagreement is None:
                yield name, match.fields
            else:
                self._on_problem(misplaced(f"{folder}/{name}", match.disagreement))

    def _ignore(self, path: str) -> None:
        # An entry that does not match one of several paths may match another one, and in a folder
        # of several modalities it may be a patch of another modality. So nothing is counted there.
        if len(self._patterns) == 1 and self.modality.folder != ".":
            self.ignored += 1
        self.first_ignored = self.first_ignored or path


def entries(folder: str | Path) -> list[str]:
    """The names in a folder, sorted.

    Raises:
        SourceError: the folder may not be read.
    """
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise SourceError(f"{folder} cannot be read ({error.strerror})") from None
