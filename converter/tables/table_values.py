"""Labels and splits in a published table: unknown ones are refused, others get canonical names.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.labels import canonical_label
from patchpress.converter.tables.arrow import is_string, is_string_list
from patchpress.readers.errors import TableError
from patchpress.readers.format.split_names import known_split
from patchpress.readers.hints import hint

if TYPE_CHECKING:
    import pyarrow as pa

Spellings = Mapping[str, Mapping[str, str | None]]
"""Column of labels or splits -> spelling in the tables -> canonical name, for those that differ."""


def canonical_splits(description: Description, path: Path, group: "pa.Table") -> Spellings:
    """The spellings in the split column that are not the description's, and what they become.

    An empty text is no split.

    Raises:
        TableError: a split that the description does not have.
    """
    import pyarrow.compute as pc

    if description.splits is None or description.splits.column not in group.column_names:
        return {}
    column, known = description.splits.column, description.splits.names
    spellings: dict[str, str | None] = {}
    for split in pc.unique(group[column]).drop_null().to_pylist():
        name = known_split(split, known)
        if name is None and split.strip():
            patch = _first_with(description, group, column, split)
            raise TableError(
                f"{path} gives patch {patch} the split {split!r}, which is unknown; "
                f"{hint(split, known)}"
            )
        if name != split:
            spellings[split] = name
    return {column: spellings} if spellings else {}


def canonical_labels(description: Description, path: Path, group: "pa.Table") -> Spellings:
    """The spellings in the label columns that are not canonical, and what they become.

    Raises:
        TableError: a label that the description does not have.
    """
    import pyarrow.compute as pc

    spellings: dict[str, dict[str, str | None]] = {}
    for column, rule in description.labels.items():
        if column not in group.column_names:
            continue
        cells = group[column]
        if not is_string(cells.type) and not is_string_list(cells.type):
            continue  # shares of classes, or a number to be predicted
        labels = cells if is_string(cells.type) else pc.list_flatten(cells)
        for label in pc.unique(labels).drop_null().to_pylist():
            try:
                name = canonical_label(rule, label)
            except TableError as error:
                patch = _first_with(description, group, column, label)
                raise TableError(f"{path}, patch {patch}: {error}") from None
            if name != label:
                spellings.setdefault(column, {})[label] = name
    return spellings


def _first_with(description: Description, group: "pa.Table", column: str, value: str) -> str:
    """The first patch that has a value in a column, as its cell or in its cell's list."""
    rows = zip(group[description.identity].to_pylist(), group[column].to_pylist(), strict=True)
    return next(
        str(name)
        for name, cell in rows
        if cell == value or (isinstance(cell, list) and value in cell)
    )


def with_canonical_names(group: "pa.Table", spellings: Spellings) -> "pa.Table":
    """Rows whose labels and splits have their canonical names."""
    import pyarrow as pa

    for column, names in spellings.items():
        if column in group.column_names:
            at = group.schema.get_field_index(column)
            field = group.schema.field(at)
            cells = [_renamed(cell, names) for cell in group[column].to_pylist()]
            group = group.set_column(at, field, pa.array(cells, field.type))
    return group


def _renamed(cell: Any, names: Mapping[str, str | None]) -> Any:
    if isinstance(cell, list):
        return [names.get(label, label) for label in cell]
    return names.get(cell, cell)
