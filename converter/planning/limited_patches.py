"""The few patches that `--limit` takes: spread over the source, and their partners.

The first names of a data set are of one place and one summer. So the patches are taken evenly from
all names of the first modality, in the order of its folders. Archives that are large are read from
their beginning only, and then the first patches are taken.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from operator import attrgetter

from patchpress.converter.descriptions.description import Description
from patchpress.converter.planning.sample import EvenSample
from patchpress.converter.sources.archives import StreamOptions
from patchpress.converter.sources.locate import SourceParts
from patchpress.converter.sources.order import streams_of, walks_of
from patchpress.converter.sources.patch import Patch, ignore_problem
from patchpress.converter.tables.official import Tables, partner_names

_log = logging.getLogger(__name__)

READ_FOR_NAMES = 256 << 20
"""Bytes of archives that are read only to know the names of their patches; that takes seconds."""

SAMPLED = 4096
"""Of so many patches, evenly spread over all, those of a small limit are taken."""


@dataclass(frozen=True)
class LimitedPatches:
    """The few patches that are wanted: by name if names are known, else by the row's identity."""

    names: Mapping[str, set[str]]
    """Modality -> published names."""
    identities: set[str]

    def has(self, patch: Patch) -> bool:
        """Whether a patch is among them."""
        names = self.names.get(patch.modality)
        return patch.name in names if names is not None else patch.identity in self.identities

    def digest(self) -> str:
        """Tells whether two looks at a source have found the same ones."""
        known = [sorted((name, *sorted(names)) for name, names in self.names.items())]
        text = json.dumps([*known, sorted(self.identities)])
        return f"sha256:{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"

    def counts(self, modalities: Iterable[str]) -> dict[str, int]:
        """Modality -> how many patches they are, at most."""
        return {name: len(self.names.get(name, self.identities)) for name in modalities}


def find_limited_patches(
    description: Description, parts: SourceParts, tables: Tables | None, limit: int | None
) -> LimitedPatches | None:
    """At most `limit` patches and their partners; None if there is no limit.

    Folders and archives are read as far as they are needed for it.

    Raises:
        SourceError: they cannot be read.
    """
    if limit is None:
        return None
    is_spread = are_spread(parts)
    some = {
        name: limited(patches_without_files(description, parts, name), limit, is_spread=is_spread)
        for name in parts.modalities
    }
    return with_partners(description, some, tables)


def are_spread(parts: SourceParts) -> bool:
    """Whether the patches of a limit are spread over the source, and not the first of archives."""
    archives = (archive for each in parts.modalities.values() for archive in each.archives)
    return sum(archive.size for archive in set(archives)) <= READ_FOR_NAMES


def limited(patches: Iterable[Patch], limit: int, *, is_spread: bool) -> Iterator[Patch]:
    """At most `limit` of some patches: the middle of each of so many equal stretches, or the first.

    Nothing is read before the first is asked for.
    """
    if not is_spread:
        yield from islice(patches, limit)
        return
    sample = EvenSample(max(2 * limit, SAMPLED))
    for patch in patches:
        sample.add(patch)
    seen = sample.patches()
    count = min(limit, len(seen))
    for at in range(count):
        yield seen[(2 * at + 1) * len(seen) // (2 * count)]


def with_partners(
    description: Description, some: Mapping[str, Iterable[Patch]], tables: Tables | None
) -> LimitedPatches:
    """Of some patches of each modality those that belong together.

    If no table names partners, a modality gives the patches of the same identities if its names
    tell the identity, and its own patches if they do not.
    """
    primary = description.primary.name
    if primary not in some:
        names = {name: {patch.name for patch in patches} for name, patches in some.items()}
        return LimitedPatches(names, set())
    identities = {patch.identity for patch in some[primary]}
    if tables is not None:
        by_column = partner_names(tables, identities)
        by_column[description.identity] |= identities
        names = {name: by_column[description.modalities[name].key_column] for name in some}
        _log.info("the partners of %d patches are named by the tables", len(identities))
        return LimitedPatches(names, identities)
    names = {
        name: {patch.name for patch in patches}
        for name, patches in some.items()
        if not description.modalities[name].identity_template
    }
    return LimitedPatches(names, identities)


def patches_without_files(
    description: Description, parts: SourceParts, modality: str
) -> Iterator[Patch]:
    """The patches of one modality in their order; those out of archives come without files."""
    alone = parts._replace(modalities={modality: parts.modalities[modality]})
    options = StreamOptions(names_only=True)
    # Some of its archives may be unpacked, others not.
    return merge(
        *walks_of(description, alone, ignore_problem).values(),
        *streams_of(description, alone, ignore_problem, options),
        key=attrgetter("key"),
    )
