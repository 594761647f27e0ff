"""The command `patchpress`: one library call a command; results to stdout, the rest to stderr."""

import patchpress.converter.systems  # before all others

# isort: split

import patchpress.converter.startup  # noqa: F401 -- before what it sets something for

# isort: split

# These add their commands to the app, in the order in which its help lists them.
from patchpress.converter.commandline import conversion, exporting, inspection, parts  # noqa: F401
from patchpress.converter.commandline.app import app
from patchpress.converter.exits import run
from patchpress.converter.without_pandas import leave_out_pandas, let_pandas_in

__all__ = ["app", "main"]


def main() -> None:
    """Run the command."""
    leave_out_pandas()
    try:
        run(app, "patchpress")
    finally:  # a program may have called this
        let_pandas_in()


if __name__ == "__main__":
    main()
