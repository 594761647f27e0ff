"""Where the parts of a published dataset are: folders, archives, tables and lists."""

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.descriptions.description import Description, ModalitySource
from patchpress.converter.sources.archive_names import (
    Archive,
    archive_at,
    archive_name,
    archives_in,
)
from patchpress.converter.sources.folders import Walk, entries
from patchpress.converter.sources.patch import ignore_problem
from patchpress.converter.sources.tar import require_tar
from patchpress.readers.errors import OptionError, SourceError, SourceMissing
from patchpress.readers.format.split_names import known_split
from patchpress.readers.hints import hint

_log = logging.getLogger(__name__)


class Location(NamedTuple):
    """Where the patches of a modality are: in a folder, in archives, or in both."""

    folder: Path | None
    archives: tuple[Archive, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """What names it: the folder, and the first file of each archive."""
        own = (self.folder,) if self.folder is not None else ()
        return (*own, *(archive.path for archive in self.archives))

    @property
    def archive_files(self) -> list[Path]:
        """The files of all its archives."""
        return [file for archive in self.archives for file in archive.files]


class SourceParts(NamedTuple):
    """Where the parts of a source are: its modalities, tables and lists.

    A part has the name that it has in the description, as in ``--path NAME=PATH``.
    """

    modalities: Mapping[str, Location]
    files: Mapping[str, Path]
    """Tables, lists and pairs."""
    absent: tuple[str, ...]
    """Names of the parts that the source does not have."""
    notes: tuple[str, ...] = ()
    """A sentence for each thing that is there and is not read."""

    @property
    def packed(self) -> tuple[str, ...]:
        """The modalities that come out of archives."""
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
        return modalities | {name: (path,) for name, path in self.files.items()}

    def files_named(self, names: Iterable[str]) -> dict[str, Path]:
        """Those of the files that have these names."""
        return {name: self.files[name] for name in names if name in self.files}


def locate(
    description: Description,
    source: Path,
    paths: Mapping[str, Path],
    wanted: tuple[str, ...] | None,
) -> SourceParts:
    """Find the folder or the archives of each modality, and each table and list.

    Args:
        description: names the parts, and their folders and files inside a source.
        source: the folder with the dataset as published.
        paths: part -> where it is, for parts that are elsewhere.
        wanted: the modalities that must be there; None takes those that are.

    Raises:
        SourceMissing: the source, or a part that was asked for, does not exist.
        SourceError: the source is empty or another dataset; what should be an archive is none.
        OptionError: a name that the description does not have.
    """
    files = description.files()
    paths = _by_part(description, paths)
    _check_wanted(description, wanted)
    if not source.is_dir():
        raise SourceMissing(_no_folder(description, source))
    modalities: dict[str, Location] = {}
    found: dict[str, Path] = {}
    absent = []
    for name, modality in description.modalities.items():
        if wanted is not None and name not in wanted:
            continue
        must_exist = wanted is not None or name in paths
        location = _locate_modality(modality, source, paths.get(name), must_exist=must_exist)
        if location is not None:
            modalities[name] = location
        else:
            absent.append(name)
    for name, file in files.items():
        path = paths.get(name, source / file)
        if path.is_file():
            found[name] = path
        elif name in paths:
            raise SourceMissing(f"{name}: there is no file {path}")
        else:
            absent.append(name)
    if not modalities:
        raise SourceError(_another_dataset(description, source))
    parts = SourceParts(modalities, found, tuple(absent))
    for archive in dict.fromkeys(a for one in modalities.values() for a in one.archives):
        require_tar(archive.files)
    _log_parts(parts)
    return parts


def _log_parts(parts: SourceParts) -> None:
    for name, paths in parts.paths.items():
        _log.info("%s: %s", name, ", ".join(map(str, paths)))
    if parts.absent:
        _log.info("not in the source: %s", ", ".join(parts.absent))
    if parts.packed:
        _log.info("%s come out of archives, in %d streams", parts.packed, parts.stream_count)


def _locate_modality(
    modality: ModalitySource, source: Path, path: Path | None, *, must_exist: bool
) -> Location | None:
    """Where a modality is: at `path` if that was given, else in the source; None if nowhere.

    Raises:
        SourceMissing: it is nowhere, though it `must_exist`.
    """
    location = _find(modality, source) if path is None else _named(modality, path)
    if location is None and must_exist:
        name, folder = modality.name, path or source / modality.folder
        raise SourceMissing(
            f"modality {name}: there is no folder {folder}{_or_archive(modality)}; "
            f"give it with --path {name}=PATH"
        )
    return location


def _find(modality: ModalitySource, source: Path) -> Location | None:
    """Where a modality is in a source: in its folder rather than in archives, which are slower."""
    folder = source / modality.folder
    has_own_folder = modality.folder != "."
    if has_own_folder and folder.is_dir():
        _log_archives_beside(modality, source)
        return Location(folder)
    archives = archives_in(source, modality.archives)
    if has_own_folder:
        return Location(None, archives) if archives else None
    # The patches lie in the source itself: all of them may be unpacked, or none, or those of some
    # archives while others are still packed.
    if not archives:
        return Location(source)
    first = next(iter(Walk(modality, source, ignore_problem)), None)
    return Location(source if first is not None else None, archives)


def _log_archives_beside(modality: ModalitySource, source: Path) -> None:
    if not _log.isEnabledFor(logging.INFO):
        return
    with suppress(SourceError):  # a folder that cannot be listed is no reason to stop here
        names = {name: archive_name(name) for name in entries(source)}
        beside = [n for n, name in names.items() if name and name.stem in modality.archives]
        if beside:
            shown = ", ".join(beside)
            _log.info("%s: its folder is read, as that is faster, not %s", modality.name, shown)


def _named(modality: ModalitySource, path: Path) -> Location | None:
    """Where a modality is whose path was given: a folder of patches or of archives, or an archive.

    None if there is nothing at that path.
    """
    if path.is_dir():
        archives = archives_in(path, modality.archives)
        return Location(None, archives) if archives else Location(path)
    if not path.is_file():
        return None
    archive = archive_at(path)
    if archive is None:
        raise SourceError(
            f"{path} is no archive that can be read (.tar, .tar.gz or .tar.zst, or their parts): "
            "unpack it and give the folder"
        )
    return Location(None, (archive,))


def locate_files(description: Description, paths: Mapping[str, Path]) -> dict[str, Path]:
    """The tables and lists whose paths were given, if there is no source with the others.

    Raises:
        SourceMissing: one does not exist.
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
        if not path.is_file():
            raise SourceMissing(f"{name}: there is no file {path}")
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


def _check_wanted(description: Description, wanted: tuple[str, ...] | None) -> None:
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
    if archive is None:
        return f"source {source} is a file, not a folder: {expected}"
    modalities = description.modalities.items()
    owners = [name for name, modality in modalities if archive.stem in modality.archives]
    part = owners[0] if owners else next(iter(description.modalities))
    return (
        f"source {source} is an archive, not a folder: give the folder that holds it "
        f"({source.parent}), or a folder and --path {part}={source}"
    )


def _or_archive(modality: ModalitySource) -> str:
    return f" and no archive {modality.archives[0]}.tar.…" if modality.archives else ""


def _all_parts(description: Description) -> str:
    folders = [modality.folder for modality in description.modalities.values()]
    return ", ".join(dict.fromkeys([*folders, *description.tables.values()]))


def _another_dataset(description: Description, source: Path) -> str:
    """The sentence about a source that has no modality of the description."""
    there = entries(source)
    shown = ", ".join(there[:5]) + (", …" if len(there) > 5 else "") if there else "nothing"
    return (
        f"{source} is no {description.dataset.name}: it holds {shown}, but "
        f"{_all_parts(description)} are expected, or their archives; see `patchpress datasets`, or "
        "name folders and archives with --path"
    )
