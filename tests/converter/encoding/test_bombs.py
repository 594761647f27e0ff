"""No single file of a source takes more than 100 MB, whatever it promises: the peak is measured."""

import tarfile
from pathlib import Path

import numpy as np
import pytest
import rasterio

from patchpress import convert, verify
from patchpress.converter.encoding.raster import decode, decode_rasterio
from patchpress.readers.errors import PatchError
from tests.support.bombs import bombs
from tests.support.helpers import PEAK, band_files, geotiff, patches, python, tiny_dataset

pytestmark = pytest.mark.slow

ABOVE = 100 << 20
# Decoders are loaded by usual files first; then only the bomb counts.
PROGRAM = (
    PEAK
    + """
import sys
from pathlib import Path
import numpy as np
from patchpress.converter.encoding.bandreader import BandReader
from patchpress.converter.encoding.promises import Expected
from patchpress.converter.encoding.raster import decode, decode_apart, decode_rasterio
from patchpress.converter.sources.files import DiskFiles
from patchpress.readers.errors import PatchError

folder = Path(sys.argv[1])
usual = (folder / "usual.tif").read_bytes()
for decoder in (decode, decode_apart, decode_rasterio):
    decoder(usual)
files, before = DiskFiles(str(folder)), peak()
for name in sorted(p.name for p in folder.glob("bomb*")):
    reader = BandReader("uint16", (120, 120))
    out = np.empty((120, 120), np.uint16)
    data = (folder / name).read_bytes() if (folder / name).stat().st_size < 1 << 27 else b""
    expected = Expected(np.dtype("uint16"), 1, (120, 120))
    for read in (
        lambda: reader.read_into(name, files, [out.data.cast("B")]),
        lambda: reader.read_any(name, files),
        lambda: decode_apart(data, expected),
        lambda: decode_rasterio(data, expected),
    ):
        try:
            read()
        except PatchError as error:
            sentence = str(error)
            assert chr(10) not in sentence and len(sentence) < 500, sentence
        except BaseException as error:
            print(name, "raised", repr(error)[:300])
    print(name, peak() - before, sentence[:150])
    before = max(before, peak())
"""
)


def test_the_peak_of_each_is_bounded(tmp_path: Path, usual: bytes) -> None:
    (tmp_path / "usual.tif").write_bytes(usual)
    names = {}
    for number, (name, data) in enumerate(bombs().items()):
        names[f"bomb{number:02}.tif"] = name
        (tmp_path / f"bomb{number:02}.tif").write_bytes(data)
    with (tmp_path / "bomb_sparse.tif").open("wb") as file:
        file.write(usual)
        file.truncate(8 << 30)
    names["bomb_sparse.tif"] = "8 GB of which nothing is on the disk"
    ended = python("-c", PROGRAM, tmp_path)
    assert ended.code == 0, ended.err
    measured = [line.split(maxsplit=2) for line in ended.out.splitlines()]
    assert len(measured) == len(names), ended.out
    over = [(names[name], *rest) for name, *rest in measured if not int(rest[0]) < ABOVE]
    assert over == []


@pytest.fixture(scope="module")
def usual(tree: Path) -> bytes:
    return band_files(tree, "s2", patches(tree, "s2")[0])["B02"].read_bytes()


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "archive"])
@pytest.mark.parametrize("name", ["promises 7 GB in 150 bytes", "256 MB in a strip, 8"])
def test_a_bomb_in_a_source_is_one_damaged_patch(tmp_path: Path, name: str, packed: bool) -> None:
    own = tiny_dataset(tmp_path, {"g": ["p1", "p2"]})
    convert(own, tmp_path / "raw", tmp_path / "sound", workers=0)
    data = bombs()[name]
    (tmp_path / "raw" / "A" / "g" / "p2" / "p2_fine.tif").write_bytes(data)
    source = tmp_path / "raw"
    if packed:
        (tmp_path / "packed").mkdir()
        with tarfile.open(tmp_path / "packed" / "A.tar", "w") as archive:
            archive.add(source / "A", "A")
        source = tmp_path / "packed"
    with pytest.raises(PatchError, match=r"p2_fine\.tif"):
        convert(own, source, tmp_path / "store", workers=0)
    report = convert(own, source, tmp_path / "skipped", workers=0, on_error="skip")
    assert report.records == {"a": 1}
    problems = verify(tmp_path / "sound", source, dataset=own, workers=0).problems
    assert [problem for problem in problems if "p2" not in problem] == []
    assert problems


def test_what_is_decoded_of_a_bomb_are_gdals_pixels(tmp_path: Path) -> None:
    """A strip that goes on after its pixels: other codecs than deflate stop there, as GDAL does."""
    for compression in (50000, 34925):
        data = bombs()[f"256 MB in a strip, {compression}"]
        np.testing.assert_array_equal(decode(data).array, decode_rasterio(data).array)


def test_a_file_of_a_usual_patch_may_have_much_beside_its_pixels(tmp_path: Path) -> None:
    """Overviews, masks, a long description: they do not make a bomb."""
    own = tiny_dataset(tmp_path, {"g": ["p1"]})
    (file,) = tmp_path.glob("raw/A/g/p1/p1_fine.tif")
    with rasterio.open(file) as raster:
        pixels, options = raster.read(), {"crs": raster.crs, "transform": raster.transform}
    geotiff(file, pixels, **options, tiled=True, blockxsize=512, blockysize=512)
    with rasterio.open(file, "r+") as raster:
        raster.update_tags(text="x" * 500_000)
        raster.build_overviews([2, 4])
    convert(own, tmp_path / "raw", tmp_path / "store", workers=0)
    assert verify(tmp_path / "store", tmp_path / "raw", dataset=own, workers=0).good
