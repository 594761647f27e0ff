"""What a folder looks like that is not what it should be: another data set, one above, a store."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.parse import built_in_descriptions, load_description
from patchpress.converter.sources.archive_names import Archive, archive_at, archive_name
from patchpress.converter.sources.contents import START, STREAMED, ZIP, Content, content
from patchpress.converter.sources.probe import (
    Folders,
    first_files,
    modalities_of,
    parts_by_name,
    takes_anything,
)
from patchpress.readers.errors import PatchpressError
from patchpress.readers.format.manifest import DATA, FORMAT, MANIFEST

DEEP = 2  # folders that are looked into below the one that was given, whatever else is there
CHAIN = 8  # so many if each has few others beside it
FEW = 3
MOST = 200  # folders in all
ARCHIVES = 40  # files that are opened in all
_MD5 = re.compile(r"[0-9a-f]{32}")


class Sight(NamedTuple):
    """Something that was seen: which part of which data set it seems to be, and what to do."""

    dataset: str
    what: str
    """The modalities that were seen."""
    place: Path
    way_out: str
    is_part: bool = False
    """Whether it is the folder or archive of one modality, under another name than published."""

    def sentence(self) -> str:
        """It as one clause."""
        return f"{self.place} looks like {self.dataset} ({self.what}): {self.way_out}"


@lru_cache(maxsize=1)
def _built_in() -> dict[str, Description]:
    return {name: load_description(path) for name, path in built_in_descriptions().items()}


def known_descriptions(asked: Description | None = None) -> dict[str, Description]:
    """The built-in descriptions, and one that may be the user's own."""
    own = {asked.dataset.name: asked} if asked is not None else {}
    return {**own, **_built_in()}


def fitting(folder: Path) -> dict[str, list[str]]:
    """Data set -> its modalities that a folder has as published."""
    folders = Folders()
    found = {name: parts_by_name(d, folder, folders) for name, d in _built_in().items()}
    return {name: parts for name, parts in found.items() if parts}


def is_source(
    folder: Path, asked: Description | None = None, *, archives_too: bool = True
) -> str | None:
    """The data set of which a folder has patches or archives; None if it has none."""
    folders = Folders()
    for name, description in known_descriptions(asked).items():
        if parts_by_name(description, folder, folders, archives_too=archives_too):
            return name
    return None


def store_in(folder: Path) -> str:
    """What a folder is if it is no source but the result of a conversion; empty if it is none."""
    try:
        with (folder / MANIFEST).open("rb") as file:
            if f'"{FORMAT}"'.encode() in file.read(100):
                return f"{folder} is a store, made by a conversion, and no source"
    except OSError:
        pass
    if (folder / DATA).is_file():
        return (
            f"{folder} is an LMDB ({DATA}), not a source: `patchpress index {folder} --dataset …` "
            "makes it a store"
        )
    return ""


def sights(source: Path, asked: Description | None = None) -> list[Sight]:
    """What is seen inside, above and in archives, if a folder itself has nothing as published.

    Args:
        source: the folder; or an archive, which is opened.
        asked: the description that should fit; what fits it comes first.
    """
    seen = list(dict.fromkeys(_Search(source, known_descriptions(asked)).sights()))
    if asked is not None:
        seen.sort(key=lambda sight: sight.dataset != asked.dataset.name)
    return seen


class Seen(NamedTuple):
    """What a folder without patches is, or where they are, as a clause."""

    text: str
    is_part: bool = False
    """Whether only a part of a data set was seen, so that a near name may tell more."""


def what_is_seen(source: Path, asked: Description) -> Seen | None:
    """What a folder is that has nothing of a description as published; None if that is unknown."""
    store = store_in(source)
    if store:
        return Seen(store)
    other = is_source(source, asked)
    if other is not None and other != asked.dataset.name:
        return Seen(f"it looks like {other}")
    seen = sights(source, asked)
    if not seen:
        return None
    return Seen(seen[0].sentence(), seen[0].is_part)


