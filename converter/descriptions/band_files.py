"""Which bands are in which file of a patch, if one file has several: the key ``files``.

``{file}`` in a path is to files what ``{band}`` is to bands. Without it, one file has all bands,
and ``files`` tells their order there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from patchpress.converter.descriptions.strict import Section
from patchpress.readers.format.modality import Band

BAND = "band"
"""The field of a path that is replaced by each band's name."""
FILE = "file"
"""The field of a path that is replaced by each file's name, if the key ``files`` names them."""


@dataclass(frozen=True, slots=True)
class BandFile:
    """One file of a patch, and what is in it."""

    name: str
    """What stands for ``{file}`` or ``{band}`` in its path; empty if it is the only file."""
    bands: tuple[str, ...]
    """Names of all its bands in their order in the file, those included that are not stored."""


def files_of_bands(bands: Sequence[Band], *, apart: bool) -> tuple[BandFile, ...]:
    """The files of a patch if nothing is said of them: one a band if they are `apart`, else one."""
    names = tuple(band.name for band in bands)
    return tuple(BandFile(name, (name,)) for name in names) if apart else (BandFile("", names),)


def parse_files(
    section: Section, paths: Sequence[str], bands: Sequence[Band]
) -> tuple[BandFile, ...]:
    """Read the key ``files``; empty if there is none.

    Args:
        section: the modality's table.
        paths: of the modality.
        bands: those that are stored, each of them in one file.

    Raises:
        DescriptionError: a wrong key, a band in no file or in two, a path that does not fit.
    """
    _check_paths(section, paths)
    if "files" not in section.keys:
        return ()
    files: list[BandFile] = []
    for entry in section.tables("files"):
        files.append(BandFile(entry.take("name", str, ""), entry.strings("bands")))
        entry.end()
    _check_names(section, files, paths)
    _check_bands(section, files, bands)
    return tuple(files)


def _check_paths(section: Section, paths: Sequence[str]) -> None:
    """Refuse paths of which nobody could tell where the name of a band begins or ends."""
    fields = (f"{{{BAND}}}", f"{{{FILE}}}") if "files" in section.keys else (f"{{{BAND}}}",)
    for path in paths:
        name = path.rpartition("/")[2]
        for field in fields:
            if name.count(field) > 1:
                raise section.error("path", f"has {field} twice in the file's name: {path!r}")
            if name.endswith(field):
                problem = f"must have text after {field}, such as {field}.tif, not {path!r}"
                raise section.error("path", problem)


def _check_names(section: Section, files: Sequence[BandFile], paths: Sequence[str]) -> None:
    """Refuse names of files that the paths do not ask for, and paths that ask for none."""
    if not files:
        raise section.error("files", "must list at least one file")
    for path in paths:
        if f"{{{BAND}}}" in path:
            raise section.error(
                "path",
                f"has {{{BAND}}}, but files say which bands a file has: "
                f"write {{{FILE}}} instead, or leave out files",
            )
    apart = [f"{{{FILE}}}" in path for path in paths]
    names = [file.name for file in files]
    if not any(apart):
        if len(files) > 1:
            raise section.error("path", f"has no {{{FILE}}}, but there are {len(files)} files")
        if names[0]:
            raise section.error("files[0].name", f"is of no use: the path has no {{{FILE}}}")
        return
    if not all(apart):
        raise section.error("path", f"must have {{{FILE}}} in all paths, or in none")
    if "" in names:
        at = names.index("")
        raise section.error(f"files[{at}].name", f"is missing: the path has {{{FILE}}}")
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise section.error("files", f"names the file {doubled!r} twice")


def _check_bands(section: Section, files: Sequence[BandFile], bands: Sequence[Band]) -> None:
    """Refuse a stored band that is in no file or in several, and files that cannot be read."""
    shapes = {band.name: band.shape for band in bands}
    place: dict[str, int] = {}
    for at, file in enumerate(files):
        key = f"files[{at}].bands"
        kept = [name for name in file.bands if name in shapes]
        for name in kept:
            if name in place:
                other = files[place[name]].name
                raise section.error(key, f"names {name!r}, which is in the file {other!r} already")
            place[name] = at
        if not kept:
            raise section.error(key, "has none of the bands: leave the file out")
        unlike = next((name for name in kept if shapes[name] != shapes[kept[0]]), None)
        if unlike is not None:
            raise section.error(
                key,
                f"has {kept[0]!r} of {shapes[kept[0]]} and {unlike!r} of {shapes[unlike]}, "
                "but bands of one file have one shape",
            )
    lacking = next((name for name in shapes if name not in place), None)
    if lacking is not None:
        raise section.error("files", f"have no band {lacking!r}, which bands has")
