"""The files of a patch: how names of files are parted into the patch's and what follows it."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from patchpress.converter.drafting.date_forms import are_dates, tells_dates
from patchpress.converter.drafting.looking import format_of
from patchpress.converter.drafting.tree import LABEL, SPLIT, Cluster, ImageFolder
from patchpress.converter.drafting.words import (
    are_seasons,
    has_word,
    is_band,
    is_one_of_many,
    tokens,
)

MOST_CHANNELS = 60
_SEPARATOR = re.compile(r"[_\-. ]")


@dataclass(slots=True)
class Channel:
    """Files that have the same place among the files of a patch."""

    rest: str
    """What follows the patch's name in the name of the file, with the separator; the whole name
    if the patch's is not in it. Without the ending."""
    ending: str
    has_name: bool
    """Whether the file's name begins with the patch's."""
    files: list[Path] = field(default_factory=list)
    before: str = ""
    """What comes before the patch's name."""

    @property
    def file(self) -> str:
        """The name of a file, with ``{}`` for the patch's name."""
        return f"{self.before}{'{}' * self.has_name}{self.rest}{self.ending}"

    @property
    def word(self) -> str:
        """What tells it from others, without separators."""
        return self.rest.lstrip("_-. ") or self.before.rstrip("_-. ")


@dataclass(slots=True)
class Scheme:
    """How the files of a cluster make patches."""

    cluster: Cluster
    is_folder_a_patch: bool
    """Whether each folder is a patch; else several patches lie in one folder."""
    channels: list[Channel]
    names: Sequence[tuple[Mapping[str, str], str]]
    """Of each patch what the folders above tell, and its own name."""
    folders: Sequence[Path]
    """Of each patch the folder with its files."""


def scheme_of(cluster: Cluster) -> Scheme:
    """How the files of a cluster make patches, as far as the names that were seen tell."""
    if cluster.last_field and cluster.last_field != SPLIT:
        found = _by_folder(cluster)
        if found is not None:
            return found
    return _by_file(cluster)


def _by_folder(cluster: Cluster) -> Scheme | None:
    """The scheme if each folder is a patch; None if it is none."""
    found: dict[tuple[str, str, bool], Channel] = {}
    for place in cluster.places:
        for image in place.seen.images():
            stem, ending = os.path.splitext(image)
            name = place.seen.path.name
            has_name = stem.startswith(name)
            rest = stem[len(name) :] if has_name else stem
            key = (rest, ending, has_name)
            channel = found.setdefault(key, Channel(rest, ending, has_name))
            channel.files.append(place.seen.path / image)
    folders = len(cluster.places)
    regular = [c for c in found.values() if folders == 1 or 2 * len(c.files) > folders]
    files = sum(len(channel.files) for channel in found.values())
    if not regular or len(regular) > MOST_CHANNELS:
        return None
    if 10 * sum(len(channel.files) for channel in regular) < 6 * files:
        return None
    folder_names = [place.seen.path.name for place in cluster.places]
    if are_seasons(folder_names) or are_dates(folder_names):
        layers = [c for c in regular if c.has_name or is_band(c.rest) or has_word(c.word)]
        if 2 * len(layers) < len(regular):
            return None  # images of places, and each folder is a date of all of them
    if tells_dates(channel.rest for channel in regular):
        return None  # a folder is a place, and each of its dates is a patch
    said = [channel for channel in regular if channel.has_name or is_band(channel.rest)]
    named = [channel for channel in regular if not channel.word.isdigit()]
    if cluster.last_field == LABEL and len(said) < len(regular):
        return None  # classes whose images have the same names
    if (folders == 1 and 2 * len(said) < len(regular)) or 2 * len(named) < len(regular):
        return None
    names = [
        (_without(place, cluster.last_field), place.seen.path.name) for place in cluster.places
    ]
    return Scheme(cluster, True, regular, names, [place.seen.path for place in cluster.places])


def _without(place: ImageFolder, name: str) -> dict[str, str]:
    return {key: value for key, value in place.values.items() if key != name}


