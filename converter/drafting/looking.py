"""What lies in a folder, as far as a bounded number of names tells."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from patchpress.converter.sources.passed_over import is_hidden

NAMES = 2_000  # of a folder, at most
INTO = 60  # folders of one folder that are looked into, at most
LISTINGS = 3_000  # folders in all
DEEP = 12  # folders below one another

IMAGES = {
    ".tif": "tiff",
    ".tiff": "tiff",
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".jp2": "jpeg2000",
    ".npy": "npy",
}
"""Ending of a file, in lower case -> the format that it stands for."""
TABLES = (".csv", ".tsv", ".parquet", ".json", ".geojson", ".txt", ".lst", ".list")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".zst", ".tzst", ".xz", ".bz2", ".7z", ".rar")


def format_of(name: str) -> str:
    """The format of an image by its name; empty if it is none."""
    return IMAGES.get(os.path.splitext(name)[1].lower(), "")


@dataclass(slots=True)
class SeenFolder:
    """A folder that was looked at."""

    path: Path
    files: list[str] = field(default_factory=list)
    """Names of its files, sorted."""
    folders: dict[str, "SeenFolder"] = field(default_factory=dict)
    """Those of its folders that were looked into."""
    names: list[str] = field(default_factory=list)
    """Names of all its folders, sorted."""
    cut: bool = False
    """Whether it has more names than were looked at."""

    def images(self) -> list[str]:
        """The files that may be images by their names."""
        return [name for name in self.files if format_of(name)]

    def has_images(self) -> bool:
        """Whether it, or a folder in it, has an image."""
        return bool(self.images()) or any(one.has_images() for one in self.folders.values())

    def all_folders(self) -> Iterator["SeenFolder"]:
        """It, and all folders below."""
        yield self
        for one in self.folders.values():
            yield from one.all_folders()

    def first_image(self) -> Path | None:
        """One of its images, or one below: the same for folders that are alike."""
        for name in self.images():
            return self.path / name
        below = (one.first_image() for one in self.folders.values())
        return next((path for path in below if path is not None), None)


@dataclass(slots=True)
class Look:
    """What was looked at, and what was not."""

    root: SeenFolder
    files: int = 0
    listings: int = 0
    cut: list[Path] = field(default_factory=list)
    """Folders of which not all names were looked at, or not all folders looked into."""
    strange: list[str] = field(default_factory=list)
    """Names that are no text in UTF-8: they are never patches."""
    unread: list[str] = field(default_factory=list)
    """A sentence for each folder that cannot be listed."""

    @property
    def whole(self) -> bool:
        """Whether everything was looked at."""
        return not self.cut and not self.unread


def look_at(root: Path) -> Look:
    """List a folder and those in it, as far as the limits of this module go.

    Of a folder with many folders those are looked into that lie evenly among their sorted names, so
    that folders with the same names are looked into alike.
    """
    look = Look(SeenFolder(root))
    waiting = [(look.root, 0)]
    while waiting and look.listings < LISTINGS:
        below: list[tuple[SeenFolder, int]] = []
        for seen, depth in waiting:
            if look.listings >= LISTINGS:
                look.cut.append(seen.path)
                break
            _list(seen, look)
            if depth == DEEP and seen.names:
                look.cut.append(seen.path)
                continue
            chosen = _spread(seen.names, INTO)
            if len(chosen) < len(seen.names):
                look.cut.append(seen.path)
            seen.folders = {name: SeenFolder(seen.path / name) for name in chosen}
            below += [(one, depth + 1) for one in seen.folders.values()]
        waiting = below
    look.cut += [seen.path for seen, _ in waiting]
    return look


def _list(seen: SeenFolder, look: Look) -> None:
    """Fill in the names of one folder."""
    look.listings += 1
    try:
        with os.scandir(seen.path) as entries:
            found = list(islice(entries, NAMES + 1))
    except OSError as error:
        look.unread.append(f"{seen.path} cannot be listed: {error.strerror}")
        return
    if len(found) > NAMES:
        found.pop()
        seen.cut = True
        look.cut.append(seen.path)
    for entry in found:
        if is_hidden(entry.name):
            continue
        if not _is_text(entry.name):
            look.strange.append(ascii(entry.name))
            continue
        try:
            is_folder = entry.is_dir()
            is_file = entry.is_file()
        except OSError:
            continue
        if is_folder:
            seen.names.append(entry.name)
        elif is_file:
            seen.files.append(entry.name)
    seen.names.sort()
    seen.files.sort()
    look.files += len(seen.files)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _spread(names: list[str], most: int) -> list[str]:
    """So many of some names, evenly from the first to the last."""
    if len(names) <= most:
        return names
    return [names[at * (len(names) - 1) // (most - 1)] for at in range(most)]
