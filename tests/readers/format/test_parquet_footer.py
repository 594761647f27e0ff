"""What footers say of columns: the same as pyarrow says, and an error if they are damaged."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress.readers.format.parquet_footer import ColumnChunk, chunks_of, column_chunks
from tests.support.helpers import python

TABLE = pa.table(
    {
        "name": [f"p{number}" for number in range(90)],
        "labels": [["a", "b"], None, []] * 30,
        "split": pa.array(["train", "test", None] * 30).dictionary_encode(),
        "box": [{"x": 1.5, "y": [number]} for number in range(90)],
        "number": pa.array(range(90), pa.int32()),
        "at": pa.array(range(90), pa.timestamp("us", "UTC")),
    }
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "table.parquet"
    codec = dict.fromkeys(("name", "labels.list.element"), "zstd") | {"number": "none"}
    pq.write_table(TABLE, path, row_group_size=40, compression=codec)
    return path


def test_it_says_what_pyarrow_says(file: Path) -> None:
    with pq.ParquetFile(file) as known, file.open("rb") as opened:
        found = column_chunks(opened, 3, len(known.schema))
        for number, group in enumerate(found):
            for at, chunk in enumerate(group):
                said = known.metadata.row_group(number).column(at)
                assert chunk == ColumnChunk.of(said)._replace(codec=chunk.codec)
                assert chunk.codec == {"UNCOMPRESSED": "NONE"}.get(
                    said.compression, said.compression
                )


@pytest.mark.parametrize(("groups", "leaves"), [(2, 7), (3, 6), (4, 7)])
def test_columns_that_pyarrow_does_not_count_are_refused(
    file: Path, groups: int, leaves: int
) -> None:
    with file.open("rb") as opened, pytest.raises(pa.ArrowInvalid, match="footer lacks a column"):
        column_chunks(opened, groups, leaves)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1\xff\xff\xff\x7fPAR1", b"\x19" * 400])
def test_what_is_no_footer_is_an_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(
        data + len(data).to_bytes(4, "little") + b"PAR1" if data[:1] == b"\x19" else data
    )
    with path.open("rb") as opened, pytest.raises(pa.ArrowInvalid):
        column_chunks(opened, 1, 1)


FLIPS = """
import random, sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from patchpress.readers.format.parquet_bounds import Unfolds, read_bounded

path, count = Path(sys.argv[1]), int(sys.argv[2])
data = path.read_bytes()
begin = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
draw, read, refused = random.Random(5), 0, 0
for _ in range(count):
    at, bit = draw.randrange(begin, len(data)), 1 << draw.randrange(8)
    path.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
    try:
        with pq.ParquetFile(path) as file:
            read_bounded(file, path, range(file.num_row_groups), None, 1 << 24)
        read += 1
    except (OSError, pa.ArrowException, Unfolds, UnicodeDecodeError):
        refused += 1
print(read, refused)
"""


@pytest.mark.parametrize("count", [300, pytest.param(6000, marks=pytest.mark.slow)])
def test_a_flipped_bit_of_a_footer_ends_no_process(file: Path, tmp_path: Path, count: int) -> None:
    """pyarrow alone ends it for some: what it counts of levels does not fit a column any more."""
    ended = python("-c", FLIPS, file, count, cwd=tmp_path)
    assert ended.code == 0, ended.err
    read, refused = map(int, ended.out.split())
    assert read > count / 20
    assert refused > count / 20


def test_the_footer_of_an_open_file_is_read_once(file: Path) -> None:
    with pq.ParquetFile(file) as one, pq.ParquetFile(file) as other:
        assert chunks_of(one, file) is chunks_of(one, file)
        assert chunks_of(other, file) == chunks_of(one, file)
