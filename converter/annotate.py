"""What a patch says of itself beside its pixels: a JSON sidecar, and labels from its own codes."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from converter.contents import Folder
from converter.description import LabelRule, ModalitySource
from converter.labels import fractions, multi, present, single
from converter.nomenclatures import Nomenclature, load
from converter.sources import Patch
from readers.errors import PatchError, TableError


def columns_of(modality: ModalitySource, rules: tuple[LabelRule, ...]) -> list[str]:
    """The table columns that records of a modality fill, in the order of an annotator's values."""
    sidecar = list(modality.sidecar.columns) if modality.sidecar else []
    derived = [rule.column for rule in rules if rule.source == modality.name]
    return [*modality.columns, *sidecar, *derived]


class Annotator:
    """Gives the values of a modality's columns for one patch after the other."""

    def __init__(self, modality: ModalitySource, rules: tuple[LabelRule, ...]) -> None:
        self._modality = modality
        self._derived = [rule for rule in rules if rule.source == modality.name]
        self._given = {rule.column: rule for rule in rules if not rule.rule}

    def __call__(self, patch: Patch, folder: Folder, pixels: memoryview) -> tuple[object, ...]:
        """The values, in the order of `columns_of`; `pixels` are those of the record.

        Raises:
            PatchError: the sidecar is missing, does not parse or lacks a key; an unknown label or
                code. The message starts with the file's name.
        """
        if not (self._modality.columns or self._modality.sidecar or self._derived):
            return ()
        named = dict(zip(self._modality.columns, patch.values, strict=True))
        values: list[object] = [self._checked(c, v, patch.before) for c, v in named.items()]
        if self._modality.sidecar is not None:
            values += self.sidecar(patch, folder)
        if self._derived:
            values += derive(self._derived, code_counts(self._modality, pixels), patch.before)
        return tuple(values)

    def sidecar(self, patch: Patch, folder: Folder) -> list[object]:
        """What the JSON file of a patch gives, in the order of the sidecar's columns.

        Raises:
            PatchError: as a call.
        """
        sidecar = self._modality.sidecar
        if sidecar is None:
            return []
        name = sidecar.file.replace(f"{{{self._modality.key_field}}}", patch.name)
        try:
            content = json.loads(folder.read(name))
        except ValueError as error:
            raise PatchError(f"{name} is no JSON ({error})") from None
        if not isinstance(content, dict):
            raise PatchError(f"{name} is no JSON object")
        values: list[object] = []
        for column, key in sidecar.columns.items():
            if key not in content:
                raise PatchError(f"{name} has no key {key!r}; it has {', '.join(content)}")
            values.append(self._checked(column, content[key], name))
        return values

    def _checked(self, column: str, value: Any, file: str) -> object:
        """A string, or a tuple of them; labels in their canonical spelling."""
        listed = isinstance(value, list)
        names = value if listed else [value]
        if not all(isinstance(name, str) for name in names):
            raise PatchError(f"{file} gives {value!r} for {column}, which must be text")
        rule = self._given.get(column)
        if rule is not None:
            try:
                names = [canonical(rule, name) for name in names]
            except TableError as error:
                raise PatchError(f"{file}: {error}") from None
        return tuple(names) if listed else names[0]


def code_counts(modality: ModalitySource, pixels: memoryview) -> dict[int, int]:
    """How many pixels each code of the first band has."""
    band = modality.bands[0]
    codes = np.frombuffer(pixels, band.dtype, band.shape[0] * band.shape[1])
    counts: npt.NDArray[np.int64] = np.bincount(codes)
    return {int(code): int(counts[code]) for code in np.flatnonzero(counts)}


def derive(rules: list[LabelRule], counts: dict[int, int], file: str) -> list[object]:
    """Labels from code counts, one value a rule: a tuple of names, a name, or fractions.

    Raises:
        PatchError: a code that the nomenclature does not know.
    """
    try:
        return [_derived(rule, load(rule.nomenclature), counts) for rule in rules]
    except PatchError as error:
        raise PatchError(f"{file}: {error}") from None


def _derived(rule: LabelRule, nomenclature: Nomenclature, counts: dict[int, int]) -> object:
    if rule.rule == "present":
        return tuple(present(counts, nomenclature)[0])
    shares = fractions(counts, nomenclature)
    if rule.rule == "fractions":
        return tuple(shares)
    if rule.rule == "single":
        return single(shares, nomenclature)
    return tuple(multi(shares, nomenclature))


def canonical(rule: LabelRule, name: str) -> str:
    """A label in its canonical spelling.

    Raises:
        TableError: the classes have no such name; the message suggests the nearest.
    """
    if name in rule.classes:
        return name
    if rule.nomenclature:
        return load(rule.nomenclature).canonical(name)
    from difflib import get_close_matches

    near = get_close_matches(name, rule.classes, n=1)
    hint = f"nearest is {near[0]!r}" if near else f"known are {', '.join(rule.classes)}"
    raise TableError(f"label {name!r} is unknown; {hint}")
