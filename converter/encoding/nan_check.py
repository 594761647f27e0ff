"""Refusing records with pixels that are NaN, and which file has them."""

from collections.abc import Mapping, Sequence

import numpy as np

from patchpress.converter.encoding.file_plan import FilePlan, Plane
from patchpress.converter.sources.patch import Patch
from patchpress.readers.errors import PatchError
from patchpress.readers.format.modality import Band
from patchpress.readers.format.record import Form


class NanCheck:
    """Refuses records of one modality that have a pixel that is NaN."""

    def __init__(
        self,
        bands: Sequence[Band],
        planes: Sequence[Plane],
        plans: Mapping[bool, Sequence[FilePlan]],
        *,
        native: bool,
    ) -> None:
        """Take what is known of the records.

        Args:
            bands: of the modality.
            planes: where each lies in a record.
            plans: whether patches are several files -> these files, or the only one.
            native: whether each band is a tensor of its own.
        """
        self._bands, self._planes, self._plans = bands, planes, plans
        self._is_native = native

    def check(self, patch: Patch, form: Form, record: memoryview) -> None:
        """Refuse a record with a NaN; the first file that has one is named.

        Raises:
            PatchError: it has one.
        """
        values = np.frombuffer(record[len(form.header) :], self._bands[0].dtype)
        # One sum costs far less than `isnan`; but infinities alone can make it NaN, too.
        with np.errstate(invalid="ignore", over="ignore"):
            total = values.sum()
        if not np.isnan(total) or not np.isnan(values).any():
            return
        counts = self._nan_counts(form, record)
        plans = self._plans[patch.apart]
        by_file = {plan.name: sum(counts[number] for _, number in plan.kept) for plan in plans}
        name, count = next((name, count) for name, count in by_file.items() if count)
        raise PatchError(
            f"{patch.path(patch.file(name))} has {count:,} pixels that are NaN; --nan keep stores "
            "them"
        )

    def check_step(self, patch: Patch, record: memoryview) -> None:
        """Refuse a step of a record with a NaN.

        Raises:
            PatchError: it has one.
        """
        for plan in self._plans[patch.apart]:
            for _, number in plan.kept:
                band, (start, shape) = self._bands[number], self._planes[number]
                pixels = np.frombuffer(record, band.dtype, shape[0] * shape[1], start)
                count = int(np.isnan(pixels).sum())
                if count:
                    raise PatchError(
                        f"{patch.path(patch.file(plan.name))} has {count:,} pixels that are NaN "
                        f"in {band.name}; --nan keep stores them"
                    )

    def _nan_counts(self, form: Form, record: memoryview) -> list[int]:
        """How many pixels of each band are NaN in the record."""
        if self._is_native:
            tensors = {tensor.name: form.array(record, tensor) for tensor in form.tensors}
            bands = [tensors[band.name] for band in self._bands]
        else:
            bands = list(form.array(record, form.tensors[0]))
        return [int(np.isnan(band).sum()) for band in bands]
