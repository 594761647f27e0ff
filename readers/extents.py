"""Where each record lies: key -> (shard, byte offset, length), kept beside the store.

With it a reader goes to a record's bytes without LMDB: it can announce a batch to the kernel before
it reads, read a band alone, and touch no page twice. Nothing needs it: it is made from the LMDB,
is tied to that file's identity, and a reader that finds it stale goes without.

The file is one safetensors file, mapped and not parsed, so opening it costs the same for 37 records
as for a million, and processes share it.
"""

import json
import mmap
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from readers.btree import Tree
from readers.errors import StoreDamaged
from readers.files import open_file
from readers.manifest import EXTENTS, write_whole
from readers.record import Form, form_of, header_of, parse_header

FORMAT = "patchpress-extents"
VERSION = "1"
UNKNOWN = 0xFFFF  # the form of a record that must be asked itself: compressed, or no safetensors
HEADERS_AHEAD = 1024  # first pages announced together where headers have to be read
FORMS_KEPT = 256  # more are sizes of patches that vary; they stand in the header of the file


@dataclass(frozen=True, eq=False)
class Extents:
    """Keys in ascending order, and where their records lie. Arrays (records,), on the mapped file.

    `form` is the place in `forms` of the header that a record begins with, or `UNKNOWN`.
    """

    keys: npt.NDArray[np.bytes_]
    shard: npt.NDArray[np.uint16]
    offset: npt.NDArray[np.uint64]
    length: npt.NDArray[np.uint64]
    form: npt.NDArray[np.uint16]
    forms: tuple[bytes, ...]
    files: tuple[Mapping[str, Any], ...]
    """Of each data file the path in the store, its bytes and its identity."""
    _seen: dict[str, int] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def identity(self) -> str:
        """What it was made from, as text: equal for equal data files."""
        return json.dumps([dict(entry) for entry in self.files], sort_keys=True)

    def key(self, position: int) -> str:
        """The key at a position."""
        return bytes(self.keys[position]).decode(errors="backslashreplace")

    def positions(self, keys: Sequence[str]) -> list[int]:
        """The position of each key, -1 where there is no such record.

        A key is searched once; from then on one look into a dictionary finds it.
        """
        try:
            found = [self._seen.get(key) for key in keys]
        except TypeError:  # a name that cannot be hashed is no text
            return [self.positions([key])[0] if isinstance(key, str) else -1 for key in keys]
        if None in found:
            places: list[int] = self.positions_of(self._encoded(keys)).tolist()
            pairs = zip(keys, places, strict=True)
            self._seen.update((key, place) for key, place in pairs if place >= 0)
            return places
        return found  # type: ignore[return-value]

    def positions_of(self, names: npt.NDArray[np.bytes_]) -> npt.NDArray[np.int64]:
        """The position of each key, encoded as UTF-8, -1 where there is no such record."""
        if not len(self.keys):
            return np.full(len(names), -1, np.int64)
        places = np.searchsorted(self.keys, names).astype(np.int64)
        places[places == len(self.keys)] = 0
        places[self.keys[places] != names] = -1
        return places

    def _encoded(self, keys: Sequence[str]) -> npt.NDArray[np.bytes_]:
        """Keys as bytes; what can be no key becomes one that is not there."""
        encoded = []
        for key in keys:
            try:
                name = key.encode() if isinstance(key, str) else b""
            except UnicodeEncodeError:
                name = b""
            # NumPy pads with zero bytes, so a name that ends in one would equal another.
            encoded.append(b"" if name.endswith(b"\0") else name)
        return np.array(encoded, "S")


@dataclass(frozen=True)
class Scan:
    """Every value of one data file in the order of its keys, and the file's identity."""

    keys: npt.NDArray[np.bytes_]
    offset: npt.NDArray[np.uint64]
    length: npt.NDArray[np.uint64]
    facts: Mapping[str, Any]


def scan(path: Path) -> Scan:
    """Read where every value of a data file lies.

    Raises:
        StoreMissing, StoreDamaged: it is not there, no LMDB data file, or has a key that cannot be
            the name of a patch.
    """
    file = open_file(path)
    if not file.size:
        raise StoreDamaged(f"{path} is empty: copy or convert it again")
    tree = Tree(file.bytes, path)
    keys: list[bytes] = []
    offset, length = array("Q"), array("Q")
    for value in tree.values():
        if value.key.endswith(b"\0"):
            raise StoreDamaged(
                f"{path} has a key that ends in a zero byte ({value.key!r}): no store"
            )
        keys.append(value.key)
        offset.append(value.offset)
        length.append(value.length)
    return Scan(
        np.array(keys, "S"),
        np.frombuffer(offset, np.uint64),
        np.frombuffer(length, np.uint64),
        {"bytes": file.size, "identity": tree.identity()},
    )


class Headers:
    """What records begin with, noted in the order of their keys: the `form` column."""

    def __init__(self) -> None:
        self._forms: dict[bytes, int] = {}
        self._column = array("H")
        self._sizes: list[int] = []

    @property
    def forms(self) -> tuple[bytes, ...]:
        """The different headers, as they first came."""
        return tuple(self._forms)

    def note(self, record: memoryview) -> None:
        """Take the header of the next record, if it is a whole uncompressed one."""
        try:
            header = header_of(record)
            form = self._forms.get(header)
            if form is None:
                size = parse_header(header).size
                if len(self._forms) >= FORMS_KEPT:
                    raise StoreDamaged("too many forms")
                form = self._forms[header] = len(self._forms)
                self._sizes.append(size)
            self._column.append(form if self._sizes[form] == len(record) else UNKNOWN)
        except StoreDamaged:
            self._column.append(UNKNOWN)

    def column(self) -> npt.NDArray[np.uint16]:
        """A place in `forms` for each record, or `UNKNOWN`."""
        return np.frombuffer(self._column, np.uint16)


