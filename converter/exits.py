"""How a command begins and ends: its streams, its exit code, and one sentence for an error.

Exit codes: 0 done, 1 the data is not as asked, 2 the command was wrong or cannot be carried out
here (a full disk, a worker that died), 130 interrupted.
"""

import atexit
import codecs
import gc
import io
import os
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO, cast

import typer

from patchpress.converter.shortage import shortage
from patchpress.converter.stderr import say
from patchpress.readers.errors import (
    OptionError,
    PatchpressError,
    SourceError,
    StoreError,
    TargetError,
)
from patchpress.readers.showing import plain_lines

INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it

# The class of all errors that Typer finds on a command line. It is of click, which Typer needs in
# its older versions and carries in itself in newer ones: this is the name that both have for it.
UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])


class _Interrupted(BaseException):
    """Ctrl-C. A class of our own, because click ends a command on KeyboardInterrupt in silence."""


def _interrupt(number: int, frame: object) -> None:
    raise _Interrupted("run the same command again, it starts from the beginning")


@contextmanager
def until_interrupted() -> Iterator[None]:
    """Take Ctrl-C in this block for its end, which is no error."""
    with suppress(_Interrupted, KeyboardInterrupt):
        yield


@contextmanager
def going_on_later() -> Iterator[None]:
    """Say after Ctrl-C in this block that the same command goes on from where it stopped."""
    try:
        yield
    except _Interrupted:
        again = "run the same command again to go on from where it stopped"
        raise _Interrupted(again) from None


def run(app: typer.Typer, name: str) -> NoReturn:
    """Run a command; each error on purpose becomes one sentence on stderr."""
    _take_any_text()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)
    atexit.register(gc.freeze)  # to search what lives until the end for cycles takes some 30 ms
    try:
        # Not standalone: a wrong option, too, becomes one sentence, and not a page of usage.
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            _refuse_empty_words(name)
            code = app(standalone_mode=False, prog_name=name)
        _end_interrupts()
        sys.exit(code or 0)
    except (SourceError, StoreError) as error:
        _end(error, 1)
    except PatchpressError as error:
        _end(error, 2)
    except (_Interrupted, KeyboardInterrupt, typer.Abort) as error:
        _end(f"interrupted: {error}".rstrip(": "), INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output left, as `head` does. Python must not try to write the rest.
        _drop_output()
        sys.exit(1)
    except UsageError as error:
        _end(_usage_sentence(error, name), 2)
    except OSError as error:
        _end(_system_sentence(error), 2)
    except (MemoryError, ImportError, RuntimeError) as error:
        # Libraries are loaded, and threads are started, when they are needed.
        short = shortage(error)
        if not short:
            raise
        _end(short, 2)


def _refuse_empty_words(name: str) -> None:
    """Make sure that no word of the command line is empty: as a path it would be this folder.

    Raises:
        OptionError: one is.
    """
    words = sys.argv[1:]
    if "" in words:
        place = words.index("")
        after = f" after {words[place - 1]}" if place else ""
        raise OptionError(
            f"a word of the command is empty{after}: is the variable that stands there not set? "
            f"(see `{name} --help`)"
        )


def _end_interrupts() -> None:
    """Let Ctrl-C end the process at once from now on: Python, which ends it, would show a trace."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def terminal_width() -> int | None:
    """Characters of a line, if results are read on a terminal; None for a file or a pipe."""
    if sys.stdout is None or not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def has_colours() -> bool:
    """Whether results are read on a terminal that says that it shows 24-bit colours."""
    return (
        terminal_width() is not None
        and os.environ.get("COLORTERM") in ("truecolor", "24bit")
        and "NO_COLOR" not in os.environ
        and codecs.lookup(sys.stdout.encoding or "ascii").name.startswith("utf")
    )


def output(text: object, *, coloured: bool = False) -> None:
    """Print a result on stdout; names in it move no cursor, unless it is a picture of our own.

    Raises:
        TargetError: it cannot be written.
        BrokenPipeError: whoever read it has left.
    """
    try:
        print(str(text) if coloured else plain_lines(str(text)), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop_output()
        raise TargetError(f"the output cannot be written ({error.strerror})") from None


def _system_sentence(error: OSError) -> str:
    """What the system refused; our own calls are wrapped where they are made."""
    reason = error.strerror or str(error)
    if _is_of_echo(error):
        _drop_output()
        return f"the output cannot be written ({reason})"
    short = shortage(error)
    if short:
        return short
    where = f"{error.filename}: " if error.filename else ""
    return f"the system refuses what is needed here ({where}{reason})"


def _is_of_echo(error: OSError) -> bool:
    """Whether an error is of the function with which Typer prints help."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code is typer.echo.__code__


def _drop_output() -> None:
    """Discard what is still to be written to stdout: Python would try it again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _take_any_text() -> None:
    """Let stdout and stderr print any text, whatever the encoding of the terminal."""
    codecs.register_error("patchpress", _spelt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="patchpress")


def _spelt(error: UnicodeError) -> tuple[str | bytes, int]:
    """An ellipsis as three dots, and what else the encoding lacks by its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    if error.object[error.start] == "\N{HORIZONTAL ELLIPSIS}":
        return "...", error.start + 1
    error.end = error.start + 1
    return codecs.backslashreplace_errors(error)


def _usage_sentence(error: Any, name: str) -> str:
    """What is wrong with a command line, and which help says more."""
    command = name if error.ctx is None else error.ctx.command_path
    return f"{error.format_message().rstrip('.')} (see `{command} --help`)"


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning as one sentence, without the line of code that it comes from."""
    say(f"patchpress: {message}")


def _end(error: object, code: int) -> NoReturn:
    say(f"patchpress: {error}")
    _end_interrupts()
    sys.exit(code)
