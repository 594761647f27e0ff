"""The first few patches of a source, and their partners in the other modalities."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from operator import attrgetter

from patchpress.converter.descriptions.description import Description
from patchpress.converter.sources.archives import StreamOptions
from patchpress.converter.sources.locate import SourceParts
from patchpress.converter.sources.order import streams_of, walks_of
from patchpress.converter.sources.patch import Patch, ignore_problem
from patchpress.converter.tables.official import Tables, partner_names

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FirstPatches:
    """The first few patches: by name if their names are known, else by the identity of the row."""

    names: Mapping[str, set[str]]
    """Modality -> published names."""
    identities: set[str]

    def has(self, patch: Patch) -> bool:
        """Whether a patch is among them."""
        names = self.names.get(patch.modality)
        return patch.name in names if names is not None else patch.identity in self.identities

    def counts(self, modalities: Iterable[str]) -> dict[str, int]:
        """Modality -> how many patches they are, at most."""
        return {name: len(self.names.get(name, self.identities)) for name in modalities}


def find_first_patches(
    description: Description, parts: SourceParts, tables: Tables | None, limit: int | None
) -> FirstPatches | None:
    """The first `limit` patches and their partners; None if there is no limit.

    Folders and archives are read as far as they are needed for it.

    Raises:
        SourceError: they cannot be read.
    """
    if limit is None:
        return None
    first = {
        name: islice(patches_without_files(description, parts, name), limit)
        for name in parts.modalities
    }
    return with_partners(description, first, tables)


def with_partners(
    description: Description, first: Mapping[str, Iterable[Patch]], tables: Tables | None
) -> FirstPatches:
    """Of the first patches of each modality those that belong together.

    If no table names partners, a modality gives the patches of the same identities if its names
    tell the identity, and its own first patches if they do not.
    """
    primary = description.primary.name
    if primary not in first:
        names = {name: {patch.name for patch in patches} for name, patches in first.items()}
        return FirstPatches(names, set())
    identities = {patch.identity for patch in first[primary]}
    if tables is not None:
        by_column = partner_names(tables, identities)
        by_column[description.identity] |= identities
        names = {name: by_column[description.modalities[name].key_column] for name in first}
        _log.info("the partners of the first %d patches are named by the tables", len(identities))
        return FirstPatches(names, identities)
    names = {
        name: {patch.name for patch in patches}
        for name, patches in first.items()
        if not description.modalities[name].identity_template
    }
    return FirstPatches(names, identities)


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
