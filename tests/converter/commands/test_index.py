"""`patchpress index` rebuilds extents of finished stores, also of copies that users compacted."""

import json
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pyarrow.compute as pc
import pytest

from patchpress import StoreUnfinished, convert, open_store
from patchpress.converter.commands.index import index
from patchpress.converter.storage.transactions import LMDB_09
from patchpress.readers.errors import ExtentsUnusable
from patchpress.readers.format.manifest import EXTENTS
from tests.support.helpers import (
    Ended,
    folder_bytes,
    made,
    stored_values,
    tiny_dataset,
    write_sealed,
)
from tests.support.synthetic import FLAGGED_TABLE, TABLE

pytestmark = pytest.mark.slow

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
        assert f"{(store / EXTENTS).stat().st_size / 1e3:,.1f} kB" in ended.out
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


def test_another_programs_changes_are_taken_and_told(
    copy: Path, tree: Path, patchpress: Command
) -> None:
    """Two removed, one replaced, one put back: each is told, and the store is good again."""
    opened = open_store(copy)
    before, (first, second, third) = opened.table(), opened.keys("s2")[:3]
    partner = before.filter(pc.equal(before["patch_id"], second))["s1_name"][0].as_py()
    values, keys = stored_values(copy), opened.keys("s2")
    changed = bytearray(values[first])
    changed[-1] ^= 1

    def edit(transaction: Any) -> None:
        transaction.put(first.encode(), bytes(changed))
        for key in (second, partner, f"{second}_reference_map", third):
            transaction.delete(key.encode())

    written(copy, edit)
    for name in ("inspect", "verify"):
        ended = patchpress(name, copy)
        assert ended.code == 1
        assert f"run `patchpress index {copy}`" in ended.err + ended.out
    ended = patchpress("index", copy)
    assert (ended.code, ended.err) == (0, "")
    assert "41 records" in ended.out
    assert "records that were removed: 4" in ended.out
    assert "records with other bytes than before" in ended.out
    assert all(key in ended.out for key in (first, second, partner, third))
    assert "0 rows added, 1 row removed" in ended.out
    assert patchpress("verify", copy).code == 0
    after = open_store(copy)
    assert len(after) == 41
    assert after.table().column_names == before.column_names
    rows = after.table().to_pylist()
    names = [row["patch_id"] for row in rows]
    assert names == sorted(set(before["patch_id"].to_pylist()) - {second})
    (lacking,) = (row for row in rows if row["patch_id"] == third)
    assert (lacking["has_s2"], lacking["has_s1"], lacking["s2_checksum"]) == (False, True, None)
    np.testing.assert_array_equal(after.keys("s2"), [k for k in keys
                                                    if k not in (second, third)])  # fmt: skip
    # And back: the same records give the same store, but for the ground, which only files tell.
    written(copy, lambda transaction: [transaction.put(key.encode(), value)
                                       for key, value in values.items()])  # fmt: skip
    tables = ("--path", f"metadata={tree / TABLE}", "--path", f"flagged={tree / FLAGGED_TABLE}")
    ended = patchpress("index", copy, *tables)
    assert (ended.code, ended.err) == (0, "")
    assert "records that were added: 4" in ended.out
    assert patchpress("verify", copy, "--against", tree, "--workers", 0).code == 0
    ground = ["epsg", "left", "bottom", "right", "top"]
    assert open_store(copy).table().drop_columns(ground) == before.drop_columns(ground)
    assert open_store(copy).manifest.splits == opened.manifest.splits
    assert open_store(copy).manifest.shards[0].digest == opened.manifest.shards[0].digest


