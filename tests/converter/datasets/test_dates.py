"""Places that were seen several times become one record with a time axis, from folders and tars."""

import json
import shutil
import tarfile
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from patchpress import (
    Samples,
    convert,
    convert_shard,
    copy_store,
    dry_run,
    finish_store,
    index,
    merge_stores,
    open_store,
    plot,
    split_store,
    stats,
    verify,
)
from patchpress.readers.errors import PatchError, SourceError
from tests.support.dated import (
    BANDS,
    DATES,
    FOLDERS,
    described,
    georeferenced,
    stacked,
    write_optical,
    write_radar,
)
from tests.support.helpers import Array, command, geotiff
from tests.support.stopping import Stopped, commits_of, stop_after

pytestmark = pytest.mark.slow

PLACES = {"elm1": DATES, "elm2": DATES[:2], "oak1": DATES[1:4]}
SEEN = {"elm1": DATES[:3], "oak1": DATES[:1]}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return tmp_path / "tree"


def test_acquisitions_become_one_record_in_the_order_of_dates(tree: Path, tmp_path: Path) -> None:
    optical, radar = write_optical(tree, PLACES), write_radar(tree, SEEN)
    for layout in ("stacked", "native"):
        path = tmp_path / layout
        convert(described(tree), tree, path, layout=layout, workers=0)
        store = open_store(path)
        assert store.manifest.modalities["optical"].steps == 4
        for place, bands in optical.items():
            there = len(PLACES[place])
            read = store.read(f"o_{place}")
            assert read.shape == (4, 3, 16, 16)
            np.testing.assert_array_equal(read[:there], stacked(bands))
            assert not read[there:].any()
            own = store.read_bands(f"o_{place}", ["B1"])["B1"][:there]
            shown = own if layout == "native" else own[:, ::2, ::2]
            np.testing.assert_array_equal(shown, bands["B1"])
        for place, pixels in radar.items():
            np.testing.assert_array_equal(store.read(f"r_{place}")[: len(pixels)], pixels)
        assert verify(path, tree, dataset=described(tree)).problems == []
        assert verify(path).problems == []


def test_the_table_tells_steps_and_dates_and_what_differs_between_them(
    tree: Path, tmp_path: Path
) -> None:
    write_optical(tree, PLACES)
    write_radar(tree, SEEN)
    convert(described(tree), tree, tmp_path / "store", workers=0)
    rows = open_store(tmp_path / "store").table().to_pylist()
    assert [row["patch_id"] for row in rows] == ["elm1", "elm2", "oak1"]
    assert [row["optical_steps"] for row in rows] == [4, 2, 3]
    assert [row["radar_steps"] for row in rows] == [3, None, 1]
    told = [[str(date)[:10] if date else None for date in row["optical_dates"]] for row in rows]
    assert told[1] == ["2020-01-05", "2020-04-03", None, None]
    assert told[2] == ["2020-04-03", "2020-07-04", "2020-10-06", None]
    assert rows[1]["radar_dates"] is None
    assert [row["site"] for row in rows] == ["elm", "elm", "oak"]
    assert rows[1]["scenes"] == ["S_20200105_d", "S_20200403_c"]


