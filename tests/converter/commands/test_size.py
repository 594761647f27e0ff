"""Patches of several sizes: kept, cropped, padded or resized, as GDAL does it; told; verified."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.errors import NotGeoreferencedWarning

from patchpress import PatchLoader, Samples, convert, dry_run, inspect, open_store, verify
from patchpress.readers.errors import (
    DescriptionError,
    GridsDiffer,
    OptionError,
    PatchError,
    TargetError,
)
from tests.support.helpers import TINY, WORKERS, Array, by_rasterio, command, geotiff, write_sealed
from tests.support.published_forms import S2_OPTICAL, TREES, ssl4eo
from tests.support.stopping import Stopped, commits_of, stop_after

KEYS = ("airplane00", "airplane42", "beach07", "forest10")


@pytest.fixture(scope="module")
def merced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TREES["uc-merced"].write(tmp_path_factory.mktemp("merced"))


def file_of(source: Path, key: str) -> Path:
    return source / "Images" / key[:-2] / f"{key}.tif"


def expected(source: Path, key: str, size: str, resampling: str = "nearest") -> Array:
    """What GDAL and NumPy make of a file."""
    file = file_of(source, key)
    if size == "resize":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(file) as raster:
                read: Array = raster.read(
                    out_shape=(3, 256, 256), resampling=Resampling[resampling]
                )
                return read
    pixels = by_rasterio(file)[0][:, :256, :256]
    return np.pad(pixels, [(0, 0), (0, 256 - pixels.shape[1]), (0, 256 - pixels.shape[2])])


def test_uc_merced_as_published_is_stored_verified_and_trained_on(
    merced: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    ended = command("convert", "uc-merced", merced, store, "--workers", 0)
    assert (ended.code, ended.err) == (0, "")
    assert "rgb patches of another size, resized to the usual one: 2" in ended.out
    assert "beach07 (247 x 257)" in ended.out
    told = json.loads(store.with_name("store.report.json").read_text())["other_size"]["rgb"]
    assert told == {"rule": "resize", "patches": ["beach07 (247 x 257)", "forest10 (256 x 242)"]}
    opened = open_store(store)
    assert opened.manifest.modalities["rgb"].size == "resize"
    assert not opened.manifest.modalities["rgb"].any_size
    assert "resized" in inspect(store).text()
    for key in KEYS:
        np.testing.assert_array_equal(opened.read(key), expected(merced, key, "resize"))
    assert verify(store, merced, workers=0).good
    (batch,) = PatchLoader(opened, batch_size=4, output="numpy", target=None)
    assert batch.shape == (4, 3, 256, 256)


@pytest.mark.parametrize("layout", ["stacked", "native"])
@pytest.mark.parametrize(
    ("size", "resampling"),
    [("pad", "nearest"), ("resize", "nearest"), ("resize", "bilinear"), ("resize", "cubic")],
)
def test_each_rule_gives_what_gdal_gives(
    merced: Path, tmp_path: Path, layout: Any, size: Any, resampling: Any
) -> None:
    store, options = tmp_path / "store", {"layout": layout, "resampling": resampling}
    report = convert("uc-merced", merced, store, workers=0, size=size, **options)
    assert report.other_size["rgb"].rule == size
    opened = open_store(store)
    for key in KEYS:
        wanted = expected(merced, key, size, resampling)
        difference = np.abs(opened.read(key).astype(int) - wanted.astype(int))
        # GDAL's kernels have less exact weights: a value near a half may be rounded the other way.
        assert difference.max() <= (resampling != "nearest")
        assert (difference > 0).mean() < 0.001
    assert verify(store, merced, workers=0).good
    assert Samples(opened, target=None)[0].shape == (3, 256, 256)


def test_verify_sees_pixels_that_another_rule_made(merced: Path, tmp_path: Path) -> None:
    convert("uc-merced", merced, tmp_path / "store", workers=0, size="pad")
    manifest = tmp_path / "store" / "manifest.json"
    changed = manifest.read_text().replace('"size": "pad"', '"size": "resize"')
    write_sealed(manifest, json.loads(changed))
    problems = verify(tmp_path / "store", merced, workers=0).problems
    assert sum("differs from the record" in problem for problem in problems) == 2


def test_a_patch_that_is_too_small_cannot_be_cropped(merced: Path, tmp_path: Path) -> None:
    with pytest.raises(PatchError, match=r"beach07.tif has 247 x 257 pixels, .* --size pad or"):
        convert("uc-merced", merced, tmp_path / "store", workers=0, size="crop")


def test_kept_sizes_tell_loaders_users_what_to_do(merced: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    convert("uc-merced", merced, store, workers=0, layout="native")
    opened = open_store(store)
    assert opened.read("beach07").shape == (3, 247, 257)
    for read in (
        lambda: Samples(opened, target=None),
        lambda: PatchLoader(store, batch_size=2, target=None, output="numpy"),
        lambda: opened.read_batch(opened.keys()),
    ):
        with pytest.raises(GridsDiffer, match=r"differ in size .*--size crop, pad or resize"):
            read()


def test_a_compressed_store_of_several_sizes_says_so_when_it_is_read(
    merced: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    convert("uc-merced", merced, store, workers=0, layout="native", compression="zstd")
    with pytest.raises(GridsDiffer, match=r"--size crop, pad or resize"):
        list(PatchLoader(store, batch_size=4, target=None, output="numpy"))


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("compression", ["none", "zstd", "blosc2"])
def test_folders_and_archives_give_the_same_bytes(
    merced: Path, tmp_path: Path, workers: int, compression: Any
) -> None:
    convert("uc-merced", merced, tmp_path / "one", workers=0, compression=compression)
    shutil.make_archive(str(tmp_path / "packed" / "Images"), "tar", merced, "Images")
    for name, source in (("two", merced), ("three", tmp_path / "packed")):
        convert("uc-merced", source, tmp_path / name, workers=workers, compression=compression)
        for file in ("data.mdb", "metadata.parquet", "manifest.json"):
            assert (tmp_path / name / file).read_bytes() == (tmp_path / "one" / file).read_bytes()
        assert verify(tmp_path / name, source, workers=0).good


def test_bands_of_several_resolutions_stay_one_above_the_other(tmp_path: Path) -> None:
    """A row of 60 m more: cropped, all bands cover the ground of the first 264 rows."""
    source = TREES["ssl4eo-s12"].write(tmp_path / "source")
    report = convert("ssl4eo-s12", source, tmp_path / "store", workers=0)
    assert report.other_size
    assert verify(tmp_path / "store", source, workers=0).good
    opened = open_store(tmp_path / "store")
    for record in TREES["ssl4eo-s12"].records:
        if record.usual:
            continue
        stored = opened.read(record.key)
        first = record.files[0]
        with rasterio.open(source / first.path) as raster:
            array, bounds, shape = raster.read(1), raster.bounds, raster.shape
        usual = opened.manifest.modalities[record.modality].bands[0].shape
        factor = stored.shape[1] // usual[0]
        np.testing.assert_array_equal(stored[0, ::factor, ::factor], array[: usual[0], : usual[1]])
        row = next(
            row
            for row in opened.table(modality=record.modality).to_pylist()
            if row["patch_id"] == record.row["patch_id"]
        )
        pixel = (bounds.top - bounds.bottom) / shape[0]
        assert row["top"] == pytest.approx(bounds.top)
        assert row["bottom"] == pytest.approx(bounds.top - usual[0] * pixel)


def own(tmp_path: Path, *lines: str) -> Path:
    """The description of a tiny dataset whose first modality has more lines."""
    more = "".join(f"{line}\n" for line in lines)
    text = TINY.replace("[modalities.a]\n", f"[modalities.a]\n{more}", 1)
    (tmp_path / "own.toml").write_text(text)
    return tmp_path / "own.toml"


def test_an_unknown_rule_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DescriptionError, match="size' must be one of keep, crop, pad, resize"):
        convert(own(tmp_path, 'size = "shrink"'), tmp_path, tmp_path / "store")
    with pytest.raises(OptionError, match="size 'shrink' is unknown"):
        convert("uc-merced", tmp_path, tmp_path / "store", size="shrink")  # type: ignore[arg-type]


def test_an_interrupted_conversion_goes_on_with_the_same_rule_only(
    merced: Path, tmp_path: Path
) -> None:
    source, store = merced, tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        commits_of(1, patch)
        stop_after(patch, 3)
        convert("uc-merced", source, store, workers=0)
    with pytest.raises(TargetError, match="begun with size auto, not pad"):
        convert("uc-merced", source, store, workers=0, size="pad")
    report = convert("uc-merced", source, store, workers=0)
    assert [name.split()[0] for name in report.other_size["rgb"].patches] == ["beach07", "forest10"]


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("compression", ["none", "zstd", "blosc2"])
def test_a_patch_of_any_size_is_taken_as_it_is(
    tmp_path: Path, workers: int, compression: Any
) -> None:
    """Patches of many times the usual pixels, and one of a single pixel."""
    source = tmp_path / "source"
    random, sizes = np.random.default_rng(4), {"forest01": (1500, 900), "forest02": (1, 1)}
    for key, shape in {**sizes, "forest03": (256, 256)}.items():
        file_of(source, key).parent.mkdir(parents=True, exist_ok=True)
        geotiff(file_of(source, key), random.integers(0, 255, (3, *shape)).astype(np.uint8))
    store = tmp_path / "store"
    options: Any = {"layout": "native", "compression": compression, "workers": workers}
    convert("uc-merced", source, store, **options)
    opened = open_store(store)
    for key in (*sizes, "forest03"):
        np.testing.assert_array_equal(opened.read(key), by_rasterio(file_of(source, key))[0])
    assert verify(store, source, workers=0).good
    assert dry_run("uc-merced", source, tmp_path / "no", layout="native").damaged == []


def test_a_patch_that_would_take_all_memory_is_refused(tmp_path: Path) -> None:
    file = file_of(tmp_path / "source", "forest01")
    file.parent.mkdir(parents=True)
    geotiff(file, np.zeros((3, 4000, 4000), np.uint8), compress="deflate")
    with pytest.raises(PatchError, match=r"forest01.tif .*4000 x 4000.*larger shape"):
        convert("uc-merced", tmp_path / "source", tmp_path / "store", workers=0, layout="native")


def test_a_damaged_size_of_a_dataset_of_one_size_names_the_option(tmp_path: Path) -> None:
    """Coarse bands of another size, too: resized, they cover the same ground as before."""
    source = TREES["ssl4eo-s12"].write(tmp_path / "source", [ssl4eo("s2c", "0000200", S2_OPTICAL)])
    text = Path("converter/descriptions/datasets/ssl4eo_s12.toml").read_text()
    text = text.replace('any_size = true\nsize = "crop"\n', "")
    (tmp_path / "own.toml").write_text(text)
    (file,) = source.glob("s2c/*/*/B5.tif")
    with rasterio.open(file) as raster:
        profile, transform = raster.profile, raster.transform
    band = np.arange(66 * 66, dtype=np.uint16).reshape(1, 66, 66)
    profile |= {"height": 66, "width": 66, "transform": transform @ Affine.scale(2)}
    with rasterio.open(file, "w", **profile) as raster:
        raster.write(band)
    asked: Any = {"modalities": ("s2c",), "workers": 0}
    with pytest.raises(PatchError, match=r"B5.tif has 66 x 66 .*: --size crop, pad or resize .*"):
        convert(tmp_path / "own.toml", source, tmp_path / "store", **asked)
    convert(tmp_path / "own.toml", source, tmp_path / "two", size="resize", **asked)
    opened = open_store(tmp_path / "two")
    np.testing.assert_array_equal(
        opened.read(opened.keys()[0], ["B5"])[0], band[0].repeat(4, 0).repeat(4, 1)
    )
