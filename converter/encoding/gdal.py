"""GDAL without what it says beside its errors: nobody asked for that, and it stands on stderr."""

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

# What it sets is of all threads, so one at a time. Files are in memory by then: no one waits long.
_one_at_a_time = threading.RLock()


@contextmanager
def quiet_gdal() -> Iterator[None]:
    """Open rasters inside this block: without a warning if one has no georeference.

    GDAL also quotes what is damaged, a text of the file for example. If that is no UTF-8, rasterio
    cannot log it, and Python would print a traceback about that.
    """
    with _one_at_a_time:
        yield from _quietly()


def _quietly() -> Iterator[None]:
    from rasterio.errors import NotGeoreferencedWarning

    unraisable, printed = sys.unraisablehook, sys.excepthook

    def without_log(found: "sys.UnraisableHookArgs") -> None:
        if found.exc_type is not UnicodeDecodeError:
            unraisable(found)

    def without_error(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if kind is not UnicodeDecodeError:
            printed(kind, error, trace)

    sys.unraisablehook, sys.excepthook = without_log, without_error  # Cython calls both
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            yield
    finally:
        sys.unraisablehook, sys.excepthook = unraisable, printed
