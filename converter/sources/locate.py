"""Where the parts of a published dataset are: folders, archives, tables and lists."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.descriptions.description import Description, ModalitySource
from patchpress.converter.sources.folders import Walk, entries
from patchpress.converter.sources.patch import ignore_problem
from patchpress.readers.errors import OptionError, SourceError, SourceMissing
from patchpress.readers.format.table import SPLIT_ALIASES

# As published: one file, or the parts that `split` makes of it (.tar.gzaa, .tar.gzab, …; .000).
# What looks like a part may be the name of a compression that is not read.
_ARCHIVE = re.compile(
    r"(?P<whole>(?P<stem>.+)\.(?:tar\.zst|tzst|tar\.gz|tgz|tar))"
    r"(?:(?P<dot>\.?)(?!(?<=\.)(?:br|bz|gz|lz|xz)$)(?P<part>[a-z]{2}|\d{2,4}))?"
)


class Archive(NamedTuple):
    """One archive: its file, or the parts that are read as one."""

    files: tuple[Path, ...]

    @property
    def path(self) -> Path:
        """What it is called in sentences."""
        return self.files[0]

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(file.stat().st_size for file in self.files)


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
    """Find the folder or the archives of each modality, and each table.

    Raises:
        SourceMissing: the source, or a part that was asked for, does not exist.
        SourceError: the source is empty or another dataset.
        OptionError: a name that the description does not have.
    """
    named = description.files()
    paths = {SPLIT_ALIASES.get(n, n) if n not in named else n: path for n, path in paths.items()}
    _check_names(description, paths, wanted)
    if not source.is_dir():
        raise SourceMissing(_no_folder(description, source))
    modalities, found, absent = {}, {}, []
    for name, modality in description.modalities.items():
        if wanted is not None and name not in wanted:
            continue
        location = _named(modality, paths[name]) if name in paths else _place(modality, source)
        if location is not None:
            modalities[name] = location
        elif name in paths or wanted is not None:
            root = paths.get(name, source / modality.folder)
            raise SourceMissing(
                f"modality {name}: there is no folder {root}{_or_archive(modality)}; "
                f"give it with --path {name}=PATH"
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
    return SourceParts(modalities, found, tuple(absent))


def _place(modality: ModalitySource, source: Path) -> Location | None:
    """Where a modality is in a source: unpacked rather than packed, as that is read faster."""
    folder = source / modality.folder
    if modality.folder != "." and folder.is_dir():
        return Location(folder)
    archives = _archives_in(source, modality.archives)
    if modality.folder != ".":
        return Location(None, archives) if archives else None
    # All of the source may be unpacked, or none, or some of its archives.
    unpacked = not archives or next(iter(Walk(modality, source, ignore_problem)), None) is not None
    return Location(source if unpacked else None, archives)


def _named(modality: ModalitySource, path: Path) -> Location | None:
    """Where a modality is that was named: a folder of patches or of archives, or an archive."""
    if path.is_dir():
        archives = _archives_in(path, modality.archives)
        return Location(None, archives) if archives else Location(path)
    if not path.is_file():
        return None
    match = _ARCHIVE.fullmatch(path.name)
    if match is None:
        raise SourceError(
            f"{path} is no archive that can be read (.tar, .tar.gz or .tar.zst, or their parts): "
            "unpack it and give the folder"
        )
    return Location(None, (_with_parts(path.parent, match),))


def _archives_in(folder: Path, stems: Iterable[str]) -> tuple[Archive, ...]:
    """The archives of these names, in their order; of one in several forms, the first by name.

    Raises:
        SourceMissing: a part before the last is not there.
        SourceError: the folder may not be read.
    """
    found: dict[str, re.Match[str]] = {}
    stems = tuple(stems)
    for name in entries(folder) if stems else ():
        match = _ARCHIVE.fullmatch(name)
        if match and match["stem"] in stems and (folder / name).is_file():
            found.setdefault(match["stem"], match)
    return tuple(_with_parts(folder, found[stem]) for stem in stems if stem in found)


class ArchiveName(NamedTuple):
    """What the name of a file says, that of an archive or of a part of one."""

    stem: str
    """The name without its ending."""
    part: str
    """Which part of it, empty where it is whole."""


def archive_name(file: str) -> ArchiveName | None:
    """What a file's name says of an archive, None where it is none that can be read."""
    match = _ARCHIVE.fullmatch(file)
    return ArchiveName(match["stem"], match["part"] or "") if match else None


def _with_parts(folder: Path, match: re.Match[str]) -> Archive:
    """An archive by the name of its file, or of one of its parts.

    Raises:
        SourceMissing: a part before the last is not there.
    """
    if not match["part"]:
        return Archive((folder / match[0],))
    begin = match["whole"] + match["dot"]
    there = [other for name in entries(folder) if (other := _ARCHIVE.fullmatch(name))
             and other["part"] and other["whole"] + other["dot"] == begin]  # fmt: skip
    parts = [f"{begin}{_part(at, match['part'])}" for at in range(len(there))]
    for name in parts:
        if not (folder / name).is_file():
            raise SourceMissing(f"there is no part {folder / name}, though a later one is there")
    return Archive(tuple(folder / name for name in parts))


def _part(number: int, like: str) -> str:
    """The name that `split` gives to a part, counted from 0: aa, ab, …, or 00, 01, …."""
    if like.isdigit():
        return f"{number:0{len(like)}}"
    return chr(ord("a") + number // 26) + chr(ord("a") + number % 26)


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


def _no_folder(description: Description, source: Path) -> str:
    if not source.exists():
        return f"source {source} does not exist: give the folder that holds {_all(description)}"
    match = _ARCHIVE.fullmatch(source.name)
    stem = match["stem"] if match else ""
    parts = [name for name, m in description.modalities.items() if stem in m.archives]
    if match:
        part = parts[0] if parts else next(iter(description.modalities))
        return (
            f"source {source} is an archive, not a folder: give the folder that holds it "
            f"({source.parent}), or a folder and --path {part}={source}"
        )
    return (
        f"source {source} is a file, not a folder: give the folder that holds {_all(description)}"
    )


def _or_archive(modality: ModalitySource) -> str:
    return f" and no archive {modality.archives[0]}.tar.…" if modality.archives else ""


def _all(description: Description) -> str:
    folders = [modality.folder for modality in description.modalities.values()]
    return ", ".join(dict.fromkeys([*folders, *description.tables.values()]))


def _another(description: Description, source: Path) -> str:
    there = entries(source)
    shown = ", ".join(there[:5]) + (", …" if len(there) > 5 else "") if there else "nothing"
    return (
        f"{source} is no {description.dataset.name}: it holds {shown} where "
        f"{_all(description)} are expected, or their archives; see `patchpress datasets`, or name "
        "folders and archives with --path"
    )
