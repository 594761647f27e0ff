"""What a model is trained to predict: labels from the table, class indices from maps.

Only NumPy is imported at first; pyarrow when a column is read.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.choice import IGNORED, as_dtype
from patchpress.readers.errors import OptionError, StoreDamaged
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.modality import Modality

if TYPE_CHECKING:
    import pyarrow as pa

ORDERS = ("official", "alphabetical")
_UNKNOWN = np.iinfo(np.int64).min  # stands for a code that the class list does not know


def class_names(manifest: Manifest, column: str, order: str) -> tuple[str, ...]:
    """Names of the classes of a label column, by index.

    ``official`` is the order of the manifest, ``alphabetical`` that of the names by code point,
    which several published loaders use.

    Raises:
        OptionError: no such column of labels, or no such order.
    """
    if column not in manifest.classes:
        known = ", ".join(manifest.classes) or "none"
        if column in manifest.numbers:
            raise OptionError(f"{column!r} is a number and has no classes; columns with: {known}")
        raise OptionError(f"the store has no labels {column!r}; label columns there: {known}")
    check_class_order(order)
    names = manifest.classes[column]
    return tuple(sorted(names)) if order == "alphabetical" else names


def check_class_order(order: str) -> None:
    """Refuse a class order that is none of `ORDERS`.

    Raises:
        OptionError: it is none.
    """
    if order not in ORDERS:
        raise OptionError(f"there is no class order {order!r}; choose {' or '.join(ORDERS)}")


def label_array(
    values: "pa.ChunkedArray",
    official: Sequence[str],
    names: Sequence[str],
    dtype: Any = None,
) -> npt.NDArray[Any]:
    """A label column as an array with one row a patch, classes in the order of `names`.

    Lists of names become multi-hot (rows, classes) float32. One name becomes its index, (rows,)
    int64, or `IGNORED` if the row has none. The part of the patch that each class covers, which a
    table gives in the `official` order, becomes (rows, classes) float32. In lists and parts a row
    without labels is all zeros: see `without_labels`.

    Args:
        values: the column.
        official: names of the classes in the order of the manifest.
        names: the same in the order wanted.
        dtype: of the array, if another is wanted.

    Raises:
        StoreDamaged: a label that is none of the classes, or parts of another number of classes.
        OptionError: a dtype that does not hold every label.
    """
    import pyarrow.compute as pc

    if not _is_list(values.type):
        index, valid = _indices(values, names)
        single = np.full(len(values), IGNORED, _label_dtype(dtype, np.arange(len(names))))
        single[valid] = index
        return single
    if has_parts(values):
        return _parts(values, official, names).astype(
            _label_dtype(dtype, np.array([0.5], np.float32))
        )
    rows = pc.list_parent_indices(values).to_numpy()
    index, valid = _indices(pc.list_flatten(values), names)
    hot = np.zeros((len(values), len(names)), _label_dtype(dtype, np.array([0, 1], np.float32)))
    hot[rows[valid], index] = 1
    return hot


def number_array(values: "pa.ChunkedArray", dtype: Any = None) -> npt.NDArray[Any]:
    """A column of numbers to be predicted, (rows,) float32; NaN if a row has none.

    Args:
        values: the column.
        dtype: of the array, if another is wanted.

    Raises:
        OptionError: a dtype that does not hold every number.
        StoreDamaged: the table has something else in the column.
    """
    import pyarrow as pa

    try:
        found: npt.NDArray[Any] = values.cast(pa.float32()).to_numpy()
    except pa.ArrowException:
        raise StoreDamaged(
            f"the table has {values.type} in a column of numbers: run `patchpress verify`"
        ) from None
    if dtype is None:
        return found
    wanted = as_dtype(dtype)
    if wanted.kind not in "biuf" or not np.array_equal(found.astype(wanted), found, equal_nan=True):
        raise OptionError(f"label_dtype {dtype!r} does not hold these numbers: leave it out")
    cast: npt.NDArray[Any] = found.astype(wanted)
    return cast


def without_labels(values: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """For each row of a label column whether it has no label at all.

    An empty list of names is a label: the patch has none of the classes. An empty list of parts is
    none.
    """
    import pyarrow.compute as pc

    missing = pc.is_null(values, nan_is_null=True)
    if has_parts(values):
        missing = pc.or_(missing, pc.fill_null(pc.equal(pc.list_value_length(values), 0), False))
    return missing


def has_parts(values: "pa.ChunkedArray") -> bool:
    """Whether a label column has the part of the patch that each class covers."""
    import pyarrow as pa

    return _is_list(values.type) and bool(pa.types.is_floating(values.type.value_type))


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _label_dtype(asked: Any, examples: npt.NDArray[Any]) -> np.dtype[Any]:
    """The dtype asked for, which must hold the examples; theirs for None."""
    if asked is None:
        return examples.dtype
    wanted = as_dtype(asked)
    if wanted.kind not in "biuf" or not np.array_equal(examples.astype(wanted), examples):
        what = "parts of a patch" if examples.dtype.kind == "f" and 0.5 in examples else "labels"
        raise OptionError(f"label_dtype {asked!r} does not hold these {what}: leave it out")
    return wanted


def _indices(values: Any, names: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
    """(the class index of each value that is no null, which values are no null)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    index = pc.index_in(values.cast(pa.string()), value_set=pa.array(names, pa.string()))
    unknown = pc.and_(pc.is_null(index), pc.is_valid(values))
    if pc.any(unknown).as_py():
        name = values.filter(unknown)[0].as_py()
        raise StoreDamaged(
            f"the table has the label {name!r}, which is none of the manifest's classes: run "
            "`patchpress verify`"
        )
    valid = pc.is_valid(values).to_numpy(zero_copy_only=False)
    return pc.drop_null(index).to_numpy().astype(np.int64), np.asarray(valid, bool)


