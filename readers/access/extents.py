"""Where each record lies: key -> (shard, byte offset, length), kept beside the store.

With it a reader goes to a record's bytes without LMDB: it can announce a batch to the kernel before
it reads, read a band alone, and touch no page twice. Nothing needs it: `access.scan` makes it from
the LMDB, it is tied to that file's identity, and a reader that finds it stale goes without.

The file is one safetensors file, mapped, so that processes share it. On opening it is compared with
its checksum, as a flipped bit could lead to the pixels of another record: some 20 ns a record.
"""

import json
import mmap
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.files import DataFile, open_file
from patchpress.readers.errors import NO_DESCRIPTORS, StoreDamaged, cannot_read
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.manifest import EXTENTS, write_whole
from patchpress.readers.format.record import Form, form_of, header_of, parse_header

FORMAT = "patchpress-extents"
VERSION = "1"
UNKNOWN = 0xFFFF  # the form of a record that must be asked itself: compressed, or no safetensors


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
            positions: list[int] = self.positions_of(self._encoded(keys)).tolist()
            pairs = zip(keys, positions, strict=True)
            self._seen.update((key, position) for key, position in pairs if position >= 0)
            return positions
        return found  # type: ignore[return-value]

    def positions_of(self, names: npt.NDArray[np.bytes_]) -> npt.NDArray[np.int64]:
        """The position of each key, encoded as UTF-8, -1 where there is no such record."""
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

    def near(self, key: str, count: int) -> list[str]:
        """The keys next to one that is not there, in order: `count` before it, `count` after it."""
        name = key.encode(errors="replace")[: self.keys.dtype.itemsize]
        position = int(np.searchsorted(self.keys, np.array(name, self.keys.dtype)))
        first, end = max(position - count, 0), min(position + count, len(self))
        return [self.key(index) for index in range(first, end)]

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


def facts_of(file: DataFile) -> dict[str, Any]:
    """What tells a data file from any other, its bytes and its identity; cheap to ask for."""
    return {"bytes": file.size, "identity": Tree(file.bytes, file.path).identity()}


def write_extents(store: Path, extents: Extents) -> None:
    """Write extents beside the store, whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    arrays: dict[str, npt.NDArray[Any]] = {
        "offset": extents.offset,
        "length": extents.length,
        "shard": extents.shard,
        "form": extents.form,
        "keys": extents.keys.view(np.uint8),
    }
    width = extents.keys.dtype.itemsize
    form = _form(len(extents), width, extents.files, extents.forms, 0)
    parts = [np.ascontiguousarray(arrays[t.name], t.dtype).tobytes() for t in form.tensors]
    checksum = _checksum(extents.files, extents.forms, parts)
    form = _form(len(extents), width, extents.files, extents.forms, checksum)
    write_whole(store / EXTENTS, form.header, *parts)


Files = tuple[Mapping[str, Any], ...]


def _form(records: int, width: int, files: Files, forms: tuple[bytes, ...], checksum: int) -> Form:
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
            "files": json.dumps(files),
            "forms": json.dumps([header.decode("latin-1") for header in forms]),
            "crc32": f"{checksum:08x}",
        },
    )


def _checksum(files: Files, forms: tuple[bytes, ...], arrays: Iterable[bytes | memoryview]) -> int:
    """CRC-32 over all that the file says: the arrays, and what its header has besides."""
    checksum = zlib.crc32(json.dumps(files).encode())
    for part in (*forms, *arrays):
        checksum = zlib.crc32(part, checksum)
    return checksum


def read_extents(store: Path, shards: Sequence[str]) -> tuple[Extents | None, str]:
    """The extents beside a store, checked against its data files; or None, and why not.

    The reason is empty if there simply are none.

    Raises:
        StoreMissing, StoreUnreadable: a data file is gone or cannot be opened.
        FormatUnknown: a data file has the format of another LMDB.
    """
    path = store / EXTENTS
    try:
        extents = _load(path)
    except FileNotFoundError:
        return None, ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno in NO_DESCRIPTORS:
            raise cannot_read(path, error) from None
        return None, f"{path} cannot be used ({error})"
    if [entry.get("path") for entry in extents.files] != list(shards):
        return None, f"{path} is of other data files"
    for entry in extents.files:
        file = open_file(store / entry["path"])
        try:
            facts = facts_of(file)
        except StoreDamaged as error:
            return None, f"{path} cannot be compared with its data file ({error})"
        if {"path": entry["path"], **facts} != entry:
            return None, f"{path} was made from another {entry['path']}"
    return extents, ""


def _load(path: Path) -> Extents:
    """Map the file; ValueError, KeyError or TypeError where it is none of ours, or damaged."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    data = memoryview(mapped)
    try:
        form = parse_header(header_of(data))
    except StoreDamaged:
        raise ValueError("it is no safetensors file") from None
    if len(data) != form.size:
        raise ValueError(f"{len(data)} bytes where its header promises {form.size}")
    if (form.metadata["format"], form.metadata["version"]) != (FORMAT, VERSION):
        raise ValueError("another format or version")
    arrays = {tensor.name: form.array(data, tensor) for tensor in form.tensors}
    files = tuple(json.loads(form.metadata["files"]))
    forms = tuple(text.encode("latin-1") for text in json.loads(form.metadata["forms"]))
    records, width = arrays["keys"].shape
    checksum = _checksum(files, forms, [data[len(form.header) :]])
    # The whole header, not the checksum in it alone: what is left out there is damage, too.
    if form.header != _form(records, width, files, forms, checksum).header:
        raise ValueError("it differs from its checksum")
    extents = Extents(
        np.frombuffer(arrays["keys"], f"S{width}") if records else np.empty(0, f"S{width}"),
        arrays["shard"].astype(np.uint16, copy=False),
        arrays["offset"].astype(np.uint64, copy=False),
        arrays["length"].astype(np.uint64, copy=False),
        arrays["form"].astype(np.uint16, copy=False),
        forms,
        files,
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
