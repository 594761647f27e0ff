"""`ArchiveIndex`: where the records of a store lie in archives; `archives.safetensors` beside it.

A store of archives has no data file: each record is put together from bytes of an archive, which
stays where it is and as it is. The index says which bytes, and what the archives were when it was
made.
"""

import json
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from patchpress.readers.access.extents import Extents
from patchpress.readers.access.extents_file import bytes_of_tensors, read_tensors, whole_hex
from patchpress.readers.access.keys import ExtentsFile, Keys
from patchpress.readers.errors import StoreDamaged, cannot_read
from patchpress.readers.format.manifest import ARCHIVES
from patchpress.readers.format.metapages import PAGE
from patchpress.readers.format.placement import SCHEMA, Placement, Spans, from_json
from patchpress.readers.format.record import HEADER_LIMIT, Form, form_in_file, form_of
from patchpress.readers.format.schema import FieldError, Fields, Latin1, List, Text, Whole
from patchpress.readers.format.sealed import parse_json
from patchpress.readers.format.store_files import require_inside
from patchpress.readers.format.whole_file import write_whole

FORMAT = "patchpress-archives"
VERSION = "1"
MOST_PLACEMENTS = 0xFFFF
MOST_ARCHIVES = 1 << 16
_ARCHIVE = Fields(
    {
        "path": Text(least=1),
        "bytes": Whole(least=1),
        "identity": Text(r"[0-9a-f]{64}", "64 hexadecimal digits"),
    }
)
_LISTS = Fields(
    {
        "archives": List(_ARCHIVE, least=1, most=MOST_ARCHIVES),
        "headers": List(Latin1(), least=1, most=MOST_PLACEMENTS),
        "placements": List(SCHEMA, least=1, most=MOST_PLACEMENTS),
    }
)
_CHECKED = 1 << 16  # records whose places are compared at once


class IndexedArchive(NamedTuple):
    """An archive as it was when it was indexed."""

    path: str
    """Relative to the folder of the store, or absolute."""
    bytes: int
    identity: str
    """What tells it from another one of as many bytes; `archives.identity_of`."""

    def at(self, store: Path) -> Path:
        """Where it lies."""
        return store / self.path


@dataclass(frozen=True, eq=False, kw_only=True)
class ArchiveIndex:
    """Keys in ascending order, and where their records lie, as arrays (records,)."""

    names: Keys
    archive: npt.NDArray[np.uint16]
    """Which of `archives` a record is in."""
    offset: npt.NDArray[np.uint64]
    """The byte of the archive from which the record's placement counts."""
    placement: npt.NDArray[np.uint16]
    """Which of `placements` it has."""
    first: npt.NDArray[np.uint64]
    """Which of `spans` is that of its first packed piece."""
    spans: npt.NDArray[np.uint64]
    """(pieces, 2): first byte, counted from the record's, and bytes of each packed piece."""
    placements: tuple[Placement, ...]
    archives: tuple[IndexedArchive, ...]

    def __len__(self) -> int:
        return len(self.names)

    def spans_of(self, position: int) -> Spans:
        """Where the packed pieces of a record lie."""
        count = len(self.placements[self.placement[position]].packed)
        if not count:
            return ()
        first = int(self.first[position])
        return [(int(at), int(nbytes)) for at, nbytes in self.spans[first : first + count]]

    @cached_property
    def extents(self) -> Extents:
        """The records as if they were in one data file, one after the other.

        Their order there is that of the archives, so whoever reads them in it reads those so.
        """
        order = np.lexsort((self.offset, self.archive))
        sizes = np.array([one.size for one in self.placements], np.uint64)
        length = sizes[self.placement]
        ends = np.cumsum(length[order])
        offset = np.empty_like(length)
        # After as many bytes as a page of a data file has before a record.
        offset[order] = PAGE.size + ends - length[order]
        known = {h: n for n, h in enumerate(dict.fromkeys(one.header for one in self.placements))}
        number = np.array([known[one.header] for one in self.placements], np.uint16)
        return Extents(
            names=self.names,
            shard=np.zeros(len(self), np.uint16),
            offset=offset,
            length=length,
            header_number=number[self.placement],
            headers=tuple(known),
            files=tuple(one._asdict() for one in self.archives),
        )


def write_index(store: Path, index: ArchiveIndex) -> int:
    """Write the index into the folder of its store, whole or not at all; gives its bytes.

    Raises:
        OSError: the folder cannot be written.
    """
    keys = index.names.part(0, len(index))
    headers = list(dict.fromkeys(one.header for one in index.placements))
    lists = {
        "archives": [one._asdict() for one in index.archives],
        "headers": [header.decode("latin-1") for header in headers],
        "placements": [one.to_json(headers) for one in index.placements],
    }
    text = json.dumps(lists, separators=(",", ":")).encode()
    arrays: dict[str, npt.NDArray[Any]] = {
        "offset": index.offset,
        "first": index.first,
        "spans": index.spans,
        "archive": index.archive,
        "placement": index.placement,
        "keys": keys.view(np.uint8),
        "lists": np.frombuffer(text, np.uint8),
    }
    sizes = len(index), keys.dtype.itemsize, len(index.spans), len(text)
    parts = bytes_of_tensors(_file_form(*sizes, 0), arrays)
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    form = _file_form(*sizes, checksum)
    write_whole(store / ARCHIVES, form.header, *parts)
    return form.size


