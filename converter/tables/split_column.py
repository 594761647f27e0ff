"""The split column of the rows: which rule applies, by the description, the source and options.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.converter.block_options import BlockRule
from patchpress.converter.descriptions.column_checks import SPLIT
from patchpress.converter.descriptions.description import Description, Splits
from patchpress.converter.tables.arrow import one_array
from patchpress.converter.tables.block_split import leaks_told, split_by_blocks
from patchpress.converter.tables.draw import draw_validation
from patchpress.converter.tables.listed_names import listed_names
from patchpress.converter.tables.open_tables import names_of_rows
from patchpress.converter.tables.patch_places import GroundPlaces
from patchpress.converter.tables.row_splits import same_lists, split_by_rows
from patchpress.converter.tables.splits import (
    TRAIN,
    VALIDATION,
    split_by_groups,
    split_by_lists,
    split_by_position,
)
from patchpress.readers.errors import OptionError, TableError
from patchpress.readers.format.split_names import STANDARD

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SplitOptions:
    """How rows are split."""

    strategy: str = "official"
    """``official``, ``geographic`` or ``none``."""
    validation: float = 0.0
    """Share of the train rows that become validation rows, in whole groups."""
    seed: int = 0
    """Decides which groups these are."""
    blocks: BlockRule | None = None
    """How ``geographic`` splits by blocks of ground; None for the position in the tile."""


@dataclass(frozen=True, slots=True)
class SplitColumn:
    """The split of each row, and the listed names that have no row."""

    values: "pa.Array | None"
    """Strings, null for a row in no split; None if nothing says how to split the rows."""
    absent: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Split -> names of its list that have no row."""
    notes: list[str] = field(default_factory=list)
    """A sentence for each list of which not all is read as it stands there."""


def check_split_options(description: Description, options: SplitOptions) -> None:
    """Refuse a strategy for which the description has no rule.

    Raises:
        OptionError: the message says what there is.
    """
    splits, name = description.splits, description.dataset.name
    needs_grid = options.strategy == "geographic" and options.blocks is None
    if needs_grid and (splits is None or not splits.position):
        raise OptionError(
            f"--split geographic needs a tile grid, which {name} does not have: give blocks of "
            "ground, --block 10km, or choose official or none"
        )
    if options.validation and (splits is None or not splits.group):
        raise OptionError(
            f"--validation needs groups of patches, which {name} does not describe: leave it out"
        )
    lacking = [name for name in (TRAIN, VALIDATION) if splits and name not in splits.names]
    if options.validation and lacking:
        raise OptionError(
            f"--validation needs the split {lacking[0]!r}, which {name} does not name"
        )
    if not 0 <= options.validation < 1:
        raise OptionError(f"--validation must be a share from 0 to 1, not {options.validation}")


def with_standard_splits(description: Description) -> Description:
    """The description with the three splits that blocks of ground make, whatever it says."""
    splits = description.splits or Splits(SPLIT, STANDARD)
    return replace(description, splits=replace(splits, names=STANDARD))


def split_column(
    description: Description,
    splits: Splits,
    rows: "pa.Table",
    files: Mapping[str, Path],
    options: SplitOptions,
    *,
    places: Callable[[], GroundPlaces],
    is_part: bool = False,
) -> SplitColumn:
    """The split of each row.

    Args:
        description: of the data set.
        splits: the description's splits.
        rows: the rows, with the official split column if the tables have one.
        files: part name -> file, for the lists.
        options: the strategy, and the validation rows to draw.
        places: gives where the patches lie, for a split by blocks of ground.
        is_part: whether the rows are some of the source, so that lists may have none of them.

    Raises:
        SourceMissing, TableError: a list that cannot be read, lists that have no patch of the
            source, a patch in two splits, or a name without a position or group.
    """
    if options.strategy == "none":
        _log.info("splits: none, as asked")
        return SplitColumn(None)
    names = one_array(rows[description.identity])
    if options.blocks is not None:
        _log.info("splits: by blocks of ground of %s km, as asked", options.blocks.km)
        groups = patch_groups(names, splits.group) if splits.group else None
        where = places()
        found = split_by_blocks(where, groups, options.blocks)
        notes = [*found.notes, *leaks_told(where, rows, splits.column, found.values)]
        return SplitColumn(found.values, notes=notes)
    lists = {split: files[split] for split in splits.lists if split in files}
    if lists and options.strategy == "official" and splits.column not in rows.column_names:
        _log.info("splits: the lists of %s; there is no table with splits", ", ".join(lists))
        if splits.rows_of:
            column = _by_rows(description, splits, names, lists, files)
        else:
            column = _by_lists(description, splits, names, lists, is_part=is_part)
    else:
        column = _by_rule(splits, rows, names, options.strategy)
    if column.values is None or not options.validation:
        return column
    _log.info("splits: %s of the train rows become validation rows", options.validation)
    values = draw_validation(
        column.values, patch_groups(names, splits.group), options.validation, options.seed
    )
    return replace(column, values=values)


