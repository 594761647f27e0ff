"""The join of all rows of a large data set takes little more memory than its table."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.helpers import PEAK, python

pytestmark = pytest.mark.slow

TABLES = ("metadata.parquet", "metadata_for_patches_with_snow_cloud_or_shadow.parquet")
ROWS = 549_488
MOST = 400 << 20
"""Bytes that the process may take in all: Python and pyarrow 85 MiB, the rows 178."""
PROGRAM = (
    PEAK
    + """
import patchpress.converter.startup
import sys
from pathlib import Path
import pyarrow.parquet as pq
from patchpress.converter.allocation import large_blocks_given_back
from patchpress.converter.descriptions.labels import record_columns
from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.encoding.encoder import Encoded, Ground
from patchpress.converter.sources.patch import Patch
from patchpress.converter.tables.metadata import join
from patchpress.converter.tables.metadata_file import write_metadata
from patchpress.converter.tables.official import check_tables
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.converter.tables.split_column import SplitOptions
from patchpress.converter.without_pandas import leave_out_pandas

leave_out_pandas()  # as the command does

@large_blocks_given_back()
def run():
    description = find_description("bigearthnet-v2")
    paths = dict(zip(description.tables, map(Path, sys.argv[2:]), strict=True))
    tables = check_tables(description, paths)
    rules = description.record_rules(has_tables=True)
    modalities = description.modalities.values()
    logs = {
        one.name: RecordLog(record_columns(one, rules), description.identity) for one in modalities
    }
    row = 0
    for path in paths.values():
        for batch in pq.ParquetFile(path).iter_batches(8192, use_threads=False):
            for one in modalities:
                names = batch.column(batch.schema.get_field_index(one.key_column)).to_pylist()
                for at, name in enumerate(names, row):
                    patch = Patch(modality=one.name, key=name, name=name, identity="")
                    ground = Ground(32600 + at % 60, float(at), float(at), at + 1200.0, at + 1200.0)
                    logs[one.name].add(patch, Encoded(1, at * 7919, ground))
            row += len(batch)
    del batch, names
    joined = join(description, logs, tables, {}, SplitOptions())
    write_metadata(Path(sys.argv[1]), joined.table)
    print(len(joined.table), peak())

run()
"""
)


def test_all_rows_with_three_modalities(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "metadata.parquet"
    tables = [shared_data / "bigearthnet-v2" / name for name in TABLES]
    done = python("-c", PROGRAM, out, *tables)
    assert done.code == 0, done.err
    rows, peak = map(int, done.out.split())
    assert rows == ROWS
    assert peak < MOST, f"{peak >> 20} MiB"
    names = pq.read_table(out, columns=["patch_id"])["patch_id"].to_pylist()
    assert names == sorted(names)
    digests = pq.read_table(out, columns=["s2_checksum"])["s2_checksum"]
    assert len(set(digests.to_pylist())) == ROWS