def _parts(values: Any, official: Sequence[str], names: Sequence[str]) -> npt.NDArray[np.float32]:
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy()
    if not np.isin(lengths, (0, len(official))).all():
        raise StoreDamaged(
            f"the table has {lengths.max()} parts of {len(official)} classes: run "
            "`patchpress verify`"
        )
    parts = np.zeros((len(values), len(official)), np.float32)
    parts[lengths > 0] = pc.list_flatten(values).to_numpy().reshape(-1, len(official))
    return parts[:, [official.index(name) for name in names]]


class CodeTable:
    """Turns codes of a map into class indices: one look into a table for each pixel."""

    def __init__(
        self, modality: Modality, manifest: Manifest, column: str, order: str, ignore_index: int
    ) -> None:
        """Build the table of all codes from the lowest to the highest.

        Raises:
            OptionError: the map's codes are no classes of that column, or the ignore index is one
                of the classes.
        """
        if column not in modality.codes:
            known = ", ".join(modality.codes) or "none: convert again, or read the codes themselves"
            raise OptionError(
                f"the codes of {modality.name!r} are no classes of {column!r}; they are of {known}"
            )
        self.column = column
        self.names = class_names(manifest, column, order)
        if (
            not isinstance(ignore_index, (int, np.integer))
            or not _UNKNOWN < ignore_index < -_UNKNOWN
        ):
            raise OptionError(
                f"the ignore index must be a whole number (an int64), not {ignore_index!r}"
            )
        if 0 <= ignore_index < len(self.names):
            raise OptionError(
                f"the ignore index {ignore_index} is the class {self.names[ignore_index]!r}: "
                f"choose a negative one, or {len(self.names)} and above"
            )
        self.ignored = int(ignore_index)
        official = manifest.classes[column]
        codes = {int(code): index for code, index in modality.codes[column].items()}
        self._lowest = min(codes)
        # One entry more at each end, to which codes below the lowest and above the highest fall.
        self._table = np.full(max(codes) - self._lowest + 3, _UNKNOWN, np.int64)
        for code, index in codes.items():
            found = ignore_index if index is None else self.names.index(official[index])
            self._table[code - self._lowest + 1] = found

    def apply(
        self, codes: npt.NDArray[Any], out: npt.NDArray[np.int64], keys: Sequence[str]
    ) -> None:
        """Class indices of maps: codes (N, height, width) to `out` (N, height, width) int64.

        A code that the class list has without a class becomes the ignore index.

        Raises:
            StoreDamaged: a code that the class list does not know; the message names the record.
        """
        np.subtract(codes, self._lowest - 1, out=out, dtype=np.int64)
        # NumPy reads each index before it writes the result there, so one array serves both.
        np.take(self._table, out, out=out, mode="clip")
        if out.min(initial=0) == _UNKNOWN:
            at = tuple(int(n) for n in np.argwhere(out == _UNKNOWN)[0])
            raise StoreDamaged(
                f"the map {keys[at[0]]!r} has the code {codes[at]}, which its class list does not "
                "know: run `patchpress verify`"
            )
