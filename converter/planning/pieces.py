"""The pieces of a source that can be read apart at the same time: folders and zips, and each tar.

An archive is one stream, so that no two machines can share its work. But several archives are
several streams: each machine makes of one of them what it has of all shards, and these parts are
joined afterwards.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.planning.request import ConversionRequest
from patchpress.converter.sources.archive_names import Archive
from patchpress.converter.sources.find_modality import Location
from patchpress.converter.storage.journal import Journal
from patchpress.converter.storage.ownership import SHARD_JOURNAL


class Piece(NamedTuple):
    """A piece of a source."""

    request: ConversionRequest
    """The same request, for a source that has this piece alone."""
    archive: Archive | None
    """What is read; None for the folders and zips."""

    @property
    def name(self) -> str:
        """What sentences call it."""
        if self.archive is not None:
            return str(self.archive.path)
        locations = self.request.parts.modalities.values()
        return ", ".join(str(path) for one in locations for path in one.paths)


def pieces_of(request: ConversionRequest) -> tuple[Piece, ...]:
    """The pieces of a source, in the order in which one pass takes what two of them have.

    One piece if it can only be read as a whole: that is so if there is a limit, since what lies in
    one archive decides how much is read of the next.
    """
    locations = request.parts.modalities
    if request.options.limit is not None:
        return (Piece(request, None),)
    folders = {name: one._replace(archives=()) for name, one in locations.items() if one.is_walked}
    pieces = [Piece(_with(request, folders), None)] if folders else []
    sharing: dict[tuple[Archive, ...], list[str]] = {}
    for name, location in locations.items():
        sharing.setdefault(location.archives, []).append(name)
    for archives, names in sharing.items():
        for archive in archives:
            own = {name: Location(None, (archive,)) for name in names}
            pieces.append(Piece(_with(request, own), archive))
    return tuple(pieces)


def _with(request: ConversionRequest, modalities: dict[str, Location]) -> ConversionRequest:
    return request._replace(parts=request.parts._replace(modalities=modalities))


def incomplete_patches(request: ConversionRequest, parts: Iterable[Path]) -> dict[str, str]:
    """Identity -> a sentence for each patch that lacks a modality that all patches must have.

    Args:
        request: of the whole store.
        parts: the folders of all parts of all shards.

    Raises:
        TargetError: a journal cannot be read.
    """
    if not request.description.complete:
        return {}
    required = list(request.parts.modalities)
    whole = (1 << len(required)) - 1
    has: dict[str, int] = {}  # a bit for each modality: a data set has millions of patches
    for part in parts:
        with Journal(part / SHARD_JOURNAL) as journal:
            for entry in journal.entries():
                bit = 1 << required.index(entry.modality)
                has[entry.identity] = has.get(entry.identity, 0) | bit
    return {
        identity: f"patch {identity} has no {_first_lacking(required, bits)}"
        for identity, bits in sorted(has.items())
        if bits != whole
    }


def _first_lacking(required: list[str], bits: int) -> str:
    return next(name for at, name in enumerate(required) if not bits >> at & 1)
