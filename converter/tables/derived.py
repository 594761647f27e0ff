"""Columns that follow from others or from official lists: labels, splits, flags."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.descriptions.classes import load_class_list
from patchpress.converter.descriptions.description import Description, Splits
from patchpress.converter.tables import splits as rules
from patchpress.converter.tables.lists import read_list
from patchpress.readers.errors import OptionError, TableError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """How patches are split: `official`, `geographic` or `none`, and a drawn validation part."""

    strategy: str = "official"
    validation: float = 0.0
    """Share of the training rows that become validation rows, group by group."""
    seed: int = 0


@dataclass
class Enriched:
    """The rows with all columns that are not counts of pixels, and what the lists lacked."""

    table: "pa.Table"
    listed_without_pixels: dict[str, list[str]] = field(default_factory=dict)
    """List -> names in it that have no pixels here."""


def check_split_options(description: Description, choice: SplitOptions) -> None:
    """Refuse a strategy that the description has no rule for.

    Raises:
        OptionError: the message says what there is.
    """
    splits, name = description.splits, description.dataset.name
    if choice.strategy == "geographic" and (splits is None or not splits.position):
        raise OptionError(
            f"--split geographic needs a tile grid, which {name} does not have: "
            "choose official or none"
        )
    if choice.validation and (splits is None or not splits.group):
        raise OptionError(
            f"--validation needs groups of patches, which {name} does not describe: leave it out"
        )
    if not 0 <= choice.validation < 1:
        raise OptionError(f"--validation must be a share from 0 to 1, not {choice.validation}")


def enrich(
    description: Description, rows: "pa.Table", lists: Mapping[str, Path], choice: SplitOptions
) -> Enriched:
    """Add mapped labels, splits and flags.

    Raises:
        TableError: a patch in two splits, a list that cannot be read, a name without a position.
    """
    result = Enriched(_mapped_labels(description, rows))
    if description.splits is not None:
        _split(description, description.splits, result, lists, choice)
    for column in description.flags:
        if column in lists:
            _flag(description, result, column, read_list(lists[column]))
    result.table = _ordered(description, result.table)
    return result


def _mapped_labels(description: Description, rows: "pa.Table") -> "pa.Table":
    """Label columns that follow from others, class by class; labels without a class fall away."""
    import pyarrow as pa

    for rule in description.labels.values():
        if rule.rule != "mapped" or rule.source not in rows.column_names:
            continue
        source = description.labels[rule.source]
        target = load_class_list(rule.class_list)
        mapping = load_class_list(source.class_list).mapping_to(target)
        cache: dict[tuple[str, ...], list[str]] = {}
        mapped: list[list[str] | None] = []
        for labels in rows[rule.source].to_pylist():
            if labels is None:
                mapped.append(None)
                continue
            names = tuple(labels)
            if names not in cache:
                cache[names] = sorted({new for n in names if (new := mapping[n]) is not None})
            mapped.append(cache[names])
        rows = rows.append_column(rule.column, pa.array(mapped, pa.list_(pa.string())))
    return rows


def _split(
    description: Description,
    splits: Splits,
    result: Enriched,
    lists: Mapping[str, Path],
    choice: SplitOptions,
) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = result.table
    names = rows[description.identity].combine_chunks()
    values: pa.Array | None = None
    official = {s: read_list(lists[s]) for s in splits.lists if s in lists}
    if choice.strategy == "none":
        if splits.column in rows.column_names:
            result.table = rows.drop_columns([splits.column])
        return
    if choice.strategy == "geographic":
        values = rules.by_position(names, splits.position, splits.tile_m, splits.patch_m)
        if splits.column in rows.column_names:
            # A record that no official row names stays without a split, as it has no labels.
            known = pc.is_valid(rows[splits.column].combine_chunks())
            values = pc.if_else(known, values, pa.scalar(None, pa.string()))
    elif splits.column in rows.column_names:
        values = rows[splits.column].combine_chunks()
    elif official:
        suffix = splits.list_suffix
        cut = {s: [n.removesuffix(suffix) for n in listed] for s, listed in official.items()}
        found = rules.by_lists(names, cut)
        values = found.splits
        result.listed_without_pixels |= {s: list(n) for s, n in found.absent.items() if n}
    elif splits.hold_out:
        values = rules.hold_out(_groups(names, splits.group), splits.hold_out)
    if values is None:
        return
    if choice.validation:
        groups = _groups(names, splits.group)
        values = rules.draw_validation(values, groups, choice.validation, choice.seed)
    result.table = set_column(rows, splits.column, values)


def _groups(names: "pa.Array", pattern: str) -> "pa.Array":
    """The group of each patch, which no split may part.

    Raises:
        TableError: a name that has none.
    """
    import pyarrow.compute as pc

    found = pc.extract_regex(names, pattern)
    if found.null_count:
        name = names.filter(pc.is_null(found))[0].as_py()
        raise TableError(f"patch {name} names no group: its split cannot be drawn")
    return found.field("group")


def _flag(description: Description, result: Enriched, column: str, listed: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    names = result.table[description.identity].combine_chunks()
    flagged = pa.array(listed, pa.string())
    result.table = set_column(result.table, column, pc.is_in(names, value_set=flagged))
    absent = flagged.filter(pc.invert(pc.is_in(flagged, value_set=names))).to_pylist()
    if absent:
        result.listed_without_pixels[column] = absent


def set_column(rows: "pa.Table", column: str, values: "pa.Array") -> "pa.Table":
    """Replace a column at its place, or append it."""
    if column in rows.column_names:
        return rows.set_column(rows.schema.get_field_index(column), column, values)
    return rows.append_column(column, values)


def _ordered(description: Description, rows: "pa.Table") -> "pa.Table":
    """Official tables keep their order; built rows get that of the official ones elsewhere."""
    if description.tables:
        return rows
    split = [description.split_column] if description.split_column else []
    first = [description.identity, *description.labels, *split]
    known = [column for column in first if column in rows.column_names]
    return rows.select(known + [c for c in rows.column_names if c not in known])
