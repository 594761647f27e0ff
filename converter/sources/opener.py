"""The files of patches, opened for whoever reads them; or announced to the disk before that.

A disk that is told of many files at once reads them side by side, and nobody waits for each.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from patchpress.converter.sources.files import DiskFiles, PatchFiles, open_files
from patchpress.converter.sources.patch import Patch
from patchpress.readers.access.advice import fetched_at_once
from patchpress.readers.errors import PatchpressError

Namer = Callable[[Patch], Sequence[str]]
MOST_ANNOUNCED = 16
"""Files and folders of a patch that are held open until they are read; others are not announced."""
MOST_BYTES = 8 << 20
"""Bytes of a file that are announced: a larger one is read in their order, which any disk does."""


class PatchOpener:
    """Opens the files of patches. Not safe between threads: each has its own."""

    def __init__(self, cells: memoryview | None = None) -> None:
        """`cells` is the memory with files out of archives, as this process sees it."""
        self._cells = cells
        self._step = 0  # bytes that the kernel fetches for one advice
        self._announced: dict[tuple[str, str], DiskFiles] = {}

    def __call__(self, patch: Patch) -> PatchFiles:
        """The files of a patch, to be read; of one that was announced, those that are open.

        Raises:
            PatchError: the folder is absent or may not be read, or the files have a fault.
        """
        if self._announced:
            files = self._announced.pop((patch.folder, patch.before), None)
            if files is not None:
                return files
        return open_files(patch.folder, patch.archived, self._cells)

    def announce_all(self, patches: Sequence[Patch], names: Namer, nbytes: int) -> None:
        """Announce the acquisitions of a place, the first ones if they have many files.

        `names` gives the names of one's files, `nbytes` is as in `announce`.
        """
        left = MOST_ANNOUNCED
        for patch in patches:
            files = names(patch)
            left -= len(files) + 1
            if left < 0 and patch is not patches[0]:
                return
            self.announce(patch, files, nbytes)

    def announce(self, patch: Patch, names: Iterable[str], nbytes: int) -> None:
        """Tell the disk of files that are read soon. What goes wrong is told by who reads them.

        `nbytes` is what one of them has at most, as a rule: more of one is not announced.
        """
        try:
            if patch.archived is not None:
                patch.archived.announce()
                return
            files = DiskFiles(patch.folder)
        except PatchpressError:
            return
        if not self._step:  # all patches of a source are taken to be on one device
            self._step = fetched_at_once(files.device)
        files.announce(islice(names, MOST_ANNOUNCED - 1), min(nbytes, MOST_BYTES), self._step)
        earlier = self._announced.setdefault((patch.folder, patch.before), files)
        if earlier is not files:
            files.close()

    def forget(self) -> None:
        """Close what was announced and not read."""
        for files in self._announced.values():
            files.close()
        self._announced.clear()
