"""How a command ends: an exit code, and one sentence on stderr where something was wrong."""

import atexit
import gc
import signal
import sys
import threading
import warnings
from itertools import pairwise
from typing import TextIO

import typer

from patchpress.readers.errors import PatchpressError, SourceError, StoreError


class _Interrupted(BaseException):
    """Ctrl-C; click has its own way with KeyboardInterrupt, which says nothing."""


def _interrupt(number: int, frame: object) -> None:
    raise _Interrupted


def run(app: typer.Typer) -> None:
    """Run a command; each error on purpose becomes one sentence on stderr.

    Exit codes: 0 done, 1 the data is not as asked, 2 the command was wrong.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)
    gc.set_threshold(100_000, 50, 50)  # what is imported is never garbage, but searched each time
    atexit.register(gc.freeze)  # to search what lives until the end for cycles takes some 30 ms
    try:
        # Not standalone: a wrong option, too, becomes one sentence, and not a page of usage.
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            code = app(standalone_mode=False)
        sys.exit(code or 0)
    except (SourceError, StoreError) as error:
        _end(error, 1)
    except PatchpressError as error:
        _end(error, 2)
    except (_Interrupted, KeyboardInterrupt, typer.Abort):
        _end(f"interrupted: {_way_on()}", 1)
    except BrokenPipeError:
        # The reader of our output left, as `head` does.
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        # click's own errors; Typer carries a copy of click, so they have no class to name here.
        if not hasattr(error, "format_message"):
            raise
        if not error.format_message():  # no command at all: the help was shown
            sys.exit(2)
        _end(f"{_with_value(error.format_message())}; see `patchpress --help`", 2)


def _way_on() -> str:
    """What is true after Ctrl-C: a conversion keeps what it has stored, the others have nothing."""
    if sys.argv[1:2] == ["convert"]:
        return "run the same command again to go on from where it stopped"
    return "run the same command again, it starts from the beginning"


def _with_value(message: str) -> str:
    """What click says of a wrong option, with the value that it leaves out for numbers."""
    message = message.rstrip(".").replace("Value error, ", "")
    for option, value in pairwise(sys.argv[1:]):
        if option.startswith("--") and f"'{option}'" in message and value not in message:
            message += f", not {value!r}"
    return message


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning as one sentence, without the place in the code."""
    print(f"patchpress: {message}", file=sys.stderr)


def _end(error: object, code: int) -> None:
    print(f"patchpress: {error}", file=sys.stderr)
    sys.exit(code)
