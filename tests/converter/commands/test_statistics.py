"""Statistics of every kind of store are those of NumPy over the source; normalised batches."""

import json
import math
import pickle
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchpress.converter.commands.stats as module
from patchpress import (
    BandMissing,
    BufferUnfit,
    Layout,
    Nan,
    OptionError,
    SelectionEmpty,
    Store,
    convert,
    open_store,
)
from patchpress.converter.commands import statistics_file
from patchpress.converter.commands.band_counter import (
    BandCounter,
    Moments,
    bin_edges,
    float_bins,
    moments_of,
)
from patchpress.converter.commands.statistics_file import save_statistics
from patchpress.converter.commands.stats import compute
from patchpress.readers.errors import StatisticsMissing, StatisticsStale, StoreDamaged
from patchpress.readers.format.whole_file import write_whole
from patchpress.readers.normalize import normalize
from patchpress.readers.samples import Samples
from patchpress.readers.statistics import PERCENTILES, BandStatistics, Statistics, joined
from patchpress.readers.statistics_file import read_statistics, to_bytes
from tests.support.helpers import (
    Array,
    Ended,
    band_files,
    first_band,
    geotiff,
    made,
    patches,
    python,
    write_sealed,
)
from tests.support.synthetic import Row, is_flagged

Command = Callable[..., Ended]
BIN = 2.0**-12  # by which a percentile of floats may differ, relative to the two pixels next to it
S2_PIXELS = {"B01": 400, "B02": 14_400, "B05": 3_600}

TOML = """
[dataset]
name = "own"
version = "1"
title = "Own"
licence = "none"
url = "none"
citation = "none"

[modalities.a]
title = "A"
kind = "image"
folder = "A"
path = "{name}/{name}_{band}.tif"
key = "{name}"
any_size = SIZE
bands = [BANDS]

[modalities.a.fields]
name = 'p\\d+'
"""


def own_store(root: Path, records: Sequence[dict[str, Array]], *, any_size: bool = False,
              layout: Layout = Layout.native) -> Store:  # fmt: skip
    """A store of some patches: for each a dictionary of bands, arrays (height, width)."""
    for index, record in enumerate(records):
        (root / "raw" / "A" / f"p{index}").mkdir(parents=True)
        for band, pixels in record.items():
            geotiff(root / "raw" / "A" / f"p{index}" / f"p{index}_{band}.tif", pixels[None])
    bands = ", ".join(
        f'{{ name = "{name}", gsd = 10, dtype = "{a.dtype.name}", shape = {list(a.shape)} }}'
        for name, a in records[0].items()
    )
    text = TOML.replace("SIZE", str(any_size).lower()).replace("BANDS", bands)
    (root / "own.toml").write_text(text)
    convert(
        str(root / "own.toml"), root / "raw", root / "store", workers=0, layout=layout, nan=Nan.keep
    )
    return open_store(root / "store")


@pytest.fixture(scope="session")
def truth(tree: Path) -> dict[tuple[str, str], dict[str, Array]]:
    """(modality, band) -> patch -> pixels, as GDAL reads the source."""
    found: dict[tuple[str, str], dict[str, Array]] = {}
    for modality in ("s2", "s1"):
        for name in patches(tree, modality):
            for band, path in band_files(tree, modality, name).items():
                found.setdefault((modality, band), {})[name] = first_band(path)
    return found


@pytest.fixture
def copied(stacked: Path, tmp_path: Path) -> Path:
    """A store that may be written into."""
    return Path(shutil.copytree(stacked, tmp_path / "store"))


def check_exact(band: BandStatistics, pixels: Array) -> None:
    assert band.pixels == pixels.size
    assert band.mean == int(pixels.sum(dtype=np.int64)) / pixels.size
    assert band.std == pytest.approx(pixels.std(dtype=np.float64), rel=1e-12)
    assert (band.minimum, band.maximum) == (pixels.min(), pixels.max())
    oracle = np.percentile(pixels.astype(np.float64), PERCENTILES)
    assert band.percentiles == pytest.approx(oracle, rel=1e-13, abs=1e-13)


