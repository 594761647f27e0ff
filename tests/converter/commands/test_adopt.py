"""`patchpress index --dataset` makes another program's LMDB a store, and does not change it."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest
from safetensors.numpy import save

from patchpress import Store, StoreDamaged, open_store
from patchpress.converter.commands.adopt import adopt
from patchpress.converter.commands.index import index
from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.progress import NoProgress
from patchpress.converter.storage.transactions import LMDB_09
from patchpress.readers.format.manifest import EXTENTS
from tests.support.helpers import (
    DATASET,
    Ended,
    band_files,
    described,
    first_band,
    folder_bytes,
    made,
    patches,
    stored_values,
    tiny_dataset,
)
from tests.support.synthetic import FLAGGED_TABLE, TABLE

pytestmark = pytest.mark.slow

Command = Callable[..., Ended]
Records = dict[str, bytes]


def records_of(tree: Path) -> Records:
    """Key -> the record that another program stores: a tensor for each band, by safetensors."""
    records = {}
    for modality in described().modalities:
        for name in patches(tree, modality):
            bands = band_files(tree, modality, name)
            key = f"{name}_reference_map" if modality == "map" else name
            records[key] = save({band: first_band(path) for band, path in bands.items()})
    return records


def written(folder: Path, records: Records) -> Path:
    """An LMDB as another program leaves it: written in several transactions, with its lock file."""
    pairs = list(records.items())
    with lmdb.open(str(folder), map_size=1 << 30, **LMDB_09) as environment:
        for start in range(0, max(len(pairs), 1), 7):
            with environment.begin(write=True) as transaction:
                for key, value in pairs[start : start + 7]:
                    transaction.put(key.encode(errors="surrogateescape"), value)
    return folder


@pytest.fixture(scope="session")
def foreign_records(tree: Path) -> Records:
    return records_of(tree)


@pytest.fixture
def foreign(foreign_records: Records, tmp_path: Path) -> Path:
    """The records of `tree` in an LMDB that Patchpress did not write."""
    return written(tmp_path / "foreign", foreign_records)


def tables(tree: Path) -> list[str]:
    return ["--path", f"metadata={tree / TABLE}", "--path", f"flagged={tree / FLAGGED_TABLE}"]


@pytest.fixture
def adopted(foreign: Path, tree: Path, patchpress: Command) -> Store:
    ended = patchpress("index", foreign, "--dataset", DATASET, *tables(tree))
    assert (ended.code, ended.err) == (0, "")
    return open_store(foreign)


def test_it_is_the_store_that_converting_makes(
    adopted: Store, native: Path, tree: Path, foreign_records: Records
) -> None:
    assert stored_values(adopted.path) == stored_values(native) == foreign_records
    assert adopted.has_extents
    ours, other = open_store(native).manifest, adopted.manifest
    assert other.shards[0].digest == ours.shards[0].digest
    assert (other.modalities, other.classes, other.splits) == (
        ours.modalities,
        ours.classes,
        ours.splits,
    )
    ground = ["epsg", "left", "bottom", "right", "top"]
    table = adopted.table()
    assert table.drop_columns(ground) == open_store(native).table().drop_columns(ground)
    assert table.column_names == open_store(native).table().column_names
    assert all(table[column].null_count == len(table) for column in ground)


def test_it_is_read_as_any_other(adopted: Store, native: Path) -> None:
    other = open_store(native)
    for modality in ("s2", "s1", "map"):
        for split in (None, "train", "val", "test"):
            assert adopted.keys(modality, split) == other.keys(modality, split)
        keys = adopted.keys(modality)
        np.testing.assert_array_equal(adopted.read_batch(keys), other.read_batch(keys))
    key = adopted.keys("s2")[0]
    np.testing.assert_array_equal(adopted.view(key, "B05"), other.read_bands(key)["B05"])
    np.testing.assert_array_equal(
        open_store(adopted.path, checksums=True).read(key), adopted.read(key)
    )


def test_it_verifies_also_against_its_source(
    adopted: Store, tree: Path, patchpress: Command
) -> None:
    before = folder_bytes(adopted.path)
    ended = patchpress("verify", adopted.path, "--against", tree, "--workers", 0)
    assert (ended.code, ended.err) == (0, "")
    assert "compared with the source  45" in ended.out
    for words in ((adopted.path,), (adopted.path, adopted.keys("s2")[0])):
        assert patchpress("inspect", *words).code == 0
    assert patchpress("index", adopted.path).code == 0
    assert folder_bytes(adopted.path) == before


def test_records_that_are_added_later_are_adopted_too(
    foreign_records: Records, tree: Path, tmp_path: Path, patchpress: Command
) -> None:
    optical = {key: foreign_records[key] for key in patches(tree, "s2")}
    store = written(tmp_path / "store", optical)
    words = ("index", store, "--dataset", DATASET, *tables(tree))
    assert patchpress(*words).code == 0
    assert patchpress(*words).code == 0
    written(store, foreign_records)
    other = Path(shutil.copytree(store, tmp_path / "other"))
    ended = patchpress("index", store)
    assert (ended.code, ended.err) == (0, "")
    assert "records that were added: 30" in ended.out
    assert patchpress("index", other, *words[2:]).code == 0
    assert open_store(other).table() == open_store(store).table()
    assert open_store(other).manifest == open_store(store).manifest
    assert len(open_store(store)) == 45
    assert patchpress("verify", store).code == 0


def test_what_was_there_stays_as_it_was(foreign: Path, tree: Path, patchpress: Command) -> None:
    (foreign / "notes.txt").write_text("mine")
    before = folder_bytes(foreign)
    assert set(before) == {"data.mdb", "lock.mdb", "notes.txt"}
    states = {name: (foreign / name).stat().st_mtime_ns for name in before}
    assert patchpress("index", foreign, "--dataset", DATASET, *tables(tree)).code == 0
    after = folder_bytes(foreign)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"manifest.json", "metadata.parquet", EXTENTS}
    assert {name: (foreign / name).stat().st_mtime_ns for name in before} == states


def test_the_same_records_give_the_same_bytes(
    foreign: Path, tree: Path, tmp_path: Path, patchpress: Command
) -> None:
    copy = shutil.copytree(foreign, tmp_path / "copy")
    for store in (foreign, copy):
        assert patchpress("index", store, "--dataset", DATASET, *tables(tree)).code == 0
    assert folder_bytes(foreign) == folder_bytes(copy)


def test_the_report_is_that_of_a_conversion(
    foreign: Path, tree: Path, native: Path, patchpress: Command
) -> None:
    ended = patchpress("index", foreign, "--dataset", DATASET, *tables(tree))
    assert "native, compression none" in ended.out
    assert "15 s2, 15 s1, 15 map" in ended.out
    assert "split train" in ended.out
    assert not foreign.with_name("foreign.report.json").exists()


def test_without_tables_the_map_gives_the_labels(
    foreign: Path, tree: Path, patchpress: Command, tmp_path: Path
) -> None:
    source = Path(shutil.copytree(tree, tmp_path / "tree"))
    for name in (TABLE, FLAGGED_TABLE):
        (source / name).unlink()
    made(source, tmp_path / "converted", layout="native")
    ended = patchpress("index", foreign, "--dataset", DATASET)
    assert (ended.code, ended.err) == (0, "")
    assert "from the codes of map" in ended.out
    assert "not in the source  metadata, flagged" in ended.out
    column = ["patch_id", "labels"]
    found, expected = open_store(foreign), open_store(tmp_path / "converted")
    assert found.table(columns=column) == expected.table(columns=column)
    assert found.manifest.classes == expected.manifest.classes
    assert patchpress("verify", foreign).code == 0


def test_a_part_of_the_dataset_is_a_store_too(
    foreign_records: Records, tree: Path, tmp_path: Path, patchpress: Command
) -> None:
    names = patches(tree, "s2")
    some = {key: value for key, value in foreign_records.items() if key in names[:6]}
    some |= {key: foreign_records[key] for key in patches(tree, "s1")[:2]}
    store = written(tmp_path / "some", some)
    ended = patchpress("index", store, "--dataset", DATASET, *tables(tree))
    assert (ended.code, ended.err) == (0, "")
    opened = open_store(store)
    assert list(opened.manifest.modalities) == ["s2", "s1"]
    assert opened.keys("s2") == names[:6]
    assert len(opened.keys("s1")) == 2
    assert "s2 without s1" in ended.out
    report = json.loads((tmp_path / "some.report.json").read_text())
    assert report["dataset"] == DATASET
    assert patchpress("verify", store).code == 0


def test_a_store_that_lost_its_manifest_is_adopted(
    stacked: Path, tree: Path, tmp_path: Path, patchpress: Command
) -> None:
    copy = Path(shutil.copytree(stacked, tmp_path / "store"))
    (copy / "manifest.json").unlink()
    ended = patchpress("index", copy, "--dataset", DATASET, *tables(tree))
    assert (ended.code, ended.err) == (0, "")
    assert "stacked, compression none" in ended.out
    ended = patchpress("verify", copy, "--against", tree, "--workers", 0)
    assert (ended.code, ended.err) == (0, "")


def test_a_dataset_of_ones_own_is_adopted(tmp_path: Path, patchpress: Command) -> None:
    description = tiny_dataset(tmp_path, {"g": ["p1", "p2", "p3"]})
    folders = sorted((tmp_path / "raw" / "A" / "g").iterdir())
    records = {
        path.name: save({b: first_band(path / f"{path.name}_{b}.tif") for b in ("fine", "coarse")})
        for path in folders
    }
    store = written(tmp_path / "store", records)
    ended = patchpress("index", store, "--dataset", description)
    assert (ended.code, ended.err) == (0, "")
    assert "labels             none" in ended.out
    assert open_store(store).keys("a") == ["p1", "p2", "p3"]
    words = ("--against", tmp_path / "raw", "--dataset", description, "--workers", 0)
    assert patchpress("verify", store, *words).code == 0


def test_records_of_any_size_are_adopted(tmp_path: Path, patchpress: Command) -> None:
    bands = find_description("uc-merced").modalities["rgb"].bands
    names = ["agricultural00", "beach41", "river07"]
    records = {
        key: save({band.name: np.full((250, 249 + n), n + 1, np.uint8) for band in bands})
        for n, key in enumerate(names)
    }
    store = written(tmp_path / "store", records)
    ended = patchpress("index", store, "--dataset", "uc-merced")
    assert (ended.code, ended.err) == (0, "")
    opened = open_store(store)
    assert opened.table(columns=["label"])["label"].to_pylist() == [
        "agricultural",
        "beach",
        "river",
    ]
    for n, key in enumerate(records):
        assert opened.read(key).shape == (3, 250, 249 + n)
    assert patchpress("verify", store).code == 0


S2 = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_26_57"
MAP = np.full((120, 120), 211, np.uint16)
FOREIGN: dict[str, tuple[str, bytes, str]] = {
    "no safetensors": (S2, b"\x80\x04pickle", "no safetensors"),
    "an empty value": (S2, b"", "no safetensors"),
    "compressed": (S2, b"\x28\xb5\x2f\xfd" + bytes(90), "compressed"),
    "cut": (f"{S2}_reference_map", save({"Data": MAP})[:-1], "no safetensors"),
    "other tensors": (S2, save({"red": MAP, "green": MAP}), "green uint16 [120, 120]"),
    "no tensor": (S2, save({}), "tensors of none"),
    "another dtype": (f"{S2}_reference_map", save({"Data": MAP.astype(np.uint8)}), "Data uint8"),
    "another size": (f"{S2}_reference_map", save({"Data": MAP[:60]}), "Data uint16 [60, 120]"),
    "metadata": (f"{S2}_reference_map", save({"Data": MAP}, {"a": "b"}), "converting again"),
    "another name": ("patch_7", save({"Data": MAP}), "not the name, of map"),
    "a name that does not end": (f"{S2}_reference_map_2", save({"Data": MAP}), "of map"),
    "a name of nowhere": ("S2_of_nowhere_26_57_reference_map", save({"Data": MAP}), "of map"),
    "a name that is no text": ("S2\udcff_26_57_reference_map", save({"Data": MAP}), "no text"),
    "an unknown code": (f"{S2}_reference_map", save({"Data": MAP * 0 + 7}), "code 7"),
}  # fmt: skip


@pytest.mark.parametrize("what", FOREIGN)
def test_a_foreign_record_is_named_and_nothing_is_left(
    tmp_path: Path, patchpress: Command, what: str
) -> None:
    key, value, said = FOREIGN[what]
    good = {"S2B_MSIL2A_20180515T094029_N9999_R036_T35VNJ_15_40_reference_map": save({"Data": MAP})}
    store = written(tmp_path / "store", {**good, key: value})
    before = folder_bytes(store)
    ended = patchpress("index", store, "--dataset", DATASET)
    assert (ended.code, ended.out) == (1, "")
    assert said in ended.sentence
    assert key.encode(errors="surrogateescape").decode(errors="backslashreplace") in (
        ended.sentence.replace("\\\\", "\\")
    )
    assert folder_bytes(store) == before


def test_what_programs_keep_beside_records_is_left_out_and_counted(
    foreign: Path, native: Path, tree: Path, patchpress: Command
) -> None:
    """A count, a list of keys, numbers for keys, pickled values, tensors of something else."""
    further = {
        "__len__": b"45",
        "__metadata__": save({"Data": MAP}),
        "__keys__": pickle.dumps(["a"]),
        "0": pickle.dumps((b"jpeg", 3)),
        "00000001": pickle.dumps(np.zeros(3)),
        "mean": save({"mean": np.zeros(12, np.float32)}),
        "\x07\0\0\0": b"number",
    }
    written(foreign, further)
    for _ in range(2):
        ended = patchpress("index", foreign, "--dataset", DATASET, *tables(tree))
        assert (ended.code, ended.err) == (0, "")
        assert "15 s2, 15 s1, 15 map" in ended.out
        assert "values that are no records, left out: 7" in ended.out
        assert "1 with keys that end in a zero byte (" in ended.out
        assert "3 with names like __len__ (__keys__, __len__, __metadata__)" in ended.out
        assert "2 that are no safetensors (0, 00000001)" in ended.out
        assert "1 with other tensors (mean)" in ended.out
    opened = open_store(foreign)
    assert len(opened) == len(opened.keys()) == 45
    assert opened.has_extents
    assert opened.manifest.shards[0].digest == open_store(native).manifest.shards[0].digest
    ended = patchpress("verify", foreign, "--against", tree, "--workers", 0)
    assert (ended.code, ended.err) == (0, "")
    assert "values that are no records 7, not checked" in " ".join(ended.out.split())


def test_an_lmdb_of_something_else_is_refused(tmp_path: Path, patchpress: Command) -> None:
    store = written(tmp_path / "store", {str(n): pickle.dumps(n) for n in range(100)})
    ended = patchpress("index", store, "--dataset", DATASET)
    assert (ended.code, ended.out) == (1, "")
    assert "none of the 100 values" in ended.sentence
    assert "100 that are no safetensors (0, 1, 10, …)" in ended.sentence


def test_mixed_layouts_are_refused(
    foreign_records: Records, stacked: Path, tmp_path: Path, patchpress: Command
) -> None:
    values = stored_values(stacked)
    first, second = open_store(stacked).keys("s2")[:2]
    store = written(tmp_path / "store", {first: foreign_records[first], second: values[second]})
    ended = patchpress("index", store, "--dataset", DATASET)
    assert ended.code == 1
    assert second in ended.sentence
    assert "it is stacked, where those before are native" in ended.sentence


def test_an_empty_lmdb_is_refused(tmp_path: Path, patchpress: Command) -> None:
    store = written(tmp_path / "store", {})
    ended = patchpress("index", store, "--dataset", DATASET)
    assert ended.code == 1
    assert "no records" in ended.sentence


def test_a_damaged_data_file_is_refused(foreign: Path, patchpress: Command) -> None:
    data = (foreign / "data.mdb").read_bytes()
    for length in (0, 100, 8192, len(data) // 2):
        (foreign / "data.mdb").write_bytes(data[:length])
        ended = patchpress("index", foreign, "--dataset", DATASET)
        assert (ended.code, ended.out) == (1, "")
        assert "data.mdb" in ended.sentence
        assert not (foreign / "manifest.json").exists()


def test_wrong_options_are_one_sentence(foreign: Path, tree: Path, patchpress: Command) -> None:
    before = folder_bytes(foreign)
    for words, code, said in (
        (["--dataset", "bigearthnet-v9"], 2, DATASET),
        (["--dataset", DATASET, "--path", f"s2={tree}"], 2, "there are metadata, flagged"),
        (["--dataset", DATASET, "--path", "metadata"], 2, "NAME=PATH"),
        (["--dataset", DATASET, "--path", f"metadata={tree}/none"], 1, "there is no such file"),
        (
            ["--dataset", DATASET, "--path", f"metadata={foreign}/data.mdb"],
            1,
            "cannot be read as a Parquet table",
        ),
    ):
        ended = patchpress("index", foreign, *words)
        assert (ended.code, ended.out) == (code, "")
        assert said in ended.sentence
        assert folder_bytes(foreign) == before


def test_a_table_of_the_user_is_never_replaced(
    foreign: Path, tree: Path, tmp_path: Path, patchpress: Command
) -> None:
    shutil.copyfile(tree / TABLE, foreign / "metadata.parquet")
    before = folder_bytes(foreign)
    for path in (tree / TABLE, foreign / "metadata.parquet"):
        ended = patchpress("index", foreign, "--dataset", DATASET, "--path", f"metadata={path}")
        assert (ended.code, ended.out) == (2, "")
        assert "metadata.parquet would be replaced" in ended.sentence
        assert folder_bytes(foreign) == before
    (foreign / "metadata.parquet").rename(tmp_path / "official.parquet")
    words = ("--path", f"metadata={tmp_path / 'official.parquet'}")
    assert patchpress("index", foreign, "--dataset", DATASET, *words).code == 0
    # Files that an adoption left which was killed are replaced.
    (foreign / "manifest.json").unlink()
    assert patchpress("index", foreign, "--dataset", DATASET, *words).code == 0
    assert len(open_store(foreign)) == 45


def test_extents_of_another_program_are_never_replaced(foreign: Path, patchpress: Command) -> None:
    (foreign / EXTENTS).write_bytes(save({"extents": MAP}))
    before = folder_bytes(foreign)
    ended = patchpress("index", foreign, "--dataset", DATASET)
    assert (ended.code, ended.out) == (2, "")
    assert f"{EXTENTS} would be replaced" in ended.sentence
    assert folder_bytes(foreign) == before


class Stopping(NoProgress):
    """A progress that raises an error in the middle of the work."""

    def __init__(self, error: type[BaseException]) -> None:
        self._error = error

    def advance(self, patches: int, nbytes: int, share: float | None = None) -> None:
        raise self._error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_an_interruption_while_reading_leaves_all_as_it_was(
    foreign: Path, error: type[BaseException]
) -> None:
    before = folder_bytes(foreign)
    with pytest.raises(error):
        index(foreign, DATASET, progress=Stopping(error))
    assert folder_bytes(foreign) == before


@pytest.mark.parametrize("step", ["write_extents", "new_manifest", "write_manifest"])
def test_an_interruption_while_writing_leaves_all_as_it_was(
    foreign: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = folder_bytes(foreign)
    with monkeypatch.context() as context:
        context.setattr(f"patchpress.converter.commands.adopt.{step}", interrupted)
        with pytest.raises(KeyboardInterrupt):
            index(foreign, DATASET)
    assert folder_bytes(foreign) == before
    index(foreign, DATASET)
    assert len(open_store(foreign)) == 45


def test_a_folder_that_cannot_be_written_is_one_sentence(
    foreign: Path, powerless: Command, closed: Callable[[Path, int], Path]
) -> None:
    closed(foreign, 0o555)
    before = folder_bytes(foreign)
    ended = powerless("index", foreign, "--dataset", DATASET)
    assert (ended.code, ended.out) == (2, "")
    assert "cannot be written" in ended.sentence
    assert folder_bytes(foreign) == before


def test_a_data_file_that_is_written_meanwhile_is_refused(
    foreign: Path, foreign_records: Records
) -> None:
    class Writing(NoProgress):
        def advance(self, patches: int, nbytes: int, share: float | None = None) -> None:
            written(foreign, {"S2B_another": b"value"})

    with pytest.raises(StoreDamaged, match="changed while it was read"):
        adopt(foreign, described(), {}, Writing())
    assert not (foreign / "manifest.json").exists()


def test_a_folder_without_the_right_to_write_is_one_sentence(
    foreign: Path, powerless: Command, closed: Callable[[Path, int], Path]
) -> None:
    before = folder_bytes(foreign)
    closed(foreign, 0o555)
    ended = powerless("index", foreign, "--dataset", DATASET)
    assert (ended.code, ended.out) == (2, "")
    assert "cannot be written (Permission denied)" in ended.sentence
    assert folder_bytes(foreign) == before


def test_a_data_file_that_may_only_be_read_is_adopted(
    foreign: Path, powerless: Command, closed: Callable[[Path, int], Path]
) -> None:
    closed(foreign / "data.mdb", 0o444)
    closed(foreign / "lock.mdb", 0o444)
    ended = powerless("index", foreign, "--dataset", DATASET)
    assert (ended.code, ended.err) == (0, "")
    assert len(open_store(foreign)) == 45


def test_a_data_file_that_may_not_be_read_is_one_sentence(
    foreign: Path, powerless: Command, closed: Callable[[Path, int], Path]
) -> None:
    closed(foreign / "data.mdb", 0o000)
    ended = powerless("index", foreign, "--dataset", DATASET)
    assert (ended.code, ended.out) == (1, "")
    assert "data.mdb cannot be read" in ended.sentence
