"""What users may ask for beside store and split: modalities, bands, targets, dtypes.

`Choice` lists all of it. The functions work out one wish each against a store's manifest; the rows
of the table are chosen in `patchpress.readers.rows`.
"""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any, TypedDict

import numpy as np

from patchpress.readers.access.bands import BandNames, bands_of
from patchpress.readers.errors import BandMissing, OptionError, SelectionEmpty
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.modality import Modality
from patchpress.readers.hints import hint

Bands = BandNames | Mapping[str, str | Sequence[str]]
Where = Any
"""Column -> value, or values of which a row must have one; or a pyarrow expression."""
DEFAULT_TARGET = ""  # stands for the label column that the manifest calls the target, if any
IGNORED = -100  # what torch.nn.CrossEntropyLoss ignores by default
FORMATS = ("tuple", "dict", "torchgeo")
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
          "float32", "float64")  # fmt: skip


class Choice(TypedDict, total=False):
    """What may be asked for beside store and split; everything has a default."""

    where: Where
    """Column -> value, or values of which a row must have one; or a pyarrow expression. A list of
    names of records (`patch_id`) gives the samples in its order, and must have no other names."""
    flagged: str | None
    """Rows that their publisher does not recommend for use: `exclude`, `include` or `only`; by
    default they are left out if a split is named, and are there if none is."""
    modalities: str | Sequence[str] | None
    """Modalities of kind image, in the order wanted; the store's first one by default."""
    pair_by: str | None
    """A column whose value joins rows to one sample, if modalities have no row in common: the
    place of an optical and a radar product, or their grid cell. Of several records of a modality
    with one value, that of the first row is taken; a warning counts the others."""
    missing: str
    """What happens to a sample that lacks a modality: `leave-out` (default), or `zeros`: its pixels
    are 0, also after they are normalised, and `present` of a batch, (N, modalities) bool, says
    which modalities each sample has, in the order of `Samples.modalities`. Of a map that is the
    target each pixel becomes `ignore_index`. A sample that lacks all images is left out."""
    missing_code: int | None
    """With `missing="zeros"`, what each pixel of a missing map becomes if the map is read as an
    image; it has no default, because 0 may be a class."""
    bands: Bands
    """Names, a set (`rgb`, `10m`, `20m`, `all`), or either for each modality; all by default."""
    joined: bool
    """True (default): several modalities become one array, their channels one after another.
    False: one array for each modality, by its name."""
    dtype: Any
    """The images' dtype if it is not to be the stored one, as NumPy or torch name it; it must hold
    every stored value. Joined modalities of uint16 and float32 become float32."""
    target: str | Sequence[str] | None
    """A label column, a map, both, or None; by default the label column that the manifest calls
    the target. A row without it is no sample."""
    class_order: str
    """Index order of classes: `official` (default) or `alphabetical`."""
    mask_labels: str | None
    """The label column whose classes the codes of a map become; by default that of the label, if
    there is one, or the manifest's target."""
    ignore_index: int
    """What pixels of a map become that have no class; -100 by default, as torch's losses ignore
    it."""
    label_dtype: Any
    """The labels' dtype, as NumPy or torch name it. By default zeros and ones are float32, as
    torch's `BCEWithLogitsLoss` takes them, and the index of a class is int64."""
    columns: str | Sequence[str]
    """Columns of the table that a sample has, too, such as `country`; `bounds` stands for `left`,
    `bottom`, `right` and `top` as one array."""
    sample_format: str
    """`tuple` (default): (image, targets ..., present, key, columns), as far as they are asked for;
    `dict`: the same by the names image, label, mask, present, key and those of the columns;
    `torchgeo`: that dict as TorchGeo has it, images float32, labels int64, the mask of a single
    sample (1, height, width)."""
    with_key: bool
    """Whether a sample also has the key of its first modality."""


DEFAULTS: Choice = {
    "where": None,
    "flagged": None,
    "modalities": None,
    "pair_by": None,
    "missing": "leave-out",
    "missing_code": None,
    "bands": None,
    "joined": True,
    "dtype": None,
    "target": DEFAULT_TARGET,
    "class_order": "official",
    "mask_labels": None,
    "ignore_index": IGNORED,
    "label_dtype": None,
    "columns": (),
    "sample_format": "tuple",
    "with_key": False,
}


OF_DATA_LOADERS = frozenset(
    ("batch_sampler", "collate_fn", "generator", "multiprocessing_context", "num_workers",
     "persistent_workers", "pin_memory", "prefetch_factor", "timeout", "worker_init_fn")
)  # fmt: skip
"""Keywords that people who know torch's `DataLoader` try first."""


def check_transform(transform: object, name: str = "transform") -> None:
    """Refuse what cannot be called with a sample or a batch.

    Raises:
        OptionError: it is neither None nor a function.
    """
    if transform is not None and not callable(transform):
        raise OptionError(f"{name} must be a function, not {transform!r}")


