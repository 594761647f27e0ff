"""Files with all dates of a place on their channels, and tables that tell the dates; OlmoEarth."""

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchpress import Samples, convert, open_store, verify
from patchpress.readers.errors import SamplesLeftOut
from tests.support.dated import STACKED, described, georeferenced
from tests.support.helpers import Array, command, geotiff

pytestmark = pytest.mark.slow

COUNTS = {"elm1": 4, "elm2": 1, "oak1": 3}
TABLED = STACKED.replace(
    'order = "time-major" }',
    'order = "time-major", table = { file = "dates.csv", name = "{kind}{number}", step = "idx", '
    'date = "start" } }',
)
HEAD = "kind,number,idx,start,end\n"
ROWS = ["elm,1,0,2020-01-01,x\n", "elm,1,1,2020-02-01T03:00:00+03:00,x\n", "elm,1,2,2020-03-01,x\n",
        "elm,1,3,2020-04-01,x\n", "elm,2,0,2021-01-01,x\n", "elm,2,1,2021-02-01,x\n"]  # fmt: skip


def write(root: Path, order: str = "time-major", **options: Any) -> dict[str, Array]:
    """Places; gives place -> pixels (dates, 2, 16, 16)."""
    random = np.random.default_rng(2)
    (root / "radar").mkdir(parents=True)
    written = {}
    for number, (place, count) in enumerate(COUNTS.items()):
        pixels = random.normal(-12, 3, (count, 2, 16, 16)).astype(np.float32)
        axes = (0, 1, 2, 3) if order == "time-major" else (1, 0, 2, 3)
        bands = pixels.transpose(axes).reshape(-1, 16, 16)
        geotiff(root / "radar" / f"{place}.tif", bands, **georeferenced(16, number), **options)
        written[place] = pixels
    return written


@pytest.mark.parametrize("order", ["time-major", "band-major"])
@pytest.mark.parametrize("options", [{}, {"compress": "deflate", "interleave": "pixel"}])
def test_channels_become_dates(tmp_path: Path, order: str, options: dict[str, Any]) -> None:
    tree = tmp_path / "tree"
    written = write(tree, order, **options)
    dataset = described(tree, STACKED.replace("time-major", order))
    for layout in ("stacked", "native"):
        path = tmp_path / layout
        convert(dataset, tree, path, layout=layout, workers=0)
        store = open_store(path)
        for place, pixels in written.items():
            read = store.read(place)
            np.testing.assert_array_equal(read[: len(pixels)], pixels)
            assert not read[len(pixels) :].any()
        assert store.table()["radar_steps"].to_pylist() == [4, 1, 3]
        assert "radar_dates" not in store.table().column_names
        assert verify(path, tree, dataset=dataset).problems == []


def test_a_table_tells_the_dates_and_what_it_lacks_is_told(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    write(tree)
    (tree / "dates.csv").write_text(HEAD + "".join(ROWS))
    dataset = described(tree, TABLED)
    ended = command("convert", dataset, tree, tmp_path / "store", "--workers", 0)
    assert ended.code == 0, ended.err
    assert "dates.csv has no dates of 1 place of radar, which are null: oak1" in ended.out
    assert "dates.csv has other steps than the files of 1 place of radar" in ended.out
    rows = open_store(tmp_path / "store").table().to_pylist()
    dates = [[date and date.isoformat() for date in row["radar_dates"]] for row in rows]
    assert dates[0] == [f"2020-0{month}-01T00:00:00" for month in (1, 2, 3, 4)]
    assert dates[1] == ["2021-01-01T00:00:00", None, None, None]
    assert dates[2] == [None] * 4
    (tmp_path / "elsewhere.csv").write_text(HEAD + "".join(ROWS))
    (tree / "dates.csv").unlink()
    ended = command("convert", dataset, tree, tmp_path / "store", "--workers", 0, "--overwrite",
                    "--path", f"radar_dates={tmp_path / 'elsewhere.csv'}")  # fmt: skip
    assert ended.code == 0, ended.err
    table = open_store(tmp_path / "store").table()
    assert table["radar_dates"].to_pylist()[0][1].month == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (HEAD.replace("start", "begin") + ROWS[0], "dates.csv has no column 'start'"),
        (HEAD + ROWS[0].replace("2020-01-01", "soon"), "line 2: 'soon' of elm1 is no date"),
        (HEAD + ROWS[0] * 2, "line 3: elm1 has step 0 twice"),
        (HEAD + ROWS[0].replace(",0,", ",first,"), "line 2: idx 'first' is no number of a step"),
        ("", "dates.csv is empty"),
        (HEAD + "elm,1\n", "dates.csv, line 2 has 2 columns, and the first line has "),
    ],
)
def test_a_wrong_table_is_one_sentence(tmp_path: Path, content: str, told: str) -> None:
    tree = tmp_path / "tree"
    write(tree)
    (tree / "dates.csv").write_text(content)
    ended = command("convert", described(tree, TABLED), tree, tmp_path / "s", "--workers", 0)
    assert (ended.code, len(ended.err.splitlines())) == (1, 1), ended.err
    assert told in ended.err


