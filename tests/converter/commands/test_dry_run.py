"""A dry run says what a conversion then does, and writes nothing anywhere."""

import io
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import Forecast, Report, convert, dry_run
from patchpress.converter.options import Layout
from patchpress.converter.planning import beginning, limited_patches, namelog, survey
from patchpress.converter.planning.sample import SAMPLE, EvenSample
from patchpress.converter.sources.patch import Patch
from patchpress.converter.text import number, span
from patchpress.readers.errors import OptionError, PatchError, SourceError, TableError, TargetError
from patchpress.readers.format.manifest import MARKER
from tests.support.helpers import DATASET, Ended, band_files, made, packed, patches, tiny_dataset
from tests.support.older_sets import SCENE, make_sen12ms, make_v1
from tests.support.published_forms import TREES
from tests.support.small_disk import on_small_disk
from tests.support.stopping import commits_of
from tests.support.synthetic import Row, make_tree

pytestmark = pytest.mark.slow

TABLES = ("metadata.parquet", "metadata_for_patches_with_snow_cloud_or_shadow.parquet")


def everything(root: Path) -> dict[str, tuple[int, int]]:
    """Path -> size and time of change, of all files and folders under a folder."""
    found = {str(path): path.lstat() for path in sorted(root.rglob("*"))}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items()}


def foretold(
    root: Path, source: Path, store: Path, dataset: str = DATASET, **options: Any
) -> Forecast:
    """A forecast, which has changed nothing under `root`."""
    before = everything(root)
    forecast = dry_run(dataset, source, store, **{"workers": 0} | options)
    assert everything(root) == before
    return forecast


def counted(forecast: Forecast) -> dict[str, float | None]:
    assert not any(found.about for found in forecast.modalities.values())
    return {name: found.patches for name, found in forecast.modalities.items()}


def assert_true(forecast: Forecast, report: Report) -> None:
    """Compare everything that the forecast and the report both say."""
    assert counted(forecast) == report.records
    assert forecast.rows == report.rows
    assert not forecast.rows_about
    assert forecast.rows_without_pixels == report.rows_without_pixels
    assert forecast.splits == {split: counts["rows"] for split, counts in report.splits.items()}
    assert forecast.without_row == {name: len(n) for name, n in report.without_row.items()}
    listed = {name: len(names) for name, names in report.listed_without_pixels.items()}
    assert forecast.listed_without_pixels == listed
    for other, (count, about) in forecast.partners.items():
        without = report.without_partner.get(forecast.primary, {}).get(other, [])
        assert (count, about) == (report.records[forecast.primary] - len(without), False)
    assert (forecast.absent, forecast.passed_over) == (report.absent, report.passed_over)
    assert forecast.skipped == report.skipped
    assert bool(forecast.labels) == report.labelled
    assert forecast.exit_code == report.exit_code
    assert forecast.data == pytest.approx(report.bytes, rel=0.02, abs=60_000)


def compare(root: Path, source: Path, dataset: str = DATASET, **options: Any) -> Forecast:
    """Make a forecast, convert, and compare the two."""
    forecast = foretold(root, source, root / "store", dataset, **options)
    asked: Any = {"workers": 0} | options
    assert_true(forecast, convert(dataset, source, root / "store", **asked))
    return forecast


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layout": "native"},
        {"compression": "zstd", "layout": "native"},
        {"limit": 2},
        {"limit": 100},
        {"modalities": ("s2",)},
        {"modalities": ("s1", "map")},
        {"modalities": ("s1",), "limit": 3},
        {"split": "geographic"},
        {"split": "none"},
    ],
)
@pytest.mark.parametrize("codec", [None, "", "gz"])
def test_it_says_what_a_conversion_does(
    raw: Path, tmp_path: Path, options: dict[str, Any], codec: str | None
) -> None:
    if codec is not None:
        packed(raw, codec)
    compare(tmp_path, raw, **options)


