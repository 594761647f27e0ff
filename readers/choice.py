"""Which rows and which bands: what users may ask for, worked out against a store."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from patchpress.readers.errors import BandMissing, OptionError, SelectionEmpty
from patchpress.readers.format.manifest import Manifest, Modality
from patchpress.readers.format.table import presence_column

if TYPE_CHECKING:
    import pyarrow as pa

    from patchpress.readers.store import Store

Bands = str | Sequence[str] | Mapping[str, str | Sequence[str]] | None
Where = Any
"""Column -> value, or values of which one must hold; or a pyarrow expression."""
FIRST = ""  # the target where none is named: the store's first label column, if it has one
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
          "float32", "float64")  # fmt: skip
SETS = "`rgb`, `all`, or a ground sampling distance such as `10m`"


class Choice(TypedDict, total=False):
    """What may be asked for beside store and split; every one has a default."""

    modalities: str | Sequence[str] | None
    """Modalities of kind image, in the order wanted; the store's first one by default."""
    bands: Bands
    """Names, a set (`rgb`, `10m`, `20m`, `all`), or either for each modality; all by default."""
    joined: bool
    """Several modalities as one array, channels behind one another (default), or each by name."""
    dtype: str | None
    """The images' dtype where it is not the stored one; it must hold every stored value. Joined
    modalities of uint16 and float32 become float32."""
    where: Where
    """Column -> value, or values of which one must hold; or a pyarrow expression."""
    target: str | Sequence[str] | None
    """A label column, a map, both, or None; by default `FIRST`."""
    order: str
    """Index order of classes: `official` (default) or `alphabetical`."""
    classes: str | None
    """The label column whose classes a map's codes become; the map's first one by default."""
    ignore_index: int
    """What a map's pixels without a class become; -100 by default, as torch's losses ignore it."""
    form: str
    """`tuple` (default): (image, targets ..., key); `dict`: by the names image, label, mask, key,
    as TorchGeo has them."""
    with_key: bool
    """Whether the key of the first modality comes along."""


def images_asked(store: "Store", asked: str | Sequence[str] | None) -> list[Modality]:
    """The modalities that become images; the store's first one for None.

    Raises:
        SelectionEmpty: no such modality; the message lists what there is.
        OptionError: none at all.
    """
    manifest = store.manifest
    known = [m.name for m in manifest.modalities.values() if m.kind == "image"]
    if asked is None and not known:
        raise SelectionEmpty(f"{store.path} has no modality of kind image")
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
    if asked == FIRST:
        asked = list(manifest.classes)[:1]
    names = [] if asked is None else [asked] if isinstance(asked, str) else list(asked)
    maps = {m.name: m for m in manifest.modalities.values() if m.kind == "classes"}
    for name in names:
        if name not in manifest.classes and name not in maps:
            raise OptionError(
                f"there is no target {name!r}; label columns there: "
                f"{', '.join(manifest.classes) or 'none'}; maps: {', '.join(maps) or 'none'}"
            )
    found = (
        [name for name in dict.fromkeys(names) if name in manifest.classes],
        [maps[name] for name in dict.fromkeys(names) if name in maps],
    )
    if len(found[0]) > 1 or len(found[1]) > 1:
        raise OptionError(f"a sample has one label and one mask, not {', '.join(names)}")
    return found


def image_dtype(asked: str, stored: set[np.dtype[Any]]) -> np.dtype[Any]:
    """The dtype that images are cast to.

    Raises:
        OptionError: no such dtype, or one that does not hold every value of the stored ones.
    """
    known = [np.dtype(name) for name in DTYPES]
    fit = [kind.name for kind in known if all(np.can_cast(k, kind, "safe") for k in stored)]
    try:
        wanted = np.dtype(asked)
    except TypeError:
        wanted = np.dtype(object)
    if wanted not in known:
        raise OptionError(f"there is no dtype {asked!r} for images; choose {', '.join(fit)}")
    if wanted.name not in fit:
        there = " and ".join(sorted(kind.name for kind in stored))
        raise OptionError(f"{asked} does not hold every value of {there}; choose {', '.join(fit)}")
    return wanted


