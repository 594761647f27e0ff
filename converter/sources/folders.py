"""The patches of a modality's folder, in one fixed order, checked as far as names tell."""

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.descriptions.expressions import Expression
from patchpress.converter.descriptions.patterns import NameMatch, PathPattern, match_name
from patchpress.converter.sources.acquisitions import places_in_folders
from patchpress.converter.sources.listing import (
    AtPath,
    FolderLooks,
    Question,
    all_entries,
)
from patchpress.converter.sources.order_of_keys import OrderOfKeys
from patchpress.converter.sources.passed_over import PassedOver, is_hidden
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


class _Folder(NamedTuple):
    """A folder in which patches of one pattern may lie."""

    number: int
    """Of the pattern."""
    path: str
    names: tuple[str, ...]
    """Those that lead to it from the root."""
    fields: dict[str, str]
    """What these names tell."""
    entries: list[str]
    """The names in it, sorted, hidden ones included."""

    def inside(self, name: str, fields: dict[str, str], found: AtPath) -> "_Folder":
        """A folder in this one.

        Raises:
            SourceError: it may not be read.
        """
        path, names = f"{self.path}/{name}", (*self.names, name)
        return _Folder(self.number, path, names, self.fields | fields, found.entries())


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
        *,
        waits: bool | None = None,
    ) -> None:
        """Say what is looked for, and where; `waits` as `FolderLooks` takes it."""
        self.modality, self.root, self._on_problem = modality, root, on_problem
        self._patterns = patterns_of(modality)
        self._neighbours = neighbours
        self.passed_over = PassedOver()
        """Entries that are no patches, so far."""
        self.first_ignored = ""
        """The path of the first entry that matched no pattern; empty if there is none."""
        self.waits = waits
        """Whether folders let it wait, which the first iteration finds out; None before."""
        self.passed_over_in_archives: dict[str, PassedOver] = {}  # it walks through none
        self.notes: tuple[str, ...] = ()
        self._order = OrderOfKeys(self.root)

    def again(self) -> "Walk":
        """The same walk once more, without a word about what it has reported."""
        return Walk(self.modality, self.root, ignore_problem, waits=self.waits)

    @property
    def ascending(self) -> bool:
        """Whether the keys came in ascending order.

        Raises:
            RuntimeError: no iteration has come to its end.
        """
        return self._order.ascending

    def __iter__(self) -> Iterator[Patch]:
        """Patches folder by folder; those of a folder by name.

        Raises:
            SourceError: a folder may not be read.
            PatchError: what `on_problem` raises.
        """
        self.passed_over = PassedOver()
        looks = FolderLooks(self.waits)
        try:
            found = self._patches(looks)
            if self.modality.is_dated:
                found = places_in_folders(found, self.modality, self._on_problem)
            yield from self._order.watched(found)
        finally:
            looks.close()
        self.waits = looks.waits

    def _patches(self, looks: FolderLooks) -> Iterator[Patch]:
        """The patches of all patterns."""
        for number in range(len(self._patterns)):
            root = _Folder(number, str(self.root), (), {}, all_entries(self.root))
            yield from self._descend(root, looks)

    def _descend(self, folder: _Folder, looks: FolderLooks) -> Iterator[Patch]:
        """The patches of one pattern under a folder."""
        pattern = self._patterns[folder.number]
        left = len(pattern.folders) - len(folder.names)
        if not left and pattern.is_folder_a_patch:
            yield from self._named(folder_patch(self.modality, pattern, folder.fields, folder.path))
        elif not left and pattern.is_flat:
            yield from self._flat(folder, pattern, looks)
        elif not left:
            read: set[str] = set()  # JSON files, which lie beside patches that are single files
            for name, fields in self._in_last(folder, pattern.file, looks, read):
                patch = file_patch(self.modality, folder.fields | fields, folder.path, name)
                if self.modality.sidecar is not None:
                    read.add(self.modality.sidecar_of(patch.name))
                yield from self._named(patch)
        elif left == 1 and pattern.is_folder_a_patch:
            # Such a folder is opened later for its files anyway. To ask the system now whether it
            # is a folder would take as long as reading a band.
            for name, fields in self._in_last(folder, pattern.folders[-1], looks):
                all_fields, path = folder.fields | fields, f"{folder.path}/{name}"
                yield from self._named(folder_patch(self.modality, pattern, all_fields, path))
        else:
            for inside in self._folders_in(folder, pattern.folders[-left], looks):
                yield from self._descend(inside, looks)

    def _flat(self, folder: _Folder, pattern: PathPattern, looks: FolderLooks) -> Iterator[Patch]:
        """The patches whose files lie in one folder, each told by the names of its files."""
        known = {file.name for file in self.modality.files_of(apart=True)}
        seen, read = set[str](), set[str]()
        for name, fields in self._in_last(folder, pattern.file, looks, read):
            part = fields.pop(pattern.part)
            patch = folder_patch(self.modality, pattern, folder.fields | fields, folder.path)
            if part not in known:
                self._on_problem(undescribed(patch.path(name), self.modality))
            elif patch.before not in seen:
                seen.add(patch.before)
                if self.modality.sidecar is not None:
                    read.add(self.modality.sidecar_of(patch.name))
                yield from self._named(patch)

    def _folders_in(
        self, folder: _Folder, pattern: Expression, looks: FolderLooks
    ) -> Iterator[_Folder]:
        """The folders in a folder whose names match, in the order of their names."""
        questions = self._questions(folder, pattern)
        for (name, match), found in looks.answers(questions):
            if match is not None and match.disagreement is not None:
                self._on_problem(misplaced(f"{folder.path}/{name}", match.disagreement))
            elif match is None or not found.is_folder:
                self._ignore(folder, name, is_folder=found.is_folder)
            else:
                yield folder.inside(name, match.fields, found)
        self._count_hidden(folder)

    def _questions(
        self, folder: _Folder, pattern: Expression
    ) -> Iterator[Question[tuple[str, NameMatch | None]]]:
        """What is asked of each entry of a folder that may have folders of patches."""
        for name in folder.entries:
            if is_hidden(name):
                continue
            match = match_name(pattern, name, folder.fields)
            is_asked = match is None or match.disagreement is None
            path = f"{folder.path}/{name}" if is_asked else ""
            yield Question((name, match), path, lists=match is not None)

    def _in_last(
        self,
        folder: _Folder,
        pattern: Expression,
        looks: FolderLooks,
        read: Collection[str] = (),
    ) -> Iterator[tuple[str, dict[str, str]]]:
        """The entries of a folder whose names match, with their fields, in the order of names.

        Of the others, those that are in `read` when all have come are not ignored.
        """
        others: list[Question[str]] = []
        for name in folder.entries:
            if is_hidden(name):
                continue
            match = match_name(pattern, name, folder.fields)
            if match is None:
                others.append(Question(name, f"{folder.path}/{name}", lists=False))
            elif match.disagreement is None:
                yield name, match.fields
            else:
                self._on_problem(misplaced(f"{folder.path}/{name}", match.disagreement))
        for name, found in looks.answers(one for one in others if one.item not in read):
            self._ignore(folder, name, is_folder=found.is_folder)
        self._count_hidden(folder)

    def _named(self, patch: Patch) -> Iterator[Patch]:
        """The patch, unless its names cannot be stored."""
        problem = name_problem(patch)
        if problem is None:
            yield patch
        else:
            self._on_problem(problem)

    def _count_hidden(self, folder: _Folder) -> None:
        """Count the hidden entries of a folder, unless they were counted before."""
        hidden = sum(map(is_hidden, folder.entries))
        if hidden and not self._was_looked_into(folder.number, folder.names):
            self.passed_over.hidden += hidden

    def _ignore(self, folder: _Folder, name: str, *, is_folder: bool) -> None:
        """Note an entry that does not match one of the patterns, if it is nobody's."""
        number, names = folder.number, (*folder.names, name)
        self.first_ignored = self.first_ignored or f"{folder.path}/{name}"
        own = (p for at, p in enumerate(self._patterns) if at != number)
        if any(pattern.claims(names, is_folder=is_folder) for pattern in own):
            return
        if self._neighbours.own(names, is_folder=is_folder):
            return
        if not self._was_looked_into(number, folder.names):
            self.passed_over.add("/".join(names) + "/" * is_folder)

    def _was_looked_into(self, number: int, names: Sequence[str]) -> bool:
        """Whether another pattern has noted before what is nobody's in a folder."""
        earlier = self._patterns[:number]
        return any(p.looks_into(names) for p in earlier) or self._neighbours.look_into(names)


def entries(folder: str | Path) -> list[str]:
    """The names in a folder, sorted, without hidden ones.

    Raises:
        SourceError: the folder may not be read.
    """
    return [name for name in all_entries(folder) if not is_hidden(name)]