@pytest.mark.parametrize("kind", [("native", "zstd"), ("stacked", "zstd"), ("native", "none")])
def test_records_of_any_kind_are_taken_again(
    stores: dict[tuple[str, str], Path], tmp_path: Path, patchpress: Command, kind: tuple[str, str]
) -> None:
    store = Path(shutil.copytree(stores[kind], tmp_path / "store"))
    values, keys = stored_values(store), open_store(store).keys("s1")
    written(store, lambda transaction: transaction.delete(keys[0].encode()))
    assert patchpress("index", store).code == 0
    written(store, lambda transaction: transaction.put(keys[0].encode(), values[keys[0]]))
    ended = patchpress("index", store)
    assert (ended.code, ended.err) == (0, "")
    assert "records that were added: 1" in ended.out
    assert patchpress("verify", store).code == 0
    assert open_store(store).keys("s1") == keys
    assert folder_bytes(store)["metadata.parquet"] == folder_bytes(stores[kind])["metadata.parquet"]


def test_a_modality_that_another_program_adds_is_taken(
    stacked: Path, tree: Path, tmp_path: Path, patchpress: Command
) -> None:
    made(tree, tmp_path / "store", modalities="s2")
    others = {k: v for k, v in stored_values(stacked).items() if k not in
              open_store(stacked).keys("s2")}  # fmt: skip
    written(tmp_path / "store", lambda transaction: [transaction.put(k.encode(), v)
                                                     for k, v in others.items()])  # fmt: skip
    ended = patchpress("index", tmp_path / "store")
    assert (ended.code, ended.err) == (0, "")
    opened, expected = open_store(tmp_path / "store"), open_store(stacked)
    assert opened.table() == expected.table()
    assert opened.manifest.modalities == expected.manifest.modalities
    assert patchpress("verify", opened.path).code == 0


def test_values_that_are_no_records_are_left_out_and_counted(
    copy: Path, patchpress: Command
) -> None:
    def edit(transaction: Any) -> None:
        transaction.put(b"__len__", b"45")
        transaction.put(b"__keys__", pickle.dumps(["a", "b"]))
        transaction.put((7).to_bytes(8, "little"), b"a number for a key")

    written(copy, edit)
    ended = patchpress("index", copy)
    assert (ended.code, ended.err) == (0, "")
    assert "values that are no records, left out: 3" in ended.out
    assert "2 with names like __len__ (__keys__, __len__)" in ended.out
    opened = open_store(copy)
    assert len(opened) == len(opened.keys()) == 45
    ended = patchpress("verify", copy)
    assert ended.code == 0
    assert "3, not checked" in ended.out
    before = folder_bytes(copy)
    assert patchpress("index", copy).code == 0
    assert folder_bytes(copy) == before
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["options"]["other_values"] = 4
    write_sealed(copy / "manifest.json", manifest)
    ended = patchpress("verify", copy)
    assert "3 values that are no records where the manifest counts 4" in ended.out
    assert patchpress("index", copy).code == 0
    assert patchpress("verify", copy).code == 0


def test_a_record_that_is_none_any_more_is_named(copy: Path, patchpress: Command) -> None:
    key = open_store(copy).keys("s2")[3]
    written(copy, lambda transaction: transaction.put(key.encode(), b"something else"))
    before = folder_bytes(copy)
    ended = patchpress("index", copy)
    assert (ended.code, ended.out) == (1, "")
    assert key in ended.sentence
    assert "it is no safetensors" in ended.sentence
    assert folder_bytes(copy) == before


def test_a_store_without_any_record_is_left_as_it_is(copy: Path, patchpress: Command) -> None:
    keys = open_store(copy).keys()
    written(copy, lambda transaction: [transaction.delete(key.encode()) for key in keys])
    before = folder_bytes(copy)
    ended = patchpress("index", copy)
    assert (ended.code, ended.out) == (1, "")
    assert "none of its records any more" in ended.sentence
    assert folder_bytes(copy) == before


def test_damage_is_not_taken_for_a_change(copy: Path, patchpress: Command) -> None:
    data = bytearray((copy / "data.mdb").read_bytes())
    key = open_store(copy).keys("s2")[3]
    at = data.find(stored_values(copy)[key][-5000:]) + 4000
    data[at] ^= 1
    (copy / "data.mdb").write_bytes(data)
    assert patchpress("index", copy).code == 0
    ended = patchpress("verify", copy)
    assert ended.code == 1
    assert f"record {key} differs from its checksum" in ended.out
    assert "patchpress index" not in ended.out
    assert "copy or convert the store again" in ended.out


