"""The directory of a TIFF: its tags, the strips of its pixels, and its georeference."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import PatchError

Array = npt.NDArray[Any]


# Tags and types of TIFF 6.0; 33550, 33922, 34264 and 34735 are of GeoTIFF 1.1 (OGC 19-008r4).
WIDTH, HEIGHT, BITS, COMPRESSION = 256, 257, 258, 259
FILL_ORDER, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS = 266, 273, 277, 278, 279
PLANAR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 284, 322, 323, 324, 325
SAMPLE_FORMAT, PHOTOMETRIC, PREDICTOR, SUBFILE = 339, 262, 317, 254
PIXEL_SCALE, TIEPOINT, TRANSFORMATION, GEO_KEYS = 33550, 33922, 34264, 34735

# Number of a type -> its format in `struct`.
_TYPES = {1: "B", 2: "c", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 13: "I"}
_TYPES |= {16: "Q", 17: "q", 18: "Q"}
_BYTES = {kind: struct.calcsize(f"={code}") for kind, code in _TYPES.items()}
_BYTES |= {5: 8, 7: 1, 10: 8}  # fractions, and bytes of no type: no tag that is used has them
_UNSIGNED = (1, 3, 4, 16)
_DOUBLE = (12,)
# Tags of which a wrong type would give wrong pixels, and the types that they may have.
_BLOCKS = (STRIP_OFFSETS, STRIP_COUNTS, TILE_OFFSETS, TILE_COUNTS, ROWS_PER_STRIP)
_TILES = (TILE_WIDTH, TILE_HEIGHT)
_TILED = {*_TILES, TILE_OFFSETS, TILE_COUNTS}
_SHAPES = (WIDTH, HEIGHT, SAMPLES, PLANAR, BITS, SAMPLE_FORMAT)
_INTEGERS = (*_BLOCKS, *_TILES, *_SHAPES, COMPRESSION, PHOTOMETRIC, FILL_ORDER, GEO_KEYS)
_RIGHT_TYPES: dict[int, tuple[int, ...]] = dict.fromkeys(_INTEGERS, _UNSIGNED)
_RIGHT_TYPES |= dict.fromkeys((PREDICTOR, SUBFILE), _UNSIGNED)
_RIGHT_TYPES |= dict.fromkeys((PIXEL_SCALE, TIEPOINT, TRANSFORMATION), _DOUBLE)

_SIZE = (WIDTH, HEIGHT, SAMPLES)
# Tags that have one value; libraries do not agree on more.
_SINGLE = frozenset((*_TILES, *_SIZE, ROWS_PER_STRIP, PLANAR, COMPRESSION, PHOTOMETRIC, FILL_ORDER))
_SINGLE |= {PREDICTOR, SUBFILE}
_KINDS = {1: "u", 2: "i", 3: "f"}  # value of SampleFormat -> kind of a NumPy dtype
# Keys of GEO_KEYS: GTModelType, GTRasterType, GeodeticCRS, ProjectedCRS.
_MODEL, _RASTER, _GEOGRAPHIC, _PROJECTED = 1024, 1025, 2048, 3072
_VERTICAL = 4096  # the first of the keys about heights
_GEOGRAPHIC_MODEL, _PIXEL_IS_POINT = 2, 2  # values of the first two
_USER_DEFINED = 32767  # codes from here on are none of EPSG
_MOST_TAGS = 4096  # more are damage
_MOST_VALUES = 250_000  # of one tag: an image in strips of one row has one for each row and band
_MOST_IMAGES = 64  # that are looked for in one file


class Georeference(NamedTuple):
    """Where pixels are on the ground: EPSG code (None if unknown) and an affine transform.

    The transform is (a, b, c, d, e, f) as in affine.Affine: the upper-left corner of a pixel is at
    x = a * column + b * row + c and y = d * column + e * row + f.
    """

    epsg: int | None
    transform: tuple[float, float, float, float, float, float]


class Ground(NamedTuple):
    """The bounds of a raster, in units of its coordinate reference system (an EPSG code)."""

    epsg: int | None
    left: float
    bottom: float
    right: float
    top: float


@dataclass(frozen=True, slots=True)
class Directory:
    """The first image directory of a TIFF."""

    tags: Mapping[int, tuple[Any, ...]]
    """Tag -> its values, for the tags that are used."""
    offsets: Mapping[int, int]
    """Tag -> the byte of the file where its values begin."""
    end: int
    """The first byte after the directory and all values of its tags."""
    byteorder: str
    classic: bool
    next: int
    """The byte of the file where the next directory begins; 0 if there is none."""

    def first(self, tag: int, default: int) -> int:
        """The first value of an integer tag."""
        return int(self.tags[tag][0]) if self.tags.get(tag) else default


def read_directory(data: bytes) -> Directory | None:
    """The first image directory of a file; None if it is no TIFF or ends inside the directory."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 16:
        return None
    try:
        version = struct.unpack_from(f"{order}H", data, 2)[0]
        if version not in (42, 43):
            return None
        word, start = ("I", 4) if version == 42 else ("Q", 8)
        first = struct.unpack_from(order + word, data, start)[0]
        return _entries(data, order, first, classic=version == 42)
    except (struct.error, OverflowError):
        return None


