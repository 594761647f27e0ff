"""The native layout is the one that other programs write: compared with lmdb and safetensors."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import zstandard

from patchpress import Layout, convert, open_store, verify
from tests.support.helpers import (
    band_files,
    described,
    first_band,
    patches,
    stored_values,
    tiny_dataset,
)

S2_NAMES = ["B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"]
NAMES = {"s2": S2_NAMES, "s1": ["VV", "VH"], "map": ["Data"]}
SIZES = {"s2": 160_832, "s1": 115_344}


def key_of(modality: str, name: str) -> str:
    return f"{name}_reference_map" if modality == "map" else name


@pytest.mark.parametrize("modality", NAMES)
def test_safetensors_and_lmdb_alone_give_the_bands(tree: Path, native: Path, modality: str) -> None:
    values = stored_values(native)
    for name in patches(tree, modality):
        tensors = safetensors.numpy.load(values[key_of(modality, name)])
        assert sorted(tensors) == sorted(NAMES[modality])
        for band, path in band_files(tree, modality, name).items():
            pixels = first_band(path)
            assert tensors[band].dtype == pixels.dtype
            np.testing.assert_array_equal(tensors[band], pixels)


@pytest.mark.parametrize("modality", NAMES)
def test_values_are_those_that_safetensors_writes(tree: Path, native: Path, modality: str) -> None:
    values = stored_values(native)
    for name in patches(tree, modality):
        files = band_files(tree, modality, name)
        bands = {band: first_band(path) for band, path in files.items()}
        assert values[key_of(modality, name)] == safetensors.numpy.save(bands)


@pytest.mark.parametrize("modality", SIZES)
def test_values_have_the_known_size(tree: Path, native: Path, modality: str) -> None:
    values = stored_values(native)
    assert {len(values[name]) for name in patches(tree, modality)} == {SIZES[modality]}


def test_a_stacked_value_is_one_tensor_with_its_band_names(tree: Path, stacked: Path) -> None:
    values = stored_values(stacked)
    for modality, source in described().modalities.items():
        value = values[key_of(modality, patches(tree, modality)[0])]
        assert list(safetensors.numpy.load(value)) == [modality]
        header = value[8 : 8 + int.from_bytes(value[:8], "little")]
        names = ",".join(band.name for band in source.bands)
        assert f'"__metadata__":{{"bands":"{names}"}}'.encode() in header


def test_a_stacked_value_is_what_safetensors_writes(tree: Path, stacked: Path) -> None:
    values = stored_values(stacked)
    for name in patches(tree, "s1"):
        files = band_files(tree, "s1", name)
        bands = np.stack([first_band(files[band]) for band in ("VV", "VH")])
        assert values[name] == safetensors.numpy.save({"s1": bands}, {"bands": "VV,VH"})


@pytest.mark.parametrize("layout", ["stacked", "native"])
def test_a_compressed_value_is_one_frame_of_the_plain_one(
    stores: dict[tuple[str, str], Path], layout: str
) -> None:
    frames = stored_values(stores[layout, "zstd"])
    plains = stored_values(stores[layout, "none"])
    assert frames.keys() == plains.keys()
    for key, frame in frames.items():
        plain = plains[key]
        assert len(frame) < len(plain)
        assert zstandard.frame_content_size(frame) == len(plain)
        assert zstandard.ZstdDecompressor().decompress(frame) == plain


def test_keys_are_published_names_in_byte_order(tree: Path, native: Path) -> None:
    expected = [key_of(modality, name) for modality in NAMES for name in patches(tree, modality)]
    assert list(stored_values(native)) == sorted(expected)


def test_the_data_file_is_of_the_format_that_every_client_reads(native: Path) -> None:
    # The first page: 16 bytes of page header, then magic and version of lmdb.h 0.9.
    page = (native / "data.mdb").read_bytes()[:4096]
    assert page[16:24] == (0xBEEFC0DE).to_bytes(4, "little") + (1).to_bytes(4, "little")


def test_modalities_of_the_same_bands_are_told_apart(tmp_path: Path) -> None:
    """As for two dates of one location: their native records have the same header."""
    path = tiny_dataset(tmp_path, {"g": ["p1", "p2"]})
    text = path.read_text()
    later = text[text.index("[modalities.a]") :].replace("modalities.a", "modalities.b")
    later = later.replace('folder = "A"', 'folder = "B"').replace('"{name}"', '"{name}_b"')
    path.write_text(f"{text}\n{later}")
    shutil.copytree(tmp_path / "raw" / "A", tmp_path / "raw" / "B")
    convert(str(path), tmp_path / "raw", tmp_path / "store", workers=0, layout=Layout.native)
    store = open_store(tmp_path / "store")
    assert [store.modality_of(key).name for key in ("p1", "p1_b")] == ["a", "b"]
    assert verify(tmp_path / "store").good