def bands_of(modality: Modality, asked: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Names of bands from a list of names, one name, or a set; None for all.

    Raises:
        BandMissing: no such band or set; the message lists the bands.
    """
    if asked is None or asked == "all":
        return None
    if not isinstance(asked, str):
        names = tuple(asked)
        modality.indices(names)
        return names
    if asked in modality.band_names:
        return (asked,)
    if asked == "rgb":
        found = modality.rgb
    elif asked.endswith("m") and asked[:-1].replace(".", "", 1).isdecimal():
        found = tuple(b.name for b in modality.bands if b.gsd == float(asked[:-1]))
    else:
        raise BandMissing(
            f"modality {modality.name!r} has no band or set {asked!r}; it has "
            f"{', '.join(modality.band_names)}, and sets are {SETS}"
        )
    if not found:
        sampled = sorted({f"{band.gsd:g}m" for band in modality.bands})
        raise BandMissing(
            f"modality {modality.name!r} has no bands {asked!r}; it has "
            f"{', '.join(modality.band_names)} ({', '.join(sampled)})"
        )
    return found


def bands_by_modality(
    modalities: Sequence[Modality], asked: Bands
) -> dict[str, tuple[str, ...] | None]:
    """The bands of each modality: a set applies to all, names to the modality that has them.

    Raises:
        BandMissing: no such band or set.
        OptionError: bands of a modality that was not asked for, or of none of one that was.
    """
    if asked is None or isinstance(asked, str) or len(modalities) == 1:
        if isinstance(asked, Mapping):
            return _mapped(modalities, asked)
        return {modality.name: bands_of(modality, asked) for modality in modalities}
    if isinstance(asked, Mapping):
        return _mapped(modalities, asked)
    known = [name for modality in modalities for name in modality.band_names]
    for name in asked:
        if name not in known:
            raise BandMissing(f"there is no band {name!r}; there are {', '.join(known)}")
    found = {m.name: tuple(n for n in asked if n in m.band_names) for m in modalities}
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


def rows_of(store: "Store", split: str | None, where: Where) -> "pa.Table":
    """Rows of the table in a split for which `where` holds, all columns.

    Raises:
        SelectionEmpty: there is none; the message lists what there is.
        OptionError: a column that is not there, or a value of another type.
    """
    rows = store.table(split)
    if where is None:
        return rows
    if not isinstance(where, Mapping):
        return _by_expression(rows, where)
    for column, value in where.items():
        if column not in rows.column_names:
            raise OptionError(
                f"the table has no column {column!r}; it has {', '.join(rows.column_names)}"
            )
        kept = rows.filter(_mask(store.manifest, column, rows[column], value))
        if not len(kept):
            raise SelectionEmpty(_nothing(column, rows[column], value, split))
        rows = kept
    return rows


def rows_with(rows: "pa.Table", modalities: Sequence[Modality]) -> "pa.Table":
    """Rows that have a record of every modality.

    Raises:
        SelectionEmpty: there is none.
    """
    there = rows
    for modality in modalities:
        there = there.filter(there[presence_column(modality.name)])
    if not len(there):
        names = " and ".join(modality.name for modality in modalities)
        raise SelectionEmpty(f"none of the {len(rows):,} rows selected has {names}")
    return there


def _by_expression(rows: "pa.Table", where: Where) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.compute as pc

    if not isinstance(where, pc.Expression):
        raise OptionError(
            f"where must be a mapping of columns to values, or a pyarrow expression, not {where!r}"
        )
    try:
        kept = rows.filter(where)
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        columns = ", ".join(rows.column_names)
        raise OptionError(f"{where} cannot be applied ({reason}); columns: {columns}") from None
    if not len(kept):
        raise SelectionEmpty(f"no row of {len(rows):,} fulfils {where}")
    return kept


def _mask(manifest: Manifest, column: str, values: Any, wanted: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    several = isinstance(wanted, Iterable) and not isinstance(wanted, (str, bytes, Mapping))
    among = list(wanted) if several else [wanted]
    if column in manifest.classes:
        for name in among:
            _check_class(manifest.classes[column], column, name)
    kind = values.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    try:
        options = pa.array(among, kind.value_type if lists else kind)
    except (pa.ArrowException, OverflowError):
        raise OptionError(f"column {column!r} has {kind}, so {wanted!r} is never in it") from None
    if not lists:
        return pc.is_in(values, value_set=options)
    rows = pc.list_parent_indices(values).filter(
        pc.is_in(pc.list_flatten(values), value_set=options)
    )
    return pc.is_in(pa.array(range(len(values)), rows.type), value_set=rows)


def _check_class(names: Sequence[str], column: str, name: object) -> None:
    if name in names or not isinstance(name, str):
        return
    near = get_close_matches(name, names, n=3)
    hint = f"nearest: {', '.join(near)}" if near else f"there are {', '.join(names)}"
    raise OptionError(f"{name!r} is no class of column {column!r}; {hint}")


def _nothing(column: str, values: Any, wanted: Any, split: str | None) -> str:
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = pc.list_flatten(values) if hasattr(values.type, "value_type") else values
    there = pc.unique(flat).to_pylist() if not pa.types.is_floating(flat.type) else []
    shown = ", ".join(str(value) for value in there[:20]) + (", …" if len(there) > 20 else "")
    inside = f" of split {split!r}" if split else ""
    return f"no patch{inside} has {wanted!r} in column {column!r}; there are {shown or 'others'}"
