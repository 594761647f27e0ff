"""Files of one patch that lie one after the other in memory, as they did in an archive."""

from typing import NamedTuple


class RunPart(NamedTuple):
    """One file of a run."""

    rest: str
    """Its name after what all of them begin with."""
    offset: int
    """Where it begins in the run."""
    nbytes: int


class FileRun(NamedTuple):
    """Files that lie one after the other in shared memory, as they did in an archive."""

    start: int
    """Where the first begins in the memory."""
    before: str
    """What their names begin with."""
    parts: tuple[RunPart, ...]
    """Patches that are alike have the same tuple, so that it is pickled once for all of a task."""


class ArchivePlaces(NamedTuple):
    """Where the files of one patch lie in an archive that is not compressed."""

    archive: str
    """Its path."""
    files: dict[str, tuple[int, int]]
    """Name -> first byte, and how many."""
