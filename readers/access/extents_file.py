"""The file of a store's extents: one safetensors file, written whole, compared when it is read.

On opening it is compared with its checksum, since a flipped bit could lead to another record's
pixels. Numbers are kept in memory (20 bytes a record); keys, which take most of it, are read again
when they are searched (`keys`).
"""

import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.extents import UNKNOWN, Extents, Files
from patchpress.readers.access.files import ReadsFile, open_file
from patchpress.readers.access.keys import ExtentsFile, Keys, KeysInFile, KeysInMemory
from patchpress.readers.errors import NO_DESCRIPTORS, StoreDamaged, cannot_read
from patchpress.readers.format.blosc2_chunk import LEAST
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.manifest import EXTENTS
from patchpress.readers.format.record import (
    HEADER_LIMIT,
    RECORD_LIMIT,
    Form,
    Tensor,
    form_in_file,
    form_of,
    parse_header,
)
from patchpress.readers.format.schema import FieldError, Fields, Latin1, List, Text, Whole
from patchpress.readers.format.sealed import parse_json
from patchpress.readers.format.shard_rule import MOST_SHARDS, SHARD_PATH
from patchpress.readers.format.store_files import require_inside
from patchpress.readers.format.whole_file import write_whole

FORMAT = "patchpress-extents"
VERSION = "1"
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
_CHECKED = 1 << 16  # records whose places are compared at once: little is in memory twice


def facts_of(file: ReadsFile) -> dict[str, Any]:
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
    keys = extents.keys
    arrays: dict[str, npt.NDArray[Any]] = {
        "offset": extents.offset,
        "length": extents.length,
        "shard": extents.shard,
        "form": extents.header_number,
        "keys": keys.view(np.uint8),
    }
    width = keys.dtype.itemsize
    form = _file_form(len(extents), width, extents.files, extents.headers, 0)
    parts = bytes_of_tensors(form, arrays)
    checksum = _checksum(extents.files, extents.headers, parts)
    form = _file_form(len(extents), width, extents.files, extents.headers, checksum)
    write_whole(store / EXTENTS, form.header, *parts)


def bytes_of_tensors(form: Form, arrays: Mapping[str, npt.NDArray[Any]]) -> list[memoryview]:
    """The bytes of a file's tensors, in its order; without copies, since keys may take 100 MB."""
    return [
        np.ascontiguousarray(arrays[tensor.name], tensor.dtype).view(np.uint8).data
        for tensor in form.tensors
    ]


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
    for part in chain(headers, arrays):
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
        return None, f"{path} cannot be read ({error.strerror or error})"
    except (FieldError, StoreDamaged) as error:
        return None, f"{path} cannot be used ({error})"
    if [entry["path"] for entry in extents.files] != list(shards):
        return None, f"{path} is of other data files"
    return extents, ""


def made_from_another(store: Path, data: str) -> str:
    """The sentence about extents that tell of another data file than the one that is there."""
    return f"{store / EXTENTS} was made from another {data}"


def _load(path: Path) -> Extents:
    """Read the file; FieldError or StoreDamaged if it is none of ours, or damaged, or OSError."""
    file = ExtentsFile(path)
    if not file.size:
        raise FieldError("it is empty")
    form = form_in_file(file.read(0, min(file.size, 8 + HEADER_LIMIT)), file.size)
    facts = form.metadata
    if (facts.get("format"), facts.get("version")) != (FORMAT, VERSION):
        raise FieldError("another format or version")
    files = _listed(form, "files", FILES)
    headers = tuple(text.encode("latin-1") for text in _listed(form, "forms", HEADERS))
    table = form.tensor("keys")
    if table is None or len(table.shape) != 2 or (table.count == 0) != (table.shape[0] == 0):
        raise FieldError("it has no table of keys")
    records, width = table.shape
    said = whole_hex(facts.get("crc32", ""))
    # The whole header, not only the checksum in it: what the checksum leaves out can be damaged.
    # So its tensors have the names, dtypes and lengths that they must have, too.
    if form.header != _file_form(records, width, files, headers, said).header:
        raise FieldError("it differs from its checksum")
    names, arrays = read_tensors(file, form, _checksum(files, headers, ()), said)
    return Extents(
        names=names,
        shard=arrays["shard"].astype(np.uint16, copy=False),
        offset=arrays["offset"].astype(np.uint64, copy=False),
        length=arrays["length"].astype(np.uint64, copy=False),
        header_number=arrays["form"].astype(np.uint16, copy=False),
        headers=headers,
        files=files,
    )


