"""Which writer a conversion takes, and that its choice changes nothing for readers."""

import json
import logging
import os
from pathlib import Path

import lmdb
import pytest

from patchpress import Writer, convert, dry_run, open_store, verify
from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.encoding.encoder import Recipe
from patchpress.converter.options import ConvertKeywords
from patchpress.converter.storage import pages, transactions, writer_choice
from patchpress.converter.storage.journal import Journal
from patchpress.converter.storage.ownership import PROBE
from patchpress.converter.storage.writer_choice import probe, why_not_in_pages
from patchpress.readers.errors import OptionError, TargetError
from patchpress.readers.format.manifest import JOURNAL
from patchpress.readers.format.metapages import VERSION
from tests.support.helpers import (
    DATASET,
    command,
    folder_bytes,
    made,
    stored_values,
    tiny_dataset,
)
from tests.support.stopping import Stopped, commits_of, stop_after
from tests.support.synthetic import make_tree

pytestmark = pytest.mark.slow


@pytest.fixture
def wrong_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages say that they are of a format that nobody knows."""
    monkeypatch.setattr(pages, "VERSION", 9)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == writer_choice.__name__]


@pytest.mark.parametrize("layout", ["stacked", "native"])
def test_a_store_is_the_same_whoever_wrote_it(raw: Path, tmp_path: Path, layout: str) -> None:
    for writer in Writer:
        made(raw, tmp_path / writer, layout=layout, writer=writer)
        assert verify(tmp_path / writer, against=raw, workers=0).good
    auto, by_pages, by_lmdb = (folder_bytes(tmp_path / writer) for writer in Writer)
    assert auto == by_pages
    assert auto["data.mdb"] != by_lmdb["data.mdb"]
    assert auto["metadata.parquet"] == by_lmdb["metadata.parquet"]
    assert stored_values(tmp_path / "auto") == stored_values(tmp_path / "lmdb")
    one, other = (json.loads(files["manifest.json"]) for files in (auto, by_lmdb))
    one["shards"][0].pop("bytes"), other["shards"][0].pop("bytes")
    assert one == other


def test_the_log_says_which_writer_and_why(
    raw: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "patchpress")
    made(raw, tmp_path / "a")
    made(raw, tmp_path / "b", writer="lmdb")
    made(raw, tmp_path / "c", compression="zstd")
    made(raw, tmp_path / "d", compression="blosc2")
    assert told(caplog) == [
        "writer pages, because records are large enough, and LMDB reads them",
        "writer lmdb, because it is asked for",
        "writer lmdb, because s2 records are compressed by zstd",
        "writer pages, because records are large enough, and LMDB reads them",
    ]


def test_nothing_is_said_if_nobody_asks(raw: Path, tmp_path: Path) -> None:
    ended = command("convert", DATASET, raw, tmp_path / "a", "--workers", 0, "--writer", "lmdb")
    assert (ended.code, ended.err) == (0, "")


def test_records_that_cannot_be_in_pages_refuse_them(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="s2 records are compressed by zstd; leave it out"):
        made(raw, tmp_path / "store", writer="pages", compression="zstd")
    small = tiny_dataset(tmp_path, {"g": ["p10"]})
    options = ConvertKeywords(writer=Writer.pages, workers=0)
    with pytest.raises(OptionError, match="a records have .* bytes, fewer than 2,048"):
        convert(str(small), tmp_path / "raw", tmp_path / "store", **options)
    with pytest.raises(OptionError, match="fewer than 2,048"):
        dry_run(str(small), tmp_path / "raw", tmp_path / "store", **options)
    assert not (tmp_path / "store").exists()
    convert(str(small), tmp_path / "raw", tmp_path / "store", workers=0)
    assert len(open_store(tmp_path / "store")) == 1


def test_records_of_any_size_are_not_written_in_pages() -> None:
    modality = next(m for m in find_description("ssl4eo-s12").modalities.values() if m.any_size)
    recipe = Recipe(modality, "native", "nearest", "none", 0)
    assert why_not_in_pages([recipe]) == f"{modality.name} records are of any size"


def test_an_unknown_writer_is_named(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="writer 'quick' is unknown, there are auto, pages, lmdb"):
        made(raw, tmp_path / "store", writer="quick")


def test_lmdb_reads_the_probe_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    assert probe(tmp_path) == ""
    assert not os.listdir(tmp_path)


@pytest.mark.usefixtures("wrong_pages")
def test_a_probe_that_lmdb_does_not_read_turns_to_lmdb_with_a_warning(
    raw: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "patchpress")
    assert probe(tmp_path) == "its tree is damaged"
    assert not (tmp_path / PROBE).exists()
    with pytest.warns(UserWarning, match="LMDB does not read in .*store .*goes through LMDB"):
        made(raw, tmp_path / "store")
    assert told(caplog) == [
        "writer lmdb, because LMDB does not read pages here: its tree is damaged"
    ]
    made(raw, tmp_path / "lmdb", writer="lmdb")
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "lmdb")


@pytest.mark.usefixtures("wrong_pages")
def test_pages_that_are_asked_for_and_not_possible_keep_an_earlier_store(
    raw: Path, tmp_path: Path
) -> None:
    made(raw, tmp_path / "store", writer="lmdb")
    before = folder_bytes(tmp_path / "store")
    with pytest.raises(TargetError, match="writer pages is not possible: LMDB does not read"):
        made(raw, tmp_path / "store", writer="pages", overwrite=True)
    assert folder_bytes(tmp_path / "store") == before


def test_a_store_that_lmdb_wrote_again_is_a_whole_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probe is well, and the tree of all records is not: it has branches."""
    make_tree(tmp_path / "raw", n=70, flagged=1)
    made(tmp_path / "raw", tmp_path / "lmdb", modalities=("map",), writer="lmdb")
    monkeypatch.setattr(pages, "BRANCH", 0x40)
    with pytest.warns(UserWarning, match="its records are written again, by LMDB"):
        made(tmp_path / "raw", tmp_path / "store", modalities=("map",))
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "lmdb")
    assert verify(tmp_path / "store", against=tmp_path / "raw", workers=0).good


