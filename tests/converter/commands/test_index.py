"""`patchpress index` rebuilds extents of finished stores, also of copies that users compacted."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pytest

from patchpress import StoreUnfinished, open_store
from patchpress.converter.commands.index import index
from patchpress.readers.access.environment import LMDB_09
from patchpress.readers.errors import ExtentsUnusable
from patchpress.readers.format.manifest import EXTENTS
from tests.support.helpers import Ended, folder_bytes, made, stored_values

Command = Callable[..., Ended]


@pytest.fixture
def copy(stacked: Path, tmp_path: Path) -> Path:
    """A store to be changed."""
    return Path(shutil.copytree(stacked, tmp_path / "store"))


@pytest.mark.parametrize("state", ["absent", "damaged", "there"])
def test_extents_are_made_as_converting_makes_them(
    stores: dict[tuple[str, str], Path], tmp_path: Path, patchpress: Command, state: str
) -> None:
    for kind, path in stores.items():
        store = Path(shutil.copytree(path, tmp_path / "-".join(kind)))
        before = folder_bytes(store)
        if state == "absent":
            (store / EXTENTS).unlink()
        elif state == "damaged":
            (store / EXTENTS).write_bytes(b"no extents")
        ended = patchpress("index", store)
        assert (ended.code, ended.err) == (0, "")
        assert f"{store / EXTENTS}: 45 records, " in ended.out
        assert f"{(store / EXTENTS).stat().st_size:,} bytes" in ended.out
        assert len(ended.out.splitlines()) == 1
        assert folder_bytes(store) == before


def written(store: Path, edit: Callable[[Any], object]) -> None:
    """Change records by lmdb, as another program would."""
    with (
        lmdb.open(str(store), map_size=1 << 28, **LMDB_09) as environment,
        environment.begin(write=True) as transaction,
    ):
        edit(transaction)


@pytest.mark.parametrize("compact", [True, False])
def test_a_compacted_store_is_one_again(
    raw: Path, tmp_path: Path, patchpress: Command, compact: bool
) -> None:
    made(raw, tmp_path / "store")
    store = tmp_path / "store"
    written(store, lambda transaction: transaction.put(b"A", bytes(300_000)))
    written(store, lambda transaction: transaction.delete(b"A"))
    assert "compacted" in patchpress("index", store).out  # or it has grown
    written(store, lambda transaction: transaction.put(b"A", bytes(600_000)))
    written(store, lambda transaction: transaction.delete(b"A"))
    (tmp_path / "copy").mkdir()
    with lmdb.open(str(store), readonly=True, lock=False) as environment:
        environment.copy(str(tmp_path / "copy"), compact=compact)
    values = stored_values(store)
    (tmp_path / "copy" / "data.mdb").replace(store / "data.mdb")
    refused = patchpress("inspect", store)
    assert refused.code == 1
    assert "patchpress index" in refused.sentence
    ended = patchpress("index", store)
    assert (ended.code, ended.err) == (0, "")
    assert "compacted" in ended.out
    opened = open_store(store)
    assert opened.has_extents
    assert stored_values(store) == values
    ended = patchpress("verify", store, "--against", raw, "--workers", 0)
    assert (ended.code, ended.err) == (0, "")


def test_a_data_file_with_other_records_is_refused(copy: Path, patchpress: Command) -> None:
    key = open_store(copy).keys("s2")[3].encode()
    value = bytearray(stored_values(copy)[key.decode()])
    value[-1] ^= 1
    written(copy, lambda transaction: transaction.put(key, bytes(value)))
    before = folder_bytes(copy)
    ended = patchpress("index", copy)
    assert (ended.code, ended.out) == (1, "")
    assert "other records" in ended.sentence
    written(copy, lambda transaction: transaction.delete(key))
    ended = patchpress("index", copy)
    assert ended.code == 1
    assert "44 records where the manifest counts 45" in ended.sentence
    changed = folder_bytes(copy)
    assert {n for n in before if before[n] != changed[n]} <= {"data.mdb", "lock.mdb"}


def test_a_cut_data_file_is_one_sentence(copy: Path, patchpress: Command) -> None:
    data = (copy / "data.mdb").read_bytes()
    for length in (0, 100, 4096, 8192, len(data) // 2 + 7, len(data) - 4 * 4096):
        (copy / "data.mdb").write_bytes(data[:length])
        ended = patchpress("index", copy)
        assert (ended.code, ended.out) == (1, "")
        assert "data.mdb" in ended.sentence
    (copy / "data.mdb").unlink()
    assert "data.mdb" in patchpress("index", copy).sentence


def test_it_has_help(patchpress: Command) -> None:
    ended = patchpress("index", "--help")
    assert (ended.code, ended.err) == (0, "")
    assert "--dataset" in ended.out


def test_a_manifest_of_another_program_is_one_sentence(copy: Path, patchpress: Command) -> None:
    (copy / "manifest.json").write_text('{"name": "something else"}')
    for words in ((), ("--dataset", "bigearthnet-v2")):
        ended = patchpress("index", copy, *words)
        assert (ended.code, ended.out) == (1, "")
        assert "manifest.json" in ended.sentence


def test_what_is_no_store_is_one_sentence(tmp_path: Path, patchpress: Command) -> None:
    for words in ((), ("--dataset", "bigearthnet-v2")):
        ended = patchpress("index", tmp_path / "nowhere", *words)
        assert (ended.code, ended.out) == (1, "")
        assert "no store" in ended.sentence


def test_options_of_another_programs_records_are_refused(
    copy: Path, tmp_path: Path, patchpress: Command
) -> None:
    for words in (("--dataset", "bigearthnet-v2"), ("--path", f"metadata={tmp_path}")):
        ended = patchpress("index", copy, *words)
        assert (ended.code, ended.out) == (2, "")
        assert "finished store of bigearthnet-v2" in ended.sentence


@pytest.mark.parametrize("words", [(), ("--dataset", "bigearthnet-v2")], ids=["bare", "named"])
def test_an_unfinished_conversion_is_to_be_run_again(
    copy: Path, patchpress: Command, words: tuple[str, ...]
) -> None:
    (copy / "manifest.json").unlink()
    (copy / "unfinished.json").write_text("{}")
    before = folder_bytes(copy)
    ended = patchpress("index", copy, *words)
    assert (ended.code, ended.out) == (1, "")
    assert "run the same `patchpress convert` again" in ended.sentence
    assert "index" not in ended.sentence
    assert folder_bytes(copy) == before


def test_records_without_manifest_or_marker_have_two_ways_out(
    copy: Path, patchpress: Command
) -> None:
    (copy / "manifest.json").unlink()
    for name in ("index", "inspect", "verify"):
        ended = patchpress(name, copy)
        assert (ended.code, ended.out) == (1, "")
        assert "patchpress convert" in ended.sentence
        assert f"patchpress index {copy} --dataset NAME" in ended.sentence
    with pytest.raises(StoreUnfinished):
        open_store(copy)


def test_what_cannot_be_written_is_one_sentence_and_changes_nothing(
    copy: Path, patchpress: Command
) -> None:
    (copy / f"{EXTENTS}.partial").mkdir()  # cannot be written then, not even by root
    before = folder_bytes(copy)
    ended = patchpress("index", copy)
    assert (ended.code, ended.out) == (2, "")
    assert "cannot be written" in ended.sentence
    assert folder_bytes(copy) == before


def test_a_folder_without_the_right_to_write_is_one_sentence(
    copy: Path, powerless: Command, closed: Callable[[Path, int], Path]
) -> None:
    closed(copy, 0o555)
    ended = powerless("index", copy)
    assert (ended.code, ended.out) == (2, "")
    assert "cannot be written (Permission denied)" in ended.sentence


def test_progress_is_told_where_every_value_is_read(copy: Path) -> None:
    class Counting:
        total = done = nbytes = 0

        def start(self, total: int | None, unit: str = "patches") -> None:
            assert total is not None
            self.total = total

        def advance(self, patches: int, nbytes: int, share: float | None = None) -> None:
            self.done += patches
            self.nbytes += nbytes

    progress = Counting()
    index(copy, progress=progress)
    assert progress.done == progress.total == 45
    progress.done = 0
    with (copy / "data.mdb").open("ab") as file:
        file.write(bytes(4096))
    index(copy, progress=progress)
    assert progress.done == 2 * progress.total == 90
    assert progress.nbytes == sum(map(len, stored_values(copy).values()))


def altered(store: Path, **columns: Any) -> None:
    """Extents that can be read, but are not true."""
    from dataclasses import replace

    from patchpress.readers.access.extents import read_extents, write_extents

    extents, _ = read_extents(store, ["data.mdb"])
    assert extents is not None
    changed = {name: edit(getattr(extents, name).copy()) for name, edit in columns.items()}
    write_extents(store, replace(extents, **changed))


def like(place: int) -> Callable[[Any], Any]:
    """Say that the first record has the header of another one."""

    def edit(column: Any) -> Any:
        column[0] = column[place]
        return column

    return edit


EDITS = {
    "the place of its neighbour": {"offset": like(1)},
    "another form": {"header_number": like(-1)},
    "another record": dict.fromkeys(("offset", "length", "header_number"), like(-1)),
}


@pytest.mark.parametrize("edit", EDITS)
def test_verify_finds_extents_that_lead_elsewhere(
    copy: Path, patchpress: Command, edit: str
) -> None:
    assert patchpress("verify", copy).code == 0
    altered(copy, **EDITS[edit])
    ended = patchpress("verify", copy)
    assert ended.code == 1
    assert "extents are wrong about 1 records" in ended.out
    assert min(stored_values(copy)) in ended.out
    assert "patchpress index" in ended.out
    assert patchpress("index", copy).code == 0
    assert patchpress("verify", copy).code == 0


def test_verify_finds_extents_of_another_number_or_none_that_can_be_used(
    copy: Path, patchpress: Command
) -> None:
    columns = ("keys", "shard", "offset", "length", "header_number")
    altered(copy, **dict.fromkeys(columns, lambda column: column[:-1]))
    ended = patchpress("verify", copy)
    assert ended.code == 1
    assert "the extents have 44 of 45 records" in ended.out
    (copy / EXTENTS).write_bytes(b"no extents")
    ended = patchpress("verify", copy)
    assert ended.code == 1
    assert "extents.safetensors cannot be used" in ended.out
    with pytest.warns(ExtentsUnusable):
        open_store(copy)
