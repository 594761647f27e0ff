"""Tables of a few kB that unfold to gigabytes are refused in a sentence, in bounded memory."""

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress.converter.commands.rewrite_table import rewrite_table
from patchpress.converter.tables.metadata_file import write_metadata
from patchpress.converter.tables.name_columns import read_columns
from patchpress.converter.tables.tablefiles import read_groups
from patchpress.readers.errors import TableError
from patchpress.readers.format.parquet_bounds import read_bounded
from patchpress.readers.format.table_file import allowed_bytes
from tests.support.helpers import PEAK, python

ROWS = 20_000


def bomb(path: Path, kind: str) -> Path:
    values = pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int32()), ["x" * 300_000])
    if kind == "lists":
        values = pa.ListArray.from_arrays(pa.array(range(ROWS + 1), pa.int32()), values)
    names = pa.array([f"patch_{number}" for number in range(ROWS)])
    columns = {"patch_id": names, "labels": values}
    if kind == "names":
        columns = {"patch_id": values, "labels": names}
    pq.write_table(pa.table(columns), path, compression="zstd", store_schema=False)
    return path


READERS: dict[str, Callable[[Path], object]] = {
    "groups": lambda path: list(read_groups(path)),
    "columns": lambda path: read_columns(path, ["patch_id", "labels"]),
    "rewritten": rewrite_table,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["values", "lists", "names"])
def test_a_table_that_unfolds_is_refused(tmp_path: Path, kind: str, reader: str) -> None:
    path = bomb(tmp_path / "a.parquet", kind)
    assert path.stat().st_size < 200_000
    before, content = pa.default_memory_pool().max_memory(), path.read_bytes()
    with pytest.raises(TableError) as error:
        READERS[reader](path)
    sentence = str(error.value)
    if (kind, reader) == ("lists", "columns"):  # its type is refused before
        assert "which must be a string" in sentence
    else:
        assert sentence == (
            f"{path} unfolds to 6.0 GB or more in 20,000 rows, and 25.2 MB are allowed: write it "
            "again with shorter values, or leave out columns that are not needed"
        )
    assert pa.default_memory_pool().max_memory() - before < 10 << 20
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.parquet"]


def test_columns_that_are_not_needed_may_be_of_any_size(tmp_path: Path) -> None:
    path = bomb(tmp_path / "a.parquet", "values")
    assert len(read_columns(path, ["patch_id"])) == ROWS
    assert sum(len(group) for group in read_groups(path, ["patch_id"])) == ROWS


PROGRAM = (
    PEAK
    + """
import sys
from pathlib import Path
from patchpress.converter.tables.metadata_file import write_metadata
from patchpress.converter.tables.tablefiles import read_groups
from patchpress.readers.errors import TableError

list(read_groups(Path(sys.argv[1])))
before = peak()
for path in sys.argv[2:]:
    try:
        list(read_groups(Path(path)))
    except TableError:
        print("refused")
print(peak() - before)
"""
)


def test_the_peak_of_the_process_stays(tmp_path: Path) -> None:
    usual = pa.table({"patch_id": [f"patch_{number}" for number in range(ROWS)]})
    pq.write_table(usual, tmp_path / "usual.parquet")
    kinds = ("values", "lists", "names")
    bombs = [bomb(tmp_path / f"{kind}.parquet", kind) for kind in kinds]
    done = python("-c", PROGRAM, tmp_path / "usual.parquet", *bombs)
    assert done.code == 0, done.err
    *refused, above = done.out.splitlines()
    assert refused == ["refused"] * len(kinds)
    assert int(above) < 100 << 20


@pytest.mark.parametrize("kind", ["text", "lists"])
def test_no_table_is_written_that_readers_refuse(tmp_path: Path, kind: str) -> None:
    def table(nbytes: int) -> pa.Table:
        texts = ["x" * (nbytes // 500)] * 500
        values = [[text[:100]] * (len(text) // 100) for text in texts] if kind == "lists" else texts
        return pa.table({"patch_id": [f"p{number}" for number in range(500)], "long": values})

    path, longest = tmp_path / "metadata.parquet", 16 if kind == "lists" else 21
    write_metadata(path, table(longest << 20))
    with pq.ParquetFile(path) as file:
        groups = range(file.num_row_groups)
        assert len(read_bounded(file, path, groups, None, allowed_bytes(500))) == 500
    path.unlink()
    with pytest.raises(TableError, match=r"unfold to .* in 500 rows, .* no column 'long', or"):
        write_metadata(path, table(60 << 20))
    assert list(tmp_path.iterdir()) == []


LONGEST = (
    PEAK
    + """
import sys
from pathlib import Path
import pyarrow.parquet as pq
from patchpress.readers.format.parquet_bounds import BUFFER, read_bounded
from patchpress.readers.format.table_file import allowed_bytes

def read(path):
    with pq.ParquetFile(path, buffer_size=BUFFER) as file:
        rows = file.metadata.num_rows
        return read_bounded(file, Path(path), [0], None, allowed_bytes(rows))

read(sys.argv[1])
before = peak()
print(read(sys.argv[2]).nbytes, peak() - before)
"""
)


@pytest.mark.slow
def test_the_longest_table_of_20_000_rows_fits_into_100_mb(tmp_path: Path) -> None:
    usual = pa.table({"patch_id": [f"patch_{number}" for number in range(ROWS)]})
    draw = random.Random(1)  # noqa: S311
    values = pa.array([draw.randbytes(1_550).hex() for _ in range(ROWS)])
    longest = usual.append_column("long", values)
    for name, table in (("usual", usual), ("longest", longest)):
        pq.write_table(table, tmp_path / name, compression="zstd", use_dictionary=False)
    done = python("-c", LONGEST, tmp_path / "usual", tmp_path / "longest")
    assert done.code == 0, done.err
    nbytes, above = map(int, done.out.split())
    assert nbytes > 60_000_000
    assert above < 100 << 20