def stopped(raw: Path, store: Path, writer: str) -> None:
    """A store that was left when 7 of its 15 records were stored."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        commits_of(1, patch)
        stop_after(patch, 7)
        made(raw, store, writer=writer)


@pytest.mark.parametrize(
    ("begun", "asked", "way"),
    [("auto", "lmdb", "pages, not lmdb"), ("pages", "lmdb", "pages, not lmdb"),
     ("lmdb", "pages", "lmdb, not pages")],
)  # fmt: skip
def test_another_writer_than_it_was_begun_with_is_refused(
    raw: Path, tmp_path: Path, begun: str, asked: str, way: str
) -> None:
    stopped(raw, tmp_path / "store", begun)
    before = folder_bytes(tmp_path / "store")
    words = f"store was begun with writer {way}: leave out --writer to go on, or give --overwrite"
    with pytest.raises(TargetError, match=words):
        made(raw, tmp_path / "store", writer=asked)
    with pytest.raises(TargetError, match=words):
        dry_run(DATASET, raw, tmp_path / "store", workers=0, writer=Writer(asked))
    assert folder_bytes(tmp_path / "store") == before
    made(raw, tmp_path / "store", writer=asked, overwrite=True)
    made(raw, tmp_path / "whole", writer=asked)
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")


@pytest.mark.parametrize(
    ("begun", "goes_on"),
    [("auto", "pages"), ("pages", "auto"), ("lmdb", "auto"), ("lmdb", "lmdb")],
)
def test_a_conversion_goes_on_as_its_journal_says(
    raw: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, begun: str, goes_on: str
) -> None:
    stopped(raw, tmp_path / "store", begun)
    caplog.set_level(logging.INFO, "patchpress")
    with Journal(tmp_path / "store" / JOURNAL) as journal:
        assert {line.paged for line in journal.lines()} == {begun != "lmdb"}
    made(raw, tmp_path / "store", writer=goes_on)
    writer = "lmdb" if begun == "lmdb" else "pages"
    assert told(caplog) == [f"writer {writer}, as the conversion was begun that goes on"]
    with pytest.MonkeyPatch.context() as patch:
        commits_of(1, patch)
        made(raw, tmp_path / "whole", writer=begun)
    assert stored_values(tmp_path / "store") == stored_values(tmp_path / "whole")
    if begun != "lmdb":  # how large its transactions are decides some bytes of the file
        assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")


def test_a_conversion_that_goes_on_in_pages_is_read_back_only_at_its_end(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(raw, tmp_path / "store", "auto")
    monkeypatch.setattr(pages, "VERSION", 9)
    with pytest.warns(UserWarning, match="its records are written again, by LMDB") as warned:
        made(raw, tmp_path / "store")
    assert len(warned) == 1
    made(raw, tmp_path / "lmdb", writer="lmdb")
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "lmdb")


def test_lmdb_writes_the_format_that_every_client_reads(raw: Path, tmp_path: Path) -> None:
    """Also if the newer engine of py-lmdb is made the default."""
    ended = command(
        *("convert", DATASET, raw, tmp_path / "store", "--workers", 0, "--writer", "lmdb"),
        env={**os.environ, "LMDB_DEFAULT_LIB_VERSION": "1"},
    )
    assert (ended.code, ended.err) == (0, "")
    data = (tmp_path / "store" / "data.mdb").read_bytes()
    assert VERSION == 1
    for at in (20, 4096 + 20):  # after the page header and the magic number of a meta page
        assert int.from_bytes(data[at : at + 4], "little") == VERSION


@pytest.mark.parametrize("options", [{"lib_version": 0}, {}], ids=["3", "2"])
def test_a_py_lmdb_without_that_format_is_named(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, int]
) -> None:
    """As if it was built with ``LMDB_FORCE_SYSTEM`` on a system that has LMDB 1.0 only."""

    def only_1_0(lib_version: int = 1) -> tuple[int, int, int]:
        if lib_version != 1:
            raise lmdb.Error(f"lib_version={lib_version}: this build has no LMDB engine.")
        return (1, 0, 2)

    monkeypatch.setattr(transactions, "LMDB_09", options)
    monkeypatch.setattr(lmdb, "version", only_1_0)
    with pytest.raises(TargetError, match="lmdb [0-9.]+ is built without LMDB 0.9.*PyPI"):
        made(raw, tmp_path / "store", writer="lmdb")
    with pytest.raises(TargetError, match="built without LMDB 0.9"):
        made(raw, tmp_path / "store")