def build(store: Path, shards: Sequence[str], headers: Headers | None = None) -> Extents:
    """Extents of a store's data files, named relative to it.

    `headers` has what the records of all shards begin with, one shard after the other; without it
    every record's first page is read.

    Raises:
        StoreMissing, StoreDamaged: as `scan`; a data file with other records than `headers`.
    """
    scans = [scan(store / name) for name in shards]
    if headers is None:
        headers = Headers()
        for name, one in zip(shards, scans, strict=True):
            _read_headers(store / name, one, headers)
    keys = np.concatenate([one.keys for one in scans])
    form = headers.column()
    if len(form) != len(keys):
        raise StoreDamaged(f"{store} has {len(keys)} records, not the {len(form)} just written")
    shard = np.repeat(np.arange(len(scans), dtype=np.uint16), [len(one.keys) for one in scans])
    order = np.argsort(keys, kind="stable")
    return Extents(
        keys[order],
        shard[order],
        np.concatenate([one.offset for one in scans])[order],
        np.concatenate([one.length for one in scans])[order],
        form[order],
        headers.forms,
        tuple({"path": n, **one.facts} for n, one in zip(shards, scans, strict=True)),
    )


def _read_headers(path: Path, records: Scan, headers: Headers) -> None:
    file = open_file(path)
    offset, length = records.offset.tolist(), records.length.tolist()
    for begin in range(0, len(offset), HEADERS_AHEAD):
        some = slice(begin, begin + HEADERS_AHEAD)
        for at in offset[some]:
            file.announce(at, 1)
        for at, nbytes in zip(offset[some], length[some], strict=True):
            headers.note(file.bytes[at : at + nbytes])


def write_extents(store: Path, extents: Extents) -> None:
    """Write extents beside the store, whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    form = _form(len(extents), max(extents.keys.dtype.itemsize, 1), extents)
    arrays: dict[str, npt.NDArray[Any]] = {
        "offset": extents.offset,
        "length": extents.length,
        "shard": extents.shard,
        "form": extents.form,
        "keys": extents.keys.view(np.uint8),
    }
    parts = [np.ascontiguousarray(arrays[t.name], t.dtype).tobytes() for t in form.tensors]
    write_whole(store / EXTENTS, form.header, *parts)


def _form(records: int, width: int, extents: Extents) -> Form:
    """The form of the file; every array lies at a multiple of its element's size."""
    return form_of(
        [
            ("offset", "uint64", (records,)),
            ("length", "uint64", (records,)),
            ("shard", "uint16", (records,)),
            ("form", "uint16", (records,)),
            ("keys", "uint8", (records, width)),
        ],
        {
            "format": FORMAT,
            "version": VERSION,
            "files": json.dumps(extents.files),
            "forms": json.dumps([header.decode("latin-1") for header in extents.forms]),
        },
    )


def read_extents(store: Path, shards: Sequence[str]) -> tuple[Extents | None, str]:
    """The extents beside a store, checked against its data files; or None, and why not.

    The reason is empty where there simply are none.
    """
    path = store / EXTENTS
    try:
        extents = _load(path)
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return None, f"{path} cannot be used ({error})"
    if [entry.get("path") for entry in extents.files] != list(shards):
        return None, f"{path} is of other data files"
    for entry in extents.files:
        file = open_file(store / entry["path"])
        if file.size != entry.get("bytes"):
            return None, f"{path} was made from another {entry['path']}"
        if Tree(file.bytes, file.path).identity() != entry.get("identity"):
            return None, f"{path} was made from another {entry['path']}"
    return extents, ""


def _load(path: Path) -> Extents:
    """Map the file; ValueError, KeyError or TypeError where it is none of ours."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    data = memoryview(mapped)
    form = parse_header(header_of(data))
    if len(data) != form.size:
        raise ValueError(f"{len(data)} bytes where its header promises {form.size}")
    if (form.metadata["format"], form.metadata["version"]) != (FORMAT, VERSION):
        raise ValueError("another format or version")
    arrays = {tensor.name: form.array(data, tensor) for tensor in form.tensors}
    keys = arrays["keys"]
    extents = Extents(
        keys.view(f"S{keys.shape[1]}").reshape(-1),
        arrays["shard"].astype(np.uint16, copy=False),
        arrays["offset"].astype(np.uint64, copy=False),
        arrays["length"].astype(np.uint64, copy=False),
        arrays["form"].astype(np.uint16, copy=False),
        tuple(text.encode("latin-1") for text in json.loads(form.metadata["forms"])),
        tuple(json.loads(form.metadata["files"])),
    )
    _check(extents)
    return extents


def _check(extents: Extents) -> None:
    """Refuse places outside of the files, so that reading never leaves the map."""
    sizes = np.array([entry["bytes"] for entry in extents.files], np.uint64)
    lengths = {len(extents), *(len(a) for a in (extents.shard, extents.offset, extents.form))}
    if lengths != {len(extents.length)}:
        raise ValueError("its arrays differ in length")
    if not len(extents):
        return
    if int(extents.shard.max()) >= len(sizes):
        raise ValueError("it names a shard that is not there")
    ends = extents.offset + extents.length
    if (ends < extents.offset).any() or (ends > sizes[extents.shard]).any():
        raise ValueError("it names a place outside of its data file")
    known = extents.form[extents.form != UNKNOWN]
    if len(known) and int(known.max()) >= len(extents.forms):
        raise ValueError("it names a form that is not there")
