"""Every pixel of a store is what rasterio reads from the files that it was made from."""

from pathlib import Path

import numpy as np
import pytest

from patchpress import PatchError, Store, open_store
from patchpress.converter.commands.verify import verify
from patchpress.readers.format.shard_rule import shard_path
from patchpress.readers.format.stack import unrepeat
from tests.support.helpers import band_files, command, first_band, made, patches
from tests.support.synthetic import Row

S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")


def key_of(modality: str, name: str) -> str:
    return f"{name}_reference_map" if modality == "map" else name


def assert_store_is_its_source(store: Store, source: Path, modality: str) -> None:
    """Every band is what rasterio reads, bit for bit; pixels of coarser bands are repeated."""
    names = patches(source, modality)
    bands = store.manifest.modality(modality).bands
    assert sorted(store.keys(modality)) == [key_of(modality, name) for name in names]
    for name in names:
        stacked = store.read(key_of(modality, name))
        for band, stored in zip(bands, stacked, strict=True):
            pixels = first_band(band_files(source, modality, name)[band.name])
            assert stored.dtype == pixels.dtype
            assert unrepeat(stored, pixels.shape).tobytes() == pixels.tobytes()
            factor = stored.shape[0] // pixels.shape[0]
            whole = np.kron(pixels, np.ones((factor, factor), pixels.dtype))
            np.testing.assert_array_equal(stored, whole)


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["s2", "s1", "map"])
def test_every_stored_band_is_its_file(
    tree: Path, stores: dict[tuple[str, str], Path], modality: str
) -> None:
    # Each kind once; other tests check that all ways of reading agree.
    for path in stores.values():
        assert_store_is_its_source(open_store(path), tree, modality)


def test_every_layout_and_compression_reads_alike(
    stores: dict[tuple[str, str], Path], rows: list[Row]
) -> None:
    opened = [open_store(path) for path in stores.values()]
    for row in rows:
        for key in (row["patch_id"], row["s1_name"], f"{row['patch_id']}_reference_map"):
            one, *others = [store.read(key).tobytes() for store in opened]
            assert all(other == one for other in others)


def test_shapes_and_dtypes_are_the_published_ones(store: Store, rows: list[Row]) -> None:
    s2, s1 = store.read(rows[0]["patch_id"]), store.read(rows[0]["s1_name"])
    codes = store.read(f"{rows[0]['patch_id']}_reference_map")
    assert (s2.shape, s2.dtype) == ((12, 120, 120), np.dtype("uint16"))
    assert (s1.shape, s1.dtype) == ((2, 120, 120), np.dtype("float32"))
    assert (codes.shape, codes.dtype) == ((1, 120, 120), np.dtype("uint16"))


def test_the_manifest_says_what_there_is(store: Store) -> None:
    manifest = store.manifest
    s2 = manifest.modalities["s2"]
    assert s2.band_names == S2_BANDS
    assert (s2.shape, s2.dtype) == ((12, 120, 120), np.dtype("uint16"))
    assert {name: m.records for name, m in manifest.modalities.items()} == {
        "s2": 15,
        "s1": 15,
        "map": 15,
    }
    assert (manifest.dataset.name, manifest.dataset.version) == ("bigearthnet-v2", "2.0.0")
    assert manifest.records == len(store) == 45
    numbered = [shard_path(number) for number in range(len(manifest.shards))]
    assert [shard.path for shard in manifest.shards] in (["data.mdb"], numbered)


@pytest.mark.parametrize("layout", ["stacked", "native"])
def test_the_real_sample_is_stored_pixel_by_pixel(
    shared_data: Path, tmp_path: Path, layout: str
) -> None:
    source = shared_data / "bigearthnet-v2" / "sample"
    made(source, tmp_path / "store", layout=layout)
    store = open_store(tmp_path / "store")
    for modality in ("s2", "s1", "map"):
        assert_store_is_its_source(store, source, modality)


