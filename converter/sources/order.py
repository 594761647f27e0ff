"""All patches of a source, out of folders and archives, in one order that never changes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import merge

from patchpress.converter.descriptions.description import Description
from patchpress.converter.sources.archive_names import Archive
from patchpress.converter.sources.archives import ArchiveStream, StreamOptions
from patchpress.converter.sources.folders import Walk
from patchpress.converter.sources.locate import SourceParts
from patchpress.converter.sources.patch import Patch, Problem, ignore_problem, no_patch
from patchpress.readers.errors import PatchError


def walks_of(description: Description, parts: SourceParts, on_problem: Problem) -> dict[str, Walk]:
    """A walk for each modality that has a folder."""
    return {
        name: Walk(description.modalities[name], location.folder, on_problem)
        for name, location in parts.modalities.items()
        if location.folder is not None
    }


def streams_of(
    description: Description, parts: SourceParts, on_problem: Problem, options: StreamOptions
) -> list[ArchiveStream]:
    """A stream for the archives of each modality; modalities of the same archives share one.

    Raises:
        SourceError: as `ArchiveStream`.
    """
    sharing: dict[tuple[Archive, ...], list[str]] = {}
    for name, location in parts.modalities.items():
        if location.archives:
            sharing.setdefault(location.archives, []).append(name)
    folders = [modality.folder for modality in description.modalities.values()]
    streams = []
    for archives, names in sharing.items():
        modalities = [description.modalities[name] for name in names]
        streams.append(ArchiveStream(archives, modalities, on_problem, options, folders))
    return streams


def share_read(streams: Sequence[ArchiveStream]) -> float | None:
    """How much of the archives has been read, 0 to 1; None if there are none."""
    size = sum(stream.size for stream in streams)
    return sum(stream.consumed for stream in streams) / size if size else None


def patches_in_key_order(
    walked: Mapping[str, Walk],
    streams: Sequence[ArchiveStream] = (),
    takes: Callable[[Patch], bool] | None = None,
) -> Iterator[Patch]:
    """The patches of all modalities, in ascending order of their keys as far as archives allow.

    Most datasets have folders that give this order by themselves: then nothing is held in memory.
    If a modality's folder does not, its patches are sorted first. Archives are read in the order
    of their files. If each has its patches one after the other, sorted by name as published, the
    keys ascend, too.

    Args:
        walked: modality -> the walk of its folder, which has been iterated once: it has reported
            misplaced patches, which are left out now without a word.
        streams: the archives.
        takes: which patches of the folders are wanted; None takes all.

    Raises:
        SourceError: a folder may not be read, or as iterating an `ArchiveStream`.
        RuntimeError: a walk has not been iterated.
    """
    ordered = []
    for before in walked.values():
        walk: Iterator[Patch] = iter(Walk(before.modality, before.root, ignore_problem))
        if not before.ascending:
            walk = iter(sorted(walk, key=_key))
        ordered.append(filter(takes, walk) if takes else walk)
    return merge(*ordered, *streams, key=_key)


def _key(patch: Patch) -> str:
    return patch.key


def require_patches(description: Description, parts: SourceParts) -> None:
    """Refuse a modality's folder without any patch: it is empty or another dataset's.

    Raises:
        SourceError: the message shows what the folder holds and what is expected.
        PatchError: all that it has are patches with an error; it is that of the first.
    """
    problems: list[PatchError] = []
    for name, walk in walks_of(description, parts, problems.append).items():
        problems.clear()
        if next(iter(walk), None) is None:
            if problems:
                raise problems[0]
            raise no_patch(
                walk.root,
                of=description.dataset.name,
                holds=walk.first_ignored,
                modalities=[description.modalities[name]],
            )
