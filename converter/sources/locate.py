"""Where the parts of a published dataset are: folders, archives, tables and lists."""

import logging
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.descriptions.description import Description, ModalitySource
from patchpress.converter.sources.archive_names import archive_name, is_one_of, no_file
from patchpress.converter.sources.compression import WINDOW
from patchpress.converter.sources.contents import NOTHING
from patchpress.converter.sources.file_patterns import files_named, files_of_pattern, is_pattern
from patchpress.converter.sources.find_modality import (
    FoundModality,
    Location,
    absent_beside_others,
    find_modality,
    modality_at,
)
from patchpress.converter.sources.folders import entries
from patchpress.converter.sources.near_files import near_file, refuse_folder
from patchpress.converter.sources.near_names import near_names
from patchpress.converter.sources.recognize import (
    Sight,
    is_source,
    kind_of,
    sights,
    what_is_seen,
)
from patchpress.converter.sources.tar import require_tar
from patchpress.converter.sources.zip_bytes import ZipBytes
from patchpress.converter.sources.zip_end import zip_end
from patchpress.converter.sources.zipped_tables import tables_in_zips
from patchpress.readers.errors import OptionError, SourceError, SourceIncomplete, SourceMissing
from patchpress.readers.format.split_names import known_split
from patchpress.readers.hints import hint

_log = logging.getLogger(__name__)


class SourceParts(NamedTuple):
    """Where the parts of a source are: its modalities, tables and lists.

    A part has the name that it has in the description, as in ``--path NAME=PATH``.
    """

    modalities: Mapping[str, Location]
    files: Mapping[str, Path]
    """Tables, lists and pairs; of a table of several files each as ``NAME/PATH``."""
    absent: tuple[str, ...]
    """Names of the parts that the source does not have."""
    notes: tuple[str, ...] = ()
    """A sentence for each thing that is there and is not read."""
    copied: Mapping[str, Path] = {}
    """Of each of the files that was copied out of an archive, this archive."""

    @property
    def packed(self) -> tuple[str, ...]:
        """The modalities that come out of archives which are read from beginning to end."""
        return tuple(name for name, location in self.modalities.items() if location.archives)

    @property
    def stream_count(self) -> int:
        """How many streams read the archives: modalities of the same archives share a stream."""
        archives = {location.archives for location in self.modalities.values()}
        return len(archives - {()})

    @property
    def paths(self) -> dict[str, tuple[Path, ...]]:
        """Every part with the paths that name it."""
        modalities = {name: location.paths for name, location in self.modalities.items()}
        return modalities | {
            name: (self.copied.get(name, path),) for name, path in self.files.items()
        }

    def files_named(self, names: Iterable[str]) -> dict[str, Path]:
        """Those of the files that have these names."""
        return files_named(self.files, names)


def locate(
    description: Description,
    source: Path,
    paths: Mapping[str, Path],
    wanted: tuple[str, ...] | None,
    window: int = WINDOW,
) -> SourceParts:
    """Find the folder or the archives of each modality, and each table and list.

    Args:
        description: names the parts, and their folders and files inside a source.
        source: the folder with the dataset as published.
        paths: part -> where it is, for parts that are elsewhere.
        wanted: the modalities that must be there; None takes those that are.
        window: bytes that a zstd frame of an archive may ask to be kept in memory.

    Raises:
        SourceMissing: the source, or a part that was asked for, does not exist.
        SourceError: the source is empty or another dataset; what should be an archive is none.
        OptionError: a name that the description does not have.
    """
    files = description.files()
    paths = _by_part(description, paths)
    check_wanted(description, wanted)
    if not source.is_dir():
        raise SourceMissing(_no_folder(description, source))
    modalities, notes = _locate_modalities(description, source, paths, wanted, window)
    found, absent = locate_files_of_source(files, source, paths)
    zipped = tables_in_zips(source, {name: files[name] for name in absent})
    found |= zipped.files
    absent = [name for name in absent if name not in zipped.names]
    single = {name: files[name] for name in absent if not is_pattern(files[name])}
    meant = (near_file(source, name, file, files.values()) for name, file in single.items())
    notes += [*zipped.notes, *filter(None, meant)]
    lacking = [
        modality
        for name, modality in description.modalities.items()
        if name not in modalities and (wanted is None or name in wanted)
    ]
    if not modalities:
        raise SourceError(_another_dataset(description, source))
    near = _Near(description, source)
    for modality in lacking:
        note = _tell_absent(modality, near, modalities)
        notes += [note] if note else []
    absent = [modality.name for modality in lacking] + absent
    parts = SourceParts(modalities, found, tuple(absent), tuple(notes), zipped.archives)
    for archive in dict.fromkeys(a for one in modalities.values() for a in one.archives):
        require_tar(archive.files, archive.window)
    for archive in dict.fromkeys(a for one in modalities.values() for a in one.zips):
        zip_end(ZipBytes([str(file) for file in archive.files]))
    _log_parts(parts)
    return parts