def images_like(data: bytes, first: Directory) -> int:
    """How many images of the size and dtype of the first one a file has, the first included.

    Overviews and masks are none.
    """
    count, start, seen = 1, first.next, set[int]()
    while start and start not in seen and len(seen) < _MOST_IMAGES:
        seen.add(start)
        try:
            directory = _entries(data, first.byteorder, start, classic=first.classic)
        except (struct.error, OverflowError):
            break
        alike = all(directory.tags.get(tag) == first.tags.get(tag) for tag in (*_SIZE, BITS))
        count += alike and not directory.first(SUBFILE, 0)
        start = directory.next
    return count


def _entries(data: bytes, order: str, start: int, *, classic: bool) -> Directory:
    count_format, entry_format, inline = ("H", "HHI", 4) if classic else ("Q", "HHQ", 8)
    count = struct.unpack_from(order + count_format, data, start)[0]
    position = start + struct.calcsize(order + count_format)
    head = struct.calcsize(order + entry_format)
    if count > _MOST_TAGS:
        raise struct.error("more tags than a TIFF has")
    tags, offsets, seen = {}, {}, set[int]()
    end = position + count * (head + inline)
    for _ in range(count):
        tag, kind, number = struct.unpack_from(order + entry_format, data, position)
        offset = position + head
        if tag in seen:  # readers do not agree which of the two counts
            raise struct.error("a tag twice")
        if tag in _RIGHT_TYPES and kind not in _RIGHT_TYPES[tag]:
            raise struct.error("a tag of the wrong type")
        if kind in _BYTES:  # tags of unknown types are passed over, as libtiff does
            size = number * _BYTES[kind]
            if size > inline:  # then the entry has their offset
                offset = struct.unpack_from(order + ("I" if classic else "Q"), data, offset)[0]
            if offset + size > len(data):
                raise struct.error("a tag's values lie after the end of the file")
            seen.add(tag)
            if tag in _RIGHT_TYPES:
                if number != 1 and tag in _SINGLE:
                    raise struct.error("several values of a tag that has one")
                if number > _MOST_VALUES:
                    raise struct.error("more values than a patch can need")
                tags[tag] = struct.unpack_from(f"{order}{number}{_TYPES[kind]}", data, offset)
                offsets[tag] = offset
            end = max(end, offset + size)
        position += head + inline
    if not tags.keys().isdisjoint(_TILED) and not tags.keys() >= _TILED:
        raise struct.error("tiles without all of their tags")
    if TILE_WIDTH in tags and not tags.keys().isdisjoint((STRIP_OFFSETS, STRIP_COUNTS)):
        raise struct.error("tiles and strips, of which readers take the one or the other")
    following = data[position : position + inline]
    return Directory(
        tags=tags,
        offsets=offsets,
        end=end,
        byteorder=order,
        classic=classic,
        next=int.from_bytes(following, "little" if order == "<" else "big"),
    )


def plain_strips(directory: Directory, length: int) -> list[tuple[int, int]] | None:
    """(offset, bytes) of each strip of a plain TIFF; None if the TIFF is not plain.

    Plain is a classic TIFF, little-endian, not compressed and in strips, with whole-byte samples of
    one dtype, whose strips have just the bytes that its shape needs.

    Raises:
        PatchError: the file is shorter than its strips.
    """
    plain = (
        directory.classic
        and directory.byteorder == "<"
        and directory.first(COMPRESSION, 1) == 1
        and TILE_WIDTH not in directory.tags
        and has_plain_samples(directory)
    )
    if not plain:
        return None
    strips = list(
        zip(
            directory.tags.get(STRIP_OFFSETS, ()),
            directory.tags.get(STRIP_COUNTS, ()),
            strict=False,
        )
    )
    expected = _strip_bytes(directory, len(strips))
    sizes = [count for _, count in strips]
    if not strips or sizes != expected or any(offset == 0 for offset, _ in strips):
        return None
    end = max(offset + count for offset, count in strips)
    if end > length:
        raise PatchError(f"is truncated: its pixels end at byte {end:,}, the file at {length:,}")
    return strips


