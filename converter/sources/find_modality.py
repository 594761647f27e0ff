"""Where one modality of a source is: in a folder, in archives, or in both."""

import os
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.sources.archive_names import (
    Archive,
    archive_at,
    archive_name,
    archives_in,
)
from patchpress.converter.sources.archives import ArchiveStream, StreamOptions
from patchpress.converter.sources.contents import GZIP, TAR, ZSTD
from patchpress.converter.sources.folders import Walk, entries, patterns_of
from patchpress.converter.sources.patch import Patch, ignore_problem
from patchpress.converter.sources.recognize import kind_of
from patchpress.readers.errors import SourceError, SourceMissing


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


class FoundModality(NamedTuple):
    """Where a modality is, and what else is there that is not read."""

    location: Location
    notes: tuple[str, ...] = ()
    """A sentence for each thing that is there and is not read."""


def find_modality(modality: ModalitySource, source: Path, window: int) -> FoundModality | None:
    """Where a modality is in a source; None if nowhere.

    What is there in a folder and in an archive is read from the folder, which is faster.

    Args:
        modality: that is looked for.
        source: the folder with all.
        window: bytes that a zstd frame of an archive may ask to be kept in memory.

    Raises:
        SourceError: a folder or an archive cannot be read.
    """
    _require_ends_of_links(modality, source)
    archives = archives_in(source, modality.archives, window)
    if modality.folder == ".":
        return _find_in_source(modality, source, archives)
    folder = source / modality.folder
    if not folder.is_dir():
        packed = FoundModality(Location(None, archives), _other_endings(modality, source, archives))
        return packed if archives else None
    if archives and _first_patch(modality, folder) is None:
        note = f"{folder} has no patch: {_named(archives)} is read"
        return FoundModality(Location(None, archives), (note,))
    beside = _archives_beside(modality, source)
    notes = (f"{folder} is read, not {', '.join(beside)} beside it",) if beside else ()
    return FoundModality(Location(folder), notes)


def _require_ends_of_links(modality: ModalitySource, source: Path) -> None:
    """Refuse a link of the right name that leads nowhere.

    Raises:
        SourceMissing: there is one.
    """
    links = [source / modality.folder]
    links += [source / name for name in _archives_beside(modality, source)]
    for link in links:
        if link.is_symlink() and not link.exists():
            raise SourceMissing(
                f"{link} is a link to {os.readlink(link)}, which is not there: mount or move it, "
                "or remove the link"
            )


def _find_in_source(
    modality: ModalitySource, source: Path, archives: tuple[Archive, ...]
) -> FoundModality | None:
    """Where a modality is whose patches lie in the source itself.

    All of its archives may be unpacked, or none, or some.
    """
    if not archives:
        return FoundModality(Location(source))
    if _first_patch(modality, source) is None:
        return FoundModality(Location(None, archives))
    packed, notes = [], []
    for archive in archives:
        place = _place_on_disk(modality, source, archive)
        if place is None:
            packed.append(archive)
        else:
            notes.append(f"{place} is read, not {archive.path.name}, which was unpacked there")
    return FoundModality(Location(source, tuple(packed)), tuple(notes))


def _place_on_disk(modality: ModalitySource, source: Path, archive: Archive) -> Path | None:
    """The folder in a source that has the first patch of an archive; None if none has."""
    stream = ArchiveStream((archive,), (modality,), ignore_problem, StreamOptions(names_only=True))
    with closing(iter(stream)) as patches:
        first = next(patches, None)
    if first is None:
        return None
    names = first.folder.removeprefix(f"{archive.path}").strip("/").split("/")
    for pattern in patterns_of(modality):
        depth = len(pattern.folders)
        folder = source.joinpath(*names[len(names) - depth :]) if depth else source
        file = folder / first.file(modality.bands[0].name)
        if depth <= len(names) and file.exists():
            return folder
    return None


def _first_patch(modality: ModalitySource, folder: Path) -> Patch | None:
    return next(iter(Walk(modality, folder, ignore_problem)), None)


def _archives_beside(modality: ModalitySource, source: Path) -> list[str]:
    names = {name: archive_name(name) for name in entries(source)}
    return [n for n, name in names.items() if name and name.stem in modality.archives]


def _other_endings(
    modality: ModalitySource, source: Path, archives: tuple[Archive, ...]
) -> tuple[str, ...]:
    """A sentence if archives are there again with other endings, which are not read."""
    read = {file.name for archive in archives for file in archive.files}
    others = [name for name in _archives_beside(modality, source) if name not in read]
    return (f"{_named(archives)} is read, not {', '.join(others)} beside it",) if others else ()


def _named(archives: tuple[Archive, ...]) -> str:
    return ", ".join(archive.path.name for archive in archives)


def modality_at(modality: ModalitySource, path: Path, window: int) -> FoundModality:
    """Where a modality is whose path was given: a folder of patches or of archives, or an archive.

    Args:
        modality: whose path it is.
        path: that was given.
        window: as in `find_modality`.

    Raises:
        SourceMissing: there is nothing at that path.
        SourceError: it is a file that is no archive.
    """
    option = f"--path {modality.name}={path}"
    if path.is_dir():
        archives = archives_in(path, modality.archives, window)
        return FoundModality(Location(None, archives) if archives else Location(path))
    if not path.exists():
        raise SourceMissing(f"{option}: there is no such file or folder")
    archive = archive_at(path, window)
    if archive is not None:
        return FoundModality(Location(None, (archive,)))
    kind = kind_of(path)  # its name may be any
    if kind in (TAR, GZIP, ZSTD):
        return FoundModality(Location(None, (Archive((path,), window),)))
    if kind is not None:
        raise SourceError(f"{path} is {kind.name}: {kind.way_out}")
    raise SourceError(
        f"{path} is no archive that can be read (.tar, .tar.gz or .tar.zst, or their parts): "
        "unpack it and give the folder"
    )