def check_near(band: BandStatistics, pixels: Array) -> None:
    finite = pixels[np.isfinite(pixels)].astype(np.float64)
    assert (band.pixels, band.nan) == (pixels.size, pixels.size - finite.size)
    assert band.mean == pytest.approx(finite.mean(), rel=1e-12)
    assert band.std == pytest.approx(finite.std(), rel=1e-10)
    assert (band.minimum, band.maximum) == (finite.min(), finite.max())
    check_percentiles(band, finite)


def check_percentiles(band: BandStatistics, finite: Array) -> None:
    oracle = np.percentile(finite, PERCENTILES)
    sides = [np.abs(np.percentile(finite, PERCENTILES, method=m)) for m in ("lower", "higher")]
    allowed = np.maximum(*sides) * BIN + 1e-40
    assert (np.abs(np.array(band.percentiles) - oracle) <= allowed).all()


@pytest.mark.parametrize("split", [None, "train", "val", "test"])
def test_statistics_are_those_of_the_source(
    store: Store, truth: Any, rows: list[Row], split: str | None
) -> None:
    name = "validation" if split == "val" else split
    chosen = [
        row for row in rows if split is None or (row["split"] == name and not is_flagged(row))
    ]
    assert chosen
    optical, radar = compute(store.path, split, workers=0)
    assert (optical.modality, radar.modality) == ("s2", "s1")
    assert optical.split == radar.split == (name or "all")
    assert optical.patches == radar.patches == len(chosen)
    assert optical.band_names == store.manifest.modalities["s2"].band_names
    for band in optical.bands:
        pixels = np.stack([truth["s2", band.name][row["patch_id"]] for row in chosen])
        assert pixels[0].size == S2_PIXELS.get(band.name, pixels[0].size)
        check_exact(band, pixels)
        assert band.nan == 0
    for band in radar.bands:
        check_near(band, np.stack([truth["s1", band.name][row["s1_name"]] for row in chosen]))


def test_both_layouts_give_the_same_numbers(stacked: Path, native: Path) -> None:
    assert compute(stacked, workers=0) == compute(native, workers=0)


def test_interpolated_bands_are_counted_as_stored(tree: Path, tmp_path: Path) -> None:
    made(tree, tmp_path / "store", resampling="bilinear", modalities=("s2",))
    store = open_store(tmp_path / "store")
    (optical,) = compute(store.path, workers=0)
    batch = store.read_batch(store.keys("s2"))
    for index, band in enumerate(optical.bands):
        check_exact(band, batch[:, index])


class Steps:
    """Progress that keeps what it was told."""

    def __init__(self) -> None:
        self.total = 0
        self.done: list[int] = []

    def start(self, stage: str, total: int | None, unit: str = "records") -> None:
        assert total is not None
        self.total = total

    def advance(self, patches: int, nbytes: int, share: float | None = None) -> None:
        self.done.append(patches)


