"""What a worker process of `verify` does: it reads records back, and compares them with files."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from patchpress.converter.commands.verify_files import FilesOf
from patchpress.converter.commands.verify_labels import MapReader
from patchpress.converter.commands.verify_pixels import PixelComparer
from patchpress.converter.commands.verify_records import RecordChecker
from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.memory import SharedMemory
from patchpress.converter.paths import StrPath
from patchpress.readers.format.manifest import Manifest

CHECK, COMPARE = "check", "compare"
"""The tasks: records of a portion, as `RecordChecker.check`; patches, as a `PixelComparer` does."""


Source = tuple[SharedMemory | None, int, Mapping[str, ModalitySource]]
"""What a `PixelComparer` needs of a source."""


class VerifyingWorker:
    """Does both kinds of tasks in one process, which opens the store for itself."""

    def __init__(
        self,
        store: StrPath,
        manifest: Manifest,
        maps: MapReader,
        files: FilesOf,
        source: Source | None,
    ) -> None:
        """`source` is what a `PixelComparer` needs of one; None without one."""
        self._made_of = store, manifest, maps, files
        self._store, self._source = store, source

    def __call__(self, task: str, *args: Any) -> Any:
        """Do a task of that kind."""
        return self._checker.check(*args) if task == CHECK else self._comparer(*args)

    def close(self) -> None:
        """End the threads that compare, if there are some."""
        if "_comparer" in vars(self):
            self._comparer.close()

    @cached_property
    def _checker(self) -> RecordChecker:
        return RecordChecker(*self._made_of)

    @cached_property
    def _comparer(self) -> PixelComparer:
        if self._source is None:
            raise RuntimeError("this worker has no source to compare with")
        return PixelComparer(Path(self._store), *self._source)
