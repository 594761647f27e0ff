"""Patches that are known to be damaged in every copy of a data set: they are left out, and told."""

from collections.abc import Iterable

from patchpress.converter.descriptions.description import Defect
from patchpress.converter.options import Nan
from patchpress.converter.sources.patch import Patch


class KnownDefects:
    """Which patches of a source are left out for a defect that its description knows."""

    def __init__(self, defects: Iterable[Defect], nan: Nan = Nan.refuse) -> None:
        """Take the defects; those that are NaN are none if NaN is stored."""
        self._what = {
            identity: defect.what
            for defect in defects
            if not (defect.nan and nan is Nan.keep)
            for identity in defect.patches
        }
        self._met: set[str] = set()

    def takes(self, patch: Patch) -> bool:
        """Whether a patch has no known defect; one that has is noted."""
        if patch.identity not in self._what:
            return True
        self._met.add(patch.identity)
        return False

    def met(self) -> list[str]:
        """A sentence for each patch that was there and is left out, with all its modalities."""
        return [f"{identity}: {self._what[identity]}" for identity in sorted(self._met)]
