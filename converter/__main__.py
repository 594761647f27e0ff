"""``python -m converter`` is the command `patchpress`."""

from converter.cli import main

main()