@pytest.mark.slow
def test_the_number_of_workers_changes_no_byte(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = compute(store.path, workers=0)
    monkeypatch.setattr(module, "CHUNK_RECORDS", 4)
    monkeypatch.setattr(module, "BATCH_RECORDS", 3)
    written = set()
    for workers in (0, 1, 2):
        steps = Steps()
        found = compute(store.path, workers=workers, progress=steps)
        assert (steps.total, steps.done) == (30, [4, 4, 4, 3] * 2)
        entries = {(s.modality, s.split): s for s in found}
        written.add(to_bytes(entries, store.manifest))
    assert len(written) == 1
    assert found[0] == whole[0]  # integers do not depend on the chunks either
    assert found[1].mean(dtype=float) == pytest.approx(whole[1].mean(dtype=float), rel=1e-13)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float64"])
@pytest.mark.parametrize("layout", list(Layout))
def test_every_dtype_is_counted(tmp_path: Path, dtype: str, layout: Layout) -> None:
    random = np.random.default_rng(3)
    low, high = (0, 256) if dtype == "uint8" else (-30_000, 30_000)
    records = [
        {name: random.integers(low, high, (size, size)).astype(dtype)
         for name, size in (("fine", 12), ("coarse", 4))} for _ in range(5)
    ]  # fmt: skip
    store = own_store(tmp_path, records, layout=layout)
    (found,) = compute(store.path, workers=0)
    check = check_exact if dtype in ("uint8", "int16") else check_near
    for band in found.bands:
        check(band, np.stack([record[band.name] for record in records]))


def test_records_of_any_size_are_counted(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    records = [{"x": random.integers(0, 9_999, (h, w), np.uint16)} for h, w in ((8, 8), (5, 9))]
    (found,) = compute(own_store(tmp_path, records, any_size=True).path, workers=0)
    check_exact(found.bands[0], np.concatenate([record["x"].ravel() for record in records]))


def test_pixels_without_a_value_are_left_out(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    records = [
        {"some": random.normal(-11, 3, (8, 8)).astype(np.float32),
         "none": np.full((8, 8), np.nan, np.float32), "same": np.full((8, 8), 0.1, np.float32)}
        for _ in range(3)
    ]  # fmt: skip
    records[1]["some"][2, 3:6] = np.nan, np.inf, -np.inf
    store = own_store(tmp_path, records)
    (found,) = compute(store.path, workers=0)
    some, none, same = found.bands
    check_near(some, np.stack([record["some"] for record in records]))
    assert some.nan == 3
    assert (none.pixels, none.nan) == (192, 192)
    assert all(map(math.isnan, (none.mean, none.std, none.minimum, none.maximum)))
    assert all(map(math.isnan, none.percentiles))
    value = float(np.float32(0.1))
    assert (same.mean, same.std, same.minimum, same.maximum) == (value, 0, value, value)
    assert set(same.percentiles) == {value}
    save_statistics(store.path, [found], store.path / "statistics.json")
    json.loads((store.path / "statistics.json").read_text(), parse_constant=pytest.fail)
    back = read_statistics(store.path, store.manifest, "a")
    assert repr(back) == repr(found)


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(floats, min_size=1), st.lists(floats, min_size=1))
def test_moments_of_two_parts_are_those_of_the_whole(one: list[float], two: list[float]) -> None:
    whole = np.array(one + two)
    merged = moments_of(np.array(one)).merged(moments_of(np.array(two)))
    size = float(np.abs(whole).max())
    assert merged.values == len(whole)
    assert merged.mean == pytest.approx(whole.mean(), abs=1e-14 * size, rel=1e-12)
    squares = float(((whole - whole.mean()) ** 2).sum())
    assert merged.m2 == pytest.approx(squares, abs=1e-13 * size * size, rel=1e-10)


def test_nothing_merges_with_anything() -> None:
    some = Moments(3, 2.0, 5.0)
    assert some.merged(Moments()) == Moments().merged(some) == some


@given(floats, floats)
def test_bins_of_floats_are_in_their_order(a: float, b: float) -> None:
    low, high = sorted((a, b), key=lambda value: (value, math.copysign(1, value)))
    first, second = float_bins(np.array([low, high], np.float32))
    assert first <= second
    least, greatest = bin_edges(np.array([first]))
    assert least[0] <= low <= greatest[0]
    assert greatest[0] - least[0] <= abs(low) * BIN + 1e-40


@given(st.lists(floats, min_size=1, max_size=200))
def test_percentiles_of_floats_are_near(values: list[float]) -> None:
    pixels = np.array(values, np.float32)
    counter = BandCounter.of(pixels.dtype)
    counter.add(pixels)
    band = counter.result("x")
    assert (band.minimum, band.maximum) == (pixels.min(), pixels.max())
    assert list(band.percentiles) == sorted(band.percentiles)
    check_percentiles(band, pixels.astype(np.float64))


def test_a_band_that_does_not_vary_has_no_deviation() -> None:
    pixels = np.full(3, 0.1)
    assert moments_of(pixels).m2 > 0  # 0.1 + 0.1 + 0.1 is not 0.3
    counter = BandCounter.of(pixels.dtype)
    counter.add(pixels)
    assert (counter.result("x").mean, counter.result("x").std) == (0.1, 0)


@given(st.lists(st.integers(-32_768, 32_767), min_size=1), st.sampled_from(["int16", "uint16"]))
def test_integers_are_exact(values: list[int], dtype: str) -> None:
    pixels = np.array(values, np.int16).view(dtype)
    halves = [BandCounter.of(pixels.dtype) for _ in range(2)]
    halves[0].add(pixels[::2])
    halves[1].add(pixels[1::2])
    halves[0].merge(halves[1].counted())
    check_exact(halves[0].result("x"), pixels)


def test_the_command_prints_and_keeps_statistics(copied: Path, patchpress: Command) -> None:
    ended = patchpress("stats", copied, "--split", "val", "--modality", "s2", "--workers", 0)
    assert (ended.code, ended.err) == (0, "")
    assert f"{copied}: s2, split validation, " in ended.out
    store = open_store(copied)
    kept = read_statistics(copied, store.manifest, "s2", "validation")
    assert [kept] == compute(copied, "validation", ["s2"], workers=0)
    for band in kept.bands:
        (line,) = [x.split() for x in ended.out.splitlines() if x.split()[:1] == [band.name]]
        assert line[1:3] == [f"{band.mean:.6g}", f"{band.std:.6g}"]
        assert line[-2:] == [f"{band.pixels:,}", "0"]
    assert "VV" not in ended.out
    assert patchpress("stats", copied, "--workers", 0).code == 0
    assert read_statistics(copied, store.manifest, "s2", "val") == kept
    assert open_store(copied).statistics("s2", "val") == kept
    assert read_statistics(copied, store.manifest, "s1").split == "all"
    assert list(read_statistics(copied, store.manifest, "s2").band_names) == [*kept.band_names]


def entries(file: Path, modality: str = "s2") -> list[str]:
    return list(json.loads(file.read_text())["statistics"][modality])


def test_selections_are_kept_apart(copied: Path, patchpress: Command, rows: list[Row]) -> None:
    """Each selection of rows has its own entry in the file, and the same arguments find it."""
    file = copied / "statistics.json"
    cases: list[tuple[list[str], str, dict[str, Any]]] = [
        (["--split", "train"], "train", {"split": "train"}),
        (["--split", "train", "--flagged", "exclude"], "train", {"split": ["train"]}),
        (["--split", "train", "--flagged", "include"], "train with flagged",
         {"split": "train", "flagged": "include"}),
        (["--split", "train", "--flagged", "only"], "train flagged only",
         {"split": "train", "flagged": "only"}),
        (["--split", "val", "--split", "train"], "train+validation",
         {"split": ("val", "train")}),
        (["--flagged", "exclude"], "all without flagged", {"flagged": "exclude"}),
        ([], "all", {}),
        (["--split", "all"], "all", {}),
    ]  # fmt: skip
    for words, name, options in cases:
        ended = patchpress("stats", copied, "--modality", "s2", "--workers", 0, *words)
        assert (ended.code, ended.err) == (0, ""), words
        found = open_store(copied).statistics("s2", **options)
        chosen = open_store(copied).table(**options)
        assert (found.split, found.patches) == (name, len(chosen))
        truth = compute(copied, Samples(str(copied), target=None, **options), ["s2"], workers=0)
        assert [found.bands] == [one.bands for one in truth]
    known = ["train", "all", "all without flagged"]
    assert entries(file) == [*known, "train flagged only", "train with flagged", "train+validation"]


def test_rows_of_any_choice_have_statistics(copied: Path, patchpress: Command) -> None:
    words = ["--split", "train", "--where", "country=Finland", "--where", "country=Austria",
             "--where", "contains_seasonal_snow=false"]  # fmt: skip
    ended = patchpress("stats", copied, "--modality", "s2", "--workers", 0, *words)
    assert (ended.code, ended.err) == (0, "")
    where = {"country": ["Finland", "Austria"], "contains_seasonal_snow": [False]}
    store = open_store(copied)
    samples = Samples(store, "train", where=where)
    found = store.statistics("s2", "train", where=where)
    assert found == store.statistics("s2", samples)
    assert (found.split[:5], found.patches) == ("rows ", len(samples))
    assert f"s2, {found.split}, {found.patches} patches" in ended.out
    assert [found] == compute(copied, samples, ["s2"], workers=0)
    assert entries(copied / "statistics.json") == [found.split]
    # Other rows, equally many, have another entry. All rows of a split have the entry of the split.
    with pytest.raises(StatisticsMissing, match="no statistics of s2 rows [0-9a-f]{16}, only of"):
        store.statistics("s2", samples.subset([0]))
    with pytest.raises(StatisticsMissing, match="no statistics of s2 test, only of s2 rows"):
        store.statistics("s2", Samples(store, "test"))
    assert patchpress("stats", copied, "--workers", 0, "--split", "test").code == 0
    assert store.statistics("s2", Samples(store, "test")) == store.statistics("s2", "test")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--where", "country"], "--where country must be COLUMN=VALUE"),
        (["--where", "county=Finland"], "no column 'county'; nearest is 'country'"),
        (["--where", "contains_seasonal_snow=maybe"], "'maybe' is no bool"),
        (["--where", "epsg=north"], "'north' is no int32"),
        (["--where", "labels=Pasture"], "'Pasture' is no class of column 'labels'"),
        (["--split", "validation", "--flagged", "only"], "no row of validation is flagged"),
    ],
)
def test_a_selection_that_cannot_be_is_one_sentence(
    stacked: Path, patchpress: Command, words: list[str], said: str
) -> None:
    ended = patchpress("stats", stacked, "--workers", 0, *words)
    assert ended.code != 0
    assert said in ended.sentence


