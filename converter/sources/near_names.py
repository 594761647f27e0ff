"""Folders and files of a source that nearly have the name of a modality that is absent."""

import re
from collections.abc import Mapping
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.sources.archive_names import archive_name, is_one_of
from patchpress.converter.sources.match import last_name
from patchpress.converter.sources.probe import Folders

ALIKE = 0.85  # of two names, from which on one is taken for a variant of the other
LEAST = 4  # letters of a name that may be spelt otherwise

_UNFINISHED = re.compile(r"\.(?:part|partial|crdownload|download|aria2|tmp|filepart)$", re.I)
_PART = re.compile(r"(?:[._-]?part[._-]?(?:[a-z]{2,3}|\d+)|\.z?\d{2,3}|[._-]?a[a-z])$", re.I)
_COMPRESSED = re.compile(
    r"\.(?:tar|tgz|tzst|txz|tbz2?|tlz|zip|7z|rar|gz|zst|xz|bz2|lz4?|lzma|br|z\d{0,2})$", re.I
)
_COPY = re.compile(
    r"(?:\s*\(\d+\)|[\s_-]*(?:copy|new|old|unpacked|extracted|sample|subset))+$", re.I
)
_VERSION = re.compile(r"[\s._-]*v?\d+(?:\.\d+)+$|[\s._-]+v\d+$", re.I)


class Near(NamedTuple):
    """Something with nearly the right name."""

    path: Path
    way_out: str

    def clause(self) -> str:
        """It, and what to do about it."""
        return f"{self.path} nearly fits: {self.way_out}"


def near_names(
    modality: ModalitySource, others: Mapping[str, ModalitySource], source: Path
) -> list[Near]:
    """What may be meant for a modality that a source does not have under its published name.

    Args:
        modality: the one that is absent.
        others: all modalities of the data set.
        source: the folder that was given.
    """
    folders = Folders()
    exact = {name for one in others.values() for name in _exact(one)}
    found = []
    for name in folders.names(source):
        path = source / name
        known = archive_name(name)
        if name in exact or (known is not None and is_one_of(known.stem, exact)):
            continue
        is_folder = path.is_dir()
        stem = name if is_folder else _stem(name)
        if (is_folder or stem != name) and _best(stem, others) == modality.name:
            found.append(Near(path, _way_out(modality, path, is_folder=is_folder)))
    return found + _elsewhere(modality, source, folders)


def _elsewhere(modality: ModalitySource, source: Path, folders: Folders) -> list[Near]:
    """The right name in a folder inside or above."""
    found = []
    if modality.folder != ".":
        for folder in (*folders.folders(source), source.resolve().parent):
            path = folder / modality.folder
            if path.is_dir() and path.resolve() != source.resolve():
                found.append(Near(path, f"give --path {modality.name}={path}"))
    return found


def _exact(modality: ModalitySource) -> set[str]:
    return {last_name(modality.folder), *modality.archives}


def _stem(name: str) -> str:
    """A file's name without the endings that archives, their parts and downloads have."""
    name = _UNFINISHED.sub("", name)
    if _COMPRESSED.search(_PART.sub("", name)):
        name = _PART.sub("", name)
    while _COMPRESSED.search(name):
        name = _COMPRESSED.sub("", name)
    return name


def _plain(name: str) -> str:
    """A name without case, separators, version and what marks a copy."""
    name = _COPY.sub("", name)
    return re.sub(r"[\s._-]", "", _VERSION.sub("", name)).lower()


def _best(stem: str, modalities: Mapping[str, ModalitySource]) -> str | None:
    """The modality whose name is most like this one; None if none is, or two are."""
    plain = _plain(stem)
    scores = {
        modality.name: max(_likeness(plain, _plain(name)) for name in _exact(modality))
        for modality in modalities.values()
    }
    best = max(scores, key=scores.__getitem__)
    top = [name for name, score in scores.items() if score == scores[best]]
    return best if scores[best] >= ALIKE and len(top) == 1 else None


def _likeness(plain: str, wanted: str) -> float:
    """How alike two names are, 0 to 1; those with other digits are not alike at all."""
    if plain == wanted:
        return 1.0
    if min(len(plain), len(wanted)) < LEAST or _digits(plain) != _digits(wanted):
        return 0.0
    return SequenceMatcher(None, plain, wanted).ratio()


def _digits(name: str) -> list[str]:
    return re.findall(r"\d+", name)


def _way_out(modality: ModalitySource, path: Path, *, is_folder: bool) -> str:
    option = f"--path {modality.name}={path}"
    if is_folder:
        return f"rename it to {modality.folder}, or give {option}"
    if _UNFINISHED.search(path.name):
        return "its download did not end, it seems"
    # The last letters of ".rar" look like the number of a part.
    is_whole = archive_name(path.name.lower()) is not None or _COMPRESSED.search(path.name)
    whole = path.name if is_whole else _PART.sub("", path.name)
    if archive_name(whole.lower()) is not None:
        return f"rename it, or give {option}"
    ending = whole.removeprefix(_stem(whole)).lower()
    return f"{ending or 'this'} is not read, unpack it and give the folder"
