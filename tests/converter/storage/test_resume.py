"""Conversions that are killed, or stop, and go on give the same bytes as if nothing happened."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from patchpress import convert, dry_run, open_store
from patchpress.converter.commands import convert as pipeline
from patchpress.converter.options import ConvertKeywords
from patchpress.converter.storage import resume
from patchpress.converter.storage.journal import Journal
from patchpress.readers.errors import PatchError, SourceError, TargetError
from patchpress.readers.format.manifest import JOURNAL, MARKER
from tests.support.helpers import band_files, made, patches, python, tiny_dataset
from tests.support.packing import packed
from tests.support.stopping import RUN, Killing, Stopped, commits_of, lines_of, stop_after
from tests.support.synthetic import make_tree
from tests.support.zipping import scattered, zipped

pytestmark = pytest.mark.slow

FILES = ("data.mdb", "metadata.parquet", "manifest.json", "extents.safetensors")


@pytest.fixture(autouse=True)
def _every_record_is_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    commits_of(1, monkeypatch)


def bytes_of(store: Path) -> dict[str, bytes]:
    assert set(os.listdir(store)) == set(FILES)
    return {name: (store / name).read_bytes() for name in FILES}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["folders", "archives", "zips"])
def test_kills_at_any_moment_change_nothing(
    tmp_path: Path, pytestconfig: pytest.Config, kind: str, workers: int
) -> None:
    """``--kills N`` says how many, for each kind of source and number of workers."""
    kills = int(pytestconfig.getoption("--kills"))
    make_tree(tmp_path / "raw", n=5 * kills, flagged=1)
    made(tmp_path / "raw", tmp_path / "whole")
    source = tmp_path / "raw"
    if kind == "archives":
        source = packed(tmp_path / "raw", tmp_path / "packed")
    elif kind == "zips":
        source = zipped(tmp_path / "raw", tmp_path / "zipped", "deflate", order=scattered)
    if kind != "folders":
        shutil.rmtree(tmp_path / "raw")
    # Zips are converted so fast that a busy machine might see their end before the last kill.
    pace = 0.02 if kind == "zips" else 0
    killing = Killing(source, tmp_path / "store", workers, workers, seconds_a_commit=pace)
    while killing.kills < kills and killing.start():
        assert not (tmp_path / "store" / "manifest.json").exists()
    assert killing.kills == kills
    words = ("convert", "bigearthnet-v2", source, tmp_path / "store")
    ended = python(RUN, 1, *words, "--workers", workers)
    assert (ended.code, ended.err) == (0, "")
    assert bytes_of(tmp_path / "store") == bytes_of(tmp_path / "whole")


@pytest.fixture
def stopped(raw: Path, tmp_path: Path) -> Path:
    """A store of `raw` whose conversion stopped when 7 of its 15 records were stored."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        stop_after(patch, 7)
        made(raw, tmp_path / "store")
    assert lines_of(tmp_path / "store") == 7
    return tmp_path / "store"


@pytest.fixture
def whole(raw: Path, tmp_path: Path) -> dict[str, bytes]:
    """The files of a store of `raw` whose conversion did not stop."""
    made(raw, tmp_path / "whole")
    return bytes_of(tmp_path / "whole")


@pytest.mark.parametrize("layout", ["stacked", "native"])
@pytest.mark.parametrize("compression", ["none", "zstd", "blosc2"])
@pytest.mark.parametrize("commit", [1, 200_000])
def test_a_stop_after_any_commit_changes_nothing(
    raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    layout: str,
    compression: str,
    commit: int,
) -> None:
    commits_of(commit, monkeypatch)
    options = {"layout": layout, "compression": compression}
    made(raw, tmp_path / "whole", **options)
    stops = 0
    for records in range(16):
        with pytest.MonkeyPatch.context() as patch:
            stop_after(patch, records)
            try:
                made(raw, tmp_path / "store", **options)
                break
            except Stopped:
                stops += 1
    assert stops > 3
    assert bytes_of(tmp_path / "store") == bytes_of(tmp_path / "whole")