def test_a_store_of_ones_own_needs_its_description(tmp_path: Path, patchpress: Command) -> None:
    description = tiny_dataset(tmp_path, {"g": ["p1", "p2", "p3"]})
    store = tmp_path / "store"
    convert(description, tmp_path / "raw", store, workers=0)
    written(store, lambda transaction: transaction.delete(b"p2"))
    ended = patchpress("index", store)
    assert ended.code == 2
    assert "1 record of" in ended.sentence
    assert "--dataset FILE" in ended.sentence
    ended = patchpress("index", store, "--dataset", description)
    assert (ended.code, ended.err) == (0, "")
    assert open_store(store).keys() == ["p1", "p3"]
    assert patchpress("verify", store).code == 0
    words = ("index", store, "--dataset", "eurosat")
    written(store, lambda transaction: transaction.delete(b"p3"))
    assert "not of eurosat" in patchpress(*words).sentence


def test_an_lmdb_in_one_file_is_told_how_to_become_a_folder(
    stores: dict[tuple[str, str], Path], tmp_path: Path, patchpress: Command
) -> None:
    one = tmp_path / "records.lmdb"
    with (
        lmdb.open(str(one), subdir=False, map_size=1 << 28, **LMDB_09) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in stored_values(stores["native", "none"]).items():
            transaction.put(key.encode(), value)
    for words in ((), ("--dataset", "bigearthnet-v2")):
        ended = patchpress("index", one, *words)
        assert (ended.code, ended.out) == (1, "")
    way = ended.sentence.split("`")[1]
    assert way == f"mkdir {tmp_path}/records && ln {one} {tmp_path}/records/data.mdb"
    subprocess.run(["sh", "-c", way], check=True)
    assert patchpress("index", tmp_path / "records", "--dataset", "bigearthnet-v2").code == 0
    assert len(open_store(tmp_path / "records")) == 45
    assert patchpress("verify", tmp_path / "records").code == 0


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
    assert "run the same command (`patchpress convert`, `copy` or `merge`) again" in ended.sentence
    assert "index" not in ended.sentence
    assert folder_bytes(copy) == before


def test_records_without_manifest_or_marker_have_two_ways_out(
    copy: Path, patchpress: Command
) -> None:
    (copy / "manifest.json").unlink()
    for name in ("index", "inspect", "verify"):
        ended = patchpress(name, copy)
        assert (ended.code, ended.out) == (1, "")
        assert "copy manifest.json and metadata.parquet, too" in ended.sentence
        assert f"patchpress index {copy} --dataset NAME" in ended.sentence
    with pytest.raises(StoreUnfinished):
        open_store(copy)


def test_what_cannot_be_written_is_one_sentence_and_changes_nothing(
    copy: Path, patchpress: Command
) -> None:
    (copy / EXTENTS).unlink()
    (copy / EXTENTS).mkdir()  # cannot be written then, not even by root
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

        def start(self, stage: str, total: int | None, unit: str = "records") -> None:
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
    assert progress.done == progress.total == 45
    assert progress.nbytes == sum(map(len, stored_values(copy).values()))


def altered(store: Path, **columns: Any) -> None:
    """Extents that can be read, but are not true."""
    from dataclasses import replace

    from patchpress.readers.access.extents_file import read_extents, write_extents
    from patchpress.readers.access.keys import KeysInMemory

    extents, _ = read_extents(store, ["data.mdb"])
    assert extents is not None
    changed = {name: edit(getattr(extents, name).copy()) for name, edit in columns.items()}
    if "keys" in changed:
        changed["names"] = KeysInMemory(changed.pop("keys"))
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
    if edit == "another form":  # of another length than the record: no reader would take it
        assert "names a record of another length than its header says" in ended.out
    else:
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