def test_the_order_of_the_commands_does_not_show(stacked: Path, tmp_path: Path) -> None:
    manifest = open_store(stacked).manifest
    splits = ("train", None, "test")
    for file, order in (("a", splits), ("b", splits[::-1])):
        for split in order:
            save_statistics(stacked, compute(stacked, split, workers=0), tmp_path / file)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_statistics(tmp_path / "a", manifest, "s1", "test").split == "test"


def test_a_store_that_cannot_be_written_still_prints(
    copied: Path, tmp_path: Path, patchpress: Command, monkeypatch: pytest.MonkeyPatch
) -> None:

    def read_only(path: Path, *parts: bytes) -> None:
        if path.parent == copied:
            raise OSError(30, "Read-only file system")
        write_whole(path, *parts)

    monkeypatch.setattr(statistics_file, "write_whole", read_only)
    ended = patchpress("stats", copied, "--modality", "s1", "--workers", 0)
    assert ended.code == 2
    assert "VV" in ended.out
    assert "--out FILE" in ended.sentence
    assert str(copied / "statistics.json") in ended.sentence
    ended = patchpress("stats", copied, "--workers", 0, "--out", tmp_path / "s.json")
    assert (ended.code, ended.err) == (0, "")
    assert not (copied / "statistics.json").exists()
    manifest = open_store(copied).manifest
    assert read_statistics(tmp_path / "s.json", manifest, "s2").patches == 15