@pytest.mark.parametrize(
    ("count", "size", "told"),
    [
        (7, 16, "elm1.tif has 7 bands, which is no multiple of 2, the bands of a date"),
        (10, 16, "elm1.tif has 5 dates of 2 bands, but records have room for 4"),
        (4, 12, "elm1.tif has 12 x 12 pixels, not 16 x 16: --size crop, pad or resize"),
    ],
)
def test_a_wrong_file_is_one_sentence(tmp_path: Path, count: int, size: int, told: str) -> None:
    tree = tmp_path / "tree"
    write(tree)
    pixels = np.ones((count, size, size), np.float32)
    geotiff(tree / "radar" / "elm1.tif", pixels, **georeferenced(size))
    ended = command("convert", described(tree, STACKED), tree, tmp_path / "s", "--workers", 0)
    assert (ended.code, len(ended.err.splitlines())) == (1, 1), ended.err
    assert told in ended.err
    if size == 12:
        convert(described(tree, STACKED), tree, tmp_path / "padded", size="pad", workers=0)
        read = open_store(tmp_path / "padded").read("elm1")
        assert (read[:2, :, :12, :12] == 1).all()
        assert not read[2:].any()


MODALITIES: dict[str, tuple[str, dict[str, tuple[int, int]], Any]] = {
    "s2": ("10_sentinel2_l2a_monthly", {"10": (4, 256), "20": (6, 128), "40": (2, 64)}, np.uint16),
    "s1": ("10_sentinel1_monthly", {"10": (2, 256)}, np.float32),
    "landsat": ("10_landsat_monthly", {"10": (1, 256), "20": (10, 128)}, np.uint16),
    "worldcover": ("10_worldcover", {"10": (1, 256)}, np.uint8),
}
PLACES = {"EPSG:32610_150_-2089": 2, "EPSG:32610_248_-2176": 1}


def write_olmoearth(root: Path) -> dict[tuple[str, str], Array]:
    """Gives (modality, place) -> pixels (dates, bands, 256, 256), coarse ones repeated."""
    random = np.random.default_rng(0)
    written = {}
    for modality, (folder, files, dtype) in MODALITIES.items():
        (root / folder).mkdir(parents=True)
        lines = ["crs,col,row,tile_time,image_idx,start_time,end_time\n"]
        for number, (place, months) in enumerate(PLACES.items()):
            dates, grids = 1 if modality == "worldcover" else months, []
            for suffix, (bands, size) in files.items():
                pixels = random.integers(0, 100, (dates * bands, size, size)).astype(dtype)
                path = root / folder / f"{place}_{suffix}.tif"
                geotiff(path, pixels, **georeferenced(size, number), compress="deflate")
                of_date = pixels.reshape(dates, bands, size, size)
                grids.append(of_date.repeat(256 // size, 2).repeat(256 // size, 3))
            written[modality, place] = np.concatenate(grids, axis=1)
            crs, col, row = place.split("_")
            lines += [
                f"{crs},{col},{row},2018-12-12T00:00:00+00:00,{month},"
                f"2018-0{6 + month}-08T00:00:00+00:00,2018-0{7 + month}-08T00:00:00+00:00\n"
                for month in range(months)
            ]
        (root / f"{folder}.csv").write_text("".join(lines))
    return written


def test_olmoearth_as_documented(tmp_path: Path) -> None:
    source = tmp_path / "olmoearth"
    written = write_olmoearth(source)
    ended = command("convert", "olmoearth", source, tmp_path / "store", "--workers", 0)
    assert ended.code == 0, ended.err
    assert "not tried with the published files" in ended.out
    store = open_store(tmp_path / "store")
    for (modality, place), pixels in written.items():
        read = store.read(f"{modality}_{place}")
        if modality == "worldcover":
            np.testing.assert_array_equal(read, pixels[0])
            continue
        assert read.shape == (12, *pixels.shape[1:])
        np.testing.assert_array_equal(read[: len(pixels)], pixels)
        assert not read[len(pixels) :].any()
    row = store.table().to_pylist()[0]
    assert [str(date)[:10] for date in row["s2_dates"][:2]] == ["2018-06-08", "2018-07-08"]
    assert (row["s1_steps"], row["s1_dates"][2]) == (2, None)
    assert verify(tmp_path / "store", source).problems == []
    batch = Samples(store, modalities=("s2", "s1"), target=None, sample_format="dict")[:]
    assert batch["image"].shape == (2, 12, 14, 256, 256)
    assert batch["s1_present"].sum(axis=1).tolist() == [2, 1]


def test_olmoearth_out_of_its_tars_gives_the_same(tmp_path: Path) -> None:
    source = tmp_path / "olmoearth"
    write_olmoearth(source)
    convert("olmoearth", source, tmp_path / "one", workers=0)
    packed = tmp_path / "packed"
    packed.mkdir()
    paths = []
    for folder in sorted({folder for folder, *_ in MODALITIES.values()}):
        (packed / folder).mkdir()
        with tarfile.open(packed / folder / "0000.tar", "w") as archive:
            for file in sorted((source / folder).iterdir()):
                archive.add(file, f"{folder}/{file.name}")
        (packed / f"{folder}.csv").write_bytes((source / f"{folder}.csv").read_bytes())
    for modality, (folder, *_) in MODALITIES.items():
        paths += ["--path", f"{modality}={packed / folder / '0000.tar'}"]
    ended = command("convert", "olmoearth", packed, tmp_path / "two", "--workers", 0, *paths)
    assert ended.code == 0, ended.err
    one, two = open_store(tmp_path / "one"), open_store(tmp_path / "two")
    # Archives have their modalities one after the other, so that pages lie in another order.
    assert one.manifest.shards[0].digest == two.manifest.shards[0].digest
    assert one.table().equals(two.table())


def test_a_place_without_radar_is_left_out_or_zeros(tmp_path: Path) -> None:
    source = tmp_path / "olmoearth"
    write_olmoearth(source)
    (source / "10_sentinel1_monthly" / "EPSG:32610_248_-2176_10.tif").unlink()
    convert("olmoearth", source, tmp_path / "store", workers=0)
    with pytest.warns(SamplesLeftOut):
        assert len(Samples(tmp_path / "store", modalities=("s1", "s2"), target=None)) == 1
