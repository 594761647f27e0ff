"""A page that is really served, for these tests."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

Serve = Callable[..., str]


@contextmanager
def serving(store: Path, *options: str) -> Iterator[str]:
    """The address of a page of a store, served by the command in a process of its own."""
    command = [sys.executable, "-m", "patchpress", "view", str(store), "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as one:
        assert one.stdout is not None
        address = one.stdout.readline().strip()
        try:
            assert address.startswith("http://"), address
            yield address
        finally:
            one.terminate()


@pytest.fixture(scope="session")
def page(stores: dict[tuple[str, str], Path]) -> Iterator[str]:
    """The address of the page of the stacked store."""
    with serving(stores["stacked", "none"]) as address:
        yield address