@pytest.mark.parametrize("codec", [None, "gz"])
@pytest.mark.parametrize("options", [{}, {"limit": 2}])
def test_it_does_without_tables(
    raw: Path, tmp_path: Path, codec: str | None, options: dict[str, Any]
) -> None:
    for name in TABLES:
        (raw / name).unlink()
    if codec is not None:
        packed(raw, codec)
    forecast = compare(tmp_path, raw, **options)
    assert forecast.partners["s1"] == (0, False)
    assert [source for _, source, _ in forecast.labels] == ["the codes of map"]


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("larger") / "raw"
    make_tree(root, n=50, flagged=10)
    return root


@pytest.mark.parametrize("layout", ["stacked", "native"])
@pytest.mark.parametrize("compression", ["none", "zstd", "blosc2"])
def test_sizes_are_near_what_they_are(
    larger: Path, tmp_path: Path, layout: str, compression: str
) -> None:
    options = {"layout": layout, "compression": compression}
    forecast = foretold(tmp_path, larger, tmp_path / "store", **options)
    report = made(larger, tmp_path / "store", **options)
    assert forecast.data == pytest.approx(report.bytes, rel=0.02)
    whole = sum(path.stat().st_size for path in (tmp_path / "store").iterdir())
    assert forecast.bytes == pytest.approx(whole, rel=0.02)
    assert 150 < forecast.tried <= SAMPLE
    assert forecast.seconds is not None
    assert forecast.seconds > 0


def test_damage_to_the_source_is_counted_alike(raw: Path, tmp_path: Path) -> None:
    """A partner and a row are missing, and one entry is no patch."""
    shutil.rmtree(band_files(raw, "s1", patches(raw, "s1")[1])["VV"].parent)
    rows = pq.read_table(raw / TABLES[0])
    pq.write_table(rows.slice(1), raw / TABLES[0])
    (raw / "BigEarthNet-S2" / "notes.txt").write_bytes(b"")
    forecast = compare(tmp_path, raw)
    assert forecast.partners["s1"] == (3, False)  # a pair without its row does not count
    assert forecast.passed_over["s2"].unmatched == 1
    assert forecast.without_row == {"s2": 1, "s1": 1, "map": 1}


def test_pixels_that_are_away_are_rows_without_pixels(raw: Path, tmp_path: Path) -> None:
    for modality in ("s2", "s1", "map"):
        for files in [band_files(raw, modality, name) for name in patches(raw, modality)[:1]]:
            shutil.rmtree(next(iter(files.values())).parent)
    assert compare(tmp_path, raw).rows_without_pixels <= 1


def misplaced(raw: Path) -> None:
    first, second, *_ = sorted((raw / "BigEarthNet-S2").iterdir())
    (patch,) = list(first.iterdir())[:1]
    patch.rename(second / patch.name)


def test_patches_that_will_be_skipped_are_named(raw: Path, tmp_path: Path) -> None:
    misplaced(raw)
    with pytest.raises(PatchError, match="wrong folder"):
        foretold(tmp_path, raw, tmp_path / "store")
    forecast = compare(tmp_path, raw, on_error="skip")
    assert forecast.exit_code == 1
    assert "wrong folder" in forecast.text()


def test_damaged_patches_of_the_sample_are_named(raw: Path, tmp_path: Path) -> None:
    name = patches(raw, "s2")[2]
    path = band_files(raw, "s2", name)["B03"]
    path.write_bytes(path.read_bytes()[:-5])
    forecast = foretold(tmp_path, raw, tmp_path / "store")
    assert len(forecast.damaged) == 1
    assert name in forecast.damaged[0]
    assert "damaged among the 15 patches that were tried: 1" in forecast.text()
    assert forecast.exit_code == 0