def read_index(store: Path, nbytes: int, largest: int) -> ArchiveIndex:
    """The index of a store, strictly checked.

    Args:
        store: its folder.
        nbytes: how many bytes the manifest says that it has.
        largest: how many bytes a record may have.

    Raises:
        StoreDamaged: it is absent, or not as it was written.
        StoreUnreadable: it cannot be opened.
    """
    path = store / ARCHIVES
    try:
        file = ExtentsFile(require_inside(store, ARCHIVES))
        if file.size != nbytes:
            raise FieldError(f"it has {file.size:,} bytes, not {nbytes:,}")
        index = _load(file)
        _check(index, largest)
    except FileNotFoundError:
        raise StoreDamaged(
            f"{path} is absent though the manifest lists it: copy the store again"
        ) from None
    except OSError as error:
        raise cannot_read(path, error) from None
    except (FieldError, StoreDamaged) as error:
        raise StoreDamaged(
            f"{path} is not as it was written ({error}): copy the store again, or index the "
            "archives again"
        ) from None
    return index


def _file_form(records: int, width: int, spans: int, text: int, checksum: int) -> Form:
    """The form of the file; every array begins at a multiple of its element's size."""
    return form_of(
        [
            ("offset", "uint64", (records,)),
            ("first", "uint64", (records,)),
            ("spans", "uint64", (spans, 2)),
            ("archive", "uint16", (records,)),
            ("placement", "uint16", (records,)),
            ("keys", "uint8", (records, width)),
            ("lists", "uint8", (text,)),
        ],
        {"format": FORMAT, "version": VERSION, "crc32": f"{checksum:08x}"},
    )


def _load(file: ExtentsFile) -> ArchiveIndex:
    """Read the file; FieldError or StoreDamaged if it is none of ours, or damaged, or OSError."""
    form = form_in_file(file.read(0, min(file.size, 8 + HEADER_LIMIT)), file.size)
    facts = form.metadata
    if (facts.get("format"), facts.get("version")) != (FORMAT, VERSION):
        raise FieldError("another format or version")
    shapes = {tensor.name: tensor.shape for tensor in form.tensors}
    records, width = (*shapes.get("keys", ()), 0, 0)[:2]
    spans, text = (*shapes.get("spans", ()), 0)[0], (*shapes.get("lists", ()), 0)[0]
    said = whole_hex(facts.get("crc32", ""))
    if form.header != _file_form(records, width, spans, text, said).header or not records * width:
        raise FieldError("it differs from its checksum")
    names, arrays = read_tensors(file, form, 0, said)
    lists = parse_json(arrays.pop("lists").tobytes())
    _LISTS.check(lists, "lists")
    headers = [text.encode("latin-1") for text in lists["headers"]]
    return ArchiveIndex(
        names=names,
        placements=tuple(
            from_json(one, headers, f"placements[{number}]")
            for number, one in enumerate(lists["placements"])
        ),
        archives=tuple(IndexedArchive(**one) for one in lists["archives"]),
        **arrays,
    )


def _check(index: ArchiveIndex, largest: int) -> None:
    """Refuse places outside of the archives, so that reading never leaves the map.

    Raises:
        FieldError: it names something that is not there, or a longer record than there may be.
    """
    if int(index.archive.max()) >= len(index.archives):
        raise FieldError("it names an archive that is not there")
    if int(index.placement.max()) >= len(index.placements):
        raise FieldError("it names a placement that is not there")
    if max(one.size for one in index.placements) > largest:
        raise FieldError(f"it names a record of more than {largest:,} bytes")
    sizes = np.array([one.bytes for one in index.archives], np.uint64)
    ends = np.array([one.span[1] for one in index.placements], np.uint64)
    counts = np.array([len(one.packed) for one in index.placements], np.uint64)
    for begin in range(0, len(index), _CHECKED):
        some = slice(begin, begin + _CHECKED)
        offset, size = index.offset[some], sizes[index.archive[some]]
        placement = index.placement[some]
        if ((offset > size) | (ends[placement] > size - np.minimum(offset, size))).any():
            raise FieldError("it names bytes outside of its archive")
        last = index.first[some] + counts[placement]
        if ((last < index.first[some]) | (last > len(index.spans)))[counts[placement] > 0].any():
            raise FieldError("it names packed pieces that are not there")
        for number in np.flatnonzero(counts[placement] > 0).tolist():
            first, end = int(index.first[some][number]), int(last[number])
            spans, left = index.spans[first:end], size[number] - offset[number]
            if (spans > left).any() or (spans.sum(axis=1) > left).any():
                raise FieldError("it names bytes outside of its archive")
