"""The format of a sample: which of its parts stand where, in a tuple or by name in a dict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patchpress.readers.images import IMAGE
from patchpress.readers.presence import PRESENT

LABEL, MASK, KEY = "label", "mask", "key"


@dataclass(frozen=True, slots=True)
class SampleFormat:
    """How arrays and objects by name become a sample, or a batch of the same format.

    `kind` is `tuple`, `dict` or `torchgeo`, as `Choice` has it; the rest are names of fields.
    """

    kind: str
    images: tuple[str, ...]
    targets: tuple[str, ...]
    """What comes after the images: the label, the mask, both or none, and `present`."""
    columns: tuple[str, ...]
    """Columns of the table, those of numbers before those of other values."""
    with_key: bool

    @property
    def is_plain(self) -> bool:
        """Whether a sample is the tuple of its arrays (or its only array), and nothing else."""
        return self.kind == "tuple" and not (self.with_key or self.columns or self.images[1:])

    def present_of(self, batch: Any) -> Any:
        """`present` of a batch of this format; None if the batch has none."""
        if isinstance(batch, Mapping):
            return batch.get(PRESENT)
        at = 1 + self.targets.index(PRESENT) if PRESENT in self.targets else len(batch)
        return batch[at] if at < len(batch) else None

    def assemble(self, arrays: Mapping[str, Any], objects: Mapping[str, Any]) -> Any:
        """One sample, or one batch.

        Args:
            arrays: arrays or tensors by field name.
            objects: the key (or keys) and the columns of text, by name.
        """
        if self.kind == "torchgeo":
            return {**_as_torchgeo(arrays), **objects}
        if self.kind == "dict":
            return {**arrays, **objects}
        image = arrays[self.images[0]]
        if self.images[1:]:
            image = {name.removeprefix(f"{IMAGE}_"): arrays[name] for name in self.images}
        rest = [arrays[name] for name in self.targets]
        if self.with_key:
            rest.append(objects[KEY])
        if self.columns:
            rest.append({n: arrays[n] if n in arrays else objects[n] for n in self.columns})
        return (image, *rest) if rest else image


def _as_torchgeo(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """A sample as TorchGeo's data sets give it, a batch as its tasks take it.

    Its data sets give masks (1, height, width), and its segmentation task takes (N, height, width),
    so that the dimension is there only in a single sample.
    """
    found = dict(arrays)
    if MASK in found and len(found[MASK].shape) == 2:
        found[MASK] = found[MASK][None]
    return found
