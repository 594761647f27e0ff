"""`patchpress` with commits of so many bytes: for tests that interrupt it between any two records.

python tests/small_commits.py BYTES convert …
"""

import sys

from converter import stream, transactions
from converter.cli import main

stream.CHUNK_BYTES = transactions.COMMIT_BYTES = int(sys.argv.pop(1))
main()
