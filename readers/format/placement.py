"""`Placement`: how a record of the native layout follows from bytes that lie in an archive.

The pixels of a published file mostly lie in it as they are, so nothing has to be copied to read
them: the record is a header, and then pieces of the archive. Patches that were packed alike share
one placement. Deflated pixels are the one thing that is decoded, by zlib.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import StoreDamaged
from patchpress.readers.format.record import RECORD_LIMIT, parse_header
from patchpress.readers.format.schema import FieldError, Fields, List, Whole

Bytes = npt.NDArray[np.uint8]
Spans = Sequence[tuple[int, int]]
"""(first byte, bytes) of each packed piece, counted from the record's own first byte."""
MOST_PIECES = 250_000  # of one record: an image in strips of one row has one for each row and band
_WHOLE = Whole()
_PIECES = List(List(_WHOLE, least=4, most=4), most=MOST_PIECES)
_PACKED = List(List(_WHOLE, least=3, most=3), most=MOST_PIECES)
SCHEMA = Fields({"header": _WHOLE, "pieces": _PIECES, "packed": _PACKED})
"""What JSON says of one placement."""


class PlainPiece(NamedTuple):
    """Bytes of the record that lie in the archive as they are."""

    offset: int
    """The first, counted from the record's own first byte."""
    nbytes: int
    """Of the record."""
    item: int
    """Bytes that lie together."""
    step: int
    """From one item to the next: more than `item` if pixels of other bands lie between them."""

    @property
    def end(self) -> int:
        """After the last byte."""
        return self.offset + (self.nbytes // self.item - 1) * self.step + self.item


class Packed(NamedTuple):
    """Bytes of the record that are deflated; where they lie, each record says for itself."""

    nbytes: int
    """Of the record."""
    item: int
    """Bytes of a pixel."""
    row: int
    """Pixels of a row of which each is the difference to the one before; 0 if they are not."""


@dataclass(frozen=True, eq=False)
class Placement:
    """The header of a record, and the pieces that follow it: all as they are, or all deflated."""

    header: bytes
    pieces: tuple[PlainPiece, ...] = ()
    packed: tuple[Packed, ...] = ()

    @cached_property
    def size(self) -> int:
        """Bytes of the record."""
        nbytes = sum(one.nbytes for one in self.pieces) + sum(one.nbytes for one in self.packed)
        return len(self.header) + nbytes

    @cached_property
    def is_plain(self) -> bool:
        """Whether all pixels lie together, band by band, so that they are copied as they are."""
        return not self.packed and all(one.item == one.step for one in self.pieces)

    @cached_property
    def span(self) -> tuple[int, int]:
        """First byte and end of all pieces that are not packed."""
        if not self.pieces:
            return 0, 0
        return min(one.offset for one in self.pieces), max(one.end for one in self.pieces)

    def fill(self, data: Bytes, start: int, spans: Spans, record: Bytes) -> None:
        """Put a record together.

        Args:
            data: bytes of the archive.
            start: the record's own first byte in them.
            spans: of the packed pieces.
            record: `size` bytes, which are written.

        Raises:
            StoreDamaged: deflated data is damaged.
        """
        at = len(self.header)
        record[:at] = np.frombuffer(self.header, np.uint8)
        for offset, nbytes, item, step in self.pieces:
            first = start + offset
            if item == step:
                record[at : at + nbytes] = data[first : first + nbytes]
            else:
                count = nbytes // item
                apart = np.ndarray((count, item), np.uint8, data, first, (step, 1))
                record[at : at + nbytes].reshape(count, item)[...] = apart
            at += nbytes
        for packed, (offset, nbytes) in zip(self.packed, spans, strict=True):
            first = start + offset
            record[at : at + packed.nbytes] = _inflated(data[first : first + nbytes], packed)
            at += packed.nbytes

    def to_json(self, headers: Sequence[bytes]) -> dict[str, Any]:
        """The placement as plain values; its header is told by its number."""
        return {
            "header": headers.index(self.header),
            "pieces": [list(one) for one in self.pieces],
            "packed": [list(one) for one in self.packed],
        }


def from_json(content: Any, headers: Sequence[bytes], field: str) -> Placement:
    """The placement that plain values describe, which were compared with `SCHEMA`.

    Raises:
        FieldError: they describe none; `field` is where they stand.
        StoreDamaged: the header is none.
    """
    if content["header"] >= len(headers):
        raise FieldError(f"{field} names a header that is not there")
    pieces = tuple(PlainPiece(*one) for one in content["pieces"])
    packed = tuple(Packed(*one) for one in content["packed"])
    placement = Placement(headers[content["header"]], pieces, packed)
    form = parse_header(placement.header)
    if bool(pieces) == bool(packed):
        raise FieldError(f"{field} must have pieces, or packed pieces, and not both")
    for piece in pieces:
        if not 0 < piece.item <= piece.step or piece.nbytes % piece.item or not piece.nbytes:
            raise FieldError(f"{field}.pieces has {list(piece)}, which is no piece")
    for one in packed:
        line = one.row * one.item
        if one.item not in (1, 2, 4, 8) or not one.nbytes or (line and one.nbytes % line):
            raise FieldError(f"{field}.packed has {list(one)}, which is no piece")
    if placement.size != form.size or form.size > RECORD_LIMIT:
        raise FieldError(f"{field} gives {placement.size:,} bytes of a record of {form.size:,}")
    return placement


def _inflated(data: Bytes, packed: Packed) -> Bytes:
    """The bytes of a deflated piece.

    Raises:
        StoreDamaged: it is damaged, or has fewer or more bytes.
    """
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(data.data, packed.nbytes)
        whole = stream.eof or not stream.decompress(stream.unconsumed_tail, 1)
        if len(raw) != packed.nbytes or not whole or not stream.eof:
            raise StoreDamaged("its deflated pixels are not as many as were indexed")
    except zlib.error as error:
        raise StoreDamaged(f"its deflated pixels are damaged ({error})") from None
    pixels = np.frombuffer(raw, f"<u{packed.item}")
    if not packed.row:
        return pixels.view(np.uint8)
    rows = pixels.reshape(-1, packed.row)
    return np.cumsum(rows, axis=1, dtype=rows.dtype).reshape(-1).view(np.uint8)
