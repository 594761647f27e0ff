"""All patches of a source, out of folders and archives, in one order that never changes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import merge

from patchpress.converter.descriptions.description import Description
from patchpress.converter.sources.archive_names import Archive, archive_name
from patchpress.converter.sources.archives import ArchiveStream, StreamOptions
from patchpress.converter.sources.folders import Neighbours, Walk
from patchpress.converter.sources.locate import SourceParts
from patchpress.converter.sources.match import last_name
from patchpress.converter.sources.patch import Patch, Problem, ignore_problem, no_patch
from patchpress.converter.sources.recognize import what_is_seen
from patchpress.readers.errors import PatchError, SourceError


def walks_of(description: Description, parts: SourceParts, on_problem: Problem) -> dict[str, Walk]:
    """A walk for each modality that has a folder."""
    roots = {
        name: location.folder
        for name, location in parts.modalities.items()
        if location.folder is not None
    }
    walks: dict[str, Walk] = {}
    is_part = _part_test(description, parts)
    for name, root in roots.items():
        modality = description.modalities[name]
        before = [walk.modality for walk in walks.values() if walk.root == root]
        others = [
            other
            for other in description.modalities.values()
            if other is not modality and roots.get(other.name, root) == root
        ]
        if modality.folder != ".":
            others = [other for other in others if other.folder == modality.folder]
        walks[name] = Walk(modality, root, on_problem, Neighbours(before, others, is_part))
    return walks


def _part_test(description: Description, parts: SourceParts) -> Callable[[str], bool]:
    """Tells of a name in a folder of patches whether it is a table, a list or an archive."""
    modalities = description.modalities.values()
    stems = {stem for modality in modalities for stem in modality.archives}
    known = {*description.files().values(), *description.md5}
    known |= {path.name for path in parts.files.values()}
    known |= {modality.folder.partition("/")[0] for modality in modalities}
    for location in parts.modalities.values():
        known |= {path.name for path in location.archive_files}

    def is_part(name: str) -> bool:
        archive = archive_name(name)
        return name in known or (archive is not None and archive.stem in stems)

    return is_part


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
    lacking = [description.modalities[n] for n in parts.absent if n in description.modalities]
    absent = frozenset(last_name(modality.folder) for modality in lacking)
    streams = []
    for archives, names in sharing.items():
        modalities = [description.modalities[name] for name in names]
        streams.append(ArchiveStream(archives, modalities, on_problem, options, folders, absent))
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
        again = Walk(before.modality, before.root, ignore_problem, waits=before.waits)
        walk: Iterator[Patch] = iter(again)
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
            refusal = no_patch(
                walk.root,
                of=description.dataset.name,
                holds=walk.first_ignored,
                modalities=[description.modalities[name]],
            )
            seen = what_is_seen(walk.root, description)
            raise SourceError(f"{refusal}; {seen.text}") if seen else refusal
