"""The join of tables and lists, made once before a pixel is read, so that its errors come early."""

from patchpress.converter.options import OnError
from patchpress.converter.planning.limited_patches import LimitedPatches
from patchpress.converter.planning.namelog import NameLog
from patchpress.converter.planning.repeats import Repeats
from patchpress.converter.planning.request import ConversionRequest
from patchpress.converter.planning.selection import Selection, select_patches
from patchpress.converter.sources.archives import StreamOptions
from patchpress.converter.sources.patch import Patch, Problem, stopping
from patchpress.converter.sources.places import Places
from patchpress.converter.tables.metadata import join
from patchpress.converter.tables.official import Tables
from patchpress.readers.errors import PatchError


class Rehearsal:
    """Notes the names of the patches of folders, and joins them as if their records were stored.

    Patches that come out of archives are known only at the end: then nothing is rehearsed.
    """

    def __init__(self, request: ConversionRequest) -> None:
        self._request = request
        self._names = None if request.parts.packed else NameLog(request, self._on_problem)
        self._repeats = Repeats()
        self._twice: Patch | None = None  # the first that came again

    def add(self, patch: Patch) -> None:
        """Note a patch.

        Raises:
            PatchError: its names give a label or split that is unknown, and that stops a
                conversion.
        """
        if self._names is None:
            return
        if self._repeats.add(patch):
            self._twice = self._twice or patch
        else:
            self._names.add(patch)

    def run(self, chosen: Selection, tables: Tables | None) -> None:
        """Join the patches that were noted.

        Raises:
            PatchError: a patch is there twice, and that stops a conversion.
            SourceMissing, TableError: as `join`.
        """
        if self._names is None:
            return
        if self._twice is not None:
            self._on_problem(stopping(Places(chosen.walks, ()).twice(self._twice)))
        request = self._request
        self._names.remove_rows(chosen.incomplete)
        for log in self._names.logs.values():
            log.remove_repeated()  # who stores a patch that is there twice says so
        join(
            request.description,
            self._names.logs,
            tables,
            request.parts.files,
            request.split_options,
            is_part=bool(request.options.limit),
        )
        self._names = None  # its memory is that of a log of all records

    def _on_problem(self, error: PatchError) -> None:
        if self._request.options.on_error is OnError.stop:
            raise error  # else it is reported when the patch is encoded or stored


def rehearsed_selection(
    request: ConversionRequest,
    tables: Tables | None,
    wanted: LimitedPatches | None,
    on_problem: Problem,
    reading: StreamOptions,
) -> Selection:
    """The patches of a request, after the join of their names was rehearsed.

    Args:
        request: what was asked.
        tables: its tables.
        wanted: those that a limit takes; None without one.
        on_problem: called with the error of each patch that its name or partners show to be wrong.
        reading: how archives are read.

    Raises:
        PatchError, SourceError, TableError: as `select_patches` and `Rehearsal.run`.
    """
    rehearsal = Rehearsal(request)
    chosen = select_patches(
        request.description,
        request.parts,
        wanted,
        on_problem,
        options=reading,
        on_patch=rehearsal.add,
        defects=request.known_defects(),
    )
    rehearsal.run(chosen, tables)
    return chosen