def completed(choice: Choice, asking: type) -> Choice:
    """The choice with a value for everything.

    Args:
        choice: what was asked for.
        asking: the class that was called with it, for the message.

    Raises:
        OptionError: a keyword that there is not; the message has the nearest one.
    """
    known = [*signature(asking).parameters, *DEFAULTS]
    for name in choice:
        if name in OF_DATA_LOADERS and name not in known:
            raise OptionError(
                f"{name!r} is a keyword of torch's DataLoader, which takes a PatchDataset; "
                f"{asking.__name__} has no such keyword (a PatchLoader reads in `threads`)"
            )
        if name not in DEFAULTS:
            own = [keyword for keyword in known if keyword not in ("store", "choice")]
            raise OptionError(f"unknown keyword {name!r} for {asking.__name__}; {hint(name, own)}")
    if choice.get("sample_format", "tuple") not in FORMATS:
        raise OptionError(
            f"there is no sample format {choice['sample_format']!r}; choose "
            f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        )
    return {**DEFAULTS, **choice}


def images_asked(manifest: Manifest, asked: str | Sequence[str] | None) -> list[Modality]:
    """The modalities that become images; the store's first one for None.

    Raises:
        SelectionEmpty: no such modality; the message lists those there are.
        OptionError: an empty list.
    """
    known = [m.name for m in manifest.modalities.values() if m.kind == "image"]
    if asked is None and not known:
        raise SelectionEmpty("the store has no modality of kind image")
    names = known[:1] if asked is None else [asked] if isinstance(asked, str) else asked
    found = [manifest.modality(name) for name in dict.fromkeys(names)]
    if not found:
        raise OptionError("modalities must name at least one")
    return found


def targets_asked(
    manifest: Manifest, asked: str | Sequence[str] | None
) -> tuple[list[str], list[Modality]]:
    """(label columns, maps): at most one of each.

    Raises:
        OptionError: no such target, or more than one of a kind.
    """
    if asked == DEFAULT_TARGET:
        asked = manifest.target
    names = [] if asked is None else [asked] if isinstance(asked, str) else list(asked)
    maps = {m.name: m for m in manifest.modalities.values() if m.kind == "classes"}
    for name in names:
        if name not in manifest.targets and name not in maps:
            raise OptionError(
                f"there is no target {name!r}; label columns there: "
                f"{', '.join(manifest.targets) or 'none'}; maps: {', '.join(maps) or 'none'}"
            )
    found = (
        [name for name in dict.fromkeys(names) if name in manifest.targets],
        [maps[name] for name in dict.fromkeys(names) if name in maps],
    )
    if len(found[0]) > 1 or len(found[1]) > 1:
        raise OptionError(f"a sample has one label and one mask, not {', '.join(names)}")
    return found


def as_dtype(asked: Any) -> np.dtype[Any]:
    """A dtype from a name, or from what NumPy or torch has for it; `object` for anything else."""
    if type(asked).__module__ == "torch":  # torch.float32: its name without the package
        asked = str(asked).removeprefix("torch.")
    try:
        found: np.dtype[Any] = np.dtype(asked)
    except TypeError:
        return np.dtype(object)
    return found


def image_dtype(asked: Any, stored: set[np.dtype[Any]]) -> np.dtype[Any]:
    """The dtype that images are cast to.

    Raises:
        OptionError: no such dtype, or one that does not hold every value of the stored ones.
    """
    known = [np.dtype(name) for name in DTYPES]
    fit = [kind.name for kind in known if all(np.can_cast(k, kind, "safe") for k in stored)]
    wanted = as_dtype(asked)
    if wanted not in known:
        raise OptionError(f"there is no dtype {asked!r} for images; choose {', '.join(fit)}")
    if wanted.name not in fit:
        there = " and ".join(sorted(kind.name for kind in stored))
        raise OptionError(f"{asked} does not hold every value of {there}; choose {', '.join(fit)}")
    return wanted


def bands_by_modality(
    modalities: Sequence[Modality], asked: Bands
) -> dict[str, tuple[str, ...] | None]:
    """The bands of each modality: a set applies to all, a name to the modality that has it.

    Raises:
        BandMissing: no such band or set.
        OptionError: bands of a modality that was not asked for, or none of one that was.
    """
    if isinstance(asked, Mapping):
        return _mapped(modalities, asked)
    if asked is None or isinstance(asked, str) or len(modalities) == 1:
        return {modality.name: bands_of(modality, asked) for modality in modalities}
    known = [name for modality in modalities for name in modality.band_names]
    for name in asked:
        if all(modality.band_named(name) is None for modality in modalities):
            raise BandMissing(f"there is no band {name!r}; there are {', '.join(known)}")
    named = {m.name: [m.band_named(name) for name in asked] for m in modalities}
    found = {name: tuple(n for n in names if n is not None) for name, names in named.items()}
    for name, names in found.items():
        if not names:
            wanted = ", ".join(asked) or "asked for"
            raise OptionError(f"none of the bands {wanted} is of {name!r}: leave it out")
    return dict(found)


def _mapped(
    modalities: Sequence[Modality], asked: Mapping[str, str | Sequence[str]]
) -> dict[str, tuple[str, ...] | None]:
    names = [modality.name for modality in modalities]
    for name in asked:
        if name not in names:
            there = ", ".join(names)
            raise OptionError(f"bands of {name!r} were asked for, but only {there} is read")
    return {modality.name: bands_of(modality, asked.get(modality.name)) for modality in modalities}
