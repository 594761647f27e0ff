"""Which folders are parts of a data set, and which tell patches, classes, splits or seasons apart.

Folders that tell something apart become fields of a path; what is in them is looked at together.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from patchpress.converter.drafting.facts import NoImage, facts_of
from patchpress.converter.drafting.looking import SeenFolder
from patchpress.converter.drafting.words import (
    are_seasons,
    are_splits,
    common_start,
    has_word,
    is_band,
    is_one_of_many,
    slug,
)

MOST_PARTS = 12  # folders beside one another that are parts of a data set
LABEL, SPLIT = "label", "split"


class ImageFolder(NamedTuple):
    """A folder with images, and what the folders above it tell."""

    seen: SeenFolder
    values: Mapping[str, str]


@dataclass(slots=True)
class Cluster:
    """Folders with images whose paths differ in fields only."""

    parts: tuple[str, ...]
    """The path from the root: names, and fields in braces."""
    places: list[ImageFolder]
    fields: dict[str, list[str]] = field(default_factory=dict)
    """Field of a folder -> all names that folders of it have."""
    cut: bool = False
    """Whether these may be more."""

    @property
    def last_field(self) -> str:
        """The field that the last folder is; empty if it is none."""
        last = self.parts[-1] if self.parts else ""
        return last[1:-1] if last.startswith("{") else ""


def clusters_in(root: SeenFolder) -> list[Cluster]:
    """The clusters of a tree."""
    return list(_descend((), [ImageFolder(root, {})], {}, cut=False))


def _descend(
    parts: tuple[str, ...],
    places: list[ImageFolder],
    fields: dict[str, list[str]],
    *,
    cut: bool,
) -> Iterator[Cluster]:
    own = [place for place in places if place.seen.images()]
    if own:
        yield Cluster(parts, own, fields, cut)
    children: dict[str, list[ImageFolder]] = {}
    for place in places:
        for name, seen in place.seen.folders.items():
            if seen.has_images():
                children.setdefault(name, []).append(ImageFolder(seen, place.values))
    if not children:
        return
    for word, numbered in _numbered(children).items():
        name = next(n for n in ("scene", "scene_2", "scene_3") if n not in fields)
        inside = [
            ImageFolder(place.seen, {**place.values, name: folder.removeprefix(word)})
            for folder in numbered
            for place in children.pop(folder)
        ]
        values = [folder.removeprefix(word) for folder in numbered]
        yield from _descend(
            (*parts, f"{word}{{{name}}}"), inside, {**fields, name: values}, cut=cut
        )
    literal = _literal(children, len(places))
    for name in sorted(literal):
        yield from _descend((*parts, name), children.pop(name), fields, cut=cut)
    if not children:
        return
    name = _field_name(children, fields)
    inside = [
        ImageFolder(place.seen, {**place.values, name: value})
        for value, below in children.items()
        for place in below
    ]
    all_names = {value for place in places for value in place.seen.names} - literal
    known = all_names if any(place.seen.cut for place in places) else {*children, *all_names}
    some = any(len(place.seen.folders) < len(place.seen.names) for place in places)
    values = sorted(known if some else children)
    is_cut = cut or any(place.seen.cut for place in places)
    yield from _descend((*parts, f"{{{name}}}"), inside, {**fields, name: values}, cut=is_cut)


def _numbered(children: Mapping[str, object]) -> dict[str, list[str]]:
    """Word with its separator -> folders of that word and a number, if all are of 2 to 6 words."""
    found: dict[str, list[str]] = {}
    for name in sorted(children):
        match = re.fullmatch(r"((?:[A-Za-z]+\d{0,2}_)+)\d+", name)
        if match is None or not has_word(match[1]):
            return {}
        found.setdefault(match[1], []).append(name)
    return found if 2 <= len(found) <= 6 else {}


def _literal(children: Mapping[str, list[ImageFolder]], parents: int) -> set[str]:
    """Those of some folders that are parts of the data set by their names."""
    usable = {name for name in children if not set(name) & set("{}\\") and name[0] != "~"}
    many = {name for name in children if is_one_of_many(name)}
    words = {name for name in usable - many if has_word(name)}
    if are_splits(children):
        return set()
    if len(children) > 1 and all(is_band(name) for name in children):
        return usable  # a path may have no {band} in a folder's name
    if len(children) == 1:
        (only,) = children
        is_id = re.search(r"\d{3}", only) or not re.search(r"[A-Za-z]", only)
        return set() if is_id or _names_its_images(children[only], only) else usable
    if words and {*children} - words <= many:
        return words
    if len(children) > MOST_PARTS or 2 * len(many) >= len(children):
        return words if 0 < len(words) <= MOST_PARTS and many else set()
    if 2 * len(words) >= len(children):
        return usable
    # In several folders the same folders, as in each country images and masks.
    if parents > 1 and all(2 * len(below) > parents for below in children.values()) and words:
        return usable
    if _differ(children) or _share_their_names(children):
        return usable
    return set()


def _names_its_images(below: list[ImageFolder], name: str) -> bool:
    """Whether images begin with the name of their folder, as those of a class often do."""
    images = [image for place in below for image in place.seen.images()[:20]]
    begun = [image for image in images if image.casefold().startswith(name.casefold())]
    return bool(images) and 2 * len(begun) > len(images)


def _differ(children: Mapping[str, list[ImageFolder]]) -> bool:
    """Whether images of these folders have other bands or another dtype."""
    found = set()
    for below in children.values():
        path = below[0].seen.first_image()
        try:
            facts = facts_of(path) if path is not None else None
        except NoImage:
            return False
        if facts is not None:
            found.add((facts.bands, facts.dtype))
    return len(found) > 1


def _share_their_names(children: Mapping[str, list[ImageFolder]]) -> bool:
    """Whether a few folders with names alike have images of the same names, as two dates have."""
    start = common_start(list(children))
    if len(children) > 6 or len(start) < 3:
        return False
    if all(name[len(start) :].isdigit() for name in children):
        return False  # places by number, with the same dates in each
    names = [
        {image for place in below for image in place.seen.images()} for below in children.values()
    ]
    shared = set.intersection(*names)
    return bool(shared) and 2 * len(shared) >= min(map(len, names))


def _field_name(children: Mapping[str, list[ImageFolder]], taken: Mapping[str, object]) -> str:
    """What the field is called that these folders are."""
    if are_splits(children) and SPLIT not in taken:
        return SPLIT
    if are_seasons(children) and "season" not in taken:
        return "season"
    some = sum(is_one_of_many(name) for name in children)
    holds = [place for below in children.values() for place in below if place.seen.images()]
    start = common_start(list(children)).rstrip("0123456789_-. ")
    are_numbered = start and all(name[len(start) :].strip("_-. ").isdigit() for name in children)
    if 2 * some < len(children) and holds and LABEL not in taken and not are_numbered:
        return LABEL
    name = slug(start) if 2 < len(start) < 20 and not some else "group"
    name = name if name not in ("band", "file", "image") and not name[0].isdigit() else "group"
    return next(n for n in (name, *(f"{name}_{i}" for i in range(2, 20))) if n not in taken)
