"""`Extents`: where each record lies; key -> (shard, byte offset, length), kept beside the store.

With them a reader goes to a record's bytes without a search: it can announce a batch to the kernel
before it reads, read a band alone, and touch no page twice. No store needs them: `access.scan`
makes them from the data files, they name the files that they were made from, and a reader that
finds other files reads without them.

They are kept as one safetensors file, mapped, so that processes share it. On opening it is compared
with its checksum (some 20 ns a record), since a flipped bit could lead to another record's pixels.
"""

import hashlib
import json
import mmap
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.files import DataFile, open_file
from patchpress.readers.errors import NO_DESCRIPTORS, StoreDamaged, cannot_read
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.manifest import EXTENTS
from patchpress.readers.format.record import (
    RECORD_LIMIT,
    Form,
    form_in,
    form_of,
    parse_header,
    tensor_bytes,
)
from patchpress.readers.format.schema import FieldError, Fields, Latin1, List, Text, Whole
from patchpress.readers.format.sealed import parse_json
from patchpress.readers.format.shard_rule import MOST_SHARDS, SHARD_PATH
from patchpress.readers.format.store_files import open_regular, require_inside
from patchpress.readers.format.whole_file import write_whole

FORMAT = "patchpress-extents"
VERSION = "1"
UNKNOWN = 0xFFFF
"""The header number of a record that must be read itself to know its header."""
FILES = List(
    Fields(
        {
            "path": Text(SHARD_PATH, "`data.mdb` or `shards/00000/data.mdb`"),
            "bytes": Whole(least=1),
            "identity": Text(r"[0-9a-f]{64}", "64 hexadecimal digits"),
        }
    ),
    least=1,
    most=MOST_SHARDS,
)
HEADERS = List(Latin1(), most=UNKNOWN)


Files = tuple[Mapping[str, Any], ...]
"""Of each data file the path in the store, its bytes and its identity."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Extents:
    """Keys in ascending order, and where their records lie. Arrays (records,), on the mapped file.

    A record's position is its index in these arrays.
    """

    keys: npt.NDArray[np.bytes_]
    shard: npt.NDArray[np.uint16]
    """Which of `files` a record is in."""
    offset: npt.NDArray[np.uint64]
    """The record's first byte in that file."""
    length: npt.NDArray[np.uint64]
    """Its bytes as stored."""
    header_number: npt.NDArray[np.uint16]
    """Which of `headers` it begins with, or `UNKNOWN`."""
    headers: tuple[bytes, ...]
    files: Files
    _seen: dict[str, int] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def identity(self) -> str:
        """What they were made from, as text: equal for equal data files."""
        files = json.dumps([dict(entry) for entry in self.files], sort_keys=True)
        return hashlib.sha256(files.encode()).hexdigest()

    def key(self, position: int) -> str:
        """The key at a position."""
        return bytes(self.keys[position]).decode(errors="backslashreplace")

    def positions(self, keys: Sequence[str]) -> list[int]:
        """The position of each key, -1 if there is no such record.

        A key is searched once; from then on one look into a dictionary finds it.
        """
        try:
            found = [self._seen.get(key) for key in keys]
        except TypeError:  # a name that cannot be hashed is no text
            return [self.positions([key])[0] if isinstance(key, str) else -1 for key in keys]
        if None in found:
            positions: list[int] = self._searched(_encoded(keys)).tolist()
            pairs = zip(keys, positions, strict=True)
            self._seen.update((key, position) for key, position in pairs if position >= 0)
            return positions
        return found  # type: ignore[return-value]

    def near(self, key: str, count: int) -> list[str]:
        """The keys next to one that is not there, in order: `count` before it, `count` after it."""
        name = key.encode(errors="replace")[: self.keys.dtype.itemsize]
        position = int(np.searchsorted(self.keys, np.array(name, self.keys.dtype)))
        first, end = max(position - count, 0), min(position + count, len(self))
        return [self.key(index) for index in range(first, end)]

    def _searched(self, names: npt.NDArray[np.bytes_]) -> npt.NDArray[np.int64]:
        """The position of each key, given as UTF-8, -1 if there is no such record."""
        if not len(self.keys):
            return np.full(len(names), -1, np.int64)
        width = self.keys.dtype.itemsize
        # A longer name is none of them; with one, NumPy would search a widened copy of all keys.
        longer = np.char.str_len(names) > width
        names = names.astype(f"S{width}")
        positions = np.searchsorted(self.keys, names).astype(np.int64)
        positions[positions == len(self.keys)] = 0
        positions[(self.keys[positions] != names) | longer] = -1
        return positions


