"""Scene labels from the codes of a map: pure functions over pixel counts.

`counts` is code -> number of pixels, as `numpy.unique(band, return_counts=True)` gives them; read
the band in its own dtype, as codes above 255 wrap in uint8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchpress.converter.descriptions.classes import Nomenclature, load
from patchpress.converter.descriptions.description import Description, LabelRule, ModalitySource
from patchpress.readers.errors import OptionError, PatchError, TableError

UNLABELLED_LIMIT = 0.25
"""A scene keeps its labels while less than this part of it, strictly, is unlabelled: the rule of
arXiv:2407.03653, for which 3,600 of 14,400 pixels are too many and 3,599 are not."""

MULTI_THRESHOLD = 0.1
"""The part of a scene from which a class is one of its labels: the default of the published loader
of IGBP scene labels."""


@dataclass(frozen=True, slots=True)
class ClassPixels:
    """The pixels of one map by class."""

    by_class: tuple[int, ...]
    """Pixels of each class, in the official order."""
    unclassified: int
    """Pixels whose codes are known but belong to no class."""

    @property
    def total(self) -> int:
        """All pixels."""
        return sum(self.by_class) + self.unclassified


def count_classes(counts: Mapping[int, int], nomenclature: Nomenclature) -> ClassPixels:
    """Sum the pixels of each class.

    Raises:
        PatchError: a code that the nomenclature does not know, a negative count, or no pixel.
    """
    pixels = dict.fromkeys(nomenclature.names, 0)
    unclassified = 0
    for code, count in counts.items():
        if count < 0:
            raise PatchError(f"the map has {count} pixels of the code {code}: count them anew")
        if int(code) not in nomenclature.codes:
            raise PatchError(
                f"the map has the code {code} in {count} pixels, which is none of "
                f"{nomenclature.name} (codes {min(nomenclature.codes)} to "
                f"{max(nomenclature.codes)}): damaged, or read as another dtype"
            )
        name = nomenclature.codes[int(code)]
        if name is None:
            unclassified += int(count)
        else:
            pixels[name] += int(count)
    found = ClassPixels(tuple(pixels.values()), unclassified)
    if not found.total:
        raise PatchError("the map has no pixels: there is nothing to label")
    return found


def classes_present(
    counts: Mapping[int, int], nomenclature: Nomenclature
) -> tuple[list[str], float]:
    """Every class that has a pixel, by name (alphabetical), and the unlabelled part of the map.

    The rule of arXiv:2407.03653: no least area, no ranking. The part is 0 to 1, of all pixels;
    whether it is small enough for the labels to stand says `well_labelled`.

    Raises:
        PatchError: as `count_classes`.
    """
    found = count_classes(counts, nomenclature)
    names = [name for name, count in zip(nomenclature.names, found.by_class, strict=True) if count]
    return sorted(names), found.unclassified / found.total


def well_labelled(unlabelled: float) -> bool:
    """Whether a map with this unlabelled part (0 to 1) keeps its labels: strictly below 0.25."""
    return unlabelled < UNLABELLED_LIMIT


def class_fractions(counts: Mapping[int, int], nomenclature: Nomenclature) -> list[float]:
    """The part of the map that each class covers, 0 to 1, in the official order.

    Unclassified pixels belong to no class and yet to the total: where there are some, the parts sum
    to less than 1.

    Raises:
        PatchError: as `count_classes`.
    """
    found = count_classes(counts, nomenclature)
    return [count / found.total for count in found.by_class]


def largest_class(parts: Sequence[float], nomenclature: Nomenclature) -> str | None:
    """The class with the largest of `fractions`; of equal ones the first in the official order.

    None where no pixel has a class, though an argmax alone would name the first.
    """
    _check_length(parts, nomenclature)
    largest = max(parts)
    return nomenclature.names[list(parts).index(largest)] if largest > 0 else None


def classes_covering(
    parts: Sequence[float], nomenclature: Nomenclature, threshold: float = MULTI_THRESHOLD
) -> list[str]:
    """The classes whose `fractions` reach the threshold (0 < threshold <= 1), in official order.

    Raises:
        OptionError: a threshold outside of that.
    """
    _check_length(parts, nomenclature)
    if not 0 < threshold <= 1:
        raise OptionError(f"a threshold must be above 0 and at most 1, not {threshold}")
    return [name for name, part in zip(nomenclature.names, parts, strict=True) if part >= threshold]


def _check_length(parts: Sequence[float], nomenclature: Nomenclature) -> None:
    if len(parts) != len(nomenclature.names):
        raise ValueError(
            f"{len(parts)} fractions for the {len(nomenclature.names)} classes "
            f"of {nomenclature.name}"
        )


def class_index_of_codes(
    description: Description, modality: str
) -> dict[str, dict[str, int | None]]:
    """Label column -> code in a map -> index of its class in the official order, for the manifest.

    Only of columns that are labels by class: columns of one class list share their codes, and the
    first stands for all.
    """
    found: dict[str, dict[str, int | None]] = {}
    seen = set()
    for column, rule in description.labels.items():
        if rule.source != modality or rule.rule == "mapped" or rule.nomenclature in seen:
            continue
        seen.add(rule.nomenclature)
        known = load(rule.nomenclature)
        index = {name: place for place, name in enumerate(known.names)}
        codes = sorted(known.codes.items())
        found[column] = {str(code): None if n is None else index[n] for code, n in codes}
    return found


def record_columns(modality: ModalitySource, rules: tuple[LabelRule, ...]) -> list[str]:
    """The table columns that records of a modality fill, in the order of an annotator's values."""
    sidecar = list(modality.sidecar.columns) if modality.sidecar else []
    derived = [rule.column for rule in rules if rule.source == modality.name]
    return [*modality.columns, *sidecar, *derived]


def count_codes(modality: ModalitySource, pixels: memoryview) -> dict[int, int]:
    """How many pixels each code of the first band has."""
    band = modality.bands[0]
    codes = np.frombuffer(pixels, band.dtype, band.shape[0] * band.shape[1])
    counts: npt.NDArray[np.int64] = np.bincount(codes)
    return {int(code): int(counts[code]) for code in np.flatnonzero(counts)}


def labels_from_counts(rules: list[LabelRule], counts: dict[int, int], file: str) -> list[object]:
    """Labels from code counts, one value a rule: a tuple of names, a name, or fractions.

    Raises:
        PatchError: a code that the nomenclature does not know.
    """
    try:
        return [_derived(rule, load(rule.nomenclature), counts) for rule in rules]
    except PatchError as error:
        raise PatchError(f"{file}: {error}") from None


def _derived(rule: LabelRule, nomenclature: Nomenclature, counts: dict[int, int]) -> object:
    if rule.rule == "present":
        return tuple(classes_present(counts, nomenclature)[0])
    shares = class_fractions(counts, nomenclature)
    if rule.rule == "fractions":
        return tuple(shares)
    if rule.rule == "single":
        return largest_class(shares, nomenclature)
    return tuple(classes_covering(shares, nomenclature))


def canonical_label(rule: LabelRule, name: str) -> str:
    """A label in its canonical spelling.

    Raises:
        TableError: the classes have no such name; the message suggests the nearest.
    """
    if name in rule.classes:
        return name
    if rule.nomenclature:
        return load(rule.nomenclature).canonical_name(name)
    from difflib import get_close_matches

    near = get_close_matches(name, rule.classes, n=1)
    hint = f"nearest is {near[0]!r}" if near else f"known are {', '.join(rule.classes)}"
    raise TableError(f"label {name!r} is unknown; {hint}")
