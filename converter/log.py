"""What the package logs, shown on stderr for `--verbose`."""

import logging
import sys
from typing import TextIO


class _Lines(logging.StreamHandler[TextIO]):
    """Each message as a line, with the module that it comes from."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))


def show_log(*, details: bool) -> None:
    """Show what was decided and why; with details, all that is logged."""
    logger = logging.getLogger("patchpress")
    logger.setLevel(logging.DEBUG if details else logging.INFO)
    if not any(isinstance(handler, _Lines) for handler in logger.handlers):
        logger.addHandler(_Lines())
