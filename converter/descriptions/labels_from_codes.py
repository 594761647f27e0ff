"""Scene labels that follow from the codes of a map, by the rules of several publishers.

In all functions `counts` is code -> number of pixels, as from ``numpy.unique(band,
return_counts=True)``. Count the band in its own dtype: in uint8, codes above 255 wrap around.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchpress.converter.descriptions.classes import ClassList, load_class_list
from patchpress.converter.descriptions.description import Description, LabelRule, ModalitySource
from patchpress.readers.errors import OptionError, PatchError

UNLABELLED_LIMIT = 0.25
"""A scene keeps its labels while less than this part of it is unlabelled. Source: arXiv:2407.03653;
by it 3,600 of 14,400 pixels are too many, and 3,599 are not."""

MULTI_THRESHOLD = 0.1
"""The part of a scene from which a class is one of its labels. Source: the default of the published
loader of IGBP scene labels."""


@dataclass(frozen=True, slots=True)
class ClassPixels:
    """How many pixels of one map each class has."""

    by_class: tuple[int, ...]
    """Pixels of each class, in the official order."""
    unclassified: int
    """Pixels whose codes are known but belong to no class."""

    @property
    def total(self) -> int:
        """All pixels."""
        return sum(self.by_class) + self.unclassified


def count_classes(counts: Mapping[int, int], class_list: ClassList) -> ClassPixels:
    """Add up the pixels of each class.

    Raises:
        PatchError: a code that the class list does not know, a negative count, or no pixel.
    """
    pixels = dict.fromkeys(class_list.names, 0)
    unclassified = 0
    for code, count in counts.items():
        if count < 0:
            raise PatchError(f"the map has {count} pixels of the code {code}: count them anew")
        if int(code) not in class_list.codes:
            raise PatchError(
                f"the map has the code {code} in {count} pixels, which is none of "
                f"{class_list.name} (codes {min(class_list.codes)} to "
                f"{max(class_list.codes)}): damaged, or read as another dtype"
            )
        name = class_list.codes[int(code)]
        if name is None:
            unclassified += int(count)
        else:
            pixels[name] += int(count)
    found = ClassPixels(tuple(pixels.values()), unclassified)
    if not found.total:
        raise PatchError("the map has no pixels: there is nothing to label")
    return found


def classes_present(counts: Mapping[int, int], class_list: ClassList) -> tuple[list[str], float]:
    """Every class that has a pixel, and the part of the map that is unlabelled.

    The rule of arXiv:2407.03653: one pixel is enough, and no class comes before another. Whether
    the unlabelled part is small enough for the labels to count, `well_labelled` says.

    Returns:
        Names in alphabetical order; the unlabelled part of all pixels, 0 to 1.

    Raises:
        PatchError: as `count_classes`.
    """
    found = count_classes(counts, class_list)
    names = [name for name, count in zip(class_list.names, found.by_class, strict=True) if count]
    return sorted(names), found.unclassified / found.total


def well_labelled(unlabelled: float) -> bool:
    """Whether a map with this unlabelled part (0 to 1) keeps its labels: if it is below 0.25."""
    return unlabelled < UNLABELLED_LIMIT


def class_fractions(counts: Mapping[int, int], class_list: ClassList) -> list[float]:
    """The part of the map that each class covers, 0 to 1, in the official order.

    Unclassified pixels belong to no class but count in the total: if there are some, the sum of the
    parts is less than 1.

    Raises:
        PatchError: as `count_classes`.
    """
    found = count_classes(counts, class_list)
    return [count / found.total for count in found.by_class]


def largest_class(parts: Sequence[float], class_list: ClassList) -> str | None:
    """The class with the largest of `class_fractions`; of equal ones, the first.

    None if no pixel has a class: then all parts are 0, and an argmax would name the first class.
    """
    _check_length(parts, class_list)
    largest = max(parts)
    return class_list.names[list(parts).index(largest)] if largest > 0 else None


def classes_covering(
    parts: Sequence[float], class_list: ClassList, threshold: float = MULTI_THRESHOLD
) -> list[str]:
    """The classes whose part of `class_fractions` is at least `threshold`, in the official order.

    Raises:
        OptionError: a threshold that is not 0 < threshold <= 1.
    """
    _check_length(parts, class_list)
    if not 0 < threshold <= 1:
        raise OptionError(f"a threshold must be above 0 and at most 1, not {threshold}")
    return [name for name, part in zip(class_list.names, parts, strict=True) if part >= threshold]


def _check_length(parts: Sequence[float], class_list: ClassList) -> None:
    if len(parts) != len(class_list.names):
        raise ValueError(
            f"{len(parts)} fractions for the {len(class_list.names)} classes of {class_list.name}"
        )


def class_index_of_codes(
    description: Description, modality: str
) -> dict[str, dict[str, int | None]]:
    """Label column -> code in the modality's map -> index of its class, for the manifest.

    The index is that of the official order; None for a code without a class. Columns of the same
    class list have the same codes, and only the first of them is given.
    """
    found: dict[str, dict[str, int | None]] = {}
    seen = set()
    for column, rule in description.labels.items():
        is_of_it = rule.map == modality or (rule.source == modality and rule.rule != "mapped")
        if not is_of_it or rule.class_list in seen:
            continue
        seen.add(rule.class_list)
        class_list = load_class_list(rule.class_list)
        index: dict[str | None, int] = {name: n for n, name in enumerate(class_list.names)}
        codes = sorted(class_list.codes.items())
        found[column] = {str(code): index.get(name) for code, name in codes}
    return found


def count_codes(modality: ModalitySource, pixels: memoryview) -> dict[int, int]:
    """How many pixels of the first band have each code.

    Args:
        modality: one of kind classes; all its patches have one size.
        pixels: those of a record, the first band first.
    """
    band = modality.bands[0]
    codes = np.frombuffer(pixels, band.dtype, band.shape[0] * band.shape[1])
    if np.dtype(band.dtype) not in (
        np.uint8,
        np.uint16,
    ):  # negative ones, or up to 4 thousand million
        values, numbers = np.unique(codes, return_counts=True)
        return dict(zip(values.tolist(), numbers.tolist(), strict=True))
    counts: npt.NDArray[np.int64] = np.bincount(codes)
    return {int(code): int(counts[code]) for code in np.flatnonzero(counts)}


def labels_from_counts(rules: list[LabelRule], counts: dict[int, int], file: str) -> list[object]:
    """Labels by each of the rules: a tuple of names, one name, or a tuple of fractions.

    Raises:
        PatchError: a code that the class list does not know; the message begins with `file`.
    """
    try:
        return [_by_rule(rule, load_class_list(rule.class_list), counts) for rule in rules]
    except PatchError as error:
        raise PatchError(f"{file}: {error}") from None


def _by_rule(rule: LabelRule, class_list: ClassList, counts: dict[int, int]) -> object:
    if rule.rule == "present":
        return tuple(classes_present(counts, class_list)[0])
    parts = class_fractions(counts, class_list)
    if rule.rule == "fractions":
        return tuple(parts)
    if rule.rule == "single":
        return largest_class(parts, class_list)
    return tuple(classes_covering(parts, class_list))
