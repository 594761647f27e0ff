"""Several acquisitions of a place put together: one patch, with the acquisitions by date."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby, pairwise
from operator import attrgetter

from patchpress.converter.descriptions.description import ModalitySource, fields_of
from patchpress.converter.descriptions.patterns import fields_of_place
from patchpress.converter.sources.patch import Patch, Problem
from patchpress.readers.errors import PatchError, SourceError

_key = attrgetter("key")


def lie_together(modality: ModalitySource) -> bool:
    """Whether the folders of a modality have the acquisitions of a place one after the other.

    That is so if a folder stands for a place, and nothing above it for anything else.
    """
    of_place, named = fields_of_place(modality), set(fields_of(modality.name_template))
    for path in modality.paths:
        known: set[str] = set()
        for part in path.split("/")[:-1]:
            known.update(fields_of(part))
            if not known <= of_place or named <= known:
                break
        if not (known <= of_place and named <= known):
            return False
    return len(modality.paths) == 1


def places_in_folders(
    acquisitions: Iterable[Patch], modality: ModalitySource, on_problem: Problem
) -> Iterator[Patch]:
    """The places of a folder, each with all its acquisitions; in the order of the first of them.

    If folders do not have them one after the other, all acquisitions are in memory at a time, and
    places come by name.

    Raises:
        PatchError: what `on_problem` raises of places whose dates are not as they must be.
    """
    if not lie_together(modality):
        acquisitions = sorted(acquisitions, key=_key)
    for _, group in groupby(acquisitions, _key):
        place = _place(list(group), modality, on_problem)
        if place is not None:
            yield place


class PlacesInArchive:
    """Puts the acquisitions of archives together, as they come; those of a place must follow.

    Those of several modalities may come mixed: each modality has its own order.
    """

    def __init__(self, modalities: Iterable[ModalitySource], on_problem: Problem) -> None:
        self._modalities = {m.name: m for m in modalities if m.is_dated}
        self._on_problem = on_problem
        self._open: dict[str, list[Patch]] = {}
        self._given: set[int] = set()

    def __call__(self, patches: Iterable[Patch]) -> Iterator[Patch]:
        """The patches, acquisitions of a place as one patch.

        Raises:
            SourceError: other places, or the end of an archive, lie between the acquisitions of
                a place.
            PatchError: as `places_in_folders`.
        """
        if not self._modalities:
            yield from patches
            return
        for patch in patches:
            if patch.modality not in self._modalities:
                yield patch
                continue
            waiting = self._open.setdefault(patch.modality, [])
            if waiting and waiting[0].key != patch.key:
                yield from self._give(patch.modality)
                waiting = self._open.setdefault(patch.modality, [])
            if hash((patch.modality, patch.key)) in self._given:
                raise SourceError(
                    f"{patch.folder} is of {patch.name}, but other places, or the end of an "
                    "archive, lie between its dates: unpack what is packed and give the folder"
                )
            waiting.append(patch)
        for name in list(self._open):
            yield from self._give(name)

    def _give(self, modality: str) -> Iterator[Patch]:
        group = self._open.pop(modality)
        self._given.add(hash((modality, group[0].key)))
        place = _place(group, self._modalities[modality], self._on_problem)
        if place is not None:
            yield place


def _place(group: list[Patch], modality: ModalitySource, on_problem: Problem) -> Patch | None:
    """One patch of the acquisitions of a place; None if `on_problem` was told why not."""
    try:
        return place_of(group, modality)
    except PatchError as error:
        on_problem(error)
        return None


def place_of(group: list[Patch], modality: ModalitySource) -> Patch:
    """One patch of the acquisitions of a place, in the order of their dates.

    Raises:
        PatchError: a date that is none, two of one date, or more of them than steps.
    """
    dated = []
    for one in group:
        try:
            date = modality.time.parse_date(one.date) if modality.time else ""
        except ValueError:
            form = modality.time.format if modality.time and modality.time.format else "ISO 8601"
            raise PatchError(f"{_path(one)}: {one.date!r} is no date ({form})") from None
        dated.append(replace(one, date=date))
    dated.sort(key=lambda one: (one.date, one.folder, one.before))
    for one, other in pairwise(dated):
        if one.date == other.date:
            raise PatchError(
                f"{_path(one)} and {_path(other)} are both of {one.date}: a place has one of a date"
            )
    if len(dated) > modality.steps:
        folder = _common(dated)
        raise PatchError(
            f"{folder} has {len(dated)} dates of {dated[0].name}, from {dated[0].date} to "
            f"{dated[-1].date}, but records of {modality.name} have room for {modality.steps}: "
            "give more steps in the description"
        )
    first = dated[0]
    return replace(
        first,
        folder=_common(dated),
        archived=None,
        date="",
        acquisitions=tuple(dated),
    )


def _path(one: Patch) -> str:
    """The folder or file that an acquisition is."""
    return one.folder if one.after or not one.before else one.path(one.before)


def _common(group: list[Patch]) -> str:
    return os.path.commonpath([one.folder for one in group])
