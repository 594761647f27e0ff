"""All patches of a source, folders and archives alike, in one order that never changes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import merge

from patchpress.converter.descriptions.description import Description
from patchpress.converter.sources.archives import ArchiveStream, StreamOptions
from patchpress.converter.sources.folders import Walk
from patchpress.converter.sources.locate import Archive, SourceParts
from patchpress.converter.sources.patch import Patch, Problem, ignore_problem
from patchpress.readers.errors import SourceError


def walks_of(description: Description, parts: SourceParts, problem: Problem) -> dict[str, Walk]:
    """A walk for each modality that has a folder."""
    return {
        name: Walk(description.modalities[name], location.folder, problem)
        for name, location in parts.modalities.items()
        if location.folder is not None
    }


def streams_of(
    description: Description, parts: SourceParts, problem: Problem, wish: StreamOptions
) -> list[ArchiveStream]:
    """A stream for the archives of each modality; modalities of the same archives share one."""
    sharing: dict[tuple[Archive, ...], list[str]] = {}
    for name, location in parts.modalities.items():
        if location.archives:
            sharing.setdefault(location.archives, []).append(name)
    folders = [modality.folder for modality in description.modalities.values()]
    return [
        ArchiveStream(
            *(archives, [description.modalities[name] for name in names], problem, wish, folders)
        )
        for archives, names in sharing.items()
    ]


def share_read(streams: Sequence[ArchiveStream]) -> float | None:
    """How much of archives has been read, 0 to 1; None where there are none."""
    size = sum(stream.size for stream in streams)
    return sum(stream.consumed for stream in streams) / size if size else None


def patches_in_key_order(
    walked: Mapping[str, Walk],
    streams: Sequence[ArchiveStream] = (),
    takes: Callable[[Patch], bool] | None = None,
) -> Iterator[Patch]:
    """The patches of all modalities, in ascending order of their keys as far as archives have it.

    Folders, which are walked once more, give that order by themselves in most datasets, and nothing
    is held in memory; where `walked` was not ascending, that modality's patches are sorted first.
    Misplaced patches, which were told of in the first walk, are passed over. Archives are taken as
    they come: those of one patch a stream, sorted as published, ascend, too.
    """
    again = [Walk(walk.modality, walk.root, ignore_problem) for walk in walked.values()]
    folders = [
        walk if before.ascending else iter(sorted(walk, key=_key))
        for walk, before in zip(again, walked.values(), strict=True)
    ]
    taken = [filter(takes, folder) if takes else folder for folder in folders]
    return merge(*taken, *streams, key=_key)


def _key(patch: Patch) -> str:
    return patch.key


def require_patches(description: Description, parts: SourceParts) -> None:
    """Refuse a modality's folder without any patch: it is empty or another dataset's.

    Raises:
        SourceError: the message shows what the folder holds and what is expected.
    """
    for name, walk in walks_of(description, parts, ignore_problem).items():
        if next(iter(walk), None) is None:
            paths = description.modalities[name].paths
            raise SourceError(
                f"{walk.root} has no patch of {description.dataset.name}: it holds "
                f"{walk.first_ignored or 'nothing'} where {' or '.join(paths)} is expected"
            )
