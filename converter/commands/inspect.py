"""`inspect`: what is in a store, or in one of its records, as facts and as text."""

import json
from dataclasses import dataclass
from typing import Any

from patchpress.converter.contents.of_record import record_facts
from patchpress.converter.contents.of_store import store_facts
from patchpress.converter.contents.shown import record_text, store_text
from patchpress.converter.paths import StrPath, shown_place
from patchpress.readers.showing import plain_json
from patchpress.readers.store import open_store


@dataclass(frozen=True)
class Contents:
    """What is in a store or a record; printed, it is the text that the command shows."""

    facts: dict[str, Any]
    """Names and values that JSON can say; docs/converting.md lists them."""

    def text(self, width: int | None = None) -> str:
        """Tables for people, `width` characters wide (80 at least), or as wide as they are."""
        return (record_text if "key" in self.facts else store_text)(self.facts, width)

    def json(self) -> str:
        """The facts as JSON, for programs."""
        return plain_json(json.dumps(self.facts, indent=2, ensure_ascii=False, default=str))

    def __str__(self) -> str:
        return self.text()


def inspect(store: StrPath, key: str | None = None) -> Contents:
    """Count what is in a store, or in the record of a key.

    A store: its dataset, size, modalities with their bands, splits, flagged rows, rows that lack a
    modality, and classes with their rows in each split. A record: its bands with minimum, mean and
    maximum, and its row of the table.

    Raises:
        StoreError: there is no finished store.
        KeyMissing: there is no such record.
    """
    opened = open_store(store, stage=False)
    if key is None:
        return Contents(store_facts(opened, shown_place(store)))
    return Contents(record_facts(opened, key))
