"""Gives the patches of a finished store other splits: blocks of ground; no record is touched."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.block_options import BlockRule
from patchpress.converter.descriptions.description import Description
from patchpress.converter.storage.folder import writing
from patchpress.converter.storage.replaced_table import replace_table
from patchpress.converter.tables.arrow import one_array, set_column
from patchpress.converter.tables.block_split import leaks_told, split_by_blocks
from patchpress.converter.tables.derived import with_source_split
from patchpress.converter.tables.metadata import counts_of_splits, flagged_rows
from patchpress.converter.tables.patch_places import places_in
from patchpress.converter.tables.split_column import patch_groups
from patchpress.converter.text import as_text, line, split_rows
from patchpress.readers.errors import SelectionEmpty
from patchpress.readers.format.manifest import STATISTICS, Manifest
from patchpress.readers.format.split_names import STANDARD
from patchpress.readers.format.table import read_table

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class Resplit:
    """The splits that a store was given."""

    store: str
    splits: dict[str, dict[str, int]]
    """Split -> `rows`, and modality -> records."""
    flagged: dict[str, dict[str, int]]
    """Of these, the rows that their publisher does not recommend for use."""
    rows: int
    notes: tuple[str, ...]
    """A sentence each: how it was split, and what has no split."""

    def text(self) -> str:
        """The splits for people, and what is to be told of them."""
        lines = [f"{self.store}: other splits; no record was touched"]
        for split, found in self.splits.items():
            flagged = self.flagged.get(split, {}).get("rows", 0)
            lines.append(line(f"split {split}", split_rows(found["rows"], flagged)))
        without = self.rows - sum(found["rows"] for found in self.splits.values())
        if without:
            lines.append(line("in no split", f"{without:,}"))
        return as_text([*lines, *(f"  note: {note}" for note in self.notes)])


def resplit(
    store: Path, manifest: Manifest, rule: BlockRule, description: Description | None
) -> Resplit:
    """Write the table and the manifest of a store with splits by blocks of ground.

    Splits that the store had stay in another column, `source_split`.

    Args:
        store: folder of the store.
        manifest: the store's.
        rule: how it is split.
        description: of its data set, which knows the groups of patches; None if it is not known.

    Raises:
        SelectionEmpty: no patch has a georeference.
        StoreDamaged: the table cannot be read.
        TargetError: the folder cannot be written.
    """
    table, column = read_table(store, manifest), manifest.split_column
    places = places_in(table)
    if not places.known.any():
        raise SelectionEmpty(
            f"no patch of {store} has a georeference, so blocks of ground cannot split them: its "
            "source has no coordinates, or another program wrote its records"
        )
    groups, notes = None, list[str]()
    if description is None:
        notes.append(
            f"no description of {manifest.dataset.name} is known here, so that no scenes are kept "
            "together: give it with --dataset FILE if it has some"
        )
    elif description.splits is not None and description.splits.group:
        names = one_array(table[description.identity])
        groups = patch_groups(names, description.splits.group)
    found = split_by_blocks(places, groups, rule)
    notes = [*found.notes, *leaks_told(places, table, column, found.values), *notes]
    if (store / STATISTICS).exists():
        notes.append("statistics of splits are those of the ones before: run `patchpress stats`")
    table = set_column(with_source_split(table, column), column, found.values)
    changed = replace(
        manifest,
        splits=counts_of_splits(column, STANDARD, table, manifest.modalities),
        flagged=flagged_rows(
            manifest.flagged.columns, column, STANDARD, table, manifest.modalities
        ),
        options=_options(manifest, rule),
    )
    with writing(store):
        replace_table(store, table, lambda digest: replace(changed, metadata_digest=digest))
    return Resplit(
        store=str(store),
        splits={name: dict(counts) for name, counts in changed.splits.items()},
        flagged={name: dict(counts) for name, counts in changed.flagged.splits.items()},
        rows=len(table),
        notes=tuple(notes),
    )


def _options(manifest: Manifest, rule: BlockRule) -> dict[str, str | int | float | None]:
    options = {name: value for name, value in manifest.options.items() if name != "buffer"}
    return options | {"split": "geographic", "validation": 0.0, **rule.settings()}