def test_what_is_stored_is_not_decoded_again(
    raw: Path, stopped: Path, whole: dict[str, bytes]
) -> None:
    with Journal(stopped / JOURNAL) as journal:
        stored = [(entry.modality, entry.key) for entry in journal.entries()]
    assert len(stored) == 7
    for modality, key in stored:
        name = key.removesuffix("_reference_map")
        for path in band_files(raw, modality, name).values():
            path.write_bytes(b"no TIFF at all")
    made(raw, stopped)
    assert bytes_of(stopped) == whole


def test_progress_counts_what_was_stored_before(raw: Path, stopped: Path) -> None:
    from patchpress import convert

    class Count:
        total = done = nbytes = 0

        def start(self, stage: str, total: int | None, unit: str = "records") -> None:
            assert total is not None
            self.total = total

        def advance(self, patches: int, nbytes: int, share: float | None = None) -> None:
            self.done += patches
            self.nbytes += nbytes

    count = Count()
    convert("bigearthnet-v2", raw, stopped, workers=0, progress=count)
    assert (count.total, count.done) == (15, 15)
    assert count.nbytes > 15 * 28_800


def test_a_line_without_its_commit_is_cut_off(
    raw: Path, stopped: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    """As if the conversion was killed between the two."""
    data = (stopped / "data.mdb").read_bytes()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        stop_after(patch, 8)
        made(raw, stopped)
    (stopped / "data.mdb").write_bytes(data)
    assert lines_of(stopped) == 8
    made(raw, stopped)
    assert bytes_of(stopped) == whole


@pytest.mark.parametrize("tail", [b"0", b'00000000 {"boot"', b"garbage\n\n\n", bytes(5000)])
def test_a_torn_line_at_the_end_is_cut_off(
    raw: Path, stopped: Path, whole: dict[str, bytes], tail: bytes
) -> None:
    with (stopped / JOURNAL).open("ab") as file:
        file.write(tail)
    made(raw, stopped)
    assert bytes_of(stopped) == whole


@pytest.mark.parametrize("offset", [0, 400, -3])
def test_after_a_changed_line_no_line_of_a_journal_counts(
    raw: Path, stopped: Path, whole: dict[str, bytes], offset: int
) -> None:
    journal = bytearray((stopped / JOURNAL).read_bytes())
    journal[offset] ^= 1
    (stopped / JOURNAL).write_bytes(journal)
    made(raw, stopped)
    assert bytes_of(stopped) == whole


@pytest.mark.parametrize("offset", [0, 400, -3])
def test_a_changed_journal_of_lmdb_s_commits_begins_anew(
    raw: Path, tmp_path: Path, offset: int
) -> None:
    """Nobody can take back what LMDB has committed."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        stop_after(patch, 7)
        made(raw, tmp_path / "store", compression="zstd")
    made(raw, tmp_path / "whole", compression="zstd")
    journal = bytearray((tmp_path / "store" / JOURNAL).read_bytes())
    journal[offset] ^= 1
    (tmp_path / "store" / JOURNAL).write_bytes(journal)
    with pytest.warns(UserWarning, match="unfinished.records is damaged.*begins anew"):
        made(raw, tmp_path / "store", compression="zstd")
    assert bytes_of(tmp_path / "store") == bytes_of(tmp_path / "whole")


@pytest.mark.parametrize("marker", [b"", b'{"patchpr', b"[]", b'{"dataset": "bigearthnet-v2"}'])
def test_a_marker_that_says_nothing_begins_anew(
    raw: Path, stopped: Path, whole: dict[str, bytes], marker: bytes
) -> None:
    """Those that are cut, and those of versions that could not go on."""
    (stopped / MARKER).write_bytes(marker)
    made(raw, stopped)
    assert bytes_of(stopped) == whole


@pytest.mark.parametrize("name", ["data.mdb", JOURNAL])
@pytest.mark.filterwarnings("ignore:.*begins anew")
def test_a_lost_file_begins_anew(
    raw: Path, stopped: Path, whole: dict[str, bytes], name: str
) -> None:
    (stopped / name).unlink()
    made(raw, stopped)
    assert bytes_of(stopped) == whole


def another_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on it seems that the machine was started anew."""
    monkeypatch.setattr(resume, "boot", lambda: "another")


def test_after_a_restart_of_the_machine_a_whole_store_goes_on(
    raw: Path, stopped: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    another_boot(monkeypatch)
    for path in band_files(raw, "s2", patches(raw, "s2")[0]).values():
        path.write_bytes(b"no TIFF at all")
    with Journal(stopped / JOURNAL) as journal:
        assert any(entry.key == patches(raw, "s2")[0] for entry in journal.entries())
    made(raw, stopped)
    assert bytes_of(stopped) == whole


def spoiled(data: bytes, how: str) -> bytes:
    """What a power failure may leave of a data file."""
    if how == "record":
        offset = len(data) // 3 // 4096 * 4096
        return data[:offset] + bytes(4096) + data[offset + 4096 :]
    if how == "cut":
        return data[: len(data) // 2]
    if how == "meta":
        return bytes(4096) + data[4096:]
    if how == "metas":
        return bytes(8192) + data[8192:]
    # Pages of a tree are the only ones with these flags.
    for offset in range(8192, len(data), 4096):
        page = data[offset : offset + 4096]
        if int.from_bytes(page[:8], "little") == offset // 4096 and page[10] & 3:
            data = data[:offset] + bytes(4096) + data[offset + 4096 :]
    return data


@pytest.mark.parametrize("compression", ["none", "zstd", "blosc2"])
@pytest.mark.parametrize("how", ["record", "cut", "meta", "metas", "trees"])
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.filterwarnings("ignore:.*begins anew")
def test_after_a_power_failure_a_damaged_store_begins_anew(
    raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    compression: str,
    closed: bool,
) -> None:
    """In the middle of the records, and after all of them, before there is a manifest."""
    made(raw, tmp_path / "whole", compression=compression)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        if closed:
            patch.setattr(pipeline, "join", stop)
        else:
            stop_after(patch, 7)
        made(raw, tmp_path / "store", compression=compression)
    another_boot(monkeypatch)
    data = (tmp_path / "store" / "data.mdb").read_bytes()
    (tmp_path / "store" / "data.mdb").write_bytes(spoiled(data, how))
    made(raw, tmp_path / "store", compression=compression)
    assert bytes_of(tmp_path / "store") == bytes_of(tmp_path / "whole")


def stop(*_: object, **__: object) -> None:
    raise Stopped


def test_a_leaf_that_a_power_failure_took_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaves are written among the records, long before the tree is whole."""
    make_tree(tmp_path / "raw", n=70, flagged=1)
    made(tmp_path / "raw", tmp_path / "whole", modalities=("map",))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        stop_after(patch, 65)
        made(tmp_path / "raw", tmp_path / "store", modalities=("map",))
    data = bytearray((tmp_path / "store" / "data.mdb").read_bytes())
    leaves = [
        at
        for at in range(8192, len(data), 4096)
        if int.from_bytes(data[at : at + 8], "little") == at // 4096 and data[at + 10] == 2
    ]
    assert leaves
    data[leaves[0] + 4000] ^= 1
    (tmp_path / "store" / "data.mdb").write_bytes(data)
    another_boot(monkeypatch)
    with pytest.warns(UserWarning, match=f"its page {leaves[0] // 4096} is lost.*begins anew"):
        made(tmp_path / "raw", tmp_path / "store", modalities=("map",))
    assert bytes_of(tmp_path / "store") == bytes_of(tmp_path / "whole")


def test_what_a_power_failure_took_is_told(
    raw: Path, stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    another_boot(monkeypatch)
    data = (stopped / "data.mdb").read_bytes()
    (stopped / "data.mdb").write_bytes(spoiled(data, "record"))
    with pytest.warns(UserWarning, match="machine went down.*begins anew"):
        made(raw, stopped)


@pytest.mark.parametrize(
    ("options", "both"),
    [
        ({"layout": "native"}, "layout stacked, not native"),
        ({"compression": "zstd", "level": 5}, "compression none, not zstd, level none, not 5"),
        ({"split": "geographic"}, "split official, not geographic"),
        ({"limit": 3}, "limit none, not 3"),
        ({"nan": "keep"}, "nan refuse, not keep"),
        ({"modalities": ("s2",)}, "path s1 .*/BigEarthNet-S1, not none"),
    ],
)
def test_other_options_are_refused(
    raw: Path, stopped: Path, whole: dict[str, bytes], options: dict[str, Any], both: str
) -> None:
    with pytest.raises(TargetError, match=f"begun with .*{both}.*--overwrite"):
        made(raw, stopped, **options)
    made(raw, stopped)  # nothing was lost
    assert bytes_of(stopped) == whole


def test_where_nothing_is_stored_other_options_begin_anew(raw: Path, tmp_path: Path) -> None:
    _, path, data = spoil(raw, 0)
    with pytest.raises(PatchError):
        made(raw, tmp_path / "store", modalities="s2")
    assert (tmp_path / "store" / MARKER).exists()
    path.write_bytes(data)
    options: ConvertKeywords = {"layout": "native", "modalities": "s2", "workers": 0}
    forecast = dry_run("bigearthnet-v2", raw, tmp_path / "store", **options)
    assert forecast.exit_code == 0
    made(raw, tmp_path / "store", layout="native", modalities="s2")
    made(raw, tmp_path / "whole", layout="native", modalities="s2")
    assert bytes_of(tmp_path / "store") == bytes_of(tmp_path / "whole")


def test_where_nothing_is_stored_a_mended_description_begins_anew(tmp_path: Path) -> None:
    description = tiny_dataset(tmp_path, {"g": ["p1", "p2", "p3"]})
    right = description.read_text()
    description.write_text(right.replace("[6, 6]", "[4, 4]"))
    for _ in range(2):
        with pytest.raises(PatchError):
            convert(description, tmp_path / "raw", tmp_path / "store", workers=0)
    description.write_text(right)
    convert(description, tmp_path / "raw", tmp_path / "store", workers=0)
    assert len(open_store(tmp_path / "store")) == 3


def test_what_changed_in_a_description_is_named(tmp_path: Path) -> None:
    description = tiny_dataset(tmp_path, {"g": ["p1", "p2", "p3"]})
    right = description.read_text()
    damaged = tmp_path / "raw" / "A" / "g" / "p3" / "p3_fine.tif"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(PatchError):
        convert(description, tmp_path / "raw", tmp_path / "store", workers=0)
    for field, other, said in (
        ("gsd = 20", "gsd = 30", "modalities.a.bands.coarse.gsd of the description 20, not 30"),
        ('licence = "none"', 'licence = "mine"', "dataset.licence of the description none, not"),
    ):
        assert field in right, right
        description.write_text(right.replace(field, other))
        with pytest.raises(TargetError) as raised:
            convert(description, tmp_path / "raw", tmp_path / "store", workers=0)
        assert said in str(raised.value)
        assert "--overwrite to begin anew" in str(raised.value)


def test_many_differences_are_counted(raw: Path, stopped: Path) -> None:
    with pytest.raises(TargetError, match=r"layout .*, limit .*, split .*, and 1 more: give"):
        made(raw, stopped, layout="native", limit=3, split="geographic", nan="keep")


def test_other_workers_are_no_other_options(
    raw: Path, stopped: Path, whole: dict[str, bytes]
) -> None:
    words = ("convert", "bigearthnet-v2", raw, stopped, "--workers", 2)
    ended = python(RUN, 1, *words)
    assert (ended.code, ended.err) == (0, "")
    assert bytes_of(stopped) == whole


def test_overwrite_begins_anew_with_other_options(raw: Path, stopped: Path) -> None:
    made(raw, stopped, layout="native", overwrite=True)
    assert open_store(stopped).manifest.modalities["s2"].layout == "native"
    assert len(open_store(stopped)) == 15


def test_another_source_is_refused(raw: Path, stopped: Path, tmp_path: Path) -> None:
    shutil.copytree(raw, tmp_path / "other")
    with pytest.raises(TargetError, match=f"path s2 {raw}/BigEarthNet-S2, not {tmp_path}/other"):
        made(tmp_path / "other", stopped)


def test_the_same_source_by_another_name_goes_on(
    raw: Path, stopped: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    (tmp_path / "link").symlink_to(raw)
    made(tmp_path / "link", stopped)
    assert bytes_of(stopped) == whole


def test_another_version_is_refused(raw: Path, stopped: Path) -> None:
    asked = json.loads((stopped / MARKER).read_text())
    (stopped / MARKER).write_text(json.dumps(asked | {"patchpress": "0.0.9"}))
    with pytest.raises(TargetError, match=r"patchpress 0\.0\.9, not"):
        made(raw, stopped)


def test_a_source_that_changed_is_refused(raw: Path, stopped: Path) -> None:
    name = patches(raw, "s1")[0]
    folder = band_files(raw, "s1", name)["VV"].parent
    shutil.rmtree(folder)
    with pytest.raises(SourceError, match=f"not as it was.*s1 {name} came.*--overwrite"):
        made(raw, stopped)


def spoil(raw: Path, index: int) -> tuple[str, Path, bytes]:
    name = patches(raw, "s2")[index]
    path = band_files(raw, "s2", name)["B03"]
    data = path.read_bytes()
    path.write_bytes(data[:-5])
    return name, path, data


def test_a_run_that_stopped_at_a_damaged_patch_goes_on_without_it(
    raw: Path, tmp_path: Path
) -> None:
    name, _, _ = spoil(raw, 2)
    with pytest.raises(PatchError, match=name):
        made(raw, tmp_path / "store")
    assert lines_of(tmp_path / "store")
    report = made(raw, tmp_path / "store", on_error="skip")
    whole = made(raw, tmp_path / "whole", on_error="skip")
    assert report.skipped == whole.skipped
    assert bytes_of(tmp_path / "store") == bytes_of(tmp_path / "whole")
    beside = [(tmp_path / f"{name}.report.json").read_text() for name in ("store", "whole")]
    assert json.loads(beside[0])["skipped"] == json.loads(beside[1])["skipped"]


def test_patches_that_were_skipped_stay_so(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, path, data = spoil(raw, 1)
    whole = made(raw, tmp_path / "whole", on_error="skip")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        stop_after(patch, 13)
        made(raw, tmp_path / "store", on_error="skip")
    path.write_bytes(data)  # mended, but too late
    with pytest.raises(PatchError, match=name):
        made(raw, tmp_path / "store", on_error="stop")
    report = made(raw, tmp_path / "store", on_error="skip")
    assert report.skipped == whole.skipped
    assert bytes_of(tmp_path / "store") == bytes_of(tmp_path / "whole")


@pytest.mark.parametrize("step", ["write_extents", "write_metadata", "write_manifest", "join"])
def test_a_stop_after_the_last_record_changes_nothing(
    raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    whole: dict[str, bytes],
    step: str,
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Stopped

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(f"patchpress.converter.commands.convert.{step}", stop)
        made(raw, tmp_path / "store")
    made(raw, tmp_path / "store")
    assert bytes_of(tmp_path / "store") == whole


def test_a_stop_after_the_manifest_still_ends_well(
    raw: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Stopped

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        patch.setattr("patchpress.converter.commands.convert.save_report", stop)
        made(raw, tmp_path / "store")
    assert (tmp_path / "store" / "manifest.json").exists()
    with pytest.raises(TargetError, match="begun with layout stacked, not native"):
        made(raw, tmp_path / "store", layout="native")
    assert made(raw, tmp_path / "store").records == {"s2": 5, "s1": 5, "map": 5}
    assert bytes_of(tmp_path / "store") == whole


def test_a_marker_beside_a_finished_store_is_taken_away(
    raw: Path, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    """As if the conversion was killed between its last two steps."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        stop_after(patch, 3)
        made(raw, tmp_path / "store")
    marker = (tmp_path / "store" / MARKER).read_bytes()
    made(raw, tmp_path / "store")
    (tmp_path / "store" / MARKER).write_bytes(marker)
    with pytest.raises(TargetError, match="finished store"):
        made(raw, tmp_path / "store")
    assert bytes_of(tmp_path / "store") == whole
