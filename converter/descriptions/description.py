"""What a published dataset looks like on disk: the dataclasses that a TOML description becomes.

`docs/your-own-dataset.md` shows how a description is made; `parse` reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from string import Formatter

from patchpress.readers.format.manifest import Dataset
from patchpress.readers.format.modality import Band

KINDS = ("image", "classes")
SIZE_RULES = ("keep", "crop", "pad", "resize")
BAND = "band"
"""The field of a path that is replaced by each band's name."""
GROUND_TOLERANCE = 0.01
"""Pixels by which the grounds of two bands may differ: rounded coordinates, no shift."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A JSON file next to the bands of each patch, and the table columns that it fills."""

    file: str
    columns: Mapping[str, str]
    """Table column -> key of the JSON object."""


@dataclass(frozen=True, slots=True)
class LabelRule:
    """Where the labels of one table column come from.

    `rule` is empty if the source gives the labels; ``mapped`` if they follow from another label
    column (`source`); ``present``, ``single``, ``multi`` or ``fractions`` if they follow from the
    codes of a modality of kind classes (`source`), unless the tables give them.
    """

    column: str
    classes: tuple[str, ...]
    class_list: str
    rule: str = ""
    source: str = ""
    default: bool = False
    """Whether it is the column that is learned if no other is named."""


@dataclass(frozen=True, slots=True)
class Splits:
    """Where the split of a patch comes from."""

    column: str
    names: tuple[str, ...]
    flagged: tuple[str, ...] = ()
    """Boolean columns; a row for which one is true is not among those that the publisher recommends
    for use, whatever its split."""
    lists: Mapping[str, str] = field(default_factory=dict)
    """Split -> file with one patch a line."""
    list_suffix: str = ""
    """The text that names in the lists have after the patch's name."""
    position: str = ""
    """Regular expression of the identity, with groups x and y: the patch's column and row."""
    tile_m: float = 0.0
    patch_m: float = 0.0
    group: str = ""
    """Regular expression of the identity, with a group ``group``: no split divides a group."""
    hold_out: tuple[str, ...] = ()
    """Groups that are test if there are no lists."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """A table that pairs the names of modalities."""

    file: str
    identity: str
    """The file's column with the identity."""
    columns: Mapping[str, str]
    """Our column -> the file's column."""


@dataclass(frozen=True, slots=True)
class ModalitySource:
    """One modality on disk.

    Templates are text with fields in braces. Each field has a regular expression in `fields`; a
    named group in one of those is a field, too. In paths, the field ``band`` is replaced by the
    names of the bands; if it has an expression, files whose band does not match it are ignored.
    """

    name: str
    title: str
    kind: str
    """One of `KINDS`: pixels of ``classes`` are codes, and are never interpolated."""
    folder: str
    paths: tuple[str, ...]
    """Templates of a file's path under `folder`; a patch may have any of them."""
    key: str
    """Template of a record's key, with the column `key_column` as its one field."""
    name_template: str
    """Template of the published name, which is the value of `key_column`."""
    identity_template: str | None
    """Template of the row's identity; None if only a table or a sidecar knows it."""
    bands: tuple[Band, ...]
    fields: Mapping[str, str]
    rgb: tuple[str, ...] = ()
    """The bands that are shown as red, green and blue, if there are such."""
    wavelengths: Mapping[str, float] = field(default_factory=dict, compare=False)
    """Band -> its central wavelength in nanometres, where that is known: for pictures alone."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Table column -> template of its value."""
    sidecar: Sidecar | None = None
    any_size: bool = False
    """Whether patches may differ in size; `bands` have the usual size."""
    size: str = "keep"
    """What is done with a patch of another size when it is stacked: one of `SIZE_RULES`."""
    archives: tuple[str, ...] = ()
    """Names of its archives without their endings, in the order in which they are read."""
    alone: bool = False
    """Whether its patches have no partners in other modalities, so that none is missing."""
    ground_tolerance: float = GROUND_TOLERANCE
    """How far the grounds of two bands may differ, in pixels of the coarser one."""
    limited: bool = field(default=True, compare=False)
    """Whether its expressions are stopped after a while: not if they come with this package."""

    def key_of(self, name: str) -> str:
        """The key of the record of a patch of that published name."""
        return self.key.replace(f"{{{self.key_column}}}", name)

    def name_of(self, key: str) -> str:
        """The published name of the patch whose record has that key."""
        before, after = self.key.split(f"{{{self.key_column}}}")
        return key[len(before) : len(key) - len(after)]

    def sidecar_of(self, name: str) -> str:
        """The file name of the JSON of a patch of that published name; empty without a sidecar."""
        return self.sidecar.file.replace(f"{{{self.key_column}}}", name) if self.sidecar else ""

    @property
    def key_column(self) -> str:
        """The table column that names its records."""
        return fields_of(self.key)[0]

    @property
    def interpolated(self) -> bool:
        """Whether coarser bands may be interpolated when they are stacked."""
        return self.kind != "classes"


