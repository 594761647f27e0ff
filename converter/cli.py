"""The command `patchpress`: one library call a command; results to stdout, the rest to stderr."""

import patchpress.converter.startup  # noqa: F401 -- before all others

# isort: split

# These add their commands to the app, in the order in which its help lists them.
from patchpress.converter.commandline import conversion, inspection, parts  # noqa: F401
from patchpress.converter.commandline.app import app
from patchpress.converter.exits import run

__all__ = ["app", "main"]


def main() -> None:
    """Run the command."""
    run(app, "patchpress")


if __name__ == "__main__":
    main()
