"""The labels of a table against those that follow from the maps of the same store."""

from typing import Any

from patchpress.converter.descriptions.description import Description, LabelRule, ModalitySource
from patchpress.converter.descriptions.labels_from_codes import count_codes, labels_from_counts
from patchpress.readers.errors import PatchError
from patchpress.readers.format.record import Decompressor, form_in, is_compressed
from patchpress.readers.format.table import key_column
from patchpress.readers.store import Store


class LabelsOfMaps:
    """Derives labels from each map of a store, and compares them with the table."""

    def __init__(self, store: Store, description: Description | None) -> None:
        self._store = store
        self._rules: dict[str, list[LabelRule]] = {}
        self._sources: dict[str, ModalitySource] = {}
        self._found: dict[str, dict[str, list[object]]] = {}
        self._decompress = Decompressor()
        if description is None:
            return
        for rule in description.labels.values():
            if rule.source in store.manifest.modalities and rule.column in store.manifest.classes:
                self._rules.setdefault(rule.source, []).append(rule)
                self._sources[rule.source] = description.modalities[rule.source]

    def derive(self, key: str, value: memoryview) -> str | None:
        """Note the labels of a record, if it is a map; what is wrong with its codes, else None."""
        if not self._rules:
            return None
        record = self._decompress(value) if is_compressed(value) else value
        form = form_in(record)
        found = [m for m in self._store.manifest.matches(form) if m.name in self._rules]
        if not found:
            return None
        modality = found[0]
        source = self._sources[modality.name]
        first = form.tensor(source.bands[0].name) or form.tensors[0]
        pixels = record[len(form.header) + first.offset :]
        try:
            values = labels_from_counts(
                self._rules[modality.name], count_codes(source, pixels), "its map"
            )
        except PatchError as error:
            return str(error)
        self._found.setdefault(modality.name, {})[key] = values
        return None

    def problems(self) -> list[str]:
        """A sentence for each row whose labels are not those of its map."""
        problems = []
        for name, found in self._found.items():
            modality = self._store.manifest.modalities[name]
            column = key_column(modality)
            rules = self._rules[name]
            table = self._store.table(columns=[column, *(rule.column for rule in rules)])
            for row in table.to_pylist():
                key = modality.key.replace(f"{{{column}}}", str(row[column]))
                for rule, value in zip(rules, found.get(key, ()), strict=False):
                    given = row[rule.column]
                    if given is not None and _plain(value) != _plain(given):
                        problems.append(
                            f"{rule.column} of {row[column]}: the table says {_shown(given)}, "
                            f"the {name} says {_shown(value)}"
                        )
        return problems


def _plain(value: Any) -> Any:
    """A value to be compared: lists and tuples alike, names in any order."""
    if isinstance(value, (list, tuple)):
        return sorted(value) if all(isinstance(v, str) for v in value) else list(value)
    return value


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