def facts_of(file: DataFile) -> dict[str, Any]:
    """What tells a data file from any other: its bytes and its identity; cheap to ask for.

    Raises:
        FormatUnknown: it has the format of another LMDB.
        StoreDamaged: it is no LMDB data file, or its root page is damaged.
    """
    return {"bytes": file.size, "identity": Tree(file.pages, file.path).identity()}


def write_extents(store: Path, extents: Extents) -> None:
    """Write extents beside the store, whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    arrays: dict[str, npt.NDArray[Any]] = {
        "offset": extents.offset,
        "length": extents.length,
        "shard": extents.shard,
        "form": extents.header_number,
        "keys": extents.keys.view(np.uint8),
    }
    width = extents.keys.dtype.itemsize
    form = _file_form(len(extents), width, extents.files, extents.headers, 0)
    parts = [tensor_bytes(tensor, arrays[tensor.name]) for tensor in form.tensors]
    checksum = _checksum(extents.files, extents.headers, parts)
    form = _file_form(len(extents), width, extents.files, extents.headers, checksum)
    write_whole(store / EXTENTS, form.header, *parts)


def _file_form(
    records: int, width: int, files: Files, headers: tuple[bytes, ...], checksum: int
) -> Form:
    """The form of the file; every array begins at a multiple of its element's size."""
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
            "files": json.dumps(files),
            "forms": json.dumps([header.decode("latin-1") for header in headers]),
            "crc32": f"{checksum:08x}",
        },
    )


def _checksum(
    files: Files, headers: tuple[bytes, ...], arrays: Iterable[bytes | memoryview]
) -> int:
    """CRC-32 over all that the file says: the arrays, and what its header has besides."""
    checksum = zlib.crc32(json.dumps(files).encode())
    for part in (*headers, *arrays):
        checksum = zlib.crc32(part, checksum)
    return checksum


def read_extents(
    store: Path, shards: Sequence[str], largest: int = RECORD_LIMIT
) -> tuple[Extents | None, str]:
    """The extents beside a store, checked against its data files; or None, and why not.

    `largest` is how many bytes a record may have. The reason is empty if there simply are none.

    Raises:
        StoreMissing, StoreUnreadable: a data file is gone or cannot be opened.
        FormatUnknown: a data file has the format of another LMDB.
    """
    extents, reason = load_extents(store, shards, largest)
    for entry in extents.files if extents is not None else ():
        file = open_file(require_inside(store, entry["path"]))
        try:
            same = {"path": entry["path"], **facts_of(file)} == entry
        except StoreDamaged as error:
            return None, f"{store / EXTENTS} cannot be compared with its data file ({error})"
        if not same:
            return None, made_from_another(store, entry["path"])
    return extents, reason


def load_extents(
    store: Path, shards: Sequence[str], largest: int = RECORD_LIMIT
) -> tuple[Extents | None, str]:
    """The extents beside a store, not yet checked against its data files; or None, and why not.

    Raises:
        StoreUnreadable: there are no file descriptors left.
    """
    path = store / EXTENTS
    try:
        extents = _load(require_inside(store, EXTENTS))
        _check(extents, largest)
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        if error.errno in NO_DESCRIPTORS:
            raise cannot_read(path, error) from None
        return None, f"{path} cannot be used ({error})"
    except (FieldError, StoreDamaged) as error:
        return None, f"{path} cannot be used ({error})"
    if [entry["path"] for entry in extents.files] != list(shards):
        return None, f"{path} is of other data files"
    return extents, ""


