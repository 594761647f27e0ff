"""Records to Blosc2 chunks and back: bits shuffled, then LZ4, in blocks that can be had alone.

A chunk is what c-blosc2 makes of one buffer (`README_CHUNK_FORMAT.rst` there): 32 bytes of a
header, where each block begins, the blocks. A stored value is one chunk, zero bytes up to `LEAST`
if it is shorter, and the XXH3-64 of all that: c-blosc2 has no checksum, and is not asked before
this one is compared. It would also load plugins, call filters and read files if a header said so:
a header is therefore taken apart here, and only what this package writes is handed on.
"""

import struct
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from patchpress.readers.errors import StoreDamaged

BLOCK = 32 << 10
"""Bytes of a record in one block: smaller ones take more room, larger ones are of more bands."""
LEAST = 2048
"""Bytes of a value at least: so LMDB never puts it into its tree, but on pages of its own."""
LEVEL = 1
"""What the manifest says of the level, of which LZ4 has only one."""
_HEADER = struct.Struct("<4B3I16s")
_CHECKSUM = struct.Struct("<Q")
_VERSION = 5  # of the format of chunks: the stable one of c-blosc2 2
_LZ4_VERSION = 1
# Bits 0 and 2: an extended header; bits 5 to 7: LZ4. Bit 4: a block is one stream, not one for
# each byte of an element; bit 1: the record as it is, because it did not become shorter.
_FLAGS = (0x25, 0x35)
_COPIED = 0x02
# The last of six filters shuffles bits, or there is none; LZ4 again; no parameters, no plugins.
_REST = (bytes(5) + b"\x02\x01" + bytes(9), bytes(6) + b"\x01" + bytes(9))
_ITEMS: dict[int, Literal["B", "H", "I", "Q"]] = {1: "B", 2: "H", 4: "I", 8: "Q"}
"""Bytes of an item -> its letter in `memoryview.cast`."""
_TYPE_SIZES = tuple(_ITEMS)
_UNTYPED = 8  # bytes of an item, as imagecodecs has it for plain bytes
_GROUP = 64  # bytes: eight items of the largest size, whose bits are shuffled together
_MOST_TRIED = 10_000  # lengths; records that differ in size rarely have so many


class _ChunkHead(NamedTuple):
    """What the header of a chunk says."""

    type_size: int
    flags: int
    nbytes: int
    """Of the record."""
    block: int
    """Bytes of the record in each block but the last."""
    length: int
    """Bytes of the chunk."""
    starts: Sequence[int]
    """The first byte of each block in the chunk; empty if the record is stored as it is."""


class _Libraries(NamedTuple):
    """What is called of other packages; `Any`, as their types leave out buffers that they take."""

    encode: Any
    decode: Any
    error: type[Exception]
    lz4: Any
    bits: Any
    checksum: Any


@cache
def _library() -> _Libraries:
    """Imported when the first chunk is read or written, since most stores have none."""
    import imagecodecs
    import xxhash

    codec = imagecodecs.BLOSC2
    return _Libraries(
        encode=imagecodecs.blosc2_encode,
        decode=imagecodecs.blosc2_decode,
        error=imagecodecs.Blosc2Error,
        lz4=codec.COMPRESSOR.LZ4,
        bits=codec.FILTER.BITSHUFFLE,
        checksum=xxhash.xxh3_64_intdigest,
    )