REFUSED: dict[str, tuple[Sequence[object], int, str]] = {
    "codes": (("--modality", "map"), 2, "'map'"),
    "an unknown modality": (("--modality", "s3"), 1, "'s3'"),
    "an unknown split": (("--split", "winter"), 1, "train"),
    "workers": (("--workers", -1), 2, "-1"),
    "a file of something else": (("--out", __file__), 2, "test_statistics.py"),
    "a folder": (("--out", Path(__file__).parent), 2, "tests"),
    "a folder that is not there": (("--out", "/nowhere/s.json"), 2, "/nowhere/s.json"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_one_sentence(stacked: Path, patchpress: Command, case: str) -> None:
    words, code, named = REFUSED[case]
    ended = patchpress("stats", stacked, *words, *([] if case == "workers" else ["--workers", 0]))
    assert ended.code == code
    assert named in ended.sentence
    assert (ended.out == "") == (case != "a folder that is not there")


def test_a_split_of_a_store_without_splits_is_one_sentence(
    tree: Path, tmp_path: Path, patchpress: Command
) -> None:
    made(tree, tmp_path / "store", split="none", limit=2)
    ended = patchpress("stats", tmp_path / "store", "--split", "train", "--workers", 0)
    assert (ended.code, ended.out) == (1, "")
    assert "without splits" in ended.sentence


def test_a_split_without_a_record_is_refused(copied: Path, patchpress: Command) -> None:
    content = json.loads((copied / "manifest.json").read_text())
    for splits in (content["splits"], content["flagged"]["splits"]):
        splits.get("test", {})["s1"] = 0
    write_sealed(copied / "manifest.json", content)
    ended = patchpress("stats", copied, "--split", "test", "--workers", 0)
    assert (ended.code, ended.out) == (1, "")
    assert "s1" in ended.sentence
    assert "'test'" in ended.sentence


def test_missing_statistics_name_the_command(copied: Path) -> None:
    manifest = open_store(copied).manifest
    with pytest.raises(StatisticsMissing, match="patchpress stats .*store --split train`.*test"):
        read_statistics(copied, manifest, "s2", "train")
    save_statistics(copied, compute(copied, "train", ["s1"], workers=0), copied / "statistics.json")
    with pytest.raises(LookupError, match="only of s1 train: run `.* --split train --modality s2`"):
        read_statistics(copied, manifest, "s2", "train")
    with pytest.raises(StatisticsMissing, match="--out .*none.json`"):
        read_statistics(copied.parent / "none.json", manifest, "s2")
    with pytest.raises(SelectionEmpty, match="'holdout'"):
        read_statistics(copied, manifest, "s2", "holdout")
    with pytest.raises(SelectionEmpty, match="'s3'"):
        read_statistics(copied, manifest, "s3")


def test_statistics_of_other_data_are_refused_and_replaced(copied: Path) -> None:
    manifest = open_store(copied).manifest
    file = copied / "statistics.json"
    save_statistics(copied, compute(copied, "train", ["s1"], workers=0), file)
    other = tuple(replace(shard, digest="sha256:0") for shard in manifest.shards)
    for changed in (replace(manifest, shards=other), replace(manifest, metadata_digest="")):
        with pytest.raises(StatisticsStale, match="run `patchpress stats"):
            read_statistics(copied, changed, "s1", "train")
    content = json.loads(file.read_text())
    write_sealed(file, content | {"metadata_digest": "sha256:0"})
    save_statistics(copied, compute(copied, None, ["s1"], workers=0), file)
    assert list(json.loads(file.read_text())["statistics"]["s1"]) == ["all"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "patchpress-statistics"}'])
def test_a_damaged_file_is_refused(copied: Path, patchpress: Command, text: str) -> None:
    (copied / "statistics.json").write_text(text)
    with pytest.raises(StoreDamaged, match="patchpress stats"):
        read_statistics(copied, open_store(copied).manifest, "s2")
    ended = patchpress("stats", copied, "--workers", 0)
    assert (ended.code, ended.out) == (2, "")
    assert "remove it" in ended.sentence


@pytest.fixture(scope="session")
def optical(stores: dict[tuple[str, str], Path]) -> Statistics:
    return compute(stores["stacked", "none"], None, ["s2"], workers=0)[0]


def test_arrays_are_of_the_bands_asked_for(optical: Statistics) -> None:
    by_name = {band.name: band for band in optical.bands}
    names = ["B04", "B03", "B8A"]
    assert optical.pick(names).band_names == tuple(names)
    for method, number in (("mean", "mean"), ("std", "std"), ("minimum", "minimum")):
        array = getattr(optical, method)(names)
        assert array.dtype == np.float32
        expected = np.array([getattr(by_name[name], number) for name in names])
        np.testing.assert_array_equal(array, expected.astype(np.float32))
        np.testing.assert_array_equal(getattr(optical, method)(names, float), expected)
    median = [by_name[name].percentiles[4] for name in names]
    np.testing.assert_array_equal(optical.percentile(50, names, float), median)
    assert optical.maximum().shape == (12,)
    for names in (["B04", "B10"], []):
        with pytest.raises(BandMissing, match="B01, B02"):
            optical.mean(names)
    with pytest.raises(OptionError, match="51.*50, 75"):
        optical.percentile(51)


def test_modalities_join(stacked: Path, optical: Statistics) -> None:
    (radar,) = compute(stacked, None, ["s1"], workers=0)
    both = joined(radar, optical)
    assert both.band_names == ("VV", "VH", *optical.band_names)
    np.testing.assert_array_equal(both.std(), np.concatenate([radar.std(), optical.std()]))
    with pytest.raises(OptionError, match="all, train"):
        joined(radar, replace(optical, split="train"))
    with pytest.raises(OptionError, match="none"):
        joined()
    with pytest.raises(BandMissing, match="'VV' twice"):
        joined(radar, radar).pick(["VV"])


def test_statistics_pickle(optical: Statistics) -> None:
    normalize(np.zeros((12, 2, 2), np.float32), optical)
    back = pickle.loads(pickle.dumps(optical))  # noqa: S301 - our own bytes
    assert (back, hash(back), back._constants) == (optical, hash(optical), {})


def band(name: str, mean: float, std: float, low: float, high: float) -> BandStatistics:
    values = tuple(np.linspace(low, high, len(PERCENTILES)).tolist())
    return BandStatistics(name, 100, 0, mean, std, low - 1, high + 1, values)


TWO = Statistics("x", "all", 1, (band("a", 100, 20, 60, 140), band("constant", 7, 0, 7, 7)))


@pytest.fixture(params=[(2, 3, 5), (4, 2, 3, 5)], ids=["patch", "batch"])
def values(request: pytest.FixtureRequest) -> Array:
    random = np.random.default_rng(8)
    drawn = random.integers(40, 170, request.param)
    drawn[..., 1, :, :] = 7
    return np.asarray(drawn, np.uint16)


def expected(values: Array, how: str, low: int = 1, high: int = 99) -> Array:
    if how == "standard":
        shift, scale = np.array([100, 7]), np.array([20, 1])
    else:
        at = [TWO.bands[0].percentiles[PERCENTILES.index(p)] for p in (low, high)]
        shift, scale = np.array([at[0], 7]), np.array([at[1] - at[0], 1])
    result: Array = (values.astype(np.float64) - shift[:, None, None]) / scale[:, None, None]
    return result if how == "standard" else np.asarray(np.clip(result, 0, 1))


HOW = [("standard", 1, 99), ("range", 1, 99), ("range", 2, 75)]
DTYPES = ["uint8", "uint16", "int16", "int32", "float32", "float64"]


@pytest.mark.parametrize("way", HOW)
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_are_normalized(values: Array, dtype: str, way: tuple[str, int, int]) -> None:
    before = values.astype(dtype)
    batch = before.copy()
    how, low, high = way
    result = normalize(batch, TWO, how=how, low=low, high=high)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected(values, *way), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(batch, before)
    out = np.full(values.shape, 9, np.float32)
    assert normalize(batch, TWO, out=out, how=how, low=low, high=high) is out
    np.testing.assert_array_equal(out, result)


def test_an_array_is_normalized_in_its_place(values: Array) -> None:
    batch = values.astype(np.float32)
    assert normalize(batch, TWO, out=batch) is batch
    np.testing.assert_allclose(batch, expected(values, "standard"), rtol=1e-6)
    # If `out` shares memory with the batch, no pixel may be read after it was written.
    buffer = np.zeros((5, 2, 3, 5), np.float32)
    buffer[:4] = values
    normalize(buffer[:4], TWO, out=buffer[1:])
    np.testing.assert_allclose(
        buffer[1:], np.broadcast_to(expected(values, "standard"), (4, 2, 3, 5)), rtol=1e-6
    )


def test_nan_stays_nan() -> None:
    batch = np.full((2, 1, 1), np.nan, np.float32)
    assert np.isnan(normalize(batch, TWO)).all()
    assert np.isnan(normalize(batch, TWO, how="range")).all()


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 3, 4, 4), (2, 4), (1, 1, 3, 4, 4)])
def test_a_batch_of_other_bands_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BufferUnfit, match=rf"\({shape[0]}, .*of 2 bands"):
        normalize(np.zeros(shape, np.uint16), TWO)


