"""PNG, JPEG, JPEG 2000 and arrays of NumPy: the pixels are those of Pillow, GDAL and NumPy."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import rasterio
from affine import Affine

from patchpress import convert, open_store
from patchpress.converter.commands.verify import verify
from patchpress.converter.descriptions.formats import FileFormat
from patchpress.converter.descriptions.parse import parse_description
from patchpress.converter.encoding.file_formats import apart_decoder_of, decoder_of
from patchpress.converter.encoding.promises import Expected
from patchpress.converter.encoding.raster import Raster
from patchpress.converter.options import Layout
from patchpress.readers.errors import DescriptionError, PatchError
from tests.support.helpers import Array, by_rasterio, packed

SIZE = 24
TEXT = """
[dataset]
name = "places"
version = "1"
title = "Places"
licence = "none"
url = "none"
citation = "none"

[modalities.image]
title = "Places"
kind = "image"
folder = "images"
path = "{label}/{name}.ENDING"
key = "{name}"
format = "FORMAT"
columns = { label = "{label}" }
bands = [BANDS]

[modalities.image.fields]
label = '[a-z]+'
name = '(?P<label>[a-z]+)_\\d+'
"""


def described(
    root: Path, kind: str, ending: str, bands: int, dtype: str = "uint8", **more: str
) -> Path:
    one = '{ name = "X%d", gsd = 1, dtype = "%s", shape = [%d, %d] }'
    text = TEXT.replace("ENDING", ending).replace("FORMAT", kind)
    text = text.replace("BANDS", ", ".join(one % (n, dtype, SIZE, SIZE) for n in range(bands)))
    for key, value in more.items():
        text = text.replace("columns = ", f"{key} = {value}\ncolumns = ", 1)
    path = root / "places.toml"
    path.write_text(text)
    return path


def smooth(seed: int, bands: int, dtype: str = "uint8") -> Array:
    """(height, width, bands), as photographs are: neighbours are alike."""
    random = np.random.default_rng(seed)
    high = np.iinfo(dtype).max
    ramp = np.add.outer(np.arange(SIZE), np.arange(SIZE))[..., None] * high // (2 * SIZE)
    noise = random.integers(0, high // 9, (SIZE, SIZE, bands))
    return (ramp + noise).clip(0, high).astype(dtype)


def write(
    root: Path, ending: str, encode: Callable[[Array], bytes], bands: int, **made: Any
) -> Path:
    for number in range(4):
        folder = root / "images" / ("lake", "wood")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{folder.name}_{number}.{ending}"
        file.write_bytes(encode(smooth(number, bands, **made)))
    return root


def stored(description: Path, source: Path, store: Path, **options: Any) -> dict[str, Array]:
    convert(description, source, store, workers=0, **options)
    assert verify(store, source, dataset=description, workers=0).good
    opened = open_store(store)
    return {key: opened.read(key) for key in opened.keys("image")}


def npy(array: Array, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(array, **options))
    return file.getvalue()


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png(tmp_path: Path, bands: int, dtype: str, layout: Layout) -> None:
    def encode(pixels: Array) -> bytes:
        return bytes(imagecodecs.png_encode(pixels.squeeze()))

    source = write(tmp_path / "raw", "png", encode, bands, dtype=dtype)
    description = described(tmp_path, "png", "png", bands, dtype)
    found = stored(description, source, tmp_path / "store", layout=layout)
    for number, key in enumerate(("lake_0", "wood_1", "lake_2", "wood_3")):
        expected = smooth(number, bands, dtype).transpose(2, 0, 1)
        np.testing.assert_array_equal(found[key], expected)
        file = source / "images" / key[:4] / f"{key}.png"
        np.testing.assert_array_equal(found[key], by_rasterio(file)[0])
    assert set(open_store(tmp_path / "store").table().column("label").to_pylist()) == {
        "lake",
        "wood",
    }


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def plain_png(codes: Array, bits: int, colour: int, *chunks: bytes) -> bytes:
    """A PNG as no library of the tests writes it: of a palette, or of few bits."""
    rows = np.unpackbits(codes[..., None].astype(np.uint8), axis=-1)[..., 8 - bits :]
    lines = np.packbits(rows.reshape(len(codes), -1), axis=1)
    pixels = b"".join(b"\0" + line.tobytes() for line in lines)
    header = struct.pack(">2I5B", codes.shape[1], codes.shape[0], bits, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", zlib.compress(pixels))]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IEND", b"")])


PALETTE = chunk(b"PLTE", bytes((7 * n) % 256 for n in range(3 * 2)))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("colour", [0, 3])
def test_codes_of_a_png_are_as_they_are(tmp_path: Path, bits: int, colour: int) -> None:
    """Libraries make colours of a palette, and 255 of a 1 in one bit: codes are neither."""
    palette = chunk(b"PLTE", bytes((7 * n) % 256 for n in range(3 << bits)))
    clear = chunk(b"tRNS", bytes([0]))

    def encode(pixels: Array) -> bytes:
        extra = (palette, clear) if colour == 3 else ()
        return plain_png(pixels[..., 0] & ((1 << bits) - 1), bits, colour, *extra)

    source = write(tmp_path / "raw", "png", encode, 1)
    found = stored(described(tmp_path, "png", "png", 1), source, tmp_path / "store")
    for number, key in enumerate(("lake_0", "wood_1", "lake_2", "wood_3")):
        np.testing.assert_array_equal(found[key][0], smooth(number, 1)[..., 0] & ((1 << bits) - 1))


def test_three_bands_of_a_palette_are_its_colours(tmp_path: Path) -> None:
    table = np.random.default_rng(1).integers(0, 256, (256, 3), np.uint8)
    palette, clear = chunk(b"PLTE", table.tobytes()), chunk(b"tRNS", bytes(range(200)))
    source = write(tmp_path / "raw", "png", lambda p: plain_png(p[..., 0], 8, 3, palette, clear), 1)
    found = stored(described(tmp_path, "png", "png", 3), source, tmp_path / "store")
    expected = table[smooth(2, 1)[..., 0]].transpose(2, 0, 1)
    np.testing.assert_array_equal(found["lake_2"], expected)


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("options", [{}, {"subsampling": "420"}, {"level": 60, "optimize": True}])
def test_jpeg_is_as_pillow_reads_it(tmp_path: Path, bands: int, options: dict[str, Any]) -> None:
    image = pytest.importorskip("PIL.Image")

    def encode(pixels: Array) -> bytes:
        return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels.squeeze()), **options))

    source = write(tmp_path / "raw", "jpg", encode, bands)
    found = stored(described(tmp_path, "jpeg", "jpg", bands), source, tmp_path / "store")
    for key, pixels in found.items():
        expected = np.asarray(image.open(source / "images" / key[:4] / f"{key}.jpg"))
        np.testing.assert_array_equal(pixels.transpose(1, 2, 0).squeeze(), expected)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize(
    ("bands", "dtype"), [(1, "uint8"), (3, "uint8"), (4, "uint16"), (3, "int16")]
)
def test_jpeg_2000(tmp_path: Path, bands: int, dtype: str, lossless: bool) -> None:
    options: dict[str, Any] = {"level": 0 if lossless else 50, "reversible": lossless}

    def encode(pixels: Array) -> bytes:
        return bytes(imagecodecs.jpeg2k_encode(pixels.squeeze(), **options))

    source = write(tmp_path / "raw", "jp2", encode, bands, dtype=dtype)
    found = stored(described(tmp_path, "jpeg2000", "jp2", bands, dtype), source, tmp_path / "store")
    for number, key in enumerate(("lake_0", "wood_1", "lake_2", "wood_3")):
        if lossless:
            np.testing.assert_array_equal(
                found[key], smooth(number, bands, dtype).transpose(2, 0, 1)
            )
        file = source / "images" / key[:4] / f"{key}.jp2"
        np.testing.assert_array_equal(found[key], by_rasterio(file)[0])


@pytest.mark.parametrize("written", [{}, {"order": "F"}, {"dtype": ">u2"}])
@pytest.mark.parametrize("axes", ["hwc", "chw", "hw"])
@pytest.mark.parametrize("layout", Layout)
def test_npy(tmp_path: Path, axes: str, written: dict[str, Any], layout: Layout) -> None:
    bands = 1 if axes == "hw" else 3

    def encode(pixels: Array) -> bytes:
        ordered = {"hwc": pixels, "chw": pixels.transpose(2, 0, 1), "hw": pixels[..., 0]}
        return npy(ordered[axes], **written)

    source = write(tmp_path / "raw", "npy", encode, bands, dtype="uint16")
    description = described(tmp_path, "npy", "npy", bands, "uint16", axes=f'"{axes}"')
    found = stored(description, source, tmp_path / "store", layout=layout)
    for number, key in enumerate(("lake_0", "wood_1", "lake_2", "wood_3")):
        np.testing.assert_array_equal(
            found[key], smooth(number, bands, "uint16").transpose(2, 0, 1)
        )


def test_an_archive_gives_the_bytes_of_the_folders(tmp_path: Path) -> None:
    def encode(pixels: Array) -> bytes:
        return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))

    source = write(tmp_path / "raw", "png", encode, 3)
    description = described(tmp_path, "png", "png", 3)
    stored(description, source, tmp_path / "store")
    stored(description, packed(source), tmp_path / "other")
    for name in ("data.mdb", "metadata.parquet"):
        assert (tmp_path / "store" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


@pytest.mark.parametrize("ending", [".pgw", ".pngw", ".wld", ".PGW", ".png.aux.xml"])
def test_files_beside_a_png_tell_the_ground(tmp_path: Path, ending: str) -> None:
    def encode(pixels: Array) -> bytes:
        return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))

    source = write(tmp_path / "raw", "png", encode, 3)
    file = source / "images" / "lake" / "lake_0.png"
    if ending == ".png.aux.xml":
        file.with_name(f"{file.name}.aux.xml").write_text(
            "<PAMDataset><SRS>EPSG:32633</SRS><GeoTransform>500000, 10, 0, 4000000, 0, -10"
            "</GeoTransform></PAMDataset>"
        )
    else:
        file.with_suffix(ending).write_text("10\n0\n0\n-10\n500005\n3999995\n")
    stored(described(tmp_path, "png", "png", 3), source, tmp_path / "store")
    rows = {row["name"]: row for row in open_store(tmp_path / "store").table().to_pylist()}
    assert (rows["lake_0"]["left"], rows["lake_0"]["top"]) == (500_000, 4_000_000)
    assert rows["lake_0"]["epsg"] == (32633 if ending.endswith(".xml") else None)
    assert rows["wood_1"]["left"] is None


def test_a_georeference_in_a_jpeg_2000_is_read(tmp_path: Path) -> None:
    def encode(pixels: Array) -> bytes:
        profile = {"driver": "JP2OpenJPEG", "count": 3, "height": SIZE, "width": SIZE}
        transform = Affine(10, 0, 500_000, 0, -10, 4_000_000)
        with rasterio.MemoryFile() as memory:
            with memory.open(
                **profile, dtype="uint8", crs="EPSG:32633", transform=transform,
                QUALITY="100", REVERSIBLE="YES", CODEC="JP2",
            ) as file:  # fmt: skip
                file.write(pixels.transpose(2, 0, 1))
            return bytes(memory.read())

    source = write(tmp_path / "raw", "jp2", encode, 3)
    stored(described(tmp_path, "jpeg2000", "jp2", 3), source, tmp_path / "store")
    row = open_store(tmp_path / "store").table().to_pylist()[0]
    assert (row["epsg"], row["left"], row["top"]) == (32633, 500_000, 4_000_000)


def png(pixels: Array) -> bytes:
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))


def jpeg(pixels: Array) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels)))


def jp2(pixels: Array) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(np.ascontiguousarray(pixels), level=0, reversible=True))


def chw(pixels: Array) -> bytes:
    return npy(pixels.transpose(2, 0, 1))


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([[{"a": 1}]], object), allow_pickle=True)
    return file.getvalue()


def promise(height: int, width: int) -> bytes:
    """A PNG of some hundred bytes that says it is enormous."""
    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", data), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


GOOD = smooth(9, 3)
# Format -> what stands in the place of a file, and what the error says.
BAD: dict[str, tuple[str, bytes, str]] = {
    "no png": ("png", b"hello world, this is no image at all" * 9, "is no PNG"),
    "a jpeg in the place of a png": ("png", jpeg(GOOD), "is no PNG"),
    "a png of other bands": ("png", png(smooth(1, 4)), "has 4 bands, not 3"),
    "a png of other bits": ("png", png(smooth(1, 3, "uint16")), "is uint16, not uint8"),
    "a png of another size": ("png", png(GOOD[:20]), "has 20 x 24 pixels, not 24 x 24"),
    "a cut png": ("png", png(GOOD)[:-400], "is no PNG that can be read"),
    "a damaged png": ("png", flipped(png(GOOD)), "is no PNG that can be read"),
    "a png that promises much": ("png", promise(60_000, 60_000), "has 60000 x 60000 pixels"),
    "an empty png": ("png", b"", "is no PNG but"),
    "no jpeg": ("jpeg", png(GOOD), "is no JPEG"),
    "a cut jpeg": ("jpeg", jpeg(GOOD)[:-2], "is cut: it has no end of a JPEG"),
    "half a jpeg": ("jpeg", jpeg(GOOD)[:150], "is "),
    "a grey jpeg": ("jpeg", jpeg(GOOD[..., 0]), "has 1 bands, not 3"),
    "a jpeg of another size": ("jpeg", jpeg(GOOD[:8]), "has 8 x 24 pixels"),
    "a jpeg of many scans": (
        "jpeg", jpeg(GOOD)[:-2] + b"\xff\xda" * 300 + b"\xff\xd9", "301 scans, far more"),
    "no jpeg 2000": ("jpeg2000", png(GOOD), "is no JPEG 2000"),
    "a cut jpeg 2000": ("jpeg2000", jp2(GOOD)[:-300], "is no JPEG 2000 that can be read"),
    "a jpeg 2000 that ends in its header": ("jpeg2000", jp2(GOOD)[:90], "is "),
    "a jpeg 2000 of other bands": ("jpeg2000", jp2(smooth(1, 4)), "has 4 bands, not 3"),
    "no npy": ("npy", png(GOOD), "is no array of NumPy that can be read"),
    "pickled objects": ("npy", pickled(), "is an array of object, not of numbers"),
    "an array of other axes": ("npy", npy(GOOD[..., 0]), "has the shape (24, 24), which has not"),
    "an array of other order": ("npy", npy(GOOD), "has 24 bands, not 3"),
    "an array of other dtype": (
        "npy", npy(GOOD.transpose(2, 0, 1).astype(float)), "is float64, not uint8"),
    "a cut array": ("npy", chw(GOOD)[:-1], "is cut: it has"),
    "a longer array": ("npy", chw(GOOD) + b"xx", "2 more than its array"),
    "a structured array": (
        "npy", npy(np.zeros((3, 24, 24), "u1,u1")), "not of numbers"),
    "a header of nonsense": (
        "npy", chw(GOOD).replace(b"'descr'", b"'des()r"), "is no array of NumPy"),
    "an array of another version": (
        "npy", b"\x93NUMPY\x09\x00" + chw(GOOD)[8:], "of version 9.0, which is not read"),
    "an array that promises much": (
        "npy", chw(GOOD).replace(b"(3, 24, 24), }", b"(3, 24, 9999999999), }"),
        "has 24 x 9999999999 pixels"),
}  # fmt: skip
ENDINGS = {
    "png": ("png", png),
    "jpeg": ("jpg", jpeg),
    "jpeg2000": ("jp2", jp2),
    "npy": ("npy", chw),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_file_is_one_sentence(tmp_path: Path, bad: str) -> None:
    kind, data, sentence = BAD[bad]
    ending, encode = ENDINGS[kind]
    source = write(tmp_path / "raw", ending, encode, 3)
    file = source / "images" / "wood" / f"wood_1.{ending}"
    file.write_bytes(data)
    more = {"axes": '"chw"'} if kind == "npy" else {}
    description = described(tmp_path, kind, ending, 3, **more)
    with pytest.raises(PatchError) as refused:
        convert(description, source, tmp_path / "store", workers=0)
    assert str(refused.value).startswith(f"{file} ")
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
    report = convert(description, source, tmp_path / "rest", workers=0, on_error="skip")
    assert len(report.skipped) == 1


@pytest.mark.parametrize("kind", ENDINGS)
def test_files_of_any_size_are_bounded(tmp_path: Path, kind: str) -> None:
    ending, encode = ENDINGS[kind]
    source = write(tmp_path / "raw", ending, encode, 3)
    file = source / "images" / "wood" / f"wood_1.{ending}"
    file.write_bytes(encode(np.zeros((4000, 4000, 3), np.uint8)))
    more = {"any_size": "true"} | ({"axes": '"chw"'} if kind == "npy" else {})
    description = described(tmp_path, kind, ending, 3, **more)
    with pytest.raises(PatchError, match=r"wood_1\.\w+ has .* a patch may have|far more than"):
        convert(description, source, tmp_path / "store", layout="native", workers=0)


# Mistake -> (format, bands, dtype, keys, what the error says).
MISTAKES: dict[str, tuple[str, int, str, dict[str, str], str]] = {
    "a format of nobody": ("gif", 3, "uint8", {}, "format' must be one of tiff, png, jpeg"),
    "axes of a png": ("png", 3, "uint8", {"axes": '"hwc"'}, "axes' is of arrays of NumPy"),
    "no axes": ("npy", 3, "uint8", {}, "axes' must be one of hwc, chw, hw: an array of NumPy"),
    "other axes": ("npy", 3, "uint8", {"axes": '"whc"'}, "must be one of hwc, chw, hw, not 'whc'"),
    "too few axes": ("npy", 3, "uint8", {"axes": '"hw"'}, "is hw, but a file has 3 bands"),
    "floats in png": ("png", 3, "float32", {}, "uint8 or uint16 in png files, not float32"),
    "16 bits in jpeg": ("jpeg", 3, "uint16", {}, "must have the dtype uint8 in jpeg files"),
    "four bands of jpeg": ("jpeg", 4, "uint8", {}, "are 4 in one file: a jpeg file has 1 or 3"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_about_formats_is_one_sentence(tmp_path: Path, mistake: str) -> None:
    kind, bands, dtype, more, sentence = MISTAKES[mistake]
    path = described(tmp_path, kind, "x", bands, dtype, **more)
    with pytest.raises(DescriptionError) as refused:
        parse_description(path.read_text(), "places.toml")
    assert sentence in str(refused.value)


@pytest.mark.parametrize("shape", [None, (SIZE, SIZE)])
@pytest.mark.parametrize("kind", ENDINGS)
def test_a_damaged_file_is_refused_or_read(kind: str, shape: tuple[int, int] | None) -> None:
    """Whatever bytes differ, nothing but a `PatchError` comes, and no more pixels than may be."""
    _, encode = ENDINGS[kind]
    whole = encode(GOOD)
    file_format = FileFormat(kind, "chw" if kind == "npy" else "")
    decoder = decoder_of(file_format)
    assert decoder is not None
    expected = Expected(np.dtype(np.uint8), 3, shape, 1 << 20)
    random = np.random.default_rng(11)
    for _ in range(400):
        data = bytearray(whole)
        for at in random.integers(0, min(len(data), 200), 1 + int(random.integers(4))):
            data[at] = int(random.integers(256))
        if random.integers(4) == 0:
            del data[int(random.integers(len(data))) :]
        for decode in (decoder.decode, apart_decoder_of(file_format)):
            try:
                found = decode(bytes(data), expected)
            except PatchError as refused:
                assert "\n" not in str(refused)
                continue
            array = found.array if isinstance(found, Raster) else found
            assert array.dtype == np.uint8
            assert len(array) == 3
            assert array.nbytes <= 1 << 20