@dataclass(frozen=True, slots=True)
class Published:
    """How many patches the publisher has put out."""

    source: str
    """Where the numbers come from."""
    patches: Mapping[str, int]
    """Modality -> patches; of modalities whose number is known."""
    together: int = 0
    """Patches that have all of these modalities; 0 if that is not known."""


@dataclass(frozen=True, slots=True)
class Defect:
    """Patches that are damaged in every copy of the data set: they are left out, and told."""

    patches: tuple[str, ...]
    """Identities."""
    what: str
    """What is wrong with them."""
    source: str
    """Who says so."""
    nan: bool = False
    """Whether NaN is all that is wrong: then they are stored if NaN is."""


@dataclass(frozen=True, slots=True)
class Description:
    """One published dataset: modalities, tables, splits and classes."""

    dataset: Dataset
    modalities: Mapping[str, ModalitySource]
    identity: str
    """The table column that names a row."""
    complete: bool = False
    """Whether a patch that lacks a modality is an error; otherwise it is only reported."""
    tables: Mapping[str, str] = field(default_factory=dict)
    """Table name -> file name under the source."""
    splits: Splits | None = None
    labels: Mapping[str, LabelRule] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)
    """Boolean column -> file with the patches for which it is true."""
    pairs: Pairs | None = None
    published: Published | None = None
    """How many patches there should be, if that is known."""
    defects: tuple[Defect, ...] = ()
    md5: Mapping[str, str] = field(default_factory=dict)
    """File name -> MD5 of the file as published, in hexadecimal."""

    @property
    def primary(self) -> ModalitySource:
        """The modality whose key column is the identity of a row."""
        return next(m for m in self.modalities.values() if m.key_column == self.identity)

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Label column -> class names in the official order."""
        return {column: rule.classes for column, rule in self.labels.items()}

    @property
    def target(self) -> str | None:
        """The label column that is learned if none is named: the one that says so, or the first."""
        said = [rule.column for rule in self.labels.values() if rule.default]
        return next(iter([*said, *self.labels]), None)

    @property
    def defective(self) -> frozenset[str]:
        """Identities of the patches with a known defect."""
        return frozenset(identity for defect in self.defects for identity in defect.patches)

    @property
    def split_column(self) -> str | None:
        """The table column with the split, if there is one."""
        return self.splits.column if self.splits else None

    @property
    def flag_columns(self) -> tuple[str, ...]:
        """Boolean columns; a row for which one is true is not recommended by its publisher."""
        return self.splits.flagged if self.splits else ()

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
        """Every file that a source may have besides its patches: part name -> file name."""
        files = dict(self.tables)
        if self.pairs:
            files["pairs"] = self.pairs.file
        if self.splits:
            files.update(self.splits.lists)
        return {**files, **self.flags}


@lru_cache(maxsize=256)  # the same few templates are asked for at every patch
def fields_of(template: str) -> tuple[str, ...]:
    """The names in braces, in their order, each once.

    Raises:
        ValueError: braces that do not match.
    """
    names = [name for _, name, _, _ in Formatter().parse(template) if name]
    return tuple(dict.fromkeys(names))