def _block_of(nbytes: int) -> int:
    """Bytes of a block: whole groups of items, unless the record has less than one."""
    return min(BLOCK, nbytes // _GROUP * _GROUP or nbytes)


def is_chunk(value: memoryview | bytes) -> bool:
    """Whether stored bytes are a Blosc2 chunk.

    As the length of a safetensors header the first eight bytes would be 4 GiB or more.
    """
    return len(value) >= _HEADER.size and value[0] == _VERSION and any(value[4:8])


class ChunkCompressor:
    """Records to Blosc2 chunks with their checksum; not safe between threads."""

    def __init__(self, item_size: int) -> None:
        """`item_size` is how many bytes a pixel has: bits are shuffled between so many."""
        self._library, self._item_size = _library(), item_size
        self._memory = memoryview(b"")
        self._tried = set[int]()  # lengths

    def __call__(self, record: memoryview | bytes) -> memoryview:
        """The value of a record, valid until the next call.

        Raises:
            StoreDamaged: the installed c-blosc2 writes chunks that this package does not know.
        """
        bound = max(_HEADER.size + len(record), LEAST) + _CHECKSUM.size
        if len(self._memory) < bound:
            self._memory = memoryview(bytearray(bound))
        memory, library = self._memory, self._library
        # The size of an item is taken from the buffer's own type: an argument for it is ignored.
        items: memoryview = memoryview(record).cast("B")
        if len(record) % self._item_size == 0:
            items = items.cast(_ITEMS[self._item_size])
        chunk = library.encode(
            items,
            level=LEVEL,
            compressor=library.lz4,
            shuffle=library.bits,
            blocksize=_block_of(len(record)),
            numthreads=1,
            # With more room it may give a chunk that is longer than the record as it is.
            out=memory[: _HEADER.size + len(record)],
        )
        end = max(len(chunk), LEAST - _CHECKSUM.size)
        memory[len(chunk) : end] = bytes(end - len(chunk))
        _CHECKSUM.pack_into(memory, end, library.checksum(memory[:end]))
        value = memory[: end + _CHECKSUM.size]
        head = _parsed(value)
        if head.nbytes != len(record) or head.type_size not in (self._item_size, _UNTYPED):
            raise StoreDamaged("the installed imagecodecs writes other Blosc2 chunks than it reads")
        self._try_once(value, record)
        return value

    def _try_once(self, value: memoryview, record: memoryview | bytes) -> None:
        """Decode the first chunk of each length: a library that loses bytes does so by length.

        c-blosc2 3.3 lost the last bytes of records whose blocks it was told to make of a number of
        items that is no multiple of eight.

        Raises:
            StoreDamaged: the record does not come back.
        """
        if len(record) in self._tried:
            return
        if ChunkDecompressor(len(record))(value) != record:
            raise StoreDamaged("the installed imagecodecs writes other Blosc2 chunks than it reads")
        if len(self._tried) < _MOST_TRIED:
            self._tried.add(len(record))


class ChunkDecompressor:
    """Blosc2 chunks to records, in memory that is used again; not safe between threads."""

    def __init__(self, limit: int) -> None:
        """`limit` is how many bytes a record may have; a chunk that promises more is refused."""
        self._limit = limit
        self._memory = memoryview(b"")

    def __call__(
        self, value: memoryview | bytes, wanted: Iterable[tuple[int, int]] | None = None
    ) -> memoryview:
        """The record inside a value, valid until the next call.

        Args:
            value: as stored.
            wanted: first byte and end of the parts of the record that are wanted; the others have
                any values then. None for all.

        Raises:
            StoreDamaged: the value is no whole chunk, or differs from its checksum.
        """
        chunk = _parsed(value)
        if chunk.nbytes > self._limit:
            raise _damaged(f"it promises {chunk.nbytes:,} bytes, not {self._limit:,}")
        end = len(value) - _CHECKSUM.size
        if _CHECKSUM.unpack_from(value, end)[0] != _library().checksum(value[:end]):
            raise _damaged("it differs from its checksum")
        if len(self._memory) < chunk.nbytes:
            self._memory = memoryview(bytearray(chunk.nbytes))
        record = self._memory[: chunk.nbytes]
        runs = [(0, chunk.nbytes)] if wanted is None else _runs(chunk, wanted)
        if runs == [(0, chunk.nbytes)]:
            _decode(value[: chunk.length], record)
        else:
            for begin, stop in runs:
                _decode(_part(chunk, value, begin, stop), record[begin:stop])
        return record


def _parsed(value: memoryview | bytes) -> _ChunkHead:
    """What a value's header says, if it is one that this package writes.

    Raises:
        StoreDamaged: it is none, or its sizes do not fit each other.
    """
    if len(value) < LEAST:
        raise _damaged(f"it has {len(value):,} bytes")
    version, codec, flags, type_size, nbytes, block, length, rest = _HEADER.unpack_from(value)
    if (
        (version, codec) != (_VERSION, _LZ4_VERSION)
        or flags & ~_COPIED not in _FLAGS
        or rest not in _REST
        or type_size not in _TYPE_SIZES
    ):
        raise _damaged("it is not of the kind that this package reads")
    if not 0 < block <= nbytes or len(value) != max(length + _CHECKSUM.size, LEAST):
        raise _damaged("its sizes do not fit each other")
    if flags & _COPIED:
        if length != _HEADER.size + nbytes:
            raise _damaged("its sizes do not fit each other")
        return _ChunkHead(type_size, flags, nbytes, block, length, ())
    count = -(-nbytes // block)
    first = _HEADER.size + 4 * count
    starts = struct.unpack_from(f"<{count}I", value, _HEADER.size) if first < length else ()
    if not starts or min(starts) < first or max(starts) >= length:
        raise _damaged("its blocks lie outside of it")
    return _ChunkHead(type_size, flags, nbytes, block, length, starts)


def _runs(chunk: _ChunkHead, wanted: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """First byte and end, in the record, of the blocks with these bytes; neighbours as one."""
    whole = [(0, chunk.nbytes)]
    starts = chunk.starts
    if any(a >= b for a, b in pairwise(starts)) or not starts:
        return whole
    block, runs = chunk.block, list[tuple[int, int]]()
    for start, end in sorted(wanted):
        first = start // block * block
        stop = min(-(-end // block) * block, chunk.nbytes)
        # A short block is coded otherwise than a whole one: only as the last of several.
        if chunk.nbytes - block < first:
            first = max((chunk.nbytes - 1) // block - 1, 0) * block
        if runs and first <= runs[-1][1]:
            runs[-1] = (runs[-1][0], max(runs[-1][1], stop))
        elif first < stop:
            runs.append((first, stop))
    return runs


def _part(chunk: _ChunkHead, value: memoryview | bytes, begin: int, stop: int) -> bytes:
    """A chunk of some blocks of another, which are these bytes of the record."""
    first, end = begin // chunk.block, -(-stop // chunk.block)
    starts = chunk.starts[first:end]
    after = chunk.starts[end] if end < len(chunk.starts) else chunk.length
    head = _HEADER.size + 4 * len(starts)
    shift = head - starts[0]
    header = _HEADER.pack(
        _VERSION,
        _LZ4_VERSION,
        chunk.flags,
        chunk.type_size,
        stop - begin,
        chunk.block,
        after + shift,
        bytes(value[16:32]),
    )
    places = struct.pack(f"<{len(starts)}I", *(start + shift for start in starts))
    return b"".join((header, places, value[starts[0] : after]))


def _decode(chunk: memoryview | bytes, out: memoryview) -> None:
    """Decode a chunk into memory of just its size.

    Raises:
        StoreDamaged: c-blosc2 refuses it.
    """
    library = _library()
    try:
        found = len(library.decode(chunk, numthreads=1, out=out))
    except (library.error, ValueError, MemoryError) as error:
        raise _damaged(str(error)) from None
    if found != len(out):
        raise _damaged(f"it has {found:,} bytes, not {len(out):,}")


def _damaged(why: str) -> StoreDamaged:
    return StoreDamaged(f"a record is no whole Blosc2 chunk ({why})")