def _locate_modalities(
    description: Description,
    source: Path,
    paths: Mapping[str, Path],
    wanted: tuple[str, ...] | None,
    window: int,
) -> tuple[dict[str, Location], list[str]]:
    """Where the modalities are, and a sentence for each thing that is there and is not read."""
    modalities: dict[str, Location] = {}
    notes: list[str] = []
    for name, modality in description.modalities.items():
        if wanted is not None and name not in wanted:
            continue
        if name in paths:
            found: FoundModality | None = modality_at(modality, paths[name], window)
        else:
            found = find_modality(modality, source, window)
        if found is not None:
            modalities[name] = found.location
            notes += found.notes
        elif wanted is not None:
            near = _Near(description, source).clause(modality)
            raise SourceMissing(
                f"modality {name}: there is no folder {source / modality.folder}"
                f"{_or_archive(modality)}{near}; give it with --path {name}=PATH"
            )
    if wanted is None and not description.complete:
        unnamed = {n: at for n, at in modalities.items() if n not in paths}
        for name in absent_beside_others(description.modalities.values(), unnamed):
            del modalities[name]
    return modalities, notes


def locate_files_of_source(
    files: Mapping[str, str], source: Path, paths: Mapping[str, Path]
) -> tuple[dict[str, Path], list[str]]:
    """Where tables and lists of a source are, and the names of those that are absent.

    Args:
        files: table or list -> its name in the source.
        source: the folder.
        paths: table or list -> where it is, if it is elsewhere.

    Raises:
        SourceMissing, SourceError: one that was given is not there, or is no file.
    """
    found: dict[str, Path] = {}
    absent: list[str] = []
    for name, file in files.items():
        if is_pattern(file) and name not in paths:
            several = files_of_pattern(source, file)
            found |= {f"{name}/{inner}": path for inner, path in several.items()}
            absent += [] if several else [name]
            continue
        path = paths.get(name, source / file)
        refuse_folder(name, path)
        if path.is_file():
            found[name] = path
        elif name in paths or os.path.lexists(path):
            raise _no_file(name, path)
        else:
            absent.append(name)
    return found, absent


def _no_file(name: str, path: Path) -> SourceError:
    """The error for a path at which there is nothing, or something that is no file."""
    if os.path.lexists(path):
        return no_file(path)
    return SourceMissing(f"--path {name}={path}: there is no such file")


def _tell_absent(modality: ModalitySource, near: "_Near", present: Iterable[str]) -> str:
    """Warn of a modality that a source does not have; gives the sentence for the report, if any.

    Raises:
        SourceError: it is the first one, which names the patches, and something nearly fits.
    """
    clause = near.clause(modality)
    without = " ".join(f"--modality {name}" for name in present)
    is_first = modality is near.description.primary
    first = ", which names the patches," if is_first else ""
    what = f"{modality.name}{first} is not in {near.source}{clause}"
    if is_first and clause:
        raise SourceError(f"{what}; to convert without it, give {without}")
    if is_first:
        what += f": is that meant? Then {without} says so"
    if is_first or clause:
        warnings.warn(what, SourceIncomplete, stacklevel=2)
        return what
    return ""


class _Near:
    """What a source has that may be meant for a modality that it does not have."""

    def __init__(self, description: Description, source: Path) -> None:
        self.description, self.source = description, source
        self._sights: list[Sight] | None = None
        self._other = ""

    def clause(self, modality: ModalitySource) -> str:
        """The end of a sentence about an absent modality; empty if nothing is near."""
        near = near_names(modality, self.description.modalities, self.source)
        if near:
            return f", but {near[0].clause()}"
        name = self.description.dataset.name
        if self._sights is None:
            self._sights = sights(self.source, self.description)
            other = is_source(self.source, self.description)
            self._other = f", which looks like {other}" if other not in (None, name) else ""
        for sight in self._sights:
            if (sight.dataset, sight.what) == (name, modality.name):
                return f", but {sight.sentence()}"
        return self._other


