"""Which patches of a source a conversion takes: all, the first few, and only whole ones."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice
from operator import attrgetter

from patchpress.converter.descriptions.description import Description
from patchpress.converter.memory import CellPool
from patchpress.converter.sources.archives import ArchiveStream, StreamOptions
from patchpress.converter.sources.folders import Walk
from patchpress.converter.sources.locate import SourceParts
from patchpress.converter.sources.order import (
    patches_in_key_order,
    require_patches,
    share_read,
    streams_of,
    walks_of,
)
from patchpress.converter.sources.patch import Patch, Problem, ignore_problem
from patchpress.converter.sources.unpacker import Unpacker
from patchpress.converter.tables.official import Tables, partners
from patchpress.readers.errors import PatchError


@dataclass
class Selection:
    """The patches to convert, in the order of their keys as far as archives have it."""

    counts: dict[str, int]
    """Modality -> how many of them are in its folder."""
    walked: Mapping[str, Walk]
    streams: Sequence[ArchiveStream] = ()
    wanted: "Wanted | None" = None
    incomplete: set[str] = field(default_factory=set)
    """Identities of patches that lack a modality, where that is an error."""
    seen: dict[str, dict[str, str]] | None = None
    """Identity -> modality -> key, where only the end of an archive tells which are whole."""

    def __iter__(self) -> Iterator[Patch]:
        """Walk the source once more, now for the patches themselves."""
        for patch in patches_in_key_order(self.walked, self.streams, self.takes):
            if self.seen is not None:
                self.seen.setdefault(patch.identity, {})[patch.modality] = patch.key
            yield patch

    def takes(self, patch: Patch) -> bool:
        """Whether a patch is one of them."""
        if self.wanted is not None and not self.wanted.has(patch):
            return False
        return patch.identity not in self.incomplete

    @property
    def total(self) -> int | None:
        """How many there are, at most; None where only the end of an archive tells."""
        if not self.streams:
            return sum(self.counts.values())
        if self.wanted is None:
            return None
        packed = (modality.name for stream in self.streams for modality in stream.modalities)
        return sum(self.wanted.most({*self.walked, *packed}).values())

    @property
    def ignored(self) -> dict[str, int]:
        """Modality -> entries of its folder that are no patches."""
        return {name: walk.ignored for name, walk in self.walked.items() if walk.ignored}

    @property
    def ignored_files(self) -> dict[str, int]:
        """Archive -> files of it that belong to no patch, as far as it has been read."""
        return {name: n for stream in self.streams for name, n in stream.ignored.items()}

    @property
    def share(self) -> float | None:
        """How much of the archives has been read, 0 to 1; None where there are none."""
        return share_read(self.streams)

    def lacking(self, modalities: Iterable[str]) -> dict[str, PatchError]:
        """Keys of stored patches that turned out to lack a modality, each with what is wrong.

        Known when the last patch has come; empty where it was known before.
        """
        lacking = {}
        for identity, there in (self.seen or {}).items():
            missing = next((name for name in modalities if name not in there), None)
            if missing is not None:
                error = _lacks(identity, missing)
                lacking.update(dict.fromkeys(there.values(), error))
                self.incomplete.add(identity)
        return lacking


@dataclass(frozen=True)
class Wanted:
    """The first few patches: by their names where these are known, by the row's identity else."""

    names: Mapping[str, set[str]]
    """Modality -> published names."""
    identities: set[str]

    def has(self, patch: Patch) -> bool:
        """Whether a patch is among them."""
        names = self.names.get(patch.modality)
        return patch.name in names if names is not None else patch.identity in self.identities

    def most(self, modalities: Iterable[str]) -> dict[str, int]:
        """Modality -> how many are wanted at most."""
        return {name: len(self.names.get(name, self.identities)) for name in modalities}


def select(
    description: Description,
    parts: SourceParts,
    wanted: Wanted | None,
    problem: Problem,
    cells: CellPool | None = None,
    md5: Mapping[str, str] | None = None,
    unpackers: list[Unpacker] | None = None,
    note: Callable[[Patch], None] | None = None,
) -> Selection:
    """Walk the folders of a source once: count its patches, tell of those misplaced or not whole.

    Archives are not touched yet. `wanted` are the first few, where only these are; `cells` is
    memory for what comes out of archives, `md5` what they are compared with, `unpackers` who
    decompresses them. `note` is told of
    every patch that is counted, also of those that turn out to be `incomplete`.

    Raises:
        SourceError: a modality's folder has no patch.
        PatchError: what `problem` raises.
    """
    require_patches(description, parts)
    walks = walks_of(description, parts, problem)
    selection = Selection(dict.fromkeys(walks, 0), walks, wanted=wanted)
    most = wanted.most(parts.modalities) if wanted else None
    wish = StreamOptions(selection.takes, most, cells, md5=md5, unpackers=unpackers)
    selection.streams = streams_of(description, parts, problem, wish)
    if description.complete and selection.streams:
        selection.seen = {}
    seen: dict[str, set[str]] | None = {} if description.complete else None
    for walk in walks.values():
        for patch in walk:
            if selection.takes(patch):
                selection.counts[patch.modality] += 1
                if note is not None:
                    note(patch)
                if seen is not None:
                    seen.setdefault(patch.identity, set()).add(patch.modality)
    if selection.streams:
        return selection
    for identity, there in (seen or {}).items():
        lacking = [name for name in parts.modalities if name not in there]
        if lacking:
            problem(_lacks(identity, lacking[0]))
            selection.incomplete.add(identity)
            for name in there:
                selection.counts[name] -= 1
    return selection


def _lacks(identity: str, modality: str) -> PatchError:
    return PatchError(f"patch {identity} has no {modality}")


def first_few(
    description: Description, parts: SourceParts, tables: Tables | None, limit: int | None
) -> Wanted | None:
    """The first patches and their partners, where only these are asked for.

    Folders and archives are read as far as they are needed for it.

    Raises:
        SourceError: they cannot be read.
    """
    if limit is None:
        return None
    first = {name: islice(names_of(description, parts, name), limit) for name in parts.modalities}
    return with_partners(description, first, tables)


def with_partners(
    description: Description, first: Mapping[str, Iterable[Patch]], tables: Tables | None
) -> Wanted:
    """Those of the first patches of each modality that belong together.

    Without a table that names partners, each modality gives those of the same identity where its
    names tell it, and its own first patches elsewhere.
    """
    primary = description.primary.name
    if primary not in first:
        names = {name: {patch.name for patch in patches} for name, patches in first.items()}
        return Wanted(names, set())
    identities = {patch.identity for patch in first[primary]}
    if tables is not None:
        by_column = partners(tables, identities)
        by_column[description.identity] |= identities
        names = {name: by_column[description.modalities[name].key_column] for name in first}
        return Wanted(names, identities)
    names = {
        name: {patch.name for patch in patches}
        for name, patches in first.items()
        if not description.modalities[name].identity
    }
    return Wanted(names, identities)


def names_of(description: Description, parts: SourceParts, modality: str) -> Iterator[Patch]:
    """The patches of one modality in their order, without their files."""
    alone = parts._replace(modalities={modality: parts.modalities[modality]})
    wish = StreamOptions(lambda patch: True, names_only=True)
    # Some of its archives may be unpacked, others not.
    return merge(
        *walks_of(description, alone, ignore_problem).values(),
        *streams_of(description, alone, ignore_problem, wish),
        key=attrgetter("key"),
    )
