"""What a model sees of a store, row by row: pixels, labels, masks, keys. Without any framework.

`PatchDataset` and `PatchLoader` stand on it; whoever uses another framework can, too.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from readers.choice import FIRST, Bands, Where, bands_by_modality, rows_of
from readers.errors import OptionError, SelectionEmpty
from readers.manifest import Modality
from readers.records import Records
from readers.store import Store, open_store
from readers.table import key_column, keys_in, presence_column
from readers.targets import IGNORED, CodeTable, class_order, label_array

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]
FORMS = ("tuple", "dict")
IMAGE, LABEL, MASK = "image", "label", "mask"
CHUNK = 8  # patches cast at a time: few enough to stay in the processor's cache
ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Field:
    """One array of a batch: its name, the shape of one sample, its dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class _Image:
    """One image array of a sample, made of the records of one or more modalities."""

    field: Field
    parts: tuple[Records, ...]


class Samples:
    """Rows of a store that a model sees, and how to fill arrays with them.

    Rows that lack one of the modalities asked for are left out and counted in `left_out`. Safe in
    threads, after a fork, and picklable.
    """

    def __init__(
        self,
        store: Store | str,
        split: str | None = None,
        *,
        modalities: str | Sequence[str] | None = None,
        bands: Bands = None,
        joined: bool = True,
        dtype: str | None = None,
        where: Where = None,
        target: str | Sequence[str] | None = FIRST,
        order: str = "official",
        classes: str | None = None,
        ignore_index: int = IGNORED,
        form: str = "tuple",
        with_key: bool = False,
    ) -> None:
        """Find the rows and their records; see `readers.choice.Choice` for what each argument asks for.

        Raises:
            SelectionEmpty: nothing is selected; the message lists what there is.
            BandMissing, OptionError: a band, modality, column or option that is not there.
        """
        self.store = store if isinstance(store, Store) else open_store(store)
        if form not in FORMS:
            raise OptionError(f"there is no sample form {form!r}; choose {' or '.join(FORMS)}")
        self.form, self.with_key = form, with_key
        images = self._images_asked(modalities)
        columns, maps = self._targets_asked(target)
        rows = rows_of(self.store, split, where)
        there = self._present(rows, [*images, *maps])
        self.left_out = len(rows) - len(there)
        self.ignore_index = ignore_index
        self._images = self._find_images(images, bands, there, joined, dtype)
        self._label_fields, self._labels = self._read_labels(columns, order, there)
        self._maps = [self._find_map(m, classes, order, ignore_index, there) for m in maps]
        self.classes = class_order(self.store.manifest, columns[0], order) if columns else ()
        """Names of the label's classes by index."""
        self._scratch = threading.local()

    def __len__(self) -> int:
        return len(self._first)

    @property
    def _first(self) -> Records:
        return self._images[0].parts[0]

    @property
    def fields(self) -> tuple[Field, ...]:
        """The arrays of a batch, in the order of a sample."""
        masks = [Field(MASK, r.shape[1:], np.dtype(np.int64)) for r, _ in self._maps]
        return (*(image.field for image in self._images), *self._label_fields, *masks)

    @property
    def is_plain(self) -> bool:
        """Whether a sample is its arrays in their order, or the one that it has."""
        return self.form == "tuple" and not self.with_key and len(self._images) == 1

    def key(self, index: int) -> str:
        """The name of a sample: the key of its first modality."""
        return self._first.key(int(index))

    def keys(self, indices: Sequence[int] | Array) -> list[str]:
        """The names of some samples."""
        return [self.key(int(index)) for index in indices]

    def nbytes(self, count: int) -> int:
        """Bytes of a buffer for `count` samples, as `arrays` lays them out."""
        return sum(_aligned(count * _nbytes(field)) for field in self.fields)

    def arrays(self, buffer: npt.NDArray[np.uint8], count: int) -> dict[str, Array]:
        """The arrays of a batch of `count` samples inside one buffer of `nbytes(count)` bytes."""
        found: dict[str, Array] = {}
        at = 0
        for field in self.fields:
            nbytes = count * _nbytes(field)
            flat = buffer[at : at + nbytes].view(field.dtype)
            found[field.name] = flat.reshape(count, *field.shape)
            at += _aligned(nbytes)
        return found

    def read(self, indices: Sequence[int] | Array, out: Mapping[str, Array] | None = None) -> Any:
        """Samples as a dict of arrays by field name, each (N, ...); `out` is filled if given.

        Raises:
            StoreDamaged: a record that does not parse; the message names it.
        """
        indices = np.asarray(indices, np.int64)
        if out is None:
            buffer = np.empty(self.nbytes(len(indices)), np.uint8)
            out = self.arrays(buffer, len(indices))
        for image in self._images:
            self._read_image(image, indices, out[image.field.name])
        for field, values in zip(self._label_fields, self._labels, strict=True):
            np.take(values, indices, axis=0, out=out[field.name], mode="clip")
        for records, table in self._maps:
            codes = records.read(indices)[:, 0]
            keys = [records.key(int(index)) for index in indices]
            table.apply(codes, out[MASK], keys)
        return out

    def announce(self, indices: Sequence[int] | Array) -> None:
        """Say that these will be read soon, so that the disk can begin."""
        for image in self._images:
            for records in image.parts:
                records.announce(indices)
        for records, _ in self._maps:
            records.announce(indices)

    def assemble(self, arrays: Mapping[str, Any], keys: Any) -> Any:
        """Arrays or tensors by field name, in the form that was asked for; `keys` where wanted."""
        if self.form == "dict":
            return {**arrays, "key": keys} if self.with_key else dict(arrays)
        names = [image.field.name for image in self._images]
        image = {name.removeprefix(f"{IMAGE}_"): arrays[name] for name in names}
        image = arrays[names[0]] if len(names) == 1 else image
        rest = [arrays[field.name] for field in self.fields[len(names) :]]
        sample = (image, *rest, *([keys] if self.with_key else ()))
        return sample[0] if len(sample) == 1 else sample

    def _images_asked(self, asked: str | Sequence[str] | None) -> list[Modality]:
        manifest = self.store.manifest
        known = [m for m in manifest.modalities.values() if m.kind == "image"]
        if asked is None and not known:
            raise SelectionEmpty(f"{self.store.path} has no modality of kind image")
        names = [known[0].name] if asked is None else [asked] if isinstance(asked, str) else asked
        found = [manifest.modality(name) for name in dict.fromkeys(names)]
        if not found:
            raise OptionError("modalities must name at least one")
        return found

    def _targets_asked(self, asked: str | Sequence[str] | None) -> tuple[list[str], list[Modality]]:
        """(label columns, maps): at most one of each."""
        manifest = self.store.manifest
        if asked == FIRST:
            asked = list(manifest.classes)[:1]
        names = [] if asked is None else [asked] if isinstance(asked, str) else list(asked)
        columns = [name for name in names if name in manifest.classes]
        maps = [m for m in manifest.modalities.values() if m.kind == "classes" and m.name in names]
        for name in names:
            if name not in columns and name not in [m.name for m in maps]:
                kinds = [m.name for m in manifest.modalities.values() if m.kind == "classes"]
                raise OptionError(
                    f"there is no target {name!r}; label columns there: "
                    f"{', '.join(manifest.classes) or 'none'}; maps: {', '.join(kinds) or 'none'}"
                )
        if len(columns) > 1 or len(maps) > 1:
            raise OptionError(f"a sample has one label and one mask, not {', '.join(names)}")
        return columns, maps

    def _present(self, rows: "pa.Table", modalities: Sequence[Modality]) -> "pa.Table":
        """Rows that have a record of every modality."""
        there = rows
        for modality in modalities:
            there = there.filter(there[presence_column(modality.name)])
        if not len(there):
            names = " and ".join(m.name for m in modalities)
            raise SelectionEmpty(f"none of the {len(rows):,} rows selected has {names}")
        return there

    def _find_images(
        self,
        modalities: Sequence[Modality],
        bands: Bands,
        rows: "pa.Table",
        joined: bool,
        dtype: str | None,
    ) -> tuple[_Image, ...]:
        wanted = bands_by_modality(modalities, bands)
        parts = [
            self.store.records(keys_in(m, rows[key_column(m)]), wanted[m.name]) for m in modalities
        ]
        if joined or len(parts) == 1:
            return (self._join(IMAGE, parts, dtype),)
        named = zip(modalities, parts, strict=True)
        return tuple(self._join(f"{IMAGE}_{m.name}", [part], dtype) for m, part in named)

    def _join(self, name: str, parts: Sequence[Records], dtype: str | None) -> _Image:
        sizes = {part.shape[1:] for part in parts}
        if len(sizes) > 1:
            raise OptionError(f"{name}: sizes {sizes} do not fit on one grid: give joined=False")
        stored = {part.dtype for part in parts}
        kind = np.result_type(*stored) if dtype is None else _checked(dtype, stored)
        count = sum(part.shape[0] for part in parts)
        return _Image(Field(name, (count, *sizes.pop()), kind), tuple(parts))

    def _read_labels(
        self, columns: Sequence[str], order: str, rows: "pa.Table"
    ) -> tuple[list[Field], list[Array]]:
        fields, arrays = [], []
        for column in columns:
            names = class_order(self.store.manifest, column, order)
            values = label_array(rows[column], self.store.manifest.classes[column], names)
            fields.append(Field(LABEL, values.shape[1:], values.dtype))
            arrays.append(values)
        return fields, arrays

    def _find_map(
        self, modality: Modality, column: str | None, order: str, ignored: int, rows: "pa.Table"
    ) -> tuple[Records, CodeTable]:
        column = column or next(iter(modality.codes), "labels")
        table = CodeTable(modality, self.store.manifest, column, order, ignored)
        keys = keys_in(modality, rows[key_column(modality)])
        return self.store.records(keys, modality.band_names[:1]), table

    def _read_image(self, image: _Image, indices: Array, out: Array) -> None:
        if len(image.parts) == 1 and image.parts[0].dtype == out.dtype:
            image.parts[0].read(indices, out)
            return
        for begin in range(0, len(indices), CHUNK):
            some = indices[begin : begin + CHUNK]
            channel = 0
            for number, part in enumerate(image.parts):
                pixels = part.read(some, self._chunk(image.field.name, number, part)[: len(some)])
                out[begin : begin + CHUNK, channel : channel + len(pixels[0])] = pixels
                channel += len(pixels[0])

    def _chunk(self, name: str, number: int, part: Records) -> Array:
        """This thread's reused array for some patches of a modality, before they are cast."""
        arrays: dict[Any, Array] = self._scratch.__dict__
        found = arrays.get(f"{name}-{number}")
        if found is None:
            found = arrays[f"{name}-{number}"] = np.empty((CHUNK, *part.shape), part.dtype)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_scratch"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._scratch = threading.local()


def _checked(dtype: str, stored: set[np.dtype[Any]]) -> np.dtype[Any]:
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        raise OptionError(
            f"there is no dtype {dtype!r}; float32 holds every stored value"
        ) from None
    for kind in stored:
        if not np.can_cast(kind, wanted, "safe"):
            raise OptionError(f"{dtype} does not hold every value of {kind}; float32 does")
    return wanted


def _nbytes(field: Field) -> int:
    return prod(field.shape) * field.dtype.itemsize


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
