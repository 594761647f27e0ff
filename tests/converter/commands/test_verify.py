"""`verify` calls a good store good; it finds and names every damage, with exit code 1."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import open_store
from patchpress.converter.commands.verify import verify
from patchpress.converter.storage.transactions import LMDB_09
from patchpress.readers.format.record import decode_with_safetensors
from tests.support.helpers import (
    Ended,
    band_files,
    command,
    folder_bytes,
    made,
    patches,
    stored_values,
    write_sealed,
)
from tests.support.synthetic import Row

Command = Callable[..., Ended]
Edit = Callable[[Any], Any]


@pytest.fixture
def copy(stacked: Path, tmp_path: Path) -> Path:
    """A store to be damaged."""
    return Path(shutil.copytree(stacked, tmp_path / "store"))


def assert_found(ended: Ended, *named: str) -> None:
    assert ended.code == 1
    assert ended.err == ""
    assert "BAD" in ended.out
    for text in named:
        assert text in ended.out


def test_every_kind_of_store_is_good(
    stores: dict[tuple[str, str], Path], tree: Path, tmp_path: Path, patchpress: Command
) -> None:
    for kind, path in stores.items():
        store = shutil.copytree(path, tmp_path / "-".join(kind))
        ended = patchpress("verify", store, "--against", tree, "--workers", 0)
        assert (ended.code, ended.err) == (0, "")
        assert "good" in ended.out
        assert "read back         45" in ended.out
        assert "compared with the source  45" in ended.out


@pytest.mark.slow
def test_workers_find_the_same(copy: Path, tree: Path) -> None:
    assert command("verify", copy, "--against", tree, "--workers", 2).out == (
        command("verify", copy, "--against", tree, "--workers", 0).out
    )


def test_verifying_changes_nothing(copy: Path, tree: Path, patchpress: Command) -> None:
    before = folder_bytes(copy)
    patchpress("verify", copy, "--against", tree, "--workers", 0)
    assert folder_bytes(copy) == before


@pytest.mark.parametrize("against", [False, True])
def test_a_store_that_is_being_read_is_verified(copy: Path, tree: Path, against: bool) -> None:
    store = open_store(copy)
    name = store.keys("s2")[0]
    before = store.read(name)
    for _ in range(2):
        assert verify(copy, tree if against else None, workers=0).good
    assert (store.read(name) == before).all()


@pytest.mark.parametrize("place", [0, 8, 200, 400_000], ids=["length", "header", "first", "last"])
def test_a_flipped_byte_is_found_and_its_record_named(
    copy: Path, rows: list[Row], patchpress: Command, place: int
) -> None:
    key = rows[3]["patch_id"]
    value = stored_values(copy)[key]
    data = bytearray((copy / "data.mdb").read_bytes())
    start = data.index(value)
    data[start + min(place, len(value) - 1)] ^= 0x10
    (copy / "data.mdb").write_bytes(data)
    assert_found(patchpress("verify", copy), key)


def test_a_flipped_byte_of_a_frame_is_found_and_its_record_named(
    stores: dict[tuple[str, str], Path], rows: list[Row], tmp_path: Path, patchpress: Command
) -> None:
    for number, place in enumerate((0, 4, 9, 5000)):
        copy = shutil.copytree(stores["stacked", "zstd"], tmp_path / str(number))
        key = rows[3]["s1_name"]
        value = stored_values(copy)[key]
        data = bytearray((copy / "data.mdb").read_bytes())
        data[data.index(value) + place] ^= 0x81
        (copy / "data.mdb").write_bytes(data)
        assert_found(patchpress("verify", copy), key)


def edited(store: Path, edit: Edit) -> None:
    """Change records by lmdb, and note the new size of the file in the manifest."""
    with (
        lmdb.open(str(store), map_size=1 << 28, **LMDB_09) as environment,
        environment.begin(write=True) as transaction,
    ):
        edit(transaction)
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["shards"][0]["bytes"] = (store / "data.mdb").stat().st_size
    write_sealed(store / "manifest.json", manifest)


def test_a_removed_record_is_found_and_named(
    copy: Path, rows: list[Row], patchpress: Command
) -> None:
    key = rows[5]["s1_name"]
    edited(copy, lambda transaction: transaction.delete(key.encode()))
    ended = patchpress("verify", copy)
    assert_found(ended, key, "14 s1 records where the manifest counts 15")


def test_an_added_record_is_found(copy: Path, rows: list[Row], patchpress: Command) -> None:
    value = stored_values(copy)[rows[5]["s1_name"]]
    edited(copy, lambda transaction: transaction.put(b"S1_of_nowhere", value))
    assert_found(patchpress("verify", copy), "16 s1 records where the manifest counts 15")


def test_swapped_records_are_found_and_named(
    copy: Path, rows: list[Row], patchpress: Command
) -> None:
    one, other = rows[1]["s1_name"], rows[2]["s1_name"]
    values = stored_values(copy)

    def swap(transaction: Any) -> None:
        transaction.put(one.encode(), values[other])
        transaction.put(other.encode(), values[one])

    edited(copy, swap)
    assert_found(patchpress("verify", copy), one, other)


def test_a_key_that_is_no_text_is_found(copy: Path, rows: list[Row], patchpress: Command) -> None:
    data = bytearray((copy / "data.mdb").read_bytes())
    key = rows[5]["s1_name"].encode()
    places = [place for place in range(len(data)) if data.startswith(key, place)]
    for place in places:
        data[place + len(key) - 1] |= 0x80
    (copy / "data.mdb").write_bytes(data)
    assert_found(patchpress("verify", copy), rows[5]["s1_name"])


def test_a_truncated_data_file_is_one_sentence(copy: Path, patchpress: Command) -> None:
    data = (copy / "data.mdb").read_bytes()
    for length in (0, 4096, len(data) - 4096, len(data) - 1):
        (copy / "data.mdb").write_bytes(data[:length])
        ended = patchpress("verify", copy)
        assert ended.code == 1
        assert "data.mdb" in ended.sentence


def test_an_absent_file_is_one_sentence(stacked: Path, tmp_path: Path, patchpress: Command) -> None:
    for name in ("data.mdb", "metadata.parquet", "manifest.json"):
        copy = shutil.copytree(stacked, tmp_path / name.partition(".")[0])
        (copy / name).unlink()
        ended = patchpress("verify", copy)
        assert ended.code == 1
        assert (ended.out + ended.err).count(name) >= 1


def changed(store: Path, edit: Edit) -> None:
    table = pq.read_table(store / "metadata.parquet")
    pq.write_table(edit(table), store / "metadata.parquet")


def with_cell(table: Any, column: str, row: int, value: object) -> Any:
    values = table[column].to_pylist()
    values[row] = value
    at = table.column_names.index(column)
    return table.set_column(at, column, pa.array(values, table[column].type))


TABLE_CHANGES: dict[str, Edit] = {
    "a checksum": lambda table: with_cell(table, "s2_checksum", 4, "0123456789abcdef"),
    "no checksum": lambda table: with_cell(table, "s2_checksum", 4, None),
    "a checksum that is none": lambda table: with_cell(table, "s2_checksum", 4, "?"),
    "another name": lambda table: with_cell(table, "patch_id", 4, "S2A_of_nowhere"),
    "presence": lambda table: with_cell(table, "has_s2", 4, False),
    "no row": lambda table: pa.concat_tables([table.slice(0, 4), table.slice(5)]),
    "a row twice": lambda table: pa.concat_tables([table, table.slice(4, 1)]),
}


@pytest.mark.parametrize("change", TABLE_CHANGES)
def test_altered_metadata_is_found_and_named(
    copy: Path, rows: list[Row], patchpress: Command, change: str
) -> None:
    changed(copy, TABLE_CHANGES[change])
    assert_found(patchpress("verify", copy), rows[4]["patch_id"])


def test_metadata_that_is_no_table_is_one_sentence(copy: Path, patchpress: Command) -> None:
    (copy / "metadata.parquet").write_bytes(b"no table")
    assert_found(patchpress("verify", copy), "metadata.parquet cannot be read", "BAD, 1 problem")


def test_metadata_without_our_columns_is_one_sentence(copy: Path, patchpress: Command) -> None:
    changed(copy, lambda table: table.drop_columns("s2_checksum"))
    ended = patchpress("verify", copy)
    assert_found(ended, "metadata.parquet cannot be read (it has no column 's2_checksum')")


@pytest.mark.parametrize("modality", ["s2", "s1"])
def test_an_altered_source_pixel_is_found_and_its_file_named(
    raw: Path, tmp_path: Path, patchpress: Command, modality: str
) -> None:
    made(raw, tmp_path / "store")
    name = patches(raw, modality)[1]
    path = list(band_files(raw, modality, name).values())[1]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    ended = patchpress("verify", tmp_path / "store", "--against", raw, "--workers", 0)
    assert_found(ended, path.name, "differs from the record in 1 pixels")


def test_source_and_store_of_different_patches_are_told_apart(
    raw: Path, tmp_path: Path, patchpress: Command
) -> None:
    made(raw, tmp_path / "store")
    first, second, *_ = patches(raw, "s2")
    folder = band_files(raw, "s2", first)["B01"].parent
    shutil.rmtree(folder)
    ended = patchpress("verify", tmp_path / "store", "--against", raw, "--workers", 0)
    assert_found(ended, "1 s2 records have no patch in the source")
    shutil.copytree(band_files(raw, "s2", second)["B01"].parent, folder.with_name(f"{folder.name}"))
    ended = patchpress("verify", tmp_path / "store", "--against", raw, "--workers", 0)
    assert_found(ended, folder.name)


def test_a_damaged_source_file_is_found(raw: Path, tmp_path: Path, patchpress: Command) -> None:
    made(raw, tmp_path / "store")
    path = band_files(raw, "s2", patches(raw, "s2")[1])["B05"]
    path.write_bytes(path.read_bytes()[:-1])
    ended = patchpress("verify", tmp_path / "store", "--against", raw, "--workers", 0)
    assert_found(ended, path.name)


def test_another_source_is_one_sentence(copy: Path, tmp_path: Path, patchpress: Command) -> None:
    (tmp_path / "empty").mkdir()
    ended = patchpress("verify", copy, "--against", tmp_path / "empty", "--workers", 0)
    assert ended.code == 1
    assert "BigEarthNet-S2" in ended.sentence


@pytest.mark.parametrize("limit", [2, 4])
def test_a_store_of_the_first_patches_is_good_against_its_source(
    raw: Path, tmp_path: Path, limit: int
) -> None:
    made(raw, tmp_path / "store", limit=limit)
    assert verify(tmp_path / "store", raw, workers=0).good


def test_a_table_without_its_splits_is_a_problem(stacked: Path, tmp_path: Path) -> None:
    copy = tmp_path / "store"
    shutil.copytree(stacked, copy)
    table = pq.read_table(copy / "metadata.parquet").drop_columns(["split"])
    pq.write_table(table, copy / "metadata.parquet")
    assert any("no column 'split'" in problem for problem in verify(copy).problems)


def test_records_that_safetensors_reads_otherwise_are_found(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first record of each modality is given to the library that owns the format."""
    given = []

    def another_mind(record: memoryview) -> dict[str, Any]:
        given.append(bytes(record))
        return {name: array + 1 for name, array in decode_with_safetensors(record).items()}

    monkeypatch.setattr(
        "patchpress.converter.commands.verify_records.decode_with_safetensors", another_mind
    )
    verdict = verify(copy, workers=0)
    assert len(given) == 3
    assert sum("safetensors reads other arrays" in problem for problem in verdict.problems) == 3


def test_records_of_the_same_bands_are_told_apart_without_extents(
    tmp_path: Path, native: Path
) -> None:
    """Then verify asks the store for the modality of a key."""
    copy = Path(shutil.copytree(native, tmp_path / "store"))
    (copy / "extents.safetensors").unlink()
    manifest = json.loads((copy / "manifest.json").read_text())
    twin = dict(manifest["modalities"]["s2"], key="{s1_name}_twin", records=0)
    manifest["modalities"]["twin"] = twin
    for counts in (*manifest["splits"].values(), *manifest["flagged"]["splits"].values()):
        counts["twin"] = 0
    table = pq.read_table(copy / "metadata.parquet")
    table = table.append_column("has_twin", pa.array([False] * len(table)))
    table = table.append_column("twin_checksum", pa.array([None] * len(table), pa.string()))
    pq.write_table(table, copy / "metadata.parquet")
    write_sealed(copy / "manifest.json", manifest)
    problems = verify(copy, workers=0).problems
    assert problems == ["metadata.parquet is not the file that was written with the manifest"]