def read_tensors(
    file: ExtentsFile, form: Form, checksum: int, said: int
) -> tuple[Keys, dict[str, npt.NDArray[Any]]]:
    """The keys of a file, and its other tensors by name, read into memory.

    Args:
        file: the file.
        form: what its header says.
        checksum: CRC-32 of what comes before the tensors.
        said: that of all.

    Raises:
        FieldError: it is another one.
        OSError: the file cannot be read.
    """

    def seen(piece: bytes) -> None:
        nonlocal checksum
        checksum = zlib.crc32(piece, checksum)

    names: Keys = KeysInMemory(np.empty(0, "S1"))
    arrays: dict[str, npt.NDArray[Any]] = {}
    for tensor in form.tensors:
        start = len(form.header) + tensor.offset
        if tensor.name != "keys":
            arrays[tensor.name] = _array(file, start, tensor, seen)
        elif tensor.count:
            records, width = tensor.shape
            names = KeysInFile(file, start, width, records, seen)
    if checksum != said:
        raise FieldError("it differs from its checksum")
    return names, arrays


def _array(
    file: ExtentsFile, start: int, tensor: Tensor, seen: Callable[[bytes], None]
) -> npt.NDArray[Any]:
    """A tensor of numbers, read into memory; `seen` is called with its bytes."""
    array = np.empty(tensor.shape, tensor.dtype)
    target, filled = array.reshape(-1).view(np.uint8).data, 0
    for piece in file.pieces(start, start + tensor.nbytes):
        seen(piece)
        target[filled : filled + len(piece)] = piece
        filled += len(piece)
    return array


def whole_hex(text: str) -> int:
    """The number that a checksum in the header says; FieldError if it is none."""
    if not re.fullmatch("[0-9a-f]{8}", text):
        raise FieldError("it has no checksum")
    return int(text, 16)


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
    lengths = np.array([parse_header(header).size for header in extents.headers], np.uint64)
    for begin in range(0, len(extents), _CHECKED):
        some = slice(begin, begin + _CHECKED)
        _check_some(
            *(extents.shard[some], extents.offset[some], extents.length[some]),
            *(extents.header_number[some], sizes, lengths),
        )
    # A compressed record may be a little longer than it is uncompressed.
    if int(extents.length.max()) > largest + largest // 64 + LEAST:
        raise FieldError(f"it names a record of more than {largest:,} bytes")


def _check_some(
    shard: npt.NDArray[np.uint16],
    offset: npt.NDArray[np.uint64],
    length: npt.NDArray[np.uint64],
    numbers: npt.NDArray[np.uint16],
    sizes: npt.NDArray[np.uint64],
    lengths: npt.NDArray[np.uint64],
) -> None:
    """Of some records; `sizes` are bytes of the data files, `lengths` those that headers promise.

    Raises:
        FieldError: as `_check`.
    """
    if int(shard.max()) >= len(sizes):
        raise FieldError("it names a shard that is not there")
    ends = offset + length
    if (ends < offset).any() or (ends > sizes[shard]).any():
        raise FieldError("it names bytes outside of its data file")
    known = numbers != UNKNOWN
    if known.any() and int(numbers[known].max()) >= len(lengths):
        raise FieldError("it names a header that is not there")
    if (length[known] != lengths[numbers[known]]).any():
        raise FieldError("it names a record of another length than its header says")
