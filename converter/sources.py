"""A source folder to patches, in one fixed order, checked as far as names go."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import merge
from pathlib import Path
from typing import NamedTuple

from converter.description import Description, ModalitySource
from converter.paths import PathForm
from readers.errors import OptionError, PatchError, SourceError, SourceMissing
from readers.table import SPLIT_ALIASES

Problem = Callable[[PatchError], None]


class Patch(NamedTuple):
    """One patch of one modality: where its files lie and what its record is called."""

    modality: str
    key: str
    name: str
    """The published name: the value of the key's column."""
    identity: str
    """The identity of the row, empty where only a table or a sidecar knows it."""
    folder: str
    before: str
    after: str
    """A band's file is ``before + band + after``; a file of all bands is ``before``."""
    values: tuple[str, ...]
    """Values of the modality's columns, in their order."""


class Roots(NamedTuple):
    """Where a conversion finds its parts; what the source does not have is listed by name."""

    modalities: Mapping[str, Path]
    files: Mapping[str, Path]
    """Tables, lists and pairs."""
    absent: tuple[str, ...]

    def some(self, names: Iterable[str]) -> dict[str, Path]:
        """Those of the files that have these names."""
        return {name: self.files[name] for name in names if name in self.files}


class Walk:
    """All patches of one modality under a folder, in the order of their names.

    Entries that are no patches are passed over and counted in `ignored`. After a walk, `ascending`
    tells whether the keys came in ascending order.
    """

    def __init__(self, modality: ModalitySource, root: Path, problem: Problem) -> None:
        self.modality, self.root, self._problem = modality, root, problem
        self._paths = [PathForm(path, modality.fields) for path in modality.paths]
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
        self, path: PathForm, folder: str, depth: int, known: dict[str, str]
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

    def _files(self, path: PathForm, folder: str, known: dict[str, str]) -> Iterator[Patch]:
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
        for name in _entries(folder):
            match = pattern.fullmatch(name)
            if match is None:
                self._ignore(f"{folder}/{name}")
                continue
            fields = match.groupdict()
            wrong = next((f for f in fields if known.get(f, fields[f]) != fields[f]), None)
            if wrong is None:
                yield name, fields
            else:
                self._problem(
                    PatchError(
                        f"{folder}/{name} lies in the wrong folder: its name says {fields[wrong]}"
                    )
                )

    def _ignore(self, path: str) -> None:
        # What one form of a path passes over may be a patch of another, or of another modality.
        if len(self._paths) == 1 and self.modality.folder != ".":
            self.ignored += 1
        self.first_ignored = self.first_ignored or path

    def _patch(self, folder: str, before: str, after: str, known: dict[str, str]) -> Patch:
        return patch_of(self.modality, known, folder, before, after)


def patch_of(
    modality: ModalitySource,
    known: Mapping[str, str],
    folder: str = "",
    before: str = "",
    after: str = "",
) -> Patch:
    """The patch whose fields are known, with its names made of them."""
    name = modality.patch.format_map(known)
    return Patch(
        modality.name,
        modality.key.replace(f"{{{modality.key_field}}}", name),
        name,
        modality.identity.format_map(known) if modality.identity else "",
        folder,
        before,
        after,
        tuple(template.format_map(known) for template in modality.columns.values()),
    )


def _entries(folder: str | Path) -> list[str]:
    """The names in a folder, sorted.

    Raises:
        SourceError: it may not be read.
    """
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise SourceError(f"{folder} cannot be read ({error.strerror})") from None


