"""Which class each code of a map is, and its colour: the same in every panel and every picture."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchpress.converter.descriptions.classes import (
    ClassList,
    built_in_class_lists,
    load_class_list,
)
from patchpress.converter.descriptions.description import Description
from patchpress.readers.errors import DescriptionError
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.modality import Modality

NO_CLASS = "#FFFFFF"
OTHERS = (
    "#1F77B4", "#FF7F0E", "#2CA02C", "#D62728", "#9467BD", "#8C564B", "#E377C2", "#BCBD22",
    "#17BECF", "#393B79", "#637939", "#8C6D31", "#843C39", "#7B4173", "#AEC7E8", "#FFBB78",
    "#98DF8A", "#FF9896", "#C5B0D5", "#C49C94", "#F7B6D2", "#DBDB8D", "#9EDAE5", "#7F7F7F",
)  # fmt: skip
"""Colours of classes that have no official ones, by their index."""


@dataclass(frozen=True)
class MapClasses:
    """The classes of a map's codes, with their colours."""

    title: str
    """What the codes are codes of."""
    names: Mapping[int, str]
    """Code -> name of its class."""
    colours: Mapping[int, str]
    """Code -> ``#RRGGBB``."""

    def name_of(self, code: int) -> str:
        """What a legend calls a code."""
        return f"{code}  {self.names[code]}" if code in self.names else f"{code}  no class known"

    def colour_of(self, code: int) -> str:
        """The colour of a code; one that is in no list has a colour by its number."""
        return self.colours.get(code, OTHERS[code % len(OTHERS)])

    def paint(self, codes: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
        """The colours (height, width, 3) of codes (height, width)."""
        found, at = np.unique(codes, return_inverse=True)
        colours = [_rgb(self.colour_of(int(code))) for code in found]
        painted: npt.NDArray[np.uint8] = np.array(colours, np.uint8)[at.reshape(codes.shape)]
        return painted


def classes_of(
    modality: Modality, manifest: Manifest, description: Description | None = None
) -> MapClasses:
    """The classes of a modality of codes.

    The manifest says of each code which class it is. A class list that says the same tells of which
    nomenclature the codes are, and then the finest list of that nomenclature with official colours
    is taken: each code has its own colour, even if classes for training join several.
    """
    known = list(_class_lists(description))
    schemes = {one.code_scheme for one in known if _is_told_by(one, modality, manifest)}
    fitting = [one for one in known if one.code_scheme in schemes and one.colours]
    if fitting:
        finest = max(fitting, key=lambda one: len(one.names))
        names = {code: name or "no class" for code, name in finest.codes.items()}
        colours = {
            code: NO_CLASS if name is None else finest.colours.get(name, OTHERS[code % len(OTHERS)])
            for code, name in finest.codes.items()
        }
        return MapClasses(finest.title, names, colours)
    return _by_manifest(modality, manifest)


def _class_lists(description: Description | None) -> Iterator[ClassList]:
    own = {rule.class_list for rule in description.labels.values()} if description else set()
    for name in sorted({*own, *built_in_class_lists()} - {""}):
        try:
            yield load_class_list(name)
        except DescriptionError:
            continue  # a file of the user's that is gone: the manifest has its names


def _is_told_by(one: ClassList, modality: Modality, manifest: Manifest) -> bool:
    """Whether the codes of a modality are those of a class list, by one of its label columns."""
    for column, codes in modality.codes.items():
        classes = manifest.classes.get(column, ())
        told = {
            int(code): None if index is None else classes[index] for code, index in codes.items()
        }
        if told == dict(one.codes):
            return True
    return False


def _by_manifest(modality: Modality, manifest: Manifest) -> MapClasses:
    """The classes as the manifest alone tells them, in colours by their order."""
    for column, codes in modality.codes.items():
        classes = manifest.classes.get(column, ())
        names, colours = {}, {}
        for code, index in codes.items():
            names[int(code)] = "no class" if index is None else classes[index]
            colours[int(code)] = NO_CLASS if index is None else OTHERS[index % len(OTHERS)]
        return MapClasses(f"classes of column {column}", names, colours)
    return MapClasses("codes", {}, {})


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
