"""What is said on stderr, beside the results on stdout."""

import os
import sys
from contextlib import suppress

from patchpress.readers.showing import plain


def say(text: object) -> None:
    """Print one line on stderr; names in it cannot move the cursor or begin another line.

    If nobody can hear it, as on a full disk, the work goes on all the same.
    """
    if sys.stderr is None:  # closed before this process began: print would take stdout
        return
    try:
        print(plain(str(text)), file=sys.stderr, flush=True)
    except (OSError, ValueError):
        _drop()


def _drop() -> None:
    """Discard what is still to be written to stderr: Python would try it again when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)
