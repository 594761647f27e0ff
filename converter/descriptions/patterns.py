"""Regular expressions made from a description: which folders, files and keys are of a patch."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from patchpress.converter.descriptions.band_files import BAND, FILE
from patchpress.converter.descriptions.description import ModalitySource, fields_of
from patchpress.converter.descriptions.expressions import Expression, expression, groups_in


class PathPattern:
    """One of a modality's paths, split into its folders and its file name.

    `folders` has a regular expression for each folder. A file name with ``{band}`` or ``{file}`` is
    split into the text `before` and `after` it; for one without it, `file` is its expression.
    """

    def __init__(self, path: str, modality: ModalitySource) -> None:
        parts = path.split("/")
        self.folders = [_pattern(part, modality) for part in parts[:-1]]
        self.before, field, self.after = parts[-1].partition(f"{{{_part(modality)}}}")
        self.apart = bool(field)
        """Whether a patch is several files."""
        self.part = _part(modality)
        in_folders = set(fields_of("/".join(parts[:-1])))
        in_file = set(fields_of(parts[-1])) - {self.part}
        self.is_flat = self.apart and not in_file <= with_groups(in_folders, modality)
        """Whether the files of several patches lie in one folder, told apart by their names."""
        # If the folders' names determine the files' names, a folder is a patch; otherwise each
        # file is a patch of its own.
        self.is_folder_a_patch = not self.is_flat and (
            self.apart or bool(in_folders and in_file <= in_folders)
        )
        file = "" if self.apart and not self.is_flat else parts[-1]
        part = {self.part: modality.fields.get(self.part, ".+")} if self.is_flat else {}
        self.file = _pattern(file, replace(modality, fields={**modality.fields, **part}))

    def match_file(self, name: str, known: Mapping[str, str]) -> "NameMatch | None":
        """Match the name of a file that is a patch of its own, or one of several in one folder.

        See `match_name`; of the latter, the field `part` is among those that the name tells.
        """
        return match_name(self.file, name, known)

    def claims(self, names: Sequence[str], *, is_folder: bool) -> bool:
        """Whether a file may be of a patch, or a folder may have patches or be one.

        `names` are those that lead to it, and its own.
        """
        depth = len(self.folders)
        if not all(map(_fits, self.folders, names)):
            return False
        if len(names) <= depth:
            return is_folder
        if self.is_folder_a_patch:
            return True
        return not is_folder and len(names) == depth + 1 and _fits(self.file, names[-1])

    def looks_into(self, names: Sequence[str]) -> bool:
        """Whether patches are looked for in a folder to which these names lead."""
        depth = len(self.folders) - self.is_folder_a_patch
        return len(names) <= depth and all(map(_fits, self.folders, names))

    def around_part(self, known: Mapping[str, str]) -> tuple[str, str]:
        """The names of a patch's files before and after the part that differs.

        If there is one file, that is the first text, and the second is empty.
        """
        return self.before.format_map(known), self.after.format_map(known) if self.apart else ""


def _fits(pattern: Expression, name: str) -> bool:
    return pattern.fullmatch(name) is not None


class NameMatch(NamedTuple):
    """What the name of a folder or file tells."""

    fields: dict[str, str]
    disagreement: str | None
    """The first value that a folder above has otherwise, if there is one."""


def match_name(pattern: Expression, name: str, known: Mapping[str, str]) -> NameMatch | None:
    """Match the name of a folder or file; None if it does not match.

    `known` are the fields of the folders above.
    """
    match = pattern.fullmatch(name)
    if match is None:
        return None
    fields = match.groupdict()
    for field, value in fields.items():
        if known.get(field, value) != value:
            return NameMatch(fields, value)
    return NameMatch(fields, None)


def key_pattern(modality: ModalitySource) -> Expression:
    """The regular expression of the modality's keys; its named groups are the patch's fields."""
    template = modality.key.replace(f"{{{modality.key_column}}}", modality.name_template)
    # A field that is only a group inside another field has no expression of its own.
    loose = dict.fromkeys(fields_of(template), ".+")
    return _pattern(template, replace(modality, fields={**loose, **modality.fields}))


def fields_of_place(modality: ModalitySource) -> set[str]:
    """The fields that are the same for all acquisitions of a place: those of its name."""
    return with_groups(fields_of(modality.name_template), modality)


def with_groups(names: Iterable[str], modality: ModalitySource) -> set[str]:
    """These fields, and the named groups in their expressions."""
    known = set(names)
    for name in [*known]:
        known |= groups_in(modality.fields[name]) if name in modality.fields else set()
    return known


def part_pattern(modality: ModalitySource) -> Expression:
    """The regular expression of the names of its bands or files; other files are ignored."""
    return expression(modality.fields.get(_part(modality), ".*"), limited=modality.limited)


def _part(modality: ModalitySource) -> str:
    """The field of a path that differs between the files of a patch."""
    return FILE if modality.files else BAND


def name_pattern(modality: ModalitySource) -> Expression:
    """The regular expression of the modality's published names, in whatever case."""
    template = modality.name_template
    loose = dict.fromkeys(fields_of(template), ".+")
    return _pattern(template, replace(modality, fields={**loose, **modality.fields}), "(?i)")


def _pattern(part: str, modality: ModalitySource, flags: str = "") -> Expression:
    """The regular expression of a template: fields become named groups, other text is literal."""
    text, seen = flags, set[str]()
    for piece in re.split(r"(\{\w+\})", part):
        name = piece[1:-1]
        if not piece.startswith("{"):
            text += re.escape(piece)
        elif name in seen:
            text += f"(?P={name})"
        else:
            text += f"(?P<{name}>{modality.fields[name]})"
            seen.add(name)
    return expression(text, limited=modality.limited)
