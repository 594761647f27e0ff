"""GeoTIFFs of a store: equal to those that it was made of, as rasterio reads both."""

import json
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from patchpress import (
    OptionError,
    SelectionEmpty,
    StoreDamaged,
    TargetError,
    convert,
    export_store,
    open_store,
)
from patchpress.converter.exports.names import FileNames
from patchpress.readers.format.manifest import METADATA
from tests.conftest import KINDS
from tests.support.helpers import (
    Ended,
    band_files,
    by_rasterio,
    folder_bytes,
    geotiff,
    made,
    patches,
    radar_with_nan,
    tiny_dataset,
)
from tests.support.loading import refused

pytestmark = pytest.mark.slow

Command = Callable[..., Ended]


def files_of(out: Path, modality: str, key: str) -> dict[str, tuple[Any, Any]]:
    """Band -> (pixels, georeference) of a record in an exported folder."""
    one = out / modality / f"{key}.tif"
    files = [one] if one.exists() else sorted((out / modality / key).glob("*.tif"))
    found: dict[str, tuple[Any, Any]] = {}
    for file in files:
        pixels, ground = by_rasterio(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(file) as opened:
                names = opened.descriptions
        found |= {name: (band, ground) for name, band in zip(names, pixels, strict=True)}
    return found


def require_equal(source: Path, out: Path) -> int:
    """Make sure that all records of an exported folder are as in the source; gives how many."""
    compared = 0
    for modality in ("s2", "s1", "map"):
        for name in patches(source, modality):
            key = f"{name}_reference_map" if modality == "map" else name
            found = files_of(out, modality, key)
            wanted = band_files(source, modality, name)
            if modality == "map":
                wanted = dict(zip(found, wanted.values(), strict=True))
            assert found
            assert set(found) == set(wanted)
            for band, file in wanted.items():
                pixels, ground = by_rasterio(file)
                np.testing.assert_array_equal(found[band][0], pixels[0])
                assert found[band][0].dtype == pixels.dtype
                assert found[band][1] == ground
            compared += 1
    return compared


@pytest.mark.parametrize("kind", KINDS, ids="-".join)
def test_every_pixel_comes_back(
    tree: Path, stores: dict[tuple[str, str], Path], tmp_path: Path, kind: tuple[str, str]
) -> None:
    out = tmp_path / "out"
    exported = export_store("geotiff", stores[kind], out)
    assert require_equal(tree, out) == sum(exported.records.values()) > 30
    assert exported.notes == ()
    assert exported.files == len(list(out.rglob("*.tif")))
    assert exported.rows == open_store(stores[kind]).manifest.rows


def test_real_patches_come_back(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "bigearthnet-v2" / "sample"
    for layout in ("stacked", "native"):
        made(source, tmp_path / layout, layout=layout)
        export_store("geotiff", tmp_path / layout, tmp_path / f"{layout}.out", deflate=True)
        assert require_equal(source, tmp_path / f"{layout}.out") > 30


def test_patches_of_one_file_come_back_as_one(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "others" / "EuroSAT_MS"
    convert("eurosat", source, tmp_path / "store", workers=0)
    export_store("geotiff", tmp_path / "store", tmp_path / "out")
    files = sorted(source.rglob("*.tif"))
    assert len(files) == 2
    for file in files:
        found = files_of(tmp_path / "out", "s2", file.stem)
        pixels, ground = by_rasterio(file)
        modality = open_store(tmp_path / "store").manifest.modalities["s2"]
        assert len(pixels) == len(found) == len(modality.bands)
        assert tuple(found) == modality.band_names
        # The source has its bands in another order than the sensor's.
        assert sorted(p.tobytes() for p in pixels) == sorted(p.tobytes() for p, _ in found.values())
        own = found[modality.band_names[0]][1]
        assert ground is not None
        assert own.epsg == ground.epsg
        # The table has bounds, of which the size of a pixel is computed.
        np.testing.assert_allclose(own.transform, ground.transform, rtol=1e-12)


def test_the_table_tells_where_the_files_are(stacked: Path, tmp_path: Path) -> None:
    export_store("geotiff", stacked, tmp_path / "out", modalities="s1", split="train")
    store = open_store(stacked)
    table = pq.read_table(tmp_path / "out" / METADATA)
    keys = store.keys("s1", split="train")
    assert table["s1_path"].to_pylist() == [f"s1/{key}.tif" for key in keys]
    rows = store.table(split="train", modality="s1")
    names = [name for name in rows.column_names if not name.endswith("_checksum")]
    assert table.select(names).to_pylist() == rows.select(names).to_pylist()
    assert "s2_path" not in table.column_names
    facts = json.loads((tmp_path / "out" / "export.json").read_bytes())
    assert (facts["format"], facts["rows"]) == ("geotiff", len(keys))
    assert sorted(facts["entries"]) == [METADATA, "s1"]


def test_bands_that_were_interpolated_are_told(tree: Path, tmp_path: Path) -> None:
    made(tree, tmp_path / "store", resampling="bilinear", modalities=["s2"])
    exported = export_store("geotiff", tmp_path / "store", tmp_path / "out")
    (note,) = exported.notes
    assert note.startswith("bands of s2 that the store has only as resampled to 120 x 120")
    key = open_store(tmp_path / "store").keys("s2")[0]
    found = files_of(tmp_path / "out", "s2", key)
    wanted = open_store(tmp_path / "store").read_bands(key)
    assert len(list((tmp_path / "out").rglob("*.tif"))) == exported.rows
    for band, (pixels, _) in found.items():
        np.testing.assert_array_equal(pixels, wanted[band])


def test_nan_stays_and_an_absent_georeference_is_told(tmp_path: Path) -> None:
    store = open_store(radar_with_nan(tmp_path))
    exported = export_store("geotiff", store.path, tmp_path / "out")
    for key in store:
        found = files_of(tmp_path / "out", "a", key)
        for band, pixels in store.read_bands(key).items():
            np.testing.assert_array_equal(found[band][0], pixels)
            assert found[band][1] is None
    assert any("without a georeference" in note and note.endswith(": 3") for note in exported.notes)


def test_several_dates_are_several_files(tmp_path: Path) -> None:
    root = tmp_path / "raw" / "s2"
    root.mkdir(parents=True)
    days = ["20200101", "20200513", "20200902"]
    random = np.random.default_rng(5)
    wanted = {}
    for name, count in (("p1", 3), ("p2", 2)):
        for day in days[:count]:
            pixels = random.integers(0, 9000, (2, 8, 8)).astype(np.uint16)
            geotiff(root / f"{name}_{day}.tif", pixels, crs="EPSG:32633",
                    transform=rasterio.Affine(10, 0, 0, 0, -10, 80))  # fmt: skip
            wanted[name, day] = pixels
    (tmp_path / "dated.toml").write_text(DATED)
    convert(tmp_path / "dated.toml", tmp_path / "raw", tmp_path / "store", workers=0)
    export_store("geotiff", tmp_path / "store", tmp_path / "out")
    files = sorted((tmp_path / "out").rglob("*.tif"))
    assert [file.name for file in files] == [
        f"{name}_{step:02}.tif" for name, count in (("p1", 3), ("p2", 2)) for step in range(count)
    ]
    for file in files:
        name, _, step = file.stem.rpartition("_")
        with rasterio.open(file) as opened:
            np.testing.assert_array_equal(opened.read(), wanted[name, days[int(step)]])
            date = opened.tags()["TIFFTAG_DATETIME"]
        assert datetime.strptime(date, "%Y:%m:%d %H:%M:%S").strftime("%Y%m%d") == days[int(step)]


DATED = """
[dataset]
name = "dated"
version = "1"
title = "Dated"
licence = "none"
url = "none"
citation = "none"

[modalities.a]
title = "A"
kind = "image"
folder = "s2"
path = "{name}_{day}.tif"
key = "{name}"
bands = [
    { name = "B1", gsd = 10, dtype = "uint16", shape = [8, 8] },
    { name = "B2", gsd = 10, dtype = "uint16", shape = [8, 8] },
]

[modalities.a.time]
steps = 3
date = "{day}"

[modalities.a.fields]
name = 'p\\d'
day = '\\d{8}'
"""


def test_only_what_an_export_wrote_is_replaced(
    patchpress: Command, stacked: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("export", "geotiff", stacked, out, "--modality", "s1")
    assert patchpress(*words).code == 0
    before = folder_bytes(out)
    ended = patchpress(*words)
    assert ended.code == 2
    assert ended.sentence.endswith(
        "is there already: choose another OUT, or give --overwrite if an export wrote it"
    )
    assert patchpress(*words, "--overwrite").code == 0
    assert folder_bytes(out) == before
    (out / "mine.txt").write_text("mine")
    ended = patchpress(*words, "--overwrite")
    assert f"{out} has 'mine.txt', which no export wrote" in ended.sentence
    (tmp_path / "other").mkdir()
    ended = patchpress(*words[:3], tmp_path / "other", "--overwrite")
    assert "was not written by an export" in ended.sentence
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


def test_nothing_half_written_looks_whole(tree: Path, tmp_path: Path) -> None:
    made(tree, tmp_path / "store", modalities=["s1"])
    data = tmp_path / "store" / "data.mdb"
    store = open_store(tmp_path / "store")
    record = bytes(store.view(store.keys("s1")[5]).tobytes())
    whole = data.read_bytes()
    at = whole.find(record)
    assert at > 0
    data.write_bytes(whole[: at + 9] + bytes([whole[at + 9] ^ 1]) + whole[at + 10 :])
    refused(StoreDamaged, lambda: export_store("geotiff", tmp_path / "store", tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_a_mistake_is_one_sentence(stacked: Path, tree: Path, tmp_path: Path) -> None:
    out, before = tmp_path / "out", folder_bytes(stacked)

    def asked(kind: Any, **wishes: Any) -> str:
        place = wishes.pop("out", out)
        form = wishes.pop("format", "geotiff")
        return refused(kind, lambda: export_store(form, stacked, place, **wishes))

    assert "format 'geotif' is unknown" in asked(OptionError, format="geotif")
    assert "splits there" in asked(SelectionEmpty, split="trian")
    assert "no column 'land'" in asked(OptionError, where={"land": "Austria"})
    assert "give another OUT" in asked(OptionError, out=stacked / "out")
    assert "a source of" in asked(TargetError, out=tree / "out")
    assert "'s3'" in asked(SelectionEmpty, modalities="s3")
    assert "has no effect without a fraction" in asked(OptionError, seed=3)
    (tmp_path / "file").write_text("")
    assert "cannot be written" in asked(TargetError, out=tmp_path / "file" / "out")
    assert folder_bytes(stacked) == before
    assert not out.exists()


def test_a_folder_of_a_killed_export_is_told(stacked: Path, tmp_path: Path) -> None:
    (tmp_path / ".out.0000.unfinished").mkdir()
    exported = export_store("geotiff", stacked, tmp_path / "out", modalities="map")
    (note,) = exported.notes
    assert note.endswith(".out.0000.unfinished: remove it")


def test_names_that_no_file_can_have_are_escaped() -> None:
    names = FileNames()
    assert names.of("a b_1") == "a b_1"
    assert names.note() == []
    assert names.of("a/b%\n") == "a%2Fb%25%0A"
    assert names.of("..") == "%2E."
    assert names.note() == ["names with characters written as %XX: 2 (a/b%\n is a%2Fb%25%0A)"]
    assert "too many for the name of a file" in refused(TargetError, lambda: names.of("a" * 300))


def test_unlike_bands_of_a_stacked_store(tmp_path: Path) -> None:
    description = tiny_dataset(tmp_path, {"g": ["p1", "p2"]})
    convert(description, tmp_path / "raw", tmp_path / "store", workers=0)
    export_store("geotiff", tmp_path / "store", tmp_path / "out")
    for name in ("p1", "p2"):
        for band in ("fine", "coarse"):
            ours = by_rasterio(tmp_path / "out" / "a" / name / f"{name}_{band}.tif")
            theirs = by_rasterio(tmp_path / "raw" / "A" / "g" / name / f"{name}_{band}.tif")
            np.testing.assert_array_equal(ours[0], theirs[0])
            assert ours[1] == theirs[1]
