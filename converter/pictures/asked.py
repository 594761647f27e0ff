"""`PictureAsked`: what a picture is made of, as a user asks for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from patchpress.converter.descriptions.description import Description
from patchpress.converter.descriptions.parse import built_in_descriptions, load_description
from patchpress.converter.pictures.choice import RowsAsked
from patchpress.readers.errors import OptionError
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import presence_column
from patchpress.readers.store import Store


@dataclass(frozen=True, kw_only=True)
class PictureAsked:
    """A store, and what of it is shown."""

    store: Store
    place: str
    """The store's path or URL as results show it."""
    rows: RowsAsked = field(default_factory=RowsAsked)
    keys: tuple[str, ...] = ()
    """Records whose patches are shown."""
    modalities: tuple[str, ...] = ()
    """Only these; all if it is empty."""
    by: str | None = None
    """The column whose values are told apart; the split by default."""
    count: int | None = None
    """How many patches are shown or read; each picture has its own default."""
    seed: int = 0
    description: Description | None = None
    """Of the data set: it knows wavelengths and colours, which no store has."""

    @property
    def title(self) -> str:
        """The data set and the store, as in ``Ponds of the north, ponds.store``."""
        return f"{self.store.manifest.dataset.title}, {PurePath(self.place).name or self.place}"

    def shown_modalities(self) -> list[str]:
        """The modalities that are asked for, or all, in the order of the store.

        Raises:
            SelectionEmpty: the store has no such modality.
        """
        manifest = self.store.manifest
        asked = {manifest.modality(name).name for name in self.modalities}
        return [name for name in manifest.modalities if not asked or name in asked]

    def images(self) -> list[Modality]:
        """Those of `shown_modalities` that are images.

        Raises:
            OptionError: there is none.
        """
        shown = [self.store.manifest.modality(name) for name in self.shown_modalities()]
        images = [one for one in shown if one.kind != "classes"]
        if not images:
            names = ", ".join(one.name for one in shown)
            raise OptionError(f"{names} has codes of classes: this picture is of images")
        return images

    def group_column(self) -> str | None:
        """The column whose values are told apart: that asked for, or the split; None without."""
        if self.by is not None:
            return self.by
        return self.store.manifest.split_column if self.store.manifest.splits else None

    def presence(self, modalities: Sequence[str]) -> list[str]:
        """The columns that say which rows have records of these modalities."""
        return [presence_column(name) for name in modalities]


def number_asked(count: int | None, default: int, most: int) -> int:
    """How many patches are asked for.

    Raises:
        OptionError: none, or more than are drawn.
    """
    if count is None:
        return default
    if not 1 <= count <= most:
        raise OptionError(f"--count must be 1 to {most:,} patches for this picture, not {count}")
    return count


def description_of(store: Store) -> Description | None:
    """The built-in description of a store's data set; None for data sets of others."""
    path = built_in_descriptions().get(store.manifest.dataset.name)
    return load_description(path) if path else None
