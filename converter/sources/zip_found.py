"""The files of patches that were found in a zip archive: their places, and what is odd of them."""

import numpy as np

from patchpress.converter.sources.patch import Patch
from patchpress.converter.sources.zip_directory import ENCRYPTED, ZipDirectory
from patchpress.converter.sources.zip_files import ZippedArchive, ZippedFiles
from patchpress.converter.sources.zip_methods import READ, method_name
from patchpress.readers.errors import SourceError


class FoundFiles:
    """The files of an archive while it is walked."""

    def __init__(self, directory: ZipDirectory, largest: int) -> None:
        """Take what the archive has, and how many bytes a file may have."""
        self.path, self._directory = directory.path, directory
        self._archive = ZippedArchive(directory.files, directory.identity)
        places = directory.places
        self._is_refused = (directory.flags & ENCRYPTED != 0) | ~np.isin(places["method"], READ)
        self._is_large = places["size"] > largest
        self.are_odd = bool(self._is_refused.any() or self._is_large.any())
        """Whether any file of the archive is too large, or cannot be read."""

    def files(self, numbers: dict[str, int]) -> ZippedFiles:
        """The places of some files."""
        at = list(numbers.values())
        places = self._directory.places
        # As a rule they lie one after the other.
        whole = at[-1] - at[0] + 1 == len(at)
        some = places[at[0] : at[-1] + 1] if whole else places[at]
        return ZippedFiles(self._archive, tuple(numbers), some.tobytes())

    def fault(self, numbers: dict[str, int], patch: Patch) -> str:
        """A sentence about a file that is too large; empty if none is.

        Raises:
            SourceError: a file cannot be read.
        """
        for name, at in numbers.items():
            if self._is_refused[at]:
                raise self._refused(patch.path(name), at)
            if self._is_large[at]:
                size = int(self._directory.places["size"][at])
                return f"{patch.path(name)} has {size:,} bytes, far more than usual"
        return ""

    def _refused(self, path: str, at: int) -> SourceError:
        if self._directory.flags[at] & ENCRYPTED:
            return SourceError(
                f"{path} is encrypted: unpack {self.path.name} with its password, and give the "
                "folder"
            )
        method = method_name(int(self._directory.places["method"][at]))
        return SourceError(
            f"{path} is packed by {method}, which is not read: unpack {self.path.name} and give "
            "the folder"
        )
