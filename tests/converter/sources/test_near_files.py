"""Tables and lists whose names nearly fit: told; folders in their place: refused."""

from pathlib import Path

import pytest

from patchpress import dry_run, index
from patchpress.readers.errors import SourceError
from tests.support.helpers import DATASET, made
from tests.support.synthetic import TABLE


@pytest.mark.parametrize(
    "name", ["Metadata.parquet", "metadata.csv", "metadata (1).parquet", "METADATA.parquet.gz"]
)
def test_a_table_of_nearly_that_name_is_told(raw: Path, tmp_path: Path, name: str) -> None:
    (raw / TABLE).rename(raw / name)
    said = f"no {TABLE}, but there is {name}: give it with --path metadata={raw / name}"
    assert said in dry_run(DATASET, raw, tmp_path / "store", workers=0).text()
    assert said in made(raw, tmp_path / "store").text()


def test_other_files_are_not_meant(raw: Path, tmp_path: Path) -> None:
    (raw / TABLE).unlink()
    (raw / "readme.txt").write_text("")
    (raw / "metadata").mkdir()
    assert "but there is" not in made(raw, tmp_path / "store").text()


def test_a_table_in_parts_is_refused(raw: Path, tmp_path: Path) -> None:
    (raw / TABLE).rename(raw / "part-0.parquet")
    (raw / TABLE).mkdir()
    (raw / "part-0.parquet").rename(raw / TABLE / "part-0.parquet")
    said = rf"metadata: .*{TABLE} is a folder, not a file; if it is a table in parts"
    with pytest.raises(SourceError, match=said):
        made(raw, tmp_path / "store")
    with pytest.raises(SourceError, match=said):
        made(raw, tmp_path / "store", paths={"metadata": raw / TABLE})
    with pytest.raises(SourceError, match=said):
        index(_lmdb(tmp_path), DATASET, paths={"metadata": raw / TABLE})


def _lmdb(root: Path) -> Path:
    """A folder with a data file that no manifest describes."""
    (root / "lmdb").mkdir()
    (root / "lmdb" / "data.mdb").write_bytes(bytes(8192))
    return root / "lmdb"
