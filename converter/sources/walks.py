"""What a walk over the patches of one modality is, whatever it walks through, and two as one."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Protocol, Self

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.sources.order_of_keys import OrderOfKeys
from patchpress.converter.sources.passed_over import PassedOver
from patchpress.converter.sources.patch import Patch


class PatchWalk(Protocol):
    """All patches of one modality, which can be walked again."""

    @property
    def modality(self) -> ModalitySource:
        """Whose patches they are."""

    @property
    def root(self) -> Path:
        """The folder or archive in which they lie."""

    @property
    def passed_over(self) -> PassedOver:
        """Entries of its folder that are no patches, so far."""

    @property
    def passed_over_in_archives(self) -> Mapping[str, PassedOver]:
        """Archive -> its files that belong to no patch, so far."""

    @property
    def notes(self) -> Sequence[str]:
        """A sentence for each thing about its archives that a user should know, after it ended."""

    @property
    def first_ignored(self) -> str:
        """The path of the first entry that matched no pattern; empty if there is none."""

    @property
    def ascending(self) -> bool:
        """Whether the keys came in ascending order.

        Raises:
            RuntimeError: no iteration has come to its end.
        """

    def again(self) -> Self:
        """The same walk once more, without a word about what it has reported."""

    def __iter__(self) -> Iterator[Patch]:
        """The patches.

        Raises:
            SourceError: a folder or archive may not be read, or is damaged.
            PatchError: what is raised when it is told of a patch in a wrong folder.
        """


class JoinedWalk:
    """A modality of which some patches lie in a folder, and others in archives."""

    def __init__(self, walks: Sequence[PatchWalk]) -> None:
        """Take walks of one modality, one at least, in the order in which they are made."""
        self._walks = walks
        self.modality, self.root = walks[0].modality, walks[0].root
        self._order = OrderOfKeys(self.root)

    @property
    def passed_over(self) -> PassedOver:
        """Entries of the folders."""
        return self._walks[0].passed_over

    @property
    def passed_over_in_archives(self) -> Mapping[str, PassedOver]:
        """Files of the archives."""
        found = (walk.passed_over_in_archives for walk in self._walks)
        return {name: passed for each in found for name, passed in each.items()}

    @property
    def notes(self) -> Sequence[str]:
        """The sentences of all."""
        return [note for walk in self._walks for note in walk.notes]

    @property
    def first_ignored(self) -> str:
        """Of the first walk that has one."""
        return next((walk.first_ignored for walk in self._walks if walk.first_ignored), "")

    @property
    def ascending(self) -> bool:
        """Whether the keys came in ascending order."""
        return self._order.ascending

    def again(self) -> "JoinedWalk":
        """The same walks once more."""
        return JoinedWalk([walk.again() for walk in self._walks])

    def __iter__(self) -> Iterator[Patch]:
        """The patches of the first walk, then those of the next."""
        yield from self._order.watched(chain.from_iterable(self._walks))
