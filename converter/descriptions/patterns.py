"""Regular expressions made from a description: which folders, files and keys are of a patch."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from patchpress.converter.descriptions.description import BAND, ModalitySource, fields_of
from patchpress.converter.descriptions.expressions import Expression, expression


class PathPattern:
    """One of a modality's paths, split into its folders and its file name.

    `folders` has a regular expression for each folder. A file name with ``{band}`` is split into
    the text `before` and `after` the band's name; for one without it, `file` is its expression.
    """

    def __init__(self, path: str, modality: ModalitySource) -> None:
        parts = path.split("/")
        self.folders = [_pattern(part, modality) for part in parts[:-1]]
        self.before, band, self.after = parts[-1].partition(f"{{{BAND}}}")
        self.has_band = bool(band)
        in_folders = set(fields_of("/".join(parts[:-1])))
        in_file = set(fields_of(parts[-1])) - {BAND}
        # If the folders' names determine the files' names, a folder is a patch; otherwise each
        # file is a patch of its own.
        self.is_folder_a_patch = self.has_band or bool(in_folders and in_file <= in_folders)
        self.file = _pattern("" if self.has_band else parts[-1], modality)

    def match_file(self, name: str, known: Mapping[str, str]) -> "NameMatch | None":
        """Match the name of a file that is a patch of its own; see `match_name`."""
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

    def around_band(self, known: Mapping[str, str]) -> tuple[str, str]:
        """The names of a patch's files before and after the band, if its folder is the patch.

        If there is one file with all bands, that is the first text, and the second is empty.
        """
        return self.before.format_map(known), self.after.format_map(known) if self.has_band else ""


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
    differing = (value for field, value in fields.items() if known.get(field, value) != value)
    return NameMatch(fields, next(differing, None))


def key_pattern(modality: ModalitySource) -> Expression:
    """The regular expression of the modality's keys; its named groups are the patch's fields."""
    template = modality.key.replace(f"{{{modality.key_column}}}", modality.name_template)
    # A field that is only a group inside another field has no expression of its own.
    loose = dict.fromkeys(fields_of(template), ".+")
    return _pattern(template, replace(modality, fields={**loose, **modality.fields}))


def band_pattern(modality: ModalitySource) -> Expression:
    """The regular expression of the names of its bands; files of others are ignored."""
    return expression(modality.fields.get(BAND, ".*"), limited=modality.limited)


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
