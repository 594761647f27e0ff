"""The ground that the files of a patch cover, which is the same for all of them."""

from collections.abc import Mapping, Sequence

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.encoding.file_plan import FilePlan
from patchpress.converter.encoding.grounds import same_ground, shown
from patchpress.converter.encoding.sidefiles import ground_with_files_beside
from patchpress.converter.encoding.tiff import Ground
from patchpress.converter.sources.files import PatchFiles
from patchpress.converter.sources.patch import Patch
from patchpress.converter.sources.side_files import files_beside
from patchpress.readers.errors import PatchError


class GroundOfFiles:
    """Tells the ground of the files of one modality, and compares them within a patch."""

    def __init__(
        self,
        modality: ModalitySource,
        plans: Mapping[bool, Sequence[FilePlan]],
        driver: str,
    ) -> None:
        """Take what is known of the files.

        Args:
            modality: which they are of.
            plans: whether patches are several files -> these files, or the only one.
            driver: GDAL's, by which it opens one with a georeference beside it; empty for none.
        """
        self._bands, self._tolerance = modality.bands, modality.ground_tolerance
        self._plans, self._driver = plans, driver
        self.beside: frozenset[str] | None = frozenset()
        """Files of the patch in hand that have a georeference beside them; None if its folder was
        not listed, so that each file has to be asked for."""

    def of(self, name: str, files: PatchFiles, covered: Ground | None) -> Ground | None:
        """The ground of a file, which alone covers `covered`; files beside it may tell more.

        Raises:
            PatchError: a file beside it is damaged or far too large.
        """
        if not self._driver:
            return None
        if self.beside is not None:
            beside = name in self.beside
        else:
            auxiliary, *world = files_beside(name)
            beside = files.has(auxiliary) or (covered is None and any(map(files.has, world)))
        return ground_with_files_beside(name, files, self._driver) if beside else covered

    def check(
        self,
        patch: Patch,
        plan: FilePlan,
        one: Ground | None,
        other: Ground | None,
        shape: tuple[int, ...],
    ) -> None:
        """Refuse a file of other ground than the first of its patch; `shape` of the coarser.

        Raises:
            PatchError: it covers other ground.
        """
        if not same_ground(one, other, shape, self._tolerance):
            _, first = self._plans[patch.apart][0].kept[0]
            raise PatchError(
                f"{patch.path(patch.file(plan.name))} covers {shown(other)}, but "
                f"{self._bands[first].name} of the same patch {shown(one)}"
            )
