"""A table of which few rows have pixels: the join takes few bytes for each of the others."""

from pathlib import Path

import pytest

from tests.support.helpers import PEAK, python

pytestmark = pytest.mark.slow

MOST = 140
"""Bytes of memory for each row without pixels, at most: its name has 60."""
PROGRAM = (
    PEAK
    + """
import patchpress.converter.startup
import sys
from pathlib import Path
from patchpress.converter.allocation import large_blocks_given_back, note_command
from patchpress.converter.descriptions.labels import record_columns
from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.sources.patch import Patch
from patchpress.converter.tables.metadata import join
from patchpress.converter.tables.official import check_tables
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.converter.tables.split_column import SplitOptions

note_command()
folder, step = Path(sys.argv[1]), 200

@large_blocks_given_back()
def run():
    description = find_description("seasonet")
    files = {"meta": folder / "meta.csv", "train": folder / "train.csv"}
    tables = check_tables(description, {"meta": files["meta"]})
    rules = description.record_rules(has_tables=True)
    log = RecordLog(record_columns(description.primary, rules), description.identity)
    names = (line.rstrip().rpartition(",")[2] for line in files["meta"].open())
    for at, name in enumerate(names):
        if at % step == 1:
            log.add(Patch(modality="s2", key=name, name=name, identity=""), Encoded(1, at, None))
    joined = join(description, {"s2": log}, tables, files, SplitOptions())
    absent = joined.listed_without_pixels["train"]
    print(len(joined.table), joined.rows_without_pixels, len(absent), peak())

run()
"""
)


def _peak(folder: Path, rows: int) -> int:
    folder.mkdir()
    with (folder / "meta.csv").open("w") as file:
        file.write("Season,Grid,Classes,Clouds,Snow,Latitude,Longitude,Path\n")
        for at in range(rows):
            name = f"spring/grid1/32UME_20180418T104021_{at * 7919:028}"
            file.write(f'Spring,1,"2,{1 + at % 33}",0,0,50,8,{name}\n')
    (folder / "train.csv").write_text("".join(f"{at}\n" for at in range(0, rows, 2)))
    done = python("-c", PROGRAM, folder)
    assert done.code == 0, done.err
    joined, without, absent, peak = map(int, done.out.split())
    assert (joined, without) == (rows // 200, rows - rows // 200)
    assert absent == rows // 2 - rows // 200
    return peak


def test_rows_without_pixels_are_hardly_kept(tmp_path: Path) -> None:
    few, many = 400_000, 1_200_000
    more = _peak(tmp_path / "many", many) - _peak(tmp_path / "few", few)
    assert more / (many - few) < MOST, f"{more >> 20} MiB more for {many - few:,} rows more"
