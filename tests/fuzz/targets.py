"""The targets: everything of ours that parses bytes which somebody else may have written."""

import io
import json
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self, cast

import lmdb
import numpy as np
import safetensors.numpy
import xxhash
import zstandard

from patchpress import convert
from patchpress.converter.commands.stats import stats
from patchpress.converter.descriptions.parse import built_in_descriptions, parse_description
from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.encoding.promises import Expected
from patchpress.converter.encoding.raster import decode as decode_tiff
from patchpress.converter.encoding.raster import decode_rasterio
from patchpress.converter.encoding.tiff import Ground
from patchpress.converter.sources.decompress import DecompressedArchive
from patchpress.converter.sources.tar import TarStream
from patchpress.converter.sources.unpacker import Unpacker
from patchpress.converter.sources.zip_directory import ZipDirectory
from patchpress.converter.sources.zip_files import ZippedArchive, ZippedFiles
from patchpress.converter.storage.journal import Journal, sorted_records
from patchpress.converter.storage.transactions import Mark
from patchpress.readers import statistics_file
from patchpress.readers.access.extents_file import read_extents
from patchpress.readers.errors import (
    DescriptionError,
    FormatUnknown,
    PatchError,
    SourceError,
    StatisticsStale,
    StoreDamaged,
    TargetError,
)
from patchpress.readers.format import manifest, record
from patchpress.readers.format.blosc2_chunk import LEAST, ChunkCompressor, ChunkDecompressor
from patchpress.readers.format.btree import Tree
from patchpress.readers.format.compression import Decompressor
from patchpress.readers.format.table import read_table
from patchpress.readers.format.zstd_frame import FrameCompressor, is_frame
from tests.fuzz.mutate import of_blocks, of_header, of_json, of_lines, of_tags
from tests.fuzz.target import Check, Target, lasting_folder
from tests.support.helpers import Array, geotiff, patch_named
from tests.support.packing import ended, entry
from tests.support.synthetic import make_tree
from tests.support.zipping import METHODS, zip_of

DATA = "data"


@cache
def _store() -> Path:
    """A small store, whole, with statistics."""
    folder = lasting_folder()
    make_tree(folder / "source", n=3, flagged=1)
    store = folder / "store"
    convert("bigearthnet-v2", folder / "source", store, workers=0)
    stats(store, workers=0)
    return store


def _bytes_in(name: str) -> Callable[[], list[bytes]]:
    return lambda: [(_store() / name).read_bytes()]


# --- TIFF ------------------------------------------------------------------------------------