def test_the_real_sample_reports_its_patches_without_partner(
    shared_data: Path, tmp_path: Path
) -> None:
    source = shared_data / "bigearthnet-v2" / "sample"
    ended = command("convert", "bigearthnet-v2", source, tmp_path / "store", "--workers", 2)
    assert (ended.code, ended.err) == (0, "")
    assert "18 s2, 18 s1, 1 map" in ended.out
    for name in (
        "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_89_18",
        "S2A_MSIL2A_20180526T100031_N9999_R122_T34WFU_14_23",
        "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_70_48",
        "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_89_36",
    ):
        assert name in ended.out
    assert command("verify", tmp_path / "store", "--against", source).code == 0


def test_official_tables_beside_a_small_tree(shared_data: Path, tmp_path: Path) -> None:
    official = shared_data / "bigearthnet-v2"
    flagged = "metadata_for_patches_with_snow_cloud_or_shadow.parquet"
    paths = {"metadata": official / "metadata.parquet", "flagged": official / flagged}
    report = made(official / "sample", tmp_path / "store", paths=paths)
    # 18 rows have an S2 patch. Two more have only an S1 patch.
    assert report.rows == 20
    assert report.rows_without_pixels == 480_038 + 69_450 - 20
    assert report.without_row == {}
    s1 = "S1A_IW_GRDH_1SDV_20170613T165043_33UUP_"
    assert report.without_partner["s1"] == {"s2": [f"{s1}70_48", f"{s1}89_36"]}
    counts = report.splits
    assert sum(split["rows"] for split in counts.values()) == 20
    assert sum(split["s2"] for split in counts.values()) == 18
    assert len(report.text().splitlines()) < 40
    table = open_store(tmp_path / "store").table(columns=["patch_id", "split", "has_s2"])
    for split, expected in counts.items():
        there = [row for row in table.to_pylist() if row["split"] == split]
        assert expected["rows"] == len(there)
        assert expected["s2"] == sum(row["has_s2"] for row in there)


@pytest.mark.parametrize("resampling", ["bilinear", "cubic"])
def test_interpolated_stores_keep_fine_bands_radar_and_maps(
    tree: Path, tmp_path: Path, resampling: str, stacked: Path, rows: list[Row]
) -> None:
    made(tree, tmp_path / "store", resampling=resampling)
    store, plain = open_store(tmp_path / "store"), open_store(stacked)
    fine = ["B02", "B03", "B04", "B08"]
    for row in rows:
        name = row["patch_id"]
        np.testing.assert_array_equal(store.read(name, fine), plain.read(name, fine))
        assert (store.read(name, ["B01"]) != plain.read(name, ["B01"])).any()
        for key in (row["s1_name"], f"{name}_reference_map"):
            assert store.read(key).tobytes() == plain.read(key).tobytes()
    assert verify(tmp_path / "store", tree, workers=0).good


def test_odd_values_of_radar_stay_bit_for_bit(raw: Path, tmp_path: Path) -> None:
    path = band_files(raw, "s1", patches(raw, "s1")[0])["VH"]
    data = bytearray(path.read_bytes())
    odd = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-40], np.dtype("float32"))
    odd[1:2].view(np.uint32)[0] |= 0x1234  # a payload
    data[-odd.nbytes :] = odd.tobytes()
    path.write_bytes(data)
    made(raw, tmp_path / "store", nan="keep")
    stored = open_store(tmp_path / "store").read(patches(raw, "s1")[0], ["VH"])
    assert stored.ravel()[-odd.size :].tobytes() == odd.tobytes()
    assert verify(tmp_path / "store", raw, workers=0).good


@pytest.mark.parametrize("layout", ["stacked", "native"])
def test_the_file_with_pixels_that_are_nan_is_named(raw: Path, tmp_path: Path, layout: str) -> None:
    path = band_files(raw, "s1", patches(raw, "s1")[0])["VH"]
    data = bytearray(path.read_bytes())
    data[-12:] = np.full(3, np.nan, np.float32).tobytes()
    path.write_bytes(data)
    with pytest.raises(PatchError, match=f"{path} has 3 pixels that are NaN; --nan keep"):
        made(raw, tmp_path / "store", layout=layout)
