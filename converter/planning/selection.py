"""Which patches of a source a conversion takes: all or those of a limit, and only complete ones."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import merge
from operator import attrgetter

from patchpress.converter.descriptions.description import Description
from patchpress.converter.planning.defects import KnownDefects
from patchpress.converter.planning.limited_patches import LimitedPatches
from patchpress.converter.planning.shard_listing import ShardListing
from patchpress.converter.sources.archives import ArchiveStream, StreamOptions
from patchpress.converter.sources.locate import SourceParts
from patchpress.converter.sources.order import (
    patches_in_key_order,
    require_patches,
    share_read,
    streams_of,
    walks_of,
)
from patchpress.converter.sources.passed_over import PassedOver
from patchpress.converter.sources.patch import Patch, Problem
from patchpress.converter.sources.walks import PatchWalk
from patchpress.converter.sources.zip_opened import ZipDirectories
from patchpress.readers.errors import PatchError
from patchpress.readers.format.shard_rule import shard_of

_log = logging.getLogger(__name__)
Takes = Callable[[Patch], bool]


@dataclass(frozen=True)
class Selection:
    """The patches that a conversion takes, as far as it is known before archives are read."""

    walks: Mapping[str, PatchWalk]
    """Modality -> the walk of its folder, which has been made once."""
    counts: Mapping[str, int]
    """Modality -> how many patches of its folder are taken."""
    streams: Sequence[ArchiveStream] = ()
    wanted: LimitedPatches | None = None
    """The patches that are taken if there is a limit; None if all are."""
    incomplete: frozenset[str] = frozenset()
    """Identities of the patches that are left out because they lack a modality."""
    defects: KnownDefects = field(default_factory=lambda: KnownDefects(()))
    """Tells which patches are left out because their data set is known to have them damaged."""
    required: tuple[str, ...] = ()
    """Modalities that each patch must have, if only the end of the archives tells which lack one.

    Then `incomplete` is empty, and `SourcePass.incomplete_patches` tells them.
    """

    def read(self) -> "SourcePass":
        """Begin to read the patches themselves: folders are walked once more."""
        patches = patches_in_key_order(self.walks, self.streams, self._takes)
        return SourcePass(patches, self.required)

    def read_shards(self, listing: ShardListing, numbers: Collection[int]) -> "SourcePass":
        """Begin to read the patches of some shards: folders as they were listed.

        The files of an archive's other patches must not be read: `StreamOptions.reads`.
        """
        # What belongs together lies in several shards: to know which patches are incomplete, all
        # are looked at.
        listed = listing.patches(self.walks, None if self.required else numbers)
        patches = merge(*listed, *self.streams, key=attrgetter("key"))
        complete = (patch for patch in patches if patch.identity not in self.incomplete)
        wanted = frozenset(numbers)
        return SourcePass(
            complete if self.incomplete else patches,
            self.required,
            lambda patch: shard_of(patch.key, listing.shards) in wanted,
        )

    def _takes(self, patch: Patch) -> bool:
        if self.wanted is not None and not self.wanted.has(patch):
            return False
        return self.defects.takes(patch) and patch.identity not in self.incomplete

    @property
    def total(self) -> int | None:
        """How many patches there are, at most; None if only the end of an archive tells."""
        if not self.streams:
            return sum(self.counts.values())
        if self.wanted is None:
            return None
        packed = (modality.name for stream in self.streams for modality in stream.modalities)
        return sum(self.wanted.counts({*self.walks, *packed}).values())

    @property
    def passed_over(self) -> dict[str, PassedOver]:
        """Modality -> entries of its folder that are no patches."""
        return {name: walk.passed_over for name, walk in self.walks.items() if walk.passed_over}

    @property
    def passed_over_in_archives(self) -> dict[str, PassedOver]:
        """Archive -> files of it that belong to no patch, as far as it has been read."""
        walked = (walk.passed_over_in_archives for walk in self.walks.values())
        read = (stream.passed_over for stream in self.streams)
        return {name: found for each in (*walked, *read) for name, found in each.items()}

    @property
    def leftovers(self) -> list[str]:
        """A sentence for each odd thing about an archive, as far as they have been read."""
        walked = [note for walk in self.walks.values() for note in walk.notes]
        return walked + [sentence for stream in self.streams for sentence in stream.leftovers]

    @property
    def share(self) -> float | None:
        """How much of the archives has been read, 0 to 1; None if there are none."""
        return share_read(self.streams)


@dataclass(frozen=True)
class IncompletePatch:
    """A patch of which the source lacks a modality that each patch must have."""

    identity: str
    keys: Mapping[str, str]
    """Modality that the source has -> key of the patch."""
    error: PatchError


class PartnerCheck:
    """Notes which modalities each patch has, to tell those that lack one of the `required`."""

    def __init__(self, required: Sequence[str]) -> None:
        self._required = required
        self._keys: dict[str, dict[str, str]] = {}  # identity -> modality -> key

    def add(self, patch: Patch) -> None:
        """Note that a patch is there; nothing is noted if no modality is required."""
        if self._required:
            self._keys.setdefault(patch.identity, {})[patch.modality] = patch.key

    def incomplete_patches(self) -> list[IncompletePatch]:
        """The patches noted so far that lack a modality, each with the first one that it lacks."""
        found = []
        for identity, keys in self._keys.items():
            lacks = next((name for name in self._required if name not in keys), None)
            if lacks is not None:
                error = PatchError(f"patch {identity} has no {lacks}")
                found.append(IncompletePatch(identity, keys, error))
        return found


class SourcePass:
    """One pass over the patches of a selection, which can be iterated once.

    Patches come in the order of their keys, as far as archives have that order. After its end, the
    pass tells which patches lack a modality.
    """

    def __init__(
        self, patches: Iterator[Patch], required: Sequence[str], gives: Takes | None = None
    ) -> None:
        """Take the patches; those are noted, and not given, for which `gives` is false."""
        self._patches: Iterator[Patch] | None = patches
        self._gives = gives
        self._partners = PartnerCheck(required)
        self._ended = False

    def __iter__(self) -> Iterator[Patch]:
        if self._patches is None:
            raise RuntimeError("a pass over a source is iterated once: begin another one")
        patches, self._patches = self._patches, None
        return self._noted(patches)

    def _noted(self, patches: Iterator[Patch]) -> Iterator[Patch]:
        for patch in patches:
            self._partners.add(patch)
            if self._gives is None or self._gives(patch):
                yield patch
        self._ended = True

    def incomplete_patches(self) -> list[IncompletePatch]:
        """The patches that lack a modality, if only now that is known; else none.

        Raises:
            RuntimeError: the pass is not at its end, so that their partners may still come.
        """
        if not self._ended:
            raise RuntimeError("which patches are incomplete is known after the end of the pass")
        return self._partners.incomplete_patches()


def select_patches(
    description: Description,
    parts: SourceParts,
    wanted: LimitedPatches | None,
    on_problem: Problem,
    *,
    options: StreamOptions | None = None,
    on_patch: Callable[[Patch], None] | None = None,
    defects: KnownDefects | None = None,
) -> Selection:
    """Walk the folders of a source once, to count its patches; archives are not touched yet.

    Args:
        description: what the dataset looks like.
        parts: where its modalities are.
        wanted: the patches to take; None takes all.
        on_problem: called with the error of each patch that is misplaced or incomplete.
        options: how archives are read later; which patches are wanted follows from `wanted`.
        defects: which patches are left out for a known defect; none for None.
        on_patch: called with each patch that is counted, also if it turns out to be incomplete.

    Raises:
        SourceError: a modality's folder has no patch.
        PatchError: what `on_problem` raises.
    """
    directories = ZipDirectories()
    require_patches(description, parts, directories)
    walks = walks_of(description, parts, on_problem, directories)
    options = options or StreamOptions()
    if wanted is not None:
        options = replace(options, takes=wanted.has, most=wanted.counts(parts.modalities))
    defects = defects or KnownDefects(())
    options = replace(options, takes=_both(options.takes, defects.takes))
    streams = streams_of(description, parts, on_problem, options)
    required = tuple(parts.modalities) if description.complete else ()
    counts, partners_seen = dict.fromkeys(walks, 0), PartnerCheck(() if streams else required)
    for patch in (patch for walk in walks.values() for patch in walk):
        if (wanted is None or wanted.has(patch)) and defects.takes(patch):
            counts[patch.modality] += 1
            partners_seen.add(patch)
            if on_patch is not None:
                on_patch(patch)
    incomplete = partners_seen.incomplete_patches()
    for lacking in incomplete:
        on_problem(lacking.error)
        for modality in lacking.keys:
            counts[modality] -= 1
    for name, walk in walks.items():
        order = "in key order" if walk.ascending else "to be sorted by key"
        _log.info("%s: %d patches in its folder, %s", name, counts[name], order)
    return Selection(
        walks,
        counts,
        streams,
        wanted,
        defects=defects,
        incomplete=frozenset(lacking.identity for lacking in incomplete),
        required=required if streams else (),
    )


def _both(one: Takes, other: Takes) -> Takes:
    """Whether both take a patch."""
    return lambda patch: one(patch) and other(patch)
