"""The names of patches, noted as if their records were stored: a dry run makes its rows of them."""

from collections.abc import Collection, Mapping

from patchpress.converter.descriptions.description import Description
from patchpress.converter.encoding.columnreader import ColumnReader
from patchpress.converter.encoding.encoder import Encoded
from patchpress.converter.planning.request import ConversionRequest
from patchpress.converter.planning.sample import EvenSample
from patchpress.converter.sources.files import open_files
from patchpress.converter.sources.patch import Patch, Problem
from patchpress.converter.tables.recordlog import RecordLog
from patchpress.readers.errors import PatchError

SIDECARS = 1000  # JSON files that are read if only they tell the row of a patch


class NameLog:
    """A log of records for each modality, filled from the names of patches.

    What only pixels tell stays open. If only a JSON file tells the row of a patch, the files of
    an evenly spread sample are read, at the end.
    """

    def __init__(self, request: ConversionRequest, on_problem: Problem) -> None:
        """Begin with no patch; `on_problem` is called for a patch whose names are wrong."""
        self.logs: dict[str, RecordLog] = request.empty_logs()
        """Modality -> its patches."""
        self._description, self._on_problem = request.description, on_problem
        has_pairs = "pairs" in request.parts.files
        self._readers = {
            name: ColumnReader(recipe.modality, recipe.rules, recipe.splits, recipe.identity)
            for name, recipe in request.recipes().items()
        }
        self._unread = {
            name: EvenSample(SIDECARS)
            for name in self.logs
            if not has_pairs and _needs_sidecar(self._description, name)
        }
        # All that is known of the records of a modality without columns, beside their names.
        self._without_columns = {
            name: Encoded(0, 0, None) for name, log in self.logs.items() if not log.columns
        }

    def add(self, patch: Patch) -> None:
        """Note a patch that the source has."""
        if patch.modality not in self._unread:
            self.add_name(patch)
        elif patch.in_memory is None:
            self._unread[patch.modality].add(patch)
        else:
            self._read_sidecar(patch)  # now, while its files are in memory

    def add_name(self, patch: Patch, columns: Mapping[str, object] | None = None) -> None:
        """Note a patch without reading its files; `columns` are values that are known of it."""
        log, record = self.logs[patch.modality], self._without_columns.get(patch.modality)
        if record is not None:
            log.add(patch, record)
            return
        values: dict[str, object] = dict.fromkeys(log.columns)
        if self._description.identity in values:
            values[self._description.identity] = ""  # a table tells the row, or nothing does
        modality = self._description.modalities[patch.modality]
        if any(patch.values):  # a table that names a patch does not tell them
            path = patch.path(patch.before)
            try:
                named = self._readers[patch.modality].read_names(patch, path)
            except PatchError as error:
                self._on_problem(error)
                return
            values.update(zip(modality.columns, named, strict=True))
        values.update(columns or {})
        log.add(patch, Encoded(0, 0, None, tuple(values.values())))

    def read_sidecars(self, modalities: Collection[str]) -> dict[str, float]:
        """Note the patches of these modalities that were not noted before their files are read.

        Returns:
            Modality -> share of its patches that could be noted, if that is not all of them.
        """
        shares = {}
        for name, sample in self._unread.items():
            if sample.seen and name in modalities:
                noted = sum(self._read_sidecar(patch) for patch in sample.patches())
                if noted < sample.seen:
                    shares[name] = noted / sample.seen
        return shares

    def remove_rows(self, identities: Collection[str]) -> None:
        """Forget the patches of some rows."""
        if identities:
            for log in self.logs.values():
                log.remove_rows(set(identities))

    def _read_sidecar(self, patch: Patch) -> bool:
        """Note a patch with what its JSON file says; gives whether that can be read."""
        modality = self._description.modalities[patch.modality]
        try:
            files = open_files(patch.folder, patch.archived)
            try:
                given = self._readers[patch.modality].read_sidecar(patch, files)
            finally:
                files.close()
        except PatchError:
            return False  # a conversion reports it when it reads the patch
        columns = modality.sidecar.columns if modality.sidecar else ()
        self.add_name(patch, dict(zip(columns, given, strict=True)))
        return True


def _needs_sidecar(description: Description, name: str) -> bool:
    """Whether only a JSON file beside each patch of a modality tells its row, if no table does."""
    modality = description.modalities[name]
    if modality.identity_template or modality.sidecar is None:
        return False
    return description.identity in modality.sidecar.columns
