"""What is written beside a patch: its name, split, country, labels and flags."""

from dataclasses import dataclass
from typing import Any

from patchpress.converter.pictures.choice import RowsFound
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.table import key_column, keys_in, presence_column, table_columns
from patchpress.readers.store import Store

COUNTRY = "country"


@dataclass(frozen=True)
class ShownPatch:
    """One patch of a picture."""

    name: str
    keys: dict[str, str]
    """Modality -> key of its record; of those that it has."""
    where: str
    """Its split and country, as in ``train, Portugal``."""
    labels: tuple[str, ...]
    flags: tuple[str, ...]
    """The flags that are true of it."""


def identity_column(manifest: Manifest) -> str:
    """The column that names a row: that of the first modality's keys."""
    return key_column(next(iter(manifest.modalities.values())))


def has_column(store: Store, name: str) -> bool:
    """Whether the table has a column; none is read."""
    return name in table_columns(store.path, store.manifest)


def patch_columns(store: Store, target: str | None) -> list[str]:
    """The columns that `shown_patches` needs."""
    manifest = store.manifest
    columns = [identity_column(manifest)]
    for modality in manifest.modalities.values():
        columns += [key_column(modality), presence_column(modality.name)]
    columns += [manifest.split_column] if manifest.splits else []
    columns += [COUNTRY] if has_column(store, COUNTRY) else []
    columns += manifest.flagged.columns
    columns += [target] if target else []
    return list(dict.fromkeys(columns))


def shown_patches(manifest: Manifest, rows: RowsFound, target: str | None) -> list[ShownPatch]:
    """The patches of some rows, which have the columns of `patch_columns`."""
    return [_patch(manifest, rows.table.slice(n, 1), target) for n in range(len(rows))]


def _patch(manifest: Manifest, table: Any, target: str | None) -> ShownPatch:
    (row,) = table.to_pylist()
    keys = {
        modality.name: keys_in(modality, table[key_column(modality)])[0]
        for modality in manifest.modalities.values()
        if row[presence_column(modality.name)]
    }
    split = row.get(manifest.split_column) if manifest.splits else None
    return ShownPatch(
        name=str(row[identity_column(manifest)]),
        keys=keys,
        where=", ".join(str(one) for one in (split, row.get(COUNTRY)) if one is not None),
        labels=_labels(manifest, row.get(target) if target else None, target),
        flags=tuple(name for name in manifest.flagged.columns if row[name]),
    )


def _labels(manifest: Manifest, value: Any, target: str | None) -> tuple[str, ...]:
    """Labels as text: one, several, or the shares of classes that are there, largest first."""
    if value is None or target is None:
        return ()
    if not isinstance(value, list):
        return (str(value),)
    if value and all(isinstance(one, float) for one in value):
        shares = sorted(zip(value, manifest.classes[target], strict=False), reverse=True)
        return tuple(f"{name} {share:.0%}" for share, name in shares if share >= 0.005)
    return tuple(str(one) for one in value)
