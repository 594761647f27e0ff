"""obstore, in a state that works in this process: its threads are not there after a fork.

What obstore runs requests on is made once and lives in its library. A forked process has a copy of
it without its threads, and a request there waits for ever. So a process that was forked after the
first request loads the library once more, from a copy: the loader takes the same file for the one
that is there.
"""

import importlib
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from typing import Any

from patchpress.readers.errors import OptionError

_NAME = "obstore"
_LIBRARY = "obstore._obstore"
_process = 0
"""In which process the library that is loaded was used first; 0 before that."""
_origin = ""
"""Where the library is installed; a copy of it is gone."""
_left: list[Any] = []
"""What the process had that this one was forked from: to free it may wait for ever."""
_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _fresh_lock())


def obstore() -> Any:
    """The package obstore, for use in this process.

    Raises:
        OptionError: it is not installed.
    """
    with _lock:
        return _usable()


def leave(client: object) -> None:
    """Keep what another process made with the library, as it is, until this one ends."""
    _left.append(client)


def _usable() -> Any:
    global _process
    try:
        module = importlib.import_module(_NAME)
        importlib.import_module(f"{_NAME}.store")
    except ModuleNotFoundError:
        raise OptionError(
            "stores at a URL need obstore, which is not installed: pip install obstore"
        ) from None
    if _process and _process != os.getpid():
        module = _loaded_again()
    _process = os.getpid()
    return module


def _loaded_again() -> Any:
    global _origin
    old = sys.modules[_LIBRARY].__spec__
    _origin = _origin or str(old and old.origin)
    modules = [name for name in sys.modules if name.partition(".")[0] == _NAME]
    _left.extend(sys.modules.pop(name) for name in modules)
    with _copy_of(_origin) as path:
        finder = _Finder(path)
        sys.meta_path.insert(0, finder)
        try:
            module = importlib.import_module(_NAME)
            importlib.import_module(f"{_NAME}.store")
        finally:
            sys.meta_path.remove(finder)
    return module


class _Finder:
    """Finds the library in another file than where it is installed."""

    def __init__(self, path: str) -> None:
        self._path = path

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != _LIBRARY:
            return None
        loader = ExtensionFileLoader(name, self._path)
        return spec_from_file_location(name, self._path, loader=loader)


@contextmanager
def _copy_of(path: str) -> Iterator[str]:
    """A copy of a file in memory, or on the disk if the system has no files in memory."""
    if sys.platform != "linux":
        with tempfile.TemporaryDirectory() as folder:
            yield shutil.copy(path, folder)
        return
    descriptor = os.memfd_create(_NAME)
    try:
        with open(path, "rb") as source, os.fdopen(descriptor, "wb", closefd=False) as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
        # With the process's number: a name that was loaded before would not be loaded again.
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _fresh_lock() -> None:
    """A thread that held the lock at a fork is not there to release it in the child."""
    global _lock
    _lock = threading.Lock()