def locate(
    description: Description,
    source: Path,
    paths: Mapping[str, Path],
    wanted: tuple[str, ...] | None,
) -> Roots:
    """Find the folder of each modality and each table.

    Raises:
        SourceMissing: the source, or a part that was asked for, does not exist.
        SourceError: the source is empty or another dataset.
        OptionError: a name that the description does not have.
    """
    named = description.files()
    paths = {SPLIT_ALIASES.get(n, n) if n not in named else n: path for n, path in paths.items()}
    _check_names(description, paths, wanted)
    if not source.is_dir():
        kind = "is a file, not a folder" if source.exists() else "does not exist"
        raise SourceMissing(
            f"source {source} {kind}: give the folder that holds {_all(description)}"
        )
    modalities, found, absent = {}, {}, []
    for name, modality in description.modalities.items():
        if wanted is not None and name not in wanted:
            continue
        root = paths.get(name, source / modality.folder)
        if root.is_dir():
            modalities[name] = root
        elif name in paths or wanted is not None:
            raise SourceMissing(
                f"modality {name}: there is no folder {root}; give it with --path {name}=FOLDER"
            )
        else:
            absent.append(name)
    for name, file in description.files().items():
        path = paths.get(name, source / file)
        if path.is_file():
            found[name] = path
        elif name in paths:
            raise SourceMissing(f"{name}: there is no file {path}")
        else:
            absent.append(name)
    if not modalities:
        raise SourceError(_another(description, source))
    return Roots(modalities, found, tuple(absent))


def locate_files(description: Description, paths: Mapping[str, Path]) -> dict[str, Path]:
    """The tables and lists that were named, where there is no source to look for others in.

    Raises:
        SourceMissing: one does not exist.
        OptionError: a name that the description does not have.
    """
    named = description.files()
    found = {}
    for name, path in paths.items():
        part = name if name in named else SPLIT_ALIASES.get(name, name)
        if part not in named:
            raise OptionError(
                f"--path {name}=… names no table or list of {description.dataset.name}: "
                f"choose {', '.join(named) or 'none, as it has none'}"
            )
        if not path.is_file():
            raise SourceMissing(f"{name}: there is no file {path}")
        found[part] = path
    return found


def _check_names(
    description: Description, paths: Mapping[str, Path], wanted: tuple[str, ...] | None
) -> None:
    parts = [*description.modalities, *description.files()]
    for name in paths:
        if name not in parts:
            raise OptionError(
                f"--path {name}=… names no part of {description.dataset.name}: "
                f"choose {', '.join(parts)}"
            )
    for name in wanted or ():
        if name not in description.modalities:
            raise OptionError(
                f"{description.dataset.name} has no modality {name!r}: "
                f"choose {', '.join(description.modalities)}"
            )


def _all(description: Description) -> str:
    folders = [modality.folder for modality in description.modalities.values()]
    return ", ".join(dict.fromkeys([*folders, *description.tables.values()]))


def _another(description: Description, source: Path) -> str:
    there = _entries(source)
    shown = ", ".join(there[:5]) + (", …" if len(there) > 5 else "") if there else "nothing"
    return (
        f"{source} is no {description.dataset.name}: it holds {shown} where "
        f"{_all(description)} are expected; see `patchpress datasets`, or name folders with --path"
    )


def walks_of(description: Description, roots: Roots, problem: Problem) -> dict[str, Walk]:
    """A walk for each modality."""
    return {
        name: Walk(description.modalities[name], root, problem)
        for name, root in roots.modalities.items()
    }


def in_key_order(walked: Mapping[str, Walk]) -> Iterator[Patch]:
    """The patches of all modalities once more, now in ascending order of their keys.

    Folders give that order by themselves in most datasets, and nothing is held in memory; where
    `walked` was not ascending, that modality's patches are sorted first. Misplaced patches, which
    were told of in the first walk, are passed over.
    """
    again = [Walk(walk.modality, walk.root, pass_over) for walk in walked.values()]
    ordered = [
        walk if before.ascending else iter(sorted(walk, key=_key))
        for walk, before in zip(again, walked.values(), strict=True)
    ]
    return merge(*ordered, key=_key)


def _key(patch: Patch) -> str:
    return patch.key


def require_patches(description: Description, roots: Roots) -> None:
    """Refuse a modality's folder without any patch: it is empty or another dataset's.

    Raises:
        SourceError: the message shows what the folder holds and what is expected.
    """
    for name, root in roots.modalities.items():
        modality = description.modalities[name]
        walk = Walk(modality, root, pass_over)
        if next(iter(walk), None) is None:
            raise SourceError(
                f"{root} has no patch of {description.dataset.name}: it holds "
                f"{walk.first_ignored or 'nothing'} where {' or '.join(modality.paths)} is expected"
            )


def pass_over(error: PatchError) -> None:
    """For a walk whose misplaced patches are told of elsewhere."""
