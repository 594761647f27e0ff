"""Archives by their names: which files are archives, and which files are one archive together."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.sources.compression import WINDOW
from patchpress.converter.sources.folders import entries
from patchpress.readers.errors import SourceError, SourceMissing

# An archive is published as one file, or as several that the command `split` made of it.
_ARCHIVE = re.compile(
    r"""
    (?P<whole> (?P<stem> .+ ) \. (?:
        tar\.zst | tzst | tar\.gz | tgz | tar\.xz | txz | tar\.bz2 | tbz2? | tar | zip
    ) )
    (?:                                     # one of several files:
        (?P<between> [._-]? (?: part [._-]? )? )    # as in a.tar.gzaa, a.tar.gz.aa, a.tar.part1
        (?! (?<=\.) (?: asc | br | bz | gz | lz | xz ) $ )     # a.tar.lz is no number
        (?P<part> [a-z]{2} | a[a-z]{2} | \d{1,4} ) # its number: aa, ab, … or 000, 001, …
    )?
    """,
    re.VERBOSE,
)


class Archive(NamedTuple):
    """One archive: its file, or the files into which it was split, in their order."""

    files: tuple[Path, ...]
    window: int = WINDOW
    """Bytes that a zstd frame of it may ask to be kept in memory."""

    @property
    def path(self) -> Path:
        """What sentences call it: the path of its first file."""
        return self.files[0]

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(file.stat().st_size for file in self.files)


class ArchiveName(NamedTuple):
    """What the name of an archive's file tells."""

    stem: str
    """The name without its ending."""
    part: str
    """Which of several files it is, as in its name (`aa`, `000`); empty if it is the only one."""


def archive_name(file: str) -> ArchiveName | None:
    """What a file's name tells of an archive; None if it is not one that can be read."""
    match = _ARCHIVE.fullmatch(file)
    return ArchiveName(match["stem"], match["part"] or "") if match else None


def archive_at(path: Path, window: int = WINDOW) -> Archive | None:
    """The archive that a file is, or is a part of; None if it is not one that can be read.

    Args:
        path: of the file.
        window: as `Archive` has it.

    Raises:
        SourceMissing: a part before the last is not there.
        SourceError: the folder may not be read.
    """
    match = _ARCHIVE.fullmatch(path.name)
    return Archive(_with_parts(path.parent, match), window) if match else None


def archives_in(folder: Path, stems: Iterable[str], window: int = WINDOW) -> tuple[Archive, ...]:
    """The archives of a folder that have these names without their endings, in the same order.

    If one archive is there with several endings, the first ending in the alphabet is taken.

    Args:
        folder: in which they are looked for.
        stems: their names without endings, as `is_one_of` takes them: those that one with `*`
            stands for come in the order of the alphabet.
        window: as `Archive` has it.

    Raises:
        SourceMissing: a part before the last is not there.
        SourceError: the folder may not be read, or what has such a name is no file.
    """
    stems = tuple(stems)
    if not stems:
        return ()
    found: dict[str, re.Match[str]] = {}
    for name in entries(folder):
        match = _ARCHIVE.fullmatch(name)
        if match and is_one_of(match["stem"], stems):
            if not (folder / name).is_file():
                raise no_file(folder / name)
            found.setdefault(match["stem"], match)
    there = {name: found[name] for stem in stems for name in found if is_one_of(name, (stem,))}
    return tuple(Archive(_with_parts(folder, match), window) for match in there.values())


def is_one_of(stem: str, stems: Iterable[str]) -> bool:
    """Whether the name of an archive without its ending is one of these.

    One with `*` in it stands for all names that have any text in its place.
    """
    return any(stem == one or ("*" in one and fnmatchcase(stem, one)) for one in stems)


def no_file(path: Path) -> SourceError:
    """The error for what has the name of a file that is read, and is none."""
    if path.is_symlink() and not path.exists():
        return SourceError(f"{path} is a link to what is not there: mend it, or remove it")
    return SourceError(f"{path} is a folder, a pipe or a device, not a file: move it away")


def _with_parts(folder: Path, match: re.Match[str]) -> tuple[Path, ...]:
    """The files of an archive by the name of its file, or of one of its parts.

    Raises:
        SourceMissing: a part before the last is not there.
    """
    if not match["part"]:
        return (folder / match[0],)
    like = match["part"]
    begin = match["whole"] + match["between"]
    parts: dict[int, Path] = {}
    for name in entries(folder):
        other = _ARCHIVE.fullmatch(name)
        if other is None or other["whole"] + (other["between"] or "") != begin:
            continue
        if other["part"] and other["part"].isdigit() == like.isdigit():
            parts[_number(other["part"])] = folder / name
    first = 1 if like.isdigit() and 0 not in parts else 0
    for number in range(first, max(parts)):
        if number not in parts:
            name = begin + _part_name(number, like)
            raise SourceMissing(f"there is no part {folder / name}, though a later one is there")
    return tuple(path for _, path in sorted(parts.items()))


def _number(part: str) -> int:
    """The number of a part by its name, from 0; some programs count from 1."""
    if part.isdigit():
        return int(part)
    number = 0
    for letter in part:
        number = 26 * number + ord(letter) - ord("a")
    return number


def _part_name(number: int, like: str) -> str:
    """What `split` calls a part, counted from 0: aa, ab, …, or 00, 01, … with as many digits."""
    if like.isdigit():
        return f"{number:0{len(like)}}"
    letters = ""
    for _ in like:
        number, letter = divmod(number, 26)
        letters = chr(ord("a") + letter) + letters
    return letters
