"""``python -m patchpress`` is the command `patchpress`."""

from patchpress.converter.cli import main

if __name__ == "__main__":
    main()
