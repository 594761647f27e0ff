"""One patch of one modality: where its files lie, and what its record is called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.sources.files import ArchivedFiles
from patchpress.readers.errors import PatchError

Problem = Callable[[PatchError], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """One patch of one modality: where its files lie and what its record is called."""

    modality: str
    key: str
    name: str
    """The published name: the value of the key's column."""
    identity: str
    """The identity of the row, empty where only a table or a sidecar knows it."""
    folder: str = ""
    before: str = ""
    after: str = ""
    """A band's file is ``before + band + after``; a file of all bands is ``before``."""
    values: tuple[str, ...]
    """Values of the modality's columns, in their order."""
    archived: ArchivedFiles | None = None
    """Its files if they come out of an archive; if None, they are in the folder on disk."""

    def file(self, band: str) -> str:
        """Name of the file that holds a band: each band has its own, or one file has them all."""
        return f"{self.before}{band}{self.after}" if self.after else self.before


def patch_of(
    modality: ModalitySource,
    known: Mapping[str, str],
    folder: str = "",
    before: str = "",
    after: str = "",
) -> Patch:
    """The patch whose fields are known, with its names made of them."""
    name = modality.name_template.format_map(known)
    return Patch(
        modality=modality.name,
        key=modality.key.replace(f"{{{modality.key_column}}}", name),
        name=name,
        identity=modality.identity_template.format_map(known) if modality.identity_template else "",
        folder=folder,
        before=before,
        after=after,
        values=tuple(template.format_map(known) for template in modality.columns.values()),
    )


def misplaced(path: str, said: str) -> PatchError:
    """What is wrong with a file or folder whose name says another folder than it lies in."""
    return PatchError(f"{path} lies in the wrong folder: its name says {said}")


def ignore_problem(error: PatchError) -> None:
    """For a walk whose misplaced patches are told of elsewhere."""
