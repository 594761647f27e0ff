"""The records of a data file in pages written once more, by LMDB, if LMDB cannot read that file."""

from pathlib import Path

import xxhash

from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.encoding.frame import PAGE_BYTES, ROOM
from patchpress.converter.storage.folder import writing
from patchpress.converter.storage.journal import Journal
from patchpress.converter.storage.pages import Pages
from patchpress.converter.storage.transactions import Mark, Transactions
from patchpress.readers.access.disk_order import Announced
from patchpress.readers.access.files import open_file
from patchpress.readers.errors import TargetError
from patchpress.readers.format.manifest import DATA


def copy_by_lmdb(data: Path, journal: Journal, folder: Path) -> Mark:
    """Let LMDB store the records of `data` in the data file of `folder`; returns how far that is.

    Keys and lengths in the journal say where each record was written. The file is the same that
    a conversion makes whose records LMDB writes from the first; it is flushed to the disk.

    Raises:
        TargetError: a record is not what was written; the disk is full.
    """
    done = Mark()

    def note(mark: Mark) -> None:
        nonlocal done
        done = mark

    file = open_file(data)
    pages, written, ahead = Pages(), file.bytes, Announced(file)
    with writing(folder / DATA):
        transactions = Transactions(folder, done, note)
        try:
            for entry in journal.entries():
                if not isinstance(entry.result, Encoded):
                    continue
                key, length = entry.key.encode(), entry.result.length
                number, _ = pages.add(key, length)
                begin = number * PAGE_BYTES + ROOM
                ahead.reach(begin + length)
                record = written[begin : begin + length]
                if xxhash.xxh3_64_intdigest(record) != entry.result.checksum:
                    raise TargetError(
                        f"{data} does not give back what was written to it (record {entry.key}): "
                        "check its disk, and give --overwrite --writer lmdb to begin anew"
                    )
                transactions.put(key, record, last=True)
                transactions.count(length)
            transactions.sync()
        finally:
            transactions.close()
    return done