def test_what_cannot_be_normalized_is_refused() -> None:
    batch = np.zeros((2, 4, 4), np.uint16)
    with pytest.raises(BufferUnfit, match="list"):
        normalize([1], TWO)
    for out in (np.zeros((2, 4, 5), np.float32), np.zeros((2, 4, 4)), [1]):
        with pytest.raises(BufferUnfit, match=r"float32 \(2, 4, 4\)"):
            normalize(batch, TWO, out=out)
    with pytest.raises(OptionError, match="'minmax'"):
        normalize(batch, TWO, how="minmax")
    with pytest.raises(OptionError, match="percentile 3"):
        normalize(batch, TWO, how="range", low=3)
    with pytest.raises(OptionError, match="75 does not lie below percentile 25"):
        normalize(batch, TWO, how="range", low=75, high=25)


@pytest.mark.parametrize("way", HOW)
@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_are_normalized(values: Array, dtype: str, way: tuple[str, int, int]) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    how, low, high = way
    batch = torch.from_numpy(values.astype(dtype))
    before = batch.clone()
    result = normalize(batch, TWO, how=how, low=low, high=high)
    assert result.dtype == torch.float32
    np.testing.assert_array_equal(
        result.numpy(), normalize(values.astype(dtype), TWO, how=how, low=low, high=high)
    )
    assert torch.equal(batch, before)
    out = torch.full(batch.shape, 9.0)
    assert normalize(batch, TWO, out=out, how=how, low=low, high=high) is out
    assert torch.equal(out, result)
    if dtype == "float32":
        assert normalize(batch, TWO, out=batch, how=how, low=low, high=high) is batch
        assert torch.equal(batch, result)