def test_sidecars_tell_partners_and_labels(
    made_tree: tuple[Path, list[Row]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_v1(tmp_path / "v1", *made_tree)
    forecast = compare(tmp_path, source, "bigearthnet-v1")
    assert forecast.partners == {"s1": (15, False)}
    assert forecast.labels == [("labels_43, labels", "the JSON file of each patch", 15)]
    limited = foretold(tmp_path, source, tmp_path / "other", "bigearthnet-v1", limit=4)
    report = convert("bigearthnet-v1", source, tmp_path / "other", workers=0, limit=4)
    assert_true(limited, report)
    # If there are many, some are read and stand for all.
    monkeypatch.setattr(namelog, "SIDECARS", 5)
    forecast = foretold(tmp_path, source, tmp_path / "new", "bigearthnet-v1")
    assert forecast.partners == {"s1": (15, True)}
    assert (forecast.rows, forecast.rows_about) == (15, True)
    assert "s2 with s1         about 15" in forecast.text()


@pytest.mark.parametrize("codec", ["", "gz"])
@pytest.mark.parametrize("pairs", [False, True])
def test_sidecars_and_pairs_of_archives(
    made_tree: tuple[Path, list[Row]], tmp_path: Path, codec: str, *, pairs: bool
) -> None:
    source = packed(make_v1(tmp_path / "v1", *made_tree), codec)
    archive = next(source.glob("BigEarthNet-v1.0.tar*"))
    archive.rename(source / archive.name.replace("-v1.0", "-S2-v1.0"))
    if pairs:
        names = [(row["s1_name"], row["s2v1_name"]) for row in made_tree[1]]
        table = pa.table(dict(zip(("s1_name", "s2_name"), zip(*names, strict=True), strict=True)))
        pq.write_table(table, source / "s1_s2_mapping.parquet")
    compare(tmp_path, source, "bigearthnet-v1")


def test_triplets(tmp_path: Path) -> None:
    make_sen12ms(tmp_path / "raw")
    forecast = compare(tmp_path, tmp_path / "raw", "sen12ms")
    assert forecast.partners == {"s1": (4, False), "lc": (4, False)}
    assert forecast.splits == {"train": 2, "test": 2}


def test_a_triplet_that_is_not_whole_is_an_error(tmp_path: Path) -> None:
    make_sen12ms(tmp_path / "raw")
    (tmp_path / "raw" / SCENE / "lc_1" / f"{SCENE}_lc_1_p30.tif").unlink()
    with pytest.raises(PatchError, match="has no lc"):
        foretold(tmp_path, tmp_path / "raw", tmp_path / "store", "sen12ms")
    compare(tmp_path, tmp_path / "raw", "sen12ms", on_error="skip")


@pytest.mark.parametrize("name", [*TREES])
def test_every_other_data_set(tmp_path: Path, name: str) -> None:
    source = TREES[name].write(tmp_path / "raw")
    forecast = compare(tmp_path, source, name, layout=Layout.native)
    assert forecast.data is not None


def test_a_data_set_of_ones_own(tmp_path: Path) -> None:
    path = tiny_dataset(tmp_path, {"one": ["p1", "p2"], "two": ["p3"]})
    assert counted(compare(tmp_path, tmp_path / "raw", str(path))) == {"a": 3}


# Archives that are too large to be read to their end.


def archive_of(raw: Path, count: int, modality: str = "s2") -> None:
    """One archive with so many copies of a patch, sorted by their new names."""
    name = patches(raw, modality)[0]
    product, files = name.rsplit("_", 2)[0], band_files(raw, modality, name)
    folder = {"s2": "BigEarthNet-S2", "map": "Reference_Maps"}[modality]
    with tarfile.open(raw / f"{folder}.tar", "w") as archive:
        for number in range(count):
            copy = f"{product}_{number // 91:02}_{number % 91:02}"
            for path in files.values():
                member = tarfile.TarInfo(
                    f"{folder}/{product}/{copy}/{path.name.replace(name, copy)}"
                )
                member.size = path.stat().st_size
                archive.addfile(member, io.BytesIO(path.read_bytes()))
    shutil.rmtree(raw / folder)


@pytest.fixture
def large(raw: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A tree whose Sentinel-2 archive, of 300 patches, is too large to be read to its end."""
    archive_of(raw, 300)
    monkeypatch.setattr(survey, "BEGINNING", 32 << 20)
    monkeypatch.setattr(beginning, "STRETCH", 8 << 20)
    yield raw
    (raw / "BigEarthNet-S2.tar").unlink()


def test_the_beginning_of_an_archive_tells_how_many_there_are(large: Path, tmp_path: Path) -> None:
    for name in TABLES:
        (large / name).unlink()
    forecast = foretold(tmp_path, large, tmp_path / "store")
    s2, s1 = forecast.modalities["s2"], forecast.modalities["s1"]
    assert (s2.about, s1.about, s1.patches) == (True, False, 5)
    # How many bytes are read ahead at the end is known to some megabytes only.
    assert 0.6 * 300 < (s2.patches or 0) < 1.65 * 300
    assert (forecast.rows, forecast.rows_about) == (s2.patches, True)
    text = forecast.text()
    assert "patches by the beginning of the archives" in text
    assert "  s2                 about " in text
    assert re.search(r"  rows  +about \d+\n  labels  +labels: from the codes of map\n", text)


def test_tables_tell_the_patches_of_large_archives(large: Path, tmp_path: Path) -> None:
    forecast = foretold(tmp_path, large, tmp_path / "store")
    s2 = forecast.modalities["s2"]
    assert (s2.patches, s2.about, s2.by) == (5, False, "the tables")
    assert forecast.rows == 5
    assert forecast.partners == {"s1": (5, False), "map": (5, False)}
    assert "5 patches by the tables" in forecast.text()


def test_the_first_few_of_archives_whose_names_are_not_looked_up(
    raw: Path, made_tree: tuple[Path, list[Row]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the number of patches is known of one modality; the other one is in a folder."""
    source = make_v1(tmp_path / "v1", *made_tree)
    with tarfile.open(source / "BigEarthNet-S1-v1.0.tar", "w") as archive:
        archive.add(source / "BigEarthNet-S1-v1.0", "BigEarthNet-S1-v1.0")
    shutil.rmtree(source / "BigEarthNet-S1-v1.0")
    monkeypatch.setattr(survey, "FIRST_FEW", 3)
    monkeypatch.setattr(limited_patches, "READ_FOR_NAMES", 0)
    forecast = foretold(tmp_path, source, tmp_path / "store", "bigearthnet-v1", limit=4)
    s2, s1 = forecast.modalities["s2"], forecast.modalities["s1"]
    assert (s2.patches, s2.about, s1.patches, s1.about) == (4, False, 4, True)
    assert (forecast.rows, forecast.partners) == (4, {})


@pytest.mark.parametrize(("few", "other"), [(1000, 0), (3, 4)])
def test_the_first_few_of_large_archives(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int, other: int
) -> None:
    """If they are few, their names are looked up: then no map belongs to them. Else all count."""
    for name in TABLES:
        (large / name).unlink()
    monkeypatch.setattr(survey, "FIRST_FEW", few)
    monkeypatch.setattr(limited_patches, "READ_FOR_NAMES", 0)
    forecast = foretold(tmp_path, large, tmp_path / "store", limit=4)
    assert [found.patches for found in forecast.modalities.values()] == [4, 4, other]
    forecast = foretold(tmp_path, large, tmp_path / "store", modalities=("s2",), limit=20)
    assert forecast.modalities["s2"].patches == 20
    assert forecast.modalities["s2"].about == (few == 3)
    assert "the first 20 patches: only the beginning of archives is read" in forecast.text()
    report = made(large, tmp_path / "store", modalities=("s2",), limit=20)
    assert report.records == {"s2": 20}
    assert "the first 20 patches: only the beginning of archives is read" in report.text()
    assert forecast.data == pytest.approx(report.bytes, rel=0.02)


def test_a_modality_that_does_not_come_in_time_is_unknown(large: Path, tmp_path: Path) -> None:
    """Two modalities are in one archive, one after the other."""
    for name in TABLES:
        (large / name).unlink()
    archive = large / "BigEarthNet-S2.tar"
    with tarfile.open(archive, "a") as file:
        file.add(large / "BigEarthNet-S1", "BigEarthNet-S1")
    options: dict[str, Any] = {"modalities": ("s2", "s1")}
    options["paths"] = {"s2": archive, "s1": archive}
    forecast = foretold(tmp_path, large, tmp_path / "store", **options)
    assert forecast.modalities["s1"].patches is None
    assert "s1                 unknown patches" in forecast.text()
    assert "store              unknown before the archives are read" in forecast.text()


def test_damage_at_the_beginning_of_an_archive_is_told(raw: Path, tmp_path: Path) -> None:
    packed(raw)
    (raw / "BigEarthNet-S1.tar").write_bytes(b"x" * 4096)
    with pytest.raises(SourceError, match=r"BigEarthNet-S1\.tar is a text: download it again"):
        foretold(tmp_path, raw, tmp_path / "store")


# A dry run refuses what a conversion refuses, with the same sentence.


def refused(root: Path, source: Path, store: Path, **options: Any) -> tuple[type, str]:
    """The error with which a dry run and a conversion refuse: it must be the same."""
    with pytest.raises((SourceError, TargetError, OptionError)) as dry:
        foretold(root, source, store, **options)
    with pytest.raises((SourceError, TargetError, OptionError)) as real:
        made(source, store, **options)
    assert (type(dry.value), str(dry.value)) == (type(real.value), str(real.value))
    return type(dry.value), str(dry.value)


def test_what_a_conversion_refuses_is_refused_alike(raw: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert refused(tmp_path, tmp_path / "nowhere", store)[0] is not OptionError
    assert "names no part" in refused(tmp_path, raw, store, paths={"s3": raw})[1]
    assert "needs archives" in refused(tmp_path, raw, store, check_md5=True)[1]
    assert "is the source" in refused(tmp_path, raw, raw)[1]
    for inside in (raw / TABLES[0], raw / TABLES[0] / "store"):
        assert "lies inside the source" in refused(tmp_path, raw, inside)[1]
    (tmp_path / "file").write_bytes(b"x")
    assert "other things" in refused(tmp_path, raw, Path(__file__).parent)[1]
    assert "is a file" in refused(tmp_path, raw, tmp_path / "file")[1]
    assert "Not a directory" in refused(tmp_path, raw, tmp_path / "file" / "store")[1]
    (raw / "BigEarthNet-S1" / "x").mkdir()
    shutil.rmtree(raw / "Reference_Maps")
    (raw / "Reference_Maps").mkdir()
    assert "has no patch" in refused(tmp_path, raw, store)[1]
    (raw / TABLES[0]).write_bytes(b"no table")
    kind, sentence = refused(tmp_path, raw, store)
    assert kind is TableError
    assert TABLES[0] in sentence
    misplaced(raw)
    assert not store.exists()


def test_a_finished_store_in_the_way_is_refused_alike(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "store", limit=1)
    assert "--overwrite" in refused(tmp_path, raw, tmp_path / "store")[1]
    forecast = foretold(tmp_path, raw, tmp_path / "store", overwrite=True)
    assert_true(forecast, made(raw, tmp_path / "store", overwrite=True))


@pytest.fixture
def unfinished(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of `raw` whose conversion stopped at a damaged patch, which is whole again now."""
    commits_of(1, monkeypatch)
    path = band_files(raw, "s2", patches(raw, "s2")[-1])["B03"]
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(PatchError):
        made(raw, tmp_path / "store")
    path.write_bytes(whole)
    return tmp_path / "store"


def test_an_unfinished_store_goes_on(raw: Path, tmp_path: Path, unfinished: Path) -> None:
    forecast = foretold(tmp_path, raw, unfinished)
    assert forecast.goes_on
    assert 0 < forecast.stored < 15
    assert f"{forecast.stored} records are stored already" in forecast.text()
    assert not foretold(tmp_path, raw, unfinished, overwrite=True).goes_on
    assert "begun with layout stacked" in refused(tmp_path, raw, unfinished, layout="native")[1]
    assert_true(forecast, made(raw, unfinished))


def test_a_conversion_at_work_is_told(raw: Path, tmp_path: Path, unfinished: Path) -> None:
    import fcntl

    with (unfinished / MARKER).open("rb") as marker:
        fcntl.flock(marker, fcntl.LOCK_EX)
        assert "another process is writing" in refused(tmp_path, raw, unfinished)[1]


def test_a_place_that_may_not_be_written_is_told(
    raw: Path, tmp_path: Path, powerless: Callable[..., Ended], closed: Callable[[Path, int], Path]
) -> None:
    (tmp_path / "closed").mkdir()
    for path in (tmp_path, *tmp_path.parents[:3]):
        closed(path, path.stat().st_mode | 0o055)
    folder = closed(tmp_path / "closed", 0o555)
    words = ("convert", DATASET, raw, folder / "store", "--workers", 0)
    dry, real = powerless(*words, "--dry-run"), powerless(*words)
    assert (dry.code, dry.err) == (real.code, real.err)
    assert "cannot be written (Permission denied)" in dry.sentence


# The command.


def test_the_command_says_it_on_stdout(
    patchpress: Callable[..., Ended], raw: Path, tmp_path: Path
) -> None:
    store = tmp_path / "new" / "store"
    before = everything(tmp_path)
    ended = patchpress("convert", DATASET, raw, store, "--workers", 2, "--dry-run")
    assert (ended.code, ended.err) == (0, "")
    assert everything(tmp_path) == before
    lines = ended.out.splitlines()
    assert lines[0] == (
        f"{store}: {DATASET}, stacked, compression none: a dry run, nothing is written"
    )
    assert lines[1] == "  s2                 5 patches, 345,752 bytes a record"
    assert lines[2] == "    B02, B03, B04, B08: 120 x 120 pixels of 10 m, uint16"
    assert "  s2 with map        5" in lines
    assert "  labels             labels: from the tables, 5 rows" in lines
    assert any(line.startswith("  store              about 2.5 MB; ") for line in lines)
    assert any(line.startswith("  time               about ") for line in lines)


def test_many_bands_are_not_all_named(tmp_path: Path) -> None:
    source = TREES["hyspecnet-11k"].write(tmp_path / "raw")
    text = foretold(tmp_path, source, tmp_path / "store", "hyspecnet-11k").text()
    assert "    B1 to B224 (224 bands): 128 x 128 pixels of 30 m, int16" in text


def test_too_little_room_is_told_behind_the_forecast(raw: Path, disk: Path) -> None:
    words = ("convert", DATASET, raw, disk / "store", "--dry-run")
    ended, names = on_small_disk(disk, 1 << 20, *words)
    assert ended.code == 2
    assert "about 2.5 MB; 1.0 MB are free on its disk" in ended.out
    assert "needs at least" in ended.sentence
    assert names == []


@pytest.mark.parametrize("most", [1, 2, 5, 16])
@pytest.mark.parametrize("total", [0, 1, 2, 3, 10, 33, 1000])
def test_a_sample_is_spread_over_all(most: int, total: int) -> None:
    spread = EvenSample(most)
    for number_ in range(total):
        spread.add(Patch(modality="a", key=f"{number_}", name="", identity="", values=()))
    kept = [int(patch.key) for patch in spread.patches()]
    assert len(kept) == min(most, total)
    assert kept == sorted(set(kept))
    assert spread.seen == total
    if total > 2 * most > 2:
        gaps = [after - before for before, after in pairwise(kept)]
        assert max(gaps) <= 4 * min(gaps)
        assert kept[-1] >= total * (1 - 3 / most)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.01, "1 s"), (7.4, "7 s"), (48, "50 s"), (600, "10 min"), (5000, "83 min"), (9000, "2.5 h")],
)
def test_times_are_for_people(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_estimated_numbers_are_round() -> None:
    assert number(549_488, about=True) == "about 549,000"
    assert number(549_488, about=False) == "549,488"
    assert number(7, about=True) == "about 7"


def test_what_a_conversion_would_leave_out_is_foretold(raw: Path, tmp_path: Path) -> None:
    name = patches(raw, "s2")[0]
    rows = [row for table in TABLES for row in pq.read_table(raw / table).to_pylist()]
    (s1,) = [row["s1_name"] for row in rows if row["patch_id"] == name]
    for modality, key in (("s2", name), ("s1", s1), ("map", name)):
        shutil.rmtree(next(iter(band_files(raw, modality, key).values())).parent)
    foretold = dry_run(DATASET, raw, tmp_path / "store", workers=0)
    assert "rows without pixels, left out: 1\n" in foretold.text() + "\n"
    assert foretold.rows_without_pixels == made(raw, tmp_path / "store").rows_without_pixels == 1
