"""What a published dataset looks like on disk: the dataclasses that a TOML description becomes.

`docs/your-own-dataset.md` shows how a description is made; `parse` reads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from string import Formatter

from patchpress.converter.descriptions.acquired import Acquired
from patchpress.converter.descriptions.band_files import BandFile, files_of_bands
from patchpress.converter.descriptions.embedded import EmbeddedFiles
from patchpress.converter.descriptions.formats import IS_TIFF, FileFormat
from patchpress.converter.descriptions.label_cells import NUMBER, LabelCells
from patchpress.converter.descriptions.table_source import TableSource
from patchpress.converter.descriptions.time import Time
from patchpress.readers.format.manifest import Dataset
from patchpress.readers.format.modality import Band
from patchpress.readers.format.time_axis import date_column, dates_column

KINDS = ("image", "classes")
SIZE_RULES = ("keep", "crop", "pad", "resize")
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
    map: str = ""
    """The modality of kind classes whose codes are those of the class list, if the labels do not
    follow from it."""
    default: bool = False
    """Whether it is the column that is learned if no other is named."""
    cells: LabelCells = field(default_factory=LabelCells)
    """How a table writes the labels."""

    @property
    def is_number(self) -> bool:
        """Whether the column holds a number to be predicted, and no classes."""
        return self.cells.kind == NUMBER


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
    rows_of: str = ""
    """The table whose rows the lists count, if they have numbers of rows instead of names."""
    first_row: int = 0
    """What number the first of these rows has: 0 or 1."""
    position: str = ""
    """Regular expression of the identity, with groups x and y: the patch's column and row."""
    tile_m: float = 0.0
    patch_m: float = 0.0
    group: str = ""
    """Regular expression of the identity, with a group ``group``: no split divides a group."""
    hold_out: tuple[str, ...] = ()
    """Groups that are test if there are no lists."""
    validation: tuple[str, ...] = ()
    """Groups that are validation if there are no lists."""


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
    names of the bands, or ``file`` by those of `files`; if it has an expression, files whose band
    or name does not match it are ignored.
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
    files: tuple[BandFile, ...] = ()
    """Which bands are in which file; empty if each has its own, or one file has all in order."""
    file_format: FileFormat = IS_TIFF
    """What kind of files they are."""
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
    embedded: EmbeddedFiles | None = None
    """Parquet files whose rows may be its patches instead of files in folders."""
    time: Time | None = None
    """How several acquisitions of a place become one record; None if a patch is one."""
    date: Acquired | None = None
    """Where the date of a patch stands that is one acquisition; None if nothing tells it."""
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

    def files_of(self, *, apart: bool) -> tuple[BandFile, ...]:
        """The files of a patch: several if they are `apart` (`Patch.apart`), else one."""
        return self.files or files_of_bands(self.bands, apart=apart)

    @property
    def key_column(self) -> str:
        """The table column that names its records."""
        return fields_of(self.key)[0]

    @property
    def steps(self) -> int:
        """How many acquisitions its records have room for; 0 if they have no time axis."""
        return self.time.steps if self.time else 0

    @property
    def is_dated(self) -> bool:
        """Whether each acquisition of a place has a folder or file of its own, by its date."""
        return self.time is not None and bool(self.time.date)

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
    tables: Mapping[str, TableSource] = field(default_factory=dict)
    """Table name -> its files under the source, and how they are read."""
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
    untried: str = ""
    """What it was made of, if nobody tried it with the published files; else empty."""

    @property
    def primary(self) -> ModalitySource:
        """The modality whose key column is the identity of a row."""
        return next(m for m in self.modalities.values() if m.key_column == self.identity)

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Label column -> class names in the official order; columns of numbers have none."""
        return {column: rule.classes for column, rule in self.labels.items() if not rule.is_number}

    @property
    def numbers(self) -> tuple[str, ...]:
        """The label columns that hold a number to be predicted."""
        return tuple(column for column, rule in self.labels.items() if rule.is_number)

    def follows(self, rule: LabelRule) -> bool:
        """Whether the labels of a column follow from those of another one."""
        return rule.rule == "mapped" or (
            bool(rule.rule) and rule.source not in self.modalities and rule.source in self.labels
        )

    @property
    def date_columns(self) -> tuple[str, ...]:
        """The columns that a store has with the date of each record."""
        return tuple(date_column(name) for name, one in self.modalities.items() if one.date)

    @property
    def has_keys(self) -> bool:
        """Whether tables say what their rows are found by: then they are joined by it."""
        return any(table.key for table in self.tables.values())

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
        files = {name: table.file for name, table in self.tables.items()}
        if self.pairs:
            files["pairs"] = self.pairs.file
        if self.splits:
            files.update(self.splits.lists)
        for name, modality in self.modalities.items():
            if modality.time and modality.time.table:
                files[dates_column(name)] = modality.time.table.file
        return {**files, **self.flags}


@lru_cache(maxsize=256)  # the same few templates are asked for at every patch
def fields_of(template: str) -> tuple[str, ...]:
    """The names in braces, in their order, each once.

    Raises:
        ValueError: braces that do not match.
    """
    names = [name for _, name, _, _ in Formatter().parse(template) if name]
    return tuple(dict.fromkeys(names))
