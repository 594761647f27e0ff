"""`Planner`: a record's header to its modality and to the plan that reads it."""

from functools import cached_property
from pathlib import Path

from patchpress.readers.access.bands import BandNames, bands_of
from patchpress.readers.access.plan import Plan, plan_of
from patchpress.readers.errors import GridsDiffer, StoreDamaged
from patchpress.readers.format.manifest import Manifest
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.record import header_of, parse_header
from patchpress.readers.format.shown_paths import shown
from patchpress.readers.format.table import record_keys

_Wanted = tuple[str, bytes, str | tuple[str, ...] | None]
PLANS_KEPT = 1_000  # combinations of bands and sizes; more would be a leak


class Planner:
    """What the headers of a store's records say, worked out once for each header."""

    def __init__(self, store: Path, manifest: Manifest) -> None:
        self._store, self._manifest = store, manifest
        self._modalities: dict[bytes, Modality] = {}
        self._plans: dict[_Wanted, Plan] = {}

    def header(self, record: memoryview, key: str) -> bytes:
        """The header of an uncompressed record.

        Raises:
            StoreDamaged: it has none; the message names the key.
        """
        try:
            return header_of(record)
        except StoreDamaged:
            raise self._unknown(key) from None

    def whole(self, record: memoryview, key: str) -> Modality:
        """The modality of an uncompressed record, whose length is checked, too.

        Raises:
            StoreDamaged: a header that the manifest does not describe, or too few or too many
                bytes; the message names the key.
        """
        modality = self.modality(self.header(record, key), key)
        self.check_size(record, modality.form.size, key)
        return modality

    def check_size(self, record: memoryview, size: int, key: str) -> None:
        """Refuse a record of another length than its header says.

        Raises:
            StoreDamaged: the message names the key.
        """
        if len(record) != size:
            raise StoreDamaged(
                f"record {key!r} has {len(record)} bytes, not {size}: run "
                f"`patchpress verify {shown(self._store)}`"
            )

    def modality(self, header: bytes, key: str) -> Modality:
        """The modality of the record with this header, with the record's own band shapes.

        Raises:
            StoreDamaged: a header that the manifest does not describe; the message names the key.
        """
        modality = self._modalities.get(header)
        if modality is not None:
            return modality
        try:
            found = self._manifest.matches(parse_header(header))
        except StoreDamaged:
            found = []
        if not found:
            raise self._unknown(key)
        if len(found) > 1:
            # Records of two modalities may have the same bands: then only their keys tell.
            return next((m for m in found if m.name == self._names.get(key)), found[0])
        if len(self._modalities) < PLANS_KEPT:
            self._modalities[header] = found[0]
        return found[0]

    def known(self, header: bytes, bands: BandNames) -> Plan | None:
        """What `plan` gives, if it was asked before and only one modality has such a header."""
        modality = self._modalities.get(header)
        return None if modality is None else self._plans.get(_wanted(modality, header, bands))

    def plan(self, header: bytes, key: str, bands: BandNames) -> Plan:
        """How the wanted bands of the record with this header get into an array.

        Raises:
            StoreDamaged: as `modality`.
            BandMissing: no such band or set.
            GridsDiffer: its bands do not fit on one grid.
        """
        modality = self.modality(header, key)
        # Records of one modality may differ in size: their headers tell them apart.
        wanted = _wanted(modality, header, bands)
        plan = self._plans.get(wanted)
        if plan is None:
            if not modality.nests:
                shapes = ", ".join(f"{b.name} {b.shape[0]} x {b.shape[1]}" for b in modality.bands)
                raise GridsDiffer(
                    f"the bands of {key!r} do not fit on one grid ({shapes}): read them with "
                    "Store.read_bands"
                )
            plan = plan_of(modality, bands_of(modality, wanted[2]))
            if len(self._plans) < PLANS_KEPT:
                self._plans[wanted] = plan
        return plan

    @cached_property
    def _names(self) -> dict[str, str]:
        """Key -> name of the modality that the table has it for."""
        return {
            key: name
            for name in self._manifest.modalities
            for key in record_keys(self._store, self._manifest, name)
        }

    def _unknown(self, key: str) -> StoreDamaged:
        return StoreDamaged(
            f"record {key!r} has a header that the manifest does not describe: "
            f"run `patchpress verify {shown(self._store)}`"
        )


def _wanted(modality: Modality, header: bytes, bands: BandNames) -> _Wanted:
    names = bands if bands is None or isinstance(bands, str) else tuple(bands)
    return modality.name, header, names
