"""What samples are, without a pixel: their arrays, bands and classes, and all of it in words."""

import sys
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.choice import Choice
from patchpress.readers.columns import NumberColumn
from patchpress.readers.errors import SamplesLeftOut
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.table import HasRowNumbers, Split, split_names
from patchpress.readers.format.time_axis import present_field
from patchpress.readers.images import Field, Image
from patchpress.readers.mask import Mask
from patchpress.readers.pairing import Pairing
from patchpress.readers.presence import Presence
from patchpress.readers.rows import FLAGGED
from patchpress.readers.sample_parts import SampleParts
from patchpress.readers.showing import columns_of, html_table, listed, plain

if TYPE_CHECKING:
    pass

Array = npt.NDArray[Any]
PACKAGE = __name__.partition(".")[0]
MUCH = 0.05  # of the rows: if more than this part has to be left out, a warning says so


class ToldSamples(SampleParts):
    """Samples that tell what they are: to programs by their fields, to people in words."""

    choice: Choice
    left_out: dict[str, int]
    modalities: tuple[str, ...]
    _selected: str
    """Which rows samples are chosen from, as `rows_told` has it."""
    _fills: Mapping[str, int]
    """Modality -> what each pixel of a missing one becomes."""
    _steps: Mapping[str, npt.NDArray[np.int64]]
    """Modality with a time axis -> how many dates each sample has."""
    """Modality with a time axis -> its dates, as `steps_told` has them."""
    _images: tuple[Image, ...]
    _mask: Mask | None
    _presence: Presence | None
    _numbers: list[NumberColumn]

    @abstractmethod
    def objects(self, indices: Array, *, single: bool = False) -> dict[str, Any]:
        """What samples have besides arrays, by name."""

    @property
    def _main_fields(self) -> list[Field]:
        """The fields of images, label and mask, and `present`."""
        others = (self._label, self._mask, self._presence)
        targets = [target.field for target in others if target is not None]
        return [*(image.field for image in self._images), *targets]

    @property
    def fields(self) -> tuple[Field, ...]:
        """Name, shape and dtype of each array of a sample, in their order."""
        return (*self._main_fields, *(column.field for column in self._numbers))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes by index: the label's, or the mask's if there is no label."""
        if self._label is not None:
            return self._label.names
        return () if self._mask is None else self._mask.table.names

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """For each sample which of `modalities` it has, (samples, modalities) bool, read-only.

        All true, unless missing ones are filled in (``missing="zeros"``).
        """
        if self._presence is None:
            return np.broadcast_to(np.True_, (len(self), len(self.modalities)))
        values = self._presence.values.view()
        values.flags.writeable = False
        return values

    @property
    def lacking(self) -> dict[str, int]:
        """Modality -> samples that lack it and are filled in; only those that some sample lacks."""
        return {} if self._presence is None else self._presence.lacking

    @property
    def image_bands(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """Each image field: modality -> its bands, in the order of the channels."""
        return {
            image.field.name: {
                modality.name: records.bands or modality.band_names
                for modality, records in zip(image.modalities, image.parts, strict=True)
            }
            for image in self._images
        }

    @property
    def image_channels(self) -> dict[str, dict[str, slice]]:
        """Each image field: modality -> its channels."""
        return {image.field.name: image.channels for image in self._images}

    def __repr__(self) -> str:
        lines = columns_of([(f.name, str(f.shape), f.dtype.name, t) for f, t in self._told])
        names = ", ".join(map(plain, self.objects(np.array([0]))))
        return "\n".join([f"Samples({self.summary()})", *lines, *([f"  {names}"] if names else [])])

    def _repr_html_(self) -> str:
        rows = [(f.name, str(f.shape), f.dtype.name, t) for f, t in self._told]
        rows += [(name, "", "object", "") for name in self.objects(np.array([0]))]
        return html_table(self.summary(), ("field", "shape of one", "dtype", ""), rows)

    @property
    def _told(self) -> list[tuple[Field, str]]:
        """The fields, and what people want to know of each."""
        found = [
            (image.field, "; ".join([*map(self._listed, bands.items()), *image.told]))
            for image, bands in zip(self._images, self.image_bands.values(), strict=True)
        ]
        order = self.choice["class_order"]
        if self._label is not None:
            label = self._label
            text = f"{label.column}: {len(label.names)} classes, {order} order"
            if not label.names:
                text = f"{label.column}: a number"
            found.append((self._label.field, text))
        if self._mask is not None:
            table = self._mask.table
            text = (
                f"classes of {table.column}: {len(table.names)}, {order} order; "
                f"{self.choice['ignore_index']} for pixels without a class"
            )
            found.append((self._mask.field, text))
        if self._presence is not None:
            found.append((self._presence.field, f"whether there: {', '.join(self.modalities)}"))
        return [*found, *((column.field, "column of the table") for column in self._numbers)]

    def _listed(self, bands: tuple[str, Sequence[str]]) -> str:
        """The bands of a modality, in words, and how many dates it has."""
        modality, names = bands
        told = f"{modality}: {listed(names)}"
        if modality not in self._steps:
            return told
        steps = self.store.manifest.modalities[modality].steps
        return f"{told}; {steps_told(modality, steps, self._steps[modality])}"

    def summary(self) -> str:
        """One line: how many samples of what, what was left out, and what is filled in."""
        left = ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())
        name = self.store.manifest.dataset.name
        told = f"{len(self):,} samples of {name}, {self._selected}"
        filled = ", ".join(
            f"{name} of {count:,} with {self._fills.get(name, self.choice['ignore_index'])}"
            for name, count in self.lacking.items()
        )
        told += f", paired by {self.choice['pair_by']}" if self.choice["pair_by"] else ""
        told += f"; left out: {left}" if left else ""
        return plain(told + (f"; filled in: {filled}" if filled else ""))

    def _warn(self, pairing: Pairing) -> None:
        """Warn if many of the rows selected are no samples, or lack what was asked for."""
        selected = pairing.selected
        lost = selected - len(self)
        untaken = pairing.told(self.choice["pair_by"] or "")
        if untaken:
            warnings.warn(untaken, SamplesLeftOut, stacklevel=_stack_level_of_caller())
        for name, count in self.lacking.items():
            if count == len(self):
                warnings.warn(
                    f"none of the {count:,} samples has {name}: all its pixels are filled in",
                    SamplesLeftOut,
                    stacklevel=_stack_level_of_caller(),
                )
        if lost > MUCH * selected:
            reasons = ", ".join(
                f"{count:,} {reason}"
                for reason, count in self.left_out.items()
                if reason != FLAGGED
            )
            warnings.warn(
                f"{lost:,} of {selected:,} rows are left out ({reasons}): "
                f"{len(self):,} samples remain",
                SamplesLeftOut,
                stacklevel=_stack_level_of_caller(),
            )


def steps_told(modality: str, steps: int, counts: npt.NDArray[np.int64]) -> str:
    """How many dates samples have of a modality, in words.

    Args:
        modality: its name.
        steps: how many dates a record has room for.
        counts: (samples,) how many each has.
    """
    lacking = int((counts < steps).sum())
    fewer = f"{lacking:,} of {len(counts):,} samples have fewer"
    some = f"; {fewer}: {present_field(modality)} tells" if lacking else ""
    return f"{steps} dates{some}"


def rows_told(manifest: Manifest, split: Split) -> str:
    """Which rows samples are chosen from, in words."""
    if split is None:
        return "all splits"
    if isinstance(split, HasRowNumbers):
        return "chosen rows"
    names = split_names(manifest, split)
    return f"split{'s' if len(names) > 1 else ''} {', '.join(names)}"


def _stack_level_of_caller() -> int:
    """How far above the function that warns the first line lies that is not of this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    return level