def _by_rule(splits: Splits, rows: "pa.Table", names: "pa.Array", strategy: str) -> SplitColumn:
    """The split of each row by the first rule that applies and needs no list."""
    official = None
    if splits.column in rows.column_names:
        official = one_array(rows[splits.column])
    if strategy == "geographic":
        _log.info("splits: by the position of each patch in its tile, as asked")
        values = split_by_position(names, splits.position, splits.tile_m, splits.patch_m)
        return SplitColumn(values if official is None else _where_known(official, values))
    if official is not None:
        _log.info("splits: column %s of the official tables", splits.column)
        return SplitColumn(official)
    if splits.hold_out or splits.validation:
        _log.info("splits: by the groups held out; there is no table with splits and no list")
        groups = patch_groups(names, splits.group)
        return SplitColumn(split_by_groups(groups, splits.hold_out, splits.validation))
    _log.info("splits: none; the source has no table with splits, and no list")
    return SplitColumn(None)


def _where_known(official: "pa.Array", values: "pa.Array") -> "pa.Array":
    """The values in rows that have an official split.

    A record that no official row names gets no split, as it gets no labels.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(pc.is_valid(official), values, pa.scalar(None, pa.string()))


def _by_rows(
    description: Description,
    splits: Splits,
    names: "pa.Array",
    lists: Mapping[str, Path],
    files: Mapping[str, Path],
) -> SplitColumn:
    """The split of each row by lists of numbers of rows of a table."""
    rows = names_of_rows(description, splits.rows_of, splits.first_row, files)
    found, notes = split_by_rows(names, rows, lists)
    if found is None:
        return SplitColumn(None, notes=notes)
    return SplitColumn(found.splits, found.absent, notes)


def _by_lists(
    description: Description,
    splits: Splits,
    names: "pa.Array",
    lists: Mapping[str, Path],
    *,
    is_part: bool,
) -> SplitColumn:
    """The split of each row by lists.

    Raises:
        TableError: none of them has a patch of the source, though the rows are all that it has.
    """
    found = {
        split: listed_names(description, path, names, splits.list_suffix, split)
        for split, path in lists.items()
    }
    if notes := same_lists({split: listed.names for split, listed in found.items()}, lists):
        return SplitColumn(None, notes=notes)
    if len(names) and not is_part and not any(listed.matched for listed in found.values()):
        files = ", ".join(str(path) for path in lists.values())
        first = next(iter(found.values())).names[0]
        raise TableError(
            f"no patch of the source is in {files}: a name there is {first!r}, and in the source "
            f"{names[0].as_py()!r}; give the right lists with --path, or --split none"
        )
    by_lists = split_by_lists(names, {split: listed.names for split, listed in found.items()})
    return SplitColumn(
        by_lists.splits,
        {split: list(absent) for split, absent in by_lists.absent.items()},
        [note for listed in found.values() for note in listed.notes],
    )


def patch_groups(names: "pa.Array", pattern: str) -> "pa.Array":
    """The group of each patch, which no split divides, from its name; strings.

    Args:
        names: strings.
        pattern: a regular expression (RE2) with a group ``group``.

    Raises:
        TableError: a name that has no group.
    """
    import pyarrow.compute as pc

    found = pc.extract_regex(names, pattern)
    if found.null_count:
        name = names.filter(pc.is_null(found))[0].as_py()
        raise TableError(f"patch {name} names no group: its split cannot be drawn")
    return found.field("group")
