"""Real files: our decoder of plain TIFFs, imagecodecs and rasterio give the same pixels."""

from pathlib import Path

import numpy as np
import pytest

from patchpress.converter.encoding.raster import decode, decode_apart
from patchpress.converter.encoding.tiff import plain_strips, read_directory
from tests.support.helpers import by_rasterio


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".tif", ".tiff"))


@pytest.mark.parametrize("sample", ["bigearthnet-v2", "bigearthnet-v1"])
def test_three_decoders_agree(shared_data: Path, sample: str) -> None:
    files = files_of(shared_data / sample / "sample")
    assert len(files) > 200
    for path in files:
        data = path.read_bytes()
        raster = decode(data)
        array, georeference = by_rasterio(path)
        np.testing.assert_array_equal(raster.array, array, err_msg=path.name)
        np.testing.assert_array_equal(decode_apart(data), array, err_msg=path.name)
        assert raster.array.dtype == array.dtype
        assert raster.georeference == georeference, path.name


@pytest.mark.parametrize("sample", ["bigearthnet-v2", "bigearthnet-v1"])
def test_images_are_plain_and_maps_are_not(shared_data: Path, sample: str) -> None:
    for path in files_of(shared_data / sample / "sample"):
        data = path.read_bytes()
        directory = read_directory(data)
        assert directory is not None
        plain = plain_strips(directory, len(data)) is not None
        assert plain != path.name.endswith("_reference_map.tif"), path.name


@pytest.mark.parametrize("sample", ["others", "scenes"])
def test_samples_of_other_datasets_are_read_as_rasterio_does(
    shared_data: Path, sample: str
) -> None:
    files = [path for path in files_of(shared_data / sample) if path.stat().st_size < 4 << 20]
    assert files
    for path in files:
        raster = decode(path.read_bytes())
        array, georeference = by_rasterio(path)
        np.testing.assert_array_equal(raster.array, array, err_msg=path.name)
        assert raster.georeference == georeference, path.name
