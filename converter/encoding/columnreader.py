"""The values that one patch gives for table columns: from its names, JSON file and codes."""

import json
from typing import Any

from patchpress.converter.descriptions.description import LabelRule, ModalitySource
from patchpress.converter.descriptions.labels import canonical_label
from patchpress.converter.descriptions.labels_from_codes import count_codes, labels_from_counts
from patchpress.converter.sources.files import PatchFiles
from patchpress.converter.sources.patch import Patch
from patchpress.readers.errors import PatchError, TableError


class ColumnReader:
    """Reads the values of a modality's table columns, for one patch at a time."""

    def __init__(self, modality: ModalitySource, rules: tuple[LabelRule, ...]) -> None:
        self._modality = modality
        self._derived = [rule for rule in rules if rule.source == modality.name]
        self._given = {rule.column: rule for rule in rules if not rule.rule}

    def read(self, patch: Patch, files: PatchFiles, pixels: memoryview) -> tuple[object, ...]:
        """All values of a patch, in the order of `record_columns`.

        Args:
            patch: with the values that its names give.
            files: the files of the patch.
            pixels: those of its record, the first band first.

        Raises:
            PatchError: the sidecar is missing, does not parse or lacks a key; an unknown label or
                code.
        """
        if not (self._modality.columns or self._modality.sidecar or self._derived):
            return ()
        named = dict(zip(self._modality.columns, patch.values, strict=True))
        path = files.path(patch.before)
        values: list[object] = [self._checked(c, v, path) for c, v in named.items()]
        if self._modality.sidecar is not None:
            values += self.read_sidecar(patch, files)
        if self._derived:
            values += labels_from_counts(self._derived, count_codes(self._modality, pixels), path)
        return tuple(values)

    def read_sidecar(self, patch: Patch, files: PatchFiles) -> list[object]:
        """The values that the JSON file of a patch gives, in the order of the sidecar's columns.

        Raises:
            PatchError: as `read`.
        """
        sidecar = self._modality.sidecar
        if sidecar is None:
            return []
        name = sidecar.file.replace(f"{{{self._modality.key_column}}}", patch.name)
        path = files.path(name)
        try:
            content = json.loads(files.read(name))
        except ValueError as error:
            raise PatchError(f"{path} is no JSON ({error})") from None
        if not isinstance(content, dict):
            raise PatchError(f"{path} is no JSON object")
        values: list[object] = []
        for column, key in sidecar.columns.items():
            if key not in content:
                raise PatchError(f"{path} has no key {key!r}; it has {', '.join(content)}")
            values.append(self._checked(column, content[key], path))
        return values

    def _checked(self, column: str, value: Any, path: str) -> object:
        """A string, or a tuple of strings; labels in their canonical spelling."""
        listed = isinstance(value, list)
        names = value if listed else [value]
        if not all(isinstance(name, str) for name in names):
            raise PatchError(f"{path} gives {value!r} for {column}, which must be text")
        rule = self._given.get(column)
        if rule is not None:
            try:
                names = [canonical_label(rule, name) for name in names]
            except TableError as error:
                raise PatchError(f"{path}: {error}") from None
        return tuple(names) if listed else names[0]