def _strip_bytes(directory: Directory, strips: int) -> list[int]:
    """Bytes that each strip must have by dtype and shape; none if the number of strips is wrong."""
    height, samples = directory.first(HEIGHT, 0), directory.first(SAMPLES, 1)
    together = samples if directory.first(PLANAR, 1) == 1 else 1
    row = directory.first(WIDTH, 0) * together * directory.first(BITS, 8) // 8
    step = min(directory.first(ROWS_PER_STRIP, height) or height, height)
    # A damaged height may promise a thousand million rows: count them before making a list.
    if not (step and together) or -(-height // step) * (samples // together) != strips:
        return []
    rows = [min(step, height - start) for start in range(0, height, step)]
    return [row * n for n in rows] * (samples // together)


def has_plain_samples(directory: Directory) -> bool:
    """Whether samples are whole bytes of one dtype, and mean numbers, colours or a palette's rows.

    All others, such as 12 bits, half floats, complex numbers, YCbCr or CIELAB, are left to GDAL.
    """
    bits = set(directory.tags.get(BITS, (1,)))
    kind = set(directory.tags.get(SAMPLE_FORMAT, (1,)))
    return (
        len(bits) == 1
        and bits <= {8, 16, 32, 64}
        and len(kind) == 1
        and kind <= _KINDS.keys()
        and not (kind == {3} and bits <= {8, 16})
        and directory.first(FILL_ORDER, 1) == 1
        and directory.first(PHOTOMETRIC, 1) in (0, 1, 2, 3)
    )


def plain_dtype(directory: Directory) -> np.dtype[Any]:
    """The dtype of a plain TIFF's samples."""
    kind = _KINDS[directory.first(SAMPLE_FORMAT, 1)]
    return np.dtype(f"<{kind}{directory.first(BITS, 8) // 8}")


def shape_of(directory: Directory) -> tuple[int, int, int]:
    """(bands, height, width) of the image."""
    return directory.first(SAMPLES, 1), directory.first(HEIGHT, 0), directory.first(WIDTH, 0)


def georeference_of(directory: Directory) -> Georeference | None:
    """EPSG code and transform from the GeoTIFF tags; None if there is no transform."""
    tags = directory.tags
    keys = _geo_keys(tags.get(GEO_KEYS, ()))
    if len(tags.get(TRANSFORMATION, ())) == 16:
        m = tags[TRANSFORMATION]
        transform = (m[0], m[1], m[3], m[4], m[5], m[7])
    elif len(tags.get(PIXEL_SCALE, ())) >= 2 and len(tags.get(TIEPOINT, ())) >= 6:
        (sx, sy), (i, j, _, x, y) = tags[PIXEL_SCALE][:2], tags[TIEPOINT][:5]
        transform = (sx, 0.0, x - i * sx, 0.0, -sy, y + j * sy)
    else:
        return None
    if keys.get(_RASTER) == _PIXEL_IS_POINT:  # coordinates are those of pixel centres
        a, b, c, d, e, f = transform
        transform = (a, b, c - (a + b) / 2, d, e, f - (d + e) / 2)
    code = keys.get(_GEOGRAPHIC if keys.get(_MODEL) == _GEOGRAPHIC_MODEL else _PROJECTED)
    # A vertical system makes another system of both, which GDAL knows.
    is_known = code and code < _USER_DEFINED and not any(key >= _VERTICAL for key in keys)
    return Georeference(code if is_known else None, transform)


def _geo_keys(directory: tuple[int, ...]) -> dict[int, int]:
    """The keys whose values are in the directory itself: four numbers a key, after four others."""
    entries = zip(*(directory[n::4] for n in range(4)), strict=False)
    next(entries, None)
    return {key: value for key, location, _, value in entries if location == 0}


def ground_of(georeference: Georeference | None, height: int, width: int) -> Ground | None:
    """The bounds of a raster of that size, in pixels; None if it is not georeferenced."""
    if georeference is None:
        return None
    a, b, c, d, e, f = georeference.transform
    xs = [c + a * col + b * row for col in (0, width) for row in (0, height)]
    ys = [f + d * col + e * row for col in (0, width) for row in (0, height)]
    return Ground(georeference.epsg, min(xs), min(ys), max(xs), max(ys))
