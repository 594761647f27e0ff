"""What is written lies apart from the source, whatever names lead to it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from patchpress import convert, dry_run, index, plot, split_table, stats
from patchpress.readers.errors import TargetError
from tests.support.helpers import DATASET, folder_bytes, made

S2 = "BigEarthNet-S2"


@pytest.mark.parametrize("call", [convert, dry_run])
@pytest.mark.parametrize("store", ["x", f"{S2}/x", "x/y/z", f"{S2}/../x", "link/x", "", "loop/x"])
def test_a_store_inside_the_source_is_refused(
    raw: Path, tmp_path: Path, call: Callable[..., object], store: str
) -> None:
    (tmp_path / "link").symlink_to(raw / S2)
    (raw / "loop").symlink_to(raw)
    target = tmp_path / store if store.startswith("link") else raw / store
    before = folder_bytes(raw / S2)
    where = "lies inside" if store else "is"
    with pytest.raises(TargetError, match=f"{where} the source .* choose a place outside"):
        call(DATASET, raw, target, workers=0)
    assert folder_bytes(raw / S2) == before
    assert sorted(path.name for path in raw.iterdir() if path.name.startswith("x")) == []


def test_a_source_behind_a_link_is_the_same(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "source").symlink_to(raw)
    with pytest.raises(TargetError, match="lies inside the source"):
        made(tmp_path / "source", raw / "store")


def test_a_store_inside_a_folder_that_lies_elsewhere_is_refused(raw: Path, tmp_path: Path) -> None:
    elsewhere = (raw / S2).rename(tmp_path / "elsewhere")
    with pytest.raises(TargetError, match="lies inside the source .*elsewhere"):
        made(raw, elsewhere / "store", paths={"s2": elsewhere})
    made(raw, tmp_path / "store", paths={"s2": elsewhere})


def test_a_store_that_would_hold_the_source_is_refused(raw: Path) -> None:
    with pytest.raises(TargetError, match="the source .* lies inside .*another place"):
        made(raw, raw.parent)
    with pytest.raises(TargetError, match="the source .* lies inside .*another place"):
        made(raw, raw.parent, overwrite=True)


def test_a_store_beside_the_source_is_fine(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(raw.parent)
    made(Path(raw.name), Path("ben.store"), limit=1)
    monkeypatch.chdir(raw)
    made(Path("."), Path("../raw2"), limit=1)
    with pytest.raises(TargetError, match="ben.store lies inside the source"):
        made(Path("."), Path("ben.store"))


def test_no_command_writes_into_a_source(raw: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    made(raw, store, limit=1)
    out = raw / S2 / "out"
    before = sorted(os.listdir(raw / S2))
    said = r"would be written into .*, a source of bigearthnet-v2, which is only read"
    with pytest.raises(TargetError, match=said):
        stats(store, out=out.with_suffix(".json"))
    with pytest.raises(TargetError, match=said):
        plot(store, out=out.with_suffix(".png"))
    with pytest.raises(TargetError, match=said):
        split_table(raw / "metadata.parquet", raw / "new.parquet")
    (raw / "data.mdb").write_bytes((store / "data.mdb").read_bytes())
    with pytest.raises(TargetError, match=said):
        index(raw, DATASET)
    assert sorted(os.listdir(raw / S2)) == before
    stats(store, out=tmp_path / "out.json")


@pytest.mark.parametrize("name", ["s2.tar.zst", "EuroSAT.zip"])
def test_a_folder_for_downloads_takes_other_files(raw: Path, tmp_path: Path, name: str) -> None:
    """An archive that is called as a published one lies in it, or only seems to."""
    made(raw, tmp_path / "store", limit=1)
    (tmp_path / name).write_bytes(b"")
    stats(tmp_path / "store", out=tmp_path / "out.json")
    assert (tmp_path / "out.json").exists()
