"""Which patches of a source a conversion takes: all, the first few, and only whole ones."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from converter.description import Description
from converter.sources import (
    Patch,
    Problem,
    Roots,
    Walk,
    in_key_order,
    pass_over,
    require_patches,
    walks_of,
)
from converter.tables import Tables, partners
from readers.errors import PatchError


@dataclass
class Selection:
    """The patches to convert, in the order of their keys."""

    total: int
    ignored: dict[str, int]
    """Modality -> entries of its folder that are no patches."""
    walked: Mapping[str, Walk]
    wanted: Mapping[str, set[str]] | None
    """Modality -> names, where not all are taken."""
    incomplete: set[str]
    """Identities of patches that lack a modality, where that is an error."""

    def __iter__(self) -> Iterator[Patch]:
        """Walk the source once more, now for the patches themselves."""
        return (patch for patch in in_key_order(self.walked) if self.takes(patch))

    def takes(self, patch: Patch) -> bool:
        """Whether a patch is one of them."""
        if self.wanted is not None and patch.name not in self.wanted[patch.modality]:
            return False
        return patch.identity not in self.incomplete


def select(
    description: Description,
    roots: Roots,
    tables: Tables | None,
    limit: int | None,
    problem: Problem,
) -> Selection:
    """Walk the source once: count its patches, and tell of those that are misplaced or not whole.

    Raises:
        SourceError: a modality's folder has no patch.
        PatchError: what `problem` raises.
    """
    require_patches(description, roots)
    walks = walks_of(description, roots, problem)
    wanted = _limited(description, roots, tables, limit)
    selection = Selection(0, {}, walks, wanted, set())
    seen: dict[str, set[str]] | None = {} if description.complete else None
    for walk in walks.values():
        for patch in walk:
            if selection.takes(patch):
                selection.total += 1
                if seen is not None:
                    seen.setdefault(patch.identity, set()).add(patch.modality)
    selection.ignored = {name: walk.ignored for name, walk in walks.items() if walk.ignored}
    for identity, there in (seen or {}).items():
        lacking = [name for name in roots.modalities if name not in there]
        if lacking:
            problem(PatchError(f"patch {identity} has no {lacking[0]}"))
            selection.incomplete.add(identity)
            selection.total -= len(there)
    return selection


def _limited(
    description: Description, roots: Roots, tables: Tables | None, limit: int | None
) -> dict[str, set[str]] | None:
    """Modality -> names, where only the first patches and their partners are asked for.

    Without a table that names partners, each modality gives those of the same identity where its
    names tell it, and its own first patches elsewhere.
    """
    if limit is None:
        return None
    walks = walks_of(description, roots, pass_over)
    primary = description.primary.name
    if primary not in walks:
        return {name: {patch.name for patch in islice(w, limit)} for name, w in walks.items()}
    first = {patch.identity for patch in islice(walks[primary], limit)}
    if tables is not None:
        by_column = partners(tables, first)
        by_column[description.identity] |= first
        return {name: by_column[description.modalities[name].key_field] for name in walks}
    return {
        name: {patch.name for patch in walk if patch.identity in first}
        if description.modalities[name].identity
        else {patch.name for patch in islice(walk, limit)}
        for name, walk in walks.items()
    }