def made_from_another(store: Path, data: str) -> str:
    """The sentence about extents that tell of another data file than the one that is there."""
    return f"{store / EXTENTS} was made from another {data}"


def _load(path: Path) -> Extents:
    """Map the file; FieldError or StoreDamaged if it is none of ours, or damaged."""
    with open(open_regular(path), "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise FieldError("it is empty")
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    form = form_in(data)
    if (form.metadata.get("format"), form.metadata.get("version")) != (FORMAT, VERSION):
        raise FieldError("another format or version")
    arrays = {tensor.name: form.array(data, tensor) for tensor in form.tensors}
    files = _listed(form, "files", FILES)
    headers = tuple(text.encode("latin-1") for text in _listed(form, "forms", HEADERS))
    if "keys" not in arrays or arrays["keys"].ndim != 2:
        raise FieldError("it has no table of keys")
    records, width = arrays["keys"].shape
    checksum = _checksum(files, headers, [data[len(form.header) :]])
    # The whole header, not only the checksum in it: what the checksum leaves out can be damaged.
    # So its tensors have the names, dtypes and lengths that they must have, too.
    if form.header != _file_form(records, width, files, headers, checksum).header:
        raise FieldError("it differs from its checksum")
    keys = np.frombuffer(arrays["keys"], f"S{width}") if records else np.empty(0, "S1")
    return Extents(
        keys=keys,
        shard=arrays["shard"].astype(np.uint16, copy=False),
        offset=arrays["offset"].astype(np.uint64, copy=False),
        length=arrays["length"].astype(np.uint64, copy=False),
        header_number=arrays["form"].astype(np.uint16, copy=False),
        headers=headers,
        files=files,
    )


def _listed(form: Form, name: str, schema: List) -> tuple[Any, ...]:
    """A list that stands in the header as JSON.

    Raises:
        FieldError: it is not what its schema says.
    """
    found = parse_json(form.metadata.get(name, "").encode(errors="replace"))
    schema.check(found, name)
    return tuple(found)


def _check(extents: Extents, largest: int) -> None:
    """Refuse positions outside of the files, so that reading never leaves the map.

    Raises:
        FieldError: it names something that is not there, or a longer record than there may be.
    """
    if not len(extents):
        return
    sizes = np.array([entry["bytes"] for entry in extents.files], np.uint64)
    if int(extents.shard.max()) >= len(sizes):
        raise FieldError("it names a shard that is not there")
    ends = extents.offset + extents.length
    if (ends < extents.offset).any() or (ends > sizes[extents.shard]).any():
        raise FieldError("it names bytes outside of its data file")
    numbers = extents.header_number
    known = numbers != UNKNOWN
    if known.any() and int(numbers[known].max()) >= len(extents.headers):
        raise FieldError("it names a header that is not there")
    # A compressed record may be a little longer than it is uncompressed.
    if int(extents.length.max()) > largest + largest // 64 + 1024:
        raise FieldError(f"it names a record of more than {largest:,} bytes")
    if len(extents.headers):
        lengths = np.array([parse_header(header).size for header in extents.headers], np.uint64)
        if (extents.length[known] != lengths[numbers[known]]).any():
            raise FieldError("it names a record of another length than its header says")


def _encoded(keys: Sequence[str]) -> npt.NDArray[np.bytes_]:
    """Keys as UTF-8; an object that cannot be a key becomes a name that no record has."""
    encoded = []
    for key in keys:
        try:
            name = key.encode() if isinstance(key, str) else b""
        except UnicodeEncodeError:
            name = b""
        # NumPy pads with zero bytes, so a name that ends in one would equal another.
        encoded.append(b"" if name.endswith(b"\0") else name)
    return np.array(encoded, "S")
