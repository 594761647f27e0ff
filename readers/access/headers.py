"""What a record's header says of it: its modality, with its own sizes, and the plan to read it."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from patchpress.readers.access.plan import Plan, plan_of
from patchpress.readers.errors import GridsDiffer, StoreDamaged
from patchpress.readers.format.manifest import Manifest, Modality
from patchpress.readers.format.record import header_of, parse_header
from patchpress.readers.format.table import record_keys

PLANS_KEPT = 1_000  # combinations of bands and sizes; more would be a leak


class HeaderIndex:
    """Headers of a store's records to modalities and plans, each worked out once."""

    def __init__(self, store: Path, manifest: Manifest) -> None:
        self._store, self._manifest = store, manifest
        self._modalities: dict[bytes, Modality] = {}
        self._plans: dict[tuple[str, bytes, tuple[str, ...] | None], Plan] = {}

    def header(self, record: memoryview, key: str) -> bytes:
        """The header of a record.

        Raises:
            StoreDamaged: it has none; the message names the key.
        """
        try:
            return header_of(record)
        except StoreDamaged:
            raise self._unknown(key) from None

    def modality(self, header: bytes, key: str) -> Modality:
        """The modality of the record with this header, with the record's own band shapes.

        Raises:
            StoreDamaged: a form that the manifest does not describe; the message names the key.
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
            return next((m for m in found if m.name == self._by_key.get(key)), found[0])
        if len(self._modalities) < PLANS_KEPT:
            self._modalities[header] = found[0]
        return found[0]

    def plan(self, header: bytes, key: str, bands: Sequence[str] | None) -> Plan:
        """How the wanted bands of the record with this header get into an array.

        Raises:
            StoreDamaged: as `modality`.
            BandMissing: no such band.
            GridsDiffer: its bands do not fit on one grid.
        """
        modality = self.modality(header, key)
        # Records of one modality may differ in size: their headers tell them apart.
        wanted = (modality.name, header, None if bands is None else tuple(bands))
        plan = self._plans.get(wanted)
        if plan is None:
            if not modality.nests:
                shapes = ", ".join(f"{b.name} {b.shape[0]} x {b.shape[1]}" for b in modality.bands)
                raise GridsDiffer(
                    f"the bands of {key!r} do not fit on one grid ({shapes}): read them with "
                    "Store.read_bands"
                )
            plan = plan_of(modality, wanted[2])
            if len(self._plans) < PLANS_KEPT:
                self._plans[wanted] = plan
        return plan

    @cached_property
    def _by_key(self) -> dict[str, str]:
        """The modality whose records the table calls so."""
        return {
            key: name
            for name in self._manifest.modalities
            for key in record_keys(self._store, self._manifest, name)
        }

    def _unknown(self, key: str) -> StoreDamaged:
        return StoreDamaged(
            f"record {key!r} is not of a form that the manifest describes: "
            f"run `patchpress verify {self._store}`"
        )
