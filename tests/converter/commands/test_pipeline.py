"""Whole conversions: the same bytes for any number of workers, and what each option does."""

import json
from pathlib import Path

import pytest

from patchpress import ConvertOptions, StoreUnfinished, convert, open_store
from patchpress.readers.errors import OptionError, PatchError, SourceError
from tests.support.helpers import band_files, command, folder_bytes, made, patches, tiny_dataset

pytestmark = pytest.mark.slow

FILES = ("data.mdb", "metadata.parquet", "manifest.json", "extents.safetensors")


def bytes_of(store: Path) -> dict[str, bytes]:
    return {name: (store / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("kind", [("stacked", "none"), ("native", "zstd")], ids="-".join)
def test_the_number_of_workers_does_not_change_a_byte(
    tree: Path, tmp_path: Path, stores: dict[tuple[str, str], Path], kind: tuple[str, str]
) -> None:
    expected = bytes_of(stores[kind])
    for workers in (1, 2, 4):
        store = tmp_path / str(workers)
        options = ("--layout", kind[0], "--compression", kind[1], "--workers", workers)
        ended = command("convert", "bigearthnet-v2", tree, store, *options)
        assert (ended.code, ended.err) == (0, "")
        assert bytes_of(store) == expected


def test_an_aborted_run_does_not_change_a_byte(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "whole")
    path = band_files(raw, "s2", patches(raw, "s2")[-1])["B12"]
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(PatchError):
        made(raw, tmp_path / "store")
    assert (tmp_path / "store" / "data.mdb").exists()
    with pytest.raises(StoreUnfinished, match="convert"):
        open_store(tmp_path / "store")
    path.write_bytes(data)
    made(raw, tmp_path / "store")
    assert bytes_of(tmp_path / "store") == bytes_of(tmp_path / "whole")
    assert set(folder_bytes(tmp_path / "store")) <= {*FILES, "lock.mdb"}


def test_where_source_and_store_lie_does_not_change_a_byte(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "one")
    (tmp_path / "far").mkdir()
    moved = raw.rename(tmp_path / "far" / "source")
    made(moved, tmp_path / "far" / "other")
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "far" / "other")
    assert str(tmp_path).encode() not in (tmp_path / "one" / "manifest.json").read_bytes()


def test_overwriting_gives_the_same_store(raw: Path, tmp_path: Path) -> None:
    made(raw, tmp_path / "store")
    before = bytes_of(tmp_path / "store")
    made(raw, tmp_path / "store", layout="native", overwrite=True)
    assert bytes_of(tmp_path / "store") != before
    made(raw, tmp_path / "store", overwrite=True)
    assert bytes_of(tmp_path / "store") == before


@pytest.mark.parametrize("limit", [1, 3, 99])
def test_a_limit_takes_patches_that_are_spread_and_their_partners(
    tree: Path, tmp_path: Path, limit: int
) -> None:
    report = made(tree, tmp_path / "store", limit=limit)
    count = min(limit, 15)
    assert f"at most {limit} patch" in report.text()
    assert "spread over the source" in report.text()
    assert report.records == {"s2": count, "s1": count, "map": count}
    assert (report.rows, report.without_partner, report.without_row) == (count, {}, {})
    store = open_store(tmp_path / "store")
    names = patches(tree, "s2")
    assert store.keys("s2") == [names[(2 * at + 1) * 15 // (2 * count)] for at in range(count)]
    assert store.manifest.options["limit"] == limit


def test_a_limit_without_tables_takes_as_many_of_each(raw: Path, tmp_path: Path) -> None:
    for path in raw.glob("*.parquet"):
        path.unlink()
    assert made(raw, tmp_path / "store", limit=2).records == {"s2": 2, "s1": 2, "map": 2}


def spoil(raw: Path, index: int) -> str:
    name = patches(raw, "s2")[index]
    path = band_files(raw, "s2", name)["B03"]
    path.write_bytes(path.read_bytes()[:-5])
    return name


def test_errors_stop_by_default(raw: Path, tmp_path: Path) -> None:
    name = spoil(raw, 1)
    with pytest.raises(PatchError, match=name):
        made(raw, tmp_path / "store")
    assert not (tmp_path / "store" / "manifest.json").exists()
    assert not (tmp_path / "store.report.json").exists()


def test_skipped_patches_are_counted_and_reported_beside_the_store(
    raw: Path, tmp_path: Path
) -> None:
    names = [spoil(raw, 1), spoil(raw, 3)]
    report = made(raw, tmp_path / "store", on_error="skip")
    assert report.exit_code == 1
    assert [name in line for name, line in zip(names, report.skipped, strict=True)] == [True] * 2
    assert "left out because of errors: 2" in report.text()
    written = json.loads((tmp_path / "store.report.json").read_text())
    assert written["skipped"] == report.skipped
    store = open_store(tmp_path / "store")
    assert len(store.keys("s2")) == 3
    assert written["without_partner"]["s1"]["s2"] == report.without_partner["s1"]["s2"]
    assert len(report.without_partner["s1"]["s2"]) == 2


def test_skipping_does_not_depend_on_workers(raw: Path, tmp_path: Path) -> None:
    spoil(raw, 0)
    made(raw, tmp_path / "one", on_error="skip")
    ended = command(
        *("convert", "bigearthnet-v2", raw, tmp_path / "two", "--workers", 2),
        *("--on-error", "skip"),
    )
    assert ended.code == 1
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_a_source_of_bad_patches_only_is_refused(raw: Path, tmp_path: Path) -> None:
    for path in raw.rglob("*.tif"):
        path.write_bytes(b"no TIFF")
    with pytest.raises(SourceError, match="no patch could be converted"):
        made(raw, tmp_path / "store", on_error="skip")
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_a_clean_run_takes_an_old_report_away(raw: Path, tmp_path: Path) -> None:
    name = patches(raw, "s2")[1]
    path = band_files(raw, "s2", name)["B03"]
    data = path.read_bytes()
    path.write_bytes(b"")
    path.write_bytes(data[:-5])
    made(raw, tmp_path / "store", on_error="skip")
    path.write_bytes(data)
    made(raw, tmp_path / "store", overwrite=True)
    assert not (tmp_path / "store.report.json").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_patch_name_twice_is_refused(tmp_path: Path, workers: int) -> None:
    description = tiny_dataset(tmp_path, {"g": ["p1", "p2"], "h": ["p2", "p3"]})
    arguments = ("convert", description, tmp_path / "raw", tmp_path / "store")
    ended = command(*arguments, "--workers", workers)
    assert ended.code == 1
    folder = tmp_path / "raw" / "A"
    said = f"the patch p2 is there twice, in {folder}/g/p2 and in {folder}/h/p2: remove one"
    assert ended.sentence.startswith(said)
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_a_patch_name_twice_is_stored_once_when_skipped(tmp_path: Path) -> None:
    description = tiny_dataset(tmp_path, {"g": ["p1", "p2"], "h": ["p2", "p3"]})
    report = convert(
        str(description), tmp_path / "raw", tmp_path / "store", workers=0, on_error="skip"
    )
    assert len(report.skipped) == 1
    assert open_store(tmp_path / "store").keys() == ["p1", "p2", "p3"]


def test_folders_out_of_key_order_are_sorted(tmp_path: Path) -> None:
    description = tiny_dataset(tmp_path, {"a": ["p9", "p5"], "b": ["p1", "p7"]})
    report = convert(str(description), tmp_path / "raw", tmp_path / "store", workers=0)
    assert report.skipped == []
    store = open_store(tmp_path / "store")
    assert store.keys() == ["p1", "p5", "p7", "p9"]
    assert [store.read(key).shape for key in store] == [(2, 12, 12)] * 4


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"layout": "flat"}, "layout 'flat'.*stacked, native"),
        ({"resampling": "lanczos"}, "resampling 'lanczos'"),
        ({"compression": "gzip"}, "compression 'gzip'"),
        ({"on_error": "ignore"}, "on-error 'ignore'"),
        ({"workers": -1}, "workers must be 0 or more"),
        ({"limit": 0}, "limit must be 1 or more"),
        ({"level": 23}, "level must be 1 to 22"),
        ({"layout": "native", "resampling": "cubic"}, "no effect on the native layout"),
    ],
)
def test_options_are_checked_at_once(options: dict[str, object], named: str) -> None:
    with pytest.raises(OptionError, match=named):
        ConvertOptions(**options)  # type: ignore[arg-type]
