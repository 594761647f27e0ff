"""The command `patchpress`, which commits after so many bytes: tests stop it between any records.

python tests/support/small_commits.py BYTES convert …

With the environment variable WAIT_AT, a name of a file and a pipe with a colon between them, the
process that is about to open such a file waits until somebody has opened and closed the other end
of the pipe. With the environment variable SECONDS_A_COMMIT it waits so long after each commit, so
that a signal comes before the end even if the machine is busy.
"""

import os
import sys
import time
from contextlib import suppress
from typing import Any

from patchpress.converter.cli import main
from patchpress.converter.encoding import stream
from patchpress.converter.sources.files import DiskFiles
from patchpress.converter.storage import transactions
from patchpress.converter.storage.journal import Journal
from patchpress.converter.transfer import frames

SECONDS = float(os.environ.get("SECONDS_A_COMMIT", "0"))
append = Journal.append
NAME, _, PIPE = os.environ.get("WAIT_AT", "").partition(":")
open_file = DiskFiles._open


def open_and_wait(files: DiskFiles, name: str) -> int:
    """Open a file, after the other end of the pipe is closed if it is the one to wait at."""
    if name == NAME and os.path.exists(PIPE):
        with suppress(FileNotFoundError), open(PIPE, "rb") as pipe:
            pipe.read()
    return open_file(files, name)


def append_and_wait(journal: Journal, *arguments: Any, **options: Any) -> None:
    """Note a commit, and wait."""
    append(journal, *arguments, **options)
    time.sleep(SECONDS)


if NAME:
    DiskFiles._open = open_and_wait  # type: ignore[method-assign,assignment]
if SECONDS:
    Journal.append = append_and_wait  # type: ignore[method-assign,assignment]
stream.CHUNK_BYTES = transactions.COMMIT_BYTES = frames.CHUNK_BYTES = int(sys.argv.pop(1))
main()