class _Search:
    def __init__(self, source: Path, descriptions: Mapping[str, Description]) -> None:
        self._source, self._descriptions = source, descriptions
        self._folders = Folders()

    def sights(self) -> Iterator[Sight]:
        if self._source.is_file():
            yield from self._in_archive(self._source)
            return
        yield from self._above()
        yield from self._below()
        opened = 0
        for folder in (self._source, *self._folders.folders(self._source)[:ARCHIVES]):
            for file in self._folders.files(folder):
                if opened < ARCHIVES and _may_be_archive(file):
                    opened += 1
                    yield from self._in_archive(file)

    def _above(self) -> Iterator[Sight]:
        """Folders above that have a modality in which the source lies."""
        source = self._source.resolve()
        for above in list(source.parents)[:3]:
            way = source.relative_to(above).parts
            for name, description in self._descriptions.items():
                for modality in description.modalities.values():
                    folder = Path(modality.folder).parts
                    if not folder or way[: len(folder)] != folder:
                        continue
                    if self._folders.has_patch(description, modality, above / modality.folder):
                        yield Sight(name, modality.name, above, "give that folder, which is above")

    def _below(self) -> Iterator[Sight]:
        """Folders below that are a source, or the folder of a modality under another name."""
        waiting = [(self._source, 0)]
        looked = 0
        while waiting and looked < MOST:
            folder, depth = waiting.pop(0)
            looked += 1
            found = False
            for name, description in self._descriptions.items():
                for sight in self._at(name, description, folder, depth):
                    found = True
                    yield sight
            inside = self._folders.folders(folder)
            if not found and (depth < DEEP or (depth < CHAIN and len(inside) <= FEW)):
                waiting += [(path, depth + 1) for path in inside]

    def _at(self, name: str, description: Description, folder: Path, depth: int) -> Iterator[Sight]:
        if depth:
            parts = parts_by_name(description, folder, self._folders)
            if parts:
                yield Sight(name, ", ".join(parts), folder, "give that folder")
                return
        for modality in description.modalities.values():
            if modality.folder == "." or takes_anything(modality):
                continue
            if self._folders.has_patch(description, modality, folder):
                option = f"give --path {modality.name}={folder}"
                yield Sight(name, modality.name, folder, option, is_part=True)

    def _in_archive(self, file: Path) -> Iterator[Sight]:
        for name, description in self._descriptions.items():
            published = {digest: known for known, digest in description.md5.items()}
            stem = file.name.partition(".")[0].lower()
            known = published.get(stem) if _MD5.fullmatch(stem) else None
            if known is not None:
                what = f"{known}, by its MD5"
                yield Sight(name, what, file, f"rename it to {known}", is_part=True)
                return
        kind = kind_of(file)
        if kind not in (*STREAMED, ZIP):
            return
        paths = first_files(_whole(file), is_zip=kind is ZIP)
        found = [
            (depth, name, modality)
            for name, description in self._descriptions.items()
            for modality, depth in modalities_of(description, paths).items()
        ]
        # A data set with more folders above a patch fits better than one with fewer.
        deepest = max((depth for depth, _, _ in found), default=0)
        for depth, name, modality in found:
            if depth == deepest:
                option = f"give --path {modality}={file}"
                yield Sight(name, modality, file, option, is_part=True)


def _may_be_archive(file: Path) -> bool:
    """Whether a file may be an archive by its name, or the first part of one."""
    name = archive_name(file.name)
    if name is not None and name.part:
        return _whole(file).path == file
    return file.suffix.lower() not in (".tif", ".tiff", ".parquet", ".csv", ".txt", ".json", ".md")


def _whole(file: Path) -> Archive:
    try:
        return archive_at(file) or Archive((file,))
    except PatchpressError:
        return Archive((file,))


def kind_of(file: Path) -> Content | None:
    """What a file is by its first bytes; None if that is not known, or it cannot be read.

    Nothing else is opened: a pipe would wait for somebody to write.
    """
    if not file.is_file():
        return None
    try:
        with file.open("rb") as opened:
            return content(opened.read(START))
    except OSError:
        return None
