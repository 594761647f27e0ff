"""Which patch a file of an archive belongs to, as far as its path says."""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from patchpress.converter.descriptions.description import BAND, ModalitySource
from patchpress.converter.descriptions.patterns import PathPattern, disagreement


class Form(NamedTuple):
    """One form of a modality's paths."""

    modality: ModalitySource
    path: PathPattern
    folder: str
    """The name of the modality's folder, `.` where it has none."""
    band: re.Pattern[str]

    def is_band(self, before: str, after: str, name: str) -> bool:
        """Whether a file is called like a band, be it one that the description does not have."""
        return (
            self.path.has_band
            and name.startswith(before)
            and name.endswith(after)
            and self.band.fullmatch(name, len(before), len(name) - len(after)) is not None
        )


class Fit(NamedTuple):
    """A form that a folder fits, with the fields that its names say."""

    form: Form
    known: dict[str, str]
    disagreement: str | None
    """What one of the names says otherwise than those above it."""


class Forms:
    """All forms of the modalities that are looked for in an archive."""

    def __init__(self, modalities: Sequence[ModalitySource], folders: Collection[str] = ()) -> None:
        """`folders` are those of all modalities of the dataset: what lies in another's is its."""
        self._folders = frozenset(_last(folder) for folder in folders) - {"."}
        self._forms = [
            Form(
                modality,
                PathPattern(path, modality.fields),
                _last(modality.folder),
                re.compile(modality.fields.get(BAND, ".*")),
            )
            for modality in modalities
            for path in modality.paths
        ]

    def __iter__(self) -> Iterator[Form]:
        return iter(self._forms)

    def of(self, folder: str) -> Iterator[Fit]:
        """The forms that a folder of an archive fits, whatever the packer put above."""
        parts = folder.split("/") if folder else []
        whose = self._whose(parts)
        for form in self._forms:
            depth = len(form.path.folders)
            if depth > len(parts) or whose not in (None, form.folder):
                continue
            known: dict[str, str] = {}
            wrong = None
            for pattern, part in zip(form.path.folders, parts[len(parts) - depth :], strict=True):
                match = pattern.fullmatch(part)
                if match is None:
                    break
                wrong = wrong or disagreement(known, match.groupdict())
                known |= match.groupdict()
            else:
                yield Fit(form, known, wrong)

    def is_anothers(self, folder: str) -> bool:
        """Whether it lies in the folder of a modality that is not looked for."""
        whose = self._whose(folder.split("/"))
        return whose is not None and all(whose != form.folder for form in self._forms)

    def _whose(self, parts: Sequence[str]) -> str | None:
        """The folder of a modality that stands above, where all of a dataset is one archive."""
        return next((part for part in reversed(parts) if part in self._folders), None)


def _last(folder: str) -> str:
    return folder.rpartition("/")[2]