def test_a_tar_gives_the_same_bytes_as_folders(tree: Path, tmp_path: Path) -> None:
    write_optical(tree, PLACES)
    write_radar(tree, SEEN)
    packed = tmp_path / "packed"
    packed.mkdir()
    with tarfile.open(packed / "optical.tar.gz", "w:gz") as archive:
        archive.add(tree / "optical", "optical")
    shutil.copytree(tree / "radar", packed / "radar")
    dataset = described(tree)
    for source, workers in ((tree, 0), (packed, 2)):
        convert(dataset, source, tmp_path / f"{source.name}.store", workers=workers)
    one, other = tmp_path / "tree.store", tmp_path / "packed.store"
    for name in ("data.mdb", "metadata.parquet", "manifest.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert verify(other, packed, dataset=dataset).problems == []


def tarred(path: Path, root: Path, files: list[Path]) -> None:
    with tarfile.open(path, "w") as archive:
        for file in files:
            archive.add(file, str(file.relative_to(root)))


def test_in_an_archive_the_dates_of_a_place_follow_one_another(tree: Path, tmp_path: Path) -> None:
    write_optical(tree, PLACES)
    files = sorted((tree / "optical").rglob("*.tif"))
    (tmp_path / "packed").mkdir()
    first, last = files[:3], files[3:]
    tarred(tmp_path / "packed" / "optical.tar", tree, [*last, *first])
    with pytest.raises(SourceError, match="other places, or the end .*lie between its dates"):
        convert(described(tree), tmp_path / "packed", tmp_path / "store", workers=0)
    # A file that lacks is told as such, though its acquisition never becomes complete.
    tarred(tmp_path / "packed" / "optical.tar", tree, files[1:])
    with pytest.raises(PatchError, match=r"elm1/S_20200105_d/B1.tif is missing"):
        convert(described(tree), tmp_path / "packed", tmp_path / "store", workers=0)
    report = convert(
        described(tree), tmp_path / "packed", tmp_path / "store", workers=0, on_error="skip",
        overwrite=True,
    )  # fmt: skip
    assert len(report.skipped) == 1
    assert sorted(open_store(tmp_path / "store").keys()) == ["o_elm2", "o_oak1"]


def test_shards_and_workers_give_the_same_records(tree: Path, tmp_path: Path) -> None:
    write_optical(tree, PLACES)
    write_radar(tree, SEEN)
    convert(described(tree), tree, tmp_path / "one", workers=0)
    convert(described(tree), tree, tmp_path / "three", workers=2, shards=3, compression="blosc2")
    one, three = open_store(tmp_path / "one"), open_store(tmp_path / "three")
    for key in one:
        np.testing.assert_array_equal(one.read(key), three.read(key))
    # As the tasks of a cluster make them: each lists the source for itself.
    for number in range(3):
        convert_shard(described(tree), tree, tmp_path / "parts", number, shards=3, workers=0)
    finish_store(tmp_path / "parts")
    parts = open_store(tmp_path / "parts")
    for key in one:
        np.testing.assert_array_equal(one.read(key), parts.read(key))


def test_statistics_are_of_dates_that_are_there(tree: Path, tmp_path: Path) -> None:
    optical = write_optical(tree, PLACES)
    radar = write_radar(tree, SEEN)
    for layout in ("stacked", "native"):
        path = tmp_path / layout
        convert(described(tree), tree, path, layout=layout, workers=0)
        of_optical, of_radar = stats(path, workers=0)
        for band in of_optical.bands:
            pixels = np.concatenate([bands[band.name].ravel() for bands in optical.values()])
            assert (band.pixels, band.mean) == (pixels.size, pixels.mean())
            assert (band.minimum, band.maximum) == (pixels.min(), pixels.max())
        vv = np.concatenate([pixels[:, 0].ravel() for pixels in radar.values()])
        assert of_radar.bands[0].pixels == vv.size
        assert of_radar.bands[0].mean == pytest.approx(vv.astype(float).mean())


def test_dry_run_counts_places_and_their_bytes(tree: Path, tmp_path: Path) -> None:
    write_optical(tree, PLACES)
    forecast = dry_run(described(tree), tree, tmp_path / "store", workers=0)
    assert forecast.modalities["optical"].patches == 3
    assert forecast.modalities["optical"].record >= 4 * 3 * 16 * 16 * 2


def replaced(text: str, before: str, after: str) -> str:
    assert before in text
    return text.replace(before, after)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('date = "{date}", format', 'date = "{when}", format', "{when}, which fields do not"),
        ("steps = 4", "steps = 0", "time.steps' must be 1 to 10,000, not 0"),
        ('format = "%Y%m%d"', 'format = "%Q"', "time.format'"),
        ('format = "%Y%m%d"', 'format = "today"', "time.format'"),
        ('date = "{date}", ', 'date = "always", ', "has no field, so all dates are alike"),
        ('date = "{date}", format = "%Y%m%d"', 'order = "mixed"', "time.order' must be one of"),
        ('4, date = "{date}", format = "%Y%m%d"', "4",
         "give one of the two"),
        ('name = "{place}"\nrgb', 'name = "{place}_{scene}"\nrgb', "name the place"),
        ('rgb = ["B3", "B2", "B1"]', "any_size = true", "any_size' cannot be true beside [time]"),
        ('scenes = "{scene}"', 'optical_dates = "{scene}"', "a column that a store makes itself"),
        ("steps = 4", "step = 4", "time.steps' is missing"),
    ],
)  # fmt: skip
def test_mistakes_in_a_description_are_one_sentence(
    tree: Path, tmp_path: Path, before: str, after: str, told: str
) -> None:
    write_optical(tree, {"elm1": DATES})
    path = described(tree)
    path.write_text(replaced(path.read_text(), before, after))
    ended = command("convert", path, tree, tmp_path / "store", "--workers", 0)
    assert ended.code in (1, 2)
    assert told in ended.err
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "store").exists()


