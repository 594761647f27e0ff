"""What labels and rows of samples tell without a pixel: counts, weights, shares and folds."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from patchpress.readers import subsets, weights
from patchpress.readers.columns import read_columns
from patchpress.readers.errors import OptionError, SelectionEmpty
from patchpress.readers.format.table import BOUNDS
from patchpress.readers.ground import blocks
from patchpress.readers.hints import hint
from patchpress.readers.images import Field
from patchpress.readers.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Label:
    """The label column of some samples, in memory."""

    column: str
    names: tuple[str, ...]
    """The classes by index."""
    field: Field
    values: Array
    """(samples,) or (samples, classes)."""


class SampleParts(ABC):
    """Samples with labels in memory, of which parts can be taken."""

    store: Store
    row_numbers: npt.NDArray[np.int64]
    """Position in metadata.parquet of the row of each sample."""
    _label: Label | None

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by index."""

    @abstractmethod
    def subset(self, indices: Sequence[int] | Array) -> Self:
        """Some of these samples, in the order of the indices."""

    def __len__(self) -> int:
        return len(self.row_numbers)

    @property
    def table_digest(self) -> str:
        """Of the table that `row_numbers` are positions in, as the manifest has it."""
        return self.store.manifest.metadata_digest

    @property
    def labels(self) -> Array:
        """The labels of all samples, (samples, classes) or (samples,), read-only.

        Raises:
            OptionError: these samples have no label.
        """
        values = self._label_of("labels").values.view()
        values.flags.writeable = False
        return values

    def _label_of(self, what: str) -> Label:
        if self._label is None:
            known = ", ".join(self.store.manifest.targets)
            way_out = f"name a label column in target (there: {known})"
            raise OptionError(
                f"these samples have no label, so there are no {what}: "
                + (way_out if known else "the store has no column of labels")
            )
        return self._label

    def class_counts(self) -> npt.NDArray[np.int64]:
        """How many samples have each class, (classes,), in the order of `classes`.

        Of labels that are parts of a patch, those samples count in which the class has any part.

        Raises:
            OptionError: these samples have no label; so do all functions of labels.
        """
        return weights.class_counts(self._hot("class counts"))

    def pos_weight(self) -> npt.NDArray[np.float32]:
        """Samples without a class for each with it, (classes,): for `BCEWithLogitsLoss`."""
        return weights.pos_weight(self._hot("weights"))

    def class_weight(self) -> npt.NDArray[np.float32]:
        """Weights that make all classes count alike, (classes,): for `CrossEntropyLoss`."""
        return weights.class_weight(self._hot("weights"))

    def sample_weights(self) -> npt.NDArray[np.float64]:
        """One by the frequency of each sample's rarest class, (samples,).

        For torch's `WeightedRandomSampler`, which a loader takes as its `sampler`.
        """
        return weights.sample_weights(self._hot("weights"))

    def _hot(self, what: str) -> npt.NDArray[np.bool_]:
        label = self._label_of(what)
        if not label.names:
            known = ", ".join(self.store.manifest.classes)
            way_out = (
                f"name a column of classes in target (there: {known})"
                if known
                else ("the store has no column of classes")
            )
            raise OptionError(
                f"there are no {what} of {label.column!r}, which is a number: {way_out}"
            )
        return subsets.multi_hot(label.values, len(self), len(label.names))

    def _hot_if_labelled(self) -> npt.NDArray[np.bool_]:
        values = None if self._label is None or not self._label.names else self._label.values
        return subsets.multi_hot(values, len(self), len(self.classes))

    def fraction(self, share: float, *, seed: int = 0) -> Self:
        """A share of these samples in which each class has its share, too, in their order.

        Args:
            share: above 0, and at most 1.
            seed: decides which; the same one gives the same samples.

        Raises:
            OptionError: another share or seed.
            SelectionEmpty: a share of less than one sample.
        """
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
            raise OptionError(f"a share must be above 0 and at most 1, not {share!r}")
        seed = subsets.check_seed(seed)
        if share == 1:
            return self.subset(np.arange(len(self)))
        if share * len(self) < 0.5:
            raise SelectionEmpty(f"{share} of {len(self):,} samples is less than one sample")
        parts = subsets.stratified_parts(self._hot_if_labelled(), (share, 1 - share), seed)
        return self.subset(np.flatnonzero(parts == 0))

    def per_class(self, count: int, *, seed: int = 0) -> Self:
        """So many samples of each class, or all that there are, in their order.

        With several labels a patch these are as few samples as it takes, nearly: one that was
        drawn for a rare class counts for its other classes.

        Args:
            count: samples a class.
            seed: decides which; the same one gives the same samples.

        Raises:
            OptionError: no such number or seed, or no label.
        """
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise OptionError(f"samples a class must be 1 or more, not {count!r}")
        hot = self._hot("classes")
        return self.subset(subsets.of_each_class(hot, int(count), subsets.check_seed(seed)))

    def folds(
        self,
        count: int = 5,
        *,
        groups: str | Sequence[Any] | Array | None = None,
        block_km: float | None = None,
        seed: int = 0,
    ) -> list[tuple[Self, Self]]:
        """These samples in so many folds, each with the same part of every class.

        Neighbouring patches are alike, so folds that part them make validation too easy: with
        `block_km` the patches of a square of ground stay together. ::

            for train, validation in samples.folds(5, block_km=25):
                ...

        Args:
            count: number of folds, 2 or more.
            groups: a column of the table, or one value a sample: samples of one value stay
                together, such as those of a country.
            block_km: the side of squares of ground in kilometres, whose patches stay together.
            seed: decides which sample is in which fold; the same one gives the same folds.

        Returns:
            For each fold (the other samples, its own), both in the order of these.

        Raises:
            OptionError: no such number, column or seed, both kinds of groups, or too few groups.
        """
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 2:
            raise OptionError(f"there must be 2 folds or more, not {count!r}")
        if count > len(self):
            raise OptionError(f"{len(self)} samples cannot be parted into {count} folds")
        hot, seed = self._hot_if_labelled(), subsets.check_seed(seed)
        found = self._groups(groups, block_km)
        if found is None:
            parts = subsets.stratified_parts(hot, [1 / count] * count, seed)
        else:
            parts = subsets.grouped_parts(hot, found, int(count), seed)
        if len(np.unique(parts)) < count:
            raise OptionError(f"{len(self)} samples of these classes are too few for {count} folds")
        numbered = [(np.flatnonzero(parts != k), np.flatnonzero(parts == k)) for k in range(count)]
        return [(self.subset(others), self.subset(own)) for others, own in numbered]

    def _groups(
        self, groups: str | Sequence[Any] | Array | None, block_km: float | None
    ) -> Array | None:
        if groups is not None and block_km is not None:
            raise OptionError("give groups or block_km, not both")
        if block_km is not None:
            (bounds,), _ = read_columns(self.table(), BOUNDS, ())
            (epsg,), _ = read_columns(self.table(), "epsg", ())
            left, bottom, right, top = bounds.values.T
            if np.isnan(bounds.values).any() or np.isnan(epsg.values).any():
                raise OptionError(
                    "some of these samples have no bounds in the table, so that nobody knows which "
                    "are neighbours: give groups"
                )
            return blocks(epsg.values, (left + right) / 2, (bottom + top) / 2, block_km)
        if isinstance(groups, str):
            table = self.table()
            if groups not in table.column_names:
                known = hint(groups, table.column_names)
                raise OptionError(f"the table has no column {groups!r}; {known}")
            return np.array([str(value) for value in table[groups].to_pylist()])
        if groups is not None and len(groups) != len(self):
            raise OptionError(f"there are {len(groups)} groups for {len(self)} samples")
        return None if groups is None else np.asarray(groups)

    def table(self, columns: Sequence[str] | None = None) -> "pa.Table":
        """The rows of the table, one a sample, in the order of the samples.

        Raises:
            OptionError: a column that is not there.
        """
        return self.store.table(self, columns)
