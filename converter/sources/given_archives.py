"""Archives that are given one by one: which modality each has, and whether it is read in place."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from patchpress.converter.descriptions.description import Description
from patchpress.converter.sources.archive_names import (
    Archive,
    archive_at,
    archive_name,
    is_one_of,
    no_file,
)
from patchpress.converter.sources.contents import STREAMED, TAR, ZIP, ZIP_EMPTY
from patchpress.converter.sources.find_modality import Location, first_packed
from patchpress.converter.sources.folders import entries
from patchpress.converter.sources.locate import SourceParts, check_wanted, locate_files_of_source
from patchpress.converter.sources.recognize import kind_of
from patchpress.converter.sources.tar import require_tar
from patchpress.converter.sources.zip_bytes import ZipBytes
from patchpress.converter.sources.zip_end import zip_end
from patchpress.converter.sources.zipped_tables import tables_in_zips
from patchpress.readers.errors import OptionError, SourceError, SourceMissing
from patchpress.readers.format.manifest import DATA, MANIFEST

CONVERT = "`patchpress convert` makes a store of it"


def archives_and_store(paths: Sequence[str], dataset: object) -> tuple[list[Path], str]:
    """The archives among the words of a command, and the folder of the store.

    Without archives there is a store alone. An only archive becomes a store beside it.

    Raises:
        OptionError: several archives without a store, or several stores.
    """
    *before, last = paths
    if len(paths) == 1:
        archive = Path(last)
        told = archive_name(archive.name)
        if archive.is_file() and (told or kind_of(archive) in (*STREAMED, ZIP)):
            return [archive], str(archive.with_name(f"{told.stem if told else last}.store"))
        if dataset is not None and archive.is_dir() and _only_archives(archive):
            raise OptionError(
                f"{last} holds archives: give the folder of the store to write, too, as in "
                f"`patchpress index {last} STORE --dataset {dataset}`"
            )
        return [], last
    if Path(last).is_file():
        raise OptionError(
            f"{last} is a file: name the folder of the store that the archives become after them"
        )
    if archive_name(Path(last).name) is not None and not Path(last).is_dir():
        raise OptionError(
            f"there is no archive {last}: mend its path, and name the folder of the store after "
            "the archives"
        )
    return [Path(path) for path in before], last


def _only_archives(folder: Path) -> bool:
    """Whether a folder is no store and no LMDB, and has archives."""
    names = entries(folder)
    return not {MANIFEST, DATA} & set(names) and any(map(archive_name, names))


def archives_given(paths: Sequence[Path], description: Description) -> list[Path]:
    """The archives that paths name: each its own, or those of the dataset in a folder.

    Raises:
        SourceMissing: there is nothing at one of them.
        SourceError: a folder has no archive of the dataset.
    """
    found: list[Path] = []
    for path in paths:
        if not os.path.lexists(path):
            raise SourceMissing(f"there is no archive {path}")
        if not path.is_dir():
            found.append(path)
            continue
        stems = [stem for m in description.modalities.values() for stem in m.archives]
        inside = [
            path / name
            for name in entries(path)
            if (told := archive_name(name)) and is_one_of(told.stem, stems)
        ]
        if not inside:
            raise SourceError(
                f"{path} has no archive of {description.dataset.name}: give the archives one by one"
            )
        found += inside
    return list(dict.fromkeys(found))


def locate_in_archives(
    description: Description,
    archives: Sequence[Path],
    paths: Mapping[str, Path],
    wanted: tuple[str, ...] | None,
) -> SourceParts:
    """Which modality each archive has; tables and lists are looked for beside the first.

    Args:
        description: of the dataset.
        archives: tar files, and zip archives.
        paths: table or list -> where it is, if it is elsewhere.
        wanted: the modalities that are taken; None for all that the archives have.

    Raises:
        SourceError: one is compressed, is no archive, is in several parts, or has no patch of the
            dataset.
        SourceMissing: a wanted modality is in none of them.
        OptionError: a name that the description does not have.
    """
    check_wanted(description, wanted)
    for name in paths:
        if name in description.modalities:
            raise OptionError(
                f"--path {name}=… names a modality, and those are in the archives: name the "
                "archive before --dataset"
            )
    inside: dict[str, list[Archive]] = {}
    for path in archives:
        archive = _in_place(path)
        names = _modalities_of(archive, description)
        for name in names:
            inside.setdefault(name, []).append(archive)
    taken = [n for n in description.modalities if n in inside and (wanted is None or n in wanted)]
    lacking = next((name for name in wanted or () if name not in inside), None)
    if lacking is not None:
        raise SourceMissing(f"modality {lacking} is in none of the archives: give its archive, too")
    source = archives[0].parent
    files = description.files()
    found, absent = locate_files_of_source(files, source, paths)
    zipped = tables_in_zips(source, {name: files[name] for name in absent})
    found |= zipped.files
    absent = [name for name in absent if name not in zipped.names]
    others = [name for name in description.modalities if name not in taken]
    return SourceParts(
        {name: _location(inside[name]) for name in taken},
        found,
        (*others, *absent),
        tuple(zipped.notes),
        zipped.archives,
    )


def _location(archives: Iterable[Archive]) -> Location:
    zips = tuple(one for one in archives if kind_of(one.path) is ZIP)
    return Location(None, tuple(one for one in archives if one not in zips), zips)


def _in_place(path: Path) -> Archive:
    """An archive that is not compressed as a whole.

    Raises:
        SourceError: it is, or it is none, or in parts.
    """
    if not path.is_file():
        raise no_file(path)
    kind = kind_of(path)
    known = archive_at(path)
    if known is not None and len(known.files) > 1:
        raise SourceError(
            f"{path} is one of {len(known.files)} parts of an archive, and a patch may lie in two: "
            f"join them (`cat` for tar, `zip -s 0` for zip) and give the whole, or {CONVERT}"
        )
    archive = Archive((path,))
    if kind is TAR:
        require_tar(archive.files)
        return archive
    if kind is ZIP:
        zip_end(ZipBytes([str(path)]))
        return archive
    if kind is None or kind is ZIP_EMPTY or kind.way_out:
        what = "other data" if kind is None else kind.name
        raise SourceError(
            f"{path} is {what}, no tar or zip archive: download it again, or give another"
        )
    raise SourceError(
        f"{path} is {kind.name}, so nothing in it can be read in its place: unpack it to a tar "
        f"archive that is not compressed and give that, or {CONVERT}"
    )


def _modalities_of(archive: Archive, description: Description) -> list[str]:
    """The modalities that an archive has, by its name, else by its patches.

    Raises:
        SourceError: it has none.
    """
    told = archive_name(archive.path.name)
    modalities = description.modalities.values()
    named = [m.name for m in modalities if told and is_one_of(told.stem, m.archives)]
    if named:
        return named
    found, refusals = list[str](), list[SourceError]()
    for modality in modalities:
        try:
            if first_packed(modality, archive) is not None:
                found.append(modality.name)
        except SourceError as error:  # as a rule that it has none of this one
            refusals.append(error)
    if not found and refusals:
        raise refusals[0]
    if not found:
        raise SourceError(
            f"{archive.path} has no patch of {description.dataset.name}: choose another --dataset, "
            "or leave it out"
        )
    return found