def test_unfit_tensors_are_refused() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    batch = torch.zeros((2, 4, 4), dtype=torch.uint16)
    with pytest.raises(BufferUnfit, match="3.*of 2 bands"):
        normalize(torch.zeros((3, 4, 4)), TWO)
    unfit = [torch.zeros((2, 4, 5)), torch.zeros((2, 4, 4), dtype=torch.float64)]
    for out in (*unfit, torch.zeros((2, 4, 4), device="meta"), np.zeros((2, 4, 4), np.float32)):
        with pytest.raises(BufferUnfit, match=r"float32 \(2, 4, 4\)"):
            normalize(batch, TWO, out=out)


def test_constants_go_to_a_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    moved: list[Any] = []
    from_numpy = torch.from_numpy

    def move(array: Array) -> Any:
        moved.append(array)
        return from_numpy(array)

    monkeypatch.setattr(torch, "from_numpy", move)
    fresh = replace(TWO, patches=2)
    for _ in range(3):
        normalize(torch.zeros((2, 4, 4)), fresh)
    assert len(moved) == 2
    # Constants are kept for each device; the device `meta` of torch is there without a GPU, too.
    assert normalize(torch.zeros((2, 4, 4), device="meta"), fresh).device.type == "meta"
    assert len(moved) == 4


def test_reading_statistics_imports_neither_torch_nor_pyarrow() -> None:
    code = (
        "import patchpress.readers.statistics_file, sys; "
        "print(*{'torch', 'pyarrow', 'typer'} & set(sys.modules))"
    )
    ended = python("-c", code)
    assert (ended.code, ended.out.strip()) == (0, ""), sys.path
