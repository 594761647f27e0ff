"""Which columns a description may speak of: none of the store's own, none for two purposes."""

from collections.abc import Iterator
from dataclasses import replace

from patchpress.converter.descriptions.description import Description, Splits
from patchpress.converter.descriptions.strict import Section
from patchpress.readers.errors import DescriptionError
from patchpress.readers.format.split_names import STANDARD
from patchpress.readers.format.table import own_columns
from patchpress.readers.format.time_axis import time_columns

ROWS = "rows"  # beside the modalities, what a manifest counts in each split
SPLIT = "split"
"""The column with the split, if a description does not say otherwise."""


def with_splits_of_names(description: Description) -> Description:
    """The description; if it has no splits, but fills a column ``split``, that is the split."""
    if description.splits is None and any(
        SPLIT in modality.columns or (modality.sidecar and SPLIT in modality.sidecar.columns)
        for modality in description.modalities.values()
    ):
        return replace(description, splits=Splits(SPLIT, STANDARD))
    return description


def check_columns(description: Description, root: Section) -> None:
    """Refuse columns with names of the store's own, and columns that two things fill.

    Raises:
        DescriptionError: with the file and the key.
    """
    with_time = [name for name, modality in description.modalities.items() if modality.time]
    times = time_columns(with_time)
    own = (*own_columns(description.modalities), *times, *description.date_columns)
    if ROWS in description.modalities:
        raise root.error(f"modalities.{ROWS}", "needs another name: rows are counted under this")
    doubled = next((name for name in own if own.count(name) > 1), None)
    if doubled is not None:
        raise root.error(
            "modalities", f"has two names that would both make the column {doubled!r}: change one"
        )
    spellings: dict[str, str] = {}
    for key, column in _columns(description):
        if column.casefold() in map(str.casefold, own):
            problem = f"names {column!r}, a column that a store makes itself: call it otherwise"
            raise root.error(key, problem)
        same = spellings.setdefault(column.casefold(), column)
        if same != column:
            raise root.error(
                key, f"differs from the column {same!r} in case only: write them alike"
            )
    _check_fillers(description, root)
    _check_files(description, root)


def _columns(description: Description) -> Iterator[tuple[str, str]]:
    """(key of the description, column) for all columns that it speaks of."""
    for name, modality in description.modalities.items():
        path = f"modalities.{name}"
        yield f"{path}.key", modality.key_column
        for column in modality.columns:
            yield f"{path}.columns.{column}", column
        for column in modality.sidecar.columns if modality.sidecar else ():
            yield f"{path}.sidecar.columns.{column}", column
    for column in description.labels:
        yield f"labels.{column}", column
    for column in description.flags:
        yield f"flags.{column}", column
    if description.splits is not None:
        yield "splits.column", description.splits.column
        for column in description.splits.flagged:
            yield "splits.flagged", column
    for column in description.pairs.columns if description.pairs else ():
        yield f"pairs.columns.{column}", column


def _check_fillers(description: Description, root: Section) -> None:
    """Refuse a column that would be filled twice, or that is two things at once."""
    keys = {modality.key_column for modality in description.modalities.values()}
    filled: set[str] = set()
    for name, modality in description.modalities.items():
        sidecar = modality.sidecar.columns if modality.sidecar else {}
        path = f"modalities.{name}"
        for column in sidecar:
            if column in modality.columns:
                raise root.error(
                    f"{path}.sidecar.columns.{column}",
                    "is filled by the modality's columns, too: leave it out of one of them",
                )
        for where, columns in (("columns", modality.columns), ("sidecar.columns", sidecar)):
            if modality.key_column in columns:
                raise root.error(
                    f"{path}.{where}.{modality.key_column}",
                    "is the column of the modality's own names: leave it out",
                )
        filled |= {*modality.columns, *sidecar}
    for column, rule in description.labels.items():
        if column in keys:
            raise root.error(f"labels.{column}", "names patches, so it cannot hold labels")
        if rule.rule and column in filled:
            raise root.error(
                f"labels.{column}.rule", "is of a column that patches fill: leave it out"
            )
    others = keys | description.labels.keys()
    split = description.split_column
    if split in others | description.flags.keys():
        raise root.error("splits.column", f"names {split!r}, which holds something else")
    for column in description.flags:
        if column in others | filled:
            raise root.error(f"flags.{column}", "is a column that holds something else")
    if not description.tables:
        known = [*description.flags]
        for column in description.flag_columns:
            if column not in description.flags:
                raise root.error(
                    "splits.flagged",
                    f"names {column!r}, which neither a table nor [flags] has"
                    + (f"; there are {', '.join(known)}" if known else ""),
                )


def _check_files(description: Description, root: Section) -> None:
    """Refuse two files of one name, as `--path` would mean both."""
    lists = description.splits.lists if description.splits else {}
    pairs = ["pairs"] if description.pairs else []
    names = [*description.tables, *pairs, *lists, *description.flags]
    for name in names:
        if name in description.modalities:
            raise DescriptionError(
                f"{root.file}: a file is called as the modality {name!r}: "
                "give one of them another name"
            )
        if names.count(name) > 1:
            raise DescriptionError(
                f"{root.file}: two files are called {name!r} (a table, a list, a flag or pairs): "
                "give one of them another name"
            )
