"""Ends the command with a sentence on a system that lacks what it is made of; it does so on import.

Nothing else of the command can be imported there. Reading needs none of it.
"""

import sys
from importlib.util import find_spec

from patchpress.converter.stderr import say

NEEDED = ("fcntl", "resource")
"""Modules of Python that Windows lacks."""

if any(find_spec(name) is None for name in NEEDED):
    say(
        f"patchpress: the command needs Linux or macOS (Python's modules {' and '.join(NEEDED)}); "
        "on this system a store is read from Python: `from patchpress import open_store`"
    )
    sys.exit(2)
