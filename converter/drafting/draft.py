"""What a first description says, before it is text."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from patchpress.converter.drafting.channels import Scheme

IDENTITY = "patch_id"


@dataclass(frozen=True, slots=True)
class DraftBand:
    """One band, or so many alike whose names are numbered."""

    name: str
    gsd: float
    dtype: str
    shape: tuple[int, int]
    count: int = 0


@dataclass(frozen=True, slots=True)
class DraftTime:
    """That places were seen several times."""

    steps: int
    date: str = ""
    """Template of the date, if each has a folder or file of its own."""
    format: str = ""
    """As `strptime` takes it; empty for ISO 8601."""
    order: str = ""
    """How the dates are stacked in a file, if they are."""


@dataclass(slots=True, kw_only=True)
class DraftModality:
    """One modality of a first description."""

    name: str
    title: str
    scheme: Scheme
    file: str
    """Template of a file's name; ``{}`` stands for the patch's own name."""
    bands: list[DraftBand]
    kind: str = "image"
    format: str = "tiff"
    axes: str = ""
    """Of arrays of NumPy: their order."""
    files: list[tuple[str, list[str]]] = field(default_factory=list)
    """Name of a file and its bands, if there are several with several bands."""
    part: str = ""
    """Regular expression of what stands for ``{band}`` or ``{file}``, if it must be told."""
    any_size: bool = False
    shift: float = 0.0
    """How far the grounds of a patch's files lie apart, in pixels of the coarser one."""
    time: DraftTime | None = None
    date: tuple[str, str] | None = None
    """Expression of the names of patches that tell when each was acquired, and the date's format.
    """
    remarks: dict[str, str] = field(default_factory=dict)
    """Key -> what a person must decide about it."""
    notes: list[str] = field(default_factory=list)
    """What was seen and is not described, a clause each."""
    # What `naming` decides:
    folder: str = "."
    archives: list[str] = field(default_factory=list)
    path: str = ""
    key: str = ""
    identity: str = ""
    """Template of the published name, if that is not one field."""
    patch: str = ""
    """Template of the row's identity, if it is not the name."""
    fields: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    """Identities of the patches that were seen."""
    is_linked: bool = True
    """Whether something tells which row a patch belongs to."""
    sidecar: str = ""
    sidecar_columns: dict[str, str] = field(default_factory=dict)

    @property
    def rgb_names(self) -> list[str]:
        """The names of its bands, numbered ones left out."""
        return [band.name for band in self.bands if not band.count]


@dataclass(slots=True)
class DraftTable:
    """A table beside the patches."""

    name: str
    file: str
    key: str = ""
    """The column with the patches' names, if it is not called as the identity."""
    columns: dict[str, str] = field(default_factory=dict)
    """Our column -> the file's; empty for all."""


@dataclass(slots=True)
class DraftLabels:
    """A column of labels."""

    classes: list[str]
    remark: str = ""
    kind: str = ""
    """What a table has in it, if its cells do not tell."""


@dataclass(slots=True)
class Draft:
    """A whole first description."""

    name: str
    modalities: list[DraftModality]
    whole: bool = True
    """Whether all patches were seen."""
    labels: dict[str, DraftLabels] = field(default_factory=dict)
    """Column -> its classes."""
    tables: list[DraftTable] = field(default_factory=list)
    split_column: str = ""
    split_names: list[str] = field(default_factory=list)
    lists: dict[str, str] = field(default_factory=dict)
    list_suffix: str = ""
    flags: Mapping[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    """What was seen and is not described, a sentence each."""
