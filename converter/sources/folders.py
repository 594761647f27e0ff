"""The patches of a modality's folder, in one fixed order, checked as far as names tell."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.descriptions.expressions import Expression
from patchpress.converter.descriptions.patterns import PathPattern, match_name
from patchpress.converter.sources.passed_over import PassedOver, is_hidden
from patchpress.converter.sources.patch import (
    Patch,
    Problem,
    file_patch,
    folder_patch,
    misplaced,
    name_problem,
)
from patchpress.readers.errors import SourceError


class Neighbours:
    """Who else has patches in the folder of a modality: other modalities, tables and archives.

    An entry that is no patch of one modality may be one of another. It is counted only if it is
    nobody's, and only once if several modalities are looked for.
    """

    def __init__(
        self,
        before: Sequence[ModalitySource] = (),
        others: Sequence[ModalitySource] = (),
        is_part: Callable[[str], bool] = lambda name: False,
    ) -> None:
        """Say who they are.

        Args:
            before: modalities in this folder that are walked before, and count what is nobody's.
            others: all other modalities that may have patches in it.
            is_part: whether a name in this folder is a table, a list or an archive.
        """
        self._before = [p for modality in before for p in patterns_of(modality)]
        self._others = [p for modality in others for p in patterns_of(modality)]
        self._is_part = is_part

    def own(self, names: Sequence[str], *, is_folder: bool) -> bool:
        """Whether an entry belongs to one of them; `names` lead to it from the folder."""
        if len(names) == 1 and self._is_part(names[0]):
            return True
        return any(pattern.claims(names, is_folder=is_folder) for pattern in self._others)

    def look_into(self, names: Sequence[str]) -> bool:
        """Whether a modality that is walked before has looked into a folder of these names."""
        return any(pattern.looks_into(names) for pattern in self._before)


ALONE = Neighbours()


def patterns_of(modality: ModalitySource) -> list[PathPattern]:
    """The patterns of all paths that patches of a modality may have."""
    return [PathPattern(path, modality) for path in modality.paths]


class Walk:
    """All patches of one modality under a folder, in the order of their names.

    While it is iterated, it notes the entries that are no patches, and calls `on_problem` with the
    error of each patch that lies in a wrong folder. Hidden entries are nothing.
    """

    def __init__(
        self,
        modality: ModalitySource,
        root: Path,
        on_problem: Problem,
        neighbours: Neighbours = ALONE,
    ) -> None:
        self.modality, self.root, self._on_problem = modality, root, on_problem
        self._patterns = patterns_of(modality)
        self._neighbours = neighbours
        self.passed_over = PassedOver()
        """Entries that are no patches, so far."""
        self.first_ignored = ""
        """The path of the first entry that matched no pattern; empty if there is none."""
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
        self.passed_over = PassedOver()
        for number in range(len(self._patterns)):
            for patch in self._descend(number, str(self.root), (), {}):
                ascending &= patch.key >= last
                last = patch.key
                yield patch
        self._ascending = ascending

    def _descend(
        self, number: int, folder: str, names: tuple[str, ...], known: dict[str, str]
    ) -> Iterator[Patch]:
        """The patches of one pattern under a folder, to which `names` lead from the root."""
        pattern, depth = self._patterns[number], len(names)
        if depth == len(pattern.folders):
            yield from self._patches_in(number, folder, names, known)
            return
        is_last = depth + 1 == len(pattern.folders)
        for name, fields in self._matching(number, pattern.folders[depth], folder, names, known):
            path = f"{folder}/{name}"
            # A folder that is a patch is opened later for its files anyway. To ask the system now
            # whether it is a folder would take as long as reading a band.
            if (is_last and pattern.is_folder_a_patch) or os.path.isdir(path):
                yield from self._descend(number, path, (*names, name), known | fields)
            else:
                self._ignore(number, path, (*names, name))

    def _patches_in(
        self, number: int, folder: str, names: tuple[str, ...], known: dict[str, str]
    ) -> Iterator[Patch]:
        """The patch that a folder is, or the patches whose files it holds."""
        pattern = self._patterns[number]
        if pattern.is_folder_a_patch:
            yield from self._named(folder_patch(self.modality, pattern, known, folder))
            return
        for name, fields in self._matching(number, pattern.file, folder, names, known):
            yield from self._named(file_patch(self.modality, known | fields, folder, name))

    def _named(self, patch: Patch) -> Iterator[Patch]:
        """The patch, unless its names cannot be stored."""
        problem = name_problem(patch)
        if problem is None:
            yield patch
        else:
            self._on_problem(problem)

    def _matching(
        self,
        number: int,
        pattern: Expression,
        folder: str,
        names: tuple[str, ...],
        known: dict[str, str],
    ) -> Iterator[tuple[str, dict[str, str]]]:
        """Entries of a folder that match, with their fields, in the order of their names."""
        hidden = 0
        for name in all_entries(folder):
            if is_hidden(name):
                hidden += 1
                continue
            match = match_name(pattern, name, known)
            if match is None:
                self._ignore(number, f"{folder}/{name}", (*names, name))
            elif match.disagreement is None:
                yield name, match.fields
            else:
                self._on_problem(misplaced(f"{folder}/{name}", match.disagreement))
        if hidden and not self._was_looked_into(number, names):
            self.passed_over.hidden += hidden

    def _ignore(self, number: int, path: str, names: tuple[str, ...]) -> None:
        """Note an entry that does not match one of the patterns, if it is nobody's."""
        self.first_ignored = self.first_ignored or path
        is_folder = os.path.isdir(path)
        own = (p for at, p in enumerate(self._patterns) if at != number)
        if any(pattern.claims(names, is_folder=is_folder) for pattern in own):
            return
        if self._neighbours.own(names, is_folder=is_folder):
            return
        if not self._was_looked_into(number, names[:-1]):
            self.passed_over.add("/".join(names) + "/" * is_folder)

    def _was_looked_into(self, number: int, names: Sequence[str]) -> bool:
        """Whether another pattern has noted before what is nobody's in a folder."""
        earlier = self._patterns[:number]
        return any(p.looks_into(names) for p in earlier) or self._neighbours.look_into(names)


def all_entries(folder: str | Path) -> list[str]:
    """The names in a folder, sorted, hidden ones included.

    Raises:
        SourceError: the folder may not be read.
    """
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise SourceError(f"{folder} cannot be read ({error.strerror})") from None


def entries(folder: str | Path) -> list[str]:
    """The names in a folder, sorted, without hidden ones.

    Raises:
        SourceError: the folder may not be read.
    """
    return [name for name in all_entries(folder) if not is_hidden(name)]