def _by_file(cluster: Cluster) -> Scheme:
    """The scheme if patches are files, or several files that lie among those of others."""
    images = [(place, image) for place in cluster.places for image in place.seen.images()]
    stems = [(str(place.seen.path), os.path.splitext(image)[0]) for place, image in images]
    parted = _parted(stems, cluster.parts)
    begun = ["" for _ in stems]
    if not any(rest for _, rest in parted):
        begun = _beginnings([stem for _, stem in stems])
    found: dict[tuple[str, str, str], Channel] = {}
    names: dict[tuple[Path, str], Mapping[str, str]] = {}
    for (place, image), before, (stem, rest) in zip(images, begun, parted, strict=True):
        ending = os.path.splitext(image)[1]
        name = stem[len(before) :]
        channel = found.setdefault(
            (before, rest, ending), Channel(rest, ending, True, before=before)
        )
        channel.files.append(place.seen.path / image)
        names[place.seen.path, name] = place.values
    most = max(len(channel.files) for channel in found.values())
    regular = [channel for channel in found.values() if 10 * len(channel.files) >= most]
    own = [(values, name) for (_, name), values in names.items()]
    return Scheme(cluster, False, regular, own, [folder for folder, _ in names])


def _parted(files: Sequence[tuple[str, str]], parts: Sequence[str]) -> list[tuple[str, str]]:
    """Each name, given with its folder, as that of a patch and the rest that several have."""
    stems = [stem for _, stem in files]
    folders = {part.casefold() for part in parts}
    candidates = [list(_ends(stem)) for stem in stems]
    counts = Counter(end for ends in candidates for _, end in ends)
    likely = {end: count for end, count in counts.items() if _may_be_channel(end.lstrip("_-. "))}
    best = max(likely.values(), default=0)
    accepted = {
        end
        for end, count in likely.items()
        if (count >= 2 and 2 * count >= best)
        or end.lstrip("_-. ").casefold() in folders
        or (len(stems) == 1 and is_band(end.lstrip("_-. ")))
    }
    found = [
        next(((name, end) for name, end in ends if end in accepted), (stem, ""))
        for stem, ends in zip(stems, candidates, strict=True)
    ]
    rests = {rest.lstrip("_-. ") for _, rest in found}
    if are_dates(name for name, _ in found) and not all(is_band(r) or has_word(r) for r in rests):
        return [(stem, "") for stem in stems]  # these are names of places, at several dates
    is_worth_it = _is_worth_it([folder for folder, _ in files], found)
    return found if is_worth_it else [(stem, "") for stem in stems]


def _beginnings(stems: Sequence[str]) -> list[str]:
    """What comes before the patch's name, if it tells layers, as in ``img_1`` and ``mask_1``."""
    parts = [stem.partition(next((m for m in "_-. " if m in stem), "_")) for stem in stems]
    words = {word for word, _, _ in parts}
    names = [{name for word, _, name in parts if word == one and name} for one in words]
    shared = set.intersection(*names)
    if not 2 <= len(words) <= 6 or not all(has_word(word) for word in words):
        return ["" for _ in stems]
    if 2 * len(shared) < max(map(len, names)):
        return ["" for _ in stems]
    return [f"{word}{mark}" for word, mark, _ in parts]


def _ends(stem: str) -> Iterable[tuple[str, str]]:
    """The name parted at each separator, the longest end first; ends have up to four words."""
    places = [match.start() for match in _SEPARATOR.finditer(stem) if match.start()]
    return [(stem[:at], stem[at:]) for at in places[-4:]]


def _may_be_channel(word: str) -> bool:
    """Whether the end of a name may be that of a band or a layer, and not a number of a patch."""
    if not any(letter.isalpha() for letter in word) or tokens(word)[0].isdigit():
        return False
    return is_band(word) or not is_one_of_many(word)


def _is_worth_it(folders: Sequence[str], found: Sequence[tuple[str, str]]) -> bool:
    """Whether the ends are layers that patches have, and not the names of their classes."""
    rests = {rest for _, rest in found}
    if rests == {""} or len(rests) > MOST_CHANNELS:
        return False
    if len(rests) == 1:
        return True
    layers: dict[tuple[str, str], set[str]] = {}
    for folder, (name, rest) in zip(folders, found, strict=True):
        layers.setdefault((folder, name), set()).add(rest)
    return 2 * sum(len(one) > 1 for one in layers.values()) >= len(layers)


def image_format(channel: Channel) -> str:
    """The format of the files of a channel."""
    return format_of(f"x{channel.ending}")
