"""Several stores of one dataset as one: whether they fit together, and what the whole has."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np

from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.text import first_few, several
from patchpress.converter.transfer.joined_table import JoinedTable, join_tables
from patchpress.converter.transfer.plan import (
    COPIED,
    OF_ANOTHER_PROGRAM,
    CopyPlan,
    Options,
    columns_of_counts,
    counted,
    described,
    shards_of,
)
from patchpress.converter.transfer.records import StoredRecords, joined, records_of
from patchpress.converter.transfer.source_store import SourceStore
from patchpress.readers.errors import DescriptionError, OptionError
from patchpress.readers.format.manifest import OTHER_VALUES, Flagged, Manifest
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.split_names import STANDARD
from patchpress.readers.format.table import key_column

MERGED = "merged"
"""The option of a manifest that says of how many stores it was merged."""


def plan_merge(sources: Sequence[SourceStore], shards: int | None) -> CopyPlan:
    """What the store has that several are joined to.

    Args:
        sources: stores of one dataset, stored alike; each may have other patches, or other
            modalities of the same ones.
        shards: how many; for None as all sources have them, or one data file if they differ.

    Raises:
        OptionError: they do not fit together; the message says what differs.
        StoreDamaged: one of them is.
    """
    _require_same_dataset(sources)
    description = _built_in(sources[0].manifest)
    modalities = _all_modalities(sources, description)
    identity = _identity(sources, description, modalities)
    table = join_tables(sources, modalities, identity)
    records, repeated = _all_records(sources, table, modalities)
    kept = list(modalities.values())
    splits = _splits(sources, description)
    joined_manifest = _joined_manifest(sources)
    needed = columns_of_counts(joined_manifest, kept)
    counts = table.columns(name for name in needed if name in table.schema.names)
    manifest = described(joined_manifest, counts, kept, splits, _options(sources))
    numbers = {shards_of(source.manifest) for source in sources}
    same = numbers.pop() if len(numbers) == 1 else 0
    notes = [*table.notes]
    if repeated:
        notes.append(
            f"{several(repeated, 'record')} in more than one store, with the same checksum: stored "
            "once"
        )
    if numbers and shards is None:
        notes.append("the stores have different numbers of shards: they become one data file")
    if any(source.manifest.options.get("block") for source in sources):
        notes.append(
            "each store drew its splits from its own blocks of ground, so one block may be in two "
            "splits: `patchpress index` with --split geographic draws them anew"
        )
    for source in sources:
        if source.other_values:
            notes.append(
                f"{source.other_values:,} values of {source.name} that are no records are not "
                "copied"
            )
    for source in sources:
        source.give_up_tables()
    return CopyPlan(
        sources=sources,
        modalities=counted(kept, records.modality),
        pickers={},
        records=records,
        make_table=table.columns,
        manifest=manifest,
        shards=same if shards is None else shards,
        notes=notes,
    )


def _require_same_dataset(sources: Sequence[SourceStore]) -> None:
    first = sources[0]
    for other in sources[1:]:
        one, two = first.manifest, other.manifest
        for field in fields(one.dataset):
            ours, theirs = getattr(one.dataset, field.name), getattr(two.dataset, field.name)
            if ours != theirs:
                raise _differ(first, other, f"the {field.name} of the dataset", ours, theirs)
        for column in one.classes.keys() & two.classes.keys():
            if one.classes[column] != two.classes[column]:
                raise _differ(
                    first,
                    other,
                    f"the classes of {column!r}",
                    first_few(one.classes[column]),
                    first_few(two.classes[column]),
                )
        if one.splits and two.splits and one.split_column != two.split_column:
            raise _differ(first, other, "the column of splits", one.split_column, two.split_column)


def _differ(
    first: SourceStore, other: SourceStore, what: str, ours: object, theirs: object
) -> OptionError:
    return OptionError(
        f"{first.name} and {other.name} do not fit together: {what} is {ours} there, and {theirs} "
        "here; convert one of them again with the same options, or leave it out"
    )


def _built_in(manifest: Manifest) -> Description | None:
    """The description of the dataset, if it is one that comes with this package."""
    try:
        return find_description(manifest.dataset.name)
    except DescriptionError:
        return None


def _all_modalities(
    sources: Sequence[SourceStore], description: Description | None
) -> dict[str, Modality]:
    """All modalities of some stores, in the order of the dataset.

    Raises:
        OptionError: two stores have one that is stored in different ways.
    """
    found: dict[str, tuple[SourceStore, Modality]] = {}
    for source in sources:
        for name, modality in source.manifest.modalities.items():
            first, before = found.setdefault(name, (source, modality))
            for field in fields(Modality):
                ours, theirs = getattr(before, field.name), getattr(modality, field.name)
                if field.name != "records" and ours != theirs:
                    what = f"{field.name} of {name}"
                    raise _differ(first, source, what, _shown(ours), _shown(theirs))
    known = list(description.modalities) if description else []
    order = sorted(found, key=lambda n: known.index(n) if n in known else len(known))
    return {name: found[name][1] for name in order}


def _shown(value: object) -> str:
    if isinstance(value, tuple) and value:
        names = [getattr(one, "name", str(one)) for one in value]
        shapes = {getattr(one, "shape", None) for one in value}
        return ", ".join(names) + (f" {sorted(shapes, key=str)}" if None not in shapes else "")
    if isinstance(value, Mapping):
        return f"a table of {len(value)}"
    return str(getattr(value, "codec", value))


def _identity(
    sources: Sequence[SourceStore],
    description: Description | None,
    modalities: Mapping[str, Modality],
) -> str:
    """The column that names a row."""
    name = description.identity if description else key_column(next(iter(modalities.values())))
    for source in sources:
        if name not in source.schema.names:
            raise OptionError(
                f"{source.name} has no column {name!r} that tells its patches from those of "
                "others: merge stores that have it"
            )
    return name


def _all_records(
    sources: Sequence[SourceStore], table: JoinedTable, modalities: Mapping[str, Modality]
) -> tuple[StoredRecords, int]:
    """The records of all stores, each once; and how many more copies there are of some.

    Raises:
        OptionError: two stores have different records of one name.
    """
    kept = list(modalities.values())
    parts = []
    for number, source in enumerate(sources):
        parts.append(records_of(source, number, source.columns, table.row_of[number], kept))
        source.give_up_tables()  # where its records lie is known now
    records = joined(parts)
    again = np.zeros(len(records), bool)
    again[1:] = records.keys[1:] == records.keys[:-1]
    other = again.copy()
    other[1:] &= records.checksum[1:] != records.checksum[:-1]
    if other.any():
        at = int(np.flatnonzero(other)[0])
        one, two = (sources[records.source[i]].name for i in (at - 1, at))
        raise OptionError(
            f"{one} and {two} have different records {bytes(records.keys[at]).decode()!r} "
            f"({several(int(other.sum()), 'such name')}): leave one of the stores out, or copy it "
            "without these patches"
        )
    if not again.any():
        return records, 0  # a copy would take as much memory again
    return records.at(~again), int(again.sum())


def _splits(sources: Sequence[SourceStore], description: Description | None) -> list[str]:
    """The splits of all stores, in the order of the dataset."""
    found = list(dict.fromkeys(name for source in sources for name in source.manifest.splits))
    known = list(description.split_names) if description else []
    known += [name for name in STANDARD if name not in known]
    return sorted(found, key=lambda n: known.index(n) if n in known else len(known))


def _joined_manifest(sources: Sequence[SourceStore]) -> Manifest:
    manifests = [source.manifest for source in sources]
    classes = {
        column: names for one in reversed(manifests) for column, names in one.classes.items()
    }
    first = next((one for one in manifests if one.splits), manifests[0])
    order = dict.fromkeys(column for one in manifests for column in one.classes)
    flags = dict.fromkeys(column for one in manifests for column in one.flagged.columns)
    return replace(
        manifests[0],
        classes={column: classes[column] for column in order},
        numbers=tuple(dict.fromkeys(column for one in manifests for column in one.numbers)),
        target=next((one.target for one in manifests if one.target is not None), None),
        split_column=first.split_column,
        flagged=Flagged(tuple(flags)),
    )


def _options(sources: Sequence[SourceStore]) -> Options:
    """The options that all stores have alike, how many they are, and whether some were parts."""
    first, *others = (source.manifest.options for source in sources)
    parts = sum(COPIED in one or one.get("limit") is not None for one in (first, *others))
    left = {COPIED, OTHER_VALUES, MERGED, *OF_ANOTHER_PROGRAM}
    alike = {
        name: value
        for name, value in first.items()
        if name not in left and all(name in one and one[name] == value for one in others)
    }
    # Then nobody can tell whether the whole is there.
    partial = {COPIED: f"parts of stores: {parts:,}"} if parts else {}
    return {**alike, **partial, MERGED: len(sources)}
