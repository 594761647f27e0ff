"""The command `patchpress`, which commits after so many bytes: tests stop it between any records.

python tests/support/small_commits.py BYTES convert …
"""

import sys

from patchpress.converter.cli import main
from patchpress.converter.encoding import stream
from patchpress.converter.storage import transactions

stream.CHUNK_BYTES = transactions.COMMIT_BYTES = int(sys.argv.pop(1))
main()
