"""Where one modality of a source is: in a folder, in archives, or in both."""

import os
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.sources.archive_names import (
    Archive,
    archive_at,
    archive_name,
    archives_in,
    is_one_of,
)
from patchpress.converter.sources.archives import ArchiveStream, StreamOptions
from patchpress.converter.sources.contents import PARQUET, STREAMED, ZIP, ZIP_EMPTY
from patchpress.converter.sources.embedded_tables import tables_below, tables_in
from patchpress.converter.sources.folders import Walk, entries, patterns_of
from patchpress.converter.sources.patch import Patch, ignore_problem
from patchpress.converter.sources.recognize import kind_of
from patchpress.converter.sources.zip_opened import ZipDirectories
from patchpress.converter.sources.zip_walk import ZipNeighbours, ZipWalk
from patchpress.readers.errors import PatchError, SourceError, SourceMissing


class Location(NamedTuple):
    """Where the patches of a modality are: in a folder, in archives, or in both."""

    folder: Path | None
    archives: tuple[Archive, ...] = ()
    """Those that are read from beginning to end."""
    zips: tuple[Archive, ...] = ()
    """Those whose files are read like those of a folder, in any order."""
    tables: tuple[Path, ...] = ()
    """Parquet files whose rows are its patches."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """What names it: the folder, and the first file of each archive."""
        own = (self.folder,) if self.folder is not None else ()
        return (*own, *(archive.path for archive in (*self.archives, *self.zips)), *self.tables)

    @property
    def archive_files(self) -> list[Path]:
        """The files of all its archives."""
        return [file for archive in (*self.archives, *self.zips) for file in archive.files]

    @property
    def is_walked(self) -> bool:
        """Whether it has patches that are found without reading archives to their end."""
        return self.folder is not None or bool(self.zips or self.tables)


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
    folder, tables = source / modality.folder, tables_in(modality, source)
    if tables and (modality.folder == "." or not folder.is_dir()):
        return FoundModality(Location(None, tables=tables))
    if modality.folder == ".":
        return _find_in_source(modality, source, archives)
    if not folder.is_dir():
        packed = FoundModality(_packed(archives), _other_endings(modality, source, archives))
        return packed if archives else None
    if archives and _first_patch(modality, folder) is None:
        note = f"{folder} has no patch: {_named(archives)} is read"
        return FoundModality(_packed(archives), (note,))
    beside = _archives_beside(modality, source)
    beside += [str(table.relative_to(source)) for table in tables[:1]]
    notes = (f"{folder} is read, not {', '.join(beside)} beside it",) if beside else ()
    return FoundModality(Location(folder), notes)


def _tables_at(modality: ModalitySource, path: Path) -> tuple[Path, ...]:
    """The Parquet files at a path that was given: one, or those of a folder without patches."""
    if modality.embedded is None:
        return ()
    if path.is_file():
        return (path,) if kind_of(path) is PARQUET else ()
    if not path.is_dir():
        return ()
    tables = tables_in(modality, path)
    if not tables and _first_patch(modality, path) is None:
        tables = tables_below(modality, path)
    return tables


def absent_beside_others(
    modalities: Iterable[ModalitySource], located: Mapping[str, Location]
) -> list[str]:
    """Names of modalities that lie in the source itself, but without any patch there.

    There are none if no other modality has a patch there: then it is another data set's folder. A
    patch that lies in a wrong folder is one, too: its error is told later.
    """
    inside = [
        modality
        for modality in modalities
        if modality.folder == "."
        and modality.name in located
        and located[modality.name].folder is not None
        and not (located[modality.name].archives or located[modality.name].zips)
    ]
    if len(inside) < 2:
        return []
    lacking = [modality.name for modality in inside if not _has_patch(modality, located)]
    return lacking if len(lacking) < len(inside) else []


def _has_patch(modality: ModalitySource, located: Mapping[str, Location]) -> bool:
    folder = located[modality.name].folder
    problems: list[PatchError] = []
    found = folder and next(iter(Walk(modality, folder, problems.append)), None)
    return bool(found or problems)


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
        return FoundModality(_packed(archives))
    packed, notes = [], []
    for archive in archives:
        place = _place_on_disk(modality, source, archive)
        if place is None:
            packed.append(archive)
        else:
            notes.append(f"{place} is read, not {archive.path.name}, which was unpacked there")
    return FoundModality(_packed(packed, source), tuple(notes))


def _packed(archives: Iterable[Archive], folder: Path | None = None) -> Location:
    """Where a modality is that is in archives, and perhaps in a folder, too."""
    zips = tuple(archive for archive in archives if is_zip(archive))
    return Location(folder, tuple(a for a in archives if a not in zips), zips)


def is_zip(archive: Archive) -> bool:
    """Whether an archive is a zip, by its first bytes; by its name if they tell nothing."""
    kind = kind_of(archive.path)
    if kind in (ZIP, ZIP_EMPTY):
        return True
    return kind not in STREAMED and ".zip" in archive.path.suffixes


def _place_on_disk(modality: ModalitySource, source: Path, archive: Archive) -> Path | None:
    """The folder in a source that has the first patch of an archive; None if none has."""
    first = first_packed(modality, archive)
    if first is None:
        return None
    inside = first.folder.removeprefix(f"{archive.path}").strip("/")
    names = inside.split("/") if inside else []
    own = archive_name(archive.path.name)
    if own is not None:  # it may stand for the folder of its name
        names = [own.stem, *names]
    for pattern in patterns_of(modality):
        depth = len(pattern.folders)
        folder = source.joinpath(*names[len(names) - depth :]) if depth else source
        file = folder / first.file(modality.files_of(apart=first.apart)[0].name)
        if depth <= len(names) and file.exists():
            return folder
    return None


def first_packed(modality: ModalitySource, archive: Archive) -> Patch | None:
    """The first patch of a modality in an archive, by name; None if there is none."""
    if is_zip(archive):
        nobody = ZipNeighbours()
        return next(
            iter(ZipWalk((archive,), modality, ignore_problem, ZipDirectories(), nobody)), None
        )
    stream = ArchiveStream((archive,), (modality,), ignore_problem, StreamOptions(names_only=True))
    with closing(iter(stream)) as patches:
        return next(patches, None)


def _first_patch(modality: ModalitySource, folder: Path) -> Patch | None:
    return next(iter(Walk(modality, folder, ignore_problem)), None)


def _archives_beside(modality: ModalitySource, source: Path) -> list[str]:
    names = {name: archive_name(name) for name in entries(source)}
    return [n for n, name in names.items() if name and is_one_of(name.stem, modality.archives)]


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
    tables = _tables_at(modality, path)
    if tables:
        return FoundModality(Location(None, tables=tables))
    if path.is_dir():
        archives = archives_in(path, modality.archives, window)
        return FoundModality(_packed(archives) if archives else Location(path))
    if not path.exists():
        raise SourceMissing(f"{option}: there is no such file or folder")
    archive = archive_at(path, window)
    if archive is not None:
        return FoundModality(_packed((archive,)))
    kind = kind_of(path)  # its name may be any
    if kind in (*STREAMED, ZIP, ZIP_EMPTY):
        return FoundModality(_packed((Archive((path,), window),)))
    if kind is not None:
        raise SourceError(f"{path} is {kind.name}: {kind.way_out}")
    raise SourceError(
        f"{path} is no archive that can be read (.zip, .tar, .tar.gz, .tar.zst, .tar.xz or "
        ".tar.bz2, or their parts): "
        "unpack it and give the folder"
    )
