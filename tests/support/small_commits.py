"""The command `patchpress`, which commits after so many bytes: tests stop it between any records.

python tests/support/small_commits.py BYTES convert …

With the environment variable SECONDS_A_COMMIT it waits so long after each commit, so that a signal
comes before the end even if the machine is busy.
"""

import os
import sys
import time
from typing import Any

from patchpress.converter.cli import main
from patchpress.converter.encoding import stream
from patchpress.converter.storage import transactions
from patchpress.converter.storage.journal import Journal

SECONDS = float(os.environ.get("SECONDS_A_COMMIT", "0"))
append = Journal.append


def append_and_wait(journal: Journal, *arguments: Any, **options: Any) -> None:
    """Note a commit, and wait."""
    append(journal, *arguments, **options)
    time.sleep(SECONDS)


if SECONDS:
    Journal.append = append_and_wait  # type: ignore[method-assign,assignment]
stream.CHUNK_BYTES = transactions.COMMIT_BYTES = int(sys.argv.pop(1))
main()