def _tiffs() -> list[bytes]:
    """Small GeoTIFFs of GDAL: plain, tiled, in strips, compressed, with several bands."""
    folder = lasting_folder()
    one = np.arange(64, dtype=np.uint16).reshape(1, 8, 8)
    ground: dict[str, Any] = {"crs": "EPSG:32633", "transform": (10.0, 0.0, 3e5, 0.0, -10.0, 5e6)}
    kinds: list[tuple[Array, dict[str, Any]]] = [
        (one, ground),
        (one.astype(np.float32), {"blockysize": 2}),
        (np.repeat(one, 3, 0), {"interleave": "pixel"}),
        (np.repeat(one, 3, 0).astype(np.uint8), {"interleave": "band", "compress": "packbits"}),
        (one, {"compress": "deflate", "predictor": 2}),
        (one.astype(np.float64), {"compress": "lzw", "bigtiff": "yes"}),
        (
            np.repeat(np.repeat(one, 2, 1), 2, 2),
            {"tiled": True, "blockxsize": 16, "blockysize": 16},
        ),
        (one.astype(np.float32), {"compress": "deflate", "predictor": 3, "blockysize": 4}),
        (one.astype(np.int16), {"endianness": "big", "compress": "zstd", "predictor": 2}),
        (
            np.repeat(np.repeat(np.repeat(one, 3, 0), 3, 1), 3, 2),
            {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"},
        ),
        (np.repeat(one, 2, 0), {"interleave": "pixel", "compress": "lzma"}),
        # These GDAL alone can read: what it gives must be the same each time.
        (one, {"nbits": 12, "compress": "deflate"}),
        (one.astype(np.complex64), {"compress": "deflate"}),
        (one.astype(np.float32), {"nbits": 16, "compress": "zstd"}),
    ]
    return [
        geotiff(folder / f"{number}.tif", array, **options).read_bytes()
        for number, (array, options) in enumerate(kinds)
    ]


def _tiff() -> Check:
    # A file is always compared with what a description expects of it: here with that of a seed.
    rasters = [decode_rasterio(seed).array for seed in _tiffs()]
    images = {(raster.dtype, len(raster), raster.shape[1:]) for raster in rasters}
    expected = [Expected(*image) for image in sorted(images, key=str)]

    def check(data: bytes) -> bool:
        answers = [taken(data, image) for image in expected]  # each is asked, not only up to one
        return any(answers)

    def taken(data: bytes, image: Expected) -> bool:
        try:
            raster = decode_tiff(data, image)
        except PatchError:
            return False
        try:
            by_gdal = decode_rasterio(data)
        except PatchError:
            return True  # GDAL refuses some for a tag that says nothing of the pixels
        assert raster.array.dtype == by_gdal.array.dtype
        assert raster.array.tobytes() == by_gdal.array.tobytes()
        return True

    return check


# --- the store's files -----------------------------------------------------------------------


def _records() -> list[bytes]:
    arrays: dict[str, Array] = {
        "B02": np.arange(6, dtype=np.uint16).reshape(2, 3),
        "VV": np.ones(3, np.float32),
    }
    whole = record.encode(arrays, {"epsg": "32633"})
    frame = FrameCompressor(1)(whole)
    return [whole, safetensors.numpy.save(arrays), record.encode({}), frame]


def _record() -> Check:
    unpack = Decompressor()

    def check(data: bytes) -> bool:
        try:
            value = unpack(data)
            arrays = record.decode(value)
        except StoreDamaged:
            return False
        try:
            others = record.decode_with_safetensors(value)
        except StoreDamaged:
            return True  # the library refuses some that are as well formed
        assert arrays.keys() == others.keys()
        assert all(arrays[name].tobytes() == others[name].tobytes() for name in arrays)
        return True

    return check


CHUNK_LIMIT = 1 << 20
"""Bytes of a record that a manifest allows, for the fuzzer."""


def _chunks() -> list[bytes]:
    """Values that are Blosc2 chunks: of one block, of several, of noise, with long runs."""
    random = np.random.default_rng(0)
    records = [
        record.encode({"B02": np.arange(400, dtype=np.uint16) // 3}),
        record.encode({"B02": random.integers(0, 4000, 40_000, np.uint16)}),
        record.encode({"VV": random.standard_normal(10_000).astype(np.float32)}),
        record.encode({"Data": np.zeros(50_000, np.uint8)}),
    ]
    sizes = (2, 2, 4, 1)
    return [bytes(ChunkCompressor(n)(r)) for n, r in zip(sizes, records, strict=True)]


def _chunk() -> Check:
    unpack = ChunkDecompressor(CHUNK_LIMIT)
    wanted = ((0, 100), (40_000, 50_000))

    def check(data: bytes) -> bool:
        taken = False
        for value in (data, _with_xxh3(data)):
            try:
                whole = bytes(unpack(value))
            except StoreDamaged:
                continue
            taken = True
            assert 0 < len(whole) <= CHUNK_LIMIT
            try:
                part = unpack(value, wanted)
            except StoreDamaged:
                continue  # a block that is damaged has other bytes around it then
            assert len(part) == len(whole)
        return taken

    return check


def _with_xxh3(data: bytes) -> bytes:
    """A value of the length and with the checksum that its own bytes ask for."""
    length = int.from_bytes(data[12:16], "little")
    if not 0 < length <= len(data):
        return data
    chunk = data[:length].ljust(LEAST - 8, b"\0")
    return chunk + xxhash.xxh3_64_intdigest(chunk).to_bytes(8, "little")


def _manifest() -> Check:
    def check(data: bytes) -> bool:
        try:
            found = manifest.from_bytes(data)
        except (StoreDamaged, FormatUnknown):
            return False
        # What is asked of every manifest; none of it may fail later.
        repr(found), found._repr_html_(), found.contents()
        for modality in found.modalities.values():
            repr(modality), modality.band_names, modality.shape if not modality.any_size else 0
        assert manifest.from_bytes(manifest.to_bytes(found)) == found
        return True

    return check


def _metadata() -> Check:
    known = manifest.read_manifest(_store())
    folder = lasting_folder()
    path = folder / manifest.METADATA

    def check(data: bytes) -> bool:
        path.write_bytes(data)
        try:
            for split in (None, "train"):
                read_table(folder, known, split, modality="s2").to_pylist()
        except StoreDamaged:
            return False
        return True

    return check


def _extents() -> Check:
    store, folder = _store(), lasting_folder()
    (folder / manifest.DATA).hardlink_to(store / manifest.DATA)
    path = folder / manifest.EXTENTS

    def check(data: bytes) -> bool:
        taken = False
        for content in (data, _with_checksum(data)):
            path.write_bytes(content)
            found, _ = read_extents(folder, [manifest.DATA])
            if found is not None:
                taken = True
                found.positions([found.key(place) for place in range(min(len(found), 4))])
        return taken

    return check


def _with_checksum(data: bytes) -> bytes:
    """Extents with the checksum that their bytes ask for, so that what it guards is tried, too."""
    try:
        length = int.from_bytes(data[:8], "little")
        head = json.loads(data[8 : 8 + length])
        facts = head["__metadata__"]
        checksum = zlib.crc32(json.dumps(json.loads(facts["files"])).encode())
        for text in json.loads(facts["forms"]):
            checksum = zlib.crc32(text.encode("latin-1"), checksum)
        facts["crc32"] = f"{zlib.crc32(data[8 + length :], checksum):08x}"
        text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return data
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _statistics() -> Check:
    known = manifest.read_manifest(_store())

    def check(data: bytes) -> bool:
        try:
            entries = statistics_file.from_bytes(data, known, Path(DATA), "patchpress stats")
        except (StoreDamaged, StatisticsStale):
            return False
        for found in entries.values():
            repr(found), found._repr_html_()
            if found.bands:
                found.mean(), found.std(), found.percentile(2)
        return True

    return check


def _trees() -> list[bytes]:
    """Data files of LMDB: empty, one leaf, branches, values with own pages, deleted ones."""
    return [
        _data_file([]),
        _data_file([(b"a", b"1"), (b"b", b"2" * 700)]),
        _data_file([(b"key%03d" % number, b"v" * 40) for number in range(200)], rewrite=True),
        _data_file([(b"one", bytes(9000)), (b"two", bytes(3000))], rewrite=True),
    ]


def _data_file(values: Sequence[tuple[bytes, bytes]], *, rewrite: bool = False) -> bytes:
    folder = lasting_folder()
    with lmdb.open(str(folder), map_size=1 << 20) as environment:
        for _ in range(2 if rewrite else 1):
            with environment.begin(write=True) as transaction:
                for key, value in values:
                    transaction.put(key, value)
        if rewrite:
            with environment.begin(write=True) as transaction:
                transaction.delete(values[0][0])
    return (folder / manifest.DATA).read_bytes()


def _btree() -> Check:
    def check(data: bytes) -> bool:
        taken = True
        for ask in (lambda tree: list(tree.values()), Tree.check_pages, Tree.identity):
            try:
                ask(Tree(memoryview(data), Path(DATA)))
            except (StoreDamaged, FormatUnknown):
                taken = False
        try:
            tree = Tree(memoryview(data), Path(DATA))
            for key in (b"a", b"key100", b"two", b"zzz"):
                value = tree.find(key)
                assert value is None or value.offset + value.length <= len(data)
        except (StoreDamaged, FormatUnknown):
            taken = False
        return taken

    return check


# --- sources ---------------------------------------------------------------------------------


def _journals() -> list[bytes]:
    path = lasting_folder() / "journal"
    with Journal(path) as journal:
        record_ = Encoded(length=9, checksum=7, ground=Ground(32633, 0.0, 1.0, 2.0, 3.0), values=())
        journal.note(patch_named("p"), record_, 0)
        journal.note_failed(patch_named("q"), PatchError("q is damaged"))
        journal.append(Mark(4096, 3, 1 << 20), [b"header"])
        journal.append(Mark(8192, 4, 1 << 21, ("p",)))
    lines = path.read_bytes().splitlines()
    return [b"\n".join(line[9:] for line in lines)]


def _journal() -> Check:
    path = lasting_folder() / "journal"

    def check(data: bytes) -> bool:
        # A line without its checksum is no line; so every line gets the right one.
        lines = data.split(b"\n")
        path.write_bytes(b"".join(b"%08x %s\n" % (zlib.crc32(line), line) for line in lines))
        try:
            with Journal(path) as journal:
                sorted_records(journal)
        except TargetError:
            return False
        return True

    return check


def _tars() -> list[bytes]:
    """Archives of GNU and of POSIX, with names of all lengths; one is compressed."""
    plain = ended([entry("a/b.tif", b"pixels"), entry("a/" + "c" * 120 + ".tif", b"more")])
    posix = io.BytesIO()
    with tarfile.open(fileobj=posix, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("a/b.tif", "a/" + "c" * 120 + ".tif", f"{'d' * 90}/{'e' * 90}.tif"):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 3, 1.5
            tar.addfile(info, io.BytesIO(b"abc"))
    return [plain, posix.getvalue(), zstandard.compress(plain, 1)]


class _InOneThread:
    """Decompresses an archive where it is asked for bytes.

    A thread that reads ahead would get other distances in each run, so that libFuzzer saw other
    inputs as new, and tried others after them.
    """

    def __init__(self) -> None:
        self._chunk = bytearray(1 << 20)

    def read(self, paths: Sequence[Path], *, md5: bool, window: int) -> Self:
        self._archive = DecompressedArchive(paths, md5=md5, window=window)
        self._error: SourceError | None = None
        return self

    def next(self) -> memoryview:
        if self._error is not None:
            raise self._error
        filled, self._error = self._archive.fill(memoryview(self._chunk))
        if self._error is not None and not filled:
            raise self._error
        return memoryview(self._chunk)[:filled]

    def close(self) -> None:
        self._archive.close()

    def __getattr__(self, name: str) -> Any:  # consumed, leftover, digests
        return getattr(self._archive, name)


def _tar() -> Check:
    folder = lasting_folder()
    reader = cast(Unpacker, _InOneThread())

    def check(data: bytes) -> bool:
        packed = is_frame(data)
        path = folder / ("a.tar.zst" if packed else "a.tar")
        path.write_bytes(data)
        found: list[tuple[str, bytes]] = []
        try:
            stream = TarStream([path], unpacker=reader)
            try:
                for member in stream:
                    content = memoryview(bytearray(min(member.size, len(data) << 8)))
                    stream.read_into(content)
                    found.append((member.path, bytes(content)))
            finally:
                stream.close()
        except SourceError:
            return False
        if not packed:
            expected = _as_tarfile_reads(data)
            assert found[: len(expected)] == expected
        return True

    return check


def _as_tarfile_reads(data: bytes) -> list[tuple[str, bytes]]:
    """Path and bytes of each file, by Python's own reader; none if that refuses the archive.

    It stops at the end of the first archive, and at the first damaged header. Of two entries in a
    row that tell a name, it takes the first; GNU tar the last. Of a name, it takes what stands in
    the block, also beyond the size of the entry, as GNU tar does, too; libarchive and ours do not.
    What a folder has for its size it takes as headers, and a name that ends with a slash as that
    of a file; GNU tar and ours pass over the size, and take it as that of a folder. What GNU has in
    the place of POSIX's prefix, it takes as one; and a size after a zero byte as none. An empty
    name in a pax header is one for it; for POSIX and ours the entry has its own then.
    """
    kinds = bytes(data[at + 156] for at in range(0, len(data) - 511, 512))
    if re.search(rb"[LKxX].?[LKxX]", kinds, re.DOTALL) or _has_text_beyond(data):
        return []
    for at in range(0, len(data) - 511, 512):
        prefixed = data[at + 257 : at + 263] == b"ustar " and any(data[at + 345 : at + 500])
        if prefixed or re.match(rb" *\0 *[0-7]", data[at + 124 : at + 136]):
            return []
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            members = [(one, tar.extractfile(one)) for one in tar if one.isfile()]
            found = [(one.name, file.read()) for one, file in members if file is not None]
            folders = [
                one for one in tar if (one.isdir() and one.size) or one.name[-1:] in ("", "/")
            ]
            told = tar.pax_headers
    except (tarfile.TarError, ValueError, OSError, OverflowError):
        return []
    if folders or told:  # what is told of all files after it, no archive of patches has
        return []
    return [("/".join(p for p in n.split("/") if p not in ("", ".")), data) for n, data in found]


def _has_text_beyond(data: bytes) -> bool:
    """Whether an entry that tells a long name (GNU) has text in its block beyond its size."""
    for at in range(0, len(data) - 511, 512):
        size = re.fullmatch(rb"[ \0]*([0-7]+)[ \0]*", data[at + 124 : at + 136])
        if data[at + 156] in b"LK" and size is not None:
            length = int(size[1], 8)
            if data[at + 512 : at + 512 + -(-length // 512) * 512][length:].strip(b"\0"):
                return True
    return False


def _descriptions() -> list[bytes]:
    return [path.read_bytes() for path in built_in_descriptions().values()]


def _description() -> Check:
    def check(data: bytes) -> bool:
        try:
            found = parse_description(data.decode(errors="replace"), DATA)
        except DescriptionError:
            return False
        repr(found), found.files, found.classes, found.target, found.split_names
        return True

    return check


# --- zip -------------------------------------------------------------------------------------


def _zips() -> list[bytes]:
    """Archives that are stored, compressed in each way, of 64 bits, with bytes before and after."""
    files = {"a/b.tif": b"pixels" * 9, "a/c/d": b"", "e.txt": b"text"}
    whole = [bytes(zip_of(files, method=method)) for method in METHODS]
    long = io.BytesIO()
    with zipfile.ZipFile(long, "w") as archive:
        for name, data in files.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as file:
                file.write(data)
    plain = whole[0]
    return [
        *whole,
        long.getvalue(),
        b"#!/bin/sh\n" + plain,
        bytes(zip_of(files, b"comment")) + b"x",
    ]


def _zip() -> Check:
    path = lasting_folder() / "a.zip"

    def check(data: bytes) -> bool:
        path.write_bytes(data)
        try:
            directory = ZipDirectory([str(path)])
            found = dict(_zipped(directory))
        except (SourceError, PatchError):
            return False
        for name, content in found.items():
            for expected in _as_zipfile_reads(data, name):
                assert content == expected, name
        return True

    return check


def _zipped(directory: ZipDirectory) -> Iterator[tuple[str, bytes]]:
    archive = ZippedArchive(directory.files, directory.identity)
    for folder in directory.folders():
        places = directory.places[folder.start : folder.start + len(folder.names)]
        if (places["size"] > 1 << 20).any():
            continue  # a conversion knows how large its files may be
        files = ZippedFiles(archive, tuple(folder.names), places.tobytes()).open("", None)
        for name in folder.names:
            yield (f"{folder.path}/{name}" if folder.path else name), files.read(name)


def _as_zipfile_reads(data: bytes, name: str) -> list[bytes]:
    """What Python's own reader has of a file, if it takes it."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [archive.read(name)]
    except Exception:
        return []


_READERS, _CONVERTER = "patchpress.readers.", "patchpress.converter."

TARGETS = {
    target.name: target
    for target in (
        Target(
            "tiff",
            (f"{_CONVERTER}encoding.tiff", f"{_CONVERTER}encoding.raster"),
            _tiffs,
            _tiff,
            mutation=of_tags,
        ),
        Target(
            "zip",
            tuple(
                f"{_CONVERTER}sources.zip_{part}"
                for part in ("bytes", "end", "names", "directory", "files", "methods")
            ),
            _zips,
            _zip,
        ),
        Target(
            "record",
            (f"{_READERS}format.record",),
            _records,
            _record,
            mutation=of_header,
        ),
        Target(
            "chunk",
            (f"{_READERS}format.blosc2_chunk",),
            _chunks,
            _chunk,
            1 << 17,
        ),
        Target(
            "manifest",
            (f"{_READERS}format.manifest", f"{_READERS}format.modality"),
            _bytes_in("manifest.json"),
            _manifest,
            16_384,
            of_json,
        ),
        Target(
            "metadata",
            (f"{_READERS}format.table",),
            _bytes_in("metadata.parquet"),
            _metadata,
            32_768,
        ),
        Target(
            "extents",
            (
                f"{_READERS}access.extents",
                f"{_READERS}access.extents_file",
                f"{_READERS}access.keys",
            ),
            _bytes_in("extents.safetensors"),
            _extents,
            8192,
            of_header,
        ),
        Target(
            "statistics",
            (f"{_READERS}statistics",),
            _bytes_in("statistics.json"),
            _statistics,
            65_536,
            of_json,
        ),
        Target(
            "btree",
            (f"{_READERS}format.btree",),
            _trees,
            _btree,
            1 << 16,
        ),
        Target(
            "journal",
            (f"{_CONVERTER}storage.journal",),
            _journals,
            _journal,
            mutation=of_lines,
        ),
        Target(
            "tar",
            (
                f"{_CONVERTER}sources.tar",
                f"{_CONVERTER}sources.tar_header",
                f"{_CONVERTER}sources.unfolded",
            ),
            _tars,
            _tar,
            16_384,
            of_blocks,
        ),
        Target(
            "description",
            (f"{_CONVERTER}descriptions",),
            _descriptions,
            _description,
            8192,
        ),
    )
}
