"""The values that one patch gives for table columns: from its names, JSON file and codes."""

import json
from typing import Any

from patchpress.converter.descriptions.description import (
    LabelRule,
    ModalitySource,
    Splits,
    fields_of,
)
from patchpress.converter.descriptions.labels import canonical_label, time_columns_of
from patchpress.converter.descriptions.labels_from_codes import count_codes, labels_from_counts
from patchpress.converter.descriptions.patterns import fields_of_place
from patchpress.converter.sources.files import PatchFiles
from patchpress.converter.sources.patch import Patch
from patchpress.converter.text import first_few, shortened
from patchpress.readers.errors import PatchError, TableError
from patchpress.readers.format.split_names import known_split
from patchpress.readers.hints import hint

LARGEST = 1 << 63  # of whole numbers that a table holds

LARGEST_SIDECAR = 2 << 20  # bytes; Python takes up to 30 times as many for what it parses


class ColumnReader:
    """Reads the values of a modality's table columns, for one patch at a time."""

    def __init__(
        self,
        modality: ModalitySource,
        rules: tuple[LabelRule, ...],
        splits: Splits | None = None,
        identity: str = "",
    ) -> None:
        """Take what columns mean.

        Args:
            modality: has the columns.
            rules: of label columns.
            splits: of the data set: one of the columns may be the split.
            identity: the column that names a row.
        """
        self._modality = modality
        self._splits, self._identity = splits, identity
        # Of a record that another program wrote nobody knows which steps are there.
        self._without_steps = (None,) * len(time_columns_of(modality))
        self._derived = [rule for rule in rules if rule.source == modality.name]
        # Columns that name each acquisition hold a list of a place.
        of_place = fields_of_place(modality) if modality.time else set()
        self._of_dates = {
            column
            for column, template in modality.columns.items()
            if modality.is_dated and not of_place.issuperset(fields_of(template))
        }
        self._given = {rule.column: rule for rule in rules if not rule.rule}

    def read(self, patch: Patch, files: PatchFiles, pixels: memoryview) -> tuple[object, ...]:
        """All values of a patch, in the order of `record_columns`.

        Args:
            patch: with the values that its names give.
            files: the files of the patch.
            pixels: those of its record, the first band first.

        Raises:
            PatchError: the sidecar is missing, does not parse, lacks a key or has a value that no
                table can hold; an unknown label, split or code.
        """
        if not (self._modality.columns or self._modality.sidecar or self._derived):
            return self._without_steps
        path = files.path(patch.before)
        values = self.read_names(patch, path)
        if self._modality.sidecar is not None:
            values += self.read_sidecar(patch, files)
        if self._derived:
            values += labels_from_counts(self._derived, count_codes(self._modality, pixels), path)
        return (*values, *self._without_steps)

    def read_names(self, patch: Patch, path: str) -> list[object]:
        """The values that the names of a patch's folders and files give.

        Args:
            patch: with these values.
            path: of the patch, for sentences.

        Raises:
            PatchError: an unknown label or split.
        """
        named = zip(self._modality.columns, patch.values, strict=True)
        if not patch.acquisitions:
            return [
                # Of dates that nobody knows nothing is known.
                None if column in self._of_dates else self._checked(column, value, path)
                for column, value in named
            ]
        of_each = zip(*(one.values for one in patch.acquisitions), strict=True)
        return [
            self._checked(column, list(values) if column in self._of_dates else value, path)
            for (column, value), values in zip(named, of_each, strict=True)
        ]

    def read_time(self, patch: Patch) -> tuple[object, ...]:
        """All values of a place whose acquisitions have files of their own.

        Raises:
            PatchError: as `read_names`.
        """
        dates = tuple(one.date for one in patch.acquisitions)
        return (*self.read_names(patch, patch.folder), len(dates), dates)

    def read_sidecar(self, patch: Patch, files: PatchFiles) -> list[object]:
        """The values that the JSON file of a patch gives, in the order of the sidecar's columns.

        Raises:
            PatchError: as `read`.
        """
        sidecar = self._modality.sidecar
        if sidecar is None:
            return []
        name = self._modality.sidecar_of(patch.name)
        path = files.path(name)
        try:
            content = json.loads(files.read(name, LARGEST_SIDECAR))
        except ValueError as error:
            raise PatchError(f"{path} is no JSON ({error})") from None
        except RecursionError:
            raise PatchError(f"{path} is nested too deep") from None
        if not isinstance(content, dict):
            raise PatchError(f"{path} is no JSON object")
        values: list[object] = []
        for column, key in sidecar.columns.items():
            if key not in content:
                raise PatchError(
                    f"{path} has no key {key!r}; it has {first_few(list(content), 20)}"
                )
            values.append(self._checked(column, content[key], path))
        return values

    def _checked(self, column: str, value: Any, path: str) -> object:
        """A value of the table: None, text, a number, a boolean, or a tuple of one kind of these.

        Labels and splits have their canonical names.
        """
        if column == self._identity:
            return _text(column, value, path)
        if self._splits is not None and column == self._splits.column:
            return self._split(value, path)
        rule = self._given.get(column)
        if rule is None:
            return _plain_value(column, value, path)
        if value is None:
            return None
        names = value if isinstance(value, list) else [value]
        if not all(isinstance(name, str) for name in names):
            raise PatchError(
                f"{path} gives {shortened(value)} for {column}, which must be a label or a list "
                "of labels"
            )
        try:
            names = [canonical_label(rule, name) for name in names]
        except TableError as error:
            raise PatchError(f"{path}: {error}") from None
        return tuple(names) if isinstance(value, list) else names[0]

    def _split(self, value: Any, path: str) -> str | None:
        """The split that a value means; None and an empty text are none."""
        if value is None or value == "":
            return None
        known = self._splits.names if self._splits is not None else ()
        name = known_split(value, known) if isinstance(value, str) else None
        if name is None:
            raise PatchError(
                f"{path} gives the split {shortened(value)}, which is unknown; {hint(value, known)}"
            )
        return name


def _text(column: str, value: Any, path: str) -> str:
    if not isinstance(value, str) or not value:
        raise PatchError(f"{path} gives {shortened(value)} for {column}, which must be a name")
    return _encodable(column, value, path)


def _plain_value(column: str, value: Any, path: str) -> object:
    """A value that no rule is for, as the table holds it.

    Raises:
        PatchError: an object, a list of lists or of several kinds, or what Arrow cannot hold.
    """
    if not isinstance(value, list):
        return _scalar(column, value, path)
    items = [_scalar(column, item, path) for item in value]
    kinds = set(map(type, items))
    if kinds == {int, float}:
        return tuple(map(float, value))
    if len(kinds) > 1 or type(None) in kinds:
        raise PatchError(
            f"{path} gives {shortened(value)} for {column}: a list must have values of one kind"
        )
    return tuple(items)


def _scalar(column: str, value: Any, path: str) -> object:
    if isinstance(value, str):
        return _encodable(column, value, path)
    if isinstance(value, (dict, list)):
        raise PatchError(
            f"{path} gives {shortened(value)} for {column}, which must be text, a number or a "
            "list of these"
        )
    if type(value) is int and not -LARGEST <= value < LARGEST:
        raise PatchError(f"{path} gives {shortened(value)} for {column}: no 64-bit number")
    return value


def _encodable(column: str, value: str, path: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise PatchError(f"{path} gives {value!r} for {column}, which is no Unicode") from None
    return value
