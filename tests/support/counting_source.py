"""A source of shards that writes down every copy that it gives, for all processes of a test."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from patchpress.readers.staging.source import LocalSource


class CountingSource(LocalSource):
    """The folder of a store; each copy that ends is a line of a file."""

    def __init__(self, store: Path, log: Path, seconds: float = 0.0) -> None:
        """Let each copy take some seconds longer."""
        super().__init__(store)
        self.log, self.seconds = log, seconds

    def copy_to(
        self, path: str, size: int, target: int, progress: Callable[[int], None] | None = None
    ) -> None:
        """Copy, and write down that it was begun, and that it ended."""
        self._write(f"begun {path}\n")
        time.sleep(self.seconds)
        super().copy_to(path, size, target, progress)
        self._write(f"ended {path}\n")

    def _write(self, line: str) -> None:
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, line.encode())
        os.close(descriptor)


def copies_in(log: Path) -> list[str]:
    """Paths of the copies that ended, in order."""
    lines = log.read_text().splitlines() if log.exists() else []
    return sorted(line.split()[1] for line in lines if line.startswith("ended "))
