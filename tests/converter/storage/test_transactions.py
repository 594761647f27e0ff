"""LMDB is given no data file whose pages lead nowhere: it would end the process."""

from pathlib import Path

import pytest

from patchpress.converter.storage.transactions import Mark, Transactions
from patchpress.readers.errors import TargetError
from tests.readers.access.test_damaged_data_file import mutants
from tests.support.helpers import python

PAGE = 4096


def written(folder: Path) -> bytes:
    transactions = Transactions(folder, Mark(), lambda mark: None)
    for number in range(200):
        value = memoryview(bytes(number * 41))
        transactions.put(f"key{number:03}".encode(), value, last=True)
        transactions.count(len(value))
    transactions.sync()
    transactions.close()
    return (folder / "data.mdb").read_bytes()


def test_a_damaged_file_is_not_written_on(tmp_path: Path) -> None:
    data = written(tmp_path)
    root = max(range(2 * PAGE, len(data), PAGE), key=lambda at: data[at + 10] == 1)
    for at in (root, root + 12, PAGE + 16, PAGE + 16 + 24 + 48 + 40):
        damaged = bytearray(data)
        damaged[at] ^= 0x55
        (tmp_path / "data.mdb").unlink()
        (tmp_path / "data.mdb").write_bytes(damaged)
        with pytest.raises(TargetError, match=r"give --overwrite to begin anew"):
            Transactions(tmp_path, Mark(), lambda mark: None)


GOES_ON = """
import json, os, sys
from pathlib import Path
from patchpress.converter.storage.transactions import Mark, Transactions
from patchpress.readers.errors import TargetError
import lmdb

data = Path(sys.argv[1]).read_bytes()
refused = 0
for number, (at, content) in enumerate(json.loads(sys.stdin.read())):
    content = bytes.fromhex(content)
    folder = Path(f"m{number}")
    folder.mkdir()
    (folder / "data.mdb").write_bytes(data[:at] + content + data[at + len(content) :])
    try:
        transactions = Transactions(folder, Mark(), lambda mark: None)
        transactions.put(b"zzz", memoryview(bytes(5000)), last=True)
        transactions.put(b"key1", memoryview(bytes(100)), last=False)
        transactions.count(5100)
        transactions.remove(["key005", "key150", "key1"])
        transactions.sync()
        transactions.close()
    except (TargetError, lmdb.Error):
        refused += 1
print(refused)
"""


def test_mutants_end_no_process(tmp_path: Path) -> None:
    import json

    data = written(tmp_path)
    changes = [(at, content.hex()) for at, content in mutants(data, 200)]
    ended = python("-c", GOES_ON, tmp_path / "data.mdb", input=json.dumps(changes), cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert int(ended.out) > 60
