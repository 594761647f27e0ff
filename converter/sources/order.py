"""All patches of a source, out of folders and archives, in one order that never changes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import merge

from patchpress.converter.descriptions.description import Description
from patchpress.converter.sources.archive_names import Archive, archive_name, is_one_of
from patchpress.converter.sources.archives import ArchiveStream, StreamOptions
from patchpress.converter.sources.find_modality import Location
from patchpress.converter.sources.folders import Neighbours, Walk
from patchpress.converter.sources.locate import SourceParts
from patchpress.converter.sources.match import last_name
from patchpress.converter.sources.parquet_walk import ParquetWalk
from patchpress.converter.sources.patch import Patch, Problem, no_patch
from patchpress.converter.sources.recognize import what_is_seen
from patchpress.converter.sources.walks import JoinedWalk, PatchWalk
from patchpress.converter.sources.zip_opened import ZipDirectories
from patchpress.converter.sources.zip_walk import ZipNeighbours, ZipWalk
from patchpress.readers.errors import PatchError, SourceError


def walks_of(
    description: Description,
    parts: SourceParts,
    on_problem: Problem,
    directories: ZipDirectories | None = None,
) -> dict[str, PatchWalk]:
    """A walk for each modality that has a folder, zip archives or Parquet files.

    `directories` are those of zip archives that were read before.
    """
    found: dict[str, list[PatchWalk]] = {}
    for name, walk in _folder_walks(description, parts, on_problem).items():
        found.setdefault(name, []).append(walk)
    for name, zipped in _zip_walks(description, parts, on_problem, directories).items():
        found.setdefault(name, []).append(zipped)
    for name, location in parts.modalities.items():
        modality = description.modalities[name]
        if location.tables and modality.embedded is not None:
            rows = ParquetWalk(location.tables, modality, modality.embedded, on_problem)
            found.setdefault(name, []).append(rows)
    return {
        name: found[name][0] if len(found[name]) == 1 else JoinedWalk(found[name])
        for name in parts.modalities
        if name in found
    }


def _zip_walks(
    description: Description,
    parts: SourceParts,
    on_problem: Problem,
    directories: ZipDirectories | None,
) -> dict[str, ZipWalk]:
    directories, is_part = directories or ZipDirectories(), _part_test(description, parts)
    walks: dict[str, ZipWalk] = {}
    for name, location in parts.modalities.items():
        if not location.zips:
            continue
        sharing = [other for other, one in parts.modalities.items() if _share_zips(one, location)]
        neighbours = ZipNeighbours(
            folders=[modality.folder for modality in description.modalities.values()],
            absent=_absent_folders(description, parts),
            others=[description.modalities[other] for other in sharing if other != name],
            is_part=is_part,
            counts=sharing[0] == name,
        )
        modality = description.modalities[name]
        walks[name] = ZipWalk(location.zips, modality, on_problem, directories, neighbours)
    return walks


def _share_zips(one: Location, other: Location) -> bool:
    return not set(one.zips).isdisjoint(other.zips)


def _folder_walks(
    description: Description, parts: SourceParts, on_problem: Problem
) -> dict[str, Walk]:
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
        return name in known or (archive is not None and is_one_of(archive.stem, stems))

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
    absent = _absent_folders(description, parts)
    streams = []
    for archives, names in sharing.items():
        modalities = [description.modalities[name] for name in names]
        streams.append(ArchiveStream(archives, modalities, on_problem, options, folders, absent))
    return streams


def _absent_folders(description: Description, parts: SourceParts) -> frozenset[str]:
    """Names of the folders of modalities that are wanted and not found anywhere."""
    lacking = [description.modalities[n] for n in parts.absent if n in description.modalities]
    return frozenset(last_name(modality.folder) for modality in lacking)


def share_read(streams: Sequence[ArchiveStream]) -> float | None:
    """How much of the archives has been read, 0 to 1; None if there are none."""
    size = sum(stream.size for stream in streams)
    return sum(stream.consumed for stream in streams) / size if size else None


def patches_in_key_order(
    walked: Mapping[str, PatchWalk],
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
        walk: Iterator[Patch] = iter(before.again())
        if not before.ascending:
            walk = iter(sorted(walk, key=_key))
        ordered.append(filter(takes, walk) if takes else walk)
    return merge(*ordered, *streams, key=_key)


def _key(patch: Patch) -> str:
    return patch.key


def require_patches(
    description: Description, parts: SourceParts, directories: ZipDirectories | None = None
) -> None:
    """Refuse a modality's folder without any patch: it is empty or another dataset's.

    `directories` keep those of zip archives that are read for it.

    Raises:
        SourceError: the message shows what the folder holds and what is expected.
        PatchError: all that it has are patches with an error; it is that of the first.
    """
    problems: list[PatchError] = []
    for name, walk in walks_of(description, parts, problems.append, directories).items():
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
