"""Whether a store fits on its disk, asked before anything is written.

Only a store that certainly does not fit is refused. If its size is not known, or if the disk may
store fewer bytes than it is given, a conversion begins; if the disk gets full, the conversion can
go on after there is room again.
"""

from pathlib import Path
from typing import NamedTuple

from patchpress.converter.addressspace import require_address_space
from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.options import Codec, Layout, OnError, Size
from patchpress.converter.planning.request import ConversionRequest
from patchpress.converter.planning.selection import Selection
from patchpress.converter.sources.files import acquisitions_of, usual_files_size
from patchpress.converter.storage.disk import RecordSizes, data_bytes, disk_of, room_there
from patchpress.converter.tables.official import Tables
from patchpress.converter.text import size
from patchpress.readers.errors import TargetError
from patchpress.readers.format.modality import record_form

_TAR = 2048  # bytes beside a file in an archive at most: its header, a long name, the last block
_JOIN = 1500  # bytes of memory that the last join of the tables takes for each row
_UNDAMAGED = 0.95  # share of the patches that get a record at least, if damaged ones are left out


class RoomNeeded(NamedTuple):
    """How much room a conversion needs, as far as that is known before it begins."""

    request: ConversionRequest
    chosen: Selection
    tables: Tables | None
    times: int = 1
    """How often each record lies on the disk at the same time."""

    def least_bytes(self, layout: Layout) -> int:
        """Bytes that a store of that layout has at least; 0 if only its end tells."""
        options = self.request.options
        if options.compression is not Codec.none:
            return 0
        stops = options.on_error is OnError.stop
        records = []
        for name, count in self._least_counts().items():
            modality = self.request.description.modalities[name]
            # Records of one size, unless patches are stored as they are. In the stacked layout a
            # patch of another size is an error, which stops the conversion.
            one_size = not modality.any_size or self.request.size_rule(name, layout) != Size.keep
            if one_size or (layout is Layout.stacked and stops):
                length = record_form(name, str(layout), modality.bands, modality.steps).size
                records.append(RecordSizes(count, [length], 0))
        return int(data_bytes(records) * (1 if stops else _UNDAMAGED) * self.times)

    def least_rows(self) -> int:
        """Rows that the table of the store has at least; 0 if only its end tells."""
        return max(self._least_counts().values(), default=0)

    def _least_counts(self) -> dict[str, int]:
        """Modality -> how many patches there are at least.

        An archive may have fewer patches than the tables name. But it has as many as are needed
        to fill its bytes, if each is as large as a patch can be.
        """
        counts, wanted = dict(self.chosen.counts), self.chosen.wanted
        for stream in self.chosen.streams:
            if self.tables is None or len(stream.modalities) > 1:
                continue
            (modality,) = stream.modalities
            least = min(self.tables.rows, stream.size // _most_bytes_in_archive(modality))
            if wanted is not None:
                least = min(least, wanted.counts([modality.name])[modality.name])
            counts[modality.name] = counts.get(modality.name, 0) + least
        return counts

    def savings(self) -> list[str]:
        """What a user can do to need less room."""
        native = self.least_bytes(Layout.native)
        is_smaller = 0 < native < self.least_bytes(self.request.options.layout)
        layout = f" or --layout native (at least {size(native)})" if is_smaller else ""
        return [f"give --compression blosc2{layout}", "take fewer patches by --limit or --modality"]


def _most_bytes_in_archive(modality: ModalitySource) -> int:
    """Bytes that a patch takes in an archive at most, compressed or not."""
    files = len(modality.bands) + 2  # a sidecar, and the folder
    return (usual_files_size(modality) + _TAR * files) * acquisitions_of(modality)


def lack_of_room(store: Path, needed: RoomNeeded, *, goes_on: bool) -> str:
    """The sentence about too little room; empty if there may be enough.

    The bytes of an earlier store count as room: it would be removed. `goes_on` says whether an
    interrupted conversion goes on.
    """
    least = needed.least_bytes(needed.request.options.layout)
    disk, there = disk_of(store), room_there(store)
    if not disk.plain or least <= disk.most + there:
        return ""
    beside = f" beside the {size(there)} that are there already" if there else ""
    if goes_on:
        advice = "make room and run the same command again"
    else:
        *ways, last = ["make room", "choose another place", *needed.savings()]
        advice = f"{', '.join(ways)}, or {last}"
    return (
        f"{store} needs at least {size(least)}, but {size(disk.most)} are free on its disk{beside}"
        f": {advice}"
    )


def require_room(store: Path, needed: RoomNeeded, *, goes_on: bool) -> None:
    """Refuse a store for which there is not enough room, on its disk or for its table in memory.

    Raises:
        TargetError: the sentence of `lack_of_room`.
        PatchpressError: that of `require_address_space`.
    """
    lack = lack_of_room(store, needed, goes_on=goes_on)
    if lack:
        raise TargetError(lack)
    require_address_space(_JOIN * needed.least_rows())