def broken(tree: Path, change: str) -> None:
    folder = tree / "optical" / "elm1"
    first = next(folder.iterdir())
    if change == "no date":
        first.rename(folder / "S_20201350_x")
    elif change == "two of one date":
        shutil.copytree(folder / "S_20200403_c", folder / "S_20200403_z")
    elif change == "too many":
        shutil.copytree(first, folder / "S_20210505_x")
    elif change == "another size":
        geotiff(folder / "S_20200403_c" / "B2.tif", np.ones((1, 12, 12), np.uint16),
                **georeferenced(12))  # fmt: skip
    elif change == "another ground":
        geotiff(folder / "S_20200403_c" / "B2.tif", np.ones((1, 16, 16), np.uint16),
                **georeferenced(16, shift=90))  # fmt: skip
        geotiff(folder / "S_20200403_c" / "B1.tif", np.ones((1, 8, 8), np.uint16),
                **georeferenced(8, shift=90))  # fmt: skip
        geotiff(folder / "S_20200403_c" / "B3.tif", np.ones((1, 16, 16), np.uint16),
                **georeferenced(16, shift=90))  # fmt: skip
    elif change == "a band too few":
        (folder / "S_20200403_c" / "B2.tif").unlink()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("no date", "optical/elm1/S_20201350_x: '20201350' is no date (%Y%m%d)"),
        ("two of one date", "S_20200403_z are both of 2020-04-03T00:00:00"),
        ("too many", "elm1 has 5 dates of elm1, from 2020-01-05T00:00:00 to 2021-05-05T00:00:00"),
        ("another size", "S_20200403_c/B2.tif has 12 x 12 pixels, not 16 x 16"),
        ("another ground", "S_20200403_c covers EPSG:32633 600090"),
        ("a band too few", "S_20200403_c/B2.tif is missing"),
    ],
)
def test_a_place_that_is_not_as_it_must_be_is_named_or_left_out(
    tree: Path, tmp_path: Path, change: str, told: str
) -> None:
    write_optical(tree, PLACES)
    broken(tree, change)
    path = described(tree)
    ended = command("convert", path, tree, tmp_path / "store", "--workers", 0)
    assert (ended.code, len(ended.err.splitlines())) == (1, 1)
    assert told in ended.err
    ended = command("convert", path, tree, tmp_path / "store", "--workers", 0, "--overwrite",
                    "--on-error", "skip")  # fmt: skip
    assert ended.code == 1
    assert told.partition(" (")[0] in ended.out + ended.err
    assert open_store(tmp_path / "store").keys() == ["o_elm2", "o_oak1"]


def test_nan_of_a_date_is_named(tree: Path, tmp_path: Path) -> None:
    write_optical(tree, SEEN)
    write_radar(tree, SEEN)
    pixels: Array = np.full((2, 16, 16), -10, np.float32)
    pixels[1, 3, 4] = np.nan
    geotiff(tree / "radar" / f"oak1_{DATES[1]}.tif", pixels, **georeferenced(16, 1))
    with pytest.raises(PatchError, match=r"oak1_20200403.tif has 1 pixels that are NaN in VH"):
        convert(described(tree), tree, tmp_path / "store", workers=0)
    convert(described(tree), tree, tmp_path / "store", workers=0, nan="keep", overwrite=True)
    assert np.isnan(open_store(tmp_path / "store").read("r_oak1")).sum() == 1


def test_verify_finds_a_pixel_and_a_date_that_changed(tree: Path, tmp_path: Path) -> None:
    write_optical(tree, PLACES)
    dataset = described(tree)
    convert(dataset, tree, tmp_path / "store", workers=0)
    folder = tree / "optical" / "elm2"
    shutil.copytree(folder / "S_20200403_c", folder / "S_20200909_b")
    shutil.rmtree(next((tree / "optical" / "oak1").glob("S_20201006_*")))
    problems = verify(tmp_path / "store", tree, dataset=dataset).problems
    assert len(problems) == 2
    assert "elm2 S_20200909_b/B1.tif: band B1 differs from the record in 256 pixels" in problems[0]
    assert "oak1 has 2 dates, but its record has pixels in later steps" in problems[1]
    assert len(BANDS) == 3


