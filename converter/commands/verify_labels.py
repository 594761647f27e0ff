"""The labels of a table against those that follow from the maps of the same store.

If neither the table nor the map changed since they were stored, it is the source that contradicts
itself: the store has what was published.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from patchpress.converter.descriptions.description import Description, LabelRule, ModalitySource
from patchpress.converter.descriptions.labels_from_codes import count_codes, labels_from_counts
from patchpress.readers.errors import PatchError
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.record import Form
from patchpress.readers.format.table import key_column
from patchpress.readers.store import Store


class MapReader:
    """Derives labels from maps, by the rules of a description; none without one."""

    def __init__(self, manifest: Manifest, description: Description | None) -> None:
        self.rules: dict[str, list[LabelRule]] = {}
        """Modality -> the rules that make labels of its maps."""
        self._sources: dict[str, ModalitySource] = {}
        if description is None:
            return
        for rule in description.labels.values():
            if rule.source in manifest.modalities and rule.column in manifest.classes:
                self.rules.setdefault(rule.source, []).append(rule)
                self._sources[rule.source] = description.modalities[rule.source]

    def labels(
        self, modalities: Sequence[Modality], form: Form, record: memoryview
    ) -> tuple[str, list[object]] | str | None:
        """The modality and the labels of a map; what is wrong with its codes; None for others.

        Args:
            modalities: those that the record may be of.
            form: of the record.
            record: its uncompressed bytes.
        """
        name = next((m.name for m in modalities if m.name in self.rules), None)
        if name is None:
            return None
        source = self._sources[name]
        first = form.tensor(source.bands[0].name) or form.tensors[0]
        pixels = record[len(form.header) + first.offset :]
        try:
            counts = count_codes(source, pixels)
            return name, labels_from_counts(self.rules[name], counts, "its map")
        except PatchError as error:
            return str(error)


class LabelsOfMaps:
    """The labels that follow from each map of a store, to be compared with the table."""

    def __init__(self, store: Store, rules: Mapping[str, list[LabelRule]]) -> None:
        self._store, self._rules = store, rules
        self._found: dict[str, dict[str, list[object]]] = {}

    def note(self, key: str, modality: str, labels: list[object]) -> None:
        """Note the labels of a map, by the rules of its modality."""
        self._found.setdefault(modality, {})[key] = labels

    def differences(self, damaged: Collection[str] = ()) -> list[str]:
        """A sentence for each row whose labels are not those of its map.

        Args:
            damaged: keys of records that are not as they were written: their maps tell nothing.
        """
        sentences = []
        for name, found in self._found.items():
            modality = self._store.manifest.modalities[name]
            column = key_column(modality)
            rules = self._rules[name]
            table = self._store.table(columns=[column, *(rule.column for rule in rules)])
            for row in table.to_pylist():
                key = modality.key.replace(f"{{{column}}}", str(row[column]))
                if key in damaged:
                    continue
                for rule, value in zip(rules, found.get(key, ()), strict=False):
                    difference = _difference(rule, row[rule.column], value, name)
                    if difference:
                        sentences.append(f"{rule.column} of {row[column]}: {difference}")
        return sentences


def _difference(rule: LabelRule, table: Any, derived: Any, modality: str) -> str:
    """How the labels of a table differ from those of a map; empty if they do not."""
    if table is None:
        return ""
    if not isinstance(table, list) or not isinstance(derived, (list, tuple)):
        same = table == derived
        return "" if same else f"the table says {table!r}, the {modality} says {derived!r}"
    if rule.rule == "fractions":
        return _other_fraction(rule.classes, table, derived, modality)
    only = {
        "table": sorted(set(table) - set(derived)),
        modality: sorted(set(derived) - set(table)),
    }
    # Class names have commas in them, so each has its quotes.
    parts = [
        f"only the {one} has {' and '.join(map(repr, names))}"
        for one, names in only.items()
        if names
    ]
    if not parts and len(table) != len(set(table)):
        twice = next(name for name in table if table.count(name) > 1)
        parts = [f"the table has {twice!r} twice"]
    return ", ".join(parts)


def _other_fraction(
    classes: Sequence[str], table: Sequence[float], derived: Sequence[float], modality: str
) -> str:
    if len(table) != len(derived):
        return f"the table has {len(table)} fractions, the {modality} has {len(derived)}"
    pairs = zip(classes, table, derived, strict=False)
    other = next((each for each in pairs if each[1] != each[2]), None)
    if other is None:
        return ""
    name, given, found = other
    return f"the table says that {given:g} of it is {name!r}, the {modality} says {found:g}"
