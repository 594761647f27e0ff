"""What is logged of tables and lists: which were read, and which split rule was taken and why."""

import logging
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import convert
from patchpress.converter.options import SplitBy
from tests.support.helpers import DATASET, tiny_dataset
from tests.support.synthetic import FLAGGED_TABLE, TABLE

Logged = Callable[..., list[str]]


@pytest.fixture
def logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Logged:
    """What a conversion logs of tables at INFO; each conversion must have another `store`."""

    def run(
        dataset: str | Path,
        source: Path,
        store: str = "store",
        split: SplitBy = SplitBy.official,
    ) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO, "patchpress.converter.tables"):
            convert(str(dataset), source, tmp_path / store, workers=0, split=split)
        return caplog.messages

    return run


def test_tables_splits_and_labels_are_logged_with_their_source(raw: Path, logged: Logged) -> None:
    found = logged(DATASET, raw)
    for name in (TABLE, FLAGGED_TABLE):
        rows = pq.read_metadata(raw / name).num_rows
        assert f"read the table {raw / name}: {rows} rows" in found
    assert "splits: column split of the official tables" in found
    assert "labels: labels from the tables" in found
    found = logged(DATASET, raw, "other", split=SplitBy.geographic)
    assert "splits: by the position of each patch in its tile, as asked" in found
    (raw / TABLE).unlink()
    (raw / FLAGGED_TABLE).unlink()
    found = logged(DATASET, raw, "third")
    assert "labels: labels from the codes of map" in found
    assert "splits: none; the source has no table with splits, and no list" in found


def test_lists_and_the_reason_for_them_are_logged(tmp_path: Path, logged: Logged) -> None:
    dataset = tiny_dataset(tmp_path, {"g": ["p1", "p2"]})
    splits = '[splits]\ncolumn = "split"\nnames = ["train", "test"]\n[splits.lists]\n'
    dataset.write_text(f'{dataset.read_text()}\n{splits}train = "train.txt"\n')
    listed = tmp_path / "raw" / "train.txt"
    listed.write_text("p1\n")
    found = logged(dataset, tmp_path / "raw")
    assert f"read the list {listed}: 1 names" in found
    assert "splits: the lists of train; there is no table with splits" in found


def test_other_spellings_are_logged(raw: Path, logged: Logged) -> None:
    table = pq.read_table(raw / TABLE)
    cells = [[label.upper() for label in cell] for cell in table["labels"].to_pylist()]
    at = table.column_names.index("labels")
    pq.write_table(table.set_column(at, "labels", pa.array(cells)), raw / TABLE)
    (line,) = [line for line in logged(DATASET, raw) if "canonical names" in line]
    assert cells[0][0] in line