@pytest.mark.parametrize("layout", ["stacked", "native"])
def test_parts_of_a_store_keep_dates(
    tree: Path, tmp_path: Path, layout: Literal["stacked", "native"]
) -> None:
    optical = write_optical(tree, PLACES)
    write_radar(tree, SEEN)
    convert(described(tree), tree, tmp_path / "store", layout=layout, workers=0)
    whole = open_store(tmp_path / "store")
    copy_store(tmp_path / "store", tmp_path / "some", bands={"optical": ["B3", "B1"]})
    some = open_store(tmp_path / "some")
    np.testing.assert_array_equal(some.read("o_oak1")[:3], stacked(optical["oak1"])[:, [2, 0]])
    assert some.manifest.modalities["optical"].array_shape == (4, 2, 16, 16)
    copy_store(tmp_path / "store", tmp_path / "coarse", modalities=["optical"],
               bands={"optical": ["B1"]})  # fmt: skip
    np.testing.assert_array_equal(
        open_store(tmp_path / "coarse").read("o_oak1")[:3, 0], optical["oak1"]["B1"]
    )
    columns = open_store(tmp_path / "coarse").table().column_names
    assert "optical_dates" in columns
    assert not [name for name in columns if name.startswith("radar_")]
    names = {"a": {"site": "elm"}, "b": {"site": "oak"}}
    for name, where in names.items():
        copy_store(tmp_path / "store", tmp_path / name, where=where)
    merge_stores([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")
    merged = open_store(tmp_path / "merged")
    assert merged.table().to_pylist() == whole.table().to_pylist()
    for key in whole:
        np.testing.assert_array_equal(merged.read(key), whole.read(key))
    split_store(tmp_path / "store", tmp_path / "shards", shards=2)
    assert verify(tmp_path / "shards").problems == []
    (tmp_path / "some" / "extents.safetensors").unlink()
    index(tmp_path / "some")
    assert verify(tmp_path / "some", tree, dataset=described(tree)).problems == []


def test_inspect_tells_steps(tree: Path, tmp_path: Path) -> None:
    optical = write_optical(tree, PLACES)
    convert(described(tree), tree, tmp_path / "store", workers=0)
    ended = command("inspect", tmp_path / "store", "o_elm2")
    assert "2 of 4 dates; numbers are of all of these" in ended.out
    band = optical["elm2"]["B1"]
    assert f"{band.min()}  {band.mean():.2f}  {band.max()}" in " ".join(
        ended.out.split(" ")
    ).replace("   ", "  ")
    assert "4 dates x 3 x 16 x 16" in command("inspect", tmp_path / "store").out
    told = json.loads(command("inspect", tmp_path / "store", "o_elm2", "--json").out)
    assert (told["steps"], told["present"], told["bands"][0]["shape"]) == (4, 2, [16, 16])
    assert told["row"]["optical_dates"][0].startswith("2020-01-05")


def test_pictures_show_the_first_date_and_say_so(tree: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_optical(tree, PLACES)
    write_radar(tree, PLACES)
    convert(described(tree, FOLDERS.replace("steps = 3", "steps = 4")), tree, tmp_path / "store",
            workers=0)  # fmt: skip
    for picture in ("sheet", "bands", "brightness", "histograms", "places", "statistics"):
        if picture == "statistics":
            stats(tmp_path / "store", workers=0)
        keys = ["o_elm2"] if picture == "bands" else []
        out = tmp_path / f"{picture}.svg"
        plot(tmp_path / "store", keys, out=out, picture=picture)
        assert out.stat().st_size
    assert "first date" in (tmp_path / "sheet.svg").read_text()


def test_a_conversion_that_stopped_goes_on_to_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    write_optical(tree, PLACES)
    write_radar(tree, SEEN)
    convert(described(tree), tree, tmp_path / "whole", workers=0)
    with pytest.MonkeyPatch.context() as patch:
        commits_of(1, patch)
        stop_after(patch, 3)
        with pytest.raises(Stopped):
            convert(described(tree), tree, tmp_path / "parts", workers=0)
    convert(described(tree), tree, tmp_path / "parts", workers=0)
    for name in ("data.mdb", "metadata.parquet", "manifest.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_records_of_another_program_have_no_known_dates(tree: Path, tmp_path: Path) -> None:
    optical = write_optical(tree, PLACES)
    convert(described(tree), tree, tmp_path / "store", layout="native", workers=0)
    for name in ("manifest.json", "metadata.parquet", "extents.safetensors"):
        (tmp_path / "store" / name).unlink()
    index(tmp_path / "store", described(tree))
    store = open_store(tmp_path / "store")
    assert store.manifest.modalities["optical"].steps == 4
    assert store.table()["optical_steps"].to_pylist() == [None] * 3
    np.testing.assert_array_equal(store.read("o_elm1"), stacked(optical["elm1"]))
    assert store.table()["scenes"].to_pylist() == [None] * 3
    assert store.table()["site"].to_pylist() == ["elm", "elm", "oak"]
    batch = Samples(store, target=None, sample_format="dict")[:]
    assert batch["optical_present"].all()
