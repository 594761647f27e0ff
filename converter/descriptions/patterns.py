"""The paths of a description as patterns: which folders and files are patches."""

import re
from collections.abc import Mapping
from functools import lru_cache

from patchpress.converter.descriptions.description import BAND, ModalitySource, fields_of


class PathPattern:
    """One form of a modality's paths, taken apart."""

    def __init__(self, path: str, fields: Mapping[str, str]) -> None:
        parts = path.split("/")
        self.folders = [_pattern(part, fields) for part in parts[:-1]]
        self.before, band, self.after = parts[-1].partition(f"{{{BAND}}}")
        self.has_band = bool(band)
        in_folders = set(fields_of("/".join(parts[:-1])))
        in_file = set(fields_of(parts[-1])) - {BAND}
        # Its files' names follow from the folders'; otherwise each file is a patch of its own.
        self.is_folder_a_patch = self.has_band or bool(in_folders and in_file <= in_folders)
        self.file = _pattern(parts[-1], fields) if not self.has_band else re.compile("")


def disagreement(known: Mapping[str, str], fields: Mapping[str, str]) -> str | None:
    """What a name says of a field that the folders above say otherwise; None where they agree."""
    return next((fields[f] for f in fields if known.get(f, fields[f]) != fields[f]), None)


def key_pattern(modality: ModalitySource) -> re.Pattern[str]:
    """What a record of the modality may be called; the fields of its patch are named groups."""
    template = modality.key.replace(f"{{{modality.key_column}}}", modality.patch)
    # A field that stands in others only has no expression of its own.
    loose = dict.fromkeys(fields_of(template), ".+")
    return _pattern(template, {**loose, **modality.fields})


@lru_cache(maxsize=64)
def _compiled(text: str) -> re.Pattern[str]:
    return re.compile(text)


def _pattern(part: str, fields: Mapping[str, str]) -> re.Pattern[str]:
    """The regular expression of one folder name; fields become named groups."""
    text, seen = "", set[str]()
    for piece in re.split(r"(\{\w+\})", part):
        name = piece[1:-1]
        if not piece.startswith("{"):
            text += re.escape(piece)
        elif name in seen:
            text += f"(?P={name})"
        else:
            text += f"(?P<{name}>{fields[name]})"
            seen.add(name)
    return _compiled(text)
