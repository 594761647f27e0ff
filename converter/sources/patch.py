"""One patch of one modality: where its files lie, and what its record is called."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.descriptions.patterns import PathPattern
from patchpress.converter.sources.files import ArchivedFiles, FilesElsewhere
from patchpress.readers.errors import PatchError, SourceError

Problem = Callable[[PatchError], None]
"""Called with the error of each patch that cannot be converted: it raises the error, or goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One patch of one modality: where its files lie and what its record is called."""

    modality: str
    key: str
    name: str
    """The published name: the value of the key's column."""
    identity: str
    """The identity of the row, empty if only a table or a sidecar knows it."""
    folder: str = ""
    """The folder with its files: on disk, or the path of an archive and the folder inside it."""
    before: str = ""
    after: str = ""
    """Its files are ``before + name + after``, of the names in `ModalitySource.files_of`; or it is
    one file, called `before`."""
    values: tuple[str, ...] = ()
    """Values of the modality's columns, in their order."""
    archived: FilesElsewhere | None = None
    """Its files if they come out of an archive; if None, they are in the folder on disk."""
    date: str = ""
    """Of an acquisition, as its path tells it; empty if its modality has no time axis."""
    acquisitions: tuple["Patch", ...] = ()
    """Of a place: its acquisitions, each with its own files, by date. Empty if it has one alone."""

    @property
    def in_memory(self) -> ArchivedFiles | None:
        """Its files if they were read out of an archive before it was given on."""
        return self.archived if isinstance(self.archived, ArchivedFiles) else None

    def receive(self, files: FilesElsewhere) -> None:
        """Give files out of an archive to a patch that was just made, before anybody has seen it.

        A copy of all fields, as `with_archived` makes it, takes some microseconds.
        """
        object.__setattr__(self, "archived", files)

    def with_archived(self, files: FilesElsewhere | None) -> "Patch":
        """The same patch with files out of an archive, or without them."""
        inside = tuple(one.with_archived(files) for one in self.acquisitions)
        values = dict(zip(_FIELDS, _values(self), strict=True))
        return Patch(**values | {"archived": files, "acquisitions": inside})

    def __reduce__(self) -> tuple[object, ...]:  # in less time than dataclasses have for it
        return _unpickled, _values(self)

    def path(self, name: str) -> str:
        """The path of one of its files, for sentences."""
        return f"{self.folder}/{name}"

    @property
    def apart(self) -> bool:
        """Whether its bands are in several files."""
        return bool(self.after)

    def file(self, name: str) -> str:
        """The whole name of the file of that name: that of a band, or of several."""
        return f"{self.before}{name}{self.after}" if self.after else self.before


_FIELDS = tuple(field.name for field in fields(Patch))
_values: Callable[[Patch], tuple[Any, ...]] = attrgetter(*_FIELDS)


def _unpickled(*values: Any) -> Patch:
    return Patch(**dict(zip(_FIELDS, values, strict=True)))


def folder_patch(
    modality: ModalitySource, pattern: PathPattern, fields: Mapping[str, str], folder: str
) -> Patch:
    """The patch that a folder is; `fields` are those of its path."""
    before, after = pattern.around_part(fields)
    return named_patch(modality, fields, folder, before, after)


def file_patch(
    modality: ModalitySource, fields: Mapping[str, str], folder: str, name: str
) -> Patch:
    """The patch that a file is; `fields` are those of its path."""
    return named_patch(modality, fields, folder, name, "")


def named_patch(
    modality: ModalitySource,
    fields: Mapping[str, str],
    folder: str = "",
    before: str = "",
    after: str = "",
) -> Patch:
    """A patch whose names are made of the fields of its path."""
    name = modality.name_template.format_map(fields)
    identity = modality.identity_template
    return Patch(
        modality=modality.name,
        key=modality.key_of(name),
        name=name,
        identity=identity.format_map(fields) if identity else "",
        folder=folder,
        before=before,
        after=after,
        values=tuple(template.format_map(fields) for template in modality.columns.values()),
        date=modality.time.date.format_map(fields) if modality.time else "",
    )


MOST_KEY_BYTES = 511  # of a key, as LMDB takes them
SHOWN_OF_KEY = 80  # characters of a key that is too long


def name_problem(patch: Patch) -> PatchError | None:
    """The error of a patch whose names cannot be stored; None if they can."""
    key = patch.key
    try:
        nbytes = len(key.encode())
        "".join((patch.name, patch.identity, *patch.values)).encode()
    except UnicodeEncodeError:
        folder = patch.folder.encode(errors="backslashreplace").decode()
        return PatchError(f"{folder}: the name {patch.name!r} is not UTF-8; rename the patch")
    if not 0 < nbytes <= MOST_KEY_BYTES:
        length = f"has {nbytes:,} bytes" if nbytes else "is empty"
        shown = key if len(key) <= SHOWN_OF_KEY else f"{key[:SHOWN_OF_KEY]}…"
        return PatchError(
            f"{patch.folder}: the key {shown!r} {length}, but a key has 1 to {MOST_KEY_BYTES}: "
            "rename the patch, or give its description another key"
        )
    if "\0" in key:
        return PatchError(f"{patch.folder}: the key {key!r} has a zero byte; rename the patch")
    return None


def no_patch(
    path: object, *, of: str = "", holds: str, modalities: Iterable[ModalitySource]
) -> SourceError:
    """The error of a folder or archive without any patch: it is empty or another dataset's.

    Args:
        path: the folder or archive.
        of: the name of the dataset, if it is not clear from the path.
        holds: the path of something in it; empty if there is nothing.
        modalities: those of which it should have patches.
    """
    expected = " or ".join(path for modality in modalities for path in modality.paths)
    dataset = f" of {of}" if of else ""
    return SourceError(
        f"{path} has no patch{dataset}: it holds {holds or 'nothing'}, but {expected} is expected"
    )


def misplaced(path: str, said: str) -> PatchError:
    """The error of a file or folder whose name tells another folder than the one it lies in."""
    return PatchError(f"{path} lies in the wrong folder: its name says {said}")


def undescribed(path: str, modality: ModalitySource) -> PatchError:
    """The error of a file that is called as those with bands are, and is none of them."""
    what = "file of bands" if modality.files else "band"
    return PatchError(f"{path} is a {what} that the description does not have")


def stopping(error: PatchError) -> PatchError:
    """The error of a patch that stops a conversion, with the way to go on without the patch."""
    return PatchError(f"{error}; --on-error skip leaves such patches out")


def ignore_problem(error: PatchError) -> None:
    """Go on without a word: another walk over the same folders reports these errors."""
