"""What the package logs, shown on stderr for `--verbose`."""

import logging

from patchpress.converter.stderr import say


class _StderrLines(logging.Handler):
    """Prints each message as a line, with the module that it comes from.

    It looks up `sys.stderr` each time: while a progress bar is drawn, that is a stream which prints
    lines above the bar.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        say(self.format(record))


def show_log(*, details: bool) -> None:
    """Show what was decided and why; with details, all that is logged."""
    logger = logging.getLogger("patchpress")
    logger.setLevel(logging.DEBUG if details else logging.INFO)
    if not any(isinstance(handler, _StderrLines) for handler in logger.handlers):
        handler = _StderrLines()
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        logger.addHandler(handler)