def _log_parts(parts: SourceParts) -> None:
    for name, paths in parts.paths.items():
        _log.info("%s: %s", name, ", ".join(map(str, paths)))
    if parts.absent:
        _log.info("not in the source: %s", ", ".join(parts.absent))
    if parts.packed:
        _log.info("%s come out of archives, in %d streams", parts.packed, parts.stream_count)


def locate_files(description: Description, paths: Mapping[str, Path]) -> dict[str, Path]:
    """The tables and lists whose paths were given, if there is no source with the others.

    Raises:
        SourceMissing: one does not exist.
        SourceError: one is no file.
        OptionError: a name that the description does not have.
    """
    files = description.files()
    found = {}
    for name, path in paths.items():
        part = _part_name(description, name)
        if part not in files:
            raise OptionError(
                f"--path {name}=… names no table or list of {description.dataset.name}: "
                f"{hint(name, files)}"
            )
        refuse_folder(name, path)
        if not path.is_file():
            raise _no_file(name, path)
        if part in found:
            raise OptionError(f"--path gives {part} twice, by two of its names: give it once")
        found[part] = path
    return found


def _part_name(description: Description, name: str) -> str:
    """The name of a part in the description: a list may be called by another name of its split."""
    if name in description.modalities or name in description.files():
        return name
    lists = description.splits.lists if description.splits else ()
    return known_split(name, lists) or name


def _by_part(description: Description, paths: Mapping[str, Path]) -> dict[str, Path]:
    """The paths that a user gave, by the names that the parts have in the description.

    Raises:
        OptionError: a name that the description does not have, or a part that is given twice.
    """
    parts = [*description.modalities, *description.files()]
    found: dict[str, Path] = {}
    for name, path in paths.items():
        part = _part_name(description, name)
        if part not in parts:
            raise OptionError(
                f"--path {name}=… names no part of {description.dataset.name}: {hint(name, parts)}"
            )
        if part in found:
            raise OptionError(f"--path gives {part} twice, by two of its names: give it once")
        found[part] = path
    return found


def check_wanted(description: Description, wanted: tuple[str, ...] | None) -> None:
    """Refuse a modality that the description does not have.

    Raises:
        OptionError: there is no such one.
    """
    for name in wanted or ():
        if name not in description.modalities:
            raise OptionError(
                f"{description.dataset.name} has no modality {name!r}: "
                f"{hint(name, description.modalities)}"
            )


def _no_folder(description: Description, source: Path) -> str:
    """The sentence about a source that is no folder."""
    expected = f"give the folder that holds {_all_parts(description)}"
    if not source.exists():
        return f"source {source} does not exist: {expected}"
    archive = archive_name(source.name)
    seen = [] if archive is not None else sights(source, description)
    if archive is None and not seen:
        kind = kind_of(source)
        what = "a file" if kind is None or kind is NOTHING else kind.name
        return f"source {source} is {what}, not a folder: {expected}"
    modalities = description.modalities.items()
    owners = [
        name
        for name, modality in modalities
        if archive and is_one_of(archive.stem, modality.archives)
    ]
    owners += [sight.what for sight in seen if sight.what in description.modalities]
    part = owners[0] if owners else next(iter(description.modalities))
    return (
        f"source {source} is an archive, not a folder: give the folder that holds it "
        f"({source.parent}), or a folder and --path {part}={source}"
    )


def _or_archive(modality: ModalitySource) -> str:
    return f" and no archive {modality.archives[0]}.tar.…" if modality.archives else ""


def _all_parts(description: Description) -> str:
    folders = [modality.folder for modality in description.modalities.values()]
    files = [table.file for table in description.tables.values()]
    return ", ".join(dict.fromkeys([*folders, *files]))


def _another_dataset(description: Description, source: Path) -> str:
    """The sentence about a source that has no modality of the description."""
    name = description.dataset.name
    seen = what_is_seen(source, description)
    if seen and not seen.is_part:
        return f"{source} is no {name} itself: {seen.text}"
    near = [
        clause
        for modality in description.modalities.values()
        for clause in near_names(modality, description.modalities, source)
    ]
    if near:
        return f"{source} is no {name} as published: {near[0].clause()}"
    if seen:
        return f"{source} is no {name} itself: {seen.text}"
    there = entries(source)
    shown = ", ".join(there[:5]) + (", …" if len(there) > 5 else "") if there else "nothing"
    return (
        f"{source} is no {name}: it holds {shown}, but {_all_parts(description)} are expected, or "
        "their archives; see `patchpress datasets`, or name folders and archives with --path"
    )
