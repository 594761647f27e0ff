"""Columns of a store's table as `datasets` has them: labels are numbers with names of classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from patchpress.converter.exports.hub_pixels import Feature
from patchpress.readers.errors import StoreDamaged

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class TableColumn:
    """A column of the table."""

    name: str
    kind: "pa.DataType"
    """In the file."""
    feature: Feature
    classes: tuple[str, ...] = ()
    """Names of classes whose numbers it has."""

    def values(self, column: "pa.ChunkedArray") -> "pa.ChunkedArray":
        """The store's values as the file has them.

        Raises:
            StoreDamaged: a label that is none of the classes.
        """
        import pyarrow as pa

        if not self.classes:
            return column.cast(self.kind)
        numbers = {name: number for number, name in enumerate(self.classes)}
        try:
            found = [_numbers(value, numbers) for value in column.to_pylist()]
        except KeyError as error:
            raise StoreDamaged(
                f"the table has the label {error.args[0]!r} in {self.name}, which is none of the "
                "manifest's classes: run `patchpress verify`"
            ) from None
        return pa.chunked_array([pa.array(found, self.kind)])


def _numbers(value: Any, numbers: Mapping[str, int]) -> Any:
    if isinstance(value, list):
        return [_numbers(one, numbers) for one in value]
    return None if value is None else numbers[value]


def table_columns(
    schema: "pa.Schema", classes: Mapping[str, Sequence[str]]
) -> tuple[list[TableColumn], list[str]]:
    """The columns that `datasets` has a type for, and the names of the others."""
    import pyarrow as pa

    found, others = [], []
    for field in schema:
        names, kind = tuple(classes.get(field.name, ())), field.type
        label: Feature = {"names": list(names), "_type": "ClassLabel"}
        if names and pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
            labels: Feature = {"feature": label, "_type": "List"}
            found.append(TableColumn(field.name, pa.list_(pa.int64()), labels, names))
            continue
        if names and pa.types.is_string(kind):
            found.append(TableColumn(field.name, pa.int64(), label, names))
            continue
        feature = feature_of(kind)
        if feature is None:
            others.append(field.name)
        else:
            found.append(TableColumn(field.name, kind, feature))
    return found, others


def feature_of(kind: "pa.DataType") -> Feature | None:
    """What `datasets` calls a type of Arrow; None if it has no such type."""
    import pyarrow.types as pt

    if pt.is_struct(kind):
        parts = {field.name: feature_of(field.type) for field in kind}
        return None if None in parts.values() else parts
    if pt.is_list(kind) or pt.is_fixed_size_list(kind):
        inner = feature_of(kind.value_type)
        if inner is None:
            return None
        length = {"length": kind.list_size} if pt.is_fixed_size_list(kind) else {}
        return {"feature": inner, **length, "_type": "List"}
    if pt.is_nested(kind) or pt.is_dictionary(kind):
        return None
    known = {
        "float": "float32",
        "double": "float64",
        "halffloat": "float16",
        "date32[day]": "date32",
    }
    name = str(kind)
    return {"dtype": known.get(name, name), "_type": "Value"}
