"""Dataset descriptions: what a published dataset looks like on disk, as strict TOML.

A description is data. An unknown key, a wrong type or a band that cannot be stacked is a
`DescriptionError` that names the file and the key, before anything of the source is read.
`docs/your-own-dataset.md` shows how one is made; `describe` reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Formatter

from patchpress.readers.format.manifest import Band, Dataset

KINDS = ("image", "classes")
BAND = "band"  # the field of a path that stands for the band's name
GROUND_TOLERANCE = 0.01  # pixels: rounding of coordinates, not a shift


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A JSON file beside the bands of each patch: which of its keys fill which columns."""

    file: str
    columns: Mapping[str, str]
    """Table column -> key of the JSON object."""


@dataclass(frozen=True, slots=True)
class LabelRule:
    """How a column of labels comes about.

    `rule` is empty for labels that the source gives; `mapped` from another column (`source`);
    `present`, `single`, `multi` or `fractions` from the codes of a modality of kind classes
    (`source`), where the tables give none.
    """

    column: str
    classes: tuple[str, ...]
    nomenclature: str
    rule: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Splits:
    """Where the split of a patch comes from."""

    column: str
    names: tuple[str, ...]
    lists: Mapping[str, str] = field(default_factory=dict)
    """Split -> file with one patch a line."""
    list_suffix: str = ""
    """What the names in the lists have behind the patch's name."""
    position: str = ""
    """Regular expression with groups x and y, for the geographic rule on the identity."""
    tile_m: float = 0.0
    patch_m: float = 0.0
    group: str = ""
    """Regular expression with a group ``group``: patches that must not be parted."""
    hold_out: tuple[str, ...] = ()
    """Groups that are test where there are no lists."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """A table that pairs names: the column with the identity, and table column -> its column."""

    file: str
    identity: str
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ModalitySource:
    """One modality on disk.

    `paths` are relative to `folder`, alternatives of one another; a part in braces is a field,
    matched by its regular expression in `fields` (named groups in it are fields, too). `name` is
    the published name of a patch, made of fields, and is in the table column `key_column`; `key` is
    the record's name, made of that column. The field `band` stands for the bands' names; with an
    expression of its own, files that do not match it are passed over. A modality of kind `classes`
    holds codes and is never interpolated.
    """

    name: str
    title: str
    kind: str
    folder: str
    paths: tuple[str, ...]
    key: str
    patch: str
    """Template of the published name."""
    identity: str | None
    """Template of the row's identity; None where only a table or a sidecar knows it."""
    bands: tuple[Band, ...]
    fields: Mapping[str, str]
    rgb: tuple[str, ...] = ()
    """The bands that show as red, green and blue, where there are such."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Table column -> template of fields."""
    sidecar: Sidecar | None = None
    any_size: bool = False
    """Patches may differ in size; `bands` have the usual one."""
    archives: tuple[str, ...] = ()
    """Names of its archives without their endings, in the order in which they are read."""
    alone: bool = False
    """Whether its patches have no partners by name in other modalities, so that none is missed."""
    ground_tolerance: float = GROUND_TOLERANCE
    """How far the grounds of two bands may differ, in pixels of the coarser."""

    @property
    def key_column(self) -> str:
        """The table column that names its records."""
        return fields_of(self.key)[0]

    @property
    def interpolated(self) -> bool:
        """Whether coarser bands may be interpolated when they are stacked."""
        return self.kind != "classes"


@dataclass(frozen=True, slots=True)
class Description:
    """One published dataset: modalities, tables, splits and classes."""

    dataset: Dataset
    modalities: Mapping[str, ModalitySource]
    identity: str
    """The column that names a row."""
    complete: bool = False
    """Whether a patch that lacks a modality is an error, and not only reported."""
    tables: Mapping[str, str] = field(default_factory=dict)
    """Table name -> file name under the source."""
    splits: Splits | None = None
    labels: Mapping[str, LabelRule] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)
    """Boolean column -> file with the patches for which it is true."""
    pairs: Pairs | None = None
    md5: Mapping[str, str] = field(default_factory=dict)
    """File name -> MD5 of the file as published, in hexadecimal."""

    @property
    def primary(self) -> ModalitySource:
        """The modality whose column is the identity of a metadata row."""
        return next(m for m in self.modalities.values() if m.key_column == self.identity)

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Label column -> class names in the official order."""
        return {column: rule.classes for column, rule in self.labels.items()}

    @property
    def split_column(self) -> str | None:
        """The column with the split, if there is one."""
        return self.splits.column if self.splits else None

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits in their order."""
        return self.splits.names if self.splits else ()

    def record_rules(self, *, has_tables: bool) -> tuple[LabelRule, ...]:
        """The rules for label columns that records fill.

        If the source has tables, these give the labels, and no column is computed from a map.
        """
        return tuple(rule for rule in self.labels.values() if not (has_tables and rule.rule))

    def files(self) -> dict[str, str]:
        """Every file beside the patches that a source may have: part name -> file name."""
        files = dict(self.tables)
        if self.pairs:
            files["pairs"] = self.pairs.file
        if self.splits:
            files.update(self.splits.lists)
        return {**files, **self.flags}


def fields_of(template: str) -> list[str]:
    """The names in braces, in their order, each once."""
    names = [name for _, name, _, _ in Formatter().parse(template) if name]
    return list(dict.fromkeys(names))
