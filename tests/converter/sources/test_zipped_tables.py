"""Tables and lists that lie in zip archives of the source are found and read."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from patchpress.converter.descriptions.parse import find_description
from patchpress.converter.sources.locate import locate
from tests.support.helpers import DATASET, Ended, command, folder_bytes, made
from tests.support.zipping import entry_at, patched, zip_of, zipped

pytestmark = pytest.mark.slow

Command = Callable[..., Ended]
TABLE = "metadata.parquet"


@pytest.mark.parametrize("inner", [TABLE, f"BigEarthNet/v2/{TABLE}"])
def test_a_table_is_read_out_of_a_zip(raw: Path, tmp_path: Path, inner: str) -> None:
    source = zipped(raw, tmp_path / "zipped")
    data = (source / TABLE).read_bytes()
    (source / "tables.zip").write_bytes(zip_of({inner: data, "readme.txt": b"x"}))
    (source / TABLE).unlink()
    (tmp_path / "temporary").mkdir()
    env = os.environ | {"TMPDIR": str(tmp_path / "temporary")}
    ended = command("convert", DATASET, source, tmp_path / "store", env=env)
    assert ended.code == 0, ended.err
    assert f"metadata is read out of {source}/tables.zip/{inner}" in ended.out
    assert os.listdir(tmp_path / "temporary") == []
    made(raw, tmp_path / "whole")
    assert folder_bytes(tmp_path / "store") == folder_bytes(tmp_path / "whole")


def test_the_archive_is_what_names_such_a_table(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process copies it elsewhere, and goes on with the same conversion."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (raw / "tables.zip").write_bytes(zip_of({TABLE: (raw / TABLE).read_bytes()}))
    (raw / TABLE).unlink()
    parts = locate(find_description(DATASET), raw, {}, None)
    assert parts.paths["metadata"] == (raw / "tables.zip",)
    assert parts.files["metadata"].parts[-2:] == ("tables.zip", TABLE)


def test_one_that_cannot_be_read_is_named(raw: Path, tmp_path: Path, patchpress: Command) -> None:
    data = zip_of({TABLE: (raw / TABLE).read_bytes()})
    (raw / TABLE).unlink()
    damaged = bytearray(data)
    damaged[entry_at(data, TABLE) // 2] ^= 1
    secret = patched(data, TABLE, 8, "<H", 1, local=6)
    for bad, said in ((damaged, "is damaged in the archive: its CRC-32"), (secret, "is encrypted")):
        (raw / "tables.zip").write_bytes(bad)
        ended = patchpress("convert", DATASET, raw, tmp_path / "store", "--workers", 0)
        assert ended.code == 1
        assert ended.sentence.startswith(f"{raw}/tables.zip/{TABLE} {said}")
